"""The hostile corpus against every way into the cache: each archive is refused with a message, and changes no file."""

from __future__ import annotations

import io
import os
import random
import stat
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import hostile
from tests.fakes.archives import files_in
from tests.fakes.compression import COMPRESSORS
from tests.fakes.hostile import (
    BLOCK_BYTES,
    FIRST,
    TARS,
    ZIPS,
    ZipMember,
    entry,
    gnu_long,
    gzip_bytes,
    header,
    make_zip,
    pax,
    tar,
    u,
)
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.archives.budget import Limits
from tfimm_resolver.archives.extractor import CHUNK_BYTES
from tfimm_resolver.archives.unpacking import unpack
from tfimm_resolver.errors import ArchiveError

GRAPH = {FIRST: b"a graph"}
PACKERS: dict[str, Callable[[bytes], bytes]] = {"tar": bytes, "tar.gz": gzip_bytes, "zip": bytes}
CASES = [
    pytest.param(form, case, id=f"{form} {what}")
    for form, cases in (("tar", TARS), ("tar.gz", TARS), ("zip", ZIPS))
    for what, case in cases.items()
]


@pytest.fixture(scope="module")
def server() -> Iterator[Origin]:
    """Start one host for all tests; each replaces what it serves."""
    with Origin() as host:
        yield host


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a directory that no archive may reach, next to the target, the cache and the working directory."""
    for folder in ("outside", "target/into", "target/into_evil", "cache", "work"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("outside", "target", "target/into_evil", "cache", "work"):
        (tmp_path / folder / "victim").write_bytes(b"untouched")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "outside"


def snapshot_tree(top: Path) -> dict[str, tuple[object, ...]]:
    """Return the mode of every path below a directory, and time and bytes of files, except in the target of unpacking."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(top.rglob("*")):
        if not path.is_relative_to(top / "target/into"):
            status = path.lstat()
            is_file = stat.S_ISREG(status.st_mode)
            found[str(path)] = (status.st_mode, is_file and (status.st_mtime_ns, status.st_nlink, path.read_bytes()))
    return found


def unpack_directly(data: bytes, form: str, outside: Path, server: Origin) -> Path:
    into = outside.parent / "target/into"
    unpack(io.BytesIO(data), into)
    return into


def resolve_file(data: bytes, form: str, outside: Path, server: Origin) -> Path:
    path = outside.parent / f"m.{form}"
    assert path.read_bytes() == data
    return Path(resolve(path))


