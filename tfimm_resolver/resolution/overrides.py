"""tfimm's functions for models by name: ``set_model_cache``, ``list_cached_models``, ``clear_model_cache``; and ``using``."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.fragment import has_own_fragment, split_fragment
from tfimm_resolver.handles.handle import Handle, strip_blanks
from tfimm_resolver.resolution.named_models import exists, find_named, validate_name

log = logging.getLogger("tfimm_resolver")

_lock = threading.Lock()
_overrides: dict[str, str] = {}


def set_model_cache(model_name: str, model_path: str | os.PathLike[str]) -> None:
    """Set the path of the model with this name: a directory, an archive or a ``gs://`` path.

    Applies to this process, and to those that multiprocessing starts later. For other processes, name the path in the models
    file.

    The path may end in ``#subdirectory=``, to use a directory of the model. The name may also be a URL handle: its model is
    then read from ``model_path``, and the URL is never fetched.

    Raises:
        HandleError: if the name is empty, ``.`` or ``..``, contains a path separator or a NUL, or has a subdirectory.

    Example:
        >>> tfimm_resolver.set_model_cache("resnet18", "models/resnet18")
        >>> tfimm_resolver.list_cached_models()
        ['resnet18']
        >>> tfimm_resolver.clear_model_cache("resnet18")
    """
    location = split_fragment(text := settings.check_path(model_path))[0]
    path = settings.expand_path(location) + text[len(location) :]
    with _lock:
        _overrides[parse_key(model_name)] = path


def clear_model_cache(model_name: str) -> None:
    """Remove the path that ``set_model_cache`` set for this name, if any; deletes nothing on disk.

    Example:
        >>> tfimm_resolver.set_model_cache("resnet18", "models/resnet18")
        >>> tfimm_resolver.clear_model_cache("resnet18")
        >>> tfimm_resolver.list_cached_models()
        []
    """
    with _lock:
        _overrides.pop(parse_key(model_name), None)


def list_cached_models() -> list[str]:
    """Return the names and URLs for which ``set_model_cache`` set a path, sorted; does not look into ``get_dir()``.

    Example:
        >>> tfimm_resolver.set_model_cache("resnet18", "models/resnet18")
        >>> tfimm_resolver.set_model_cache("https://models.example/m/1", "gs://bucket/m")
        >>> tfimm_resolver.list_cached_models()
        ['https://models.example/m/1', 'resnet18']
        >>> for name in tfimm_resolver.list_cached_models():
        ...     tfimm_resolver.clear_model_cache(name)
    """
    with _lock:
        return sorted(_overrides)


def find_path(model_name: str) -> str | None:
    """Return the path that ``set_model_cache`` set for a name, else its directory below ``get_dir()``, else None.

    Also None, with a warning in the log, if the path that was set does not exist.
    """
    key = parse_key(model_name)
    path = get_override(key)
    if path is None:
        return find_named(key) if "://" not in key else None
    if not exists(split_fragment(path)[0]):
        log.warning("set_model_cache(%r, ...) names %s, which does not exist or is empty", str(Handle.parse(model_name)), path)
        return None
    return path


@contextlib.contextmanager
def using(
    dir: str | os.PathLike[str] | None = None,  # noqa: A002  # as in get_dir and set_dir
    models: Mapping[str, str | os.PathLike[str]] | None = None,
) -> Iterator[None]:
    """Use another directory and more overrides for the duration of a ``with`` block, for example in tests and notebooks.

    Applies to the whole process, including other threads.

    Args:
        dir: as for ``set_dir``; None leaves it as it is.
        models: the path of each model name, as for ``set_model_cache``.

    Example:
        >>> with tfimm_resolver.using(dir="scratch", models={"resnet18": "models/resnet18"}):
        ...     tfimm_resolver.get_dir()
        ...     tfimm_resolver.list_cached_models()
        '/.../scratch'
        ['resnet18']
        >>> tfimm_resolver.list_cached_models()
        []
    """
    previous_dir = settings.override_dir(dir, "using()") if dir is not None else None
    with _lock:
        previous = dict(_overrides)
    try:
        for name, path in (models or {}).items():
            set_model_cache(name, path)
        yield
    finally:
        if dir is not None:
            settings.restore_dir_override(previous_dir)
        with _lock:
            _overrides.clear()
            _overrides.update(previous)


def get_override(key: str) -> str | None:
    """Return the path that ``set_model_cache`` set for a name or a handle's key, or None."""
    return _overrides.get(key)


def get_overrides() -> dict[str, str]:
    """Return the paths that ``set_model_cache`` set, by name or key."""
    with _lock:
        return dict(_overrides)


def add_overrides(paths: Mapping[str, str]) -> None:
    """Add the overrides of another process; those of this process are kept."""
    with _lock:
        _overrides.update({**paths, **_overrides})


def suggest(name: str, others: Iterable[str] = ()) -> list[str]:
    """Return up to three similar names, the closest first, from overrides, ``get_dir()`` and ``others``."""
    import difflib  # 1 ms, worth paying only for an error message

    known = {*list_cached_models(), *others}
    with contextlib.suppress(OSError):
        known.update(other for other in os.listdir(settings.get_dir()) if find_named(other))
    return difflib.get_close_matches(name, sorted(known), n=3)


def parse_key(name: str) -> str:
    """Return the name itself, or the key of a URL handle used as a name; raises as ``set_model_cache`` does."""
    if isinstance(name, str) and has_own_fragment(name) and split_fragment(name)[2]:
        raise HandleError(
            f"{show(name)} is a part of a model, and a path is set for all of it",
            fix="Leave the #subdirectory out of the name; it may end the path.",
        )
    return Handle.parse(name).key if isinstance(name, str) and "://" in name else strip_blanks(validate_name(name))
