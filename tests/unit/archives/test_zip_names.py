"""Names in zips: their encodings, and the separators of old tools."""

from __future__ import annotations

import pytest

from tests.fakes.hostile import u
from tests.fakes.zips import make_unicode_path
from tfimm_resolver.archives.zip_names import decode_name, find_extra, normalize_separators
from tfimm_resolver.errors import ArchiveError

DOS, UNIX, NTFS, MACOS, UTF_8 = 0, 3, 10, 19, 0x800


@pytest.mark.parametrize(
    ("raw", "flags", "host", "expected"),
    [
        (b"a/b.txt", 0, DOS, ("a/b.txt", False)),
        ("模型".encode(), UTF_8, DOS, ("模型", False)),
        ("模型".encode(), 0, UNIX, ("模型", False)),
        ("modèle".encode(), 0, MACOS, ("modèle", False)),
        ("modèle".encode("cp437"), 0, DOS, ("modèle", True)),
        ("modèle".encode(), 0, DOS, ("mod├¿le", True)),
        ("modèle".encode(), 0, NTFS, ("mod├¿le", True)),
        ("词表".encode("gbk"), 0, UNIX, ("┤╩▒φ", True)),
        ("表.txt".encode("cp932"), 0, DOS, ("ò_.txt", True)),
        ("ソ/ソ".encode("cp932"), 0, UNIX, ("â_/â_", True)),
    ],
    ids=str,
)
def test_decodes(raw: bytes, flags: int, host: int, expected: tuple[str, bool]) -> None:
    assert decode_name(raw, flags, host, b"") == expected


def test_a_name_that_claims_to_be_utf_8_has_to_be() -> None:
    with pytest.raises(UnicodeDecodeError):
        decode_name(b"caf\xe9", UTF_8, UNIX, b"")


def test_the_unicode_path_is_used_if_it_belongs_to_the_name() -> None:
    raw = "词表".encode("gbk")
    other = u(2, 0x5455, 1) + b"x"
    assert decode_name(raw, 0, DOS, other + make_unicode_path(raw, "词表")) == ("词表", False)
    for extra in (
        make_unicode_path(raw, "词表", crc=1),
        make_unicode_path(raw, "词表", version=2),
        u(2, 0x7075, 3) + b"\1\0\0",
        make_unicode_path(raw, "")[:-1] + b"\xff",
    ):
        assert decode_name(raw, 0, DOS, extra) == ("┤╩▒φ", True)
    assert decode_name(b"ascii", 0, DOS, make_unicode_path(b"ascii", "other")) == ("ascii", False)


def test_finds_an_extra_field() -> None:
    extra = u(2, 1, 2) + b"ab" + u(2, 2, 0) + u(2, 1, 1) + b"c" + b"\0\0\0"
    assert (find_extra(extra, 1), find_extra(extra, 2), find_extra(extra, 3), find_extra(b"", 1)) == (b"ab", b"", None, None)
    with pytest.raises(ArchiveError, match="extra field"):
        find_extra(u(2, 1, 9) + b"ab", 3)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a\\b", "c", "d\\"], ["a/b", "c", "d/"]),
        (["a\\b", "c/d"], ["a\\b", "c/d"]),
        (["a\\b/c"], ["a\\b/c"]),
        (["..\\x", "C:\\x"], ["../x", "C:/x"]),
        ([], []),
    ],
    ids=str,
)
def test_backslashes_are_separators_if_no_name_has_another(names: list[str], expected: list[str]) -> None:
    assert normalize_separators(names) == expected
