"""Roots that several users share, and read-only roots."""

from __future__ import annotations

import os
import pwd
import signal
import stat
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.lock_processes import RESOLVE, make_dead_pid
from tests.fakes.namespaces import NAMESPACE
from tests.fakes.origin import Origin
from tests.fakes.processes import IMPORT_PACKAGE, run, start, wait_until
from tests.fakes.traced import NO_FLOCK, start_traced
from tfimm_resolver import resolve
from tfimm_resolver.cache.cache import entry_name_for_key

ADA, BOB = 65534, 54321
ADAS_NAME = next((user.pw_name for user in pwd.getpwall() if user.pw_uid == ADA), "another user")
AS_USER = """
    import os, sys, tempfile
    import tfimm_resolver
    from tfimm_resolver import errors
    with tempfile.TemporaryDirectory() as warm, tfimm_resolver.using(dir=warm):
        tfimm_resolver.resolve(sys.argv[2])  # imports modules that the other user may not be able to read
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
    os.umask(int(sys.argv[4], 8))
    try:
        path = tfimm_resolver.resolve(sys.argv[1], refresh="REFRESH" in os.environ)
        for folder, _, names in os.walk(path):
            for name in names:
                open(os.path.join(folder, name)).close()
        print(path)
    except errors.CacheError as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A root that all users can write, with the sticky bit: only the owner of a file can remove it."""
    if os.getuid() != 0:
        pytest.skip("only root can run processes as two users")
    with tempfile.TemporaryDirectory(prefix="tfimm_resolver-") as parent:
        os.chmod(parent, 0o755)
        root = Path(parent, "root")
        root.mkdir()
        root.chmod(0o1777)
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(root))
        yield root


@pytest.fixture
def warm(origin: Origin) -> str:
    """A model that a process fetches into another cache first, to import all modules."""
    return origin.put("/warm.tar.gz", tar_gz())


def resolve_as(user: int, handle: str, warm: str, *, umask: str = "022", **environment: str) -> str:
    """Resolve and read a model in a process of that user; return what it prints."""
    return run(AS_USER, handle, warm, str(user), umask, **environment)


def list_fetched(origin: Origin) -> list[str]:
    """Return the paths of requests other than that for ``warm``."""
    return [path for path in origin.requests if path != "/warm.tar.gz"]


def list_modes(tree: Path) -> set[tuple[str, int]]:
    """Return the permissions of files, and of directories with their names."""
    return {(path.name if path.is_dir() else "file", stat.S_IMODE(path.stat().st_mode)) for path in (tree, *tree.rglob("*"))}


@pytest.mark.parametrize(
    ("umask", "folder_mode", "file_mode"), [(0o022, 0o755, 0o644), (0o077, 0o700, 0o600), (0o002, 0o775, 0o664)]
)
def test_published_files_have_the_permissions_that_the_umask_allows(
    origin: Origin, cache_dir: Path, umask: int, folder_mode: int, file_mode: int
) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    before = os.umask(umask)
    try:
        tree = Path(resolve(handle))
    finally:
        os.umask(before)
    assert list_modes(tree) == {(tree.name, folder_mode), ("variables", folder_mode), ("file", file_mode)}
    assert stat.S_IMODE((cache_dir / f"{tree.name}.descriptor.txt").stat().st_mode) == file_mode
    assert stat.S_IMODE(cache_dir.stat().st_mode) == folder_mode


def test_a_model_that_one_user_fetched_is_read_by_another(shared: Path, origin: Origin, warm: str) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    assert resolve_as(ADA, handle, warm) == resolve_as(BOB, handle, warm) == f"{shared}/{entry_name_for_key(handle)}"
    assert list_fetched(origin) == ["/m.tar.gz"]


