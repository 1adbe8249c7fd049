"""Progress displays of a single download."""

from __future__ import annotations

import logging
import os
import pty
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.fakes.processes import read_terminal, run
from tfimm_resolver._util import text
from tfimm_resolver.progress import renderers, reporters, stats


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_960, "10 kB"),
        (999_499, "999 kB"),
        (999_600, "1.0 MB"),
        (54 * 10**6, "54 MB"),
    ],
)
def test_formats_a_size(size_bytes: int, words: str) -> None:
    assert text.format_size(size_bytes) == words


def test_the_remaining_time_appears_after_two_seconds_and_the_rate_is_that_of_the_last_five(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = [100.0]
    monkeypatch.setattr(stats.clock, "get_monotonic_s", lambda: now_s[0])
    transfer = stats.TransferStats("m", 100_000_000, started_s=100.0)
    transfer.advance(10_000_000)
    assert transfer.format_line() == "m   10%  10 MB/100 MB"
    for second in range(1, 11):
        now_s[0] = 100.0 + second
        transfer.advance(1_000_000 if second > 5 else 2_000_000)
    assert transfer.format_line() == "m   25%  25 MB/100 MB  1.0 MB/s  75 s left"


def test_without_a_terminal_there_is_a_line_every_few_seconds_and_one_at_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun_s = stats.clock.get_monotonic_s()
    now_s = [begun_s]
    monkeypatch.setattr(stats.clock, "get_monotonic_s", lambda: now_s[0])
    with (
        caplog.at_level(logging.INFO, "tfimm_resolver.progress"),
        reporters.report_progress("m", None, quiet=False) as reporter,
    ):
        for second in range(1, 12):
            now_s[0] = begun_s + 1.001 * second
            reporter.advance(1_000_000)
    assert [record.message.split("  ")[1] for record in caplog.records[:-1]] == ["5.0 MB", "10 MB"]
    assert caplog.records[-1].message.startswith("m  11 MB in 11")


def test_quiet_is_silent(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO), reporters.report_progress("m", 10, quiet=True) as reporter:
        reporter.advance(10)
    assert caplog.records == [] and capsys.readouterr() == ("", "")


def test_tensorflow_hubs_variable_asks_for_lines_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TFHUB_DOWNLOAD_PROGRESS", "1")
    with reporters.report_progress("m", 10, quiet=False) as reporter:
        reporter.advance(10)
    assert capsys.readouterr().err.startswith("m  10 B in ")


def test_a_notebook_has_one_output_that_is_rewritten(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython is real; only the class of its kernel and its output function are replaced."""
    code = """
        import IPython, IPython.display, types
        updates = []
        class ZMQInteractiveShell: pass
        IPython.get_ipython = ZMQInteractiveShell
        handle = types.SimpleNamespace(update=lambda data, raw: updates.append(data["text/plain"]))
        IPython.display.display = lambda data, raw, display_id: updates.append(data["text/plain"]) or handle
        from tfimm_resolver.progress import stats, renderers, reporters
        stats.clock.get_monotonic_s = lambda: 100.0
        with reporters.report_progress("m", 1000, quiet=False) as reporter:
            for _ in range(1000):
                reporter.advance(1)
        print(len(updates), updates[0], updates[-1].rpartition(" in ")[0], sep="|")
    """
    assert run(code) == "2|m    0%  0 B/1.0 kB|m  1.0 kB"


def test_two_downloads_share_one_terminal() -> None:
    code = """
        import sys, types
        from rich.console import Console
        from tfimm_resolver.progress import stats, renderers, reporters
        from tfimm_resolver._util import text
        first, second = (renderers.TerminalDisplay(stats.TransferStats(label, 10)) for label in "ab")
        assert first._progress is second._progress
        first.advance(10); first.finish(True)
        assert renderers.TerminalDisplay._shared_display is not None
        second.finish(False)
        assert renderers.TerminalDisplay._shared_display is None
    """
    run(code)


DOWNLOADS = """
    import sys
    from tfimm_resolver.progress import reporters
    with reporters.report_progress("https://models.example/a_model_with_a_long_name/1", 1000, quiet=False) as reporter:
        print("data")
        reporter.advance(1000)
    try:
        with reporters.report_progress("failing", 1000, quiet=False) as reporter:
            raise OSError
    except OSError:
        pass
"""


@pytest.mark.parametrize("columns", [40, 80])
def test_a_terminal_keeps_one_line_for_a_finished_download_and_none_for_a_failed_one(tmp_path: Path, columns: int) -> None:
    shown, out = run_with_terminal_as_stderr(DOWNLOADS, tmp_path, columns)
    last = [line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\r", shown).replace("\n", "\r").split("\r") if line.strip()]
    finished = [line for line in last if " in " in line]
    assert len(finished) == 1 and re.match(r"  http.*  1.0 kB in \d+\.\d s *$", finished[0])
    assert max(map(len, last)) < columns, "no line wraps"
    assert "0 s left" not in shown
    assert out == "data\n", "what is printed on a stdout that is not a terminal stays there"


def test_a_bar_has_no_styles_with_no_color(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    styles = ("\x1b[2m", "\x1b[35m")
    assert any(style in run_with_terminal_as_stderr(DOWNLOADS, tmp_path, 80)[0] for style in styles)
    monkeypatch.setenv("NO_COLOR", "1")
    shown, _ = run_with_terminal_as_stderr(DOWNLOADS, tmp_path, 80)
    assert "0%" in shown and not any(style in shown for style in styles)


def run_with_terminal_as_stderr(code: str, folder: Path, columns: int) -> tuple[str, str]:
    """Run a snippet with a terminal as stderr and a file as stdout; return what both got."""
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    with (folder / "out").open("w") as out:
        command = [sys.executable, "-c", textwrap.dedent(code)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=terminal, env=environment)
    os.close(terminal)
    shown = read_terminal(controller)
    assert process.wait(60) == 0, shown
    return shown, (folder / "out").read_text()


def test_a_label_is_not_markup() -> None:
    run(
        "from tfimm_resolver.progress import renderers, stats\n"
        "renderers.TerminalDisplay(stats.TransferStats('[/x]', 10)).finish(True)"
    )


def test_a_closed_stderr_is_not_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "err").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
    with reporters.report_progress("m", 10, quiet=False) as reporter:
        assert isinstance(reporter, renderers.LogDisplay)


def test_a_process_without_stderr_can_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setenv("TFHUB_DOWNLOAD_PROGRESS", "1")
    with reporters.report_progress("m", 10, quiet=False) as reporter:
        reporter.advance(10)
    assert isinstance(reporter, renderers.LogDisplay)