def resolve_url(data: bytes, form: str, outside: Path, server: Origin) -> Path:
    """Serve a plain tar as one stream, and anything else as the first and only of its ranges."""
    headers = {"ETag": '"one"', "Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}
    return Path(resolve(server.put(f"/m.{form}", data, headers=headers, status=200 if form == "tar" else 206)))


WAYS = (unpack_directly, resolve_file, resolve_url)
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def get_refusal(way: Callable[..., Path], form: str, data: bytes, outside: Path, server: Origin) -> str:
    """Return the error's text; check that nothing changed outside the target of unpacking."""
    (outside.parent / f"m.{form}").write_bytes(data)
    before = snapshot_tree(outside.parent)
    with pytest.raises(ArchiveError) as caught:
        way(data, form, outside, server)
    assert snapshot_tree(outside.parent) == before
    return caught.value.text


@every_way
@pytest.mark.parametrize(("form", "case"), CASES)
def test_refuses_an_archive_with_a_member_that(
    form: str, case: hostile.Case, way: Callable[..., Path], outside: Path, server: Origin
) -> None:
    text = get_refusal(way, form, PACKERS[form](case.make(outside)), outside, server)
    assert all(word in text for word in case.words), text
    assert text.isprintable() and len(text) < 2000


@every_way
@pytest.mark.parametrize("form", PACKERS)
@pytest.mark.parametrize("what", hostile.ACCEPTED)
def test_unpacks(what: str, form: str, way: Callable[..., Path], outside: Path, server: Origin) -> None:
    names = hostile.ACCEPTED[what]
    if form == "zip":
        data = make_zip(*(ZipMember(name, name.encode()) for name in names))
    else:
        data = PACKERS[form](tar(*(entry(name, name.encode()) for name in names)))
    (outside.parent / f"m.{form}").write_bytes(data)
    expected = {Path(name).as_posix(): name.encode() for name in names}
    assert files_in(way(data, form, outside, server)) == {**GRAPH, **expected}


INNER = tar(entry("../victim", b"harm"))
ACCEPTED: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "a directory that occurs twice": (tar(entry("D/", kind=b"5"), entry("D/x"), entry("D", kind=b"5")), {"D/x": b""}),
    "a file twice, of which the last is used": (tar(entry("x", b"1"), entry("x", b"22")), {"x": b"22"}),
    "a file twice, with two spellings": (
        tar(entry("a/x", b"1"), entry("b"), entry("./a//x", b"22")),
        {"a/x": b"22", "b": b""},
    ),
    "the same file thrice": (tar(*[entry("x", b"1")] * 3), {"x": b"1"}),
    "directories that are the target": (tar(*(entry(name, kind=b"5") for name in ("./", ".", "", "././"))), {}),
    "a tar within a tar": (tar(entry("inner.tar", INNER)), {"inner.tar": INNER}),
    "a tar within a pax size": (tar(pax({"size": str(len(INNER))}), header(b"a", 0), INNER), {"a": INNER}),
    "a zip of zips": (make_zip(ZipMember("inner.zip", make_zip())), {"inner.zip": make_zip()}),
    "a gzip in a gzip in a tar": (tar(entry("a.gz", gzip_bytes(gzip_bytes(b"")))), {"a.gz": gzip_bytes(gzip_bytes(b""))}),
    "a name that a NUL ends": (tar(gnu_long(b"a\0/../../victim"), entry("b", b"x")), {"a": b"x"}),
    "the same name twice": (tar(pax({"path": "a"}), gnu_long(b"a"), entry("b", b"x")), {"a": b"x"}),
    "a link name without a link": (tar(pax({"linkpath": "/etc/passwd"}), entry("a", b"x")), {"a": b"x"}),
    "an old tar": (tar(header(b"d/", kind=b"\0", magic=bytes(8)), header(b"d/a", kind=b"\0", magic=bytes(8))), {"d/a": b""}),
    "a contiguous file": (tar(entry("a", b"x", kind=b"7")), {"a": b"x"}),
    "gzip members by the thousand": (b"".join([gzip_bytes(b"")] * 5000) + gzip_bytes(tar()), {}),
    "a descriptor": (make_zip(hostile.make_member_with_descriptor(), ZipMember("b")), {"a": b"abc", "b": b""}),
    "a descriptor without a signature": (make_zip(hostile.make_member_with_descriptor(signature=b"")), {"a": b"abc"}),
    "a descriptor of 64 bits": (
        make_zip(hostile.make_member_with_descriptor(width=8), ZipMember("b")),
        {"a": b"abc", "b": b""},
    ),
    "a comment": (make_zip(comment=b"made by hand"), {}),
    "64 bits for the end": (hostile.add_zip64_end(make_zip(ZipMember("a", b"x")), 2), {"a": b"x"}),
    "64 bits for sizes": (
        make_zip(
            ZipMember(
                "a",
                b"abc",
                local={"size": 0xFFFFFFFF, "packed": 0xFFFFFFFF, "extra": u(2, 1, 16) + u(8, 3, 5)},
                central={"size": 0xFFFFFFFF, "extra": u(2, 1, 8) + u(8, 3)},
            )
        ),
        {"a": b"abc"},
    ),
}


