"""A corpus of hostile archives, built field by field: tables of archives and of the errors that they must cause."""

from __future__ import annotations

import functools
import gzip
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BLOCK_BYTES = 512
FIRST = "saved_model.pb"
DEPTH_MAX = 100


@dataclass(frozen=True)
class Case:
    """One archive, and words of its error; ``make`` gets a directory outside the target, for the archive to aim at."""

    make: Callable[[Path], bytes]
    words: tuple[str, ...]


def header(name: bytes, size: int | bytes = 0, kind: bytes = b"0", **fields: Any) -> bytes:
    """Build a tar header with a correct checksum, whatever its other fields contain."""
    mode, link, prefix = fields.get("mode", 0o644), fields.get("link", b""), fields.get("prefix", b"")
    digits = size if isinstance(size, bytes) else b"%011o\0" % size
    block = name[:100].ljust(100, b"\0") + b"%07o\0" % mode + b"0000000\0" * 2 + digits + b"00000000000\0" + b" " * 8 + kind
    block += link[:100].ljust(100, b"\0") + fields.get("magic", b"ustar\x0000") + bytes(80) + prefix.ljust(155, b"\0")
    return set_checksum(block.ljust(BLOCK_BYTES, b"\0"))


def set_checksum(block: bytes) -> bytes:
    """Return a header with its checksum recomputed."""
    return block[:148] + b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:])) + block[156:]


def pad_to_block(data: bytes) -> bytes:
    """Pad with zeros to a multiple of the block size."""
    return data + bytes(-len(data) % BLOCK_BYTES)


def entry(name: str | bytes, data: bytes = b"", kind: bytes = b"0", **fields: Any) -> bytes:
    """Build a member of a tar; a name that a plain header has no room for goes into a pax header before it."""
    raw = name if isinstance(name, bytes) else name.encode()
    before = pax({"path": name}) if isinstance(name, str) and (len(raw) > 100 or "\0" in name) else b""
    return before + header(raw.replace(b"\0", b""), len(data), kind, **fields) + pad_to_block(data)


def pax(records: dict[str, str] | bytes, kind: bytes = b"x") -> bytes:
    """Build a pax extension header from records or from arbitrary bytes."""
    body = records if isinstance(records, bytes) else b"".join(pax_record(*each) for each in records.items())
    return header(b"PaxHeaders/x", len(body), kind) + pad_to_block(body)


def pax_record(keyword: str, value: str) -> bytes:
    """Build a pax record, whose length includes its own digits."""
    rest = f" {keyword}={value}\n".encode()
    length = len(rest) + 1
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def gnu_long(name: bytes, kind: bytes = b"L") -> bytes:
    """Build an extension header of GNU tar, for a long name or link name."""
    return header(b"././@LongLink", len(name) + 1, kind) + pad_to_block(name + b"\0")


def tar(*entries: bytes) -> bytes:
    """Build a tar whose first member is harmless."""
    return entry(FIRST, b"a graph") + b"".join(entries) + bytes(2 * BLOCK_BYTES)


@dataclass(frozen=True)
class ZipMember:
    """A member of a zip; ``local`` and ``central`` override fields of its two headers."""

    name: str | bytes
    data: bytes = b""
    method: int = 8
    flags: int = 0x800
    mode: int = 0
    packed: bytes | None = None
    descriptor: bytes = b""
    local: dict[str, int | bytes] = field(default_factory=dict)
    central: dict[str, int | bytes] = field(default_factory=dict)

    def compress(self) -> bytes:
        """Return the compressed data, which follows the local header."""
        if self.packed is not None:
            return self.packed
        engine = zlib.compressobj(9, zlib.DEFLATED, -15)
        return engine.compress(self.data) + engine.flush() if self.method == 8 else self.data

    def make_fields(self, overrides: dict[str, int | bytes]) -> dict[str, Any]:
        """Return the fields that both headers have, some of them overridden."""
        name = self.name if isinstance(self.name, bytes) else self.name.encode()
        sizes = {"crc": zlib.crc32(self.data), "packed": len(self.compress()), "size": len(self.data)}
        return {"flags": self.flags, "method": self.method, **sizes, "name": name, "extra": b"", **overrides}


