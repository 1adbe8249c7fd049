"""What a killed or failed process may leave in a cache root, and how the next one recovers."""

from __future__ import annotations

import os
from pathlib import Path

from tests.fakes.archives import files_in
from tfimm_resolver import resolve, settings
from tfimm_resolver.cache.cache import Cache, entry_name_for_key
from tfimm_resolver.cache.record import is_tree, verify_hashes
from tfimm_resolver.cache.roots import open_root
from tfimm_resolver.handles.handle import Handle

Files = dict[str, bytes]


def list_leftovers(root: Path) -> list[str]:
    """List the names in a root that are neither trees nor their records."""
    names = os.listdir(root) if root.is_dir() else []
    return sorted(name for name in names if not is_tree(name.removesuffix(".descriptor.txt")))


def read_cached_model(root: Path, url: str) -> Files | None:
    """Return the files that the cache serves without a download, checked against their record; None for a miss."""
    cache = Cache(open_root(str(root)))
    record = cache.find(Handle.parse(url).key)
    if record is None:
        return None
    assert list(verify_hashes(cache.path(record), record.files or ())) == []
    return files_in(cache.path(record))


def read_as_plain_hub(root: Path, url: str) -> Files | None:
    """Return what tensorflow_hub alone would load: the files in the directory of the model's name; None if there is none."""
    tree = root / entry_name_for_key(Handle.parse(url).key)
    return files_in(tree) if tree.exists() else None


def assert_next_resolve_recovers(root: Path, url: str, files: Files, other: str, *, refresh: bool = False) -> None:
    """Check that the next resolve succeeds, and that it, or on a hit the next download, removes all leftovers."""
    is_hit = read_cached_model(root, url) is not None and not refresh
    settings.set_dir(root)
    assert files_in(resolve(url, refresh=refresh)) == files
    if is_hit:
        resolve(other)
    assert list_leftovers(root) == [], list_leftovers(root)
