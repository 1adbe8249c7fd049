"""Imports a repository's modules under names that no other repository has, and lets its own code find them there."""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import importlib
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

PREFIX = "tfimm_hub_"

_lock = threading.RLock()


class ModuleNamespace:
    """The modules of one repository: all below one package, whose name is this repository's alone.

    Its own code says ``import models`` and gets ``tfimm_hub_<...>.models``, now and from any function that runs later:
    each of its modules has an ``__import__`` of its own (https://docs.python.org/3/library/functions.html#import__).
    Nobody else's modules are in the way, nor in danger, not even for a moment, and classes are pickled by names that stay.

    Attributes:
        name: of the package.
        folders: where its top-level modules lie; further ones are those that its code puts into ``sys.path``.
    """

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self.folders = [folder]
        self.builtins = {**vars(builtins), "__import__": self.imported}

    def owns(self, top: str) -> bool:
        """Whether a top-level module is the repository's: as for a script, its own directory comes first."""
        if f"{self.name}.{top}" in sys.modules:
            return True
        if top in sys.builtin_module_names:
            return False
        spec = PathFinder.find_spec(top, self.searched())
        if spec is None or spec.origin is not None:
            return spec is not None
        return not _is_elsewhere(top)  # a directory without __init__.py, such as docs/, hides no package

    def imported(
        self,
        name: str,
        globals: dict[str, Any] | None = None,  # noqa: A002  # the words of the function that this is
        locals: dict[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """What ``__import__`` is in the repository's own modules."""
        top = name.partition(".")[0]
        if level == 0 and self.owns(top):
            whole = builtins.__import__(f"{self.name}.{name}", globals, locals, fromlist, 0)
            return whole if fromlist else sys.modules[f"{self.name}.{top}"]
        module = builtins.__import__(name, globals, locals, fromlist or (), level)
        is_importlib = level == 0 and (name == "importlib" or (top == "importlib" and not fromlist))
        return _Importlib(self) if is_importlib else module

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """What ``importlib.import_module`` is there."""
        first = (package or "").partition(".")[0] if name.startswith(".") else name.partition(".")[0]
        if not first or not self.owns(first):
            return importlib.import_module(name, package)
        if name.startswith("."):
            return importlib.import_module(name, f"{self.name}.{package}")
        return importlib.import_module(f"{self.name}.{name}")

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """While its code runs for the first time: what it puts into ``sys.path`` of its own directories goes again."""
        before = [*sys.path]
        try:
            yield
        finally:
            self.searched()
            sys.path[:] = [place for place in sys.path if place in before or not self._is_inside(place)]

    def searched(self) -> list[str]:
        """Its folders, those included that its code has put into ``sys.path`` by now."""
        inside = [os.path.abspath(place) for place in sys.path if self._is_inside(place)]
        self.folders.extend(place for place in dict.fromkeys(inside) if place not in self.folders)
        return self.folders

    def _is_inside(self, place: str) -> bool:
        path = os.path.abspath(place)
        return path == self.folders[0] or path.startswith(f"{self.folders[0]}{os.sep}")

    def forget(self) -> None:
        """Leave nothing of its modules."""
        for name in [name for name in sys.modules if name == self.name or name.startswith(f"{self.name}.")]:
            del sys.modules[name]
        _spaces.pop(self.name, None)


_spaces: dict[str, ModuleNamespace] = {}


class _Importlib(ModuleType):
    """``importlib``, whose ``import_module`` knows the repository's own modules, too."""

    def __init__(self, space: ModuleNamespace) -> None:
        super().__init__("importlib")
        self.import_module = space.import_module

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib, name)


class _Loader(SourceFileLoader):
    """Gives a module the ``__import__`` of its repository; writes no bytecode, as trees stay as they were published."""

    def __init__(self, name: str, path: str, space: ModuleNamespace) -> None:
        super().__init__(name, path)
        self._space = space

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self._space.builtins
        super().exec_module(module)

    def set_data(self, *_: Any, **__: Any) -> None:
        pass


class _Finder:
    """Finds the modules below the package of a repository."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """As import machinery asks (https://docs.python.org/3/library/importlib.html)."""
        space = _spaces.get(name.partition(".")[0])
        if space is None or path is None:
            return None
        spec = PathFinder.find_spec(name, space.searched() if name.count(".") == 1 else path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(name, spec.loader.path, space)
        return spec


def namespace_for(folder: str, module: str) -> ModuleNamespace:
    """The space of the repository in ``folder``: the same one as long as the file ``module`` there is the same."""
    status = os.stat(f"{folder}/{module}")
    mark = f"{os.path.realpath(folder)}\n{status.st_mtime_ns}\n{status.st_size}"
    digest = hashlib.sha256(mark.encode("utf-8", "surrogatepass")).hexdigest()
    name = f"{PREFIX}{re.sub('[^a-z0-9]+', '_', os.path.basename(folder).lower())[:40]}_{digest[:16]}"
    with _lock:
        if not any(finder is _Finder for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder)
        if name not in _spaces:
            space = _spaces[name] = ModuleNamespace(name, os.path.abspath(folder))
            package = ModuleType(name, f"The repository in {folder}.")
            package.__path__ = space.folders
            sys.modules[name] = package
        return _spaces[name]


def _is_elsewhere(top: str) -> bool:
    """Whether others have a module of that name, that is more than a directory."""
    if top in sys.modules:
        return getattr(sys.modules[top], "__file__", None) is not None
    spec = PathFinder.find_spec(top)
    return top in sys.stdlib_module_names or (spec is not None and spec.origin is not None)
