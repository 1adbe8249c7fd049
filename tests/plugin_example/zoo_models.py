"""The Zoo: ``zoo://animal`` is an archive on a host of ours, which ``$ZOO_URL`` names."""

from __future__ import annotations

import os
from pathlib import Path

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources.plan import Fetch
from tfimm_resolver.transfer.downloader import Downloader


def plan(handle: Handle) -> Fetch:
    """What is done with a ``zoo://`` handle."""
    if handle.path:
        raise HandleError(f"{handle} names no animal", fix="Write zoo://ANIMAL.")
    base = os.environ.get("ZOO_URL", "https://zoo.example.org")

    def fill(into: Path, transfer: Downloader) -> None:
        transfer.archive(f"{base}/{handle.host}.tgz", into)

    return Fetch(handle.key, fill)
