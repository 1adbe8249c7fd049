"""Archives on the web, recognized by the suffix of the URL's path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources.bucket_urls import suggest_bucket_handle
from tfimm_resolver.sources.plan import Fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.sources.plan import Fetcher

SCHEMES = ("http", "https")


def plan(handle: Handle) -> Fetch | None:
    """Return the plan for the URL of an archive; None for other URLs."""
    if not handle.is_archive:
        return None

    def fill(into: Path, fetcher: Fetcher) -> None:
        with suggest_bucket_handle(handle):
            fetcher.archive(handle.url(), into)

    return Fetch(handle.key, fill)
