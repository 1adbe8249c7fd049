"""Which directories hold models: ``set_dir``, the environment and absl flags, in their order."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.settings import absl_flags, ownership
from tfimm_resolver.settings.environment import _is_on
from tfimm_resolver.settings.paths import expand_path, is_bucket

TEMPORARY = "default, temporary"
EXTRA_ROOTS = "TFIMM_RESOLVER_EXTRA_ROOTS"
_lock = threading.Lock()
_chosen: Setting | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """A directory, which setting it came from, and the permission bits it is made with."""

    value: str
    source: str
    mode: int = 0o777


def get_dir() -> str:
    """The directory in which models lie under their names; creates nothing.

    The first that is set of ``set_dir()``, ``$TFIMM_HOME``, ``$XDG_CACHE_HOME/tfimm``; else ``~/.cache/tfimm``.

    Raises:
        CacheError: if nothing is set and there is no home directory.
    """
    return names_root().value


def set_dir(d: str | os.PathLike[str] | None) -> None:
    """Put every cache, of names and of URL handles, into ``d`` for this process; None takes that back."""
    choose_dir(d, "set_dir()")


def choose_dir(d: str | os.PathLike[str] | None, source: str) -> Setting | None:
    """``set_dir`` on behalf of ``source``; returns what was chosen before."""
    global _chosen
    chosen = Setting(expand_path(os.fspath(d)), source) if d else None
    with _lock:
        before, _chosen = _chosen, chosen
    return before


def restore_chosen_dir(chosen: Setting | None) -> None:
    """Choose again what ``choose_dir`` said was chosen before."""
    global _chosen  # noqa: PLW0603  # one of the few process-wide values, behind its lock
    with _lock:
        _chosen = chosen


def names_root() -> Setting:
    """The root for model names, and what chose it."""
    return _chosen or _tfimm_root() or Setting(expand_path("~/.cache/tfimm"), "default")


def urls_root() -> Setting:
    """The root for URL handles, and what chose it."""
    return next(_configured_roots(), None) or _temporary_root()


def local_root(*, create: bool = False) -> Setting:
    """The root for URL handles on this machine's disk: the first that is said and no bucket."""
    return next((root for root in _configured_roots() if not is_bucket(root.value)), None) or _temporary_root(create=create)


def uses_local_copy(place: str = "") -> bool:
    """Whether the root for URL handles, ``place`` if known, is a bucket from which models are copied, as s3:// always is."""
    place = place or urls_root().value
    return is_bucket(place) and (not place.startswith("gs://") or _is_on("TFIMM_RESOLVER_LOCAL_COPY"))


def cache_root(*, create: bool = False) -> Setting:
    """The root in which the paths lie that ``resolve`` gives for URL handles; ``create`` makes the temporary default."""
    root = next(_configured_roots(), None)
    return root if root and not uses_local_copy(root.value) else local_root(create=create)


def _configured_roots() -> Iterator[Setting]:
    if _chosen:
        yield _chosen
    if place := os.environ.get("TFHUB_CACHE_DIR"):
        yield Setting(expand_path(place), "$TFHUB_CACHE_DIR")
    if place := absl_flags.value(absl_flags.CACHE_DIR):
        yield Setting(expand_path(place), "--tfhub_cache_dir")
    if root := _tfimm_root():
        yield root


def extra_roots() -> list[str]:
    """Directories in which URL handles are looked for before the root; they are only read, and need not be there."""
    said = os.environ.get(EXTRA_ROOTS, "")
    if "://" in said.replace("file://", ""):
        raise HandleError(
            f"{EXTRA_ROOTS} is {said!r}", fix=f"An extra root is a local directory; they are separated by {os.pathsep!r}."
        )
    places = dict.fromkeys(expand_path(place) for place in said.split(os.pathsep) if place)
    own = urls_root().value if places else ""
    return [place for place in places if place != own]


def _tfimm_root() -> Setting | None:
    if place := os.environ.get("TFIMM_HOME"):
        return Setting(expand_path(place), "$TFIMM_HOME")
    if place := os.environ.get("XDG_CACHE_HOME"):
        return Setting(os.path.join(expand_path(place), "tfimm"), "$XDG_CACHE_HOME")
    return None


def _temporary_root(*, create: bool = False) -> Setting:
    """tensorflow_hub's default place, unless another user could have put files there.

    A place where nothing lies counts as ours, for as long as it is not read: ``Guard`` sees to that. To ``create`` it at
    once keeps another user from doing so first.
    """
    for root in _temporary_roots():
        if ownership.is_private_or_missing(root.value, root.mode if create else None):
            return root
    shared, private = (root.value for root in _temporary_roots())
    raise CacheError(f"{shared} and {private} belong to others, or others may write there", fix="Set TFHUB_CACHE_DIR.")


def _temporary_roots() -> Iterator[Setting]:
    import tempfile  # 10 ms that only this default costs

    shared = os.path.join(tempfile.gettempdir(), "tfhub_modules")
    yield Setting(shared, TEMPORARY, 0o755)
    yield Setting(f"{shared}-{_user()}", TEMPORARY, 0o700)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a passwd entry
        return str(os.getuid())
