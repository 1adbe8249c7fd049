"""Links inside an archive become copies of the files that they lead to, in any order."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.fakes.archives import files_in, member, tar_of
from tfimm_resolver.archives.budget import Limits
from tfimm_resolver.archives.links import PendingLinks, find_target
from tfimm_resolver.archives.tar_reader import Link
from tfimm_resolver.archives.unpacking import unpack
from tfimm_resolver.errors import ArchiveError

Member = tuple[tarfile.TarInfo, bytes]


def symbolic(name: str, target: str) -> Member:
    """Make a symbolic link."""
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> Member:
    """Make a hard link."""
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def unpack_members(into: Path, *members: Member, limits: Limits | None = None) -> dict[str, bytes]:
    """Unpack a tar; check that what is listed is what is there."""
    listed = unpack(io.BytesIO(tar_of(*members)), into, limits)
    files = files_in(into)
    assert [one.path for one in listed] == sorted(files) and [one.size_bytes for one in listed] == [
        len(files[one.path]) for one in listed
    ]
    return files


ACCEPTED: dict[str, tuple[list[Member], dict[str, bytes]]] = {
    "a symbolic link": ([member("a", b"x"), symbolic("l", "a")], {"a": b"x", "l": b"x"}),
    "a hard link": ([member("a", b"x"), hard("l", "a")], {"a": b"x", "l": b"x"}),
    "links before their target": (
        [symbolic("l", "./a"), hard("h", "./a"), member("a", b"x")],
        {"a": b"x", "l": b"x", "h": b"x"},
    ),
    "a chain in any order": (
        [symbolic("c", "b"), hard("e", "c"), member("a", b"x"), symbolic("b", "a"), symbolic("d", "e")],
        dict.fromkeys("abcde", b"x"),
    ),
    "links between directories": (
        [symbolic("s/t/l", "../../blobs/1"), member("blobs/1", b"x"), symbolic("s/u", "t/../v"), member("s/v", b"y")],
        {"s/t/l": b"x", "blobs/1": b"x", "s/u": b"y", "s/v": b"y"},
    ),
    "a hard link's target is from the top": ([member("d/a", b"x"), hard("d/l", "d/a")], {"d/a": b"x", "d/l": b"x"}),
    "a symbolic link leads to the last file of a name": (
        [member("a", b"old"), symbolic("l", "a"), member("a", b"new")],
        {"a": b"new", "l": b"new"},
    ),
    "a hard link leads to the file before it": (
        [member("a", b"old"), hard("l", "a"), member("a", b"new")],
        {"a": b"new", "l": b"old"},
    ),
    "a file replaces a link": ([symbolic("l", "missing"), member("l", b"x")], {"l": b"x"}),
    "a link replaces a file": ([member("a", b"x"), member("l", b"old"), symbolic("l", "a")], {"a": b"x", "l": b"x"}),
    "a hard link replaces a file": ([member("a", b"x"), member("l", b"old"), hard("l", "a")], {"a": b"x", "l": b"x"}),
    "a link replaces a link": ([symbolic("l", "missing"), member("a", b"x"), symbolic("l", "a")], {"a": b"x", "l": b"x"}),
    "a file that is named twice": ([member("a", b"x"), hard("a", "./a")], {"a": b"x"}),
    "a link to an empty file": ([member("a"), symbolic("l", "a")], {"a": b"", "l": b""}),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_unpacks(what: str, tmp_path: Path) -> None:
    members, files = ACCEPTED[what]
    assert unpack_members(tmp_path, *members) == files
    assert all(not path.is_symlink() and path.stat().st_nlink == 1 for path in tmp_path.rglob("*") if path.is_file())


def test_unpacks_what_gnu_tar_packs(tmp_path: Path) -> None:
    source, into = tmp_path / "source", tmp_path / "into"
    for folder in (source / "d", into):
        folder.mkdir(parents=True)
    (source / "d/a").write_bytes(b"x" * 5000)
    (source / "d/b").hardlink_to(source / "d/a")
    (source / "c").symlink_to("d/b")
    archive = subprocess.run(["tar", "-cf", "-", "-C", str(source), ".", "./d/a"], check=True, capture_output=True).stdout
    unpack(io.BytesIO(archive), into)
    assert files_in(into) == dict.fromkeys(("d/a", "d/b", "c"), b"x" * 5000)


@pytest.mark.parametrize("link", [symbolic("l", "../x"), hard("l", "missing"), symbolic("l", "d"), symbolic("l", "l")])
def test_the_error_of_a_refused_link_says_how_to_pack(link: Member, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        unpack_members(tmp_path, member("d/a", b"x"), link)
    assert "tar --dereference --hard-dereference" in caught.value.fix and "'l' is a " in caught.value.text


def test_copies_count_towards_the_limits(tmp_path: Path) -> None:
    links = [symbolic(f"{number}", "a") for number in range(100)]
    (tmp_path / "other").mkdir()
    with pytest.raises(ArchiveError, match="over 50000 bytes"):
        unpack_members(tmp_path, member("a", b"x" * 1000), *links, limits=Limits(size_bytes=50_000))
    with pytest.raises(ArchiveError, match="over 50 members"):
        unpack_members(tmp_path / "other", member("a", b"x"), *links, limits=Limits(members=50))


def test_copies_count_towards_the_ratio(tmp_path: Path) -> None:
    packed = tar_of(member("a", bytes(1 << 20)), *(symbolic(f"{number}", "a") for number in range(300)))
    with pytest.raises(ArchiveError, match="over 3 times its size"):
        unpack(io.BytesIO(packed), tmp_path, Limits(ratio=3))


def test_a_link_of_a_name_that_stands_for_a_directory_collides(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="collides"):
        unpack_members(tmp_path, member("a", b"x"), symbolic("l", "a"), member("l/b", b"y"))


@pytest.mark.parametrize(
    ("parts", "target", "expected"),
    [(("l",), "a", ("a",)), (("d", "l"), "a", ("d", "a")), (("d", "l"), "../a", ("a",)), (("d", "l"), ".//a", ("d", "a"))],
)
def test_a_symbolic_target_is_relative_to_its_directory(parts: tuple[str, ...], target: str, expected: object) -> None:
    assert find_target("l", parts, Link(target, is_hard=False)) == expected


@pytest.mark.timeout(20)
def test_a_chain_of_a_hundred_thousand_links_takes_no_time() -> None:
    links, count = PendingLinks(), 100_000
    for number in range(count):
        link = Link(f"{number + 1}", is_hard=False)
        links.add(f"{number}", (f"{number}",), link, (f"{number + 1}",))
    start_s = time.process_time()
    assert {file for _, _, file in links.resolve({(f"{count}",)}, set())} == {(f"{count}",)}
    with pytest.raises(ArchiveError, match="does not contain"):
        list(links.resolve(set(), set()))
    assert time.process_time() - start_s < 5
