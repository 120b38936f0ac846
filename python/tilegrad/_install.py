"""``install_as("torch")``: programs that import torch get tilegrad, for the rest of the process.

``install_as("keras")`` gives them ``tilegrad.keras`` in the same way.

A module object named torch takes torch's place in ``sys.modules``, so that libraries that look
there, such as einops, find it too. It hands every name on to tilegrad; ``import torch.nn`` gives
``tilegrad.nn`` itself, so that classes are the same whichever way they were reached.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

from ._companions import find_companion

__all__ = ["install_as"]

_OURS = "tilegrad"
_ROOMS = {"keras": "tilegrad.keras"}  # names that stand for a part of tilegrad


def install_as(name: str = "torch", at_once: bool = True) -> None:
    """Answers imports of ``name``, usually torch or keras, with tilegrad or ``tilegrad.keras``.

    Unless ``at_once``, nothing is imported before the program asks for it. Child processes that
    ``multiprocessing`` starts do the same. A name that tilegrad lacks raises AttributeError or
    ImportError where it is used. Raises RuntimeError if another module of that name has been
    imported already, ValueError for what is not a module's name.
    """
    if not isinstance(name, str) or not name.isidentifier() or name == _OURS:
        raise ValueError(f"install_as: expected the name of a module, got {name!r}")
    present = sys.modules.get(name)
    if isinstance(present, _StandIn):
        return
    if present is not None:
        raise RuntimeError(
            f"install_as: {name} has been imported already; call install_as({name!r}) before "
            "anything that imports it"
        )
    sys.meta_path.insert(0, _Finder(name, _ROOMS.get(name, _OURS)))
    if at_once:
        importlib.import_module(name)
    _follow_into_processes(name, at_once)


def is_installed(name: str) -> bool:
    """Whether imports of ``name`` are answered by tilegrad."""
    return any(isinstance(finder, _Finder) and finder.name == name for finder in sys.meta_path)


_HIDDEN = ("_C", "ops")  # of ours, which are other things than PyTorch's


class _StandIn(types.ModuleType):
    """The module in torch's place."""

    __version__: str
    _ours: str

    def __getattr__(self, name: str) -> Any:
        ours = sys.modules[self._ours]
        stands_for_torch = self._ours == _OURS
        if stands_for_torch and name in _HIDDEN and find_companion(name) is not None:
            return find_companion(name)
        try:
            return getattr(ours, name)
        except AttributeError:
            if stands_for_torch and find_companion(name) is not None:
                return find_companion(name)
            own = self.__name__
            raise AttributeError(
                f"module {own!r} has no attribute {name!r}: {self._ours}, which stands in for it, "
                "lacks it",
                name=name,
                obj=self,
            ) from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(sys.modules[self._ours])})


class _Finder(MetaPathFinder):
    """Finds ``torch.x.y`` where ``tilegrad.x.y`` is, and nowhere else."""

    def __init__(self, name: str, ours: str) -> None:
        self.name, self._ours = name, ours

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname == self.name:
            spec = ModuleSpec(fullname, _StandInLoader(self._ours), is_package=True)
            spec.submodule_search_locations = []
            return spec
        if not fullname.startswith(self.name + "."):
            return None
        path = fullname[len(self.name) + 1 :]
        hidden = self._ours == _OURS and path in _HIDDEN
        if not hidden and _exists(f"{self._ours}.{path}"):
            return ModuleSpec(fullname, _AliasLoader(f"{self._ours}.{path}"))
        companion = find_companion(path) if self._ours == _OURS else None
        if companion is None:
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: {self._ours}, in the place of {self.name}, "
                "lacks it",
                name=fullname,
            )
        return ModuleSpec(fullname, _ReadyLoader(companion), is_package=True)


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


class _StandInLoader(Loader):
    def __init__(self, ours: str) -> None:
        self._ours = ours

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        from .version import __version__

        ours = importlib.import_module(self._ours)
        module = _StandIn(spec.name, ours.__doc__)
        module._ours = self._ours
        module.__file__ = ours.__file__
        module.__version__ = __version__ if ours.__name__ == _OURS else ours.__version__
        module.__all__ = [n for n in dir(ours) if n[0] != "_"]  # type: ignore
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class _AliasLoader(Loader):
    """Gives a module that exists under another name, and leaves that module as it is."""

    def __init__(self, ours: str) -> None:
        self._ours = ours
        self._spec: Any = None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        module = importlib.import_module(self._ours)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        module.__spec__ = self._spec  # the import system had put in that of the alias


class _ReadyLoader(Loader):
    """Gives a module that is there already."""

    def __init__(self, module: types.ModuleType) -> None:
        self._module = module

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return self._module

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class _Installation:
    """Unpickles as a call of :func:`install_as`."""

    def __init__(self, name: str, at_once: bool) -> None:
        self._arguments = (name, at_once)

    def __reduce__(self) -> tuple:
        return install_as, self._arguments


def _follow_into_processes(name: str, at_once: bool) -> None:
    """Lets processes that start with a fresh interpreter install the stand-in first of all.

    What such a process gets to prepare itself is a pickled dictionary, read before the program's
    main module is imported. Forked processes inherit everything anyway.
    """
    from multiprocessing import spawn as standard

    spawn: Any = standard
    prepare = spawn.get_preparation_data

    def get_preparation_data(process: str) -> dict[str, Any]:
        return {**prepare(process), f"{_OURS}.install_as({name})": _Installation(name, at_once)}

    spawn.get_preparation_data = get_preparation_data
