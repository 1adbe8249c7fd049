"""The scenarios, by theme; they use the command line and public names of the package only."""

from __future__ import annotations

import importlib

THEMES = (
    "with_tensorflow",  # first, as they take longest
    "failures",
    "fetching",
    "caching",
    "maintenance",
    "names",
    "projects",
    "bundles",
    "repositories",
    "sources",
    "settings",
    "python_api",
)


def load_all() -> None:
    """Register every scenario."""
    for theme in THEMES:
        importlib.import_module(f"{__name__}.{theme}")
