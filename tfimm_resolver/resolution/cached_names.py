"""Names that ``ls`` prints for cached models and that no source can plan: every function accepts them as handles."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver.cache.cache import Cache, Entry, entry_name_for_key, is_entry_name
from tfimm_resolver.cache.roots import open_root
from tfimm_resolver.errors import CacheError, FetchError, HandleError, IntegrityError, NotFoundError, UnknownHandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.rules import ResolvedPlan
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import Fetch, InPlace, MutableRef, RemoteLocation

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.cache.record import Record
    from tfimm_resolver.sources.plan import Fetcher

log = logging.getLogger("tfimm_resolver")

RULE = "name in the cache"
TFHUB = "https://tfhub.dev/"
"""What ``ls`` leaves out at the beginning of a handle."""

SHORTENED = "?…"
"""The end of a recorded handle whose query was not recorded, as it may contain a secret."""


def match_shortened(handle: Handle) -> ResolvedPlan | None:
    """Match a URL whose query was not recorded, in the form in which ``ls`` prints it, with the cached model.

    Raises:
        UnknownHandleError: if it stands for several cached models.
        IntegrityError: if the model is damaged, or does not match the pin.
    """
    found = _find_entries(lambda entry: entry.record.handle == handle.redacted)
    return _use_entry(handle, found) if found else None


def match_cached_name(handle: Handle) -> ResolvedPlan | None:
    """Match a name without a scheme that ``ls`` prints; raises as ``match_shortened`` does.

    It is the sha1 of an entry, a TF Hub handle without ``https://tfhub.dev/``, or the path of an archive that was unpacked
    and is not there any more. With a pin, such a path stands for what the archive contained when it had that hash.
    """
    if is_entry_name(handle.text):
        found = _find_entries(lambda _: True, handle.text)
        return _use_entry(handle, found) if found else None
    if (short := find_tfhub_handle(handle.text)) is not None:
        return rules.match_rule(Handle.parse(short, sha256=handle.sha256))
    return _match_archive(handle) if handle.is_archive else None


def find_tfhub_handle(text: str) -> str | None:
    """Return the handle for a TF Hub name that ``ls`` prints, such as ``google/nnlm/2``; None for other texts."""
    if "/" not in text or text.startswith(("/", ".", "~")):
        return None
    try:
        key = Handle.parse(TFHUB + text).key
    except HandleError:
        return None
    return TFHUB + text if _find_entries(lambda _: True, entry_name_for_key(key)) else None


def derive_entry_name(record: Record) -> str | None:
    """Return the cache entry name that belongs to the handle of a record; None if it cannot be derived.

    That is the case if the handle was shortened, since the record does not contain its query, or if no source handles it.

    Raises:
        HandleError: if the handle is invalid, or mutable: it does not identify one model.
    """
    handle = Handle.parse(record.handle)
    if not handle.scheme:
        return entry_name_for_key(f"sha256:{record.origin.sha256}")
    if handle.query or (plan := rules.find_source_plan(handle)) is None:
        return None
    if isinstance(plan, MutableRef):
        raise HandleError(f"{handle} is a mutable handle, which does not identify one model")
    plan = plan.otherwise if isinstance(plan, RemoteLocation) else plan
    return entry_name_for_key(plan.key if isinstance(plan, Fetch) else handle.key)


def _match_archive(handle: Handle) -> ResolvedPlan | None:
    """Match the path of an archive that is not there any more with what was unpacked from it."""
    path, pin = local.find_path(handle), handle.sha256
    if pin is None:
        found = _find_entries(lambda entry: entry.record.handle in (path, handle.text))
        return _use_entry(handle, found) if found else None

    def fill(_into: Path, _fetcher: Fetcher) -> None:
        raise NotFoundError(f"{path} does not exist any more, and what was unpacked from it is damaged")

    key = f"sha256:{pin}"
    return ResolvedPlan(RULE, handle, Fetch(key, fill)) if _find_entries(lambda _: True, entry_name_for_key(key)) else None


def _use_entry(handle: Handle, found: list[tuple[Entry, str]]) -> ResolvedPlan:
    """Return the plan for entries of one name in several roots: as for the recorded handle, if that leads to them."""
    names = {entry.name for entry, _ in found}
    if len(names) > 1:
        fix = f"Use the sha1 of one of them: {', '.join(sorted(names))}."
        raise UnknownHandleError(f'"{handle}" stands for several cached models', fix=fix)
    recorded, is_derivable = found[0][0].record, False
    with contextlib.suppress(HandleError):
        is_derivable = "://" in recorded.handle and derive_entry_name(recorded) in names
    if is_derivable:
        return rules.match_rule(Handle.parse(recorded.handle, sha256=handle.sha256))
    entry = _choose_copy(handle, found)
    return ResolvedPlan(RULE, replace(handle, sha256=None), InPlace(entry.path))


def _choose_copy(handle: Handle, found: list[tuple[Entry, str]]) -> Entry:
    """Return the copy that ``resolve`` would return for the complete handle: of an extra root, unless another is newer."""
    complete = [(entry, root) for entry, root in found if entry.defect is None]
    if not complete:
        raise IntegrityError(
            f"the cached copy of {handle} is damaged: {found[0][0].defect}",
            fix="Resolve it with its complete handle, which was not recorded, or remove it.",
        )
    matching = [one for one in complete if handle.sha256 in (None, one[0].record.origin.sha256)]
    if not matching:
        cached = complete[0][0].record.origin.sha256 or "unknown"
        raise IntegrityError(f"{handle} is cached with a different sha256:\n  cached {cached}\n  pinned {handle.sha256}")
    shared = next((entry for entry, root in matching if root and not settings.is_bucket(root)), None)
    own = next((entry for entry, root in matching if not root), None)
    if shared is None or (own is not None and own.record.fetched_at > shared.record.fetched_at):
        return own or matching[0][0]
    return shared


def _find_entries(is_wanted: Callable[[Entry], bool], name: str | None = None) -> list[tuple[Entry, str]]:
    """Return the entries of that name, or all, that are wanted, each with its root; "" stands for the cache itself."""
    return [(entry, root) for cache, root in _open_caches() for entry in _list(cache, name) if is_wanted(entry)]


def _list(cache: Cache, name: str | None) -> list[Entry]:
    try:
        return list(cache.entries(name))
    except (CacheError, FetchError) as error:
        log.warning("skipped: %s", error.text)
        return []


def _open_caches() -> Iterator[tuple[Cache, str]]:
    """Yield the cache, the extra roots, and the bucket behind a local cache."""
    own = settings.cache_root()
    yield Cache(open_root(own.value, own.mode)), ""
    for root in (*settings.extra_roots(), *([settings.urls_root().value] if settings.uses_local_copy() else [])):
        with contextlib.suppress(CacheError):
            yield Cache(open_root(root)), root
