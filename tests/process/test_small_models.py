"""The work for a small model: no thread, and the flushes that replacing it takes beyond those of a new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, tar_gz
from tests.fakes.faults import strace
from tests.fakes.origin import Origin
from tests.fakes.processes import run

THREADS = """
    import sys, threading
    import tfimm_resolver
    started = []
    start = threading.Thread.start
    def count(thread):
        started.append(thread.name)
        start(thread)
    threading.Thread.start = count
    tfimm_resolver.resolve(sys.argv[1])
    print(started)
"""
REFRESH = """
    import tfimm_resolver
    tfimm_resolver.resolve(sys.argv[1], refresh=True)
"""


def list_steps(root: Path, code: str, handle: str) -> list[str]:
    """Return the flushes and the renames that publish something, each as the call and what it is about."""
    strace.skip_without_strace()
    steps = []
    for call in strace.list_changes(root, code, handle):
        if call.has_failed or call.name not in (*strace.SYNCS, *strace.RENAMES):
            continue
        name, _, inner = call.path.partition("/")
        if name.endswith(".tmp") and inner not in ("old", "new"):
            steps.append(f"{call.name} {f'staged {inner}' if inner else 'staged'}")
        elif not call.path:
            steps.append(f"{call.name} root")
        elif name.endswith(".txt"):
            steps.append(f"{call.name} record")
    return steps


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def test_a_small_model_starts_no_thread(origin: Origin, root: Path) -> None:
    assert run(THREADS, origin.put("/m.tar.gz", tar_gz()), TFHUB_CACHE_DIR=str(root)).strip() == "[]"


def test_a_replaced_model_also_has_a_durable_name_before_its_record(origin: Origin, root: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    list_steps(root, REFRESH, handle)
    origin.put("/m.tar.gz", tar_gz({**MODEL, "saved_model.pb": b"another graph"}))
    steps = list_steps(root, REFRESH, handle)
    assert steps[-5:] == ["rename staged", "fsync root", "fsync record", "rename record", "fsync root"]
