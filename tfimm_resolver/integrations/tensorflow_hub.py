"""Lets ``hub.resolve``, ``hub.load`` and ``hub.KerasLayer`` resolve their handles here."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util.import_hooks import hook_import, is_imported, unhook_import
from tfimm_resolver.errors import ArchiveError, ModelsFileError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import named_models, overrides
from tfimm_resolver.resolution.resolver import resolve
from tfimm_resolver.sources.registry import SCHEMES, known_schemes


class HubResolver:
    """The two methods that tensorflow_hub's registry asks for; it asks the newest resolver first."""

    def is_supported(self, handle: object) -> bool:
        """Whether the handle is a URL, an override, a local archive, or a name that is known or really there; never raises.

        Other paths stay tensorflow_hub's own, and so does all that it would keep in a cache that no root of ours serves.
        """
        try:
            return isinstance(handle, str) and _is_ours(Handle.parse(handle))
        except Exception:  # tensorflow_hub asks about whatever its users give it
            return False

    def __call__(self, handle: str) -> str:
        """Resolve a handle.

        Raises:
            ArchiveError: for a corrupt archive, in exactly the words of tensorflow_hub 0.16.1, which its users compare;
                its cause says what is wrong with the archive.
            ResolverError: as ``resolve`` does.
        """
        try:
            return resolve(handle)
        except ArchiveError as error:
            raise ArchiveError(f"{_without_secrets(handle)} does not appear to be a valid module.") from error


_ours = HubResolver()


def _without_secrets(handle: str) -> str:
    """The handle as it was given, unless it has a user or a query, which may hold a secret."""
    parsed = Handle.parse(handle)
    return parsed.public if "@" in parsed.host or parsed.query else handle


def _is_ours(handle: Handle) -> bool:
    if overrides.override(handle.key) is not None:
        return True
    if handle.is_name and (
        _is_in_models_file(handle) or named_models.find_named(named_models.validate_name(handle.text)) is not None
    ):
        return True
    from tfimm_resolver.cache.roots import serves  # with the cache, on demand

    if not serves(settings.urls_root().value):
        return False
    if not handle.scheme:
        return _is_archive_here(handle)
    return handle.scheme in SCHEMES or handle.scheme in known_schemes()  # the latter looks at all that is installed


def _is_in_models_file(handle: Handle) -> bool:
    try:
        return discovery.find(handle.text) is not None
    except ModelsFileError:  # to be told when the model is asked for
        return True


def _is_archive_here(handle: Handle) -> bool:
    return handle.is_archive and os.path.isfile(handle.path)


def register() -> None:
    """Be asked first by tensorflow_hub, at once or as soon as somebody imports it; once, however often it is called."""
    hook_import("tensorflow_hub", _at_import)


def unregister() -> None:
    """Leave tensorflow_hub to its own resolvers."""
    unhook_import("tensorflow_hub")
    if is_imported("tensorflow_hub"):
        _leave()


@contextlib.contextmanager
def _at_import() -> Iterator[None]:
    with _pkg_resources():
        yield
    registry = sys.modules.get("tensorflow_hub.registry")
    if registry is not None:  # None where the import failed, for want of TensorFlow
        _leave()
        registry.resolver.add_implementation(_ours)


def _leave() -> None:
    registry = sys.modules["tensorflow_hub.registry"].resolver
    # By name: after a reload of this module an older class may stand there.
    registry._impls = [other for other in registry._impls if type(other).__module__ != __name__]


@contextlib.contextmanager
def _pkg_resources() -> Iterator[None]:
    """Stand in for pkg_resources where it is missing: tensorflow_hub 0.16.1 needs one function of it to be imported.

    setuptools 82 took the real one away.
    """
    # In sys.modules it may be somebody else's stand-in, which find_spec refuses to look at.
    if sys.modules.get("pkg_resources") or importlib.util.find_spec("pkg_resources"):
        yield
        return
    stand_in: Any = ModuleType("pkg_resources")
    stand_in.parse_version = _parse_version
    stand_in.__getattr__ = _refuse
    sys.modules["pkg_resources"] = stand_in
    try:
        yield
    finally:
        if sys.modules.get("pkg_resources") is stand_in:
            del sys.modules["pkg_resources"]


def _parse_version(version: str) -> object:
    from packaging.version import parse  # 20 ms that only the stand-in costs

    return parse(version)


def _refuse(name: str) -> object:
    """What else is imported meanwhile, and can do without pkg_resources, expects an ImportError there."""
    raise (AttributeError if name.startswith("__") else ImportError)(f"there is no pkg_resources to take {name} from")
