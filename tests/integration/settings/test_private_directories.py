"""The temporary default root and partial downloads, while another user plants files there at the worst moment."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.faults.origin import Host, Response, after_request, on_request, reset_connection
from tests.fakes.origin import Origin
from tests.fakes.processes import wait_until
from tfimm_resolver import resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import Record
from tfimm_resolver.cli.app import main
from tfimm_resolver.errors import CacheError, FetchError, ResolverError
from tfimm_resolver.hub import download_url_to_file
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.transfer import download
from tfimm_resolver.transfer.partial_store import PartialDownloadInfo, get_boot_id

ANOTHER = 54321
HANDLE = "https://tfhub.dev/google/nnlm/2"
RANGE_BYTES = 1 << 16
BODY = os.urandom(5 * RANGE_BYTES + 7)
HASH_PREFIX = hashlib.sha256(BODY).hexdigest()[:8]  # only with a known hash is a file downloaded in ranges

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default root, which does not exist yet, in a directory like /tmp."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    directory.chmod(0o1777)
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    monkeypatch.setenv("TMPDIR", str(directory))
    return directory / "tfhub_modules"


@pytest.fixture
def planted(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another user's root beside the default one, with their model under a known handle; nothing can be fetched."""
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    directory = temporary.with_name("planted")
    name, data = entry_name_for_key(HANDLE), b"EVIL"
    (directory / name).mkdir(parents=True)
    (directory / name / "saved_model.pb").write_bytes(data)
    files = (FileEntry("saved_model.pb", len(data), hashlib.sha256(data).hexdigest()),)
    (directory / f"{name}.descriptor.txt").write_text(Record(HANDLE, name, "2024-01-01T00:00:00Z", files=files).to_text())
    give_to_another_user(directory)
    return directory


def give_to_another_user(directory: Path) -> None:
    """Make another user own a directory and everything below it."""
    for path in (directory, *directory.rglob("*")):
        os.chown(path, ANOTHER, ANOTHER, follow_symlinks=False)


