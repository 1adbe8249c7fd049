"""Models by name, as tfimm keeps them: ``set_model_cache`` and the directory that ``get_dir`` names."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping

from tfimm_resolver import record, settings
from tfimm_resolver.errors import CacheError, FetchError, HandleError, ResolverError
from tfimm_resolver.handle import Handle

log = logging.getLogger("tfimm_resolver")

_lock = threading.Lock()
_overrides: dict[str, str] = {}


def set_model_cache(model_name: str, model_path: str | os.PathLike[str]) -> None:
    """Say where the model of that name lies: a directory, an archive or a ``gs://`` path.

    A URL handle serves as name, too: it is then read from ``model_path``, and never fetched.

    Raises:
        HandleError: if the name is empty or holds a separator, ``..`` or a NUL.
    """
    path = settings.expanded(os.fspath(model_path))
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


def kept_path(model_name: str) -> str | None:
    """Where the model of that name lies: as ``set_model_cache`` said, else below ``get_dir()``; else None.

    None with a warning in the log if ``set_model_cache`` named a place where nothing is.
    """
    known = key(model_name)
    place = override(known)
    if place is None:
        return find(known) if "://" not in known else None
    if not is_there(place):
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
            settings.restore_dir(chosen)
        with _lock:
            _overrides.clear()
            _overrides.update(before)


def override(key: str) -> str | None:
    """The place that ``set_model_cache`` gave for a name or a handle's key."""
    return _overrides.get(key)


def is_there(place: str) -> bool:
    """Whether a place holds anything; of an object store's it is believed, without a request."""
    if "://" in place or os.path.isfile(place):
        return True
    return os.path.isdir(place) and bool(os.listdir(place))


def places(name: str) -> list[str]:
    """Where a name is looked up: tfimm's code looks below ``~/.cache/tfimm``, its documentation says ``~/.cache``."""
    found = []
    for root in (settings.get_dir, lambda: settings.expanded("~/.cache")):
        with contextlib.suppress(CacheError):  # no home directory
            found.append(f"{root()}/{name}")
    return found


def find(name: str) -> str | None:
    """The directory of a whole SavedModel of that name, or None.

    Raises:
        FetchError: if none was found, and a bucket that may have one is out of reach; also CacheError.
    """
    failure: ResolverError | None = None
    for place in places(name):
        try:
            if lies_at(place):
                if failure:
                    log.warning("passed over: %s", failure.text)
                return place
        except (CacheError, FetchError) as error:
            failure = error
    if failure:
        raise failure
    return None


def lies_at(place: str) -> bool:
    """Whether a place that a name may mean holds a whole SavedModel."""
    if not settings.is_bucket(place):
        return record.fault(place, record.Record("", "")) is None
    from tfimm_resolver.objects import Objects

    # What TensorFlow cannot read where it lies is no model of that name.
    return place.startswith("gs://") and any(found.name in record.SAVED_MODEL_FILES for found in Objects(place).below())


def similar(name: str, others: Iterable[str] = ()) -> list[str]:
    """Known names, and others that are, that somebody may have meant, the closest first."""
    import difflib  # 1 ms that only an error costs

    known = {*list_cached_models(), *others}
    with contextlib.suppress(OSError):
        known.update(other for other in os.listdir(settings.get_dir()) if find(other))
    return difflib.get_close_matches(name, sorted(known), n=3)


def check(name: str) -> str:
    """The name, if it may be one.

    Raises:
        HandleError: if it is empty or holds a separator, ``..`` or a NUL.
    """
    if not isinstance(name, str) or not name.strip() or name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise HandleError(
            f"{name!r} is no model name", fix="A name is one word: not empty, without /, \\, NUL, and not .. either."
        )
    return name


def key(name: str) -> str:
    """A name, or the key of a URL handle that serves as one; raises as ``set_model_cache`` does."""
    return Handle.parse(name).key if isinstance(name, str) and "://" in name else check(name)
