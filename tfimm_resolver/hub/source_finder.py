"""Finds the modules of a repository by their source only, so that what a reader of the repository sees is what runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    PathFinder,
    SourceFileLoader,
)
from importlib.util import spec_from_file_location
from types import CodeType, ModuleType
from typing import Any

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show

MODULE_BYTES_MAX = 16 << 20
"""Limit on the size of a hubconf.py, and of each module of its repository."""


class SourceLoader(SourceFileLoader):
    """Compiles a module from its source and sets its ``__builtins__``.

    Reads no bytecode, as a repository may ship some that was compiled from other source; writes none, which would change
    the tree.
    """

    def __init__(self, name: str, path: str, module_builtins: dict[str, Any]) -> None:
        super().__init__(name, path)
        self._builtins = module_builtins

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of the module, compiled from its source; raises ImportError if that is too large or unreadable."""
        try:
            source = fs.read_regular(self.path, MODULE_BYTES_MAX, follow=True)
        except OSError as error:
            text = f"{show(self.path)} cannot be read: {show(error.strerror or error)}"
            raise ImportError(text, name=fullname, path=self.path) from error
        return self.source_to_code(source, self.path)

    def exec_module(self, module: ModuleType) -> None:
        """Run the code of the module."""
        vars(module)["__builtins__"] = self._builtins
        super().exec_module(module)


def find_module(name: str, folders: Sequence[str], module_builtins: dict[str, Any]) -> ModuleSpec | None:
    """Return the spec of a module in ``folders``; ``name`` is its full name. The source wins over an extension module.

    As in Python itself, a directory without ``__init__.py`` is a package if no folder has a module of its name.
    """
    loaders: list[Any] = [  # typeshed has classes only
        (lambda fullname, path: SourceLoader(fullname, path, module_builtins), SOURCE_SUFFIXES),
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
    ]
    portions: list[str] = []
    for folder in folders:
        spec = _find_in_archive(name, folder) if os.path.isfile(folder) else FileFinder(folder, *loaders).find_spec(name)
        if spec is not None and spec.loader is not None:
            return spec
        portions += (spec and spec.submodule_search_locations) or []
    return _make_namespace_spec(name, folders, portions) if portions else None


def find_file(name: str, path: str, module_builtins: dict[str, Any]) -> ModuleSpec | None:
    """Return the spec of the module ``name`` that is exactly this file, whatever else has its name beside it."""
    return spec_from_file_location(name, path, loader=SourceLoader(name, path, module_builtins))


def has_submodule(spec: ModuleSpec, below: str) -> bool:
    """Return whether the directories of a package contain the module or directory ``below``, a dotted name inside it."""
    paths = [f"{folder}/{below.replace('.', '/')}" for folder in spec.submodule_search_locations or ()]
    return any(os.path.isdir(path) or os.path.isfile(f"{path}.py") for path in paths)


def _find_in_archive(name: str, archive: str) -> ModuleSpec | None:
    """Return the spec of a module that is source in a zip, which the code of a repository may put into ``sys.path``."""
    with _unhide([archive]):
        spec = PathFinder.find_spec(name, [archive])
    return spec if spec is not None and (spec.origin or "").endswith(tuple(SOURCE_SUFFIXES)) else None


def _make_namespace_spec(name: str, folders: Sequence[str], portions: list[str]) -> ModuleSpec:
    with _unhide(folders):
        spec = PathFinder.find_spec(name, folders)
    if spec is not None and spec.origin is None:
        return spec  # its search path follows changes of the folders, and importlib.resources accepts it
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = portions
    return spec


@contextlib.contextmanager
def _unhide(folders: Sequence[str]) -> Iterator[None]:
    """Let Python's own finder look into folders that ``ModuleNamespace`` hides from it."""
    cache = sys.path_importer_cache
    hidden = [folder for folder in folders if folder in cache and cache[folder] is None]
    for folder in hidden:
        cache.pop(folder, None)
    try:
        yield
    finally:
        cache.update(dict.fromkeys(hidden))
