"""Tests of ``progress.reporters``: which reporter a download has, and how its report ends."""

from __future__ import annotations

import logging

import pytest

from tfimm_resolver.progress import reporters
from tfimm_resolver.progress.renderers import LogDisplay, SilentDisplay
from tfimm_resolver.progress.stats import TransferStats


class Recorder:
    """Records the calls of one download."""

    def __init__(self, stats: TransferStats) -> None:
        self.stats, self.finished = stats, list[bool]()

    def advance(self, size_bytes: int) -> None:
        self.stats.advance(size_bytes)

    def finish(self, succeeded: bool) -> None:
        self.finished.append(succeeded)


def test_the_innermost_redirection_receives_the_progress() -> None:
    outer, inner = list[Recorder](), list[Recorder]()

    def make_recorder(stats: TransferStats, recorders: list[Recorder]) -> Recorder:
        recorders.append(Recorder(stats))
        return recorders[-1]

    with reporters.redirect_progress(lambda stats: make_recorder(stats, outer)):
        with (
            reporters.redirect_progress(lambda stats: make_recorder(stats, inner)),
            reporters.report_progress("a", 10, 4, quiet=False) as meter,
        ):
            meter.advance(3)
        with reporters.report_progress("b", None, quiet=True):
            pass
    assert [(one.stats.label, one.stats.done_bytes, one.stats.total_bytes, one.finished) for one in inner] == [
        ("a", 7, 10, [True])
    ]
    assert [(one.stats.label, one.finished) for one in outer] == [("b", [True])]


def test_a_failed_download_ends_its_report_without_success() -> None:
    recorder = Recorder(TransferStats("m", None))
    with (
        reporters.redirect_progress(lambda _: recorder),
        pytest.raises(KeyboardInterrupt),
        reporters.report_progress("m", None, quiet=False),
    ):
        raise KeyboardInterrupt
    assert recorder.finished == [False]


def test_without_a_terminal_progress_is_logged_and_a_quiet_download_shows_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stats = TransferStats("m", None)
    assert isinstance(reporters.make_display(stats, quiet=False), LogDisplay)
    assert isinstance(reporters.make_display(stats, quiet=True), SilentDisplay)
    for label, quiet in (("loud", False), ("silent", True)):
        with reporters.report_progress(label, None, quiet=quiet) as meter:
            meter.advance(1)
    assert "loud" in caplog.text and "silent" not in caplog.text
