"""Imports the modules of a repository into a package of their own, and redirects the repository's imports there."""

from __future__ import annotations

import builtins
import contextlib
import hashlib
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from tfimm_resolver._util import fs
from tfimm_resolver._util.import_hooks import set_finders
from tfimm_resolver.hub import source_finder
from tfimm_resolver.hub.text_names import StandIn, alias_names, is_replaced, translate

PREFIX = "tfimm_hub_"
HUBCONF = "hubconf.py"

_HUBCONF_MODULE = HUBCONF.removesuffix(".py")
_INSTALLED = re.compile(r"[/\\](site|dist)-packages[/\\]")

_lock = threading.RLock()


@dataclass(frozen=True, slots=True)
class Checkout:
    """The files of a repository.

    Attributes:
        path: their directory.
        name: a readable name of the repository, or of the directory.
        identity: the repository's handle and commit; empty for a local directory.
    """

    path: str
    name: str
    identity: str = ""


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
        self._paths_before = [*sys.path]
        self.builtins = {**vars(builtins), "__import__": self.import_for_repository}

    def owns(self, name: str, names: Sequence[str] = ()) -> bool:
        """Return whether a module belongs to the repository; as for a script, its own directory comes first.

        ``names`` are what the statement ``from name import ...`` imports from it.
        """
        top, _, below = name.partition(".")
        if f"{self.name}.{top}" in sys.modules:
            return True
        if not top or top in sys.builtin_module_names:
            return False
        spec = self.find_spec(f"{self.name}.{top}", self.update_folders())
        if spec is None or spec.origin is not None:
            return spec is not None
        if not _exists_elsewhere(top):
            return True
        # A directory without __init__.py, such as docs/, does not shadow a package; but it comes before a file of the
        # user's own of that name, such as utils.py, if it has what is imported.
        required = [below] if below else [*names]
        return not _is_installed(top) and any(source_finder.has_submodule(spec, each) for each in required)

    def find_spec(self, name: str, folders: Sequence[str]) -> ModuleSpec | None:
        """Return the spec of a module of the repository by its full name; hubconf is exactly the file of that name."""
        if name == f"{self.name}.{_HUBCONF_MODULE}":
            return source_finder.find_file(name, f"{self.folders[0]}/{HUBCONF}", self.builtins)
        return source_finder.find_module(name, folders, self.builtins)

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
        self.update_folders()
        if level == 0 and self.owns(name, fromlist or ()):
            module = builtins.__import__(f"{self.name}.{name}", globals, locals, fromlist, 0)
            return module if fromlist else sys.modules[f"{self.name}.{top}"]
        module = builtins.__import__(name, globals, locals, fromlist or (), level)
        is_text = level == 0 and is_replaced(name if fromlist else top)
        return StandIn(module, self) if is_text else module

    def translate(self, name: str) -> str:
        """Return the full name of a module, if it belongs to the repository."""
        return str(translate(name, self))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run code of the repository: its modules have aliases meanwhile, and ``sys.path`` gets no directory of its own."""
        self._paths_before = before = [*sys.path]
        try:
            with alias_names(self):
                yield
        finally:
            self.update_folders()
            own = [path for path in sys.path if path not in before and self._is_inside(path)]
            sys.path[:] = [path for path in sys.path if path not in own]
            for path in own:
                sys.path_importer_cache.pop(path, None)

    def update_folders(self) -> list[str]:
        """Add the directories of the repository that are in ``sys.path`` to ``folders``; return ``folders``.

        Python itself then finds nothing in those that the repository's code has added: a module from there would be
        global, and perhaps bytecode.
        """
        inside = [path for path in sys.path if self._is_inside(path)]
        sys.path_importer_cache.update((path, None) for path in inside if path not in self._paths_before)
        paths = dict.fromkeys(map(os.path.abspath, inside))
        self.folders.extend(path for path in paths if path not in self.folders)
        return self.folders

    def _is_inside(self, path: str) -> bool:
        path = os.path.abspath(path)
        return path == self.folders[0] or path.startswith(f"{self.folders[0]}{os.sep}")

    def move(self, folder: str) -> None:
        """Find modules that are imported later in ``folder``: the same files, downloaded again."""
        before = self.folders[0]
        self.folders[:] = [folder + path.removeprefix(before) for path in self.folders]

    def forget(self) -> None:
        """Remove all its modules from ``sys.modules``."""
        for name in [name for name in sys.modules if name == self.name or name.startswith(f"{self.name}.")]:
            del sys.modules[name]
        _namespaces.pop(self.name, None)


_namespaces: dict[str, ModuleNamespace] = {}


class _Finder:
    """Finds the modules below the package of a repository."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of such a module (https://docs.python.org/3/library/importlib.html); None for any other."""
        namespace = _namespaces.get(name.partition(".")[0])
        if namespace is None or path is None:
            return None
        return namespace.find_spec(name, namespace.update_folders() if name.count(".") == 1 else path)


def make_name(checkout: Checkout) -> str:
    """Return the name of the package: the same in every process that has the repository, or the directory, in this state."""
    hubconf = f"{checkout.path}/{HUBCONF}"
    if checkout.identity:
        content = hashlib.sha256(fs.read_regular(hubconf, source_finder.MODULE_BYTES_MAX, follow=True)).hexdigest()
        state = f"{checkout.identity}\n{content}"
    else:
        status = os.stat(hubconf)
        state = f"{os.path.realpath(checkout.path)}\n{status.st_mtime_ns}\n{status.st_size}"
    digest = hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{make_readable_name(checkout)}{digest[:16]}"


def make_readable_name(checkout: Checkout) -> str:
    """Return the part of a package's name that does not depend on the state of the files."""
    return f"{PREFIX}{re.sub('[^a-z0-9]+', '_', checkout.name.lower())[:40]}_"


def get_namespace(checkout: Checkout) -> ModuleNamespace:
    """Return the namespace of a repository, a new one whenever its hubconf.py, or its commit, has changed."""
    name = make_name(checkout)
    with _lock:
        if not any(finder is _Finder for finder in sys.meta_path):
            set_finders([_Finder, *sys.meta_path])
        if name not in _namespaces:
            namespace = _namespaces[name] = ModuleNamespace(name, os.path.abspath(checkout.path))
            package = ModuleType(name, f"The repository in {checkout.path}.")
            package.__path__ = namespace.folders
            sys.modules[name] = package
        _namespaces[name].move(os.path.abspath(checkout.path))
        return _namespaces[name]


def _exists_elsewhere(top: str) -> bool:
    """Return whether another package provides a module of that name that is more than a directory."""
    if top in sys.modules:
        return getattr(sys.modules[top], "__file__", None) is not None
    return top in sys.stdlib_module_names or _find_origin(top) is not None


def _is_installed(top: str) -> bool:
    """Return whether a module comes with Python or was installed, unlike those beside the user's own program."""
    file = getattr(sys.modules.get(top), "__file__", None) or _find_origin(top) or ""
    if top in sys.stdlib_module_names or _INSTALLED.search(file):
        return True
    own = {os.path.abspath(""), os.path.abspath(sys.path[0] if sys.path else "")}
    folder = os.path.dirname(os.path.abspath(file))
    return folder not in own and os.path.dirname(folder) not in own


def _find_origin(top: str) -> str | None:
    spec = PathFinder.find_spec(top)
    return spec.origin if spec is not None else None
