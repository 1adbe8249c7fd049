"""Cache directories, as chosen by ``set_dir``, the environment and absl flags, in this order."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.settings import absl_flags, ownership
from tfimm_resolver.settings.environment import is_on
from tfimm_resolver.settings.paths import check_path, expand_path, expand_variable, is_bucket

TEMPORARY = "default, temporary"
EXTRA_ROOTS = "TFIMM_RESOLVER_EXTRA_ROOTS"

_lock = threading.Lock()
_override: Setting | None = None
_hub_override: Setting | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """A directory, the name of the setting it came from, and the permission bits it is created with."""

    value: str
    source: str
    mode: int = 0o777


def get_dir() -> str:
    """Return the directory that holds models stored under their names, without creating it.

    It is the first of these that is set: ``set_dir()``, ``$TFIMM_HOME``, ``$XDG_CACHE_HOME/tfimm``; else ``~/.cache/tfimm``.

    Raises:
        CacheError: if none is set and the user has no home directory.

    Example:
        >>> tfimm_resolver.set_dir("/data/models")
        >>> tfimm_resolver.get_dir()
        '/data/models'
        >>> tfimm_resolver.set_dir(None)
    """
    return names_root().value


def set_dir(d: str | os.PathLike[str] | None) -> None:
    """Use ``d`` for every cache, of names and of URL handles, in this process; None goes back to the other settings.

    Example:
        >>> tfimm_resolver.set_dir("my_models")
        >>> tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        '/.../my_models/...'
        >>> tfimm_resolver.set_dir(None)
    """
    override_dir(d, "set_dir()")


def override_dir(d: str | os.PathLike[str] | None, source: str) -> Setting | None:
    """Use ``d`` for every cache as ``set_dir`` does, on behalf of ``source``; return the previous override."""
    global _override
    override = Setting(expand_variable(source, check_path(d)), source) if d else None
    with _lock:
        before, _override = _override, override
    return before


def get_dir_override() -> Setting | None:
    """Return what ``set_dir`` or ``override_dir`` has set, or None."""
    return _override


def restore_dir_override(override: Setting | None) -> None:
    """Restore the override that ``override_dir`` returned."""
    global _override  # noqa: PLW0603  # one of the few process-wide values, behind its lock
    with _lock:
        _override = override


def names_root() -> Setting:
    """Return the root for model names, with the setting it came from."""
    return _override or _tfimm_root() or Setting(expand_path("~/.cache/tfimm"), "default")


def hub_root() -> Setting:
    """Return the directory of the hub's repositories, weights and trusted names, with the setting it came from."""
    if _hub_override:
        return _hub_override
    if path := os.environ.get("TFIMM_HUB_DIR"):
        return Setting(expand_variable("TFIMM_HUB_DIR", path), "$TFIMM_HUB_DIR")
    names = names_root()
    return Setting(f"{names.value}/.hub", names.source)


def override_hub_dir(d: str | os.PathLike[str] | None, source: str) -> None:
    """Use ``d`` for the hub in this process, on behalf of ``source``; None restores the other settings."""
    global _hub_override  # noqa: PLW0603  # one of the few process-wide values, behind its lock
    with _lock:
        _hub_override = Setting(expand_path(d), source) if d else None


def urls_root() -> Setting:
    """Return the root for URL handles, with the setting it came from."""
    return next(_iter_set_roots(), None) or _temporary_root()


def local_root(*, create: bool = False) -> Setting:
    """Return the root for URL handles on a local disk: the first setting that is not a bucket, else the default."""
    local_roots = (root for root in _iter_set_roots() if not is_bucket(root.value))
    return next(local_roots, None) or _temporary_root(create=create)


def uses_local_copy(root: str = "") -> bool:
    """Whether the root for URL handles, or ``root`` if given, is a bucket whose models are copied to disk (always for s3://)."""
    root = root or urls_root().value
    return is_bucket(root) and (not root.startswith("gs://") or is_on("TFIMM_RESOLVER_LOCAL_COPY"))


def cache_root(*, create: bool = False) -> Setting:
    """Return the root of the paths that ``resolve`` returns for URL handles; ``create`` creates the temporary default."""
    return cache_roots(create=create)[0]


def cache_roots(*, create: bool = False) -> tuple[Setting, Setting | None]:
    """Return ``cache_root`` and the bucket behind it, whose models are copied to it; None if there is no such bucket."""
    root = next(_iter_set_roots(), None)
    if root is not None and uses_local_copy(root.value):
        return local_root(create=create), root
    return root or local_root(create=create), None


def _iter_set_roots() -> Iterator[Setting]:
    if _override:
        yield _override
    if path := os.environ.get("TFHUB_CACHE_DIR"):
        yield Setting(expand_variable("TFHUB_CACHE_DIR", path), "$TFHUB_CACHE_DIR")
    if path := absl_flags.value(absl_flags.CACHE_DIR):
        yield Setting(expand_variable("--tfhub_cache_dir", path), "--tfhub_cache_dir")
    if root := _tfimm_root():
        yield root


def extra_roots() -> list[str]:
    """Return the read-only directories that are searched for URL handles before the root; they may not exist.

    Raises:
        HandleError: if one is not a local directory, or has quotes around it.
    """
    if not (value := os.environ.get(EXTRA_ROOTS)):
        return []
    if "://" in value.replace("file://", ""):
        raise HandleError(f"{EXTRA_ROOTS} is {value!r}", fix=f"Set it to local directories only, separated by {os.pathsep!r}.")
    paths = dict.fromkeys(expand_variable(EXTRA_ROOTS, path) for path in value.split(os.pathsep) if path)
    own = urls_root().value if paths else ""
    return [path for path in paths if path != own]


def _tfimm_root() -> Setting | None:
    if path := os.environ.get("TFIMM_HOME"):
        return Setting(expand_variable("TFIMM_HOME", path), "$TFIMM_HOME")
    if path := os.environ.get("XDG_CACHE_HOME"):
        return Setting(os.path.join(expand_variable("XDG_CACHE_HOME", path), "tfimm"), "$XDG_CACHE_HOME")
    return None


def _temporary_root(*, create: bool = False) -> Setting:
    """Return tensorflow_hub's default directory, or one of this user's own if others could have put files there.

    A directory that does not exist yet is accepted; ``Guard`` checks it again on each read. ``create`` creates it right
    away, before another user can.

    Raises:
        CacheError: if neither directory can be trusted.
    """
    for root in _temporary_roots():
        if ownership.is_private_or_missing(root.value, root.mode if create else None):
            return root
    shared, private = (root.value for root in _temporary_roots())
    raise CacheError(
        f"no default cache: other users own {shared} and {private}, or can write there",
        fix="Set TFHUB_CACHE_DIR to a directory of your own.",
    )


def _temporary_roots() -> Iterator[Setting]:
    import tempfile  # 10 ms that only this default costs

    shared = os.path.join(tempfile.gettempdir(), "tfhub_modules")
    yield Setting(shared, TEMPORARY, 0o755)
    yield Setting(f"{shared}-{_get_user_name()}", TEMPORARY, 0o700)


def _get_user_name() -> str:
    """Return the user's name, which $LOGNAME may set, if it can be part of a directory's name; else the user's id."""
    import getpass

    name = ""
    with contextlib.suppress(KeyError, OSError):  # a user without a passwd entry, as in containers
        name = getpass.getuser()
    return name if re.fullmatch(r"[\w.@$+ -]{1,64}", name) else str(getattr(os, "getuid", int)())
