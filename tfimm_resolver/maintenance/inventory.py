"""What is cached, under the names by which people ask for it."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver.cache import record
from tfimm_resolver.cache.cache import Cache, Entry, entry_name_for_key, is_tree
from tfimm_resolver.cache.roots import open_root
from tfimm_resolver.errors import CacheError, FetchError, HandleError, UnknownHandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.models_file import discovery

log = logging.getLogger("tfimm_resolver")

_TFHUB = "https://tfhub.dev/"


@dataclass(frozen=True, slots=True)
class CachedModel:
    """One model on this machine.

    Attributes:
        name: what every command takes for it; unique enough for people.
        state: ``whole`` as far as sizes tell, ``damaged``, or ``unverifiable`` where nobody knows what its files should be.
        used_s: when it was last resolved, seconds since 1970, as exact as the disk's access times (a day, as a rule).
        entry: what the cache has of it; None for a model that lies under its name below ``get_dir()``.
        lender: the extra root that it lies in, which is only read, or the bucket behind this machine's cache; else empty.
    """

    name: str
    path: str
    size_bytes: int
    state: str
    used_s: float
    entry: Entry | None = None
    lender: str = ""

    @property
    def is_only_read(self) -> bool:
        """Whether it is others who keep it."""
        return bool(self.lender) and not settings.is_bucket(self.lender)

    def facts(self) -> dict[str, Any]:
        """The words of ``--json``; what is unknown is None."""
        known = self.entry.record if self.entry else None
        return {
            "name": self.name,
            "handle": (known.handle if known else self.name) or None,
            "path": self.path,
            "extra_root": self.lender if self.is_only_read else None,
            "bucket": self.lender if self.lender and not self.is_only_read else None,
            "size_bytes": self.size_bytes,
            "state": self.state,
            "fault": self.entry.fault if self.entry else None,
            "used_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.used_s)) if self.used_s else None,
            "fetched_at": (known.fetched_at if known else "") or None,
            "archive_sha256": (known.origin.sha256 if known else "") or None,
        }


def list_models() -> list[CachedModel]:
    """Every model of the cache, of the extra roots and below ``get_dir()``, sorted by name."""
    cached = [_in_cache(entry) for entry in cache().entries()]
    return sorted([*cached, *_in_extra_roots(), *_in_names_dir()], key=lambda model: (model.name, model.lender))


def cache() -> Cache:
    """The cache of URL handles, in which the paths lie that ``resolve`` gives."""
    root = settings.cache_root()
    return Cache(open_root(root.value, root.mode))


def hash_faults(model: CachedModel) -> Iterator[str]:
    """Every file of a model that is not as recorded; reads all of them."""
    if model.entry is not None and model.entry.record.files is not None:
        owner = Cache(open_root(model.lender)) if model.lender else cache()
        yield from owner.root.hash_faults(model.entry.record)


def remove(model: CachedModel) -> None:
    """Remove a model from the cache and from the bucket behind it, from which it would come again."""
    assert model.entry is not None
    for one in (cache(), *(Cache(open_root(place)) for place in _second_level())):
        one.remove(model.entry.name)


def select(wanted: Sequence[str]) -> list[CachedModel]:
    """The models of those names, handles, or beginnings of a sha1 with six digits or more; all where none is wanted.

    One that lies in several roots is there as often, the cache's own first. A name of the models file means its handle.

    Raises:
        UnknownHandleError: if one of them is not here, or several are meant.
        ModelsFileError: if the models file cannot be read.
    """
    here = list_models()
    return [model for text in wanted for model in _match(here, text)] if wanted else here


def handle_of(text: str) -> str:
    """The handle for a name that ``models`` shows, such as ``google/nnlm/2``; anything else is a handle already."""
    if "://" in text or os.path.exists(text) or "/" not in text:
        return text
    for place in (None, *settings.extra_roots(), *_second_level()):
        with contextlib.suppress(CacheError, FetchError):
            if (Cache(open_root(place)) if place else cache()).find(_key(_TFHUB + text)) is not None:
                return _TFHUB + text
    return text


def _match(here: Sequence[CachedModel], text: str) -> list[CachedModel]:
    named = discovery.find(text)
    handle = named.handle if named else handle_of(text)
    texts, key_name = {text, _key(handle), os.path.abspath(_key(handle))}, entry_name_for_key(_key(handle))
    found = [model for model in here if model.entry and model.entry.name == key_name]
    found = found or [model for model in here if model.name in texts]
    if not found and len(text) >= 6:
        found = [model for model in here if model.entry and model.entry.name.startswith(text)]
    if len({model.entry.name if model.entry else model.path for model in found}) == 1:
        return found
    if not found:
        raise UnknownHandleError(
            f'"{public(text)}" is not cached',
            fix="Nothing was done. tfimm-resolver ls shows what is cached; of a sha1 give six digits or more.",
        )
    meant = ", ".join(dict.fromkeys(model.entry.name[:12] for model in found if model.entry))
    raise UnknownHandleError(f'"{public(text)}" may mean several models', fix=f"Name one by its sha1: {meant}.")


def public(text: str) -> str:
    """A handle, or what is none, as it may be shown."""
    try:
        return str(Handle.parse(text))
    except HandleError:
        return text.rpartition("@")[2].partition("?")[0]


def _key(text: str) -> str:
    try:
        return Handle.parse(text).key
    except HandleError:
        return text


def _second_level() -> list[str]:
    return [settings.urls_root().value] if settings.uses_local_copy() else []


def _in_extra_roots() -> Iterator[CachedModel]:
    for place in (*settings.extra_roots(), *_second_level()):
        try:
            yield from [_in_cache(entry, place) for entry in Cache(open_root(place)).entries()]
        except (CacheError, FetchError) as error:
            log.warning("passed over: %s", error.text)


def _in_cache(entry: Entry, lender: str = "") -> CachedModel:
    known = entry.record
    name = known.handle.removeprefix(_TFHUB) if known.handle else entry.name
    state = "damaged" if entry.fault else "whole" if known.files is not None else "unverifiable"
    size_bytes = known.size_bytes if known.files is not None else _size_bytes(entry.path)
    return CachedModel(name, entry.path, size_bytes, state, _used_s(entry.path), entry, lender)


def _in_names_dir() -> Iterator[CachedModel]:
    place = ""
    with contextlib.suppress(CacheError):  # no home directory
        place = settings.get_dir()
    for name in sorted(os.listdir(place)) if os.path.isdir(place) else ():
        path = f"{place}/{name}"
        if not is_tree(name.partition(".")[0]) and record.find_tree_defect(path, record.Record(name, name)) is None:
            yield CachedModel(name, path, _size_bytes(path), "unverifiable", _used_s(path))


def _size_bytes(path: str) -> int:
    return sum(os.lstat(f"{path}/{file}").st_size for file in fs.walk(path))


def _used_s(path: str) -> float:
    """The last read of the record, which every ``resolve`` reads, or of the model itself."""
    used = [0.0]
    for file in (path.partition(".descriptor")[0] + ".descriptor.txt", f"{path}/saved_model.pb"):
        with contextlib.suppress(OSError):
            used.append(os.stat(file).st_atime)
    return max(used)