def u(width: int, *numbers: int) -> bytes:
    """Pack numbers as little-endian integers of ``width`` bytes each."""
    return b"".join(number.to_bytes(width, "little") for number in numbers)


def _pack_common_fields(fields: dict[str, Any]) -> bytes:
    start = u(2, 20, fields["flags"], fields["method"], 0, 33)
    return start + u(4, fields["crc"], fields["packed"], fields["size"]) + u(2, len(fields["name"]), len(fields["extra"]))


def make_zip(*entries: ZipMember, first: bool = True, before: bytes = b"", between: bytes = b"", **end: Any) -> bytes:
    """Build a zip whose first member is harmless.

    Args:
        first: include that member.
        before: bytes before everything else.
        between: bytes between the members and the central directory.
        end: overrides fields of the end of the central directory.
    """
    out, directory, starts = before, b"", end.get("starts", {})
    members = (ZipMember(FIRST, b"a graph"), *entries) if first else entries
    for number, one in enumerate(members):
        start, fields = len(out), one.make_fields(one.local)
        out += b"PK\x03\x04" + _pack_common_fields(fields) + fields["name"] + fields["extra"] + one.compress() + one.descriptor
        fields = one.make_fields(one.central)
        location = u(2, 0, 0, 0) + u(4, one.mode << 16, starts.get(number, start))
        directory += (
            b"PK\x01\x02" + u(2, 20 | 3 << 8) + _pack_common_fields(fields) + location + fields["name"] + fields["extra"]
        )
    out += between
    count, size = end.get("count", len(members)), end.get("size", len(directory))
    start = end.get("start", len(out))
    comment = end.get("comment", b"")
    tail = b"PK\x05\x06" + u(2, 0, 0, count, count) + u(4, size, start) + u(2, len(comment)) + comment
    return out + directory + end.get("before_end", b"") + tail


def add_zip64_end(plain: bytes, count: int) -> bytes:
    """Return a zip with its counts and offsets in a zip64 record before its end (APPNOTE.TXT 4.3.14 and 4.3.15)."""
    body, size, start = plain[:-22], int.from_bytes(plain[-10:-6], "little"), int.from_bytes(plain[-6:-2], "little")
    end = b"PK\x06\x06" + u(8, 44) + u(2, 45, 45) + u(4, 0, 0) + u(8, count, count, size, start)
    locator = b"PK\x06\x07" + u(4, 0) + u(8, len(body)) + u(4, 1)
    return body + end + locator + b"PK\x05\x06" + u(2, 0, 0, 0xFFFF, 0xFFFF) + u(4, 0xFFFFFFFF, 0xFFFFFFFF) + u(2, 0)


CLIMBS, INVISIBLE = "does not stay inside", "invisible"
COLLIDES, DIRECTORY_NAME = "collides with another member", "the name of a directory"
LINKS = "only regular files, directories and links are unpacked"

NAMES: dict[str, tuple[str, str]] = {
    "climbs": ("../victim", CLIMBS),
    "climbs to a sibling": ("../into_evil/x", CLIMBS),
    "climbs from a directory": ("a/../../victim", CLIMBS),
    "climbs and comes back": ("a/../b", CLIMBS),
    "is the parent": ("..", CLIMBS),
    "is absolute": ("{outside}/victim", CLIMBS),
    "is absolute with two slashes": ("/{outside}/victim", CLIMBS),
    "is on a drive": ("C:\\x", CLIMBS),
    "is on a drive with a slash": ("z:/x", CLIMBS),
    "climbs with backslashes": ("..\\victim", CLIMBS),
    "has a backslash": ("a\\b", CLIMBS),
    "is on another host": ("\\\\host\\share\\x", CLIMBS),
    **{f"has the control character {ord(one):#x}": (f"a{one}b", CLIMBS) for one in "\0\t\n\r\x1b\x7f"},
    **{f"has the mark {ord(one):#x}": (f"a{one}b", INVISIBLE) for one in "\x85\x9b\u061c\u200e\u200f\u2028\u2029\u202a\u202e"},
    **{f"has the mark {mark:#x}": (f"d/a{chr(mark)}gpj.exe", INVISIBLE) for mark in range(0x2066, 0x206A)},
    "has 300 bytes": ("n" * 300, "over 255 bytes"),
    "has 300 bytes in 100 characters": ("語" * 100, "over 255 bytes"),
    "is nested too deeply": ("a/" * DEPTH_MAX + "x", "directories deep"),
    "is empty": ("", DIRECTORY_NAME),
    "is a dot": (".", DIRECTORY_NAME),
}

