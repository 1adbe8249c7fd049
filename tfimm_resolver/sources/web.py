"""Archives on the web, known by the ending of their URL's path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources.plan import Fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.sources.plan import Fetcher

SCHEMES = ("http", "https")


def plan(handle: Handle) -> Fetch | None:
    """What is done with the URL of an archive."""
    if not handle.is_archive:
        return None

    def fill(into: Path, fetcher: Fetcher) -> None:
        fetcher.archive(handle.url(), into)

    return Fetch(handle.key, fill)