@pytest.mark.parametrize("umask", ["022", "077"])
def test_another_user_takes_over_at_once_when_the_downloading_process_is_killed(
    shared: Path, origin: Origin, warm: str, umask: str
) -> None:
    handle = origin.put("/m.tar.gz", tar_gz(), gate=threading.Event())
    first = start(AS_USER, handle, warm, str(ADA), umask)
    wait_until(lambda: "/m.tar.gz" in origin.requests)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    lock = shared / f"{entry_name_for_key(handle)}.lock"
    assert lock.stat().st_uid == ADA
    origin.put("/m.tar.gz", tar_gz())
    started_s = time.monotonic()
    path = resolve_as(BOB, handle, warm)
    assert files_in(path) == MODEL and time.monotonic() - started_s < 60
    assert f".{ADA}." not in lock.read_text(), "it still names the dead process"
    other = origin.put("/other.tar.gz", tar_gz())
    resolve_as(ADA, other, warm)
    assert not list(shared.glob("*.tmp")), "its owner should have removed the leftovers"


def write_dead_lock(user: int, shared: Path, handle: str, mode: int) -> Path:
    """Write the lock file of a dead process of that user."""
    path = shared / f"{entry_name_for_key(handle)}.lock"
    path.write_text(f"somewhere.{make_dead_pid()}.flock-1-00000000-0123456789abcdef")
    os.chown(path, user, user)
    path.chmod(mode)
    return path


def test_a_dead_lock_that_is_only_readable_is_taken_over(shared: Path, origin: Origin, warm: str) -> None:
    gate = threading.Event()
    handle = origin.put("/m.tar.gz", tar_gz(), gate=gate)
    text = write_dead_lock(ADA, shared, handle, 0o644).read_text()
    first = start(AS_USER, handle, warm, str(BOB), "022")
    wait_until(lambda: "/m.tar.gz" in origin.requests)
    waiter = start(RESOLVE, handle)  # as root, which could even remove the lock file
    assert waiter.stderr is not None
    line = waiter.stderr.readline()  # after two seconds
    assert f"waiting for process {first.pid} on" in line, line
    assert waiter.poll() is None and list_fetched(origin) == ["/m.tar.gz"]
    gate.set()
    assert first.communicate(timeout=60)[0].strip() == f"{shared}/{entry_name_for_key(handle)}"
    _, err = waiter.communicate(timeout=60)
    assert waiter.returncode == 0, err
    assert list_fetched(origin) == ["/m.tar.gz"]
    lock = shared / f"{entry_name_for_key(handle)}.lock"
    assert not lock.exists() or lock.read_text() == text


def test_partial_downloads_of_another_user_are_not_an_obstacle(shared: Path, origin: Origin, warm: str) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    parts = shared / f"{entry_name_for_key(handle)}.parts"
    parts.mkdir(mode=0o755)
    (parts / "0").write_bytes(b"half")
    for path in (parts, parts / "0"):
        os.chown(path, ADA, ADA)
    assert resolve_as(BOB, handle, warm) == f"{shared}/{entry_name_for_key(handle)}"
    assert sorted(os.listdir(shared)) == [
        entry_name_for_key(handle),
        f"{entry_name_for_key(handle)}.descriptor.txt",
        parts.name,
    ]


def test_the_error_for_an_unreadable_lock_names_its_owner(shared: Path, origin: Origin, warm: str) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    path = write_dead_lock(ADA, shared, handle, 0o600)
    printed = resolve_as(BOB, handle, warm, TFIMM_RESOLVER_LOCK_TIMEOUT_S="1")
    assert (
        printed.startswith("LockTimeoutError")
        and f"{path} belongs to {ADAS_NAME}" in printed
        and f"Ask {ADAS_NAME} to remove it" in printed
    )
    assert list_fetched(origin) == [] and os.listdir(shared) == [path.name]


