"""Events of real work are as the documented schema says, through callbacks and on stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.lock_processes import RESOLVE
from tests.fakes.origin import Origin, Page
from tests.fakes.pages import REPOSITORY
from tests.fakes.processes import start, wait_until
from tests.fakes.use_locks import give_up_all
from tfimm_resolver.errors import CancelledError, FetchError, NotFoundError
from tfimm_resolver.maintenance import pruning

SCHEMAS = json.loads((REPOSITORY / "docs/reference/event_schemas.json").read_text())


def check(event: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMAS[event["event"]]).validate(event)
    assert event["version"] == 1


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    """Every event during the test; each has to be as documented."""
    found: list[dict[str, Any]] = []
    with tfimm_resolver.on_event(lambda event: found.append(dict(event))):
        yield found
    for event in found:
        check(event)


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event["event"] for event in events if event["event"] != "fetch.bytes"]


def test_a_miss_a_hit_and_a_refresh(origin: Origin, events: list[dict[str, Any]]) -> None:
    handle = origin.put("/m.tar.gz?secret=12345", data := tar_gz())
    path = tfimm_resolver.resolve(handle)
    assert names(events) == ["resolve.start", "fetch.start", "verify", "publish", "done"]
    done = events[-1]
    assert (done["path"], done["state"], done["fetched_bytes"]) == (path, "fetched", len(data))
    assert len({event["id"] for event in events}) == 1 and "12345" not in json.dumps(events)
    events.clear()
    tfimm_resolver.resolve(handle)
    assert names(events) == ["resolve.start", "done"] and events[-1]["state"] == "cached"


def test_a_failure(origin: Origin, events: list[dict[str, Any]]) -> None:
    with pytest.raises(NotFoundError):
        tfimm_resolver.resolve(f"{origin.url}/gone.tar.gz")
    assert names(events) == ["resolve.start", "error"] and events[-1]["code"] == "not-found" and events[-1]["fix"]


def test_retries_and_mirrors(origin: Origin, events: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([Page(b"busy", 503), *[Page(tar_gz())] * 9])
    origin.pages["/m.tar.gz"] = lambda: next(answers)
    tfimm_resolver.resolve(f"{origin.url}/m.tar.gz")
    assert names(events)[:3] == ["resolve.start", "fetch.retry", "fetch.start"] and "503" in events[1]["text"]
    events.clear()
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", f"{origin.url}/no|direct")
    tfimm_resolver.resolve(origin.put("/n.tar.gz", tar_gz()))
    assert "fetch.mirror" in names(events)


def test_a_wait_for_another_process(origin: Origin, events: list[dict[str, Any]]) -> None:
    gate = threading.Event()
    handle = origin.put("/m.tar.gz", tar_gz(), gate=gate)
    with start(RESOLVE, handle) as other:
        wait_until(lambda: origin.requests)
        thread = threading.Thread(target=tfimm_resolver.resolve, args=(handle,))
        thread.start()
        wait_until(lambda: "lock.wait" in names(events))
        gate.set()
        thread.join()
        other.communicate(timeout=60)
    assert names(events) == ["resolve.start", "lock.wait", "done"] and str(other.pid) in events[1]["owner"]


def test_an_eviction(origin: Origin, events: list[dict[str, Any]]) -> None:
    path = tfimm_resolver.resolve(origin.put("/m.tar.gz", tar_gz()))
    give_up_all()
    for other in (*map(str, Path(path).rglob("*")), path):
        os.utime(other, (1, 1))
    events.clear()
    pruning.prune(max_size="1B")
    assert [(event["event"], event["path"], event["kind"]) for event in events] == [("evict", path, "model")]


def test_a_callback_that_raises_breaks_no_download(origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: object) -> None:
        raise ValueError("no")

    with tfimm_resolver.on_event(fail):
        path = tfimm_resolver.resolve(origin.put("/m.tar.gz", tar_gz()))
    assert Path(path, "saved_model.pb").read_bytes() == MODEL["saved_model.pb"] and "a callback of on_event" in caplog.text


def test_a_callback_cancels_by_the_token(origin: Origin) -> None:
    cancel = threading.Event()

    def stop(event: Any) -> None:
        if event["event"] == "fetch.start":
            cancel.set()

    with tfimm_resolver.on_event(stop), pytest.raises(CancelledError):
        tfimm_resolver.resolve(origin.put("/m.tar.gz", tar_gz({**MODEL, "large": os.urandom(1 << 20)})), cancel=cancel)


def run_with_json(*arguments: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """Run a command with ``--progress json``; return its events, which are everything on stderr."""
    command = [sys.executable, "-m", "tfimm_resolver", *arguments, "--progress", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [json.loads(line) for line in done.stderr.splitlines()]
    for event in found:
        check(event)
    return done, found


def test_stderr_of_a_command_is_json_only(origin: Origin) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    done, found = run_with_json("resolve", handle)
    assert done.returncode == 0 and done.stdout.startswith("/") and names(found)[-1] == "done"
    done, found = run_with_json("resolve", f"{origin.url}/gone.tar.gz")
    assert done.returncode == 3 and names(found)[-2:] == ["error", "log"] and found[-1]["level"] == "error"
    done, found = run_with_json("rm", handle)
    assert done.returncode == 0 and names(found) == ["log"]


def test_a_wrong_value_is_an_error_before_the_download(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_PROGRESS", "yaml")
    code, _, err = run_cli("resolve", origin.put("/m.tar.gz", tar_gz()))
    assert code == 2 and "TFIMM_RESOLVER_PROGRESS is 'yaml'" in err and origin.requests == []


def test_without_a_watcher_nothing_is_reported(origin: Origin) -> None:
    with pytest.raises(FetchError):
        tfimm_resolver.resolve(f"{origin.url}/gone.tar.gz")
