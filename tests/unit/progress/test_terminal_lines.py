"""Tests of ``progress.terminal_lines``: lines about downloads are as wide as a terminal has room for, and not wider."""

from __future__ import annotations

import pytest

from tfimm_resolver._util import clock
from tfimm_resolver.progress.stats import TransferStats
from tfimm_resolver.progress.terminal_lines import fit, make_line

URL = "https://models.example/owner/a_model_with_a_long_name_for_narrow_terminals/3.tar.gz"


def run_half(label: str, total_bytes: int | None = 132_000_000) -> TransferStats:
    """Return the counts of a download at a third, with a rate."""
    stats = TransferStats(label, total_bytes, started_s=clock.get_monotonic_s() - 10)
    stats.advance(0)
    stats.advance(44_000_000)
    return stats


@pytest.mark.parametrize("label", ["m", "4 of 4 models", URL])
@pytest.mark.parametrize("columns", [5, 20, 40, 59, 60, 61, 80, 120, 200, 400])
@pytest.mark.parametrize("total_bytes", [None, 132_000_000, 999_000_000_000])
def test_a_line_never_wraps(label: str, columns: int, total_bytes: int | None) -> None:
    stats = run_half(label, total_bytes)
    assert len("".join(make_line(stats, columns))) < columns
    assert len(fit(label, stats.format_result(), columns)) < columns


@pytest.mark.parametrize(("columns", "cells"), [(40, 0), (59, 0), (60, 12), (80, 24), (100, 40), (200, 40)])
def test_the_bar_is_as_wide_as_there_is_room(columns: int, cells: int) -> None:
    line = make_line(run_half("4 models"), columns)
    assert len(line.done) == cells // 3 or columns == 60
    assert len(line.done + line.missing) == cells or columns == 60
    assert bool(cells) == bool(line.done)


def test_a_wide_terminal_shows_a_name_in_full_and_a_narrow_one_its_ends() -> None:
    assert URL in "".join(make_line(run_half(URL), 200))
    narrow = "".join(make_line(run_half(URL), 80))
    assert narrow.startswith("  https://") and "3.tar.gz  ━" in narrow and "…" in narrow
    assert "left" not in "".join(make_line(run_half(URL), 40)), "first the bar goes, and the rate with it"


def test_without_a_total_there_is_no_bar() -> None:
    line = make_line(run_half("m", None), 80)
    assert line.before.startswith("  m  44 MB  ") and not line.done + line.missing + line.after


def test_a_terminal_without_unicode_has_a_bar_of_ascii() -> None:
    assert "".join(make_line(run_half("m"), 80, is_ascii=True)).isascii()


def test_a_label_cannot_control_the_terminal() -> None:
    assert "\x1b" not in fit("\x1b[2J", "1 B", 80)


@pytest.mark.parametrize("columns", [40, 80])
def test_a_long_name_is_shortened_and_the_facts_stay(columns: int) -> None:
    line = fit(URL, "40 MB in 10.2 s", columns)
    assert line.startswith("  https://") and line.endswith("tar.gz  40 MB in 10.2 s")
