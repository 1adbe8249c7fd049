"""``python -m tests.benchmarks.storage_faults``: ``fetch`` and KServe's storage initializer under the same faults, in a table.

``--peer`` is the Python of an environment with kserve-storage, which the tests do not need; without it, only ``fetch``
runs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.archives import MODEL, files_in, gzip_tar, member, tar_gz, tar_of
from tests.fakes.faults.origin import (
    Fault,
    Gate,
    Host,
    answer_with,
    cut,
    flip_bits,
    hold_at,
    offset_length,
    on_request,
    reset_connection,
    set_header,
    stall_after,
)
from tfimm_resolver.integrations.serving.marker import FILE_NAME

FILES = {**MODEL, "variables/variables.data-00000-of-00001": random.Random(6).randbytes(24_000_000)}
PACKED, PLAIN = tar_gz(FILES), tar_of(*(member(name, data) for name, data in FILES.items()))
HOSTILE = gzip_tar(tar_of(member("saved_model.pb", b"a graph"), member("../outside", b"x")))
PEER = "import sys\nfrom kserve_storage import Storage\nStorage.download_files([sys.argv[1]], [sys.argv[2]])"
TIMEOUT_S = 150


@dataclass(frozen=True)
class Case:
    """One row: what the server does wrong, and whether the process is killed at half of the bytes and run again."""

    name: str
    faults: tuple[Fault, ...] = ()
    body: bytes = PACKED
    path: str = "/m.tar.gz"
    is_killed: bool = False
    pin: str = ""


PAGE = answer_with(200, b"<!DOCTYPE html><title>Log in</title>")
UNAVAILABLE = answer_with(503, b"", Retry_After="0")
CASES = (
    Case("no fault"),
    Case("connection cut at half, once", (on_request(1, cut(0.5)),)),
    Case("connection reset before the answer, once", (on_request(1, reset_connection),)),
    Case("two answers of 503", (on_request(1, UNAVAILABLE), on_request(2, UNAVAILABLE))),
    Case("no byte after half, once", (on_request(1, stall_after(0.5)),)),
    Case("connection cut at half, always", (cut(0.5),)),
    Case("shorter than its Content-Length, always", (offset_length(1000),)),
    Case("a bit flipped in a .tar.gz, once", (on_request(1, flip_bits(12_000_000)),)),
    Case("a bit flipped in a .tar, always", (flip_bits(12_000_000),), PLAIN, "/m.tar"),
    Case("the same, with the sha256", (flip_bits(12_000_000),), PLAIN, "/m.tar", pin=hashlib.sha256(PLAIN).hexdigest()),
    Case("a page that asks for a login", (PAGE,)),
    Case("404", (answer_with(404),)),
    Case("a member ../outside", body=HOSTILE),
    Case("killed at half, and run again", is_killed=True),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run every case with each program, and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.storage_faults", description=__doc__)
    parser.add_argument("--peer", metavar="PYTHON", help="the Python of an environment with kserve-storage")
    peer = parser.parse_args(argv).peer
    commands = {"tfimm-resolver fetch": [sys.executable, "-m", "tfimm_resolver", "-q", "fetch"]}
    if peer:
        commands["kserve-storage"] = [peer, "-c", PEER]
    _print("| fault | " + " | ".join(commands) + " |")
    _print("|---" * (1 + len(commands)) + "|")
    for case in CASES:
        _print(f"| {case.name} | " + " | ".join(_run(case, command) for command in commands.values()) + " |")


def _run(case: Case, command: list[str]) -> str:
    """Run one program for one case, and describe the outcome."""
    with tempfile.TemporaryDirectory(prefix="storage-") as folder, Host() as host:
        target, kind = Path(folder, "models"), set_header("Content-Type", "application/gzip")
        target.mkdir()
        gate = Gate(len(case.body) // 2)
        url = host.put(case.path, case.body, *case.faults, kind, *([hold_at(gate)] if case.is_killed else []))
        handle = f"{url}#sha256={case.pin}" if case.pin and "fetch" in command else url
        environment = {"PATH": os.environ["PATH"], "TFHUB_CACHE_DIR": f"{folder}/cache", "HOME": folder, "LOG_LEVEL": "ERROR"}
        sent_before = 0
        if case.is_killed:
            with subprocess.Popen([*command, handle, str(target)], env=environment, stderr=subprocess.DEVNULL) as process:
                gate.reached.wait(60)
                process.kill()
            gate.end()
            sent_before = host.count_sent_bytes()
            host.put(case.path, case.body, kind)
        started_s = time.monotonic()
        code = _get_exit_code([*command, handle, str(target)], environment)
        passed_s = time.monotonic() - started_s
        sent = (host.count_sent_bytes() - sent_before) / len(case.body)
        return f"{_judge(code, case, target)}; {sent:.2f} of the bytes, {passed_s:.1f} s"


def _get_exit_code(command: list[str], environment: dict[str, str]) -> int | None:
    """Run a program to its end; None if it does not end in time."""
    try:
        return subprocess.run(command, env=environment, capture_output=True, check=False, timeout=TIMEOUT_S).returncode
    except subprocess.TimeoutExpired:
        return None


def _judge(code: int | None, case: Case, target: Path) -> str:
    """Say whether the directory holds the right model, a wrong one that passes for right, or what a failure left."""
    found = {path: data for path, data in files_in(target).items() if path != FILE_NAME}
    if (target.parent / "outside").exists():
        return "**wrote outside**"
    if code == 0:
        return "right" if found == FILES and case.body is not HOSTILE else "**wrong model, exit 0**"
    end = "does not end" if code is None else "error"
    return f"{end}, {len(found)} files left" if found else f"{end}, nothing left"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
