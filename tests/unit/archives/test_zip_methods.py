"""Each compression method of zips: what it reads, what it refuses, and how much memory it takes."""

from __future__ import annotations

import io
import lzma
import random
import sys
import zlib
from pathlib import Path

import pytest

from tests.fakes import zips
from tests.fakes.archives import MODEL, files_in
from tests.fakes.hostile import make_zip
from tests.fakes.processes import run
from tfimm_resolver.archives import zip_methods
from tfimm_resolver.archives.unpacking import unpack
from tfimm_resolver.errors import ArchiveError

DATA = random.Random(1).randbytes(1000) + b"weights " * 200_000
LZMA_FLAG = 0x02
every_method = pytest.mark.parametrize("method", zips.METHODS.values(), ids=zips.METHODS)
streams = pytest.mark.parametrize("method", [zips.BZIP2, zips.ZSTANDARD, zips.XZ])


def decompress(method: int, packed: bytes, size_bytes: int, *, step: int = 1 << 18, flags: int = LZMA_FLAG) -> bytes:
    """Decompress in chunks of any size."""
    chunks = (packed[at : at + step] for at in range(0, len(packed), step))
    unpacked = [*zip_methods.decompress(method, chunks, size_bytes, flags)]
    assert max(map(len, unpacked), default=0) <= zip_methods.CHUNK_BYTES
    return b"".join(unpacked)


@every_method
@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 18])
def test_unpacks_chunks_of_any_size(method: int, step: int) -> None:
    data = DATA[:3000] if step == 1 else DATA[: 1 << 18] if method == zips.STORED else DATA
    assert decompress(method, zips.compress(method, data), len(data), step=step) == data


@every_method
def test_unpacks_nothing(method: int) -> None:
    assert decompress(method, zips.compress(method, b""), 0) == b""


@streams
def test_streams_may_follow_each_other(method: int) -> None:
    packed = zips.compress(method, b"one") + zips.compress(method, b"") + zips.compress(method, DATA)
    assert decompress(method, packed, 3 + len(DATA), step=1000) == b"one" + DATA


@pytest.mark.parametrize("method", [zips.DEFLATED, zips.BZIP2, zips.LZMA, zips.ZSTANDARD, zips.XZ])
@pytest.mark.parametrize("rest", [b"x", bytes(100_000)], ids=["a byte", "zeros"])
@pytest.mark.parametrize("step", [10, 1 << 18])
def test_refuses_what_follows_the_end(method: int, rest: bytes, step: int) -> None:
    with pytest.raises(ArchiveError, match="its compressed data"):
        decompress(method, zips.compress(method, b"some bytes") + rest, 10, step=step)


@pytest.mark.parametrize("method", [zips.DEFLATED, zips.BZIP2, zips.LZMA, zips.ZSTANDARD, zips.XZ])
def test_refuses_data_that_is_cut_anywhere(method: int) -> None:
    packed = zips.compress(method, b"some bytes")
    for length in range(len(packed)):
        with pytest.raises(ArchiveError, match=r"its compressed data|LZMA"):
            decompress(method, packed[:length], 10)


@pytest.mark.parametrize("step", [1, 1000, 1 << 18])
def test_lzma_without_a_mark_at_its_end_stops_at_the_size(step: int) -> None:
    data = DATA[:3000] if step == 1 else DATA
    packed = zips.compress_without_mark(data)
    assert decompress(zips.LZMA, packed, len(data), step=step, flags=0) == data
    for rest in (b"x", b"GARBAGE", bytes(1 << 18)):
        with pytest.raises(ArchiveError, match="continues after its end"):
            decompress(zips.LZMA, packed + rest, len(data), step=max(step, 10), flags=0)
    for size, words in ((len(data) - 1, "its compressed data"), (len(data) + 1, "incomplete")):
        with pytest.raises(ArchiveError, match=words):
            decompress(zips.LZMA, packed, size, step=max(step, 10), flags=0)
    with pytest.raises(ArchiveError, match="incomplete"):
        decompress(zips.LZMA, packed[:-6], len(data), step=max(step, 10), flags=0)


