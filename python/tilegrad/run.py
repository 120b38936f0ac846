"""``python -m tilegrad.run program.py ...``: runs a PyTorch or Keras program on tilegrad.

Like ``python program.py ...`` and ``python -m module ...``, but ``import torch`` gives tilegrad,
and ``import keras`` gives ``tilegrad.keras``. The program sees its own arguments, is the module
``__main__``, finds its neighbours first, and ends with its own exit status.
"""

from __future__ import annotations

import importlib.util
import io
import os
import sys
import types
from importlib.machinery import ModuleSpec, SourceFileLoader
from typing import Any

from ._install import install_as

__all__ = ["main"]

_USAGE = """usage: python -m tilegrad.run program.py [argument ...]
       python -m tilegrad.run -m module [argument ...]
       python -m tilegrad.run -c code [argument ...]

Runs a program with tilegrad in the place of torch, and tilegrad.keras in that of keras."""
_HIDDEN = {"_install.py", "_lazy.py", "run.py"}  # of our frames in tracebacks


def main(arguments: list[str] | None = None) -> None:
    """Runs what the command line names; does not return if that exits.

    Raises SystemExit with status 2 if there is no such program, and whatever the program raises.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if not given or given[0] in ("-h", "--help"):
        print(_USAGE, file=sys.stdout if given else sys.stderr)
        raise SystemExit(0 if given else 2)
    if given[0] in ("-m", "-c") and len(given) < 2:
        print(f"Argument expected for the {given[0]} option\n{_USAGE}", file=sys.stderr)
        raise SystemExit(2)
    install_as("torch")
    install_as("keras", at_once=False)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_exception
    if given[0] == "-m":
        code, module = _of_module(given[1])
        sys.argv = [str(module.__file__), *given[2:]]
    elif given[0] == "-c":
        code, module = compile(given[1], "<string>", "exec", dont_inherit=True), _new_main(None)
        sys.argv = ["-c", *given[2:]]
    else:
        sys.argv = given
        code, module = _of_script(given[0])
    replaced = sys.modules["__main__"]  # its functions are on the stack: it must stay
    sys.modules["__main__"] = module
    exec(code, module.__dict__)
    del replaced


def _new_main(path: str | None, spec: ModuleSpec | None = None) -> types.ModuleType:
    module = types.ModuleType("__main__")
    module.__dict__.update(__builtins__=__builtins__, __annotations__={}, __spec__=spec)
    if path is not None:
        module.__file__ = path
        module.__dict__["__cached__"] = None
    module.__package__ = None if spec is None else spec.parent
    module.__loader__ = None if spec is None else spec.loader
    return module


def _of_script(given: str) -> tuple[Any, types.ModuleType]:
    """The code of a file, or of the ``__main__`` of a directory or zip file."""
    path = os.path.abspath(given)
    if os.path.isdir(path) or _is_archive(path):
        sys.path[0] = path
        return _of_module("__main__", f"can't find '__main__' module in {path!r}")
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    try:
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        print(
            f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        raise SystemExit(2) from None
    module = _new_main(path)
    module.__loader__ = SourceFileLoader("__main__", path)
    return compile(source, path, "exec", dont_inherit=True), module


def _is_archive(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PK\3\4"
    except OSError:
        return False


def _of_module(name: str, complaint: str | None = None) -> tuple[Any, types.ModuleType]:
    """The code of a module, or of the ``__main__`` of a package."""
    own_main = sys.modules.pop("__main__")  # find_spec would look at it for that name
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = importlib.util.find_spec(f"{name}.__main__")
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        spec = None
    finally:
        sys.modules["__main__"] = own_main
    loader: Any = None if spec is None else spec.loader
    code = loader.get_code(spec.name) if spec is not None and loader is not None else None
    if spec is None or code is None:
        what = complaint or f"No module named {name!r} that can be run"
        print(f"{sys.executable}: {what}", file=sys.stderr)
        raise SystemExit(1)
    return code, _new_main(spec.origin, spec)


def _print_exception(kind: type, error: BaseException, trace: Any) -> None:
    """Prints a traceback without the frames that stand between the program and Python."""
    while trace is not None and _is_hidden(trace):
        trace = trace.tb_next
    last = trace
    while last is not None and last.tb_next is not None:
        if _is_hidden(last.tb_next) and all(map(_is_hidden, _frames(last.tb_next))):
            last.tb_next = None
            break
        last = last.tb_next
    error.__traceback__ = trace
    sys.__excepthook__(kind, error, trace)


def _frames(trace: Any) -> list[Any]:
    frames = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    return frames


def _is_hidden(trace: Any) -> bool:
    file = trace.tb_frame.f_code.co_filename
    here, name = os.path.split(file)
    return (here == os.path.dirname(__file__) and name in _HIDDEN) or "runpy" in name


if __name__ == "__main__":
    main()
