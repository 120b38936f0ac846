"""Writes python/tilegrad/_C.pyi, the types of the compiled module, from its own signatures.

    PYTHONPATH=python python src/make_stubs.py

pybind11 begins the documentation of each function with its signature, which is all that is needed;
functions written against Python's C API say theirs in words and take anything.
``tests/test_stubs.py`` compares the file with the module.
"""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

from tilegrad import _C

TARGET = Path(__file__).resolve().parent.parent / "python" / "tilegrad" / "_C.pyi"
HEADER = '''"""The compiled module: kernels and the types under them. Made by src/make_stubs.py."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from .tensor import Tensor

'''
# What pybind11 writes -> what is meant. The order matters.
WORDS = {
    "typing.SupportsFloat | typing.SupportsIndex": "float",
    "typing.SupportsInt | typing.SupportsIndex": "int",
    "collections.abc.Sequence": "Sequence[Any]",
    "collections.abc.Callable": "Callable[..., Any]",
    "tilegrad._C.": "",
    "tilegrad::Generator": "GeneratorBase",
    "typing.": "",
}
SIGNATURE = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\) -> (.+)$")


def typed(text: str) -> str:
    """A signature or a part of one in Python's words."""
    for word, meaning in WORDS.items():
        text = text.replace(word, meaning)
    text = re.sub(r"\b(from|in|is|lambda): ", r"\1_: ", text)  # words that Python keeps
    return re.sub(r"= <[^>]*>", "= ...", text)


def function_stub(name: str, function: Any, indent: str = "") -> list[str]:
    """The lines for a function, one per overload."""
    documentation = getattr(function, "__doc__", None) or ""
    found = [SIGNATURE.match(line) for line in documentation.splitlines()]
    matches = [match for match in found if match and match.group(1) == name]
    if not matches:
        self = "self, " if indent else ""
        return [f"{indent}def {name}({self}*args: Any, **kwargs: Any) -> Any: ..."]
    lines = []
    for match in matches:
        arguments, result = typed(match.group(2)), typed(match.group(3))
        if indent:
            arguments = re.sub(r"^self: [\w.]+", "self", arguments)
        if len(matches) > 1:
            lines.append(f"{indent}@overload")
        lines.append(f"{indent}def {name}({arguments}) -> {result}: ...")
    return lines


def class_stub(name: str, cls: type) -> list[str]:
    """The lines for a class: attributes, then methods."""
    attributes, methods = [], []
    for key, value in sorted(vars(cls).items()):
        if key.startswith("_pybind11") or (
            key.startswith("__") and key not in ("__init__", "__enter__", "__exit__")
        ):
            continue
        if isinstance(value, (property, types.GetSetDescriptorType, types.MemberDescriptorType)):
            getter = getattr(getattr(value, "fget", None), "__doc__", None) or ""
            match = re.match(r"\(.*\) -> (.+)", getter)
            attributes.append(f"    {key}: {typed(match.group(1)) if match else 'Any'}")
        elif callable(value):
            methods += function_stub(key, value, "    ")
    return [f"class {name}:", *(attributes + methods or ["    ..."]), ""]


def stubs() -> str:
    """The whole file."""
    members = {name: value for name, value in vars(_C).items() if not name.startswith("__")}
    classes = {name: value for name, value in members.items() if isinstance(value, type)}
    lines = []
    for name, cls in sorted(classes.items()):
        lines += class_stub(name, cls)
    lines += [f"{n}: dtype" for n, value in sorted(members.items()) if isinstance(value, _C.dtype)]
    lines.append("")
    for name, value in sorted(members.items()):
        if callable(value) and name not in classes:
            lines += function_stub(name, value)
    text = HEADER + "\n".join(lines) + "\n"
    if "@overload" in text:
        text = text.replace("from typing import Any", "from typing import Any, overload")
    return text


if __name__ == "__main__":
    TARGET.write_text(stubs())
    print(f"{TARGET}: {len(stubs().splitlines())} lines", file=sys.stderr)
