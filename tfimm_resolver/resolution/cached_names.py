"""Names that ``ls`` prints for cached models and that no source can plan: every function accepts them as handles."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import Entry, entry_name_for_key
from tfimm_resolver.cache.record import is_entry_name
from tfimm_resolver.cache.tier import ModelLocation, Tier
from tfimm_resolver.errors import (
    CacheError,
    FetchError,
    HandleError,
    IntegrityError,
    NotFoundError,
    ResolverError,
    UnknownHandleError,
)
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.handles.pin import CONTENT_KEY
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import Fetch, InPlace, MutableRef

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.cache.record import Record
    from tfimm_resolver.sources.plan import Fetcher, Plan

log = logging.getLogger("tfimm_resolver")

SHORTENED_MIN = 12
"""To how many characters ``ls`` shortens a name at most: less of it could be any name."""

TFHUB = "https://tfhub.dev/"
"""What ``ls`` leaves out at the beginning of a handle."""

_warned: set[str] = set()
"""The schemes whose source did not work, which was logged."""


def match_recorded(request: Request) -> ResolvedPlan | None:
    """Match a handle without its query, or one version of an archive on this machine, in the form that ``ls`` prints.

    Raises:
        UnknownHandleError: if it stands for several cached models.
        HandleError: if the model is to be fetched again, which needs its complete handle.
        IntegrityError: if the model is damaged, or does not match the pin.
    """
    handle = request.handle
    if not handle.scheme and handle.sha256 is not None:
        return _match_version(request) if handle.is_archive else None
    if handle.query == "…":
        found = _find_entries(lambda entry: entry.record.handle == handle.redacted)
    else:
        found = _find_entries(lambda entry: fits_shortened(entry.record.handle.removeprefix(TFHUB), handle.text))
    return _use_entry(request, found) if found else None


def match_cached_name(request: Request) -> ResolvedPlan | None:
    """Match a name without a scheme that ``ls`` prints; raises as ``match_recorded`` does.

    It is the sha1 of an entry, the name of a model that was adopted from tfimm's cache, a TF Hub handle without
    ``https://tfhub.dev/``, or the path of an archive that was unpacked and no longer exists.
    """
    handle = request.handle
    if handle.is_name:
        is_sha1 = is_entry_name(handle.text)
        name = handle.text if is_sha1 else entry_name_for_key(handle.key)
        if found := _find_entries(lambda entry: is_sha1 or entry.record.handle == handle.text, name):
            return _use_entry(request, found)
    if (short := find_tfhub_handle(handle.text)) is not None:
        return rules.match_rule(request.with_handle(Handle.parse(short, sha256=handle.sha256)))
    if not handle.is_archive:
        return None
    if handle.sha256 is not None:
        return _match_version(request)
    found = _find_entries(lambda entry: entry.record.handle in (local.find_path(handle), handle.text))
    return _use_entry(request, found) if found else None


def find_adopted(name: str) -> str | None:
    """Return the directory of a complete model that was adopted from tfimm's cache, by its name; None if there is none."""
    for entry, tier in _find_entries(lambda entry: entry.record.handle == name, entry_name_for_key(name)):
        if entry.defect is None and ModelLocation(entry.path, entry.record, is_read_only=not tier.is_own).hold():
            return entry.path
    return None


def fits_shortened(name: str, text: str) -> bool:
    """Whether a text is a name whose middle ``ls`` left out, to fit a narrow terminal."""
    start, mark, end = text.partition("…")
    return bool(mark) and len(name) > len(text) >= SHORTENED_MIN and name.startswith(start) and name.endswith(end)


def find_tfhub_handle(text: str) -> str | None:
    """Return the handle for a TF Hub name that ``ls`` prints, such as ``google/nnlm/2``; None for other texts."""
    if "/" not in text or text.startswith(("/", ".", "~")):
        return None
    try:
        key = Handle.parse(TFHUB + text).key
    except HandleError:
        return None
    return TFHUB + text if _find_entries(name=entry_name_for_key(key)) else None


def derive_entry_name(record: Record) -> str | None:
    """Return the cache entry name that belongs to the handle of a record; None if it cannot be derived.

    That is the case if the handle was shortened, since the record does not contain its query, if no source handles it, or
    if its source, a plug-in, does not work, which is logged once for each scheme: the other models do not depend on it.

    Raises:
        HandleError: if the handle is invalid, or mutable: it does not identify one model.
    """
    handle = Handle.parse(record.handle)
    if not handle.scheme:
        is_adopted = handle.is_name and not record.origin.stated_sha256
        return entry_name_for_key(handle.key if is_adopted else CONTENT_KEY + record.origin.stated_sha256)
    if handle.query or (plan := _find_plan(handle)) is None:
        return None
    if isinstance(plan, MutableRef):
        raise HandleError(
            f"{handle} is a mutable handle, which does not identify one model",
            fix="Give the handle with a version, a commit, or the sha256 of the archive.",
        )
    return entry_name_for_key(plan.download.key if plan.download else handle.key)


