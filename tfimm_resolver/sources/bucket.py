"""Google Cloud Storage: a directory stays where it is, TensorFlow reads it there; a public archive is fetched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

from tfimm_resolver.handle import Handle
from tfimm_resolver.plan import Fetch, InPlace

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.transfer import Transfer

SCHEMES = ("gs",)


def plan(handle: Handle) -> InPlace | Fetch:
    """What is done with a ``gs://`` handle."""
    if not handle.is_archive:
        return InPlace(handle.scheme + handle.text[len(handle.scheme) :])  # TensorFlow knows no GS://

    def fill(into: Path, transfer: Transfer) -> None:
        # The variable by which Google's own clients are pointed elsewhere.
        base = os.environ.get("STORAGE_EMULATOR_HOST") or "https://storage.googleapis.com"
        transfer.archive(f"{base.rstrip('/')}/{handle.host}{quote(handle.path)}", into)

    return Fetch(handle.key, fill)
