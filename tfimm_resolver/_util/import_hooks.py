"""Import hooks: run code around the import of another module, without importing it ourselves; or provide modules."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tfimm_resolver._util.outgoing import clean_value

ImportHook = Callable[[], AbstractContextManager[None]]
"""Returns a context that is entered before the module's code runs and left after it, also if that code raises."""

_hooks: dict[str, ImportHook] = {}
_providers: dict[re.Pattern[str], Callable[[str], ModuleSpec]] = {}


def hook_import(name: str, hook: ImportHook) -> None:
    """Enter the context of ``hook`` around every import and reload of the module ``name``, replacing its earlier hook.

    If the module is already imported, the context is also entered and left right away.
    """
    _hooks[name] = hook
    _install_finder()
    if is_imported(name):
        _run_with_hook(name, lambda: None)


def provide_modules(pattern: str, find_spec: Callable[[str], ModuleSpec]) -> None:
    """Find top-level modules whose full names match the regular expression ``pattern`` by ``find_spec``.

    Only those that are not imported, and that no other finder has: a user's own module comes first. ``find_spec`` may raise
    ModuleNotFoundError for a module that does not exist, to say what to do.
    """
    _providers[re.compile(pattern)] = find_spec
    _install_finder()


def set_finders(finders: Iterable[Any]) -> None:
    """Give the import system a new list of finders.

    An import in another thread goes on with the list that it began with; if a finder were removed from that one, it would
    skip the next, and might not find its module.
    """
    sys.meta_path = [*finders]


def _install_finder() -> None:
    if _finder not in sys.meta_path:
        # Compared by module name: a finder of an earlier copy of this module, from before a reload, may still be there.
        set_finders([_finder, *(other for other in sys.meta_path if type(other).__module__ != __name__)])


def unhook_import(name: str) -> None:
    """Remove the hook of a module, if it has one; the finder is removed with the last hook."""
    _hooks.pop(name, None)
    if not (_hooks or _providers) and _finder in sys.meta_path:
        set_finders(other for other in sys.meta_path if other is not _finder)


def is_hooked(name: str) -> bool:
    """Whether a module has a hook that runs when it is imported."""
    return name in _hooks and _finder in sys.meta_path


def is_imported(name: str) -> bool:
    """Return whether a module has been imported and its code has finished."""
    spec = getattr(sys.modules.get(name), "__spec__", None)
    return spec is not None and not getattr(spec, "_initializing", False)


def _run_with_hook(name: str, body: Callable[[], None]) -> None:
    """Run ``body`` inside the context of the hook; a failing hook only warns, and never breaks the import."""
    with contextlib.ExitStack() as stack:
        _warn_on_error(name, lambda: stack.enter_context(_hooks[name]()))
        try:
            body()
        finally:
            _warn_on_error(name, stack.close)


def _warn_on_error(name: str, step: Callable[[], object]) -> None:
    try:
        step()
    except Exception as error:
        warnings.warn(f"tfimm_resolver could not attach to {name}: {clean_value(repr(error))}", RuntimeWarning, stacklevel=2)


def _find_provider(name: str) -> Callable[[str], ModuleSpec] | None:
    return next((provide for pattern, provide in _providers.items() if pattern.fullmatch(name)), None)


class _Finder:
    """Finds a hooked module with the other finders, and wraps its loader; and a provided one that they do not have."""

    def __init__(self) -> None:
        self._active: set[tuple[int, str]] = set()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        provide = _find_provider(name) if path is None else None
        request = (threading.get_ident(), name)
        # Another finder may call back into the whole import system, this finder included, as wrapt's does.
        if (name not in _hooks and provide is None) or request in self._active:
            return None
        self._active.add(request)
        try:
            others = [finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec")]
            spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        finally:
            self._active.discard(request)
        if spec is None and provide is not None:
            spec = provide(name)
        if name in _hooks and spec is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader)  # type: ignore[assignment]  # deriving from Loader costs 5 ms
        return spec


class _Loader:
    """Wraps the real loader of a hooked module."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._real.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        # pkgutil, inspect and importlib.resources must see the real loader from here on.
        module.__spec__.loader = module.__loader__ = self._real
        _run_with_hook(module.__spec__.name, lambda: self._real.exec_module(module))

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


_finder = _Finder()