SAME: dict[str, tuple[str, str, str]] = {
    "occurs twice": ("x", "x", COLLIDES),
    "occurs twice, with two spellings": ("x", "./x", COLLIDES),
}
"""Refused in a zip; in a tar the last one is used."""

PAIRS: dict[str, tuple[str, str, str]] = {
    "is a file where a directory is": ("x/y", "x", COLLIDES),
    "is a directory where a file is": ("x", "x/y", COLLIDES),
}

SAME_BUT_FOR_CASE: dict[str, tuple[str, str]] = {
    "differs in case": ("A.txt", "a.txt"),
    "differs in case, folded into more characters": ("Straße", "STRASSE"),
    "differs in a sigma": ("ΟΔΟΣ", "οδος"),
    "differs in a ligature": ("ﬁle", "FILE"),
    "is composed where the other is not": ("caf\u00e9", "cafe\u0301"),
    "is not composed, and in capitals": ("caf\u00e9", "CAFE\u0301"),
    "is in a directory that differs in case": ("Assets/x", "assets/y"),
    "is in a directory that is not composed": ("\u00e9/x", "e\u0301/y"),
    "is a directory where a file is, but for case": ("x", "X/y"),
    "is a file where a directory is, but for case": ("x/y", "X"),
}
"""Two files on this system, and one on others."""

ONLY_WINDOWS_REFUSES = (
    *(f"d/ab{one}" for one in '<>"|?*'),
    *("file:stream", "10:30.csv", "CON", "nul.txt", "COM1", "d/lpt9.tar.gz", "com¹", "aux .h", "CONIN$", "aux.py", "Prn/x"),
    *("a.", "a ", "a...", "b./x"),
    *("a:b", "C:x", "d/x:0.npy", "e/Z:/x", "0:"),
)

ACCEPTED: dict[str, tuple[str, ...]] = {
    "names that only Windows refuses": ONLY_WINDOWS_REFUSES,
    **{f"a name that {what}": pair for what, pair in SAME_BUT_FOR_CASE.items()},
    "ordinary names": ("a b", "d/é", "d/e/模型.txt", "🙂", ".hidden", "a..b", "...a", "%2e%2e/x", "~", "$HOME", "-rf", "a'b"),
    "names that are almost devices": ("COM10", "console", "auxiliary.txt", "nul-1", "d/lpt", "xcon", "com"),
    "one spelling of a directory": ("Assets/x", "Assets/y", "Assets/d/x", "./Assets//z"),
    "the same names in two directories": ("d/A", "e/a"),
    "the deepest directory": ("d/" * (DEPTH_MAX - 1) + "x",),
    "the longest name": ("n" * 255,),
}


def _expand_name(name: str, outside: Path) -> str:
    return name.replace("{outside}", str(outside))


def name_cases(
    member: Callable[[str, bytes], Any], archive: Callable[..., bytes], pairs: dict[str, tuple[str, str, str]] = PAIRS
) -> Iterator[tuple[str, Case]]:
    """Yield a case for each harmful name and pair of names, in the format that ``member`` and ``archive`` write."""
    for what, (name, words) in NAMES.items():
        start = repr(name.partition("{outside}")[2] or name)[1:8].rstrip("'")
        yield what, Case(lambda outside, name=name: archive(member(_expand_name(name, outside), b"harm")), (words, start))
    for what, (one, other, words) in pairs.items():
        pair = functools.partial(lambda one, other, _: archive(member(one, b"1"), member(other, b"2")), one, other)
        yield what, Case(pair, (words, repr(other)))


def _tar_case(words: str, *entries: bytes) -> Case:
    return Case(lambda _: tar(*entries), (words,))


