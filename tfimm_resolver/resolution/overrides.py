"""Models by name, as tfimm keeps them: ``set_model_cache`` and the directory that ``get_dir`` names."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping

from tfimm_resolver import settings
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.resolution.named_models import exists, find_named, validate_name

log = logging.getLogger("tfimm_resolver")

_lock = threading.Lock()
_overrides: dict[str, str] = {}


def set_model_cache(model_name: str, model_path: str | os.PathLike[str]) -> None:
    """Say where the model of that name lies: a directory, an archive or a ``gs://`` path.

    A URL handle serves as name, too: it is then read from ``model_path``, and never fetched.

    Raises:
        HandleError: if the name is empty or holds a separator, ``..`` or a NUL.
    """
    path = settings.expand_path(os.fspath(model_path))
    with _lock:
        _overrides[key(model_name)] = path


def clear_model_cache(model_name: str) -> None:
    """Forget what ``set_model_cache`` said of that name; silent if it said nothing, and deletes nothing on disk."""
    with _lock:
        _overrides.pop(key(model_name), None)


def list_cached_models() -> list[str]:
    """The names for which ``set_model_cache`` gave a place, sorted; does not look into ``get_dir()``."""
    with _lock:
        return sorted(_overrides)


def cached_path(model_name: str) -> str | None:
    """Where the model of that name lies: as ``set_model_cache`` said, else below ``get_dir()``; else None.

    None with a warning in the log if ``set_model_cache`` named a place where nothing is.
    """
    known = key(model_name)
    place = override(known)
    if place is None:
        return find_named(known) if "://" not in known else None
    if not exists(place):
        log.warning("set_model_cache(%r, ...) names %s, where nothing is", str(Handle.parse(model_name)), place)
        return None
    return place


@contextlib.contextmanager
def using(
    dir: str | os.PathLike[str] | None = None,  # noqa: A002  # the word of get_dir and set_dir
    models: Mapping[str, str | os.PathLike[str]] | None = None,
) -> Iterator[None]:
    """For a while, as tests and notebooks want it: another root, more overrides; then all is as it was.

    Holds for the whole process, other threads included.
    """
    chosen = settings.choose_dir(dir, "using()") if dir is not None else None
    with _lock:
        before = dict(_overrides)
    try:
        for name, path in (models or {}).items():
            set_model_cache(name, path)
        yield
    finally:
        if dir is not None:
            settings.restore_chosen_dir(chosen)
        with _lock:
            _overrides.clear()
            _overrides.update(before)


def override(key: str) -> str | None:
    """The place that ``set_model_cache`` gave for a name or a handle's key."""
    return _overrides.get(key)


def suggest(name: str, others: Iterable[str] = ()) -> list[str]:
    """Known names, and others that are, that somebody may have meant, the closest first."""
    import difflib  # 1 ms that only an error costs

    known = {*list_cached_models(), *others}
    with contextlib.suppress(OSError):
        known.update(other for other in os.listdir(settings.get_dir()) if find_named(other))
    return difflib.get_close_matches(name, sorted(known), n=3)


def key(name: str) -> str:
    """A name, or the key of a URL handle that serves as one; raises as ``set_model_cache`` does."""
    return Handle.parse(name).key if isinstance(name, str) and "://" in name else validate_name(name)
