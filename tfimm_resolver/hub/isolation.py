"""Imports the modules of a repository into a package of their own, and redirects the repository's imports there."""

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
    """The modules of one repository, in a package whose name is unique to the repository.

    The statement ``import models`` in its code imports ``tfimm_hub_<...>.models``, also in a function that runs later:
    each of its modules has its own ``__import__`` (https://docs.python.org/3/library/functions.html#import__).
    Modules of other repositories and packages are never shadowed or replaced, and classes are pickled under stable names.

    Attributes:
        name: the name of the package.
        folders: the directories of its top-level modules, including those that its code adds to ``sys.path``.
    """

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self.folders = [folder]
        self.builtins = {**vars(builtins), "__import__": self.import_for_repository}

    def owns(self, top: str) -> bool:
        """Return whether a top-level module belongs to the repository; as for a script, its own directory comes first."""
        if f"{self.name}.{top}" in sys.modules:
            return True
        if top in sys.builtin_module_names:
            return False
        spec = PathFinder.find_spec(top, self.update_folders())
        if spec is None or spec.origin is not None:
            return spec is not None
        return not _exists_elsewhere(top)  # a directory without __init__.py, such as docs/, does not shadow a package

    def import_for_repository(
        self,
        name: str,
        globals: dict[str, Any] | None = None,  # noqa: A002  # the parameter names of __import__
        locals: dict[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        """Import a module; this is ``__import__`` in the modules of the repository."""
        top = name.partition(".")[0]
        if level == 0 and self.owns(top):
            module = builtins.__import__(f"{self.name}.{name}", globals, locals, fromlist, 0)
            return module if fromlist else sys.modules[f"{self.name}.{top}"]
        module = builtins.__import__(name, globals, locals, fromlist or (), level)
        is_importlib = level == 0 and (name == "importlib" or (top == "importlib" and not fromlist))
        return _Importlib(self) if is_importlib else module

    def import_module(self, name: str, package: str | None = None) -> ModuleType:
        """Import a module; this is ``importlib.import_module`` in the modules of the repository."""
        first = (package or "").partition(".")[0] if name.startswith(".") else name.partition(".")[0]
        if not first or not self.owns(first):
            return importlib.import_module(name, package)
        if name.startswith("."):
            return importlib.import_module(name, f"{self.name}.{package}")
        return importlib.import_module(f"{self.name}.{name}")

    @contextlib.contextmanager
    def restore_sys_path(self) -> Iterator[None]:
        """Remove from ``sys.path`` on exit the directories of the repository that its code added."""
        before = [*sys.path]
        try:
            yield
        finally:
            self.update_folders()
            sys.path[:] = [path for path in sys.path if path in before or not self._is_inside(path)]

    def update_folders(self) -> list[str]:
        """Add the directories of the repository that are in ``sys.path`` to ``folders``; return ``folders``."""
        inside = [os.path.abspath(path) for path in sys.path if self._is_inside(path)]
        self.folders.extend(path for path in dict.fromkeys(inside) if path not in self.folders)
        return self.folders

    def _is_inside(self, path: str) -> bool:
        path = os.path.abspath(path)
        return path == self.folders[0] or path.startswith(f"{self.folders[0]}{os.sep}")

    def forget(self) -> None:
        """Remove all its modules from ``sys.modules``."""
        for name in [name for name in sys.modules if name == self.name or name.startswith(f"{self.name}.")]:
            del sys.modules[name]
        _namespaces.pop(self.name, None)


_namespaces: dict[str, ModuleNamespace] = {}


class _Importlib(ModuleType):
    """Stands in for ``importlib``; its ``import_module`` finds the modules of the repository, too."""

    def __init__(self, namespace: ModuleNamespace) -> None:
        super().__init__("importlib")
        self.import_module = namespace.import_module

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib, name)


class _Loader(SourceFileLoader):
    """Gives a module the ``__import__`` of its repository; writes no bytecode, which would change the cached tree."""

    def __init__(self, name: str, path: str, namespace: ModuleNamespace) -> None:
        super().__init__(name, path)
        self._namespace = namespace

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__builtins__"] = self._namespace.builtins
        super().exec_module(module)

    def set_data(self, *_: Any, **__: Any) -> None:
        pass


class _Finder:
    """Finds the modules below the package of a repository."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of such a module (https://docs.python.org/3/library/importlib.html); None for any other."""
        namespace = _namespaces.get(name.partition(".")[0])
        if namespace is None or path is None:
            return None
        spec = PathFinder.find_spec(name, namespace.update_folders() if name.count(".") == 1 else path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(name, spec.loader.path, namespace)
        return spec


def get_namespace(folder: str, module: str) -> ModuleNamespace:
    """Return the namespace of the repository in ``folder``, a new one whenever the file ``module`` there has changed."""
    status = os.stat(f"{folder}/{module}")
    identity = f"{os.path.realpath(folder)}\n{status.st_mtime_ns}\n{status.st_size}"
    digest = hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
    name = f"{PREFIX}{re.sub('[^a-z0-9]+', '_', os.path.basename(folder).lower())[:40]}_{digest[:16]}"
    with _lock:
        if not any(finder is _Finder for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder)
        if name not in _namespaces:
            namespace = _namespaces[name] = ModuleNamespace(name, os.path.abspath(folder))
            package = ModuleType(name, f"The repository in {folder}.")
            package.__path__ = namespace.folders
            sys.modules[name] = package
        return _namespaces[name]


def _exists_elsewhere(top: str) -> bool:
    """Return whether another package provides a module of that name that is more than a directory."""
    if top in sys.modules:
        return getattr(sys.modules[top], "__file__", None) is not None
    spec = PathFinder.find_spec(top)
    return top in sys.stdlib_module_names or (spec is not None and spec.origin is not None)
