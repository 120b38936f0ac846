"""The house: one stem on every floor, nothing stray, small files, no leaking instruction sets."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOP = {
    ".ci", ".clang-format", ".editorconfig", ".gitignore", ".pre-commit-config.yaml",
    "ARCHITECTURE.md", "CHANGELOG.md", "CMakeLists.txt", "CMakePresets.json", "CONTRIBUTING.md",
    "LICENSE", "Makefile", "README.md", "benchmarks", "csrc", "cuda", "docs", "examples",
    "pyproject.toml", "python", "src", "tests",
}  # fmt: skip
# Kernels without an operation: which instruction set runs, how fast the machine is at best; conv2d
# calls depthwise.
WITHOUT_OPERATION = {"depthwise", "isa_probe", "machine_probe"}

STEMS = dict(re.findall(r"^OP\((\w+), (\w+)\)$", (ROOT / "src/ops.def").read_text(), re.M))


def tracked_files() -> list[Path]:
    """The files that git knows; skips where there is no repository (a source archive)."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [Path(line) for line in listed.splitlines() if (ROOT / line).exists()]


def source_files() -> list[Path]:
    """All sources that people read, found without git."""
    suffixes = {".py", ".h", ".cpp", ".cu", ".cuh", ".cmake", ".def"}
    rooms = ("benchmarks", "csrc", "cuda", "examples", "python", "src", "tests")
    return [
        path
        for room in rooms
        for path in sorted((ROOT / room).rglob("*"))
        if path.suffix in suffixes or path.name == "CMakeLists.txt"
    ]


def floors(kind: str, stem: str) -> list[str]:
    """The files that an op of this kind must have."""
    files = [f"python/tilegrad/ops/{stem}.py"]
    if kind == "COMPOSED":
        return files
    files.append(f"src/ops/{stem}.cpp")
    if kind != "VIEWS":
        files += [f"csrc/ops/{stem}.h", f"csrc/ops/{stem}.cpp"]
    if kind == "CPU_AND_CUDA":
        files.append(f"cuda/ops/{stem}.cu")
    return files


def test_the_table_is_read_whole_and_sorted():
    lines = [line for line in (ROOT / "src/ops.def").read_text().splitlines() if line[:2] == "OP"]
    assert len(lines) == len(STEMS) > 0
    assert list(STEMS) == sorted(STEMS)
    assert set(STEMS.values()) <= {"COMPOSED", "CPU", "CPU_AND_CUDA", "VIEWS"}


@pytest.mark.parametrize("stem", STEMS)
def test_each_op_has_its_file_on_every_floor(stem):
    missing = [name for name in floors(STEMS[stem], stem) if not (ROOT / name).is_file()]
    assert not missing
    assert (ROOT / f"tests/ops/test_{stem}.py").is_file(), "an op needs a test file"


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("python/tilegrad/ops", "*.py"),
        ("src/ops", "*"),
        ("csrc/ops", "*"),
        ("cuda/ops", "*"),
    ],
)
def test_no_stray_stem(folder, pattern):
    found = {p.stem for p in (ROOT / folder).glob(pattern) if p.is_file() and p.stem[0] != "_"}
    allowed = {stem for stem, kind in STEMS.items() for f in floors(kind, stem) if folder in f}
    kernels = folder in ("csrc/ops", "cuda/ops")
    assert found - allowed <= (WITHOUT_OPERATION if kernels else set())


def test_the_python_floor_imports_every_op_in_order():
    text = (ROOT / "python/tilegrad/ops/__init__.py").read_text()
    assert re.findall(r"^from \.(\w+) import \*", text, re.M) == list(STEMS)


def test_the_top_level_holds_the_agreed_names():
    top = {path.parts[0] for path in tracked_files()}
    assert top - TOP == set()
    assert TOP - top == set()


def test_files_are_short_and_lines_fit():
    complaints = []
    for path in source_files():
        lines = path.read_text().splitlines()
        name = path.relative_to(ROOT)
        if len(lines) >= 500:
            complaints.append(f"{name}: {len(lines)} lines")
        complaints += [
            f"{name}:{number}: {len(line)} columns"
            for number, line in enumerate(lines, 1)
            if len(line) > 100 and "clang-format" not in line and "http" not in line
        ]
    assert not complaints


def test_every_source_file_opens_with_a_sentence():
    silent = []
    for path in source_files():
        first = path.read_text().lstrip()[:3]
        if path.stat().st_size and first[:2] not in ("//", "# ", "#!") and first != '"""':
            silent.append(str(path.relative_to(ROOT)))
    assert not silent


def test_nothing_is_tuned_to_the_builders_machine():
    flag = "-m" + "arch=native"
    names = [ROOT / "CMakeLists.txt", ROOT / "CMakePresets.json", ROOT / "pyproject.toml"]
    names += [path for path in source_files() if path.suffix == ".cmake"]
    names += [ROOT / "Makefile", *(ROOT / "build").glob("*/compile_commands.json")]
    assert [str(path) for path in names if flag in path.read_text()] == []


def instruction_set_objects() -> list[tuple[str, Path]]:
    """(instruction set, object file) for every release build tree at hand."""
    found = []
    for cache in (ROOT / "build").glob("*/CMakeCache.txt"):
        if "CMAKE_BUILD_TYPE:STRING=Release\n" not in cache.read_text():
            continue  # without optimization everything inline is a weak symbol
        for folder in cache.parent.glob("CMakeFiles/ops_*.dir"):
            isa = folder.name[len("ops_") : -len(".dir")]
            if isa != "cuda":
                found += [(isa, path) for path in sorted(folder.rglob("*.o"))]
    return found


def test_no_instruction_set_leaks_through_weak_symbols():
    """The linker keeps one copy of a weak symbol for everybody, perhaps the AVX-512 one."""
    objects = instruction_set_objects()
    if not objects or shutil.which("nm") is None:
        pytest.skip("needs nm and a release build tree under build/")
    leaks = []
    for isa, path in objects:
        listed = subprocess.run(["nm", "-C", path], capture_output=True, text=True, check=True)
        for line in listed.stdout.splitlines():
            # W: a weak function. Weak data (V, u) holds constants, the same in every copy.
            # A name that holds the set's namespace is this set's own.
            symbol = re.match(r"[0-9a-f]+ W (.*)", line)
            if symbol and f"tilegrad::cpu::{isa}::" not in symbol[1]:
                leaks.append(f"{path.name} ({isa}): {symbol[1]}")
    assert not leaks


def test_every_instruction_set_compiles_every_kernel():
    objects = instruction_set_objects()
    if not objects:
        pytest.skip("needs a release build tree under build/")
    stems = {stem for stem, kind in STEMS.items() if kind not in ("VIEWS", "COMPOSED")}
    stems |= WITHOUT_OPERATION
    for isa in {isa for isa, _ in objects}:
        compiled = {path.name.split(".")[0] for other, path in objects if other == isa}
        assert stems <= compiled, isa
