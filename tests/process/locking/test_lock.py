"""Locks between real processes, with and without kernel locks: forks, killed owners and long waits."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.lock_processes import RESOLVE, list_leftovers, make_dead_pid, write_foreign_lock
from tests.fakes.origin import Origin, Page
from tests.fakes.processes import start, wait_until, wait_until_asleep
from tests.fakes.traced import NO_FLOCK, start_traced
from tfimm_resolver import resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.locking.owner import LockOwner

pytestmark = pytest.mark.xdist_group("many processes")

HOLD = """
    import os, sys, time
    from tfimm_resolver.locking.lock import acquire
    print("wants it", flush=True)
    lock = acquire(sys.argv[1])
    held = sys.argv[1] + ".held"
    os.close(os.open(held, os.O_CREAT | os.O_EXCL))  # fails if another process holds it, too
    print(lock.owner.token, flush=True)
    time.sleep(float(sys.argv[2]))
    os.unlink(held)
    lock.release()
"""


def finish(job: subprocess.Popen[str], timeout_s: float = 60) -> str:
    """Wait for a process, which must succeed, and return what it printed."""
    out, err = job.communicate(timeout=timeout_s)
    assert job.returncode == 0, err
    return out


@pytest.mark.parametrize(
    "error", ["ENOLCK", *(pytest.param(error, marks=pytest.mark.long) for error in ("ENOSYS", "EOPNOTSUPP"))]
)
def test_eight_processes_without_kernel_locks_download_once(error: str, origin: Origin, cache_dir: Path) -> None:
    gate = threading.Event()
    handle = origin.put("/m.tar.gz", tar_gz(), gate=gate)
    jobs = [start_traced([f"flock:error={error}"], RESOLVE, handle, TFIMM_RESOLVER_READ_TIMEOUT_S="100") for _ in range(8)]
    assert origin.started.wait(60)
    wait_until_asleep(*jobs)  # all of them have found the cache cold
    gate.set()
    results = [job.communicate(timeout=60) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 8, results
    assert len(origin.requests) == 1 and list_leftovers(cache_dir) == []
    assert all(err.count("does not support flock") <= 1 for _, err in results)
    assert sum("does not support flock" in err for _, err in results) >= 1


@pytest.mark.parametrize(
    "call", ["link,linkat:error=EPERM", pytest.param("link,linkat:error=EOPNOTSUPP", marks=pytest.mark.long)]
)
def test_eight_processes_without_hard_links_download_once(call: str, origin: Origin, cache_dir: Path) -> None:
    gate = threading.Event()
    handle = origin.put("/m.tar.gz", tar_gz(), gate=gate)
    jobs = [start_traced([call], RESOLVE, handle, TFIMM_RESOLVER_READ_TIMEOUT_S="100") for _ in range(8)]
    assert origin.started.wait(60)
    lock = cache_dir / f"{entry_name_for_key(handle)}.lock"
    assert LockOwner.read(str(lock)).token.startswith("flock-")
    wait_until_asleep(*jobs)
    gate.set()
    results = [job.communicate(timeout=60) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 8, results
    assert len(origin.requests) == 1 and list_leftovers(cache_dir) == []


def test_without_kernel_locks_a_killed_owner_is_replaced_at_once(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz(), gate=threading.Event())
    job = start_traced([NO_FLOCK], RESOLVE, handle)
    assert origin.started.wait(60)
    owner = LockOwner.read(str(cache_dir / f"{entry_name_for_key(handle)}.lock"))
    assert owner.token.startswith("soft-")
    second = start_traced([NO_FLOCK], RESOLVE, handle)
    wait_until_asleep(second)
    assert second.poll() is None
    origin.put("/m.tar.gz", tar_gz())
    os.kill(owner.pid, signal.SIGKILL)
    job.communicate()
    started_s = time.monotonic()
    assert files_in(finish(second).split()[0]) == MODEL
    assert time.monotonic() - started_s < 60 and list_leftovers(cache_dir) == []


def test_a_soft_lock_of_this_machine_is_respected_where_the_kernel_has_locks(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    cache_dir.mkdir()
    path = str(cache_dir / f"{entry_name_for_key(handle)}.lock")
    soft = start_traced([NO_FLOCK], HOLD, path, "100")
    assert soft.stdout is not None and soft.stdout.readline() == "wants it\n"
    assert soft.stdout.readline().startswith("soft-")
    waiter = start(RESOLVE, handle)
    wait_until_asleep(waiter)
    assert waiter.poll() is None and origin.requests == []
    os.kill(LockOwner.read(path).pid, signal.SIGKILL)
    soft.communicate()
    os.unlink(path + ".held")
    finish(waiter)
    assert list_leftovers(cache_dir) == []


def test_a_foreign_lock_is_respected_for_a_settable_time_without_kernel_locks(origin: Origin, cache_dir: Path) -> None:
    handle, requested_s = f"{origin.url}/m.tar.gz", list[float]()

    def answer() -> Page:
        requested_s.append(time.monotonic())
        return Page(tar_gz())

    origin.pages["/m.tar.gz"] = answer
    write_foreign_lock(cache_dir, handle, "another.machine", 1)
    started_s = time.monotonic()
    finish(start_traced([NO_FLOCK], RESOLVE, handle, TFIMM_RESOLVER_LOCK_TIMEOUT_S="3"))
    assert requested_s[0] - started_s > 3 and list_leftovers(cache_dir) == []


@pytest.mark.parametrize("links", ["links", "no links"])
def test_one_of_two_simultaneous_takeovers_waits(links: str, cache_dir: Path) -> None:
    """The first process finds the owner dead, and is delayed before it removes the lock file; then the second starts."""
    cache_dir.mkdir()
    path = cache_dir / f"{'0' * 40}.lock"
    path.write_text(f"{socket.gethostname()}.{make_dead_pid()}.0123456789abcdef")
    linkless = ["link,linkat:error=EPERM"] if links == "no links" else []
    slow = start_traced([NO_FLOCK, *linkless, "unlink,unlinkat:delay_enter=1000ms:when=1..2"], HOLD, str(path), "0.3")
    assert slow.stdout is not None and slow.stdout.readline() == "wants it\n"
    # The claim is there for a second, which a slow machine may miss.
    wait_until(lambda: list(cache_dir.glob("*.claim-*")) or list(cache_dir.glob("*.held")) or slow.poll() is not None)
    quick = start_traced([NO_FLOCK, *linkless], HOLD, str(path), "2")
    results = [job.communicate(timeout=60) for job in (slow, quick)]
    assert (slow.returncode, quick.returncode) == (0, 0), results
    assert all("soft-" in out for out, _ in results)
    assert os.listdir(cache_dir) == []


def test_a_claim_of_a_dead_process_is_passed_on(cache_dir: Path) -> None:
    cache_dir.mkdir()
    path = cache_dir / f"{'0' * 40}.lock"
    path.write_text(f"{socket.gethostname()}.{make_dead_pid()}.first")
    (cache_dir / f"{'0' * 40}.claim-first").write_text(f"{socket.gethostname()}.{make_dead_pid()}.second")
    assert "soft-" in finish(start_traced([NO_FLOCK], HOLD, str(path), "0"))
    assert os.listdir(cache_dir) == []


def test_a_child_that_is_forked_during_a_download_does_not_keep_the_lock(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz(), gate=threading.Event())
    code = """
        import os, sys, threading, time, tfimm_resolver
        threading.Thread(target=tfimm_resolver.resolve, args=sys.argv[1:], daemon=True).start()
        sys.stdin.readline()
        child = os.fork()
        if not child:
            time.sleep(200)  # until it is killed
            os._exit(0)
        print(child, flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), handle],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert origin.started.wait(30)
    assert parent.stdin is not None and parent.stdout is not None
    parent.stdin.write("fork\n")
    parent.stdin.flush()
    child = int(parent.stdout.readline())
    try:
        parent.kill()
        parent.wait()
        origin.put("/m.tar.gz", tar_gz())
        assert files_in(finish(start(RESOLVE, handle)).split()[0]) == MODEL
        os.kill(child, 0)  # it is still alive
        assert list_leftovers(cache_dir) == []
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdin.close()
        parent.stdout.close()


