"""Shared fixtures, and ``--device``: the tests of operations on a CUDA device.

With ``--device cuda`` the tests below DEVICE_FOLDERS make their tensors there, those of arrays
included, and arrays of tensors are made of copies: on a card, or on the emulated device of a build
with TILEGRAD_CUDA=EMULATED. A test that meets an operation without a CUDA kernel is skipped, with
that reason; one marked ``host`` is about the CPU; one marked ``slow_emulated`` is for cards, since
the emulated device, a fiber for each thread, would take more than half a minute. All other tests
run as always.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

DEVICE_FOLDERS = ("ops", "optim", "autograd")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", default="cpu", help="where the tests of operations put their tensors"
    )


def pytest_configure(config: pytest.Config) -> None:
    """A device that is asked for must be there."""
    import support

    support.DEVICE = config.getoption("--device")
    if support.DEVICE != "cpu":
        from tilegrad import _C, cuda

        if not cuda.is_available():
            raise pytest.UsageError(f"--device: {_C.cuda_unavailable_reason()}")


def _on_device(item: pytest.Item) -> bool:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return item.config.getoption("--device") != "cpu" and folder in DEVICE_FOLDERS


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test marked ``gpu`` with the reason for which there is no device."""
    host, slow = (item.get_closest_marker(name) for name in ("host", "slow_emulated"))
    if host is not None and _on_device(item):
        pytest.skip(f"about the CPU: {host.args[0]}")
    if slow is not None and _on_device(item) and _is_emulated():
        pytest.skip(f"too slow on the emulated device: {slow.args[0]}")
    if item.get_closest_marker("gpu") is None:
        return
    from tilegrad import _C, cuda

    if not cuda.is_available():
        pytest.skip(f"no CUDA device: {_C.cuda_unavailable_reason()}")


def _is_emulated() -> bool:
    from tilegrad import cuda

    return "emulated" in cuda.get_device_name()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """One test, with its tensors where ``--device`` says."""
    if not _on_device(item):
        return (yield)
    import tilegrad as tg

    device, from_numpy, numpy = item.config.getoption("--device"), tg.from_numpy, tg.Tensor.numpy
    tg.set_default_device(device)
    tg.from_numpy = lambda array: support_to_device(from_numpy(array))
    tg.Tensor.numpy = lambda tensor, **options: numpy(tensor.cpu(), **options)
    try:
        return (yield)
    except NotImplementedError as error:
        if "there is no CUDA kernel" not in str(error):
            raise
        pytest.skip(str(error))
    finally:
        tg.set_default_device(None)
        tg.from_numpy, tg.Tensor.numpy = from_numpy, numpy
        tg.cuda.synchronize()


def support_to_device(tensor: Any) -> Any:
    from support import to_device

    return to_device(tensor)
