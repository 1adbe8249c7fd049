"""What a process that was killed, or failed, may leave in a cache root, and what the next one makes of it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.archives import files_in
from tfimm_resolver import resolve, settings
from tfimm_resolver.cache.cache import Cache, entry_name_for_key, is_tree
from tfimm_resolver.cache.record import verify_hashes
from tfimm_resolver.cache.roots import open_root
from tfimm_resolver.handles.handle import Handle

Files = dict[str, bytes]


def left_in(root: Path) -> list[str]:
    """What lies in a root beside trees and their records."""
    names = os.listdir(root) if root.is_dir() else []
    return sorted(name for name in names if not is_tree(name.removesuffix(".descriptor.txt")))


def served(root: Path, url: str) -> Files | None:
    """The model that the cache would serve from now on, without a fetch; its record must be of these very files."""
    cache = Cache(open_root(str(root)))
    record = cache.find(Handle.parse(url).key)
    if record is None:
        return None
    assert list(verify_hashes(cache.path(record), record.files or ())) == []
    return files_in(cache.path(record))


def served_by_hub(root: Path, url: str) -> Files | None:
    """What plain tensorflow_hub would take for the model: whatever lies in the directory of its name."""
    tree = root / entry_name_for_key(Handle.parse(url).key)
    return files_in(tree) if tree.exists() else None


def assert_next_one_mends(root: Path, url: str, files: Files, other: str, *, refresh: bool = False) -> None:
    """The next resolve succeeds, and nothing is left over: by it, or if it had nothing to fetch, by the next fetch."""
    is_hit = served(root, url) is not None and not refresh
    settings.set_dir(root)
    assert files_in(resolve(url, refresh=refresh)) == files
    if is_hit:
        resolve(other)
    assert left_in(root) == [], left_in(root)