def _cve_2025_4517(outside: Path) -> bytes:
    """Build a chain of links longer than PATH_MAX, at which realpath() stops and the data filter of tarfile sees no escape.

    It takes fifteen links, each to a directory of 247 characters, and one whose name makes their path too long; a last
    link goes up through it, and a hard link through that one points to a file outside.
    """
    deep, at, parts = "d" * 247, "", []
    for step in "abcdefghijklmnop":
        parts += [entry(f"{at}{deep}", kind=b"5"), _link(f"{at}{step}", deep)]
        at += f"{deep}/"
    chain = "/".join("abcdefghijklmnop") + "/" + "l" * 254
    parts.append(_link(chain, "../" * 16))
    parts.append(_link("escape", f"{chain}/../../{outside.name}"))
    parts.append(pax({"linkpath": "escape/victim"}) + header(b"flag", kind=b"1", link=b"escape/victim"))
    return tar(*parts, entry("flag", b"harm"))


def _link(name: str, to: str, kind: bytes = b"2") -> bytes:
    """Build a link, with a pax header that has both names in full."""
    return pax({"path": name, "linkpath": to}) + header(name.encode()[:100], kind=kind, link=to.encode()[:100])


def _through(outside: Path) -> bytes:
    return tar(_link("out", str(outside)), entry("out/victim", b"harm"))


def old_sparse(size: int, pairs: list[tuple[int, int]], data: bytes, more: bytes = b"") -> bytes:
    """Build a sparse member in the old format of GNU tar, with up to four regions, and blocks that extend the header."""
    block = bytearray(header(b"p", len(data), b"S", magic=b"ustar  \0"))
    fields = b"".join(b"%011o\0%011o\0" % pair for pair in pairs)
    block[386 : 386 + len(fields)] = fields
    block[482], block[483:495] = bool(more), b"%011o\0" % size
    return set_checksum(bytes(block)) + more + pad_to_block(data)


def pax_sparse(records: dict[str, str], data: bytes) -> bytes:
    """Build a sparse member with its map in a pax header, or at the beginning of ``data``."""
    return pax({f"GNU.sparse.{keyword}": value for keyword, value in records.items()}) + entry("p", data)


OUTSIDE = "which is outside of the archive"
LINK_TARGETS: dict[str, tuple[str, ...]] = {
    "is absolute": ("{outside}/victim", OUTSIDE),
    "climbs": ("../../victim", OUTSIDE),
    "climbs and comes back": ("../../into/d/e/x", OUTSIDE),
    "climbs within": ("e/../../../victim", OUTSIDE),
    "leads to a directory's name": ("d/e/", "which is a directory"),
    "leads to its own directory": (".", "which is a directory"),
    "leads up": ("..", "which is a directory"),
    "has no target": ("", "which is not a path"),
    "has a backslash": ("..\\victim", "which is not a path"),
    "has a control character": ("a\nb", "which is not a path"),
    "has a long target": ("a/" * 3000 + "b", "which is not a path"),
    "is nested too deeply": ("a/" * DEPTH_MAX + "b", "which is not a path"),
}
"""Targets of links from ``d/l``, beside a directory ``d/e``."""

OLD_SPARSE: dict[str, tuple[int, list[tuple[int, int]], bytes]] = {
    "has regions that overlap": (2000, [(0, 512), (100, 512)], bytes(1024)),
    "has regions in a wrong order": (2000, [(1024, 512), (0, 512)], bytes(1024)),
    "has a region beyond its end": (1000, [(512, 512)], bytes(512)),
    "contains more than its regions": (2000, [(0, 512)], bytes(1024)),
    "contains less than its regions": (2000, [(0, 1024)], bytes(512)),
    "is smaller than its region": (10, [(0, 512)], bytes(512)),
}
_VERSION_1 = {"major": "1", "minor": "0", "realsize": "2000"}
PAX_SPARSE: dict[str, tuple[dict[str, str], bytes]] = {
    "has half a pair": ({"size": "2000", "numblocks": "1", "map": "0,512,3"}, bytes(512)),
    "has another count": ({"size": "2000", "numblocks": "2", "map": "0,512"}, bytes(512)),
    "has a negative offset": ({"size": "2000", "numblocks": "1", "map": "-1,512"}, bytes(512)),
    "has no size": ({"numblocks": "1", "map": "0,512"}, bytes(512)),
    "has a name that climbs": ({"size": "512", "numblocks": "1", "map": "0,512", "name": "../victim"}, bytes(512)),
    "has a map without an end": (_VERSION_1, b"2\n0\n512\n" + b"1" * 600),
    "has a map that is not of numbers": (_VERSION_1, b"x\n".ljust(512)),
    "has a map longer than its body": (_VERSION_1, b"9\n0\n1\n"),
    "has a map with more regions than allowed": (_VERSION_1, b"999999999\n".ljust(512)),
    "has an endless number": (_VERSION_1, b"1" * 2000),
}
NEGATIVE = b"\xff" * 11 + b"\x00"
MALFORMED = (b"99 path=x\n", b"x path=y\n", b"8 path=x", b"0 path=x\n", b"-1 path=x\n", b"\xff\xff", b"7 path\n", b"6 =\n")
MANY_DIGITS = b"9" * 5000 + b" path=x\n"

