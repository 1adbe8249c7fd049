"""Asks the source of a model, or a mirror: where it is, what a mutable handle refers to now, and for its files."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver.errors import FetchError, IntegrityError, ResolverError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import FetchResult, Origin
from tfimm_resolver.progress.events import emit, set_state
from tfimm_resolver.resolution import rules, signatures
from tfimm_resolver.resolution.request import ResolvedPlan
from tfimm_resolver.sources.plan import MutableRef, RemoteLocation

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.transfer.downloader import Downloader

log = logging.getLogger("tfimm_resolver")

_LISTED_MAX = 5
_warned_temporary: set[str] = set()


class Upstream:
    """The source of the model of one plan, and its mirrors. Network code is imported only when it is asked."""

    def __init__(self, resolved: ResolvedPlan) -> None:
        self._resolved = resolved
        self._may_be_unchanged = resolved.request.refresh

    def locate(self) -> str | None:
        """Return where TensorFlow can read the model remotely, or None; raises FetchError if that cannot be looked up."""
        plan = self._resolved.plan
        return plan.where(_make_fetcher(self._resolved.handle)) if isinstance(plan, RemoteLocation) else None

    def look_up(self) -> str:
        """Return the immutable handle that a mutable one refers to now; raises FetchError if that cannot be looked up."""
        plan = self._resolved.plan
        return plan.now(_make_fetcher(self._resolved.handle)) if isinstance(plan, MutableRef) else self._resolved.handle.text

    def fill(self, into: Path, parts: Path) -> FetchResult | None:
        """Write the files of the model into an empty directory; raises as ``Fetcher`` does.

        Returns None if the model is to be refreshed, and is still the cached one; not a second time. An incomplete model is
        only warned of: what is missing may not be needed.
        """
        from tfimm_resolver.saved_model import content

        fetched = self._fill(into, parts)
        if fetched is not None and (missing := content.find_missing_content_inside(str(into))):
            log.warning("the model of %s is incomplete: %s", self._resolved.handle, ", ".join(missing[:_LISTED_MAX]))
        return fetched

    def _fill(self, into: Path, parts: Path) -> FetchResult | None:
        settings.validate()
        if settings.uses_local_copy():
            return self._verify(into, self._copy_from_bucket(into, parts))
        if (root := settings.cache_root()).source == settings.TEMPORARY:
            _warn_temporary_cache(root.value)
        from tfimm_resolver.transfer.revalidation import NotModifiedError

        known = self._find_known() if self._may_be_unchanged else None
        self._may_be_unchanged = False
        try:
            return self._fetch_with_mirrors(into, parts, known)
        except NotModifiedError:
            log.info("%s has not changed upstream", self._resolved.handle)
            set_state("unchanged")
            return None

    def _find_known(self) -> Origin | None:
        """Return where the cached model is from, if every byte of it is as recorded and it matches the pin."""
        from tfimm_resolver.cache import tiers

        request, download = self._resolved.request, self._resolved.plan.download
        with contextlib.suppress(ResolverError):
            cache = tiers.open_cache()
            record = cache.find(download.key, request.pin) if download else None
            if record is not None and record.files and not any(cache.root.verify_hashes(record)):
                return record.origin
        return None

    def _fetch_with_mirrors(self, into: Path, parts: Path, known: Origin | None = None) -> FetchResult:
        """Fill a directory from the handle; if that fails, from the first mirror that works."""
        mirrors, failures = self._resolved.mirrors, list[FetchError]()
        for source, following in zip((self._resolved.handle, *mirrors), (*mirrors, None), strict=True):
            fetcher = _make_fetcher(source, parts, known)
            try:
                plan = self._resolved.plan if source is self._resolved.handle else rules.make_mirror_plan(source)
                assert plan.download is not None
                plan.download.fill(into, fetcher)
                return self._verify(into, FetchResult(fetcher.origin, fetcher.files))
            except IntegrityError:  # a mismatch with the pin must be reported, not hidden by trying the next mirror
                raise
            except FetchError as error:
                if not mirrors:
                    raise
                failures.append(error)
                if following is not None:
                    log.warning("%s; trying the mirror %s", error.text, following)
                    emit("fetch.mirror", text=error.text)
                fs.clear_dir(into)
        raise make_mirrors_error(failures) from failures[0]

    def _verify(self, into: Path, result: FetchResult) -> FetchResult:
        """Verify the signatures that are required, before anything is published; raises SignatureError."""
        requirements = signatures.list_requirements(self._resolved)
        return signatures.verify_fetched(into, result, requirements, self._resolved.label)

    def _copy_from_bucket(self, into: Path, parts: Path) -> FetchResult:
        """Fill a directory from the cache in the bucket, after filling that cache if it does not have the model."""
        from tfimm_resolver.cache import tiers

        request, download = self._resolved.request, self._resolved.plan.download
        assert download is not None
        bucket, fill = tiers.open_bucket_cache(into, parts), self._fetch_with_mirrors
        record = bucket.ensure(self._resolved.label, download.key, fill, refresh=request.refresh, pin=request.pin)
        if not os.listdir(into):  # the bucket had the model already
            _make_fetcher(request.handle, parts).objects(bucket.path(record), into, record.files)
        return FetchResult(record.origin, record.files, record.fetched_at)


def _make_fetcher(handle: Handle, parts: Path | None = None, known: Origin | None = None) -> Downloader:
    from tfimm_resolver.cache import tiers
    from tfimm_resolver.transfer.downloader import Downloader

    return Downloader(handle, parts, known=known, reserve=tiers.make_room if parts else None)


def make_mirrors_error(failures: list[FetchError]) -> FetchError:
    """Return the first error, with those of the mirrors added."""
    details = "\n  ".join(["all mirrors failed:", *(error.text for error in failures[1:])])
    return failures[0].with_message(f"{failures[0].text}\n  {details}")


def _warn_temporary_cache(root: str) -> None:
    """Warn once that the system may clear a temporary root."""
    if root not in _warned_temporary:
        _warned_temporary.add(root)
        log.warning(
            "%s is a temporary directory that the system may clear; "
            "for a persistent cache: export TFHUB_CACHE_DIR=~/.cache/tfhub_modules",
            root,
        )
