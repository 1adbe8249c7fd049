"""File systems that lack what those of local disks have: renames, fsync, the free space, the removal of open files."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin
from tests.fakes.traced import start_traced
from tfimm_resolver import errors, hub
from tfimm_resolver._util import fs
from tfimm_resolver.cli.app import main
from tfimm_resolver.locking import lock as locks

RESOLVE = """
    import sys
    import tfimm_resolver
    try:
        print(tfimm_resolver.resolve(sys.argv[1]))
    except tfimm_resolver.errors.CacheError as error:
        print(error)
"""
LARGE = tar_gz({**MODEL, "assets/noise": os.urandom(2 << 20)})

Call = Callable[..., Any]


@pytest.fixture
def _no_directory_renames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rename files and empty directories only, as gcsfuse does."""
    real: Call = os.rename

    def rename(old: Any, new: Any) -> None:
        if os.path.isdir(old) and os.listdir(old):
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP), old, None, new)
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)


@pytest.mark.usefixtures("_no_directory_renames")
def test_a_root_without_renames_of_directories_is_reported_before_the_download(origin: Origin, cache_dir: Path) -> None:
    url = origin.put("/m.tar.gz", tar_gz())
    with pytest.raises(errors.CacheError, match="cannot rename directories") as caught:
        tfimm_resolver.resolve(url)
    assert "gs://" in caught.value.fix and "TFIMM_RESOLVER_EXTRA_ROOTS" in caught.value.fix
    assert origin.requests == [] and os.listdir(cache_dir) == []


@pytest.mark.usefixtures("_no_directory_renames")
def test_the_hub_names_its_own_settings(origin: Origin) -> None:
    with pytest.raises(errors.CacheError, match="cannot rename directories") as caught:
        hub.load_state_dict_from_url(origin.put("/w.npz"))
    assert "TFIMM_HUB_DIR" in caught.value.fix and "TFHUB_CACHE_DIR" not in caught.value.fix and origin.requests == []


@pytest.mark.parametrize("code", ["ENOSYS", "EPERM", "EINVAL", "EXDEV"])
def test_a_root_without_any_renames_is_reported_before_the_download(code: str, origin: Origin, cache_dir: Path) -> None:
    renames = [f"?{call}:error={code}" for call in ("rename", "renameat", "renameat2")]
    links = [f"?{call}:error=ENOSYS" for call in ("link", "linkat")]
    with start_traced([*renames, *links], RESOLVE, origin.put("/m.tar.gz", LARGE)) as process:
        output, _ = process.communicate(timeout=60)
    assert "cannot rename directories" in output and "gs://" in output
    assert origin.requests == [] and os.listdir(cache_dir) == []


def test_another_error_of_a_rename_is_not_taken_for_a_missing_feature(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    def fail(old: str, _: str) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), old)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(errors.CacheError, match=os.strerror(errno.EIO)) as caught:
        tfimm_resolver.resolve(origin.put("/m.tar.gz", tar_gz()))
    assert "failing" in caught.value.fix and os.listdir(cache_dir) == []


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP], ids=lambda code: errno.errorcode[code])
def test_a_file_system_without_fsync_is_used(
    code: int, origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr("tfimm_resolver.archives.file_writer._FSYNC_INTERVAL_BYTES", 1)
    monkeypatch.chdir(tmp_path)
    path = tfimm_resolver.resolve(url := origin.put("/m.tar.gz", tar_gz()))
    assert files_in(path) == MODEL
    hub.download_url_to_file(url, tmp_path / "m.tar.gz", progress=False)
    tfimm_resolver.project.add("m", url)
    tfimm_resolver.bundles.export(["m"], tmp_path / "bundle.tar")
    assert {"m.tar.gz", "bundle.tar", "tfimm-models.toml"} <= {*os.listdir(tmp_path)}


def test_another_error_of_fsync_is_reported(origin: Origin, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(errors.CacheError, match=os.strerror(errno.EIO)):
        tfimm_resolver.resolve(origin.put("/m.tar.gz", tar_gz()))
    assert os.listdir(cache_dir) == []


def report_no_blocks(path: Any, real: Call = os.statvfs) -> os.statvfs_result:
    """Return what statvfs says of a FUSE mount that does not implement it."""
    status = list(real(path))
    status[2:8] = [0] * 6
    return os.statvfs_result(status)


def report_nothing(path: Any) -> os.statvfs_result:
    """Fail as on a system without the call."""
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), path)


@pytest.mark.parametrize("report", [report_no_blocks, report_nothing])
def test_unknown_free_space_is_not_a_full_disk(
    report: Call, origin: Origin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "statvfs", report)
    assert fs.get_free_bytes(tmp_path) is None
    path = tfimm_resolver.resolve(origin.put("/m.tar.gz", LARGE))
    assert len(files_in(path)) == len(MODEL) + 1
    capsys.readouterr()
    assert main(["path", "--json"]) == 0 and json.loads(capsys.readouterr().out)["urls"]["free_bytes"] is None


def test_a_full_disk_is_still_noticed(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    def report(path: Any, real: Call = os.statvfs) -> os.statvfs_result:
        status = list(real(path))
        status[3] = status[4] = 0
        return os.statvfs_result(status)

    monkeypatch.setattr(os, "statvfs", report)
    with pytest.raises(errors.CacheError, match=r"is full: the model needs over 2\.\d MB, and .* are free"):
        tfimm_resolver.resolve(origin.put("/m.tar.gz", LARGE))


def test_a_lock_file_that_cannot_be_removed_while_it_is_open_is_removed_after_it(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    """libfuse renames open files to hide them; Mountpoint for Amazon S3 does not remove what is being written."""
    real: Call = os.unlink

    def unlink(path: Any, **options: Any) -> None:
        if str(path).endswith(".lock") and is_open(path):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
        real(path, **options)

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(os, "unlink", unlink)
    monkeypatch.setattr(os, "link", refuse)
    tfimm_resolver.resolve(origin.put("/m.tar.gz", tar_gz()))
    assert [name for name in os.listdir(cache_dir) if name.endswith(".lock")] == []


def is_open(path: Any) -> bool:
    """Whether this process has a file open."""
    targets = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:
            continue
    return os.path.abspath(path) in targets


def test_a_lock_that_another_process_took_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = str(tmp_path / "m.lock"), "elsewhere.1.flock-1-abcdef01-0123456789abcdef"
    lock = locks.acquire(path)
    assert lock is not None

    def refuse(_: str) -> None:
        Path(path).write_text(other)
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refuse)
        lock.release()
    assert Path(path).read_text() == other