@every_way
@pytest.mark.parametrize("what", ACCEPTED)
def test_accepts(what: str, way: Callable[..., Path], outside: Path, server: Origin) -> None:
    data, files = ACCEPTED[what]
    form = "zip" if data[:2] == b"PK" else "tar.gz" if data[:2] == b"\x1f\x8b" else "tar"
    (outside.parent / f"m.{form}").write_bytes(data)
    assert files_in(way(data, form, outside, server)) == {**GRAPH, **files}


@every_way
def test_a_gzip_in_a_gzip_is_not_unpacked_further(way: Callable[..., Path], outside: Path, server: Origin) -> None:
    data = tar(entry("x", random.Random(7).randbytes(4000)))
    for _ in range(10):
        data = gzip_bytes(data)
    assert "checksum" in get_refusal(way, "tar.gz", data, outside, server)


@every_way
@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1777, 0o7777, 0], ids=oct)
@pytest.mark.parametrize("form", PACKERS)
def test_unpacks_without_the_mode(form: str, mode: int, way: Callable[..., Path], outside: Path, server: Origin) -> None:
    if form == "zip":
        data = make_zip(ZipMember("f", b"x", mode=stat.S_IFREG | mode), ZipMember("d/", mode=stat.S_IFDIR | mode))
    else:
        data = PACKERS[form](tar(entry("f", b"x", mode=mode), entry("d/", kind=b"5", mode=mode)))
    (outside.parent / f"m.{form}").write_bytes(data)
    root = Path(os.environ["TFHUB_CACHE_DIR"])
    root.mkdir(exist_ok=True)
    root.chmod(0o750)  # who may read the root may read what is in it, whatever the umask
    before = os.umask(0o027)
    try:
        tree = way(data, form, outside, server)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tree / "f").stat().st_mode) == 0o640 and stat.S_IMODE((tree / "d").stat().st_mode) == 0o750


def test_the_archive_of_cve_2025_4517_is_the_real_one() -> None:
    """tarfile of an unfixed Python writes outside, despite the filter that should prevent it."""
    fixed_in = {(3, 10): 18, (3, 11): 13, (3, 12): 11, (3, 13): 4}.get(sys.version_info[:2], 0)
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, which is too long for the trick
        outside = Path(folder) / "outside"
        for path in (outside, into := Path(folder) / "p/i"):
            path.mkdir(parents=True)
        (outside / "victim").write_bytes(b"untouched")
        data = TARS["is that of CVE-2025-4517"].make(outside)
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(into, filter="data")
        except (tarfile.FilterError, OSError):
            assert sys.version_info.micro >= fixed_in
        else:
            assert ((outside / "victim").read_bytes() == b"harm") == (sys.version_info.micro < fixed_in)


LIMIT_BYTES = 1 << 20
ZEROS = bytes(64 << 20)
SMALL = bytes(60_000)
BOMBS: dict[str, Callable[[], bytes]] = {
    "tar": lambda: tar(entry("bomb", ZEROS)),
    "tar.gz": lambda: gzip_bytes(tar(entry("bomb", ZEROS))),
    "tar.gz with its size in a pax header": lambda: gzip_bytes(tar(pax({"size": str(len(ZEROS))}), header(b"bomb"), ZEROS)),
    "tar.gz of many members": lambda: gzip_bytes(tar(*(entry(f"{number}", SMALL) for number in range(1000)))),
    "tar.gz of many gzip members": lambda: b"".join(gzip_bytes(entry(f"{number}", SMALL)) for number in range(1000)),
    "tar.gz of nothing but headers": lambda: gzip_bytes(tar(*(pax({"comment": "x" * 900_000}) for _ in range(50)))),
    "zip": lambda: make_zip(ZipMember("bomb", ZEROS)),
    "zip of many members": lambda: make_zip(*(ZipMember(f"{number}", SMALL) for number in range(1000))),
    "zip that claims to be small": lambda: make_zip(ZipMember("bomb", ZEROS, local={"size": 9}, central={"size": 9})),
}


