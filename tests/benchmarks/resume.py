"""A fetch that was killed when 80 % had been sent: what the next one takes, and what comes twice."""

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
_LOOK_S = 0.001
_FETCH = snippets.COLD["ours"]
_ONE_LINE = "import os; os.environ['TFIMM_RESOLVER_CONNECTIONS'] = '1'\n"


def resume(stand: Stand, size: Size) -> Iterator[Row]:
    """From loopback as fast as it goes, from the shaped origin, and over one of its connections: a line of 25 MB/s."""
    most_mb = int(stand.python(snippets.UNDER_WAY).words[-1]) / 1e6
    for name, shape, code in (("unshaped", (), _FETCH), ("shaped", SHAPED, _FETCH), ("one line", SHAPED, _ONE_LINE + _FETCH)):
        model = stand.model(size.archive_mb)
        full, resumed, twice_mb = _measured(stand, model, shape, code, size.rounds)
        yield Row("resume", f"{name}, in full", "s", full)
        yield Row("resume", f"{name}, after a kill at 80 %", "s", resumed)
        shares = [rest / whole for rest, whole in zip(resumed, full, strict=True)]
        yield Row("resume", f"{name}, share of the full time", "", shares, at_most=_SHARE)
        yield Row("resume", f"{name}, sent twice; < connections x range", "MB", twice_mb, below=most_mb)


def _measured(
    stand: Stand, model: Model, shape: Sequence[str], code: str, rounds: int
) -> tuple[list[float], list[float], list[float]]:
    """Seconds in full, seconds after a kill, and the megabytes that were sent beyond the archive's."""
    full, resumed, twice_mb = [], [], []
    with stand.served(model, shape) as origin:
        for _ in range(rounds):
            full.append(_fetched(stand, model, origin, code))
            stand.forget("cold")
            before = origin.sent_bytes()
            _killed(stand, model, origin, code)
            os.sync()
            resumed.append(_fetched(stand, model, origin, code))
            twice_mb.append((origin.sent_bytes() - before - model.packed_bytes) / 1e6)
            stand.forget("cold")
    return full, resumed, twice_mb


def _fetched(stand: Stand, model: Model, origin: Served, code: str) -> float:
    seconds, _, path = stand.python(code, origin.handle, cache="cold").words[-3:]
    model.must_be_at(path)
    return float(seconds)


def _killed(stand: Stand, model: Model, origin: Served, code: str) -> None:
    """Start a fetch and kill it once the origin has sent its share; what lies in the kernel's buffers then is lost."""
    enough = origin.sent_bytes() + model.packed_bytes * _SENT
    with stand.started(code, origin.handle, cache="cold") as process:
        deadline_s = time.monotonic() + TIMEOUT_S
        while origin.sent_bytes() < enough and process.poll() is None and time.monotonic() < deadline_s:
            time.sleep(_LOOK_S)
        if process.poll() is None and time.monotonic() > deadline_s:
            raise RuntimeError("the fetch hangs")
        process.kill()
        if process.wait() != -signal.SIGKILL:
            raise RuntimeError("the fetch ended before it could be killed; take a larger --size-mb")
