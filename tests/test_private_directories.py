"""The temporary default root and unfinished downloads, where another user puts theirs in the way at the worst moment."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.archives import MODEL, files_in, tar_gz
from tests.faults.origin import Host, Reply, after, gone, on
from tests.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import Record
from tfimm_resolver.cli.app import main
from tfimm_resolver.errors import CacheError, FetchError, ResolverError
from tfimm_resolver.hub import download_url_to_file
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.transfer import download
from tfimm_resolver.transfer.partial_store import PartialDownloadInfo, boot

ANOTHER = 54321
HANDLE = "https://tfhub.dev/google/nnlm/2"
RANGE_BYTES = 1 << 16
BODY = os.urandom(5 * RANGE_BYTES + 7)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default root, not made yet, in a directory like /tmp."""
    place = tmp_path / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setenv("TMPDIR", str(place))
    return place / "tfhub_modules"


@pytest.fixture
def planted(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another user's root, beside, in which a model of theirs lies under a known handle; nothing can be fetched."""
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    place = temporary.with_name("planted")
    name, data = entry_name_for_key(HANDLE), b"EVIL"
    (place / name).mkdir(parents=True)
    (place / name / "saved_model.pb").write_bytes(data)
    files = (FileEntry("saved_model.pb", len(data), hashlib.sha256(data).hexdigest()),)
    (place / f"{name}.descriptor.txt").write_text(Record(HANDLE, name, "2024-01-01T00:00:00Z", files=files).to_text())
    give(place)
    return place


def give(place: Path) -> None:
    """Make all of it another user's."""
    for path in (place, *place.rglob("*")):
        os.chown(path, ANOTHER, ANOTHER, follow_symlinks=False)


def before_each(monkeypatch: pytest.MonkeyPatch, call: str, path: Path, act: Callable[[], None]) -> None:
    """Act, as another process would, just before each system call of that name on that path."""
    real = getattr(os, call)

    def acting(given: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(given, (str, os.PathLike)) and os.fspath(given) == str(path):
            act()
        return real(given, *arguments, **options)

    monkeypatch.setattr(os, call, acting)


# The temporary default root


def test_the_planted_model_would_be_served_to_its_owner(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the others here try to be given is a model that counts as whole."""
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(planted))
    assert files_in(resolve(HANDLE)) == {"saved_model.pb": b"EVIL"}


@pytest.mark.parametrize("ask", ["resolve", "ls", "why"])
def test_a_root_that_is_only_there_between_the_checks_is_not_read(
    ask: str, planted: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Away whenever it is looked at, and there whenever anything else is done."""
    real = os.lstat

    def looked_at(path: Any, **options: Any) -> os.stat_result:
        if not isinstance(path, (str, os.PathLike)) or os.fspath(path) != str(temporary):
            return real(path, **options)
        with contextlib.suppress(OSError):
            temporary.rename(planted)
        try:
            return real(path, **options)
        finally:
            with contextlib.suppress(OSError):
                planted.rename(temporary)

    monkeypatch.setattr(os, "lstat", looked_at)
    if ask == "resolve":
        with pytest.raises(ResolverError):
            resolve(HANDLE)
    else:
        main([ask, *([HANDLE] if ask == "why" else ["--json"])])
        assert (out := capsys.readouterr().out) and entry_name_for_key(HANDLE) not in out
    assert (temporary / entry_name_for_key(HANDLE)).is_dir(), "it was in place when nothing was looked at"


def test_a_root_that_is_exchanged_while_it_is_read_is_refused(
    planted: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As is possible where the directory above is not sticky."""
    temporary.mkdir(mode=0o755)

    def exchange() -> None:
        if planted.exists():
            temporary.rename(temporary.with_name("ours"))
            planted.rename(temporary)

    before_each(monkeypatch, "open", temporary / f"{entry_name_for_key(HANDLE)}.descriptor.txt", exchange)
    with pytest.raises(CacheError, match=rf"{temporary} belongs to uid {ANOTHER} and has the mode 0755"):
        resolve(HANDLE)
    assert not planted.exists()


def test_a_root_that_another_user_makes_first_is_passed_over(
    temporary: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    (temporary.parent / "theirs").mkdir(mode=0o755)
    give(temporary.parent / "theirs")

    def plant() -> None:
        with contextlib.suppress(FileNotFoundError):
            (temporary.parent / "theirs").rename(temporary)

    before_each(monkeypatch, "mkdir", temporary, plant)
    tree = Path(resolve(origin.put("/m.tar.gz", tar_gz())))
    assert files_in(tree) == MODEL and tree.parent == temporary.with_name(f"tfhub_modules-{user_name()}")
    assert os.listdir(temporary) == [] and temporary.stat().st_uid == ANOTHER


def user_name() -> str:
    import getpass

    return getpass.getuser()


@pytest.mark.parametrize("what", ["another user's", "open to a group", "a link", "a link to what is ours"])
def test_neither_default_place_is_used_if_another_user_can_write_it(what: str, temporary: Path, origin: Origin) -> None:
    (temporary.parent / "elsewhere").mkdir(mode=0o700)
    for place in (temporary, temporary.with_name(f"tfhub_modules-{user_name()}")):
        if what.startswith("a link"):
            place.symlink_to(temporary.parent / "elsewhere")
        else:
            place.mkdir()
            place.chmod(0o775 if what == "open to a group" else 0o755)
        if what == "another user's":
            give(place)
    with pytest.raises(CacheError, match="Set TFHUB_CACHE_DIR"):
        resolve(origin.put("/m.tar.gz", tar_gz()))
    assert origin.asked == [] and os.listdir(temporary.parent / "elsewhere") == []


def test_resolve_makes_the_root_and_what_only_asks_makes_nothing(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    for arguments in (["path"], ["ls"], ["why", HANDLE]):
        main(arguments)
    assert str(temporary) in capsys.readouterr().out and os.listdir(temporary.parent) == []
    with pytest.raises(FetchError):
        resolve(HANDLE)
    assert stat.S_IMODE(temporary.stat().st_mode) == 0o755 and os.listdir(temporary) == []


def test_where_the_root_cannot_be_made_an_extra_root_still_serves(
    origin: Origin, temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "extra"))
    path = resolve(handle)
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "extra"))
    real = os.mkdir

    def refused(path: Any, *arguments: Any, **options: Any) -> None:
        if os.fspath(path) == str(temporary):
            raise PermissionError(13, "Permission denied", str(path))
        real(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", refused)
    assert resolve(handle) == path
    with pytest.raises(CacheError, match="Permission denied"):
        resolve(origin.put("/other.tar.gz", tar_gz()))


def test_nobody_else_can_enter_what_is_being_unpacked_there(temporary: Path, origin: Origin) -> None:
    gate, before, modes = threading.Event(), os.umask(0), []
    handle = origin.put("/m.tar.gz", tar_gz({"saved_model.pb": os.urandom(1 << 20)}), gate=gate)
    thread = threading.Thread(target=resolve, args=(handle,))
    try:
        thread.start()
        assert origin.started.wait(30)
        modes = [stat.S_IMODE(path.stat().st_mode) for path in temporary.glob("*.tmp")]
    finally:
        gate.set()
        thread.join()
        os.umask(before)
    assert modes == [0o700]
    assert stat.S_IMODE((temporary / entry_name_for_key(handle)).stat().st_mode) == 0o755


def test_nobody_else_can_write_a_text_there_while_it_is_new(
    temporary: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had opened it by then could go on writing it whatever became of its mode."""
    modes, fsync = [], os.fsync

    def looking(file: int) -> None:
        modes.append(os.fstat(file).st_mode)
        fsync(file)

    monkeypatch.setattr(os, "fsync", looking)
    before = os.umask(0)
    try:
        record = Path(resolve(origin.put("/m.tar.gz", tar_gz()))).with_suffix(".descriptor.txt")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(mode) for mode in modes if stat.S_ISREG(mode)} == {0o644}
    assert stat.S_IMODE(record.stat().st_mode) == 0o644


# Unfinished downloads


@pytest.fixture
def big(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Host, str]]:
    """A host with a file that comes in six ranges, and its URL."""
    monkeypatch.setattr(download, "RANGE_BYTES", RANGE_BYTES)
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    with Host() as host:
        yield host, host.put("/w.h5", BODY)


def plant_parts(folder: Path, url: str, mode: int) -> None:
    """Parts of the right file that hold other bytes, all but the last one of them."""
    folder.mkdir(parents=True)
    whole = PartialDownloadInfo(url, '"one"', len(BODY), RANGE_BYTES, boot())
    (folder / "of.json").write_text(json.dumps(asdict(whole)))
    for start in whole.starts:
        (folder / str(start)).write_bytes(b"E" * (whole.length(start) - (start == whole.starts[-1])))
    for path in (folder, *folder.iterdir()):
        path.chmod(mode)


OWNERS = {"another user's": (True, 0o777), "another user's, read only": (True, 0o755), "open to all": (False, 0o777)}
OWNERS["open to a group"] = (False, 0o775)


@pytest.mark.parametrize("whose", OWNERS)
def test_parts_that_another_user_can_have_written_become_no_file(whose: str, big: tuple[Host, str], tmp_path: Path) -> None:
    host, url = big
    is_anothers, mode = OWNERS[whose]
    out = tmp_path / "out"
    folder = out / "w.h5.tfimm_resolver.parts"
    plant_parts(folder, url, mode)
    if is_anothers:
        give(folder)
    before = files_in(folder)
    download_url_to_file(url, out / "w.h5", progress=False)
    assert (out / "w.h5").read_bytes() == BODY and host.sent_bytes() == len(BODY) and len(host.asked) == 6
    assert sorted(os.listdir(out)) == ["w.h5", folder.name][: 1 + is_anothers]
    assert not is_anothers or files_in(folder) == before, "another user's are not ours to remove"


def test_parts_of_this_user_are_continued_and_no_other_user_can_enter_them(big: tuple[Host, str], tmp_path: Path) -> None:
    host, url = big
    (tmp_path / "out").mkdir()
    host.put("/w.h5", BODY, after(3, gone))
    before = os.umask(0)
    try:
        with pytest.raises(FetchError):
            download_url_to_file(url, tmp_path / "out/w.h5", progress=False)
    finally:
        os.umask(before)
    (parts,) = (tmp_path / "out").iterdir()
    assert stat.S_IMODE(parts.stat().st_mode) == 0o700
    held_bytes, sent_bytes = sum(len(data) for name, data in files_in(parts).items() if name.isdigit()), host.sent_bytes()
    host.put("/w.h5", BODY)
    download_url_to_file(url, tmp_path / "out/w.h5", progress=False)
    assert held_bytes >= RANGE_BYTES and host.sent_bytes() - sent_bytes == len(BODY) - held_bytes


@pytest.mark.parametrize("ends", ["succeeds", "fails"])
def test_parts_under_a_name_that_cannot_be_foreseen_do_not_stay(ends: str, big: tuple[Host, str], tmp_path: Path) -> None:
    host, url = big
    planted = tmp_path / "out/w.h5.tfimm_resolver.parts"
    plant_parts(planted, url, 0o755)
    give(planted)
    seen: set[tuple[str, int]] = set()

    def look(_: Reply) -> None:
        seen.update((path.name, stat.S_IMODE(path.stat().st_mode)) for path in planted.parent.glob("*.parts"))

    host.put("/w.h5", BODY, after(3, look, *[gone] * (ends == "fails")))
    with contextlib.nullcontext() if ends == "succeeds" else pytest.raises(FetchError):
        download_url_to_file(url, tmp_path / "out/w.h5", progress=False)
    ((name, mode),) = {one for one in seen if one[0] != planted.name}
    assert name.startswith("w.h5.tfimm_resolver.flock-") and mode == 0o700
    assert sorted(os.listdir(planted.parent)) == ["w.h5", planted.name][ends == "fails" :]


def test_nobody_else_can_enter_what_comes_to_a_file(origin: Origin, tmp_path: Path) -> None:
    gate, before = threading.Event(), os.umask(0)
    url = origin.put("/w.bin", BODY, gate=gate)
    (tmp_path / "out").mkdir()
    thread = threading.Thread(target=download_url_to_file, args=(url, tmp_path / "out/w.bin", None, False))
    try:
        thread.start()
        assert origin.started.wait(30)
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
        give(cache_dir / f"{entry_name_for_key(handle)}{suffix}")
    before = files_in(cache_dir)
    assert files_in(resolve(handle)) == {"saved_model.pb": BODY} and host.sent_bytes() == len(body)
    assert {name: data for name, data in files_in(cache_dir).items() if ".parts" in name} == before
    assert len(os.listdir(cache_dir)) == 4, "both of the other user's, the model and its record"


def test_parts_that_are_exchanged_while_they_come_are_not_read(big: tuple[Host, str], tmp_path: Path) -> None:
    """As is possible where the directory above is not sticky: each file is looked at when it is open."""
    host, url = big
    (tmp_path / "out").mkdir()
    parts = tmp_path / "out/w.h5.tfimm_resolver.parts"
    plant_parts(tmp_path / "planted", url, 0o777)
    give(tmp_path / "planted")

    def exchange(_: Reply) -> None:
        if (tmp_path / "planted").exists():
            parts.rename(tmp_path / "ours")
            (tmp_path / "planted").rename(parts)

    host.put("/w.h5", BODY, on(4, exchange))
    with contextlib.suppress(CacheError):
        download_url_to_file(url, tmp_path / "out/w.h5", progress=False)
    assert not (tmp_path / "planted").exists()
    assert not (tmp_path / "out/w.h5").exists() or (tmp_path / "out/w.h5").read_bytes() == BODY


def test_on_a_mount_where_no_directory_is_private_all_comes_as_one_stream(
    big: tuple[Host, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, url = big
    (tmp_path / "out").mkdir()
    real = os.mkdir

    def opened(path: Any, *arguments: Any, **options: Any) -> None:
        real(path, *arguments, **options)
        os.chmod(path, 0o777)  # as such a mount shows all that lies on it

    monkeypatch.setattr(os, "mkdir", opened)
    download_url_to_file(url, tmp_path / "out/w.h5", progress=False)
    assert files_in(tmp_path / "out") == {"w.h5": BODY} and os.listdir(tmp_path / "out") == ["w.h5"]
    assert len(host.asked) == 2 and host.asked[1].headers.get("range") is None