def _find_plan(handle: Handle) -> Plan | None:
    try:
        return rules.find_source_plan(handle)
    except HandleError:
        raise
    except ResolverError as error:
        if handle.scheme not in _warned:
            _warned.add(handle.scheme)
            log.warning("cached models of %s:// are listed by their sha1: %s\n  %s", handle.scheme, error.text, error.fix)
        return None


def _match_version(request: Request) -> ResolvedPlan | None:
    """Match the path of an archive with a pin, if what it contained when it had that hash is in the cache."""
    path, key = local.find_path(request.handle), f"{CONTENT_KEY}{request.handle.sha256}"

    def fill(into: Path, fetcher: Fetcher) -> None:
        if not os.path.isfile(path):
            raise NotFoundError(f"{show(path)} no longer exists", fix="Check the path, or give another handle.")
        fetcher.local_archive(path, into)  # compares the pin

    return ResolvedPlan(rules.CACHED_NAME, request, Fetch(key, fill)) if _find_entries(name=entry_name_for_key(key)) else None


def _use_entry(request: Request, found: Sequence[tuple[Entry, Tier]]) -> ResolvedPlan:
    """Return the plan for the copies of one entry: as for the recorded handle if that leads to it, else the directory."""
    names = {entry.name for entry, _ in found}
    if len(names) > 1:
        fix = f"Use the sha1 of one of them: {', '.join(sorted(names))}."
        raise UnknownHandleError(f'"{request.handle}" stands for several cached models', fix=fix)
    recorded, is_derivable = found[0][0].record, False
    with contextlib.suppress(HandleError):
        is_derivable = "://" in recorded.handle and derive_entry_name(recorded) in names
    if is_derivable:
        return rules.match_rule(request.with_handle(Handle.parse(recorded.handle, sha256=request.handle.sha256)))
    if request.refresh:
        raise HandleError(
            f"{request.handle} cannot be fetched again: the complete handle of this cached model was not recorded",
            fix="Use the handle that it was first fetched with.",
        )
    handle = replace(request.handle, sha256=None)  # the copy was compared with the pin
    return ResolvedPlan(rules.CACHED_NAME, replace(request, handle=handle), InPlace(_hold(request, found)))


def _hold(request: Request, found: Sequence[tuple[Entry, Tier]]) -> str:
    """Return the path of the copy to use, which no process removes from now on until this one has ended."""
    entry = _choose_copy(request, found)
    is_own = any(tier.is_own for other, tier in found if other is entry)
    if not ModelLocation(entry.path, entry.record, is_read_only=not is_own).hold():
        raise IntegrityError(f"the cached copy of {request.handle} was removed just now", fix="Try again.")
    return entry.path


def _choose_copy(request: Request, found: Sequence[tuple[Entry, Tier]]) -> Entry:
    """Return the copy that ``resolve`` would return for the complete handle: of the first tier, unless the own is newer."""
    complete = [(entry, tier) for entry, tier in found if entry.defect is None]
    if not complete:
        raise IntegrityError(
            f"the cached copy of {request.handle} is damaged: {show(found[0][0].defect)}",
            fix="Resolve the handle that it was first fetched with, or remove this copy.",
        )
    matching = [(entry, tier) for entry, tier in complete if request.pin.is_known_to_match(entry.record.origin)]
    if not matching:
        request.pin.check_cached(complete[0][0].record.origin, str(request.handle))
        raise IntegrityError(f"the archive of {request.handle} has no recorded sha256 to compare with the pin")
    first = matching[0][0]
    own = next((entry for entry, tier in matching if tier.is_own), first)
    return own if own.record.fetched_at > first.record.fetched_at else first


def _find_entries(matches: Callable[[Entry], bool] = lambda _: True, name: str | None = None) -> list[tuple[Entry, Tier]]:
    """Return the entries of that name, or all, that match, each with its tier, in the order of the tiers."""
    found: list[tuple[Entry, Tier]] = []
    for tier in tiers.list_tiers():
        try:
            found += [(entry, tier) for entry in tier.open().entries(name) if matches(entry)]
        except (CacheError, FetchError) as error:
            log.warning("skipped: %s", error.text)
    return found
