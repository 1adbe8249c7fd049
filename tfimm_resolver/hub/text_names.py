"""Names of a repository's modules that are passed as text: in its own code, and by packages that its code calls."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any, Protocol

from tfimm_resolver._util.import_hooks import set_finders

_RESOURCE_FUNCTIONS = (
    *("as_file", "contents", "files", "is_resource", "open_binary", "open_text"),
    *("path", "read_binary", "read_text"),
)
_FUNCTIONS: dict[str, dict[str, int]] = {
    "importlib": {"import_module": 2},
    "importlib.util": {"find_spec": 2},
    "importlib.resources": dict.fromkeys(_RESOURCE_FUNCTIONS, 1),
    "pkgutil": {"find_loader": 1, "get_data": 1, "get_loader": 1, "resolve_name": 1},
}
"""By module, its functions that take names of modules, and how many of their first arguments are such names."""

_KEYWORDS = {"anchor", "name", "package"}


class Translator(Protocol):
    """Translates the names of a repository's modules."""

    name: str

    def owns(self, name: str) -> bool:
        """Return whether a module belongs to the repository."""
        ...


class StandIn(ModuleType):
    """Stands in for a module such as ``importlib`` in the code of a repository, whose modules its functions find, too."""

    def __init__(self, real: ModuleType, namespace: Translator) -> None:
        super().__init__(real.__name__, real.__doc__)
        self._real, self._namespace = real, namespace

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        if is_replaced(f"{self.__name__}.{name}"):
            return StandIn(value, self._namespace)
        count = _FUNCTIONS[self.__name__].get(name)
        return _translate_arguments(value, count, self._namespace) if count else value


def is_replaced(module: str) -> bool:
    """Return whether the code of a repository gets a stand-in for this module."""
    return module in _FUNCTIONS


def translate(text: Any, namespace: Translator) -> Any:
    """Return the full name of a module of the repository for its name; anything else is returned unchanged."""
    is_name = isinstance(text, str) and not text.startswith(".") and namespace.owns(text.partition(":")[0])
    return f"{namespace.name}.{text}" if is_name else text


def _translate_arguments(function: Callable[..., Any], count: int, namespace: Translator) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        named = {key: translate(value, namespace) if key in _KEYWORDS else value for key, value in kwargs.items()}
        return function(*(translate(value, namespace) for value in args[:count]), *args[count:], **named)

    return call


_lock = threading.RLock()
_aliases: dict[str, ModuleType] = {}
_running = 0
_namespaces: dict[str, Translator] = {}


@contextlib.contextmanager
def alias_names(namespace: Translator) -> Iterator[None]:
    """While the body runs, let packages that the repository's code calls import its modules by their names.

    Such an import puts an alias of the module into ``sys.modules``; all aliases are removed at the end.
    """
    global _running  # noqa: PLW0603  # counts the bodies of all threads, behind the lock
    with _lock:
        _remove_aliases()  # of another repository, whose code calls this one's
        _namespaces[namespace.name] = namespace
        _running += 1
        if _TopFinder not in sys.meta_path:
            set_finders([_SubmoduleFinder, *sys.meta_path, _TopFinder])
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            _remove_aliases()
            if not _running:
                _namespaces.clear()
                set_finders(finder for finder in sys.meta_path if finder not in (_SubmoduleFinder, _TopFinder))


def _remove_aliases() -> None:
    for name, module in _aliases.items():
        if sys.modules.get(name) is module:
            del sys.modules[name]
    _aliases.clear()


def _find_alias(name: str) -> ModuleSpec | None:
    """Return the spec of an alias for a module of the repository whose code is nearest on the stack."""
    namespace = _find_caller(sys._getframe(1))
    if namespace is None or not namespace.owns(name):
        return None
    real = importlib.util.find_spec(f"{namespace.name}.{name}")
    if real is None:
        return None
    spec = ModuleSpec(name, _AliasLoader(name, real), origin=real.origin)  # type: ignore[arg-type]
    spec.submodule_search_locations = real.submodule_search_locations
    return spec


class _SubmoduleFinder:
    """Finds a module below one that is an alias, which the finder of Python would load a second time."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of an alias (https://docs.python.org/3/library/importlib.html); None for any other name."""
        parent = name.rpartition(".")[0]
        return _find_alias(name) if parent in _aliases and sys.modules.get(parent) is _aliases[parent] else None


class _TopFinder:
    """Finds a top-level module that nothing else provides; it has to be the last finder."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of an alias (https://docs.python.org/3/library/importlib.html); None for any other name."""
        return _find_alias(name) if path is None else None


def _find_caller(frame: FrameType | None) -> Translator | None:
    while frame is not None:
        namespace = _namespaces.get(str(frame.f_globals.get("__name__")).partition(".")[0])
        if namespace is not None:
            return namespace
        frame = frame.f_back
    return None


class _AliasLoader:
    """Loads nothing: the alias of a module is the module itself."""

    def __init__(self, name: str, real: ModuleSpec) -> None:
        self._name, self._real = name, real

    def create_module(self, _: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._real.name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec  # the import system has just replaced it
        with _lock:
            _aliases[self._name] = module

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the real loader; its methods get the real name, which they check."""
        value = getattr(self._real.loader, name)
        if not callable(value):
            return value
        return lambda *args: value(*(self._real.name if argument == self._name else argument for argument in args))
