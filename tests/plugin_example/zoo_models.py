"""The Zoo: ``zoo://animal`` is an archive on our own host, or on that of ``$ZOO_URL``."""

from __future__ import annotations

import os
from pathlib import Path

from tfimm_resolver.errors import HandleError
from tfimm_resolver.sources import Fetch, Fetcher, Handle


def plan(handle: Handle) -> Fetch:
    """Return the plan for a ``zoo://`` handle."""
    if handle.path:
        raise HandleError(f"{handle} names no animal", fix="Write zoo://ANIMAL.")
    base = os.environ.get("ZOO_URL", "https://zoo.example.org")

    def fill(into: Path, fetcher: Fetcher) -> None:
        fetcher.archive(f"{base}/{handle.host}.tgz", into)

    return Fetch(handle.key, fill)
