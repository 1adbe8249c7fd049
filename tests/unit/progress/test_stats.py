"""Tests of ``progress.stats``: counts, rate and remaining time."""

from __future__ import annotations

import time

import pytest

from tfimm_resolver._util import clock
from tfimm_resolver._util.text import format_duration
from tfimm_resolver.progress.stats import TransferStats


def test_counts_include_resumed_bytes() -> None:
    stats = TransferStats("m", total_bytes=4000, resumed_bytes=1000)
    stats.advance(1000)
    assert stats.done_bytes == 2000
    assert stats.format_line().startswith("m   50%  2.0 kB/4.0 kB")
    assert "including 1.0 kB resumed" in stats.format_summary()


def test_the_rate_leaves_out_resumed_and_corrected_bytes() -> None:
    stats = TransferStats("m", total_bytes=10_000_000, resumed_bytes=5_000_000, started_s=time.monotonic() - 10)
    stats.advance(0)
    stats.adjust(1_000_000)
    stats.advance(0)
    assert stats.done_bytes == 6_000_000
    assert stats.format_counts().endswith("  0 B/s"), "nothing was received, so no remaining time is shown"


def test_a_young_download_and_a_short_line_have_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.monotonic()
    monkeypatch.setattr(clock, "get_monotonic_s", lambda: now_s)
    young, old = TransferStats("m", 100), TransferStats("m", 100, started_s=now_s - 10)
    for stats in (young, old):
        stats.advance(50)
    assert "/s" not in young.format_counts() and "/s" in old.format_counts()
    assert old.format_counts(is_short=True) == young.format_counts()


def test_an_unknown_total_has_no_share_and_too_many_bytes_are_at_most_100_percent() -> None:
    unknown, exceeded = TransferStats("m", None), TransferStats("m", 10)
    for stats in (unknown, exceeded):
        stats.advance(20)
    assert unknown.format_counts() == "20 B"
    assert exceeded.format_counts().startswith("100%")


def test_a_label_cannot_control_the_terminal() -> None:
    assert "\x1b" not in TransferStats("\x1b[2J m", None).label


def test_the_rate_falls_while_nothing_arrives_and_then_no_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(clock, "get_monotonic_s", lambda: now_s[0])
    stats = TransferStats("m", 100_000_000, started_s=100.0)
    for _ in range(4):
        now_s[0] += 1
        stats.advance(1_000_000)
    assert stats.format_counts().endswith("  1.0 MB/s  2 min left")
    now_s[0] += 3
    assert stats.format_counts().endswith("  400 kB/s  4 min left")
    now_s[0] += 30
    assert stats.format_counts().endswith("  0 B/s"), "a server that hangs has no remaining time"


@pytest.mark.parametrize(("done_bytes", "left"), [(999, "  1 s left"), (1000, ""), (1001, "")])
def test_a_finished_download_has_no_time_left(monkeypatch: pytest.MonkeyPatch, done_bytes: int, left: str) -> None:
    now_s = [100.0]
    monkeypatch.setattr(clock, "get_monotonic_s", lambda: now_s[0])
    stats = TransferStats("m", 1000, started_s=100.0)
    stats.advance(0)
    now_s[0] += 2
    stats.advance(done_bytes)
    assert stats.format_counts().partition("/s")[2] == left


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.1, "1 s"),
        (59, "59 s"),
        (89, "89 s"),
        (90, "2 min"),
        (3600, "60 min"),
        (7200, "2 h"),
        (10**6, "12 d"),
        (10**9, "11574 d"),
    ],
)
def test_a_duration_has_its_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
