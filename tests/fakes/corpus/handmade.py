"""Archives by hand: as programs of macOS and Windows write them, and shapes that this machine has no program for."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from tests.fakes.archives import gzip_tar, member, tar_of
from tests.fakes.compression import make_demanding_stream
from tests.fakes.corpus.sample import SHORT, Files, Group, Sample, wrap
from tests.fakes.zips import make_member, make_zip

_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
"""How an AppleDouble file begins."""
_EMPTY_BLOCK = bytes(512)
_ZEROS_BYTES = 66 << 20


def _pack(files: Files, form: int = tarfile.GNU_FORMAT, *more: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Pack files and the directories that they are in, without which tensorflow_hub cannot write them."""
    return tar_of(*_list_directories(files), *(member(name, data) for name, data in files.items()), *more, format=form)


def _list_directories(files: Files) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    found = dict.fromkeys(name[:at] for name in files for at, letter in enumerate(name) if letter == "/" and at)
    yield from (member(name, type=tarfile.DIRTYPE, mode=0o755) for name in found)


def _strip_end(tar: bytes) -> bytes:
    while tar.endswith(_EMPTY_BLOCK):
        tar = tar[:-512]
    return tar


def _add_doubles(files: Files) -> Files:
    """Add an AppleDouble file beside each file, before it, as tar of macOS does."""
    doubled: Files = {}
    for name, data in files.items():
        folder, slash, last = name.rpartition("/")
        doubled |= {f"{folder}{slash}._{last}": _DOUBLE, name: data}
    return doubled


def make_macos(work: Path) -> Iterator[Sample]:
    """Make what tar and the Finder of macOS make."""
    plain = _add_doubles({**SHORT, ".DS_Store": b"\0\0\0\1Bud1"})
    yield Sample("macOS: tar", gzip_tar(_pack(plain, tarfile.PAX_FORMAT)), plain, ".tar.gz")
    folder = {"._model": _DOUBLE, **wrap(_add_doubles(SHORT))}
    yield Sample("macOS: tar of a folder", gzip_tar(_pack(folder)), folder, ".tar.gz", "folder")
    members = [make_member(f"model/{name}", data) for name, data in SHORT.items()]
    litter = [make_member(f"__MACOSX/model/._{name}", _DOUBLE) for name in ("saved_model.pb", "assets")]
    body = make_zip(*members, *litter, first=False)
    files = {**wrap(SHORT), **{f"__MACOSX/model/._{name}": _DOUBLE for name in ("saved_model.pb", "assets")}}
    yield Sample("macOS: zip of the Finder", body, files, ".zip", "folder")
    icon = {**SHORT, "Icon\r": b""}
    yield Sample("macOS: a folder with an icon", gzip_tar(_pack(icon)), icon, ".tar.gz", "name-control")


def make_windows(work: Path) -> Iterator[Sample]:
    """Make what programs of Windows make."""
    ascii_names = {name: data for name, data in SHORT.items() if name.isascii()}
    members = [make_member(name.replace("/", "\\"), data, flags=0) for name, data in ascii_names.items()]
    yield Sample("Windows: zip with backslashes", make_zip(*members, first=False), ascii_names, ".zip")
    mixed = [*members, make_member("assets/slash.txt", b"")]
    files = {**ascii_names, "assets/slash.txt": b""}
    yield Sample("Windows: zip with both", make_zip(*mixed, first=False), files, ".zip", "name-control")
    backslash = {**SHORT, "assets\\vocab.txt": b"a name with a backslash"}
    yield Sample("Windows: tar with a backslash", _pack(backslash), backslash, ".tar", "name-control")
    files = {**SHORT, "desktop.ini": b"[.ShellClassInfo]\r\n", "Thumbs.db": b"\xd0\xcf\x11\xe0"}
    yield Sample("Windows: with litter", gzip_tar(_pack(files, tarfile.PAX_FORMAT)), files, ".tar.gz")
    files = {**ascii_names, "assets/╗╧╧╝.txt": b"x"}
    members = [make_member(name, data) for name, data in ascii_names.items()]
    guessed = make_member("assets/╗╧╧╝.txt".encode("cp437"), b"x", flags=0)
    yield Sample("Windows: zip with names of a code page", make_zip(*members, guessed, first=False), files, ".zip")
    twice = [*members, make_member("assets/vocab.txt", b"later")]
    files = {**ascii_names, "assets/vocab.txt": b"later"}
    yield Sample("Windows: zip with a name twice", make_zip(*twice, first=False), files, ".zip", "zip-twice")


