"""TILEGRAD_ISA: a forced instruction set really runs, and a wrong one is a clear error."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import tilegrad as tg
from tilegrad import _C


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs code in a fresh interpreter with these environment variables."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# isa_probe answers from the macros its translation unit was compiled with, called through the
# dispatch table; the product shows that this table's other rows work too.
FORCED = """
import numpy as np, tilegrad as tg
from tilegrad import _C
x, y = (np.random.default_rng(i).standard_normal((33, 77)) for i in (1, 2))
product = tg.from_numpy(x) @ tg.from_numpy(y).T
np.testing.assert_allclose(product.numpy(), x @ y.T, rtol=1e-12, atol=1e-12)
print(_C.isa(), _C.isa_probe())
"""


@pytest.mark.parametrize("isa", _C.supported_isas())
def test_the_forced_set_really_runs(isa):
    result = run(FORCED, TILEGRAD_ISA=isa)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [isa, isa]


def test_the_best_set_runs_by_default():
    result = run(FORCED, TILEGRAD_ISA="")
    assert result.stdout.split() == [_C.supported_isas()[-1]] * 2, result.stderr


def test_this_process_runs_what_it_says():
    assert _C.isa_probe() == _C.isa() == tg.config()["isa"]


@pytest.mark.parametrize("name", ["sse9", "AVX2", "avx 2"])
def test_an_unknown_set_is_a_value_error_that_names_the_known_ones(name):
    result = run("import tilegrad", TILEGRAD_ISA=name)
    last = result.stderr.strip().splitlines()[-1]
    assert result.returncode == 1
    assert last.startswith("ValueError") and name in last and _C.supported_isas()[0] in last


def test_a_set_that_the_processor_lacks_is_a_runtime_error():
    lacking = [name for name in _C.compiled_isas() if name not in _C.supported_isas()]
    if not lacking:
        pytest.skip("this processor runs every compiled set")
    result = run("import tilegrad", TILEGRAD_ISA=lacking[0])
    last = result.stderr.strip().splitlines()[-1]
    assert result.returncode == 1
    assert last.startswith("RuntimeError") and lacking[0] in last


def test_an_import_that_failed_can_be_repeated():
    code = """
import os
try:
    import tilegrad
except ValueError:
    pass
os.environ["TILEGRAD_ISA"] = ""
import tilegrad
print(tilegrad.ones(3).sum().item())
"""
    result = run(code, TILEGRAD_ISA="nonsense")
    assert (result.returncode, result.stdout.strip()) == (0, "3.0"), result.stderr
