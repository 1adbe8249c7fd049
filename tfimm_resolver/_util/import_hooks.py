"""Runs code around the import of a module that somebody else imports, without importing it."""

from __future__ import annotations

import contextlib
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

ImportHook = Callable[[], AbstractContextManager[None]]
"""Entered before the module's code runs and left after it, also where that code raises."""

_around: dict[str, ImportHook] = {}


def hook_import(name: str, context: ImportHook) -> None:
    """Run ``context`` around every import and reload of the module ``name``.

    A module that is imported already counts as just imported: ``context`` runs once, around nothing.
    """
    _around[name] = context
    if _finder not in sys.meta_path:
        # By name: the finder of a copy of this module that was reloaded or thrown away may stand there.
        sys.meta_path[:] = [_finder, *(other for other in sys.meta_path if type(other).__module__ != __name__)]
    if is_imported(name):
        _run_inside(name, lambda: None)


def unhook_import(name: str) -> None:
    """Forget the context of a module; the finder goes with the last one. Nothing happens where there is none."""
    _around.pop(name, None)
    if not _around and _finder in sys.meta_path:
        sys.meta_path.remove(_finder)


def is_imported(name: str) -> bool:
    """Whether the module's code has run to its end."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


def _run_inside(name: str, body: Callable[[], None]) -> None:
    """Run ``body`` inside the context; a context that fails warns, and never breaks the host's import."""
    with contextlib.ExitStack() as stack:
        _warn_on_error(name, lambda: stack.enter_context(_around[name]()))
        try:
            body()
        finally:
            _warn_on_error(name, stack.close)


def _warn_on_error(name: str, step: Callable[[], object]) -> None:
    try:
        step()
    except Exception as error:
        warnings.warn(f"tfimm_resolver could not attach to {name}: {error!r}", RuntimeWarning, stacklevel=2)


class _Finder:
    """Finds a watched module as the other finders do, and wraps its loader."""

    def __init__(self) -> None:
        self._busy: set[tuple[int, str]] = set()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        asked = (threading.get_ident(), name)
        # Another finder may ask the whole import system, us included, as wrapt's does.
        if name not in _around or asked in self._busy:
            return None
        self._busy.add(asked)
        try:
            others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
            spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        finally:
            self._busy.discard(asked)
        if spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]  # deriving from Loader costs 5 ms
        return spec


class _Loader:
    def __init__(self, real: Any) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._real.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        # pkgutil, inspect and importlib.resources must see the real loader from here on.
        module.__spec__.loader = module.__loader__ = self._real
        _run_inside(module.__spec__.name, lambda: self._real.exec_module(module))

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


_finder = _Finder()
