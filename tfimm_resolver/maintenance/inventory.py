"""Lists the cached models under the names that users type, and selects models by such names."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import mask_value, repr_fields, show
from tfimm_resolver.archives.member_policy import check_subdirectory
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import Cache, Entry, entry_name_for_key
from tfimm_resolver.cache.record import is_tree
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.errors import CacheError, FetchError, HandleError, UnknownHandleError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.handles.arguments import list_names
from tfimm_resolver.handles.fragment import split_fragment
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.maintenance import naming
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import named_models
from tfimm_resolver.resolution.cached_names import TFHUB, fits_shortened
from tfimm_resolver.resolution.selection import choose_subdirectory, is_saved_model

log = logging.getLogger("tfimm_resolver")

_SHA1_DIGITS_MIN = 6
_DIGITS = "to list the cache; abbreviate a sha1 to at least six digits."
_LIST_FIX = Advice(
    python=f"Nothing was changed. Call maintenance.list() {_DIGITS}",
    command=f"Nothing was changed. Run `tfimm-resolver ls` {_DIGITS}",
)


@dataclass(frozen=True, slots=True)
class CachedModel:
    """A model that is available without a download.

    Attributes:
        name: the name that every command, ``resolve`` and every other function accept for the model.
        path: the directory of the model, or its URL in a bucket.
        size_bytes: the total size of its files.
        state: ``ok`` if every file has its recorded size, ``damaged`` if not, ``unverified`` if no sizes were recorded.
        used_s: when it was last resolved, in seconds since 1970; as exact as the access times of the disk, often a day.
        entry: the cache entry; None for a model that is stored under its name in ``get_dir()``.
        other_root: the read-only extra root, or the bucket behind a local cache, that holds it; empty for the cache itself.

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

    __repr__ = repr_fields

    @property
    def is_read_only(self) -> bool:
        """Whether it is in an extra root, which this package never changes."""
        return bool(self.other_root) and not settings.is_bucket(self.other_root)

    def facts(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints; a value that is not known is None."""
        known = self.entry.record if self.entry else None
        return {
            "name": self.name,
            "handle": (known.handle if known else self.name) or None,
            "path": self.path,
            "extra_root": self.other_root if self.is_read_only else None,
            "bucket": self.other_root if self.other_root and not self.is_read_only else None,
            "size_bytes": self.size_bytes,
            "state": self.state,
            "fault": self.entry.defect if self.entry else None,
            "used_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.used_s)) if self.used_s else None,
            "fetched_at": (known.fetched_at if known else "") or None,
            "archive_sha256": (known.origin.sha256 if known else "") or None,
            "signed_by": known.signed_by.facts() if known and known.signed_by else None,
        }


def list_models() -> list[CachedModel]:
    """Return every model of the cache, of the extra roots and of ``get_dir()``, sorted by name.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> [model.name for model in tfimm_resolver.maintenance.list_models()]
        ['https://models.example/half_plus_two/1.tar.gz']
    """
    entries = [*((entry, "") for entry in tiers.open_cache().entries()), *_list_other_roots()]
    names = naming.choose_entry_names(entry for entry, _ in entries)
    cached = [_describe_entry(entry, root, names[entry.name, entry.record.handle]) for entry, root in entries]
    return sorted([*cached, *_list_named_models()], key=lambda model: (model.name, model.other_root))


def open_owner(model: CachedModel) -> Cache:
    """Open the cache that holds a model."""
    return next((tier.open() for tier in tiers.list_tiers() if tier.location == model.other_root), tiers.open_cache())


def select(names: str | CachedModel | Iterable[str | CachedModel] = ()) -> list[CachedModel]:
    """Return the cached models with the given names; all of them if no name is given.

    A name is one that ``list`` returns, a handle, a path, a name in the models file, or the first six or more digits of the
    sha1 that names the entry; a ``CachedModel`` stands for itself. A model that is in several roots is returned once for
    each, the cache's own copy first.

    Raises:
        UnknownHandleError: if a name matches no cached model, or more than one.
        HandleError: if a name is neither a str nor a CachedModel, or its ``#subdirectory=`` is not valid.
        NotFoundError: if the model does not contain the subdirectory.
        CacheError: if a directory cannot be listed.
        ModelsFileError: if the models file cannot be read.

    Example:
        >>> path = tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        >>> [model.path == path for model in tfimm_resolver.maintenance.select([])]
        [True]
        >>> tfimm_resolver.maintenance.select(["no_such_model"])
        Traceback (most recent call last):
        tfimm_resolver.errors.UnknownHandleError: "no_such_model" is not cached
    """
    requested = list_names(names, "names", also=(CachedModel,))
    if requested and all(isinstance(name, CachedModel) for name in requested):
        return requested
    models = list_models()
    return [model for name in requested for model in _match_one(models, name)] if requested else models


def _match_one(models: Sequence[CachedModel], text: str | CachedModel) -> list[CachedModel]:
    if isinstance(text, CachedModel):
        return [text]
    handle, subdirectory = _split_subdirectory(text)
    matchers = (_match_name, _match_handle, _match_sha1, _match_shortened)
    found = next(filter(None, (match(models, handle) for match in matchers)), [])
    for model in found if subdirectory else ():
        choose_subdirectory(_locate(model, subdirectory))
    if len({model.entry.name if model.entry else model.path for model in found}) == 1:
        return found
    if not found:
        raise UnknownHandleError(
            f'"{show(redact(text))}" is not cached',
            fix=_LIST_FIX,
        )
    names = dict.fromkeys(model.name for model in found)
    fix = "\n  ".join(["Use one of these names:", *map(show, names)])
    raise UnknownHandleError(f'"{show(redact(text))}" matches several models', fix=fix)


def _match_name(models: Sequence[CachedModel], text: str) -> list[CachedModel]:
    return [model for model in models if text in (model.name, model.path)] or _match_inner_path(models, text)


def _match_inner_path(models: Sequence[CachedModel], text: str) -> list[CachedModel]:
    """Match the path of a SavedModel deeper inside the tree of a cached model, as ``resolve`` returns it."""
    with contextlib.suppress(HandleError):
        inner = ((model, text.removeprefix(f"{model.path}/")) for model in models if text.startswith(f"{model.path}/"))
        return [model for model, below in inner if is_saved_model(_locate(model, check_subdirectory(below)))]
    return []


def _split_subdirectory(text: str) -> tuple[str, str]:
    """Return a handle without the subdirectory that it chooses, and that; raises HandleError if it is not valid."""
    if "subdirectory=" not in text:
        return text, ""
    handle, pin, subdirectory = split_fragment(text)
    return handle + (f"#sha256={pin}" if pin else ""), check_subdirectory(subdirectory)


def _locate(model: CachedModel, subdirectory: str) -> ModelLocation:
    return ModelLocation(model.path, model.entry.record if model.entry else None, subdirectory)


def _match_handle(models: Sequence[CachedModel], text: str) -> list[CachedModel]:
    """Match a handle in any spelling, a name in the models file, or a TF Hub name, with the models of one key."""
    named = discovery.find_entry(text)
    key, pin = _get_key(named.handle if named else text)
    for other in (key, TFHUB + key):
        name = entry_name_for_key(other)
        if found := [model for model in models if model.entry and model.entry.name == name]:
            return found
    handles = {text, key}
    with contextlib.suppress(FileNotFoundError):  # the working directory was removed
        handles.add(os.path.abspath(key))
    found = [model for model in models if model.entry and model.entry.record.handle in handles]
    return [model for model in found if model.entry and pin in (None, model.entry.record.origin.sha256)]


def _match_sha1(models: Sequence[CachedModel], text: str) -> list[CachedModel]:
    if len(text) < _SHA1_DIGITS_MIN:
        return []
    return [model for model in models if model.entry and model.entry.name.startswith(text)]


def _match_shortened(models: Sequence[CachedModel], text: str) -> list[CachedModel]:
    return [model for model in models if fits_shortened(model.name, text)]


def redact(text: str) -> str:
    """Return a handle, or other text, without credentials and query, so that it can be printed."""
    try:
        handle = Handle.parse(text)
    except HandleError:
        return mask_value(text)
    return str(handle) if handle.scheme else mask_value(text) if "?" in text or "@" in text else text


def _get_key(text: str) -> tuple[str, str | None]:
    """Return the key of a handle and its pin; the text itself if it is not a handle."""
    try:
        handle = Handle.parse(text)
    except HandleError:
        return text, None
    return handle.key, handle.sha256


def _list_other_roots() -> Iterator[tuple[Entry, str]]:
    for tier in tiers.list_tiers():
        if not tier.is_own:
            try:
                yield from [(entry, tier.location) for entry in tier.open().entries()]
            except (CacheError, FetchError) as error:
                log.warning("skipped: %s", error.text)


def _describe_entry(entry: Entry, other_root: str, name: str) -> CachedModel:
    known = entry.record
    state = "damaged" if entry.defect else "ok" if known.files is not None else "unverified"
    size_bytes = known.size_bytes if known.files is not None else _measure_size_bytes(entry.path)
    return CachedModel(name, entry.path, size_bytes, state, _get_used_s(entry.path), entry, other_root)


def _list_named_models() -> Iterator[CachedModel]:
    folder = ""
    with contextlib.suppress(CacheError):  # no home directory
        folder = settings.get_dir()
    with map_os_errors(CacheError, f"cannot list {show(folder)}"):
        directories = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    for directory in directories:
        path = f"{folder}/{directory}"
        if is_tree(directory.partition(".")[0]) or not named_models.has_saved_model(path):
            continue
        if (name := naming.choose_directory_name(path)) is not None:
            yield CachedModel(name, path, _measure_size_bytes(path), "unverified", _get_used_s(path))


def _measure_size_bytes(path: str) -> int:
    """Return the total size of the files that are still there and can be read."""
    size_bytes = 0
    for file in fs.walk(path):
        with contextlib.suppress(OSError):
            size_bytes += os.lstat(f"{path}/{file}").st_size
    return size_bytes


def _get_used_s(path: str) -> float:
    """Return when the record, which every ``resolve`` reads, or the model itself was last read; 0 if unknown."""
    used = [0.0]
    for file in (path.partition(".descriptor")[0] + ".descriptor.txt", f"{path}/saved_model.pb"):
        with contextlib.suppress(OSError):
            used.append(os.stat(file).st_atime)
    return max(used)