@pytest.mark.parametrize("what", BOMBS)
def test_stops_a_bomb_at_the_limit_and_not_after_it(what: str, outside: Path) -> None:
    into = outside.parent / "target/into"
    with pytest.raises(ArchiveError, match="CRC|damaged" if "claims" in what else f"over {LIMIT_BYTES} bytes"):
        unpack(io.BytesIO(BOMBS[what]()), into, Limits(size_bytes=LIMIT_BYTES))
    assert sum(map(len, files_in(into).values())) <= LIMIT_BYTES + CHUNK_BYTES


@pytest.mark.parametrize("form", PACKERS)
def test_the_cache_never_holds_more_of_a_bomb_than_the_limit(form: str, outside: Path, server: Origin) -> None:
    """The kernel counts: if the process wrote a larger file, it would get another error."""
    code = """
        import resource, sys
        from tfimm_resolver import errors, resolve
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
        try:
            resolve(sys.argv[1])
        except errors.ArchiveError as error:
            print(error.text, error.fix)
    """
    handle = server.put(f"/m.{form}", BOMBS[form]())
    before = snapshot_tree(outside.parent)
    output = run(code, handle, str(LIMIT_BYTES + CHUNK_BYTES), TFIMM_RESOLVER_MAX_BYTES=str(LIMIT_BYTES))
    assert f"over {LIMIT_BYTES} bytes" in output and "TFIMM_RESOLVER_MAX_BYTES" in output
    assert snapshot_tree(outside.parent) == before


@pytest.mark.parametrize("form", PACKERS)
def test_stops_at_the_limit_of_members(form: str, outside: Path) -> None:
    names = [f"{number}" for number in range(200)]
    data = make_zip(*map(ZipMember, names)) if form == "zip" else PACKERS[form](tar(*map(entry, names)))
    into = outside.parent / "target/into"
    with pytest.raises(ArchiveError, match="over 20 members"):
        unpack(io.BytesIO(data), into, Limits(members=20))
    assert len(files_in(into)) <= 20


def test_a_directory_counts_each_time_that_it_occurs(outside: Path) -> None:
    with pytest.raises(ArchiveError, match="over 20 members"):
        unpack(io.BytesIO(tar(*[entry("d/", kind=b"5")] * 200)), outside.parent / "target/into", Limits(members=20))


def test_directories_that_occur_only_in_paths_count_as_members(outside: Path) -> None:
    into = outside.parent / "target/into"
    with pytest.raises(ArchiveError, match="over 200 members"):
        unpack(io.BytesIO(tar(*(entry(f"{number}/" + "d/" * 60 + "x") for number in range(50)))), into, Limits(members=200))
    assert len(list(into.rglob("*"))) <= 200 + hostile.DEPTH_MAX


COMPLETE = {
    "tar": tar(entry("d/", kind=b"5"), pax({"path": "d/long"}), entry("x", b"y" * 600)),
    **{form: compress(tar()[:700]) + compress(tar()[700:]) for form, compress in COMPRESSORS.items()},
    "zip": make_zip(hostile.make_member_with_descriptor(), ZipMember("b", b"x", 0)),
}


@pytest.mark.parametrize("form", COMPLETE)
def test_refuses_an_archive_that_is_truncated_at_any_boundary(form: str, tmp_path: Path) -> None:
    complete = COMPLETE[form]
    end = len(complete) - BLOCK_BYTES if form == "tar" else len(complete)  # one of its two blocks of zeros is enough
    step = 73 if form == "tar" else 1
    lengths = {*range(0, end, step), *(at + by for at in range(0, end, 512) for by in (-1, 0, 1))}
    unpack(io.BytesIO(complete), tmp_path)
    for length in sorted(lengths & {*range(end)}):
        (into := tmp_path / f"truncated at {length}").mkdir()
        with pytest.raises(ArchiveError):
            unpack(io.BytesIO(complete[:length]), into)
