"""``install_as("torch")``: programs that import torch get tilegrad, for the rest of the process.

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


def install_as(name: str = "torch") -> None:
    """Answers imports of ``name``, usually torch, with tilegrad.

    Child processes that ``multiprocessing`` starts do the same. A name that tilegrad lacks raises
    AttributeError or ImportError where it is used. Raises RuntimeError if another module of that
    name has been imported already, ValueError for what is not a module's name.
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
    sys.meta_path.insert(0, _Finder(name))
    importlib.import_module(name)
    _follow_into_processes(name)


_HIDDEN = ("_C", "ops")  # of ours, which are other things than PyTorch's


class _StandIn(types.ModuleType):
    """The module in torch's place."""

    __version__: str

    def __getattr__(self, name: str) -> Any:
        ours = sys.modules[_OURS]
        if name in _HIDDEN and find_companion(name) is not None:
            return find_companion(name)
        try:
            return getattr(ours, name)
        except AttributeError:
            if find_companion(name) is not None:
                return find_companion(name)
            own = self.__name__
            raise AttributeError(
                f"module {own!r} has no attribute {name!r}: {_OURS}, which stands in for it, "
                "lacks it",
                name=name,
                obj=self,
            ) from None

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *dir(sys.modules[_OURS])})


class _Finder(MetaPathFinder):
    """Finds ``torch.x.y`` where ``tilegrad.x.y`` is, and nowhere else."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if fullname == self._name:
            spec = ModuleSpec(fullname, _StandInLoader(), is_package=True)
            spec.submodule_search_locations = []
            return spec
        if not fullname.startswith(self._name + "."):
            return None
        path = fullname[len(self._name) + 1 :]
        if path not in _HIDDEN and _exists(f"{_OURS}.{path}"):
            return ModuleSpec(fullname, _AliasLoader(f"{_OURS}.{path}"))
        companion = find_companion(path)
        if companion is None:
            raise ModuleNotFoundError(
                f"No module named {fullname!r}: {_OURS}, in the place of {self._name}, lacks it",
                name=fullname,
            )
        return ModuleSpec(fullname, _ReadyLoader(companion), is_package=True)


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package that it would be in
        return False


class _StandInLoader(Loader):
    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        from .version import __version__

        module = _StandIn(spec.name, sys.modules[_OURS].__doc__)
        module.__file__ = sys.modules[_OURS].__file__
        module.__version__ = __version__
        module.__all__ = [n for n in dir(sys.modules[_OURS]) if n[0] != "_"]  # type: ignore
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

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple:
        return install_as, (self._name,)


def _follow_into_processes(name: str) -> None:
    """Lets processes that start with a fresh interpreter install the stand-in first of all.

    What such a process gets to prepare itself is a pickled dictionary, read before the program's
    main module is imported. Forked processes inherit everything anyway.
    """
    from multiprocessing import spawn as standard

    spawn: Any = standard
    prepare = spawn.get_preparation_data

    def get_preparation_data(process: str) -> dict[str, Any]:
        return {**prepare(process), f"{_OURS}.install_as({name})": _Installation(name)}

    spawn.get_preparation_data = get_preparation_data