TARS: dict[str, Case] = {
    **dict(name_cases(entry, tar)),
    **{
        f"is a {kind} that {what}": Case(
            lambda outside, form=form, target=target: tar(
                _link("d/l", _expand_name(target, outside), form), entry("d/l", b"harm"), entry("d/e/x")
            ),
            (f"'d/l' is a {kind} to", *words),
        )
        for kind, form in (("symbolic link", b"2"), ("hard link", b"1"))
        for what, (target, *words) in LINK_TARGETS.items()
    },
    "is a link out of it, written through": Case(_through, (OUTSIDE, "'out'")),
    "is a link to a directory, written through": _tar_case(
        "'d' is a symbolic link to 'e'", entry("e/x"), _link("d", "e"), entry("d/y")
    ),
    "is below a link": _tar_case(COLLIDES, _link("d", FIRST), entry("d/y")),
    "is a directory where a link is": _tar_case(COLLIDES, _link("d", FIRST), entry("d/", kind=b"5")),
    "is a link where a directory is": _tar_case(COLLIDES, entry("d/x"), _link("d", FIRST)),
    "is a symbolic link to the link that points to it": _tar_case("leads back to itself", _link("a", "b"), _link("b", "a")),
    "is a hard link in a circle of links": _tar_case(
        "leads back to itself", _link("a", "b", b"1"), _link("b", "c"), _link("c", "a", b"1")
    ),
    "is a symbolic link to itself": _tar_case("leads back to itself", _link("a", "a")),
    "is a hard link to itself without a file": _tar_case("leads back to itself", _link("a", "a", b"1")),
    "is a symbolic link to nothing": _tar_case("'l' is a symbolic link to 'x', which the archive does not", _link("l", "x")),
    "is a hard link to nothing": _tar_case("'l' is a hard link to 'x', which the archive does not", _link("l", "x", b"1")),
    "is a symbolic link to a directory": _tar_case("which is a directory", _link("l", "d"), entry("d/x")),
    "is a hard link to a directory": _tar_case("which is a directory", entry("d/x"), _link("l", "d", b"1")),
    "is a link to a link that leads nowhere": _tar_case("'a' is a symbolic link", _link("a", "b"), _link("b", "c")),
    "is a symbolic link through a link": _tar_case("does not contain", _link("a", "b/x"), _link("b", "d"), entry("d/x")),
    "has a link's name that is not UTF-8": Case(
        lambda _: tar(header(b"l", kind=b"2", link=b"caf\xe9")), ("does not contain",)
    ),
    "is a FIFO": _tar_case("'p' is a FIFO", entry("p", kind=b"6")),
    "is a character device": _tar_case("'p' is a character device", entry("p", kind=b"3")),
    "is a block device": _tar_case("'p' is a block device", entry("p", kind=b"4")),
    "is sparse and has no map": _tar_case("'p' is a sparse file", entry("p", b"x", kind=b"S")),
    "is sparse by its pax header and has no map": _tar_case("length", pax({"GNU.sparse.major": "1"}), entry("p", b"x")),
    **{f"is sparse and {what}": _tar_case("sparse file", old_sparse(*fields)) for what, fields in OLD_SPARSE.items()},
    **{
        f"is sparse in pax and {what}": _tar_case(
            "", pax({f"GNU.sparse.{one}": value for one, value in records.items()}), entry("p", data)
        )
        for what, (records, data) in PAX_SPARSE.items()
    },
    "is a sparse file of a later version": _tar_case(
        "unknown version", pax({"GNU.sparse.major": "2", "GNU.sparse.realsize": "1"}), entry("p", b"x")
    ),
    "has a sparse map in a wrong order": _tar_case(
        "map of a sparse file",
        pax(pax_record("GNU.sparse.numbytes", "1") + pax_record("GNU.sparse.offset", "0")),
        entry("p", b"x"),
    ),
    "is the continuation of a volume": _tar_case("another volume", entry("p", b"x", kind=b"M")),
    **{
        f"follows a global {keyword}": _tar_case("a global pax header sets", pax({keyword: "1"}, b"g"), entry("p", b"x"))
        for keyword in ("path", "linkpath", "size", "GNU.sparse.major")
    },
    "is of an unknown type": _tar_case("unknown type b'Z'", entry("p", b"x", kind=b"Z")),
    "is that of CVE-2025-4517": Case(_cve_2025_4517, ("symbolic link", "which is a directory")),
    "is that of CVE-2025-8194": _tar_case("'a' has a negative size", header(b"a", NEGATIVE), entry("b")),
    "has a negative size by its pax header": _tar_case("'-512'", pax({"size": "-512"}), entry("a", b"x")),
    "has a size of 5000 digits by its pax header": _tar_case(
        "not a valid length", pax({"size": "9" * 5000}), entry("a", b"x")
    ),
    "has an invalid size": _tar_case("octal", header(b"a", b"12345678901\0".replace(b"1", b"9"))),
    "is not UTF-8": Case(lambda _: tar(entry(b"caf\xe9", b"x")), ("not UTF-8", "caf")),
    "is a file that ends in a slash": _tar_case("'a/' is a file", entry("a/", b"x")),
    "is a directory that climbs": _tar_case(CLIMBS, entry("../into_evil/d/", kind=b"5")),
    "climbs by its prefix": _tar_case(CLIMBS, header(b"victim", prefix=b"..")),
    "climbs by its pax header": _tar_case("'../victim'", pax({"path": "../victim"}), entry("innocent", b"harm")),
    "climbs by a GNU long name": _tar_case("'../victim'", gnu_long(b"../victim"), entry("innocent", b"harm")),
    "climbs by the later of two headers": _tar_case("'../victim'", pax({"path": "a"}), gnu_long(b"../victim"), entry("b")),
    "climbs by the earlier of two headers": _tar_case("'../victim'", pax({"path": "../victim"}), gnu_long(b"a"), entry("b")),
    "climbs by the later of two records": _tar_case(
        "'../victim'", pax(pax_record("path", "a") + pax_record("path", "../victim")), entry("b", b"harm")
    ),
    "hides in another's bytes": _tar_case("'../victim'", pax({"size": "0"}), entry("a", entry("../victim", b"harm"))),
    **{f"has the pax header {body!r}": _tar_case("damaged", pax(body), entry("a")) for body in MALFORMED},
    "has a pax length of 5000 digits": _tar_case("damaged", pax(MANY_DIGITS), entry("a")),
    "has a pax header of 2 MiB": _tar_case("an extension header of", pax({"comment": "x" * (2 << 20)}), entry("a")),
    "has a GNU name of 2 MiB": _tar_case("an extension header of", gnu_long(b"x" * (2 << 20)), entry("a")),
    "claims a size of 8 EiB": _tar_case("", header(b"a", b"\x80" + (1 << 63).to_bytes(11, "big")), entry("b")),
    "is an extension header with nothing after it": _tar_case("ends after an extension header", pax({"path": "x"})),
    "has a wrong checksum": _tar_case("checksum", entry("a").replace(b"ustar", b"uster")),
    "follows the end": _tar_case("follows its end", bytes(2 * BLOCK_BYTES), entry("a", b"x")),
}