def test_an_lzma_dictionary_larger_than_the_file_takes_no_memory() -> None:
    packed = zips.compress(zips.LZMA, b"some bytes", dictionary_bytes=0xFFFFFFFF)
    assert decompress(zips.LZMA, packed, 10) == b"some bytes"


def test_an_lzma_dictionary_that_is_needed_has_a_limit() -> None:
    packed = zips.compress(zips.LZMA, b"some bytes", dictionary_bytes=0xFFFFFFFF)
    with pytest.raises(ArchiveError, match="its lzma stream needs over 256 MiB of memory") as caught:
        decompress(zips.LZMA, packed, 1 << 30)
    assert "smaller dictionary" in str(caught.value.fix)


@pytest.mark.parametrize("method", [zips.LZMA, zips.ZSTANDARD, zips.XZ], ids=["LZMA", "Zstandard", "XZ"])
@pytest.mark.parametrize(("window_mib", "is_allowed"), [(128, True), (200, False), (512, False)])
def test_a_limit_on_memory_is_the_same_as_of_a_tar_and_is_not_damage(method: int, window_mib: int, is_allowed: bool) -> None:
    data, window_bytes = b"some bytes", window_mib << 20
    is_allowed = is_allowed or (method != zips.ZSTANDARD and window_mib == 200)
    if method == zips.ZSTANDARD:  # a frame without a size: a window of a power of two and eighths of it, and a raw block
        exponent = window_bytes.bit_length() - 1
        window = (exponent - 10) << 3 | (window_bytes - (1 << exponent)) >> (exponent - 3)
        packed = b"\x28\xb5\x2f\xfd\0" + bytes([window]) + (len(data) << 3 | 1).to_bytes(3, "little") + data
    elif method == zips.XZ:
        # The dictionary of an LZMA2 filter is a byte: 30 for 128 MiB, 31 for 192, 34 for 512.
        stream = bytearray(lzma.compress(data, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 4096}]))
        stream[16] = {128: 30, 200: 31, 512: 34}[window_mib]
        stream[20:24] = zlib.crc32(bytes(stream[12:20])).to_bytes(4, "little")
        packed = bytes(stream)
    else:
        packed = zips.compress(zips.LZMA, data, dictionary_bytes=window_bytes)
    if is_allowed:
        assert b"".join(zip_methods.decompress(method, [packed], len(data), LZMA_FLAG)) == data
        return
    with pytest.raises(ArchiveError, match=r"needs (over 256|a window of over 128) MiB of memory") as caught:
        decompress(method, packed, 1 << 30)
    assert "Pack it again with a" in str(caught.value.fix)


@pytest.mark.parametrize("properties", [b"\xff" * 5, b"\xe1\0\0\0\0"], ids=repr)
def test_refuses_properties_of_lzma_that_do_not_exist(properties: bytes) -> None:
    packed = zips.compress(zips.LZMA, b"some bytes")
    with pytest.raises(ArchiveError, match="compressed data is damaged"):
        decompress(zips.LZMA, packed[:4] + properties + packed[9:], 10)
    with pytest.raises(ArchiveError, match="LZMA header has 6 bytes"):
        decompress(zips.LZMA, packed[:2] + b"\6\0" + packed[4:], 10)


