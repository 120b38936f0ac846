"""What importing tilegrad brings along, and what the extension module is linked with."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

import tilegrad as tg
from tilegrad import _C


def modules_after(code: str) -> set[str]:
    """The modules loaded by a fresh interpreter that runs the code."""
    code += "; import sys, json; print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return set(json.loads(result.stdout))


def test_import_adds_little_beside_numpy():
    added = modules_after("import tilegrad") - modules_after("import numpy")
    foreign = {name for name in added if name.split(".")[0] != "tilegrad"}
    heavy = {
        "torch",
        "sklearn",
        "matplotlib",
        "scipy",
        "tqdm",
        "asyncio",
        "multiprocessing",
        "http",
    }
    assert not {name.split(".")[0] for name in foreign} & heavy
    assert len(foreign) <= 60, sorted(foreign)


def test_layers_and_optimizers_are_imported_when_they_are_asked_for():
    alone = modules_after("import tilegrad")
    assert not {"tilegrad.nn", "tilegrad.optim", "tilegrad.utils.data"} & alone
    listed = "import tilegrad as t; assert {'nn', 'optim', 'utils', 'save', 'add'} <= {*dir(t)}"
    assert "tilegrad.nn" not in modules_after(listed)
    for use, module in {
        "nn.Linear(2, 3)(tilegrad.ones(1, 2))": "nn",
        "nn.functional.relu": "nn.functional",
        "optim.lr_scheduler.StepLR": "optim",
        "utils.data.DataLoader": "utils.data",
        "utils.checkpoint.checkpoint": "utils.checkpoint",
    }.items():
        assert f"tilegrad.{module}" in modules_after(f"import tilegrad; tilegrad.{use}")


def test_import_prints_nothing():
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import tilegrad"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (result.stdout, result.stderr) == ("", "")


def needed_libraries() -> list[str]:
    if sys.platform != "linux" or shutil.which("readelf") is None:
        pytest.skip("needs readelf")
    dynamic = subprocess.run(
        ["readelf", "-d", _C.__file__], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r"\(NEEDED\).*\[(.+?)\]", dynamic)


def test_the_module_needs_system_libraries_only():
    """No OpenMP runtime, no BLAS, no shared CUDA runtime: a wheel must run where it lands."""
    system = r"lib(stdc\+\+|m|gcc_s|c|pthread|dl|rt)\.so\.\d+|ld-linux-.*"
    assert [name for name in needed_libraries() if not re.fullmatch(system, name)] == []


def test_the_module_exports_its_init_function_only():
    if shutil.which("nm") is None:
        pytest.skip("needs nm")
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", _C.__file__], capture_output=True, text=True, check=True
    ).stdout
    strong = {line.split()[-1] for line in listed.splitlines() if line.split()[-2] in "TDB"}
    assert {name for name in strong if "tilegrad" in name} == set()
    assert "PyInit__C" in strong


def test_version_and_configuration(capsys):
    assert re.fullmatch(r"\d+\.\d+\.\d+", tg.__version__)
    facts = tg.config()
    assert facts["version"] == tg.__version__
    assert facts["isa"] in facts["isas"] and set(facts["isas"]) <= set(facts["compiled_isas"])
    assert facts["num_threads"] == tg.get_num_threads()
    assert facts["cuda"] in ("on", "off") and "TILEGRAD_CUDA=" in facts["cuda_reason"]
    assert tg.show_config() is None
    printed = capsys.readouterr().out
    for key in ("version", "compiler", "isa", "cuda_reason"):
        assert facts[key] in printed


def test_the_installed_version_is_the_packages():
    from importlib import metadata

    try:
        installed = metadata.version("tilegrad")
    except metadata.PackageNotFoundError:
        pytest.skip("tilegrad runs from a build in place")
    assert installed == tg.__version__


def test_every_public_name_of_the_package_exists():
    for name in ("Tensor", "Size", "device", "dtype", "float32", "cuda", "autograd"):
        assert hasattr(tg, name), name