def make_member_with_descriptor(
    *, signature: bytes = b"PK\x07\x08", width: int = 4, flags: int = 0x808, **overrides: int
) -> ZipMember:
    """Build a member with a data descriptor after it, as in a zip that is written to a pipe; override any of its fields."""
    packed = len(ZipMember("a", b"abc").compress())
    fields = {"crc": zlib.crc32(b"abc"), "packed": packed, "size": 3, **overrides}
    descriptor = signature + u(4, fields["crc"]) + u(width, fields["packed"], fields["size"])
    return ZipMember("a", b"abc", flags=flags, descriptor=descriptor, local=dict.fromkeys(fields, 0))


def deflate_without_end(data: bytes) -> bytes:
    """Deflate all of the data, but leave out the end-of-stream marker."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return engine.compress(data) + engine.flush(zlib.Z_SYNC_FLUSH)


def _zip_case(words: str, *entries: ZipMember, **end: Any) -> Case:
    return Case(lambda _: make_zip(*entries, **end), (words,))


def _kind(kind: int) -> Case:
    return _zip_case(f"'l' is a device; {LINKS}", ZipMember("l", b"/etc/passwd", mode=kind | 0o777))


def _link_to(target: str, **others: bytes) -> Case:
    files = (ZipMember(name, data) for name, data in others.items())
    link = ZipMember("d/l", target.encode(), mode=stat.S_IFLNK | 0o777)
    return _zip_case(f"'d/l' is a symbolic link to {target!r}, which is not a file", link, *files)


def _overlapping(_: Path) -> bytes:
    """Build a zip whose directory has many members that share the same data (https://www.bamsoftware.com/hacks/zipbomb)."""
    kernel = ZipMember("kernel", bytes(1 << 20))
    count = 50
    same = [ZipMember("kernel", bytes(1 << 20), packed=b"") for _ in range(count)]
    fields = {"packed": len(kernel.compress())}
    members = (kernel, *(ZipMember(one.name, one.data, packed=b"", central=fields) for one in same))  # type: ignore[arg-type]
    return make_zip(*members, first=False, starts=dict.fromkeys(range(1, count + 1), 0))


OTHER_VALUES: dict[str, dict[str, int | bytes]] = {
    "name": {"name": b"b"},
    "size": {"size": 4},
    "packed size": {"packed": 4},
    "CRC": {"crc": 1},
    "method": {"method": 0},
}
ZIPS: dict[str, Case] = {
    **dict(name_cases(ZipMember, make_zip, {**PAIRS, **SAME})),
    "is on a drive": _zip_case(f"'C:/x' {CLIMBS}", ZipMember("C:\\x")),
    "climbs with backslashes": _zip_case(f"'../victim' {CLIMBS}", ZipMember("..\\victim", b"harm")),
    "is on another host": _zip_case(f"'//host/share/x' {CLIMBS}", ZipMember("\\\\host\\share\\x")),
    "has a backslash": _zip_case("'a\\\\b' has a backslash", ZipMember("a\\b"), ZipMember("c/d")),
    "is an absolute link": _link_to("/etc/passwd"),
    "is a link that climbs": _link_to("../../victim"),
    "is a link that climbs and comes back": _link_to("../../into/saved_model.pb"),
    "is a link to itself": _link_to("l"),
    "is a link to nothing": _link_to("../saved_model"),
    "is a link to its directory": _link_to("."),
    "is a link without a target": _link_to(""),
    "is a link below a file": _link_to("../saved_model.pb/x"),
    "is a FIFO": _kind(stat.S_IFIFO),
    "is a character device": _kind(stat.S_IFCHR),
    "is a block device": _kind(stat.S_IFBLK),
    "is a socket": _kind(stat.S_IFSOCK),
    "is not UTF-8": _zip_case("damaged", ZipMember(b"caf\xe9", b"x")),
    "is a directory with bytes": _zip_case("'d/'", ZipMember("d/", b"x")),
    "is encrypted": _zip_case("'a' is encrypted", ZipMember("a", b"x", flags=0x801)),
    "is encrypted by its local header": _zip_case("'a'", ZipMember("a", b"x", local={"flags": 0x801})),
    "is encrypted strongly": _zip_case("'a' is encrypted", ZipMember("a", b"x", flags=0x841)),
    **{
        f"uses compression method {method}": _zip_case(
            f"'a' uses compression method {method} (", ZipMember("a", b"x", method=method)
        )
        for method in (1, 6, 9, 97, 98, 99)
    },
    **{
        f"is not a stream of compression method {method}": _zip_case(
            "'a' cannot be unpacked: its compressed data is", ZipMember("a", b"some bytes", method=method)
        )
        for method in (12, 93, 95)
    },
    "is not a stream of compression method 14": _zip_case("'a' cannot be unpacked", ZipMember("a", b"some bytes", method=14)),
    "has a wrong CRC": _zip_case("'a'", ZipMember("a", b"x", local={"crc": 1}, central={"crc": 1})),
    "has a wrong CRC and is stored": _zip_case("'a'", ZipMember("a", b"x", 0, local={"crc": 1}, central={"crc": 1})),
    "unpacks to more than it says": _zip_case("'a'", ZipMember("a", b"xy", local={"size": 1}, central={"size": 1})),
    "unpacks to less than it says": _zip_case("'a'", ZipMember("a", b"x", local={"size": 9}, central={"size": 9})),
    "is not a deflate stream": _zip_case("", ZipMember("a", b"x", packed=b"\xff\xff\xff\xff")),
    "is a deflate stream without an end": _zip_case("'a'", ZipMember("a", b"x", packed=deflate_without_end(b"x"))),
    "is a deflate stream and more": _zip_case("'a'", ZipMember("a", b"x", packed=ZipMember("", b"x").compress() + b"more")),
    **{
        f"has another {what} in its local header": _zip_case("'a'", ZipMember("a", b"abc", local=overrides))
        for what, overrides in OTHER_VALUES.items()
    },
    **{
        f"has another {what} in its descriptor": _zip_case("'a'", make_member_with_descriptor(**{what: 9}))
        for what in ("crc", "packed", "size")
    },
    "has a descriptor that is not announced": _zip_case("", make_member_with_descriptor(flags=0x800)),
    "has no descriptor that was announced": _zip_case("", ZipMember("a", b"abc", flags=0x808, local={"crc": 0, "size": 0})),
    "is followed by unlisted data": _zip_case("", ZipMember("a", b"abc", descriptor=b"harm" * 5), ZipMember("b", b"x")),
    "overlaps": Case(_overlapping, ("",)),
    "is one of two at one offset": _zip_case("", ZipMember("a", b"x"), ZipMember("a", b"x"), starts={2: 0}),
    "is not where the directory says": _zip_case("", ZipMember("a", b"x"), starts={1: 1}),
    "is beyond the end": _zip_case("", ZipMember("a", b"x"), starts={1: 1 << 30}),
    "follows garbage": _zip_case("", before=b"PK\x03\x04garbage"),
    "precedes garbage": _zip_case("", between=b"garbage"),
    "is in an archive followed by garbage": Case(lambda _: make_zip() + b"garbage", ("",)),
    "is in an archive followed by the same count": Case(lambda _: make_zip() + b"x" * 10 + u(2, 1) + b"x" * 10, ("",)),
    "has garbage before the end record": _zip_case("", before_end=b"garbage"),
    "is in an archive whose count is too high": _zip_case("", count=3),
    "is in an archive whose count is too low": _zip_case("", ZipMember("a"), count=1),
    "is in an archive whose count is 0xffff": _zip_case("", ZipMember("a"), count=0xFFFF),
    "is in an archive whose 64-bit count is too high": Case(lambda _: add_zip64_end(make_zip(), 2), ("",)),
    "has a directory too long": _zip_case("", size=4096),
    "has a directory too short": _zip_case("", size=10),
    "has a directory elsewhere": _zip_case("", start=3),
    "has no directory": Case(lambda _: make_zip()[: make_zip().index(b"PK\x01\x02")], ("",)),
    "has a truncated extra field": _zip_case("", ZipMember("a", b"x", central={"extra": b"\x01\x00\x08\x00\x01"})),
}


def gzip_bytes(data: bytes) -> bytes:
    """Compress with gzip, to the same bytes each time."""
    return gzip.compress(data, mtime=0)
