"""When a request is repeated: what passes, how often, and after how long."""

from __future__ import annotations

import threading
from email.utils import formatdate
from typing import Any

import pytest

from tests.origin import Origin
from tfimm_resolver.errors import FetchError, OfflineError, TransferTimeoutError
from tfimm_resolver.http import errors, retry
from tfimm_resolver.http import session as http_session


class _Clock(threading.Event):
    """Does not pause, and remembers for how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses_s: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.pauses_s.append(timeout or 0)
        return False


@pytest.fixture
def clock() -> _Clock:
    """A clock that does not pause."""
    return _Clock()


@pytest.fixture(autouse=True)
def _five(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_RETRIES")  # the default, not the suite's


def passing(**more: Any) -> FetchError:
    """An error that passes."""
    return FetchError("503", is_passing=True, **more)


def test_a_passing_failure_is_met_with_five_more_tries_and_growing_pauses(clock: _Clock) -> None:
    count, error = retry.RetryPolicy(clock), passing()
    for _ in range(5):
        count.after(error)
    with pytest.raises(FetchError) as caught:
        count.after(error)
    assert "503" in str(caught.value) and "tried 6 times" in str(caught.value) and len(clock.pauses_s) == 5
    for pause_s, most_s in zip(clock.pauses_s, (0.5, 1, 2, 4, 8), strict=True):
        assert most_s / 2 <= pause_s <= most_s


def test_pauses_differ_so_that_a_fleet_does_not_come_back_at_once(clock: _Clock) -> None:
    for _ in range(20):
        retry.RetryPolicy(clock).after(passing())
    assert len(set(clock.pauses_s)) > 10


def test_no_pause_is_longer_than_half_a_minute(clock: _Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "50")
    count = retry.RetryPolicy(clock)
    for _ in range(50):
        count.after(passing())
    assert max(clock.pauses_s) <= 30


def test_a_lasting_failure_is_raised_at_once(clock: _Clock) -> None:
    with pytest.raises(FetchError, match="404"):
        retry.RetryPolicy(clock).after(FetchError("404"))
    assert clock.pauses_s == []


def test_none_is_tried_again_where_the_user_wants_none(clock: _Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    for error in (passing(), TransferTimeoutError("stalled", is_passing=True)):
        with pytest.raises(FetchError):
            retry.RetryPolicy(clock).after(error, came_bytes=1 << 20)


def test_progress_begins_the_count_anew_and_a_trickle_does_not(clock: _Clock) -> None:
    count = retry.RetryPolicy(clock)
    for _ in range(20):
        count.after(passing(), came_bytes=1 << 16)
    with pytest.raises(FetchError):  # the sixth in a row
        for _ in range(6):
            count.after(passing(), came_bytes=100)


def test_bytes_that_have_to_come_again_are_no_progress(clock: _Clock) -> None:
    count = retry.RetryPolicy(clock)
    with pytest.raises(FetchError):  # the sixth in a row
        for _ in range(6):
            count.after(passing(), came_bytes=1 << 20, is_kept=False)
    assert len(clock.pauses_s) == 5


def test_a_stall_is_tried_again_once_if_something_came(clock: _Clock) -> None:
    stalled = TransferTimeoutError("stalled", is_passing=True)
    with pytest.raises(TransferTimeoutError):
        retry.RetryPolicy(clock).after(stalled)
    count = retry.RetryPolicy(clock)
    count.after(stalled, came_bytes=1)
    with pytest.raises(TransferTimeoutError):
        count.after(stalled, came_bytes=1)


def test_who_is_offline_learns_it_at_once_unless_bytes_have_come(clock: _Clock) -> None:
    refused = OfflineError("refused", is_passing=True)
    with pytest.raises(OfflineError):
        retry.RetryPolicy(clock).after(refused)
    count = retry.RetryPolicy(clock)
    count.after(passing(), came_bytes=1 << 20)
    count.after(refused)


@pytest.mark.parametrize(
    ("said", "least_s", "most_s"), [("7", 7, 7), (formatdate(None, usegmt=True), 0, 0), ("soon", 0.2, 0.5)]
)
def test_retry_after_is_obeyed_in_both_its_forms(
    said: str, least_s: float, most_s: float, origin: Origin, clock: _Clock
) -> None:
    url = origin.put("/m", b"busy", status=429, headers={"Retry-After": said})
    with http_session.Session() as session, pytest.raises(FetchError) as caught:
        errors.raise_for_status(http_session.get(session, url), "m")
    retry.RetryPolicy(clock).after(caught.value)
    assert least_s <= clock.pauses_s[0] <= most_s


def test_who_asks_for_more_than_ten_minutes_is_told_of_and_not_waited_for(clock: _Clock) -> None:
    with pytest.raises(FetchError, match="3600 s") as caught:
        retry.RetryPolicy(clock).after(passing(retry_after_s=3600))
    assert caught.value.is_passing and clock.pauses_s == []


def test_a_pause_ends_when_the_download_does() -> None:
    stopped = threading.Event()
    stopped.set()
    retry.RetryPolicy(stopped).after(passing(retry_after_s=500))
