"""Many real processes on one cold cache, some of them killed."""

from __future__ import annotations

import os
import signal
import socket
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.lock_processes import RESOLVE, list_leftovers, make_dead_pid, write_foreign_lock
from tests.fakes.origin import Origin
from tests.fakes.other_users import let_others_enter
from tests.fakes.other_users import tmp_path as tmp_path  # noqa: PLC0414  # a fixture
from tests.fakes.processes import IMPORT_PACKAGE, run, start, wait_until_asleep
from tests.fakes.use_locks import give_up_all
from tfimm_resolver import resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import LockTimeoutError

pytestmark = pytest.mark.xdist_group("many processes")


def test_sixteen_processes_on_a_cold_handle_download_once(origin: Origin, cache_dir: Path) -> None:
    gate = threading.Event()
    handle = origin.put("/m.tar.gz", tar_gz(), gate=gate)
    jobs = [start(RESOLVE, handle, TFIMM_RESOLVER_READ_TIMEOUT_S="100") for _ in range(16)]
    # All sixteen must have found the cache cold, and fifteen be waiting, before the response continues.
    assert origin.started.wait(30)
    wait_until_asleep(*jobs)
    gate.set()
    released_s = time.time()
    results = [job.communicate(timeout=60) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 16, results
    assert {out.split()[0] for out, _ in results} == {f"{cache_dir}/{entry_name_for_key(handle)}"}
    assert max(float(out.split()[1]) for out, _ in results) - released_s < 30
    assert origin.requests == ["/m.tar.gz"] and list_leftovers(cache_dir) == []


def test_sixteen_threads_on_a_cold_handle_download_once(origin: Origin, cache_dir: Path) -> None:
    gate, paths = threading.Event(), []
    handle = origin.put("/m.tar.gz", tar_gz(), gate=gate)
    threads = [threading.Thread(target=lambda: paths.append(resolve(handle))) for _ in range(16)]
    for thread in threads:
        thread.start()
    assert origin.started.wait(30)
    gate.set()
    for thread in threads:
        thread.join()
    assert paths == [f"{cache_dir}/{entry_name_for_key(handle)}"] * 16
    assert origin.requests == ["/m.tar.gz"] and list_leftovers(cache_dir) == []


def test_sixteen_processes_repair_a_damaged_model_with_one_download(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    Path(resolve(handle), "saved_model.pb").unlink()
    give_up_all()
    jobs = [start(RESOLVE, handle) for _ in range(16)]
    results = [job.communicate(timeout=60) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 16, results
    assert len(origin.requests) == 2 and list_leftovers(cache_dir) == []


def test_the_next_process_takes_over_at_once_when_the_downloading_one_is_killed(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz(), gate=threading.Event())
    first = start(RESOLVE, handle)
    assert origin.started.wait(30)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert list_leftovers(cache_dir) != []
    origin.put("/m.tar.gz", tar_gz())
    started_s = time.monotonic()
    assert files_in(resolve(handle)) == MODEL
    assert time.monotonic() - started_s < 60 and list_leftovers(cache_dir) == []


def test_a_waiter_takes_over_when_the_downloading_process_is_killed(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz(), gate=threading.Event())
    first = start(RESOLVE, handle)
    assert origin.started.wait(30)
    second = start(RESOLVE, handle)
    wait_until_asleep(second)
    origin.put("/m.tar.gz", tar_gz())
    first.send_signal(signal.SIGKILL)
    first.communicate()
    out, err = second.communicate(timeout=30)
    assert second.returncode == 0, err
    assert files_in(out.split()[0]) == MODEL and list_leftovers(cache_dir) == []


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_on_the_command_line_leave_nothing(
    sent: signal.Signals, code: int, origin: Origin, cache_dir: Path
) -> None:
    handle = origin.put("/m.tar.gz", tar_gz(), gate=threading.Event())
    snippet = """
        import signal, sys
        from tfimm_resolver.cli.app import main
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore SIGINT
        sys.exit(main(["resolve", sys.argv[1]]))
    """
    job = start(snippet, handle)
    assert origin.started.wait(30)
    wait_until_asleep(job)
    job.send_signal(sent)
    out, err = job.communicate(timeout=30)
    assert job.returncode == code and out == "" and "Traceback" not in err
    assert os.listdir(cache_dir) == []


def test_the_lock_of_a_dead_plain_tensorflow_hub_is_taken_over_at_once(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    write_foreign_lock(cache_dir, handle, socket.gethostname(), make_dead_pid())
    orphan = cache_dir / f"{entry_name_for_key(handle)}.0123456789abcdef.tmp"
    orphan.mkdir()
    started_s = time.monotonic()
    resolve(handle)
    assert time.monotonic() - started_s < 60 and list_leftovers(cache_dir) == []


def test_the_lock_of_a_living_plain_tensorflow_hub_is_respected(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    path = write_foreign_lock(cache_dir, handle, socket.gethostname(), os.getpid())
    waiter = start(RESOLVE, handle)
    wait_until_asleep(waiter)
    assert waiter.poll() is None and origin.requests == [] and path.read_text().endswith(".0123456789abcdef")
    path.unlink()
    _, err = waiter.communicate(timeout=30)
    assert waiter.returncode == 0, err


def test_the_lock_of_another_machine_is_respected_for_a_settable_time(
    origin: Origin, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "1.5")
    handle = origin.put("/m.tar.gz", tar_gz())
    started_s = time.monotonic()
    write_foreign_lock(cache_dir, handle, "another.machine", 1)
    resolve(handle)
    assert 1.5 < time.monotonic() - started_s < 60 and list_leftovers(cache_dir) == []


def test_an_inactive_owner_is_named_in_the_error_after_the_timeout(
    origin: Origin, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "1")
    handle = origin.put("/m.tar.gz", tar_gz(), gate=threading.Event())
    owner = start(RESOLVE, handle)
    assert origin.started.wait(30)
    with pytest.raises(LockTimeoutError, match=f"process {owner.pid} on"):
        resolve(handle)
    owner.kill()
    owner.communicate()


def test_readers_in_a_loop_never_see_a_mixture_while_another_refreshes(origin: Origin, cache_dir: Path) -> None:
    def model(number: int) -> dict[str, bytes]:
        return {f"f{index}": b"%d" % number for index in range(50)} | {"saved_model.pb": b"%d" % number}

    handle = origin.put("/m.tar.gz", tar_gz(model(0)))
    resolve(handle)
    read = """
        import pathlib, sys, tfimm_resolver
        seen = set()
        while not pathlib.Path(sys.argv[2]).exists():
            files = [path.read_bytes() for path in pathlib.Path(tfimm_resolver.resolve(sys.argv[1])).iterdir()]
            assert len(files) == 51 and len(set(files)) == 1, sorted(set(files))
            if files[0] not in seen:
                seen.add(files[0])
                print("another", flush=True)
        print(len(seen))
    """
    stop = cache_dir.parent / "stop"
    readers = [start(read, handle, str(stop)) for _ in range(3)]
    for number in range(1, 30):
        if number in (1, 10, 20):  # by now each reader has seen another version
            assert [reader.stdout and reader.stdout.readline() for reader in readers] == ["another\n"] * 3
        origin.put("/m.tar.gz", tar_gz(model(number)))
        resolve(handle, refresh=True)
    stop.touch()
    for reader in readers:
        out, err = reader.communicate(timeout=60)
        assert reader.returncode == 0, err
        assert int(out.split()[-1]) > 2, "the readers should have seen several versions"


def test_a_read_only_root_with_a_complete_model_works_without_writing(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    path = resolve(handle)
    code = """
        import os, sys
        from tfimm_resolver import errors, resolve
        def forbidden(*arguments, **options): raise AssertionError("attempted a write")
        if os.getuid() == 0:
            os.setuid(54321)
        for name in ("mkdir", "makedirs", "rename", "replace", "unlink", "utime", "chmod"):
            setattr(os, name, forbidden)
        print(resolve(sys.argv[1]))
    """
    let_others_enter(cache_dir)
    cache_dir.chmod(0o555)
    try:
        assert run(IMPORT_PACKAGE + textwrap.dedent(code), handle) == path
    finally:
        cache_dir.chmod(0o755)


def test_a_root_that_may_not_be_written_is_an_error(origin: Origin, cache_dir: Path) -> None:
    code = """
        import os, sys
        from tfimm_resolver import errors, resolve
        if os.getuid() == 0:
            os.setuid(54321)
        try:
            resolve(sys.argv[1])
        except errors.CacheError as error:
            print(error)
    """
    cache_dir.mkdir(mode=0o555)
    printed = run(IMPORT_PACKAGE + textwrap.dedent(code), origin.put("/m.tar.gz", tar_gz()))
    assert "Permission denied" in printed and str(cache_dir) in printed and "TFHUB_CACHE_DIR" in printed
    assert origin.requests == []


def test_removing_a_lock_by_hand_costs_a_download_but_no_file(origin: Origin, cache_dir: Path) -> None:
    first_gate, second_gate = threading.Event(), threading.Event()
    handle = origin.put("/m.tar.gz", tar_gz(), gate=first_gate)
    first = start(RESOLVE, handle)
    assert origin.started.wait(30)
    origin.started.clear()
    (cache_dir / f"{entry_name_for_key(handle)}.lock").unlink()
    origin.put("/m.tar.gz", tar_gz(), gate=second_gate)
    second = start(RESOLVE, handle)
    assert origin.started.wait(30)
    for gate, job in ((first_gate, first), (second_gate, second)):
        gate.set()
        out, err = job.communicate(timeout=30)
        assert job.returncode == 0, err
        assert files_in(out.split()[0]) == MODEL
    assert list_leftovers(cache_dir) == []
