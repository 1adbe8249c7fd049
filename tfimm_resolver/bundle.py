"""Moved to ``tfimm_resolver.bundles``; this name works until version 1.0, with a warning."""

from __future__ import annotations

from tfimm_resolver._util.lazy import forward

__getattr__ = forward(__name__, "tfimm_resolver.bundles.writer", {"Written": "ExportResult"}, public="tfimm_resolver.bundles")
