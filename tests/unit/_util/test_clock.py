"""The real clocks go on while the functions of the module time are replaced, as freezegun does it."""

from __future__ import annotations

import time

import pytest

from tfimm_resolver._util import clock
from tfimm_resolver._util.cancellation import CancellationToken
from tfimm_resolver._util.queues import Channel, WaitTimeoutError


@pytest.fixture
def _frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clocks of the module time in 2012."""
    for name, value in (("time", 1.3e9), ("monotonic", 5.0), ("perf_counter", 5.0), ("time_ns", 13 * 10**17)):
        monkeypatch.setattr(time, name, lambda value=value: value)


def test_the_clocks_are_those_of_the_system() -> None:
    before_s, before_ns, begun_s = time.time(), time.time_ns(), time.monotonic()
    found_s, found_ns, found_monotonic_s = clock.get_time_s(), clock.get_time_ns(), clock.get_monotonic_s()
    assert before_s - 5 < found_s < time.time() + 5 and begun_s - 5 < found_monotonic_s < time.monotonic() + 5
    assert before_ns - 5e9 < found_ns < time.time_ns() + 5e9


@pytest.mark.usefixtures("_frozen")
def test_they_go_on_while_others_are_frozen() -> None:
    before_s, before_ns = clock.get_monotonic_s(), clock.get_time_ns()
    time.sleep(0.01)
    assert clock.get_monotonic_s() > before_s and clock.get_time_ns() > before_ns
    assert clock.get_time_s() > 1.7e9


@pytest.mark.usefixtures("_frozen")
def test_waits_end_while_clocks_are_frozen() -> None:
    CancellationToken().sleep(0.15)
    with pytest.raises(WaitTimeoutError):
        Channel().get(0.05)
    assert CancellationToken(timeout_s=0).is_cancelled