def test_without_kernel_locks_a_dead_lock_of_another_user_is_an_error(shared: Path, origin: Origin, warm: str) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    path = write_dead_lock(ADA, shared, handle, 0o644)
    job = start_traced([NO_FLOCK], AS_USER, handle, warm, str(BOB), "022", TFIMM_RESOLVER_LOCK_TIMEOUT_S="1")
    printed, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    assert (
        printed.startswith("CacheError")
        and f"{path} is a stale lock: process" in printed
        and f"Ask {ADAS_NAME} to remove it" in printed
    )
    assert os.listdir(shared) == [path.name]


def test_a_damaged_model_of_another_user_is_an_error(shared: Path, origin: Origin, warm: str) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    Path(resolve_as(ADA, handle, warm), "saved_model.pb").unlink()
    printed = resolve_as(BOB, handle, warm)
    tree = shared / entry_name_for_key(handle)
    assert printed.startswith(f"CacheError {tree} belongs to {ADAS_NAME} (uid {ADA})") and "Operation not permitted" in printed
    assert "Ask its owner" in printed and "TFHUB_CACHE_DIR" not in printed
    assert sorted(os.listdir(shared)) == [entry_name_for_key(handle), f"{entry_name_for_key(handle)}.descriptor.txt"]


def test_on_a_read_only_disk_a_hit_works_and_a_miss_says_what_to_do(origin: Origin, cache_dir: Path) -> None:
    handle, missing = origin.put("/m.tar.gz", tar_gz()), origin.put("/missing.tar.gz", tar_gz())
    path = resolve(handle)
    mount = 'assert libc.mount(b"tmpfs", root.encode(), b"tmpfs", 0, b"size=2m") == 0'
    read_only = """
    for flags in (4096, 4096 | 32 | 1):  # MS_BIND, then MS_REMOUNT and MS_RDONLY
        assert libc.mount(root.encode(), root.encode(), None, flags, None) == 0
    """
    code = """
    import sys
    from tfimm_resolver import errors, resolve
    print(resolve(sys.argv[1]))
    try:
        resolve(sys.argv[2])
    except errors.CacheError as error:
        print(error)
    """
    assert mount in NAMESPACE
    job = start(NAMESPACE.replace(mount, "") + textwrap.dedent(read_only).replace("\n", "\n    ") + code, handle, missing)
    out, err = job.communicate(timeout=60)
    if job.returncode == 77:
        pytest.skip("this machine forbids user namespaces, which the test needs for a read-only disk")
    assert job.returncode == 0, err
    assert out.splitlines()[0] == path
    assert "Read-only file system" in out and "TFHUB_CACHE_DIR" in out and "TFIMM_RESOLVER_EXTRA_ROOTS" in out
    assert origin.requests == ["/m.tar.gz"]


@pytest.mark.parametrize("mode", [0o777, 0o2777])
def test_another_user_refreshes_and_repairs_a_model_and_leaves_no_copies(
    shared: Path, origin: Origin, warm: str, mode: int
) -> None:
    shared.chmod(mode)
    handle = origin.put("/m.tar.gz", tar_gz())
    first = resolve_as(ADA, handle, warm)
    for number in range(3):
        origin.put("/m.tar.gz", tar_gz({**MODEL, "saved_model.pb": f"refreshed {number}".encode()}))
        path = Path(resolve_as(BOB, handle, warm, REFRESH="1"))
        assert (path / "saved_model.pb").read_text() == f"refreshed {number}" and os.path.exists(first)
    (path / "saved_model.pb").unlink()
    repaired = resolve_as(ADA, handle, warm)  # Ada may not remove the damaged copy
    assert repaired != str(path) and Path(repaired, "saved_model.pb").read_text() == "refreshed 2"
    old_s = time.time() - 2 * 3600
    for tree in shared.iterdir():
        if tree.is_dir():
            os.utime(tree, (old_s, old_s))
    for user in (ADA, BOB):
        resolve_as(user, origin.put(f"/{user}.tar.gz", tar_gz()), warm)
        assert not [path.name for path in shared.iterdir() if path.suffix == ".tmp"]  # the other user's stay where they are
    name = entry_name_for_key(handle)
    assert [str(path) for path in shared.iterdir() if path.name.startswith(name) and path.is_dir()] == [repaired]


