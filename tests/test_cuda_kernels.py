"""The check of what ptxas says about the CUDA kernels: it must complain where there is a reason."""

from __future__ import annotations

from check_cuda_kernels import complaints_about, parse

ENTRY = """\
ptxas info    : Compiling entry function '{name}' for 'sm_80'
ptxas info    : Function properties for {name}
    {stack} bytes stack frame, {stores} bytes spill stores, {loads} bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, 8320 bytes smem, 400 bytes cmem[0]
"""


def report(name: str, stack: int = 0, stores: int = 0, loads: int = 0) -> str:
    return ENTRY.format(name=name, stack=stack, stores=stores, loads=loads, registers=40)


def complaints(text: str) -> list[str]:
    return complaints_about(parse("scale.cu", "80", text), text, "scale.cu")


def test_numbers_are_read():
    first, second = parse("scale.cu", "80", report("scale") + report("other", stack=16))
    assert first == ("scale.cu", "80", "scale", 40, 8320, 0, 0)
    assert (second.name, second.stack_bytes) == ("other", 16)


def test_clean_kernels_pass():
    assert complaints(report("scale") + report("other")) == []


def test_spills_local_memory_and_serialized_pipelines_are_found():
    assert complaints(report("scale", 8, 8, 16)) == ["scale.cu: scale spills 24 bytes"]
    assert complaints(report("scale", stack=8)) == ["scale.cu: scale has 8 bytes local memory"]
    warning = "ptxas warning : (C7510) Potential Performance Loss: wgmma.mma_async is serialized"
    assert len(complaints(report("scale") + warning)) == 1


def test_only_the_reduction_of_huge_angles_may_use_local_memory():
    assert complaints(report("dense_kernel_sin_of_f", stack=32)) == []
    assert complaints(report("dense_kernel_sin_of_f", stack=32, stores=4)) != []
