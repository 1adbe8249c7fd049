"""Machines that share a cache on a disk whose locks do not work: each may download, and all end with one model."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin
from tests.fakes.processes import start, wait_until

PROCESSES = 3
WITHOUT_LOCKS = """
import fcntl
fcntl.flock = lambda *arguments: None  # as on a disk whose locks exclude no other machine
"""
RESOLVE = """
import sys
import tfimm_resolver
print("ready", flush=True)
sys.stdin.read()
print(tfimm_resolver.resolve(sys.argv[1]))
"""


def test_all_processes_get_the_same_complete_model(origin: Origin, cache_dir: Path) -> None:
    release = threading.Event()
    handle = origin.put("/m.tar.gz", tar_gz(), gate=release)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as gate:
        assert gate.stdin is not None and gate.stdout is not None
        processes = [start(WITHOUT_LOCKS + RESOLVE, handle, stdin=gate.stdout) for _ in range(PROCESSES)]
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        gate.stdin.close()
        wait_until(lambda: len(origin.requests) == PROCESSES)
        release.set()
        results = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES, results
    paths = {out.strip() for out, _ in results}
    assert len(paths) == 1 and files_in(paths.pop()) == MODEL
    assert len(origin.requests) == PROCESSES
    assert [path.name for path in cache_dir.iterdir() if path.name.endswith(".tmp")] == []
