"""Unmodified PyTorch programs on tilegrad: ``python -m tilegrad.run`` and ``install_as``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tilegrad as tg


def execute(*arguments: Any, cwd: Any = None, text: str | None = None) -> Any:
    """Runs Python in a child that sees this tilegrad."""
    paths = os.pathsep.join([str(Path(tg.__file__).parent.parent)])
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=120,
        check=False,
        input=text,
        env={**os.environ, "PYTHONPATH": paths},
    )


def program(folder: Path, source: str, name: str = "program.py") -> Path:
    path = folder / name
    path.write_text(source)
    return path


TRAINING = """
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.utils.data import DataLoader, TensorDataset
from torch.nn.modules.conv import Conv2d
from torch.nn.modules.utils import _pair
from torch.optim.lr_scheduler import StepLR
import helper

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x)

def main():
    torch.manual_seed(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = Net().to(device)
    data = TensorDataset(torch.randn(12, 3), torch.randint(0, 2, (12,)))
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    for x, y in DataLoader(data, batch_size=4, shuffle=True, num_workers=WORKERS,
                           multiprocessing_context=CONTEXT):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x.to(device)), y.to(device))
        loss.backward()
        optimizer.step()
        print(f"{loss.item():.4f}")

if __name__ == "__main__":
    print(sys.argv[1:], helper.value, Conv2d is nn.Conv2d, _pair(2))
    main()
