"""Entries that are never evicted automatically: those that a user keeps, and those that a project's models file names."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable

from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.record import KEEP_SUFFIX
from tfimm_resolver.cache.roots import Root
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.os_errors import map_os_errors

_PROJECT_PREFIX, _PROJECT_SUFFIX = "tfimm_resolver.project-", ".txt"
_PROJECT_TTL_S = 90 * 86400.0
"""Seconds after which a models file that was not used on this machine protects its models no longer."""


def set_protected(root: Root, entry_name: str, *, is_protected: bool) -> None:
    """Note that an entry is never evicted, or that it may be.

    Raises:
        CacheError: if the root cannot be written, or is a bucket, where nothing is ever evicted.
    """
    if not isinstance(root, LocalRoot):
        raise CacheError(
            f"models in {show(root.path_of(''))} are never evicted: only a local cache has limits",
            fix="To protect it in a bucket, use the bucket's own rules for the lifetime of objects.",
        )
    if is_protected:
        root.write(entry_name + KEEP_SUFFIX, "")
        return
    with map_os_errors(CacheError, f"cannot write the cache at {show(root.path)}"):
        root.cleaner.remove(entry_name + KEEP_SUFFIX)


def list_protected(names: Iterable[str]) -> set[str]:
    """Return the entries that a user keeps, given the names in a root."""
    return {name.removesuffix(KEEP_SUFFIX) for name in names if name.endswith(KEEP_SUFFIX)}


def note_project(root: Root, models_file: str, paths: Iterable[str], *, is_complete: bool) -> None:
    """Note which models the models file of a project names, by their paths, so that they are not evicted by themselves.

    ``is_complete``: these are all of its models; else they are added to those noted before. Without effect in a bucket, and in
    a root that cannot be written.
    """
    if not isinstance(root, LocalRoot):
        return
    inside = [path.removeprefix(f"{root.path}/") for path in paths if path.startswith(f"{root.path}/")]
    entries = {path.partition("/")[0].partition(".")[0] for path in inside}
    digest = hashlib.sha256(models_file.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    name = f"{_PROJECT_PREFIX}{digest}{_PROJECT_SUFFIX}"
    with contextlib.suppress(CacheError):
        if not is_complete:
            entries |= _parse_project(root.read(name))[1]
        if entries:
            root.write(name, json.dumps([models_file, *sorted(entries)]))


def list_project_entries(root: LocalRoot, names: Iterable[str], now_s: float) -> set[str]:
    """Return the entries that models files name which still exist and were used lately, given the names in the root."""
    found: set[str] = set()
    for name in names:
        if name.startswith(_PROJECT_PREFIX) and name.endswith(_PROJECT_SUFFIX):
            with contextlib.suppress(OSError, CacheError):
                models_file, entries = _parse_project(root.read(name))
                if os.path.exists(models_file) and now_s - os.stat(root.path_of(name)).st_mtime < _PROJECT_TTL_S:
                    found |= entries
    return found


def _parse_project(text: str | None) -> tuple[str, set[str]]:
    """Return the models file and the entries in what ``note_project`` wrote; nothing if it is not that."""
    try:
        values = parse_json(text or "[]")
    except ValueError:
        values = []
    texts = [value for value in values if isinstance(value, str)] if isinstance(values, list) else []
    return (texts[0], set(texts[1:])) if texts else ("", set())
