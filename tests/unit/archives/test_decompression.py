"""Decompression: complete streams and nothing else, within bounds on memory and time."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import random
import sys
import time
from collections.abc import Callable

import pytest

from tests.fakes.archives import MODEL, member, tar_of
from tests.fakes.compression import (
    COMPRESSORS,
    WITHOUT_CHECKSUM,
    compress_lzma,
    compress_zstd,
    make_demanding_stream,
    make_skippable,
    make_xz_of_blocks,
)
from tfimm_resolver.archives import formats, tar_reader
from tfimm_resolver.archives.decompression import decompress
from tfimm_resolver.archives.extractor import ArchiveInput
from tfimm_resolver.errors import ArchiveError

DATA = random.Random(7).randbytes(300_000) + bytes(700_000)
TAR = tar_of(*(member(name, data) for name, data in MODEL.items()), format=1)
ALL = {**COMPRESSORS, "lzma": compress_lzma}


class _Chunked:
    """A stream that returns at most so many bytes at once."""

    def __init__(self, data: bytes, chunk_bytes: int) -> None:
        self._file, self._chunk_bytes = io.BytesIO(data), chunk_bytes

    def read(self, size: int, /) -> bytes:
        return self._file.read(min(size, self._chunk_bytes))


def read(packed: bytes, form: str, chunk_bytes: int = 1 << 18, on_several: Callable[[], None] | None = None) -> bytes:
    """Decompress."""
    return b"".join(map(bytes, decompress(ArchiveInput(_Chunked(packed, chunk_bytes), None), form, on_several)))


def read_tar(packed: bytes, form: str) -> dict[str, bytes]:
    """Decompress a tar and return its files."""
    members = tar_reader.read_members(decompress(ArchiveInput(io.BytesIO(packed), None), form))
    return {one.name: b"".join(map(bytes, one.chunks)) for one in members}


def is_reported_as_several(packed: bytes, form: str) -> bool:
    """Return whether the input is said to have several streams or blocks."""
    calls: list[None] = []
    read(packed, form, on_several=lambda: calls.append(None))
    return bool(calls)


@pytest.mark.parametrize("chunk_bytes", [97, 65_536, 1 << 18])
@pytest.mark.parametrize("form", ALL)
def test_reads_a_stream_in_chunks_of_any_length(form: str, chunk_bytes: int) -> None:
    assert read(ALL[form](DATA), form, chunk_bytes) == DATA


@pytest.mark.parametrize("chunk_bytes", [1, 11, 1 << 18])
@pytest.mark.parametrize("form", COMPRESSORS)
def test_reads_several_streams_with_padding_between_and_after_them(form: str, chunk_bytes: int) -> None:
    packed = COMPRESSORS[form](b"one") + bytes(8) + COMPRESSORS[form](b"") + COMPRESSORS[form](b"two") + bytes(40)
    assert read(packed, form, chunk_bytes) == b"onetwo"


@pytest.mark.parametrize("garbage", [b"x", b"BZ", b"\xfd7zXZ", b"(\xb5", b"\0\0\0\0x", b"garbage of many bytes"])
@pytest.mark.parametrize("form", ALL)
def test_refuses_what_follows_the_last_stream(form: str, garbage: bytes) -> None:
    with pytest.raises(ArchiveError):
        read(ALL[form](b"data") + garbage, form)


def test_refuses_a_second_lzma_stream() -> None:
    with pytest.raises(ArchiveError, match="unexpected data follows its end"):
        read(compress_lzma(b"one") * 2, "lzma")


@pytest.mark.parametrize("form", ALL)
def test_refuses_a_stream_that_is_truncated_anywhere(form: str) -> None:
    packed = ALL[form](TAR)
    assert read_tar(packed, form) == MODEL
    for length in range(1, len(packed)):
        with pytest.raises(ArchiveError):
            read_tar(packed[:length], form)


@pytest.mark.parametrize("form", COMPRESSORS)
def test_no_flipped_bit_of_a_compressed_tar_goes_unnoticed(form: str) -> None:
    packed = COMPRESSORS[form](TAR)
    harmful = []
    for bit in random.Random(7).sample(range(8 * len(packed)), 400):
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            if read_tar(bytes(flipped), form) != MODEL:
                harmful.append(bit)
        except ArchiveError:
            pass
    assert harmful == []


@pytest.mark.long
@pytest.mark.parametrize("form", COMPRESSORS)
def test_no_bit_at_all_of_several_streams_may_be_flipped(form: str) -> None:
    packed = COMPRESSORS[form](TAR[:900]) + COMPRESSORS[form](TAR[900:])
    for bit in range(8 * len(packed)):
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(ArchiveError):
            assert read_tar(bytes(flipped), form) == MODEL, bit


SEVERAL = {
    "gzip": COMPRESSORS["gzip"](b"a") * 2,
    "bzip2": bz2.compress(b"a") * 2,
    "xz": lzma.compress(b"a") * 2,
    "xz blocks": make_xz_of_blocks(b"a", b"b"),
    "xz blocks and padding": make_xz_of_blocks(b"a", b"b", b"c") + bytes(100),
    "xz of many blocks": make_xz_of_blocks(*[b"a"] * 200),
    "zstd": compress_zstd(b"a") * 2,
    "zstd without a checksum in the second frame": compress_zstd(b"a") + compress_zstd(b"b", has_checksum=False),
}


@pytest.mark.parametrize("what", SEVERAL)
def test_reports_several_streams_or_blocks_at_the_end(what: str) -> None:
    form = what.split(maxsplit=1)[0]
    assert is_reported_as_several(SEVERAL[what], form)


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
@pytest.mark.parametrize("form", COMPRESSORS)
def test_does_not_report_one_stream_of_one_block(form: str, size: int) -> None:
    assert not is_reported_as_several(COMPRESSORS[form](random.Random(size).randbytes(size)), form)
    assert not is_reported_as_several(COMPRESSORS[form](bytes(size)) + bytes(4), form) or form == "gzip"


def test_a_frame_that_holds_no_data_does_not_count() -> None:
    packed = make_skippable(b"x" * 100_000) + compress_zstd(DATA) + make_skippable()
    assert read(packed, "zstd", 1000) == DATA and not is_reported_as_several(packed, "zstd")


@pytest.mark.parametrize(("form", "most"), [("xz", 27), ("lzma", 27), ("zstd", 27)])
def test_the_memory_of_a_decoder_is_bounded(form: str, most: int) -> None:
    assert read(make_demanding_stream(form, most), form) == bytes(600)
    with pytest.raises(ArchiveError, match=f"its {form} stream needs .*over .* MiB") as caught:
        read(make_demanding_stream(form, most + 4), form)
    assert "Pack it again" in caught.value.fix


@pytest.mark.parametrize("form", ["bzip2", "xz", "zstd"])
def test_a_million_empty_streams_take_no_time(form: str) -> None:
    empty = COMPRESSORS[form](b"")
    start_s = time.process_time()
    assert read(empty * (1_000_000 // len(empty)), form) == b""
    assert time.process_time() - start_s < 10


@pytest.mark.parametrize("form", ["bzip2", "xz", "zstd"])
def test_a_missing_module_is_named(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parent, _, name = "compression.zstd".rpartition(".") if sys.version_info >= (3, 14) else ("backports", "", "zstd")
    module = {"bzip2": "bz2", "xz": "lzma", "zstd": f"{parent}.{name}"}[form]
    monkeypatch.setitem(sys.modules, module, None)
    if form == "zstd":
        monkeypatch.delattr(sys.modules[parent], name)
    with pytest.raises(ArchiveError, match=f"compressed with {form}, which this Python cannot read") as caught:
        read(COMPRESSORS[form](b""), form)
    assert "gzip" in caught.value.fix


@pytest.mark.parametrize("form", ALL)
def test_names_the_format_of_a_damaged_stream(form: str) -> None:
    packed = bytearray(ALL[form](DATA))
    packed[len(packed) // 2 : len(packed) // 2 + 200] = bytes(200)
    with pytest.raises(ArchiveError, match=f"its {form} stream"):
        read(bytes(packed), form)


def test_formats_without_a_checksum_are_read_as_well() -> None:
    for form, compress in WITHOUT_CHECKSUM.items():
        assert read(compress(DATA), form) == DATA
        assert not formats.has_checksum(compress(DATA)[: formats.HEAD_BYTES])


def test_gzip_members_by_the_thousand_are_read() -> None:
    assert read(gzip.compress(b"", mtime=0) * 5000 + gzip.compress(b"x"), "gzip") == b"x"


@pytest.mark.parametrize("size_blocks", [1, 20, 5000])
@pytest.mark.parametrize("rest", [b"x", b"rubbish\n", b"more than the ten bytes of a header", b"<html>"])
def test_what_follows_a_gzip_is_not_called_truncated(size_blocks: int, rest: bytes) -> None:
    packed = gzip.compress(os.urandom(512) * size_blocks) + rest
    with pytest.raises(ArchiveError, match="other data follows the end of its gzip stream, beginning with b'"):
        list(decompress(ArchiveInput(io.BytesIO(packed), len(packed)), formats.GZIP))


@pytest.mark.parametrize("missing_bytes", [1, 4, 8, 9, 200])
def test_a_gzip_that_is_cut_is_called_truncated(missing_bytes: int) -> None:
    packed = gzip.compress(os.urandom(5120))[:-missing_bytes]
    with pytest.raises(ArchiveError, match="it is truncated: its gzip trailer is missing"):
        list(decompress(ArchiveInput(io.BytesIO(packed), len(packed)), formats.GZIP))