@pytest.mark.parametrize("method", [zips.LZMA, zips.ZSTANDARD, zips.XZ], ids=["LZMA", "Zstandard", "XZ"])
def test_a_window_of_gigabytes_is_refused_before_it_is_allocated(method: int) -> None:
    """In a process of its own, whose memory the kernel counts."""
    code = """
        import lzma, re, sys
        from tests.fakes import zips
        from tfimm_resolver.archives import zip_methods
        from tfimm_resolver.errors import ArchiveError
        method, some = int(sys.argv[1]), bytes(range(256)) * 10
        if method == zips.XZ:  # a header that announces a dictionary of 1.5 GiB
            filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 4096}]
            packed = bytearray(lzma.compress(some, lzma.FORMAT_XZ, filters=filters))
            packed[16] = 37
            packed[20:24] = __import__("zlib").crc32(bytes(packed[12:20])).to_bytes(4, "little")
        elif method == zips.ZSTANDARD:  # a frame without a size, and a window of 1 GiB
            packed = bytearray(b"\\x28\\xb5\\x2f\\xfd\\x00" + bytes([(30 - 10) << 3]) + b"\\x01\\0\\0")
        else:
            packed = zips.compress(method, some, dictionary_bytes=0xFFFFFFFF)
        try:
            print(sum(map(len, zip_methods.decompress(method, [bytes(packed)], 1 << 31, 2))))
        except ArchiveError as error:
            print(error.text)
        print(int(re.search("VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) < 200_000)
    """
    output = run(code, str(method))
    assert "its " in output and "True" in output


@pytest.mark.parametrize(
    ("method", "size", "name"), [(1, 0, "Shrink"), (9, 0, "Deflate64"), (98, 0, "PPMd"), (99, 0, "AES"), (7, 0, "7")]
)
def test_other_methods_are_named(method: int, size: int, name: str) -> None:
    assert not zip_methods.is_supported(method) and name in zip_methods.describe_method(method)


@pytest.mark.parametrize(
    ("module", "method", "words"),
    [
        ("backports.zstd", zips.ZSTANDARD, "install the package backports.zstd"),
        ("lzma", zips.LZMA, "no module lzma"),
        ("lzma", zips.XZ, "no module lzma"),
        ("bz2", zips.BZIP2, "no module bz2"),
    ],
)
def test_a_module_that_is_missing_is_named(
    module: str, method: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = zips.make_model(method)
    for name in (module, "compression.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ArchiveError, match=words):
        unpack(io.BytesIO(data), tmp_path)


@every_method
@pytest.mark.parametrize("count", [60, pytest.param(400, marks=pytest.mark.long)])
def test_no_flipped_bit_goes_unnoticed(method: int, count: int, tmp_path: Path) -> None:
    archive = zips.make_model(method)
    for bit in random.Random(method).sample(range(8 * len(archive)), count):
        flipped = bytearray(archive)
        flipped[bit // 8] ^= 1 << bit % 8
        (folder := tmp_path / str(bit)).mkdir()
        try:
            unpack(io.BytesIO(bytes(flipped)), folder)
        except ArchiveError:
            continue
        assert files_in(folder) == MODEL, bit


@every_method
@pytest.mark.parametrize("step", [23, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("before", [b"", zips.STUB], ids=["plain", "behind a stub"])
def test_refuses_a_zip_that_is_cut_anywhere(method: int, step: int, before: bytes, tmp_path: Path) -> None:
    archive = before + zips.make_model(method)
    for length in range(0, len(archive), step):
        (folder := tmp_path / str(length)).mkdir()
        with pytest.raises(ArchiveError):
            unpack(io.BytesIO(archive[:length]), folder)


@every_method
def test_a_wrong_crc_is_noticed(method: int, tmp_path: Path) -> None:
    wrong = zips.make_member("a", b"x" * 100, method, local={"crc": 1}, central={"crc": 1})
    with pytest.raises(ArchiveError, match="another size or CRC"):
        unpack(io.BytesIO(make_zip(wrong)), tmp_path)


@every_method
@pytest.mark.parametrize("size", [99, 101])
def test_a_wrong_size_is_noticed(method: int, size: int, tmp_path: Path) -> None:
    wrong = zips.make_member("a", b"x" * 100, method, local={"size": size}, central={"size": size})
    with pytest.raises(ArchiveError, match="member 'a'"):
        unpack(io.BytesIO(make_zip(wrong)), tmp_path)
