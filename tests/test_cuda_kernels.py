"""The check of what ptxas says about the CUDA kernels: it must complain where there is a reason."""

from __future__ import annotations

import pytest

from check_cuda_kernels import (
    COMMON_DTYPES,
    ROOT,
    complaints_about,
    complaints_about_note,
    jobs_of,
    note_of,
    parse,
)

ENTRY = """\
ptxas info    : Compiling entry function '{name}' for 'sm_80'
ptxas info    : Function properties for {name}
    {stack} bytes stack frame, {stores} bytes spill stores, {loads} bytes spill loads
ptxas info    : Used {registers} registers, used 1 barriers, {shared} bytes smem, 400 bytes cmem[0]
"""


def report(name: str, stack: int = 0, stores: int = 0, loads: int = 0, shared: int = 8320) -> str:
    return ENTRY.format(
        name=name, stack=stack, stores=stores, loads=loads, registers=40, shared=shared
    )


def complaints(text: str) -> list[str]:
    return complaints_about(parse("scale.cu", text), text, "scale.cu")


def test_numbers_are_read():
    other = report("other", stack=16).replace("sm_80", "sm_90a")
    first, second = parse("scale.cu", report("scale") + other)
    assert first == ("scale.cu", "80", "scale", 40, 8320, 0, 0)
    assert (second.name, second.architecture, second.stack_bytes) == ("other", "90a", 16)


def test_clean_kernels_pass():
    assert complaints(report("scale") + report("other")) == []


def test_spills_local_memory_and_serialized_pipelines_are_found():
    where = "scale.cu, sm_80: scale"
    assert complaints(report("scale", 8, 8, 16)) == [f"{where} spills 24 bytes"]
    assert complaints(report("scale", stack=8)) == [f"{where} has 8 bytes local memory"]
    warning = "ptxas warning : (C7510) Potential Performance Loss: wgmma.mma_async is serialized"
    assert len(complaints(report("scale") + warning)) == 1


def test_kernels_that_no_card_would_start_are_found():
    assert complaints(report("scale", shared=48 << 10)) == []
    (found,) = complaints(report("scaleIdE", shared=(48 << 10) + 4))
    assert found.endswith("has 49156 bytes shared: it cannot start")


def test_what_is_compiled_for_which_cards():
    release = (ROOT / "cuda" / "detect.cmake").read_text()
    release = release.split('RELEASE_ARCHITECTURES "')[1].split('"')[0]
    names = release.replace("-real", "").split(";")
    assert names == ["80", "90a", "100", "120"]
    jobs = jobs_of(SOURCES, names)
    for family, flags in (
        (["80"], []),
        (["90a"], COMMON_DTYPES),
        (["100", "120"], COMMON_DTYPES),
    ):
        assert [path for path, *job in jobs if job == [family, flags]] == SOURCES
    (job,) = jobs_of([ROOT / "cuda" / "ops" / "group_norm.cu"], ["120"])
    assert job[1:] == (["120"], COMMON_DTYPES)


def test_only_the_reduction_of_huge_angles_may_use_local_memory():
    assert complaints(report("dense_kernel_sin_of_f", stack=32)) == []
    assert complaints(report("dense_kernel_sin_of_f", stack=32, stores=4)) != []


# --- notes ----------------------------------------------------------------------------------------

SOURCES = sorted((ROOT / "cuda" / "ops").glob("*.cu"))
NOTE = """\
// scale: 8 bytes and one operation an element. Up to 40 registers, 6
// blocks of 256 threads on a multiprocessor.
#include "scale.h"
"""


def about_note(text: str, registers: int = 40) -> list[str]:
    of_double = report("scaleIdE").replace("Used 40", "Used 200")
    kernels = parse("scale.cu", report("scale").replace("40", str(registers)) + of_double)
    return complaints_about_note(note_of(text), kernels, "scale.cu")


def test_a_note_that_is_whole_and_right_passes():
    assert note_of(NOTE).endswith("6 blocks of 256 threads on a multiprocessor.")
    assert about_note(NOTE) == about_note(NOTE, registers=33) == []


@pytest.mark.parametrize(
    ("text", "registers", "complaint"),
    [
        (NOTE.replace("bytes", ""), 40, "nothing of bytes"),
        (NOTE.replace("operation", ""), 40, "nothing of operations"),
        (NOTE.replace("registers", ""), 40, "no occupancy"),
        (NOTE, 41, "says 40 registers and 6 blocks, and the kernels take 48, so that 5 fit"),
        (NOTE, 32, "take 32, so that 8 fit"),
        (NOTE.replace("6\n", "8\n"), 40, "says 40 registers and 8 blocks"),
        (NOTE.replace("256", "1024"), 40, "so that 1 fit"),
    ],
)
def test_notes_that_lack_something_or_err_are_found(text, registers, complaint):
    (found,) = about_note(text, registers)
    assert complaint in found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_every_kernel_has_its_note(path):
    """Whether the numbers are right takes nvcc: ctest -R cuda.compile."""
    kernels = parse(path.name, report("any"))
    complaints = complaints_about_note(note_of(path.read_text()), kernels, path.name)
    assert not [line for line in complaints if "nothing" in line or "no occupancy" in line]
