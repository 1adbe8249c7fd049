"""What is cached, measured, verified or removed, as tables that Python prints and notebooks show."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver._util.tables import Table
from tfimm_resolver._util.text import format_age, format_count, format_size

if TYPE_CHECKING:
    from tfimm_resolver.maintenance.cache_item import CacheItem
    from tfimm_resolver.maintenance.cached_model import CachedModel
    from tfimm_resolver.maintenance.pruning import PruneResult
    from tfimm_resolver.maintenance.usage import CacheUsage
    from tfimm_resolver.maintenance.verification import VerifyResult

_EXTRA, _BUCKET, _KEPT = " (extra)", " (bucket)", " (kept)"
_WARNED = frozenset({"damaged", "unsigned"})


def format_mark(model: CachedModel) -> str:
    """Return what is added to the state of a model: that it is kept, or in another root than the cache."""
    if not model.other_root:
        return _KEPT * model.is_protected
    return _EXTRA if model.is_read_only else _BUCKET


def format_time(when_s: float) -> str:
    """Return a time in seconds since 1970 as UTC to the minute, which stays true in a saved notebook; empty for 0."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when_s)) if when_s else ""


def summarize_models(models: Sequence[CachedModel]) -> str:
    """Return ``2 models, 54 MB in /home/me/.cache/tfhub_modules``, and how many are elsewhere."""
    cached = [model for model in models if not model.other_root]
    size_bytes = sum(model.size_bytes for model in cached)
    extra = sum(model.is_read_only for model in models)
    in_bucket = len(models) - len(cached) - extra
    elsewhere = f"; {extra} in extra roots" * bool(extra) + f"; {in_bucket} in {settings.urls_root().value}" * bool(in_bucket)
    return f"{format_count(len(cached), 'model')}, {format_size(size_bytes)} in {settings.cache_root().value}{elsewhere}"


def count_damaged(models: Sequence[CachedModel]) -> int:
    """Return how many models of the cache itself are damaged."""
    return sum(model.state == "damaged" and not model.other_root for model in models)


def make_models_table(models: Sequence[CachedModel], *, summary: str, has_paths: bool) -> Table:
    """Return a row for each cached model; where there is room, with exact times and paths."""
    rows = [
        [
            model.name,
            format_size(model.size_bytes),
            (format_time if has_paths else format_age)(model.used_s),
            model.state + format_mark(model),
            *[model.path] * has_paths,
        ]
        for model in models
    ]
    warned = {row[3] for row in rows if row[3].partition(" ")[0] in _WARNED}
    return Table(["MODEL", "SIZE", "USED", "STATE", *["PATH"] * has_paths], rows, summary, numbers={1}, warned=warned)


def make_usage_table(usage: CacheUsage) -> Table:
    """Return a row for each item of a cache, with the limit and the free space in the summary."""
    limit = "" if usage.max_bytes is None else f", of {format_size(usage.max_bytes)} ({usage.max_source})"
    free = "" if usage.free_bytes is None else f"; {format_size(usage.free_bytes)} free on the disk"
    named = f"; {format_size(usage.named_bytes)} of models under their names, which no limit counts" * bool(usage.named_bytes)
    return _make_items_table(usage.items, f"{format_size(usage.total_bytes)} in {usage.root}{limit}{named}{free}")


def make_prune_table(result: PruneResult) -> Table:
    """Return a row for each item that ``prune`` has removed, or would remove; the rest is the summary."""
    verb = "would remove" if result.is_dry_run else "removed"
    number = format_count(len(result.removed), "item")
    spared = "".join(f"; spared {count}: {reason}" for reason, count in sorted(result.spared.items()))
    missing = f"; still {format_size(result.missing_bytes)} above the limit" * bool(result.missing_bytes)
    return _make_items_table(result.removed, f"{verb} {number}, {format_size(result.freed_bytes)}{missing}{spared}")


def make_verify_table(results: Sequence[VerifyResult]) -> Table:
    """Return a row for each model that was verified, and one for each fault."""
    rows, states = [], [result.state for result in results]
    for result in results:
        repaired = " (fetched again)" * bool(result.is_repaired)
        rows.append([result.model.name, format_size(result.model.size_bytes), f"{result.files}", result.state + repaired, ""])
        faults = [*result.faults, *([f"not repaired: {result.error.text}"] if result.error else [])]
        if faults:
            rows[-1][4] = faults[0]
            rows += [["", "", "", "", fault] for fault in faults[1:]]
    summary = ", ".join(f"{states.count(word)} {word}" for word in dict.fromkeys(states)) or "nothing is cached"
    return Table(["MODEL", "SIZE", "FILES", "STATE", "FAULT"], rows, summary, numbers={1, 2}, warned=_WARNED)


def _make_items_table(items: Sequence[CacheItem], summary: str) -> Table:
    rows = [[item.name, item.kind, format_size(item.size_bytes), format_time(item.used_s), item.path] for item in items]
    return Table(["NAME", "KIND", "SIZE", "USED", "PATH"], rows, summary, numbers={2})
