"""Retries: which errors, how often, and after what delay."""

from __future__ import annotations

import socket
from email.utils import formatdate
from typing import Any

import pytest

from tests.fakes.origin import Origin
from tfimm_resolver._util.cancellation import CancellationToken, CancelledError
from tfimm_resolver.errors import FetchError, OfflineError, TransferTimeoutError
from tfimm_resolver.http import errors, retry
from tfimm_resolver.http.session import Session, get


class _Clock(CancellationToken):
    """A token that does not sleep; it notes how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.delays_s: list[float] = []

    def sleep(self, delay_s: float) -> None:
        self.delays_s.append(delay_s)


@pytest.fixture
def clock() -> _Clock:
    """A clock that does not wait."""
    return _Clock()


@pytest.fixture(autouse=True)
def _short_delays() -> None:
    """Leave the delays as users have them."""


@pytest.fixture(autouse=True)
def _default_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_RETRIES")  # the default, not the suite's


def make_transient(**more: Any) -> FetchError:
    """Return an error that is worth a retry."""
    return FetchError("503", is_passing=True, **more)


def test_a_transient_failure_is_retried_five_times_with_growing_delays(clock: _Clock) -> None:
    policy, error = retry.RetryPolicy(clock), make_transient()
    for _ in range(5):
        policy.sleep_or_raise(error)
    with pytest.raises(FetchError) as caught:
        policy.sleep_or_raise(error)
    assert "503" in str(caught.value) and "tried 6 times" in str(caught.value) and len(clock.delays_s) == 5
    for delay_s, most_s in zip(clock.delays_s, (0.5, 1, 2, 4, 8), strict=True):
        assert most_s / 2 <= delay_s <= most_s


def test_delays_are_random_so_that_a_fleet_does_not_retry_at_once(clock: _Clock) -> None:
    for _ in range(20):
        retry.RetryPolicy(clock).sleep_or_raise(make_transient())
    assert len(set(clock.delays_s)) > 10


def test_no_delay_is_longer_than_half_a_minute(clock: _Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "50")
    policy = retry.RetryPolicy(clock)
    for _ in range(50):
        policy.sleep_or_raise(make_transient())
    assert max(clock.delays_s) <= 30


def test_a_permanent_failure_is_raised_at_once(clock: _Clock) -> None:
    with pytest.raises(FetchError, match="404"):
        retry.RetryPolicy(clock).sleep_or_raise(FetchError("404"))
    assert clock.delays_s == []


def test_zero_retries_means_none(clock: _Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    for error in (make_transient(), TransferTimeoutError("stalled", is_passing=True)):
        with pytest.raises(FetchError):
            retry.RetryPolicy(clock).sleep_or_raise(error, received_bytes=1 << 20)


def test_progress_resets_the_count_and_a_trickle_does_not(clock: _Clock) -> None:
    policy = retry.RetryPolicy(clock)
    for _ in range(20):
        policy.sleep_or_raise(make_transient(), received_bytes=1 << 16)
    with pytest.raises(FetchError):  # the sixth in a row
        for _ in range(6):
            policy.sleep_or_raise(make_transient(), received_bytes=100)


def test_bytes_that_have_to_be_sent_again_are_not_progress(clock: _Clock) -> None:
    policy = retry.RetryPolicy(clock)
    with pytest.raises(FetchError):  # the sixth in a row
        for _ in range(6):
            policy.sleep_or_raise(make_transient(), received_bytes=1 << 20, is_resumable=False)
    assert len(clock.delays_s) == 5


def test_a_stall_is_retried_once_if_bytes_were_received(clock: _Clock) -> None:
    stalled = TransferTimeoutError("stalled", is_passing=True)
    policy = retry.RetryPolicy(clock)
    policy.sleep_or_raise(stalled, received_bytes=1)
    with pytest.raises(TransferTimeoutError):
        policy.sleep_or_raise(stalled, received_bytes=1)


def test_a_server_that_does_not_begin_to_answer_is_asked_as_often_as_is_set(clock: _Clock) -> None:
    policy, slow = retry.RetryPolicy(clock), TransferTimeoutError("no answer", is_passing=True)
    for _ in range(5):
        policy.sleep_or_raise(slow)
    with pytest.raises(TransferTimeoutError, match="tried 6 times"):
        policy.sleep_or_raise(slow)


def make_offline(cause: Exception) -> OfflineError:
    """Return an error whose cause is that of the system."""
    try:
        raise OfflineError("cannot be reached", is_passing=True) from cause
    except OfflineError as error:
        return error


def test_a_name_that_cannot_be_looked_up_for_a_moment_is_retried_for_about_two_seconds(clock: _Clock) -> None:
    policy = retry.RetryPolicy(clock)
    for _ in range(5):
        policy.sleep_or_raise(make_offline(socket.gaierror(socket.EAI_AGAIN, "again")))
    assert 1 < sum(clock.delays_s) < 2
    with pytest.raises(OfflineError):
        policy.sleep_or_raise(make_offline(socket.gaierror(socket.EAI_AGAIN, "again")))


@pytest.mark.parametrize("cause", [socket.gaierror(socket.EAI_NONAME, "unknown"), ConnectionRefusedError()])
def test_an_unknown_name_and_a_refused_connection_fail_at_once(cause: Exception, clock: _Clock) -> None:
    with pytest.raises(OfflineError):
        retry.RetryPolicy(clock).sleep_or_raise(make_offline(cause))
    assert clock.delays_s == []


def test_being_offline_is_reported_at_once_unless_bytes_were_received(clock: _Clock) -> None:
    offline = OfflineError("refused", is_passing=True)
    with pytest.raises(OfflineError):
        retry.RetryPolicy(clock).sleep_or_raise(offline)
    policy = retry.RetryPolicy(clock)
    policy.sleep_or_raise(make_transient(), received_bytes=1 << 20)
    policy.sleep_or_raise(offline)


@pytest.mark.parametrize(
    ("value", "least_s", "most_s"),
    [
        pytest.param("7", 7, 7, id="seconds"),
        pytest.param(formatdate(None, usegmt=True), 0, 0, id="the current date"),
        pytest.param("soon", 0.2, 0.5, id="neither"),
    ],
)
def test_retry_after_is_obeyed_as_a_number_and_as_a_date(
    value: str, least_s: float, most_s: float, origin: Origin, clock: _Clock
) -> None:
    url = origin.put("/m", b"busy", status=429, headers={"Retry-After": value})
    with Session() as session, pytest.raises(FetchError) as caught:
        errors.raise_for_status(get(session, url), "m")
    retry.RetryPolicy(clock).sleep_or_raise(caught.value)
    assert least_s <= clock.delays_s[0] <= most_s


def test_a_retry_after_of_more_than_ten_minutes_is_an_error(clock: _Clock) -> None:
    with pytest.raises(FetchError, match="3600 s") as caught:
        retry.RetryPolicy(clock).sleep_or_raise(make_transient(retry_after_s=3600))
    assert caught.value.is_passing and clock.delays_s == []


def test_a_failure_after_the_download_was_cancelled_is_neither_logged_nor_retried(caplog: pytest.LogCaptureFixture) -> None:
    token = CancellationToken()
    token.cancel()
    with pytest.raises(CancelledError):
        retry.RetryPolicy(token).sleep_or_raise(make_transient(retry_after_s=500))
    assert caplog.records == []