def before_each(monkeypatch: pytest.MonkeyPatch, call: str, path: Path, act: Callable[[], None]) -> None:
    """Call ``act``, as another process might, just before each system call of that name on that path."""
    real = getattr(os, call)

    def act_first(target: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(target, (str, os.PathLike)) and os.fspath(target) == str(path):
            act()
        return real(target, *arguments, **options)

    monkeypatch.setattr(os, call, act_first)


# The temporary default root


def test_the_planted_model_would_be_served_to_its_owner(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests below prove nothing unless the planted model counts as complete."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(planted))
    assert files_in(resolve(HANDLE)) == {"saved_model.pb": b"EVIL"}


@pytest.mark.parametrize("command", ["resolve", "ls", "why"])
def test_a_root_that_exists_only_between_the_checks_is_not_read(
    command: str, planted: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The planted root is absent during each check, and present at all other times."""
    real = os.lstat

    def lstat_planting(path: Any, **options: Any) -> os.stat_result:
        if not isinstance(path, (str, os.PathLike)) or os.fspath(path) != str(temporary):
            return real(path, **options)
        with contextlib.suppress(OSError):
            temporary.rename(planted)
        try:
            return real(path, **options)
        finally:
            with contextlib.suppress(OSError):
                planted.rename(temporary)

    monkeypatch.setattr(os, "lstat", lstat_planting)
    if command == "resolve":
        with pytest.raises(ResolverError):
            resolve(HANDLE)
    else:
        main([command, *([HANDLE] if command == "why" else ["--json"])])
        assert (out := capsys.readouterr().out) and entry_name_for_key(HANDLE) not in out
    assert (temporary / entry_name_for_key(HANDLE)).is_dir(), "it was in place between the checks"


def test_a_root_that_is_swapped_while_it_is_read_is_an_error(
    planted: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Possible where the parent directory is not sticky."""
    temporary.mkdir(mode=0o755)

    def exchange() -> None:
        if planted.exists():
            temporary.rename(temporary.with_name("own"))
            planted.rename(temporary)

    before_each(monkeypatch, "open", temporary / f"{entry_name_for_key(HANDLE)}.descriptor.txt", exchange)
    with pytest.raises(CacheError, match=rf"{temporary} belongs to uid {ANOTHER} and has the mode 0755"):
        resolve(HANDLE)
    assert not planted.exists()


def test_a_root_that_another_user_creates_first_is_not_used(
    temporary: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary.parent / "others").mkdir(mode=0o755)
    give_to_another_user(temporary.parent / "others")

    def plant() -> None:
        with contextlib.suppress(FileNotFoundError):
            (temporary.parent / "others").rename(temporary)

    before_each(monkeypatch, "mkdir", temporary, plant)
    tree = Path(resolve(origin.put("/m.tar.gz", tar_gz())))
    assert files_in(tree) == MODEL and tree.parent == temporary.with_name(f"tfhub_modules-{user_name()}")
    assert os.listdir(temporary) == [] and temporary.stat().st_uid == ANOTHER


def user_name() -> str:
    import getpass

    return getpass.getuser()


@pytest.mark.parametrize("what", ["another user's", "open to a group", "a link", "a link to an own directory"])
def test_neither_default_directory_is_used_if_another_user_can_write_it(what: str, temporary: Path, origin: Origin) -> None:
    (temporary.parent / "elsewhere").mkdir(mode=0o700)
    for directory in (temporary, temporary.with_name(f"tfhub_modules-{user_name()}")):
        if what.startswith("a link"):
            directory.symlink_to(temporary.parent / "elsewhere")
        else:
            directory.mkdir()
            directory.chmod(0o775 if what == "open to a group" else 0o755)
        if what == "another user's":
            give_to_another_user(directory)
    with pytest.raises(CacheError, match="Set TFHUB_CACHE_DIR"):
        resolve(origin.put("/m.tar.gz", tar_gz()))
    assert origin.requests == [] and os.listdir(temporary.parent / "elsewhere") == []


def test_only_resolve_creates_the_root(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    for arguments in (["path"], ["ls"], ["why", HANDLE]):
        main(arguments)
    assert str(temporary) in capsys.readouterr().out and os.listdir(temporary.parent) == []
    with pytest.raises(FetchError):
        resolve(HANDLE)
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o755 and os.listdir(temporary) == []


def test_where_the_root_cannot_be_created_an_extra_root_still_works(
    origin: Origin, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "extra"))
    path = resolve(handle)
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "extra"))
    real = os.mkdir

    def deny(path: Any, *arguments: Any, **options: Any) -> None:
        if os.fspath(path) == str(temporary):
            raise PermissionError(13, "Permission denied", str(path))
        real(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", deny)
    assert resolve(handle) == path
    with pytest.raises(CacheError, match="Permission denied"):
        resolve(origin.put("/other.tar.gz", tar_gz()))


def test_no_other_user_can_enter_the_staging_directory(temporary: Path, origin: Origin) -> None:
    gate, before, modes = threading.Event(), os.umask(0), []
    handle = origin.put("/m.tar.gz", tar_gz({"saved_model.pb": os.urandom(1 << 20)}), gate=gate)
    thread = threading.Thread(target=resolve, args=(handle,))
    try:
        thread.start()
        wait_until(lambda: [*temporary.glob("*.tmp")])
        modes = [stat.S_IMODE(path.stat().st_mode) for path in temporary.glob("*.tmp")]
    finally:
        gate.set()
        thread.join()
        os.umask(before)
    assert modes == [0o700]
    assert stat.S_IMODE((temporary / entry_name_for_key(handle)).stat().st_mode) == 0o755


def test_no_other_user_can_write_a_new_text(temporary: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that had opened it before its mode changed could still write to it afterwards."""
    modes, fsync = [], os.fsync

    def record_mode(file: int) -> None:
        modes.append(os.fstat(file).st_mode)
        fsync(file)

    monkeypatch.setattr(os, "fsync", record_mode)
    before = os.umask(0)
    try:
        record = Path(resolve(origin.put("/m.tar.gz", tar_gz()))).with_suffix(".descriptor.txt")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(mode) for mode in modes if stat.S_ISREG(mode)} == {0o644}
    assert stat.S_IMODE(record.stat().st_mode) == 0o644


# Partial downloads


@pytest.fixture
def big(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Host, str]]:
    """A host with a file that is downloaded in six ranges, and the file's URL."""
    monkeypatch.setattr(download, "RANGE_BYTES", RANGE_BYTES)
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    with Host() as host:
        yield host, host.put("/w.h5", BODY)


def plant_parts(folder: Path, url: str, mode: int) -> None:
    """Plant parts that match the file's metadata and hold wrong bytes; the last part lacks one byte."""
    folder.mkdir(parents=True)
    info = PartialDownloadInfo(url, '"one"', len(BODY), RANGE_BYTES, get_boot_id())
    (folder / "of.json").write_text(info.to_json())
    for start in info.starts:
        (folder / str(start)).write_bytes(b"E" * (info.get_length(start) - (start == info.starts[-1])))
    for path in (folder, *folder.iterdir()):
        path.chmod(mode)


OWNERS = {"another user's": (True, 0o777), "another user's, read only": (True, 0o755), "open to all": (False, 0o777)}
OWNERS["open to a group"] = (False, 0o775)


@pytest.mark.parametrize("ownership_case", OWNERS)
def test_parts_that_another_user_can_have_written_are_not_used(
    ownership_case: str, big: tuple[Host, str], tmp_path: Path
) -> None:
    host, url = big
    is_anothers, mode = OWNERS[ownership_case]
    out = tmp_path / "out"
    folder = out / "w.h5.tfimm_resolver.parts"
    plant_parts(folder, url, mode)
    if is_anothers:
        give_to_another_user(folder)
    before = files_in(folder)
    download_url_to_file(url, out / "w.h5", HASH_PREFIX, progress=False)
    assert (out / "w.h5").read_bytes() == BODY and host.count_sent_bytes() == len(BODY) and len(host.requests) == 6
    assert sorted(os.listdir(out)) == ["w.h5", folder.name][: 1 + is_anothers]
    assert not is_anothers or files_in(folder) == before, "another user's files are left alone"


def test_parts_of_this_user_are_resumed_and_no_other_user_can_enter_them(big: tuple[Host, str], tmp_path: Path) -> None:
    host, url = big
    (tmp_path / "out").mkdir()
    host.put("/w.h5", BODY, after_request(3, reset_connection))
    before = os.umask(0)
    try:
        with pytest.raises(FetchError):
            download_url_to_file(url, tmp_path / "out/w.h5", HASH_PREFIX, progress=False)
    finally:
        os.umask(before)
    (parts,) = (tmp_path / "out").iterdir()
    assert stat.S_IMODE(parts.stat().st_mode) == 0o700
    cached_bytes, sent_bytes = (
        sum(len(data) for name, data in files_in(parts).items() if name.isdigit()),
        host.count_sent_bytes(),
    )
    host.put("/w.h5", BODY)
    download_url_to_file(url, tmp_path / "out/w.h5", HASH_PREFIX, progress=False)
    assert cached_bytes >= RANGE_BYTES and host.count_sent_bytes() - sent_bytes == len(BODY) - cached_bytes


@pytest.mark.parametrize("ends", ["succeeds", "fails"])
def test_parts_under_an_unpredictable_name_do_not_stay(ends: str, big: tuple[Host, str], tmp_path: Path) -> None:
    host, url = big
    planted = tmp_path / "out/w.h5.tfimm_resolver.parts"
    plant_parts(planted, url, 0o755)
    give_to_another_user(planted)
    seen: set[tuple[str, int]] = set()

    def look(_: Response) -> None:
        seen.update((path.name, stat.S_IMODE(path.stat().st_mode)) for path in planted.parent.glob("*.parts"))

    host.put("/w.h5", BODY, after_request(3, look, *[reset_connection] * (ends == "fails")))
    with contextlib.nullcontext() if ends == "succeeds" else pytest.raises(FetchError):
        download_url_to_file(url, tmp_path / "out/w.h5", HASH_PREFIX, progress=False)
    ((name, mode),) = {one for one in seen if one[0] != planted.name}
    assert name.startswith("w.h5.tfimm_resolver.flock-") and mode == 0o700
    assert sorted(os.listdir(planted.parent)) == ["w.h5", planted.name][ends == "fails" :]


def test_no_other_user_can_enter_the_directory_of_a_file_download(origin: Origin, tmp_path: Path) -> None:
    gate, before = threading.Event(), os.umask(0)
    url = origin.put("/w.bin", BODY, gate=gate)
    (tmp_path / "out").mkdir()
    thread = threading.Thread(target=download_url_to_file, args=(url, tmp_path / "out/w.bin", None, False))
    try:
        thread.start()
        wait_until(lambda: [*(tmp_path / "out").glob("*.tmp")])
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").glob("*.tmp")]
    finally:
        gate.set()
        thread.join()
        os.umask(before)
    assert modes == [0o700] and (tmp_path / "out/w.bin").read_bytes() == BODY


def test_in_a_root_of_several_users_no_parts_of_another_are_used_under_any_name(
    big: tuple[Host, str], cache_dir: Path
) -> None:
    host, _ = big
    cache_dir.mkdir()
    cache_dir.chmod(0o1777)
    body = tar_gz({"saved_model.pb": BODY})
    handle = host.put("/m.tar.gz", body)
    for suffix in (".parts", f".parts-{os.geteuid()}"):
        plant_parts(cache_dir / f"{entry_name_for_key(handle)}{suffix}", handle, 0o777)
        give_to_another_user(cache_dir / f"{entry_name_for_key(handle)}{suffix}")
    before = files_in(cache_dir)
    assert files_in(resolve(handle)) == {"saved_model.pb": BODY} and host.count_sent_bytes() == len(body)
    assert {name: data for name, data in files_in(cache_dir).items() if ".parts" in name} == before
    assert len(os.listdir(cache_dir)) == 4, "both directories of the other user, the model and its record"


def test_parts_that_are_swapped_during_the_download_are_not_read(big: tuple[Host, str], tmp_path: Path) -> None:
    """Possible where the parent directory is not sticky: each file is checked after it is opened."""
    host, url = big
    (tmp_path / "out").mkdir()
    parts = tmp_path / "out/w.h5.tfimm_resolver.parts"
    plant_parts(tmp_path / "planted", url, 0o777)
    give_to_another_user(tmp_path / "planted")

    def exchange(_: Response) -> None:
        if (tmp_path / "planted").exists():
            parts.rename(tmp_path / "own")
            (tmp_path / "planted").rename(parts)

    host.put("/w.h5", BODY, on_request(4, exchange))
    with contextlib.suppress(CacheError):
        download_url_to_file(url, tmp_path / "out/w.h5", HASH_PREFIX, progress=False)
    assert not (tmp_path / "planted").exists()
    assert not (tmp_path / "out/w.h5").exists() or (tmp_path / "out/w.h5").read_bytes() == BODY


def test_on_a_mount_without_private_directories_a_file_is_downloaded_as_one_stream(
    big: tuple[Host, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, url = big
    (tmp_path / "out").mkdir()
    real = os.mkdir

    def mkdir_open_to_all(path: Any, *arguments: Any, **options: Any) -> None:
        real(path, *arguments, **options)
        os.chmod(path, 0o777)  # as such a mount shows every file

    monkeypatch.setattr(os, "mkdir", mkdir_open_to_all)
    if sys.version_info < (3, 11):  # which has its own reference
        monkeypatch.setattr("pathlib._NormalAccessor.mkdir", staticmethod(mkdir_open_to_all))
    download_url_to_file(url, tmp_path / "out/w.h5", HASH_PREFIX, progress=False)
    assert files_in(tmp_path / "out") == {"w.h5": BODY} and os.listdir(tmp_path / "out") == ["w.h5"]
    assert len(host.requests) == 2 and host.requests[1].headers.get("range") is None
