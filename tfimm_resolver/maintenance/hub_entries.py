"""Lists the repositories and weights that the hub has fetched, under names that users type: ``hub:owner/repo:ref``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tfimm_resolver._util.outgoing import clean_value, show
from tfimm_resolver.cache import keeping
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.contents import REPOSITORY, open_hub_stores
from tfimm_resolver.cache.record import Record
from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.maintenance.cached_model import CachedModel, describe_entry
from tfimm_resolver.sources import github

PREFIX = "hub:"
"""What the names begin with: a handle may also be that of a model in the cache."""

_GITHUB = "github://"
_DEFAULT_HOST = f"{_GITHUB}github.com/"


def list_hub_entries() -> Iterator[CachedModel]:
    """Yield what is recorded in the directory of the hub."""
    for store in open_hub_stores():
        names = store.list_names()
        protected = keeping.list_protected(names)
        entries = [entry for entry in store.cache.entries() if store.is_entry(entry.name, names)]
        names_of = choose_names(((entry.name, entry.record) for entry in entries), store.kind)
        for entry in entries:
            yield describe_entry(entry, names_of[entry.name], kind=store.kind, protected=protected)


def choose_names(entries: Iterable[tuple[str, Record]], kind: str) -> dict[str, str]:
    """Return the name of each entry of a store, given the names and records of all of its entries."""
    names = {entry_name: _make_name(record, kind) for entry_name, record in entries}
    counts = Counter(names.values())
    return {
        entry_name: name if counts[name] == 1 and _is_usable(name) else PREFIX + entry_name
        for entry_name, name in names.items()
    }


def open_owner(model: CachedModel) -> Cache:
    """Open the store of the hub that holds an entry; raises CacheError if it can no longer be used."""
    for store in open_hub_stores():
        if store.kind == model.kind:
            return store.cache
    raise CacheError(
        f"the directory of the hub that held {show(model.name)} can no longer be used", fix="List the cache again."
    )


def make_repository_handle(text: str) -> str:
    """Return the handle of a repository, given as the hub accepts it; empty for any other text."""
    try:
        return github.Repository.parse(text).handle
    except HandleError:
        return ""


def _is_usable(name: str) -> bool:
    """Whether a name can be typed, and is printed as it is."""
    return name != PREFIX and clean_value(name) == name and not set(name) & set(" #?")


def _make_name(record: Record, kind: str) -> str:
    """Return a name for what users have asked for: a repository as they wrote it, the file name of weights."""
    handle = record.handle
    if kind == REPOSITORY:
        return PREFIX + handle.removeprefix(_DEFAULT_HOST).removeprefix(_GITHUB)
    files = record.files or ()
    is_file = len(files) == 1 and "/" not in files[0].path
    return PREFIX + (files[0].path if is_file else handle.rpartition("/")[2])
