"""Formats are recognized by their first bytes, which also tell whether a checksum covers everything."""

from __future__ import annotations

import bz2

import pytest

from tests.fakes.archives import member, tar_of, zip_of
from tests.fakes.compression import COMPRESSORS, WITHOUT_CHECKSUM, compress_lzma, make_skippable
from tfimm_resolver.archives import formats, tar_reader

TAR = tar_of(member("saved_model.pb", b"a graph"))


@pytest.mark.parametrize("data", [TAR, b""], ids=["a tar", "nothing"])
@pytest.mark.parametrize("form", COMPRESSORS)
def test_a_compressed_stream_is_recognized_and_has_a_checksum(form: str, data: bytes) -> None:
    head = COMPRESSORS[form](data)[: formats.HEAD_BYTES]
    assert formats.identify(head) == form and formats.has_checksum(head)
    assert not formats.has_checksum(head[:3]) or form == "gzip"


@pytest.mark.parametrize("form", WITHOUT_CHECKSUM)
def test_a_stream_without_a_checksum_is_recognized_as_such(form: str) -> None:
    packed = WITHOUT_CHECKSUM[form](TAR)
    assert not formats.has_checksum(packed[: formats.HEAD_BYTES])
    assert formats.identify(packed) == ("" if form == "lzma" else form)


def test_a_zip_is_recognized() -> None:
    assert formats.identify(zip_of()) == formats.ZIP and formats.has_checksum(zip_of()[: formats.HEAD_BYTES])
    assert formats.identify(b"PK\x05\x06" + bytes(18)) == formats.ZIP


def test_zstd_that_begins_with_a_frame_without_data_proves_nothing() -> None:
    for size in (1, 4):  # 4 looks like the flag of a checksum
        frame = make_skippable(b"x" * size)
        assert formats.identify(frame) == formats.ZSTD and not formats.has_checksum(frame)


@pytest.mark.parametrize("name", ["BZh9", "BZh91A", "]", "(x", "PK", "7zXZ"])
def test_a_tar_is_not_taken_for_another_format_by_the_name_of_its_first_member(name: str) -> None:
    tar = tar_of(member(name, b"x"))
    assert formats.identify(tar) == "" and not formats.has_checksum(tar) and tar_reader.is_header(tar[:512])


def test_lzma_is_recognized_without_a_magic_number() -> None:
    assert formats.is_lzma(compress_lzma(TAR)) and not formats.is_lzma(b"]") and not formats.is_lzma(bz2.compress(TAR))


@pytest.mark.parametrize(
    ("path", "expected"), [("/m.tar", False), ("/M.TAR", False), ("/m.tlz", False), ("/m.tar.lzma", False)]
)
def test_no_checksum_is_expected_by_the_name(path: str, expected: bool) -> None:
    assert formats.is_checksum_expected(path) is expected


@pytest.mark.parametrize("path", ["/m", "/m.tar.gz", "/m.zip", "/m.tar.xz", "/m.tar.zst", "/m.tar.bz2"])
def test_a_checksum_is_expected_by_any_other_name(path: str) -> None:
    assert formats.is_checksum_expected(path)
