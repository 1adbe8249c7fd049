"""What is counted or removed, under the names of the inventory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfimm_resolver._util import clock
from tfimm_resolver._util.outgoing import repr_fields
from tfimm_resolver.cache.cache import Entry
from tfimm_resolver.cache.contents import MODEL, PARTIAL, Item
from tfimm_resolver.maintenance import hub_entries, naming
from tfimm_resolver.transfer import partial_store


@dataclass(frozen=True, slots=True)
class CacheItem:
    """Something in a cache, with its size.

    Attributes:
        name: as it is listed; of a partial download of a model that is not cached, the URL.
        kind: ``model``, ``repository``, ``weights``, ``replaced copy`` or ``partial download``.
        path: its directory.
        size_bytes: the total size of its files.
        used_s: its last use, in seconds since 1970; 0 if it is not known, as in a bucket.

    Example:
        >>> tfimm_resolver.maintenance.CacheItem("m", "model", "/cache/m", 9, 1.0).facts()["used_at"]
        '1970-01-01T00:00:01Z'
    """

    name: str
    kind: str
    path: str
    size_bytes: int
    used_s: float

    __repr__ = repr_fields

    def facts(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints."""
        used_at = clock.format_second(self.used_s)
        return {"name": self.name, "kind": self.kind, "path": self.path, "size_bytes": self.size_bytes, "used_at": used_at}


def describe_items(items: Sequence[Item], everything: Sequence[Item]) -> Iterator[CacheItem]:
    """Yield each item under its name; ``everything`` is what the caches hold, as two entries must not get the same name.

    A leftover is named like its entry, a partial download of a model that is not cached by the URL that was requested.
    """
    entries = {(item.store, item.entry_name): item for item in everything if item.is_entry}
    keys = dict.fromkeys((item.store, item.entry_name) for item in items)
    needed = [entries[key] for key in keys if key in entries]
    names = {**_name_models(needed, entries.values()), **_name_hub_entries(needed, entries.values())}
    for item in items:
        name = names.get((item.store.kind, item.entry_name)) or _name_leftover(item)
        yield CacheItem(name, item.kind, item.store.path_of(item.name), item.size_bytes, item.used_s)


def _name_models(items: Iterable[Item], everything: Iterable[Item]) -> dict[tuple[str, str], str]:
    others = [(item.record.handle, item.entry_name) for item in everything if item.kind == MODEL]
    models = [Entry(item.entry_name, "", item.record, None) for item in items if item.kind == MODEL]
    names = naming.choose_entry_names(models, others)
    return {(MODEL, model.name): names[model.name, model.record.handle] for model in models}


def _name_hub_entries(items: Iterable[Item], everything: Iterable[Item]) -> dict[tuple[str, str], str]:
    names: dict[tuple[str, str], str] = {}
    for kind in {item.kind for item in items} - {MODEL}:
        records = ((item.entry_name, item.record) for item in everything if item.kind == kind)
        names |= {(kind, entry_name): name for entry_name, name in hub_entries.choose_names(records, kind).items()}
    return names


def _name_leftover(item: Item) -> str:
    url = partial_store.read_url(Path(item.store.path_of(item.name))) if item.kind == PARTIAL else ""
    return url or item.name
