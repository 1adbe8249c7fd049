"""One entry of the inventory, and what is found out about it on its disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util import clock, fs
from tfimm_resolver._util.outgoing import repr_fields
from tfimm_resolver.cache.cache import Entry
from tfimm_resolver.cache.contents import MODEL
from tfimm_resolver.cache.last_use import get_last_use_s
from tfimm_resolver.saved_model import content


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model that is available without a download, or a repository or weights that the hub has fetched.

    Attributes:
        name: the name that every command, ``resolve`` and every other function accept for the model. What the hub has fetched
            has a name that begins with ``hub:``, for the commands and functions that maintain the cache.
        path: the directory of the model, or its URL in a bucket.
        size_bytes: the total size of its files.
        state: ``ok`` if every file has its recorded size, ``damaged`` if not, ``unverified`` if no sizes were recorded
            and nothing that its graph and its index name is missing.
        used_s: when it was last used, in seconds since 1970; exact to a quarter of the time that protects a model after its
            use, by default 15 minutes.
        entry: the cache entry; None for a model that is stored under its name in ``get_dir()``.
        other_root: the read-only extra root, or the bucket behind a local cache, that holds it; empty for the cache itself.
        kind: ``model``, ``repository`` or ``weights``.
        is_protected: whether ``keep`` protects it from eviction.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> (model,) = tfimm_resolver.maintenance.list_models()
        >>> model.name, model.state, model.path == path
        ('https://models.example/half_plus_two/1.tar.gz', 'ok', True)
    """

    name: str
    path: str
    size_bytes: int
    state: str
    used_s: float
    entry: Entry | None = None
    other_root: str = ""
    kind: str = MODEL
    is_protected: bool = False

    __repr__ = repr_fields

    @property
    def is_read_only(self) -> bool:
        """Whether it is in an extra root, which this package never changes."""
        return bool(self.other_root) and not settings.is_bucket(self.other_root)

    @property
    def handle(self) -> str:
        """The handle that was fetched, without what may be a secret; the name of a model that is stored under its name."""
        return self.entry.record.handle if self.entry else self.name

    def facts(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints; a value that is not known is None."""
        known = self.entry.record if self.entry else None
        return {
            "name": self.name,
            "kind": self.kind,
            "handle": self.handle or None,
            "path": self.path,
            "extra_root": self.other_root if self.is_read_only else None,
            "bucket": self.other_root if self.other_root and not self.is_read_only else None,
            "size_bytes": self.size_bytes,
            "state": self.state,
            "fault": self.entry.defect if self.entry else None,
            "protected": self.is_protected,
            "used_at": clock.format_second(self.used_s),
            "fetched_at": (known.fetched_at if known else "") or None,
            "archive_sha256": (known.origin.sha256 if known else "") or None,
            "signed_by": known.signed_by.facts() if known and known.signed_by else None,
        }


def describe_entry(
    entry: Entry, name: str, *, other_root: str = "", kind: str = MODEL, protected: Collection[str] = ()
) -> CachedModel:
    """Return an entry of a cache under the name that users type; ``protected`` has the names of those that are not evicted."""
    known = entry.record
    if known.files is None and entry.defect is None and (missing := content.find_missing_content_inside(entry.path)):
        entry = entry._replace(defect=missing[0])
    state = "damaged" if entry.defect else "ok" if known.files is not None else "unverified"
    size_bytes = known.size_bytes if known.files is not None else measure_size_bytes(entry.path)
    used_s, is_protected = find_used_s(entry.path), entry.name in protected
    return CachedModel(name, entry.path, size_bytes, state, used_s, entry, other_root, kind, is_protected)


def measure_size_bytes(path: str) -> int:
    """Return the total size of the files that are still there and can be read."""
    size_bytes = 0
    for file in fs.walk(path):
        with contextlib.suppress(OSError):
            size_bytes += os.lstat(f"{path}/{file}").st_size
    return size_bytes


def find_used_s(path: str) -> float:
    """Return the last use of a directory; 0 if it is not known, as in a bucket."""
    with contextlib.suppress(OSError):
        return get_last_use_s(path)
    return 0.0
