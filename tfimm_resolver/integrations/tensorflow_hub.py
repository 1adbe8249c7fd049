"""Makes ``hub.resolve``, ``hub.load`` and ``hub.KerasLayer`` resolve handles with this package."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util.import_hooks import hook_import, is_hooked, is_imported, unhook_import
from tfimm_resolver.errors import ArchiveError, HandleError, ModelsFileError
from tfimm_resolver.handles.fragment import has_own_fragment
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.integrations import child_processes
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import named_models, overrides
from tfimm_resolver.resolution.resolver import resolve_for_hub
from tfimm_resolver.sources.registry import SCHEMES, list_schemes


class HubResolver:
    """A resolver for tensorflow_hub's registry, which tries the resolver that was added last first."""

    def is_supported(self, handle: object) -> bool:
        """Whether the handle is a URL, an override, a local archive, or the name of a known or existing model; never raises.

        A path with ``#subdirectory=`` is one, too, and a URL whose pin is misspelt, to report it. Other paths are left to
        tensorflow_hub, and so is everything if its cache directory is not one that we can use.
        """
        try:
            return isinstance(handle, str) and _is_supported(Handle.parse(handle))
        except HandleError:  # tensorflow_hub would ignore a misspelt pin, and use what it should have refused
            return "://" in str(handle) and has_own_fragment(str(handle))
        except Exception:  # tensorflow_hub passes on any object that its users pass to it
            return False

    def __call__(self, handle: str) -> str:
        """Resolve a handle.

        Raises:
            ArchiveError: for a corrupt archive, with exactly the message of tensorflow_hub 0.16.1, which its users compare;
                the error's cause says what is wrong with the archive.
            ResolverError: as ``resolve`` does.
        """
        try:
            return resolve_for_hub(handle)
        except ArchiveError as error:
            raise ArchiveError(f"{_redact(handle)} does not appear to be a valid module.", fix="") from error


_hub_resolver = HubResolver()


def _redact(handle: str) -> str:
    """Return the handle unchanged, or redacted if it has a user or a query, which may contain a secret."""
    parsed = Handle.parse(handle)
    return parsed.redacted if "@" in parsed.host or parsed.query else handle


def _is_supported(handle: Handle) -> bool:
    if overrides.get_override(handle.key) is not None:
        return True
    if handle.is_name and (
        _is_in_models_file(handle) or named_models.find_named(named_models.validate_name(handle.text)) is not None
    ):
        return True
    if not _is_root_usable():
        return False
    if not handle.scheme:
        return _is_archive_here(handle) or _has_subdirectory(handle)
    return handle.scheme in SCHEMES or handle.scheme in list_schemes()  # the latter reads the entry points of all packages


def _is_root_usable() -> bool:
    """Whether the cache directory is one that this package can use, or one that is written wrongly."""
    from tfimm_resolver.cache.roots import is_supported_root  # imports the cache, only when needed

    try:
        return is_supported_root(settings.urls_root().value)
    except HandleError:  # resolving the handle will report it; tensorflow_hub would create a directory of that name
        return True


def _is_in_models_file(handle: Handle) -> bool:
    try:
        return discovery.find_entry(handle.text) is not None
    except ModelsFileError:  # resolving the handle will report it
        return True


def _is_archive_here(handle: Handle) -> bool:
    return handle.is_archive and os.path.isfile(handle.path)


def _has_subdirectory(handle: Handle) -> bool:
    return bool(handle.subdirectory) and os.path.isdir(handle.path)


def register() -> None:
    """Make tensorflow_hub try this package first: now, or as soon as it is imported. Repeated calls have no effect.

    Importing ``tfimm_resolver`` calls it. Processes that multiprocessing starts later import ``tfimm_resolver``, too.

    Example:
        >>> tfimm_resolver.register()
        >>> import tensorflow_hub as hub
        >>> hub.resolve("https://models.example/half_plus_two/1.tar.gz")
        '/.../...'
    """
    hook_import("tensorflow_hub", _register_on_import)
    child_processes.mark()


def unregister() -> None:
    """Make tensorflow_hub use only its own resolvers again.

    Example:
        >>> tfimm_resolver.unregister()
        >>> tfimm_resolver.register()  # undo it
    """
    unhook_import("tensorflow_hub")
    child_processes.unmark()
    if is_imported("tensorflow_hub"):
        _remove_resolvers()


def is_registered() -> bool:
    """Whether tensorflow_hub resolves handles with this package, or will as soon as it is imported."""
    if is_imported("tensorflow_hub"):
        return any(module == __name__ for module, _ in _list_implementations())
    return is_hooked("tensorflow_hub")


def list_resolvers() -> list[str]:
    """Return the resolvers in tensorflow_hub's registry, the one that it asks first at the front; none before its import."""
    return [f"{module}.{name}" for module, name in reversed(_list_implementations())]


def _list_implementations() -> list[tuple[str, str]]:
    registry = getattr(sys.modules.get("tensorflow_hub.registry"), "resolver", None)
    return [(type(other).__module__, type(other).__qualname__) for other in getattr(registry, "_impls", ())]


@contextlib.contextmanager
def _register_on_import() -> Iterator[None]:
    with _provide_pkg_resources():
        yield
    registry = sys.modules.get("tensorflow_hub.registry")
    if registry is not None:  # None if the import failed, for example without TensorFlow
        _remove_resolvers()
        registry.resolver.add_implementation(_hub_resolver)


def _remove_resolvers() -> None:
    registry = sys.modules["tensorflow_hub.registry"].resolver
    # Compared by module name: after a reload of this module, the registered class may be an older one.
    registry._impls = [other for other in registry._impls if type(other).__module__ != __name__]


@contextlib.contextmanager
def _provide_pkg_resources() -> Iterator[None]:
    """Provide a substitute for pkg_resources if it is missing: tensorflow_hub 0.16.1 imports one function from it.

    setuptools 82 removed the real one.
    """
    # sys.modules may hold another package's substitute, on which find_spec raises ValueError.
    if sys.modules.get("pkg_resources") or importlib.util.find_spec("pkg_resources"):
        yield
        return
    substitute: Any = ModuleType("pkg_resources")
    substitute.parse_version = _parse_version
    substitute.__getattr__ = _raise_missing
    sys.modules["pkg_resources"] = substitute
    try:
        yield
    finally:
        if sys.modules.get("pkg_resources") is substitute:
            del sys.modules["pkg_resources"]


def _parse_version(version: str) -> object:
    from packaging.version import parse  # 20 ms, needed only by the substitute

    return parse(version)


def _raise_missing(name: str) -> object:
    """Raise ImportError: packages imported meanwhile that work without pkg_resources expect it."""
    raise (AttributeError if name.startswith("__") else ImportError)(f"pkg_resources is missing, cannot import {name}")
