"""The types of the compiled module are those that the module has, and are valid Python."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import tilegrad as tg

ROOT = Path(__file__).resolve().parent.parent
STUBS = ROOT / "python" / "tilegrad" / "_C.pyi"


def test_the_stubs_are_current():
    """If not: PYTHONPATH=python python src/make_stubs.py"""
    spec = importlib.util.spec_from_file_location("make_stubs", ROOT / "src" / "make_stubs.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert STUBS.read_text() == maker.stubs(), test_the_stubs_are_current.__doc__


def test_the_stubs_name_everything():
    tree = ast.parse(STUBS.read_text())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    classes = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    values = {node.target.id for node in tree.body if isinstance(node, ast.AnnAssign)}
    names = {name for name in vars(tg._C) if not name.startswith("__")}
    assert functions | classes | values == names
    assert {"TensorBase", "dtype", "device", "Node"} <= classes and "float32" in values
    assert len(functions) > 200


def test_the_package_says_that_it_is_typed():
    assert (Path(tg.__file__).parent / "py.typed").exists()