def make_tars(work: Path) -> Iterator[Sample]:
    """Make tars with headers that rare, old or broken programs write."""
    tar = _pack(SHORT)
    bare = _strip_end(tar)
    yield Sample("by hand: one block of zeros", bare + _EMPTY_BLOCK, SHORT)
    yield Sample("by hand: two blocks of zeros", bare + 2 * _EMPTY_BLOCK, SHORT)
    yield Sample("by hand: many blocks of zeros", bare + 300 * _EMPTY_BLOCK, SHORT)
    yield Sample("by hand: no end", bare, SHORT, ".tar", "no-end")
    yield Sample("by hand: no end, in gzip", gzip_tar(bare), SHORT, ".tar.gz", "no-end")
    yield Sample("by hand: something after the end", bare + 2 * _EMPTY_BLOCK + b"more" * 128, SHORT, ".tar", "damaged")
    yield Sample("by hand: damaged after the last member", bare + b"more" * 128, SHORT, ".tar", "damaged")
    signed = bytearray(tar)
    yield Sample("by hand: checksums of signed bytes", bytes(_sign_checksums(signed)), SHORT)
    yield Sample("by hand: old kinds of files", _pack_kinds(SHORT), SHORT)
    slash = _pack(SHORT, tarfile.GNU_FORMAT, member("assets/file/", b"x", type=tarfile.REGTYPE))
    yield Sample("by hand: a file that ends in a slash", slash, {**SHORT, "assets/file": b"x"}, ".tar", "ambiguous")
    for kind, title in ((tarfile.FIFOTYPE, "pipe"), (tarfile.CHRTYPE, "device"), (b"Z", "member of an unknown kind")):
        body = _pack(SHORT, tarfile.GNU_FORMAT, member("assets/other", type=kind))
        yield Sample(f"by hand: a {title}", body, {**SHORT, "assets/other": b"?"}, ".tar", "device")
    sized = _pack({}, tarfile.PAX_FORMAT, member("saved_model.pb", b"a graph", pax_headers={"size": "7"}))
    yield Sample("by hand: a size in a pax header", sized, {"saved_model.pb": b"a graph"})
    yield from _make_names()
    yield from _make_global_headers()