def test_a_waiter_logs_whom_it_waits_for_and_since_when(origin: Origin, cache_dir: Path) -> None:
    gate = threading.Event()
    handle = origin.put("/m.tar.gz", tar_gz(), gate=gate)
    first = start(RESOLVE, handle)
    assert origin.started.wait(30)
    since = time.strftime("%H:%M:", time.localtime((cache_dir / f"{entry_name_for_key(handle)}.lock").stat().st_mtime))
    code = """
        import sys
        from tfimm_resolver.cli import app
        from tfimm_resolver.locking import liveness
        liveness._WARNING_INTERVAL_S = 0.5
        sys.exit(app.main(["resolve", sys.argv[1]]))
    """
    waiter = start(code, handle)
    assert waiter.stderr is not None
    lines = [waiter.stderr.readline().rstrip() for _ in range(2)]
    gate.set()
    out, _ = waiter.communicate(timeout=30)
    finish(first)
    message_start = f"waiting for process {first.pid} on {socket.gethostname()}, which has been fetching "
    assert lines[0].startswith(message_start) and f" since {since}" in lines[0] and " so far" not in lines[0]
    assert lines[1].startswith("still " + message_start) and lines[1].endswith("B so far")
    assert out.strip() == f"{cache_dir}/{entry_name_for_key(handle)}"


def test_a_lock_file_that_is_a_link_or_a_pipe_does_no_harm(origin: Origin, cache_dir: Path, tmp_path: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    cache_dir.mkdir()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = cache_dir / f"{entry_name_for_key(handle)}.lock"
    path.symlink_to(victim)
    with pytest.raises(OSError, match="cannot write the cache"):
        resolve(handle)
    assert victim.read_text() == "precious"
    path.unlink()
    os.mkfifo(path)
    assert files_in(resolve(handle)) == MODEL and list_leftovers(cache_dir) == []