"""


@pytest.mark.parametrize(
    "workers, context", [(0, None), (2, None), (2, "spawn"), (2, "forkserver")]
)
def test_a_program_prints_what_it_prints_with_pytorch(tmp_path, workers, context):
    source = TRAINING.replace("WORKERS", str(workers)).replace("CONTEXT", repr(context))
    path = program(tmp_path, source)
    program(tmp_path, "value = 7", "helper.py")
    ours = execute("-m", "tilegrad.run", path, "--lr", "0.1")
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout.startswith("['--lr', '0.1'] 7 True (2, 2)\n")
    assert len(ours.stdout.splitlines()) == 4
    if workers == 0:
        assert ours.stdout == execute(path, "--lr", "0.1").stdout


def test_what_a_program_sees_of_itself(tmp_path):
    source = (
        "import sys\n"
        "print(__name__, __file__, __spec__, __package__, __doc__, sys.argv, sys.path[0])\n"
        "print(sys.modules['__main__'].__dict__ is globals(), sorted(vars()))\n"
        "class A: pass\n"
        "import pickle; print(pickle.loads(pickle.dumps(A())).__class__ is A)\n"
    )
    path = program(tmp_path, source)
    assert execute("-m", "tilegrad.run", path, "a", "-b").stdout == execute(path, "a", "-b").stdout
    shown = execute("-m", "tilegrad.run", "program.py", cwd=tmp_path).stdout
    assert shown == execute("program.py", cwd=tmp_path).stdout


def test_modules_packages_and_folders(tmp_path):
    package = tmp_path / "pack"
    package.mkdir()
    source = (
        "import sys\nprint(__name__, __package__, __spec__.name, sys.argv, sys.path[0], __file__)\n"
    )
    program(package, "", "__init__.py")
    program(package, source, "__main__.py")
    program(package, source, "part.py")
    for arguments in (["-m", "pack", "x"], ["-m", "pack.part"], [str(package), "y"]):
        ours = execute("-m", "tilegrad.run", *arguments, cwd=tmp_path)
        assert ours.stdout == execute(*arguments, cwd=tmp_path).stdout != "", ours.stderr
    assert execute("-m", "tilegrad.run", "-c", "import torch; print(torch.ones(2))").stdout == (
        "tensor([1., 1.])\n"
    )


@pytest.mark.parametrize(
    "source",
    [
        "import sys; sys.exit(7)",
        "raise SystemExit('stop')",
        "def f():\n    raise ValueError('bad')\nf()",
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('x') from e",
        "x = (",
        "import os; os._exit(3)",
        "raise KeyboardInterrupt",
        "import no_such_module",
    ],
)
def test_it_ends_as_with_python(tmp_path, source):
    path = program(tmp_path, source)
    ours, theirs = execute("-m", "tilegrad.run", path), execute(path)
    assert (ours.returncode, ours.stdout, ours.stderr) == (
        theirs.returncode,
        theirs.stdout,
        theirs.stderr,
    )


def test_a_missing_program_is_named(tmp_path):
    ours = execute("-m", "tilegrad.run", "nothing.py", cwd=tmp_path)
    assert (ours.returncode, ours.stderr) == (2, execute("nothing.py", cwd=tmp_path).stderr)
    assert execute("-m", "tilegrad.run", "-m", "no.such").returncode == 1
    assert "usage" in execute("-m", "tilegrad.run", "--help").stdout
    assert execute("-m", "tilegrad.run").returncode == 2


@pytest.mark.parametrize(
    "line, message",
    [
        ("torch.no_such(3)", "AttributeError: module 'torch' has no attribute 'no_such'"),
        ("torch.nn.NoSuch()", "AttributeError: module 'tilegrad.nn' has no attribute 'NoSuch'"),
        ("torch.ones(2).no_such()", "AttributeError: 'Tensor' object has no attribute 'no_such'"),
        ("from torch import no_such", "ImportError: cannot import name 'no_such' from 'torch'"),
        ("import torch.no_such", "ModuleNotFoundError: No module named 'torch.no_such'"),
        ("import torch.nn.no_such", "ModuleNotFoundError: No module named 'torch.nn.no_such'"),
    ],
)
def test_a_missing_name_is_reported_at_its_line(tmp_path, line, message):
    result = execute("-m", "tilegrad.run", program(tmp_path, f"import torch\n{line}\n"))
    lines = result.stderr.splitlines()
    assert result.returncode == 1 and lines[-1].startswith(message)
    places = [each for each in lines if each.startswith("  File")]
    assert len(places) == 1 and "program.py" in places[0] and "line 2" in places[0]


def test_libraries_that_look_for_torch_find_it():
    code = (
        "import tilegrad as tg, sys\n"
        "tg.install_as('torch')\n"
        "tg.install_as()\n"
        "import torch, torch.nn.functional as F, torch.utils.data, importlib.util\n"
        "assert torch is sys.modules['torch'] and torch.nn is tg.nn and F is tg.nn.functional\n"
        "assert isinstance(tg.ones(2), sys.modules['torch'].Tensor)\n"
        "assert importlib.util.find_spec('torch').name == 'torch'\n"
        "assert importlib.util.find_spec('torch.nn') is not None\n"
        "assert tg.nn.__spec__.name == 'tilegrad.nn' and tg.nn.__name__ == 'tilegrad.nn'\n"
        "assert 'nn' in dir(torch) and 'Tensor' in torch.__all__\n"
        "torch.backends.cudnn.benchmark = True\n"
        "assert tg.backends.cudnn.benchmark is True\n"
    )
    result = execute("-c", code)
    assert result.returncode == 0, result.stderr


def test_install_as_refuses():
    code = "import torch, tilegrad; tilegrad.install_as('torch')"
    assert "RuntimeError: install_as: torch has been imported" in execute("-c", code).stderr
    for name in ("tilegrad", "a b", 3):
        with pytest.raises(ValueError, match="install_as"):
            tg.install_as(name)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_a_program_and_its_workers(tmp_path):
    source = (
        "import torch, time\n"
        "from torch.utils.data import DataLoader, Dataset\n"
        "class Slow(Dataset):\n"
        "    def __len__(self): return 1000\n"
        "    def __getitem__(self, i):\n"
        "        time.sleep(0.05)\n"
        "        return torch.ones(1)\n"
        "for batch in DataLoader(Slow(), num_workers=2):\n"
        "    print('batch', flush=True)\n"
    )
    # A shell's background job ignores the signal, and so would the child.
    source = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + source
    path = program(tmp_path, source)
    child = subprocess.Popen(
        [sys.executable, "-m", "tilegrad.run", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(tg.__file__).parent.parent)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "batch\n"
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    _, errors = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt") and errors.count("Traceback") == 1
    time.sleep(0.1)
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)  # no process of the group is left