def _sign_checksums(tar: bytearray) -> bytearray:
    """Write checksums as programs do that take bytes for signed numbers; they differ for names beyond ASCII."""
    at = 0
    while any(tar[at : at + 512]):
        header = tar[at : at + 512]
        total = sum(header[:148] + b" " * 8 + header[156:])
        total -= 256 * sum(byte > 127 for byte in header[:148] + header[156:])
        tar[at + 148 : at + 156] = f"{total:06o}\0 ".encode()
        at += 512 + -(-int(header[124:135] or b"0", 8) // 512) * 512
    return tar


def _pack_kinds(files: Files) -> bytes:
    kinds = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
    members = (member(name, data, type=kinds[at % 3]) for at, (name, data) in enumerate(files.items()))
    return tar_of(*_list_directories(files), *members, format=tarfile.GNU_FORMAT)


def _make_names() -> Iterator[Sample]:
    """Make names that are refused, and names that are close to those and are not."""
    fine = {f"./{name}": data for name, data in SHORT.items()}
    files = {**SHORT, "assets/می\u200cخواهم.txt": b"joiners that Persian needs", "assets/👨\u200d👩.txt": b"emoji"}
    yield Sample("names: with ./ and //", _pack({name.replace("/", "//"): data for name, data in fine.items()}), SHORT)
    yield Sample("names: joiners", _pack(files), files)
    files = {**SHORT, "assets/a b.txt": b"a space", "assets/a\u00a0b.txt": b"another space"}
    yield Sample("names: two spaces", _pack(files), files, ".tar", "name-unseen")
    files = {**SHORT, "assets/caf\udce9.txt": b"in ISO 8859-1"}
    yield Sample("names: not UTF-8", _pack(files), files, ".tar", "name-bytes")
    for title, name, row in (
        ("a zero width space", "assets/vo\u200bcab.txt", "name-unseen"),
        ("a mark for right to left", "assets/vocab\u202etxt.exe", "name-unseen"),
        ("a line feed", "assets/a\nb.txt", "name-control"),
        ("an escape sequence", "assets/\x1b[31mred.txt", "name-control"),
        ("100 folders", "d/" * 100 + "vocab.txt", "limits"),
    ):
        yield Sample(f"names: {title}", _pack({**SHORT, name: b"x"}), {**SHORT, name: b"x"}, ".tar", row)
    for title, name, where in (
        ("absolute", "/assets/vocab2.txt", "assets/vocab2.txt"),
        ("with ..", "assets/../vocab2.txt", "vocab2.txt"),
    ):
        yield Sample(f"names: {title}", _pack({**SHORT, name: b"x"}), {**SHORT, where: b"x"}, ".tar", "name-outside")


def _make_global_headers() -> Iterator[Sample]:
    first = next(iter(SHORT.items()))
    for keyword, value in (("path", first[0]), ("size", str(len(first[1])))):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, pax_headers={keyword: value}) as archive:
            info, data = member(first[0], first[1])
            archive.addfile(info, io.BytesIO(data))
        files = dict([first])
        yield Sample(f"by hand: a global {keyword}", out.getvalue(), files, ".tar", "ambiguous")


def make_streams(work: Path) -> Iterator[Sample]:
    """Make compressed streams that rare programs write, that are damaged, or that need much to be read."""
    tar = _pack(SHORT)
    packed = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = packed.compress(tar) + packed.flush()
    end = zlib.crc32(tar).to_bytes(4, "little") + len(tar).to_bytes(4, "little")
    head = b"\x1f\x8b\x08\x1e\0\0\0\0\0\3" + b"\x04\0abcd" + b"name\0" + b"comment\0"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    yield Sample("gzip: all fields", head + deflated + end, SHORT, ".tar.gz")
    body = gzip_tar(tar)
    yield Sample("gzip: wrong checksum", body[:-8] + b"\0\0\0\0" + body[-4:], SHORT, ".tar.gz", "damaged")
    yield Sample("gzip: cut in its checksum", body[:-4], SHORT, ".tar.gz", "damaged")
    yield Sample("gzip: something after the end", body + b"more" * 100, SHORT, ".tar.gz", "damaged")
    twice = gzip.compress(body, mtime=0)
    for name in ("gzip", "x-gzip"):
        encoding = {"Content-Encoding": name}
        yield Sample(f"{name}: named by the header only", body, SHORT, ".tar.gz", headers=encoding)
        yield Sample(f"{name}: encoded twice", twice, SHORT, ".tar.gz", headers=encoding)
    for form, log_bytes, suffix in (("xz", 29, ".tar.xz"), ("lzma", 30, ".tar.lzma"), ("zstd", 28, ".tar.zst")):
        body = make_demanding_stream(form, log_bytes, tar)
        yield Sample(f"{form}: {1 << log_bytes - 20} MiB of memory", body, SHORT, suffix, "memory")
    zeros = {**SHORT, "variables/zeros": bytes(_ZEROS_BYTES)}
    yield Sample("xz: much of little", lzma.compress(_pack(zeros), preset=0), zeros, ".tar.xz", "limits")


GROUPS = {
    "macOS": Group((), make_macos),
    "Windows": Group((), make_windows),
    "tars by hand": Group((), make_tars),
    "streams by hand": Group((), make_streams),
}
