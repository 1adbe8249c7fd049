"""Several downloads in parallel, with one progress display."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

import pytest

from tests.fakes.processes import run
from tfimm_resolver._util.cancellation import CancelledError, get_current_token
from tfimm_resolver.progress import batch, reporters, stats
from tfimm_resolver.progress.batch import map_parallel
from tfimm_resolver.progress.stats import TransferStats


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Set the time of every reporter."""
    now_s = [stats.clock.get_monotonic_s()]
    monkeypatch.setattr(stats.clock, "get_monotonic_s", lambda: now_s[0])
    return now_s


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Capture the lines that are logged without a terminal."""
    with caplog.at_level(logging.INFO, "tfimm_resolver.progress"):
        yield caplog


def test_results_have_the_order_of_the_items_and_all_run_at_once() -> None:
    barrier = threading.Barrier(4)

    def work(number: int) -> int:
        barrier.wait(30)
        return number * number

    assert map_parallel(work, range(4), jobs=4) == [0, 1, 4, 9]
    assert map_parallel(lambda number: number, [], jobs=4) == []


def test_no_more_than_the_given_number_of_jobs_run_at_once() -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def work(_: int) -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.01)
        with lock:
            now[0] -= 1

    map_parallel(work, range(12), jobs=3)
    assert most[0] <= 3


@pytest.mark.parametrize("items", [[1, 0], [0, 1]], ids=["the first fails", "the last fails"])
def test_when_one_fails_the_others_are_cancelled_and_its_error_is_raised(items: list[int]) -> None:
    begun, ended = threading.Event(), []

    def work(number: int) -> None:
        if number:
            assert begun.wait(30)
            raise LookupError("its own fault")
        begun.set()
        try:
            get_current_token().sleep(60)
        except CancelledError:
            ended.append(number)
            raise

    with pytest.raises(LookupError, match="its own fault"):
        map_parallel(work, items, jobs=2, quiet=True)
    assert ended == [0]


def test_where_no_thread_can_be_started_ctrl_c_ends_the_remaining_items(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = []

    def interrupt(number: int) -> None:
        begun.append(number)
        raise KeyboardInterrupt

    def fail_to_start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail_to_start)
    with pytest.raises(KeyboardInterrupt):
        map_parallel(interrupt, range(3), jobs=2, quiet=True)
    assert begun == [0]


def test_without_a_terminal_each_finished_model_has_a_line_and_every_30_seconds_the_sum(
    clock: list[float], lines: pytest.LogCaptureFixture
) -> None:
    def work(name: str) -> None:
        with reporters.report_progress(name, 50_000_000, quiet=False) as reporter:
            for _ in range(50):
                clock[0] += 1
                reporter.advance(1_000_000)

    map_parallel(work, ["a", "b"], jobs=1, total_bytes=100_000_000)
    messages = [record.message.partition(" in ")[0] for record in lines.records[:-1]]
    assert messages == [
        "0 of 2 models   30%  30 MB/100 MB  1.0 MB/s  70 s left",
        "a  50 MB",
        "1 of 2 models   60%  60 MB/100 MB  1.0 MB/s  40 s left",
        "1 of 2 models   90%  90 MB/100 MB  1.0 MB/s  10 s left",
        "b  50 MB",
    ]
    assert lines.records[-1].message == "2 models  100 MB in 100.0 s, 1.0 MB/s"


def test_the_total_is_known_once_the_last_item_has_begun(clock: list[float], lines: pytest.LogCaptureFixture) -> None:
    def work(name: str) -> None:
        with reporters.report_progress("http://host/" + name, 40_000_000, quiet=False) as reporter:
            for _ in range(40):
                clock[0] += 1
                reporter.advance(1_000_000)

    map_parallel(work, ["a", "b"], jobs=1, get_label=str.upper)
    assert [record.message.partition(" in ")[0] for record in lines.records] == [
        "0 of 2 models  30 MB  1.0 MB/s",
        "A  40 MB",
        "1 of 2 models   75%  60 MB/80 MB  1.0 MB/s  20 s left",
        "B  40 MB",
        "2 models  80 MB",
    ]


@pytest.mark.parametrize(("sizes", "known"), [([10, None], None), ([10], 10), ([10, 20], 30), ([], 0)])
def test_the_total_is_the_sum_of_what_is_known(sizes: list[int | None], known: int | None) -> None:
    total = batch.AggregateProgress(2, "model", None, quiet=True)
    with total.count_item(""), total.count_item(""):
        children = [total.add_child(TransferStats("m", size_bytes)) for size_bytes in [*sizes, 5]]
        children[-1].finish(False)
    assert total._stats.total_bytes == known


def test_one_item_has_one_line(clock: list[float], lines: pytest.LogCaptureFixture) -> None:
    def work(_: int) -> None:
        with reporters.report_progress("m", 40_000_000, quiet=False) as reporter:
            clock[0] += 31
            reporter.advance(1_000_000)

    map_parallel(work, [1], jobs=1)
    assert [record.message.split("  ")[0] for record in lines.records] == ["m", "m"]


def test_the_rate_is_that_of_the_sum_without_resumed_bytes_and_failed_downloads(clock: list[float]) -> None:
    total_progress = batch.AggregateProgress(2, "model", 1_000_000_000, quiet=True)
    total = total_progress._stats
    total.started_s = clock[0]

    class CountingDisplay:
        """Counts, and shows nothing."""

        def advance(self, size_bytes: int) -> None:
            total.advance(size_bytes)

        def print_finished(self, stats: TransferStats) -> None: ...

        def finish(self, succeeded: bool) -> None: ...

    total_progress._display = CountingDisplay()
    first = total_progress.add_child(TransferStats("a", None))
    for _ in range(3):
        clock[0] += 1
        first.advance(1_000_000)
    second = total_progress.add_child(TransferStats("b", None, 300_000_000))
    for _ in range(4):
        clock[0] += 1
        second.advance(1_000_000)
    assert total.format_line() == "0 of 2 models   30%  307 MB/1.0 GB  1.0 MB/s  12 min left"
    assert total.format_summary() == "0 of 2 models  307 MB in 7.0 s, 1.0 MB/s, including 300 MB resumed"
    second.finish(False)
    assert total.format_line() == "0 of 2 models    0%  3.0 MB/1.0 GB  1.0 MB/s  17 min left"
    assert "resumed" not in total.format_summary()
    first.finish(True)
    assert total.done_bytes == 3_000_000


def test_more_than_was_expected_is_not_over_100_percent(clock: list[float]) -> None:
    transfer = TransferStats("all", 100, started_s=clock[0])
    for _ in range(5):
        clock[0] += 1
        transfer.advance(50)
    assert transfer.format_line() == "all  100%  250 B/100 B  50 B/s"


def test_shows_nothing_without_a_download_or_if_quiet(
    lines: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    map_parallel(lambda _: None, range(3), jobs=2)

    def work(_: int) -> None:
        with reporters.report_progress("m", 10, quiet=False) as reporter:
            reporter.advance(10)

    map_parallel(work, range(3), jobs=2, quiet=True)
    assert lines.records == [] and capsys.readouterr() == ("", "")
    work(0)
    assert len(lines.records) == 1, "a later download has its own display again"


def test_a_notebook_has_one_output_with_the_finished_models_above_the_sum() -> None:
    code = """
        import IPython, IPython.display, types
        updates = []
        class ZMQInteractiveShell: pass
        IPython.get_ipython = ZMQInteractiveShell
        handle = types.SimpleNamespace(update=lambda data, raw: updates.append(data["text/plain"]))
        IPython.display.display = lambda data, raw, display_id: updates.append(data["text/plain"]) or handle
        from tfimm_resolver.progress import reporters, stats
        from tfimm_resolver.progress.batch import map_parallel
        def work(name):
            with reporters.report_progress(name, 1000, quiet=False) as reporter:
                reporter.advance(1000)
        map_parallel(work, ["a", "b"], jobs=1, total_bytes=2000)
        print(updates[-1])
    """
    output = run(code).splitlines()
    assert [line.partition(" in ")[0] for line in output] == ["a  1.0 kB", "b  1.0 kB", "2 models  2.0 kB"]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_downloads_one_after_the_other_have_a_line_each_and_at_the_end_the_sum(
    clock: list[float], lines: pytest.LogCaptureFixture, count: int
) -> None:
    with batch.report_sum(quiet=False):
        for number in range(count):
            with reporters.report_progress(f"m{number}", 1000, quiet=False) as reporter:
                clock[0] += 1
                reporter.advance(1000)
        with contextlib.suppress(OSError), reporters.report_progress("failing", 1000, quiet=False):
            raise OSError
    labels = [record.message.split(" in ")[0] for record in lines.records]
    assert labels == [*(f"m{number}  1.0 kB" for number in range(count)), *["2 models  2.0 kB"] * (count > 1)]
