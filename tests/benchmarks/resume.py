"""A fetch that is killed when 80 % has been sent: how long the next one takes, and how much is sent twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence

from tests.benchmarks import snippets
from tests.benchmarks.rows import Row
from tests.benchmarks.stand import SHAPED, TIMEOUT_S, Model, Served, Size, Stand

_SENT = 0.8
_SHARE = 0.35
_POLL_S = 0.001
_FETCH = snippets.COLD["ours"]
_ONE_LINE = "import os; os.environ['TFIMM_RESOLVER_CONNECTIONS'] = '1'\n"


def resume(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure on loopback at full speed, from the shaped origin, and over one of its connections with 25 MB/s."""
    most_mb = int(stand.python(snippets.UNDER_WAY).words[-1]) / 1e6
    for name, shape, code in (("unshaped", (), _FETCH), ("shaped", SHAPED, _FETCH), ("one line", SHAPED, _ONE_LINE + _FETCH)):
        model = stand.make_model(size.archive_mb)
        full, resumed, twice_mb = _measure(stand, model, shape, code, size.rounds)
        yield Row("resume", f"{name}, in full", "s", full)
        yield Row("resume", f"{name}, after a kill at 80 %", "s", resumed)
        shares = [rest / total for rest, total in zip(resumed, full, strict=True)]
        yield Row("resume", f"{name}, share of the full time", "", shares, at_most=_SHARE)
        yield Row("resume", f"{name}, sent twice; < connections x range", "MB", twice_mb, below=most_mb)


def _measure(
    stand: Stand, model: Model, shape: Sequence[str], code: str, rounds: int
) -> tuple[list[float], list[float], list[float]]:
    """Return seconds in full, seconds after a kill, and the megabytes that were sent twice."""
    full, resumed, twice_mb = [], [], []
    with stand.serve(model, shape) as origin:
        for _ in range(rounds):
            full.append(_fetch(stand, model, origin, code))
            stand.remove_cache("cold")
            before = origin.count_sent_bytes()
            _start_and_kill(stand, model, origin, code)
            os.sync()
            resumed.append(_fetch(stand, model, origin, code))
            twice_mb.append((origin.count_sent_bytes() - before - model.packed_bytes) / 1e6)
            stand.remove_cache("cold")
    return full, resumed, twice_mb


def _fetch(stand: Stand, model: Model, origin: Served, code: str) -> float:
    seconds, _, path = stand.python(code, origin.handle, cache="cold").words[-3:]
    model.check_at(path)
    return float(seconds)


def _start_and_kill(stand: Stand, model: Model, origin: Served, code: str) -> None:
    """Start a fetch and kill it once the origin has sent its share; data in kernel buffers is lost then."""
    enough = origin.count_sent_bytes() + model.packed_bytes * _SENT
    with stand.start_process(code, origin.handle, cache="cold") as process:
        deadline_s = time.monotonic() + TIMEOUT_S
        while origin.count_sent_bytes() < enough and process.poll() is None and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        if process.poll() is None and time.monotonic() > deadline_s:
            raise RuntimeError("the fetch hangs")
        process.kill()
        if process.wait() != -signal.SIGKILL:
            raise RuntimeError("the fetch ended before it could be killed; take a larger --size-mb")
