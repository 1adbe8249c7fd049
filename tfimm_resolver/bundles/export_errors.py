"""Why a cached model cannot be exported, and what to do about it."""

from __future__ import annotations

import shlex

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.member_policy import find_unportable, quote_name
from tfimm_resolver.errors import CacheError, IntegrityError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.maintenance.cached_model import CachedModel


def make_export_error(model: CachedModel) -> CacheError | IntegrityError:
    """Return why a model cannot be exported."""
    if model.entry is None:
        return CacheError(f"{show(model.path)} was created by hand, and has no record", fix="Copy that directory instead.")
    if model.state == "damaged":
        return IntegrityError(f"{show(model.name)} is damaged: {show(model.entry.defect)}", fix=suggest_repair(model))
    if model.state == "unverified":
        handle = show(model.entry.record.handle or "HANDLE")
        fix = Advice(
            python=f"Fetch it again: tfimm_resolver.resolve({handle!r}, refresh=True)",
            command=f"Fetch it again: tfimm-resolver resolve --refresh {handle}",
        )
        return IntegrityError(f"{show(model.name)} has no recorded hashes to verify its files with", fix=fix)
    copy = "Copy it to this machine's disk first:"
    fix = Advice(
        python=f"{copy} tfimm_resolver.resolve(handle), for gs:// with TFIMM_RESOLVER_LOCAL_COPY=1.",
        command=f"{copy} tfimm-resolver resolve HANDLE, for gs:// with TFIMM_RESOLVER_LOCAL_COPY=1.",
    )
    return CacheError(f"{show(model.name)} is in a bucket, at {show(model.path)}", fix=fix)


def make_removed_error(model: CachedModel) -> CacheError:
    """Return the error for a model that is removed during its export."""
    return CacheError(
        f"{show(model.name)} was removed from the cache while it was exported: {show(model.path)} no longer exists",
        fix="The bundle was not completed. Export again, which fetches the model again.",
    )


def describe_unportable_names(model: CachedModel) -> str:
    """Return a warning that names files which not every system can hold; empty if there are none."""
    record = model.entry.record if model.entry else None
    paths = find_unportable(file.path for file in (record.files if record else None) or ())
    if not paths:
        return ""
    names = ", ".join(map(quote_name, paths[:3])) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
    return f"{show(model.name)} contains names that not every system can hold, so its import may fail elsewhere: {names}"


def suggest_repair(model: CachedModel) -> Advice:
    """Return the advice to fetch the files of a damaged model again."""
    name = show(model.name)
    return Advice(
        python=f"Repair it: maintenance.verify([{name!r}], repair=True)",
        command=f"Repair it: tfimm-resolver verify --repair {shlex.quote(name)}",
    )
