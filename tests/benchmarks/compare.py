"""``python -m tests.benchmarks.compare faults|herd|speed``: this package beside tensorflow_hub, huggingface_hub and kagglehub.

Each package runs in processes of its own, against a loopback server with the same files. The large file is what can fail.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec

from tests.benchmarks.peers import PEERS
from tests.benchmarks.trial import Trial, make_files, run_trial
from tests.fakes.faults.origin import (
    Fault,
    Gate,
    Response,
    answer_with,
    cut,
    flip_bits,
    hold_at,
    on_request,
    pace_body,
    reset_connection,
    stall_after,
)

_PROCESSES, _WARM_CALLS = 8, 20
_SMALL_BYTES, _FAULTY_BYTES, _LARGE_BYTES = 4_000, 1 << 22, 100_000_000
_SLOW = pace_body(1 << 16, (1 << 16) / 25e6)  # 25 MB/s for each connection


def _truncate(response: Response) -> None:
    response.rebuild(body=response.page.body[: len(response.page.body) // 2])


def _repeat(times: int, fault: Fault) -> tuple[Fault, ...]:
    return tuple(on_request(number, fault) for number in range(1, times + 1))


FAULTS: dict[str, tuple[Fault, ...]] = {
    "connection cut at half, once": _repeat(1, cut(0.5)),
    "connection cut at half, three times": _repeat(3, cut(0.5)),
    "connection reset before the response": _repeat(1, reset_connection),
    "status 503, once": _repeat(1, answer_with(503)),
    "status 503, three times": _repeat(3, answer_with(503)),
    "status 429, Retry-After: 1": _repeat(1, answer_with(429, Retry_After="1")),
    "server falls silent at half, once": _repeat(1, stall_after(0.5)),
    "one bit flipped": (flip_bits(1 << 20),),
    "second half missing, length consistent": (_truncate,),
    "a login page with status 200": (answer_with(200, b"<html>log in</html>", Content_Type="text/html"),),
}


def _call_twice(faults: Sequence[Fault], trial: Trial) -> str:
    """Fetch while the server has faults, then without faults."""
    trial.served.set_faults(*faults)
    first = trial.fetch()
    trial.served.set_faults()
    return trial.describe(first, trial.fetch)


def _kill_halfway(trial: Trial) -> str:
    """Kill the process when half of the large file has been sent, and fetch again."""
    gate = Gate(trial.served.size_bytes // 2)
    trial.served.set_faults(hold_at(gate))
    with trial.start() as process:
        process.release()
        reached = gate.reached.wait(60)
        process.kill()
    gate.end()
    assert reached, "the download did not get halfway"
    before = trial.served.host.count_sent_bytes()
    trial.served.set_faults()
    result = trial.describe(trial.fetch(), trial.fetch)
    share = (trial.served.host.count_sent_bytes() - before) / trial.served.size_bytes
    # A client that asks for the rest after it has begun to receive everything is sent some of what it drops.
    return f"{result}, then {'the rest' if share < 0.75 else 'all'} is sent" if result == "right" else result


def _damage(*, is_removed: bool) -> Callable[[Trial], str]:
    def run(trial: Trial) -> str:
        trial.damage_cache(is_removed=is_removed)
        return trial.describe(trial.fetch(), trial.fetch)

    return run


def _fill_disk(trial: Trial) -> str:
    """Fetch to a disk of 2 MB, and again after it has grown."""
    first, second = trial.fetch_on_small_disk()
    return trial.describe(first, lambda: second)


OTHER: dict[str, Callable[[Trial], str]] = {
    "process killed at half, then a second one": _kill_halfway,
    "cached weights truncated": _damage(is_removed=False),
    "cached weights deleted": _damage(is_removed=True),
    "disk full, then enlarged": _fill_disk,
}


CASES: dict[str, Callable[[Trial], str]] = {
    name: functools.partial(_call_twice, faults) for name, faults in FAULTS.items()
} | OTHER


def compare_faults(names: Sequence[str], rounds: int, only: Sequence[str] = ()) -> Iterator[str]:
    """Yield a line for each fault and package: how often which outcome was seen."""
    for case, run in CASES.items():
        files = make_files(_LARGE_BYTES if run is _kill_halfway else _FAULTY_BYTES)
        for name in names if not only or case in only else ():
            outcomes = Counter(run_trial(name, files, run) for _ in range(rounds))
            seen = ", ".join(f"{count} of {rounds}: {outcome}" for outcome, count in outcomes.most_common())
            yield f"{case:<44} {name:<24} {seen}"


def compare_herd(names: Sequence[str], rounds: int) -> Iterator[str]:
    """Yield a line for each package: what processes that fetch one model at the same moment get, and what they cost."""
    files = make_files(_LARGE_BYTES // 4)
    for name in names:
        results = [run_trial(name, files, _release_together) for _ in range(rounds)]
        right, sent, requests = ([result[index] for result in results] for index in range(3))
        yield (
            f"{name:<24} {_PROCESSES} processes: {min(right)} to {max(right)} right, "
            f"the large file sent {_spread(sent)} times, {_spread(requests)} requests"
        )


def _release_together(trial: Trial) -> tuple[int, float, int]:
    results = trial.fetch_together(_PROCESSES)
    sent = trial.served.host.count_sent_bytes() / trial.served.size_bytes
    return sum(map(trial.is_right, results)), sent, len(trial.served.list_requests())


def compare_speed(names: Sequence[str], rounds: int) -> Iterator[str]:
    """Yield lines with seconds, and how many times those of the first package they are."""
    for case, size_bytes, faults in (
        ("4 kB", _SMALL_BYTES, ()),
        ("100 MB", _LARGE_BYTES, ()),
        ("100 MB at 25 MB/s each", _LARGE_BYTES, (_SLOW,)),
    ):
        files = make_files(size_bytes)
        seconds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for turn in range(rounds):
            for name in names if turn % 2 else reversed(names):
                seconds[name].append(run_trial(name, files, functools.partial(_measure, faults)))
        for figure in ("cold", "warm", "import", "requests when warm"):
            own = statistics.median(one[figure] for one in seconds[names[0]])
            for name in names:
                values = [one[figure] for one in seconds[name]]
                times = f"{statistics.median(values) / own:.3g} x" if own else ""
                yield f"{case:<24} {figure:<20} {name:<24} {_spread(values)} {times}"


def _measure(faults: Sequence[Fault], trial: Trial) -> dict[str, float]:
    trial.served.set_faults(*faults)
    first = trial.fetch()
    assert trial.is_right(first), first
    before = len(trial.served.list_requests())
    later = trial.fetch(calls=_WARM_CALLS)
    requests = (len(trial.served.list_requests()) - before) / (_WARM_CALLS + 1)
    return {**later["seconds"], "cold": first["seconds"]["cold"], "requests when warm": requests}


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


COMMANDS = {"faults": compare_faults, "herd": compare_herd, "speed": compare_speed}


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line for each case and package."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compare", description=__doc__)
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--of", action="append", choices=PEERS, help="a package; default: all")
    parser.add_argument("--case", action="append", choices=CASES, help="a fault; default: all")
    arguments = parser.parse_args(argv)
    if arguments.case and arguments.what != "faults":
        parser.error("--case is for faults")
    installed = [name for name, peer in PEERS.items() if find_spec(peer.package)]
    packages = sorted({PEERS[name].package for name in installed})
    _print(", ".join(f"{name} {version(name)}" for name in packages))
    command = COMMANDS[arguments.what]
    if arguments.case:
        command = functools.partial(compare_faults, only=arguments.case)
    for line in command(arguments.of or installed, arguments.rounds):
        _print(line)


def _print(line: str) -> None:
    sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
