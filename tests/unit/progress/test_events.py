"""Events reach every program that watches, and none of them can break the work."""

from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pytest

from tfimm_resolver import on_event
from tfimm_resolver._util import clock
from tfimm_resolver.errors import FetchError
from tfimm_resolver.progress import events
from tfimm_resolver.progress.reporters import report_progress


def collect() -> tuple[list[dict[str, Any]], events.Subscription]:
    found: list[dict[str, Any]] = []
    return found, on_event(lambda event: found.append(dict(event)))


def test_an_operation_begins_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    found, subscription = collect()
    with subscription, events.report_operation("https://h/m") as operation:
        events.emit("lock.wait", owner="process 1")
        operation.path = "/m"
    events.emit("lock.wait", owner="after the end")
    assert [event["event"] for event in found] == ["resolve.start", "lock.wait", "done"]
    assert {(event["handle"], event["id"], event["version"]) for event in found} == {("https://h/m", operation.id, 1)}
    assert (found[2]["path"], found[2]["state"]) == ("/m", "cached") and found[2]["seconds"] >= 0


def test_an_operation_within_another_is_part_of_it() -> None:
    found, subscription = collect()
    with subscription, events.report_operation("outer") as outer, events.report_operation("inner") as inner:
        assert inner is outer
    assert [(event["event"], event["handle"]) for event in found] == [("resolve.start", "outer"), ("done", "outer")]


@pytest.mark.parametrize(
    ("error", "code"), [(FetchError("gone", fix="wait"), "fetch-failed"), (KeyboardInterrupt(), "internal")]
)
def test_an_operation_that_fails_says_why(error: BaseException, code: str) -> None:
    found, subscription = collect()
    with subscription, pytest.raises(type(error)), events.report_operation("https://h/m"):
        raise error
    assert found[-1]["event"] == "error" and found[-1]["code"] in (code, FetchError("x").code)
    assert "gone" in found[-1]["text"] or "KeyboardInterrupt" in found[-1]["text"]
    assert events.get_current_operation() is None


def test_a_callback_that_raises_is_logged_and_the_others_are_called(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: object) -> None:
        raise RuntimeError("broken\x1b[31m")

    with on_event(fail):
        found, subscription = collect()
        with subscription, caplog.at_level(logging.WARNING, "tfimm_resolver"), events.report_operation("m"):
            pass
    assert [event["event"] for event in found] == ["resolve.start", "done"]
    assert len(caplog.messages) == 2 and "RuntimeError: broken" in caplog.messages[0] and "\x1b" not in caplog.text


def test_a_callback_cannot_change_what_another_sees() -> None:
    with on_event(lambda event: event.clear()):  # type: ignore[attr-defined]
        found, subscription = collect()
        with subscription:
            events.emit("verify", files=1)
    assert found[0]["files"] == 1


def test_a_function_may_be_subscribed_twice_and_closed_once() -> None:
    calls: list[object] = []
    with on_event(calls.append):
        with on_event(calls.append):
            events.emit("verify")
        events.emit("verify")
    events.emit("verify")
    assert len(calls) == 3 and not events.is_active()


def test_bytes_are_reported_at_most_twice_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(clock, "get_monotonic_s", lambda: now_s[0])
    found, subscription = collect()
    with subscription, events.report_operation("m") as operation, report_progress("m", 1000, 100, quiet=True) as meter:
        for _ in range(40):
            now_s[0] += 0.1
            thread = threading.Thread(target=meter.advance, args=(10,))  # as a download does
            thread.start()
            thread.join()
    names = [event["event"] for event in found]
    assert names[:2] == ["resolve.start", "fetch.start"] and 6 <= names.count("fetch.bytes") <= 8
    assert found[1]["resumed_bytes"] == 100 and found[-1]["fetched_bytes"] == operation.fetched_bytes == 400
    numbers = [event["done_bytes"] for event in found if event["event"] == "fetch.bytes"]
    assert numbers == sorted(numbers) and numbers[-1] <= 500
    assert {event["id"] for event in found} == {operation.id}


def test_json_lines_are_printed_instead_of_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_PROGRESS", "json")
    monkeypatch.setenv("TFHUB_DOWNLOAD_PROGRESS", "1")  # for which a line is printed otherwise
    with events.report_operation("m\nn"), report_progress("m", 10, quiet=False) as meter:
        meter.advance(10)
    events.print_log("a message", "warning")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["resolve.start", "fetch.start", "done", "log"]
    assert lines[0]["handle"] == "m\nn" and lines[-1]["level"] == "warning"


@pytest.mark.parametrize(
    "handle",
    [
        "https://h/nope;token=SECRET.tar.gz",
        "https://h/sig=SECRET/m",
        "https://user:SECRET@h/m",
        "https://h/m?access=SECRET",
        "hf_SECRETabcdefghijklmnopqrstuvwxyz",
    ],
)
def test_secrets_are_not_in_events(handle: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_PROGRESS", "json")
    found, subscription = collect()
    with subscription, events.report_operation(handle):
        events.emit("lock.wait", owner=handle)
        events.emit("fetch.mirror", text=f"{handle} failed")
    events.print_log(f"no {handle}")
    assert len(found) == 4 and "SECRET" not in f"{found}{capsys.readouterr().err}"


def test_the_path_of_a_result_is_not_changed() -> None:
    found, subscription = collect()
    with subscription:
        events.report_publication("/home/first.name.last@corp.example/token=x", 1)
    assert found[0]["path"] == "/home/first.name.last@corp.example/token=x"


@pytest.mark.parametrize("callback", [3, None, "print", []], ids=str)
def test_a_callback_is_a_function(callback: Any) -> None:
    with pytest.raises(TypeError, match="function"):
        on_event(callback)
    assert not events.is_active()


def test_the_exit_of_the_program_in_a_callback_ends_the_work() -> None:
    def leave(event: object) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit), on_event(leave), events.report_operation("m"):
        pass
    assert events.get_current_operation() is None


def test_a_closed_stderr_is_not_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_PROGRESS", "json")
    monkeypatch.setattr("sys.stderr", None)
    events.emit("verify", files=1)
