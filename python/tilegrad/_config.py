"""What this build is and how it runs: ``tilegrad.config`` and ``tilegrad.show_config``."""

from __future__ import annotations

from typing import Any

from . import _C


def config() -> dict[str, Any]:
    """The facts about this build and this process.

    Returns:
        A dictionary with ``version``, ``compiler`` and ``build_type`` (of the C++ build), ``isa``
        (the instruction set whose kernels run), ``isas`` (those that this processor supports),
        ``compiled_isas``, ``num_threads``, ``cuda`` ("on" or "off": what was built),
        ``cuda_reason`` (why), ``cuda_architectures`` (for which cards) and ``cuda_devices`` (how many
        this process can use).
    """
    return {
        **_C.build_info(),
        "isa": _C.isa(),
        "isas": _C.supported_isas(),
        "compiled_isas": _C.compiled_isas(),
        "num_threads": _C.get_num_threads(),
        "cuda_devices": _C.cuda_device_count(),
    }


def show_config() -> None:
    """Prints :func:`config`, one line per group, for bug reports."""
    facts = config()
    print(f"tilegrad {facts['version']} ({facts['compiler']}, {facts['build_type']})")
    print(
        f"  instruction set: {facts['isa']} (this processor: {', '.join(facts['isas'])}; ", end=""
    )
    print(f"compiled: {', '.join(facts['compiled_isas'])})")
    print(f"  threads: {facts['num_threads']}")
    print(f"  CUDA: {facts['cuda']} ({facts['cuda_reason']})")
    if facts["cuda"] == "on":
        architectures = facts["cuda_architectures"].replace(";", ", ")
        reason = _C.cuda_unavailable_reason()
        print(f"    architectures: {architectures}")
        print(f"    devices: {facts['cuda_devices']}" + (f" ({reason})" if reason else ""))
