"""Lock owners that are inactive, and the warnings while others wait for them."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from tests.fakes.processes import wait_until
from tfimm_resolver._util import clock
from tfimm_resolver.locking.liveness import StaleLockDetector
from tfimm_resolver.locking.owner import LockOwner

OWNER = LockOwner("box", 7, "0123456789abcdef")


def test_an_owner_that_writes_is_active_and_one_that_stops_is_not(tmp_path: Path) -> None:
    detector = StaleLockDetector(str(tmp_path / "m"), "a lion")
    staging = tmp_path / f"m.{OWNER.token}.tmp"
    wait_until(lambda: detector.seconds_since_activity(OWNER) > 0.6)
    staging.mkdir()
    wait_until(lambda: detector.seconds_since_activity(OWNER) < 0.3)
    wait_until(lambda: detector.seconds_since_activity(OWNER) > 0.6)
    (staging / "file").write_bytes(b"x")
    wait_until(lambda: detector.seconds_since_activity(OWNER) < 0.3)


def test_a_new_owner_is_active(tmp_path: Path) -> None:
    detector = StaleLockDetector(str(tmp_path / "m"), "a lion")
    wait_until(lambda: detector.seconds_since_activity(OWNER) > 0.6)
    other = LockOwner("box", 8, "fedcba9876543210")
    wait_until(lambda: detector.seconds_since_activity(other) < 0.3)


def test_an_owner_times_out_after_the_time_that_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started_s = time.monotonic()
    detector = StaleLockDetector(str(tmp_path / "m"), "a lion")
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "60")
    assert not detector.has_timed_out(OWNER)
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "0.2")
    wait_until(lambda: detector.has_timed_out(OWNER))
    assert time.monotonic() - started_s > 0.2


def test_a_long_wait_is_logged_once_with_the_owner_and_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = [100.0]
    monkeypatch.setattr(clock, "get_monotonic_s", lambda: now_s[0])
    (tmp_path / "m.lock").write_text(OWNER.to_text())
    detector = StaleLockDetector(str(tmp_path / "m"), "a lion")
    with caplog.at_level(logging.WARNING, "tfimm_resolver"):
        for is_logged in (False, False, True, True):
            detector.seconds_since_activity(OWNER)
            assert bool(caplog.messages) == is_logged, now_s
            now_s[0] += 1
    since = time.strftime("%H:%M:%S", time.localtime(os.stat(tmp_path / "m.lock").st_mtime))
    assert caplog.messages == [f"waiting for process 7 on box, which has been fetching a lion since {since}"]
