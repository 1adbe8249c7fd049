"""Files are written below one directory, within limits."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import files_in
from tfimm_resolver.archives import file_writer
from tfimm_resolver.archives.budget import Limits
from tfimm_resolver.archives.extractor import ArchiveInput, Extractor
from tfimm_resolver.archives.tar_reader import Link, Member
from tfimm_resolver.errors import ArchiveError, CacheError, FetchError, UnsupportedMemberError
from tfimm_resolver.manifest import FileEntry


class _Slow:
    """A stream that returns one byte at a time, and may fail at its end."""

    def __init__(self, data: bytes, error: Exception | None = None) -> None:
        self._rest, self._error = io.BytesIO(data), error

    def read(self, size: int, /) -> bytes:
        byte = self._rest.read(min(size, 1))
        if not byte and self._error:
            raise self._error
        return byte


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """An empty directory."""
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def start(into: Path, limits: Limits | None = None, packed: bytes = b"") -> Extractor:
    """Return an extractor."""
    return Extractor(into, ArchiveInput(io.BytesIO(packed), len(packed)), limits or Limits())


def make_member(name: str, data: bytes) -> Member:
    """Return a member that is a file."""
    return Member(name, False, len(data), iter([memoryview(data)]))


def test_peeking_consumes_nothing() -> None:
    packed = ArchiveInput(_Slow(b"abcdef"), None)
    assert packed.peek(4) == b"abcd" and packed.read_bytes == 0
    assert b"".join(packed.chunks()) == b"abcdef"
    assert (packed.read_bytes, packed.tail) == (6, b"abcdef")


def test_files_are_listed_with_sizes_and_hashes(into: Path) -> None:
    with start(into) as extractor:
        extractor.make_directory("empty")
        extractor.write_file("a/b", [b"x", memoryview(b"yz")], 3)
        extractor.finish()
        assert extractor.files == [FileEntry("a/b", 3, hashlib.sha256(b"xyz").hexdigest())]
    assert files_in(into) == {"a/b": b"xyz"} and (into / "empty").is_dir()


@pytest.mark.parametrize("names", [("a", "a"), ("a", "a/b"), ("a/b", "a")])
def test_two_members_of_one_path_collide(names: tuple[str, str], into: Path) -> None:
    with start(into) as extractor, pytest.raises(ArchiveError):
        extractor.extract([make_member(name, b"x") for name in names])


def test_the_last_member_of_a_name_may_win_and_replaced_bytes_are_reported(into: Path) -> None:
    with start(into) as extractor:
        members = [make_member(*one) for one in (("a", b"1"), ("b", b"1"), ("a", b"2"), ("b", b"1"))]
        extractor.extract(members, last_wins=True)
        extractor.finish()
        assert extractor.find_replaced() == ["a"]
    assert files_in(into) == {"a": b"2", "b": b"1"}


@pytest.mark.parametrize(
    ("limits", "action", "text", "variable"),
    [
        (Limits(size_bytes=10), lambda one: list(one.enforce_limits([b"12345"] * 3)), "over 10 bytes", "MAX_BYTES"),
        (Limits(size_bytes=10), lambda one: one.check_size(11), "over 10 bytes", "MAX_BYTES"),
        (Limits(), lambda one: list(one.enforce_limits([bytes(1 << 20)] * 65)), "over 200 times", "MAX_RATIO"),
        (Limits(members=2), lambda one: one.check_size(0, 3), "over 2 members", "MAX_MEMBERS"),
        (Limits(members=2), lambda one: one.write_file("a/b/c", [], 0), "over 2 members", "MAX_MEMBERS"),
    ],
    ids=["size", "size in advance", "ratio", "members in advance", "directories of a path"],
)
def test_each_limit_is_an_error_that_names_its_setting(
    limits: Limits, action: Callable[[Extractor], object], text: str, variable: str, into: Path
) -> None:
    with start(into, limits) as extractor, pytest.raises(ArchiveError, match=text) as caught:
        action(extractor)
    assert f"TFIMM_RESOLVER_{variable}" in caught.value.fix and files_in(into) == {}


def test_what_is_within_the_limits_passes(into: Path) -> None:
    with start(into, Limits(size_bytes=10, members=3)) as extractor:
        assert list(extractor.enforce_limits([b"12345", b"67890"])) == [b"12345", b"67890"]
        extractor.check_size(10, 3)
        extractor.write_file("a/b/c", [], 0)


def test_too_little_space_is_noticed_in_advance(into: Path) -> None:
    with (
        start(into, Limits(size_bytes=1 << 62)) as extractor,
        pytest.raises(CacheError, match="is full: the model needs over"),
    ):
        extractor.write_file("a", [], 1 << 61)
    assert files_in(into) == {}


def test_a_spooled_stream_is_complete_and_removed_afterwards(into: Path) -> None:
    with start(into, packed=b"packed") as extractor, extractor.spool() as file:
        assert list(files_in(into).values()) == [b"packed"] and Path(file.name).parent == into
    assert files_in(into) == {}


def test_an_error_of_the_stream_stays_what_it_is(into: Path) -> None:
    error = FetchError("the connection broke")
    packed = ArchiveInput(_Slow(b"abc", error), None)
    with Extractor(into, packed, Limits()) as extractor, pytest.raises(FetchError) as caught, extractor.spool():
        pass
    assert caught.value is error and files_in(into) == {}


def test_a_directory_that_was_removed_is_not_created_again(into: Path) -> None:
    with start(into) as extractor:
        shutil.rmtree(into)
        with pytest.raises(CacheError):
            extractor.write_file("a/b", [b"x"], 1)
    assert not into.exists()


def test_a_directory_that_the_file_system_takes_for_another_one_collides(into: Path) -> None:
    """As on a file system that ignores case, where the first is found under the name of the second."""
    with start(into) as extractor:
        extractor.write_file("Assets/a", [b"x"], 1)
        (into / "assets").mkdir()
        with pytest.raises(ArchiveError, match="'assets/b' collides with another member"):
            extractor.write_file("assets/b", [b"y"], 1)
        with pytest.raises(ArchiveError, match="'assets' collides with another member"):
            extractor.make_directory("assets")


def test_links_of_any_reader_are_copied_and_collide_where_the_last_does_not_win(into: Path) -> None:
    link = Link("a", is_hard=False)
    with start(into) as extractor:
        extractor.extract([Member("l", False, link=link), make_member("a", b"x")])
        extractor.finish()
        assert {file.path for file in extractor.files} == {"a", "l"}
    for second in (Member("m", False, link=link), make_member("m", b"y")):
        with start(into) as extractor, pytest.raises(ArchiveError, match="'m' collides"):
            extractor.extract([Member("m", False, link=link), second])


def test_a_large_file_is_synced_on_the_way_by_another_thread(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    monkeypatch.setattr(file_writer, "_FSYNC_INTERVAL_BYTES", 1000)
    monkeypatch.setattr(os, "fsync", lambda _: threads.append(threading.current_thread()))
    with start(into) as target:
        target.write_file("large", [b"x" * 600] * 4, 2400)
        target.finish()
    assert len(threads) == 2 and threading.current_thread() not in threads


@pytest.mark.parametrize("chunks", [2, 50], ids=["noticed at the end", "noticed while it is written"])
@pytest.mark.parametrize("number", [errno.EILSEQ, errno.EISDIR])
def test_an_error_of_a_disk_that_cannot_sync_names_no_member(
    chunks: int, number: int, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, "the reason")

    monkeypatch.setattr(file_writer, "_FSYNC_INTERVAL_BYTES", 1000)
    monkeypatch.setattr(os, "fsync", fail)
    with start(into) as target, pytest.raises(CacheError, match=r"cannot write .*: the reason"):
        target.write_file("large", [b"x" * 1200] * chunks, 1200 * chunks)
        target.finish()


def test_an_error_of_the_system_while_a_stream_is_spooled_names_no_member(into: Path) -> None:
    packed = ArchiveInput(_Slow(b"abc", OSError(errno.EINVAL, "the reason")), None)
    failure = pytest.raises(CacheError, match=r"cannot write .*: the reason")
    with Extractor(into, packed, Limits()) as extractor, failure, extractor.spool():
        pass


def test_a_name_that_the_file_system_does_not_allow_is_named(into: Path) -> None:
    with start(into) as target, pytest.raises(UnsupportedMemberError, match="a name that this file system does not allow"):
        target.write_file("/".join(["n" * 200] * 25), [], 0)