def test_a_refresh_that_may_not_write_the_record_leaves_no_copy(shared: Path, origin: Origin, warm: str) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    path = Path(resolve_as(ADA, handle, warm))  # the root has the sticky bit: only Ada may replace the record
    origin.put("/m.tar.gz", tar_gz({**MODEL, "saved_model.pb": b"another"}))
    before = sorted(shared.iterdir())
    printed = resolve_as(BOB, handle, warm, REFRESH="1")
    assert printed.startswith(f"CacheError {path}") and f"belongs to {ADAS_NAME}" in printed and "Ask its owner" in printed
    assert sorted(shared.iterdir()) == before and (path / "saved_model.pb").read_bytes() == MODEL["saved_model.pb"]


REMOVE_AS = (
    IMPORT_PACKAGE
    + """
import os, sys
from tfimm_resolver import maintenance
import socket, shutil, pathlib
maintenance.list_models()
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
(result,) = maintenance.remove(sys.argv[1])
print(result.state, result.error)
"""
)


@pytest.mark.parametrize("mode", [0o1777, 0o3777])
def test_the_error_of_a_removal_names_the_owner(mode: int, shared: Path, origin: Origin, warm: str) -> None:
    shared.chmod(mode)
    handle = origin.put("/m.tar.gz", tar_gz())
    path = Path(resolve_as(ADA, handle, warm))
    printed = run(REMOVE_AS, handle, str(BOB))
    assert printed.startswith(f"failed {path}") and f"belongs to {ADAS_NAME} (uid {ADA})" in printed, printed
    assert "Ask its owner" in printed and "TFHUB_CACHE_DIR" not in printed and files_in(path) == MODEL


def test_a_root_that_cannot_be_written_at_all_is_an_error_of_the_root(shared: Path, origin: Origin, warm: str) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    resolve_as(ADA, handle, warm)
    shared.chmod(0o755)
    for printed in (resolve_as(BOB, handle, warm, REFRESH="1"), run(REMOVE_AS, handle, str(BOB))):
        assert f"cannot write the cache at {shared}" in printed and "TFHUB_CACHE_DIR" in printed


@pytest.mark.parametrize("umask", ["000", "022"])
def test_another_user_removes_a_model_completely_or_not_at_all(shared: Path, origin: Origin, warm: str, umask: str) -> None:
    shared.chmod(0o777)
    handle = origin.put("/m.tar.gz", tar_gz())
    path = Path(resolve_as(ADA, handle, warm, umask=umask))
    before = sorted(shared.rglob("*"))
    printed = run(REMOVE_AS, handle, str(BOB))
    if umask == "000":
        assert printed == "removed None" and list(shared.iterdir()) == []
    else:
        assert printed.startswith("failed") and str(path) in printed and "Permission denied" in printed
        assert sorted(shared.rglob("*")) == before and files_in(path) == MODEL


@pytest.mark.parametrize("mode", [0o777, 0o2775])
def test_a_strict_umask_of_one_user_does_not_lock_the_others_out(shared: Path, origin: Origin, warm: str, mode: int) -> None:
    shared.chmod(mode)
    os.chown(shared, ADA, BOB)
    handle = origin.put("/m.tar.gz", tar_gz())
    path = resolve_as(ADA, handle, warm, umask="077")
    assert path.startswith("/") and resolve_as(BOB, handle, warm, umask="077") == path
    origin.put("/m.tar.gz", tar_gz({**MODEL, "saved_model.pb": b"another"}))
    path = resolve_as(BOB, handle, warm, umask="077", REFRESH="1")
    assert path.startswith("/") and resolve_as(ADA, handle, warm, umask="077") == path
    assert list_fetched(origin) == ["/m.tar.gz"] * 2
