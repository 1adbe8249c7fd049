"""Chooses the name under which each cached model is listed: one that every command and every function accepts for it."""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from tfimm_resolver._util import clock
from tfimm_resolver._util.outgoing import clean_value
from tfimm_resolver.cache.cache import Entry
from tfimm_resolver.errors import CacheError, FetchError, HandleError, ModelsFileError
from tfimm_resolver.handles.handle import SHORTENED, Handle
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution.cached_names import TFHUB, derive_entry_name
from tfimm_resolver.resolution.named_models import find_named, validate_name


def choose_entry_names(entries: Iterable[Entry], others: Iterable[tuple[str, str]] = ()) -> dict[tuple[str, str], str]:
    """Return the name of each entry by its entry name and its recorded handle.

    It is the recorded handle, without ``https://tfhub.dev/``, if that leads to the entry and to no other one; for one of
    several versions of an archive on this machine the path with the hash of the version; otherwise the sha1. ``others`` are
    handles, and names of entries, that are cached as well.
    """
    by_handle: dict[str, set[str]] = defaultdict(set)
    names = {}
    entries = list(entries)
    for handle, name in (*others, *((entry.record.handle, entry.name) for entry in entries)):
        by_handle[handle].add(name)
    project_names = list_project_names()
    for entry in entries:
        candidates = _list_candidates(entry, is_unique=len(by_handle[entry.record.handle]) == 1)
        names[entry.name, entry.record.handle] = next(
            (name for name in candidates if is_usable(name, project_names)), entry.name
        )
    return names


def choose_directory_name(path: str) -> str | None:
    """Return the name of a model that is stored under its name: that, else its path; None if no handle can name it."""
    name = os.path.basename(path)
    with contextlib.suppress(HandleError):
        if is_usable(validate_name(name)):
            return name
    return path if is_usable(path) else None


def is_usable(name: str, project_names: Collection[str] | None = None) -> bool:
    """Whether a name is printed as it is, is parsed as it is, and has no other meaning in the project's models file.

    ``project_names`` has the names in the models files, if they are known already.
    """
    try:
        handle = Handle.parse(name)
    except HandleError:
        return False
    if (
        name.startswith("-")
        or clean_value(name) != name
        or name != name.strip()
        or handle.text != name.partition("#sha256=")[0]
    ):
        return False
    return name not in (list_project_names() if project_names is None else project_names)


def list_project_names() -> set[str]:
    """Return every name and alias in the models files; none if one cannot be read, which is reported by what needs it."""
    try:
        return {name for file in discovery.find_files() for name in discovery.read_entries(file)}
    except ModelsFileError:
        return set()


def _list_candidates(entry: Entry, *, is_unique: bool) -> Iterator[str]:
    handle, sha256 = entry.record.handle, entry.record.origin.stated_sha256
    try:
        name = derive_entry_name(entry.record)
    except HandleError:
        return
    if name is None and is_unique and handle.endswith(SHORTENED):
        yield handle
    if name != entry.name:
        return
    if "://" in handle:
        short = handle.removeprefix(TFHUB)
        if "/" in short and not os.path.exists(short):
            yield short
        yield handle
        return
    if is_unique and not _may_have_changed(entry) and not _is_shadowed(handle):
        yield handle
    yield f"{handle}#sha256={sha256}"


def _is_shadowed(handle: str) -> bool:
    """Whether the name of an adopted model leads to a directory of that name instead, from which it may have been adopted."""
    with contextlib.suppress(HandleError, CacheError, FetchError):
        return Handle.parse(handle).is_name and find_named(validate_name(handle)) is not None
    return False


def _may_have_changed(entry: Entry) -> bool:
    """Whether an archive on this machine has another size than the cached version, or was written after that was fetched."""
    try:
        status = os.stat(entry.record.handle)
        fetched_s = clock.parse_time_s(entry.record.fetched_at)
    except OSError:  # the path then means the cached version
        return False
    except ValueError:
        return True
    return status.st_size != entry.record.origin.size_bytes or status.st_mtime > fetched_s
