"""Reports the progress of downloads to a person or a program, and runs several of them in parallel."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfimm_resolver._util.terminal import is_terminal
    from tfimm_resolver.progress.batch import map_parallel
    from tfimm_resolver.progress.reporters import ProgressReporter, report_progress
else:
    from tfimm_resolver._util.lazy import export_lazily

    __getattr__, __dir__ = export_lazily(
        __name__,
        {
            "is_terminal": "tfimm_resolver._util.terminal",
            "ProgressReporter": "tfimm_resolver.progress.reporters",
            "map_parallel": "tfimm_resolver.progress.batch",
            "report_progress": "tfimm_resolver.progress.reporters",
        },
    )

__all__ = [
    "ProgressReporter",
    "is_terminal",
    "map_parallel",
    "report_progress",
]
