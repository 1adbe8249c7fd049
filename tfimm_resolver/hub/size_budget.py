"""Limits what a file of weights may unpack to, like an archive."""

from __future__ import annotations

import os

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives import budget
from tfimm_resolver.errors import WeightsError


class SizeBudget:
    """The bytes that a file may still unpack to."""

    def __init__(self, path: str) -> None:
        _, max_bytes, ratio = settings.unpack_limits()
        self._max_bytes = min(max_bytes, max(budget.RATIO_CHECK_MIN_BYTES, int(ratio * os.stat(path).st_size)))
        self._path, self._total_bytes = path, 0

    def add(self, size_bytes: int) -> None:
        """Count bytes before memory is allocated for them; raises WeightsError beyond the limit."""
        self._total_bytes += size_bytes
        if self._total_bytes > self._max_bytes:
            fix = "If you trust it, set TFIMM_RESOLVER_MAX_RATIO or TFIMM_RESOLVER_MAX_BYTES."
            raise WeightsError(f"{show(self._path)} unpacks to over {self._max_bytes} bytes", fix=fix)
