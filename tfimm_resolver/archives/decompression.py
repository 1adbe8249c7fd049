"""Decompresses gzip, bzip2, xz, lzma and zstd: every byte must belong to a complete stream, or be zero after the last one."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import io
import sys
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives import formats
from tfimm_resolver.archives.extractor import CHUNK_BYTES, ArchiveInput
from tfimm_resolver.archives.tar_header import BLOCK_BYTES
from tfimm_resolver.errors import ArchiveError

GzipFile: Any = gzip.GzipFile
_isal_error: Any = zlib.error
with contextlib.suppress(ImportError):  # isal has no wheel for this platform
    from isal import igzip, isal_zlib

    GzipFile = igzip.IGzipFile  # twice as fast
    _isal_error = isal_zlib.error

_LENGTH_BYTES = 4
_SMALL_BUFFER_BYTES = 1 << 12
_STREAM_HEAD_BYTES = 16
_SLICE_BYTES = 1 << 14
_STREAMS_CHECK_MIN, _STREAM_BYTES_MIN = 100_000, 128
XZ_MEMORY_MAX = 256 << 20
ZSTD_WINDOW_LOG_MAX = 27
"""128 MiB, above which the command refuses a file, too, unless an option allows more memory."""
_XZ_FOOTER_BYTES = 12

OnSeveral = Callable[[], None]


class Decoder(Protocol):
    """What the decompressors of bz2, lzma and zstd have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached, and its checksum was right."""

    @property
    def needs_input(self) -> bool:
        """Whether more input is needed before there is more output."""

    @property
    def unused_data(self) -> bytes:
        """What follows the end of the stream."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Decompress."""


def decompress(packed: ArchiveInput, form: str, on_several: OnSeveral | None = None) -> Iterator[bytes | memoryview]:
    """Yield what all streams of the input contain.

    Args:
        packed: the input.
        form: its format, one of the names in ``formats``.
        on_several: called at the end if no single checksum covers all bytes: if there are several streams or, in xz, several
            blocks, each with a checksum of its own, or a stream without one after the first. May raise.

    Raises:
        ArchiveError: if the input is truncated or damaged, if anything but zeros follows it, or if it needs too much memory.
    """
    if form == formats.GZIP:
        return _gunzip(packed, on_several)
    return _StreamsDecoder(form).decode(packed, on_several)


def check_stream_count(streams: int, read_bytes: int) -> None:
    """Check that so many streams in so many bytes are not a way to keep the processor busy: each costs a copy of its input.

    Raises:
        ArchiveError: if there are many, and they are shorter than any that a program writes.
    """
    if streams > _STREAMS_CHECK_MIN and streams * _STREAM_BYTES_MIN > read_bytes:
        raise ArchiveError(
            f"it consists of over {streams} compressed streams in {read_bytes} bytes", fix="Pack it again as one stream."
        )


class _StreamsDecoder:
    """Decodes one stream after another."""

    def __init__(self, form: str) -> None:
        self._form = form
        self._make_decoder, self._errors = _load_codec(form)
        self._decoder: Decoder | None = None
        self._streams = self._frames = 0

    def decode(self, packed: ArchiveInput, on_several: OnSeveral | None) -> Iterator[bytes]:
        """Yield what all streams contain."""
        rest = b""
        for chunk in packed.chunks():
            check_stream_count(self._frames, packed.read_bytes)
            for start in range(0, len(chunk), _SLICE_BYTES):  # what follows a short stream is copied
                rest = yield from self._decode_chunk(rest + chunk[start : start + _SLICE_BYTES])
        yield from self._decode_chunk(rest, is_last=True)
        if self._decoder is not None:
            raise ArchiveError(f"it is truncated: the end of its {self._form} stream is missing")
        is_several = self._streams > 1 or (self._form == formats.XZ and not _has_one_block(packed.tail))
        if on_several is not None and is_several:
            on_several()

    def _decode_chunk(self, data: bytes, *, is_last: bool = False) -> Generator[bytes, None, bytes]:
        """Yield what is in a chunk of the input; return what is too short to begin a stream."""
        while True:
            if self._decoder is None:
                data = data.lstrip(b"\0") if self._streams else data  # padding
                if not data or (len(data) < _STREAM_HEAD_BYTES and not is_last):
                    return data
                self._start_stream(data)
            decoder = self._decoder
            assert decoder is not None
            if unpacked := self._call(decoder, data):
                yield unpacked
            if decoder.eof:
                data, self._decoder = decoder.unused_data, None
                continue
            data = b""
            if decoder.needs_input:
                return b""

    def _start_stream(self, data: bytes) -> None:
        if self._form == formats.LZMA and self._streams:
            raise ArchiveError("unexpected data follows its end")
        self._frames += 1
        if not formats.is_skippable(data):
            self._streams += 1
        self._decoder = self._make_decoder()

    def _call(self, decoder: Decoder, data: bytes) -> bytes:
        try:
            return decoder.decompress(data, CHUNK_BYTES)
        except self._errors as error:
            if is_memory_error(error):
                raise make_memory_error(self._form) from error
            raise ArchiveError(f"its {self._form} stream is damaged: {show(error)}") from error


def _load_codec(form: str) -> tuple[Callable[[], Decoder], tuple[type[Exception], ...]]:
    """Return a function that makes a decoder, and the errors that it raises.

    Raises:
        ArchiveError: if this Python was built without the format.
    """
    try:
        if form == formats.BZIP2:
            import bz2

            return bz2.BZ2Decompressor, (OSError, ValueError, EOFError)
        if form in (formats.XZ, formats.LZMA):
            import lzma

            kind = lzma.FORMAT_XZ if form == formats.XZ else lzma.FORMAT_ALONE
            return lambda: lzma.LZMADecompressor(kind, XZ_MEMORY_MAX), (lzma.LZMAError, EOFError)
        # By name, since modulefinder, which some freezers use, ends with an error for a namespace package such as backports.
        zstd: Any = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
        options = {int(zstd.DecompressionParameter.window_log_max): ZSTD_WINDOW_LOG_MAX}
        return lambda: zstd.ZstdDecompressor(options=options), (zstd.ZstdError, EOFError)
    except ImportError as error:
        raise ArchiveError(
            f"it is compressed with {form}, which this Python cannot read: {show(error)}",
            fix="Install the missing module, or pack the archive with gzip.",
        ) from error


def is_memory_error(error: Exception) -> bool:
    """Return whether a decoder refused data because it would need more memory than the limits allow."""
    return "emory" in str(error)  # lzma: Memory usage limit exceeded; zstd: Frame requires too much memory for decoding


def make_memory_error(form: str) -> ArchiveError:
    """Return the error for data that needs more memory than its format is allowed."""
    if form == formats.ZSTD:
        window = f"{1 << (ZSTD_WINDOW_LOG_MAX - 20)} MiB"
        return ArchiveError(
            f"its zstd stream needs a window of over {window} of memory",
            fix=f"Pack it again with a window of {window} or less.",
        )
    return ArchiveError(
        f"its {form} stream needs over {XZ_MEMORY_MAX >> 20} MiB of memory",
        fix="Pack it again with a smaller dictionary, for example with `xz -9`.",
    )


def _has_one_block(tail: bytes) -> bool:
    """Whether the index at the end of an xz stream lists one block (The .xz File Format, 2.1.2 and 4)."""
    stream = tail.rstrip(b"\0")  # padding; a footer ends in "YZ"
    index_bytes = 4 * (int.from_bytes(stream[-8:-4], "little") + 1)
    index = stream[:-_XZ_FOOTER_BYTES][-index_bytes:]
    return len(index) == index_bytes and index[1] <= 1


def _gunzip(packed: ArchiveInput, on_several: OnSeveral | None) -> Iterator[memoryview]:
    """Decompress all gzip members, comparing each one's CRC and length with its trailer; zeros after them are padding."""
    unpacked_bytes = 0
    try:
        with GzipFile(fileobj=_IteratorReader(packed.chunks()), mode="rb") as file:
            buffers: deque[bytearray] = deque()
            # A new buffer is filled with zeros, which for a small archive takes longer than to unpack it.
            size_bytes = min(CHUNK_BYTES, _SMALL_BUFFER_BYTES + 4 * (packed.total_bytes or CHUNK_BYTES))
            while count := file.readinto(buffer := _reuse_buffer(buffers, size_bytes)):
                unpacked_bytes += count
                yield memoryview(buffer)[:count]
    except EOFError as error:
        _check_nothing_follows(packed.tail, unpacked_bytes, unpacked_bytes + CHUNK_BYTES, error)
        raise ArchiveError("it is truncated: its gzip trailer is missing") from error
    except (_isal_error, zlib.error, gzip.BadGzipFile, OverflowError) as error:  # the last for a header of over 512 KiB
        _check_nothing_follows(packed.tail, unpacked_bytes, unpacked_bytes + CHUNK_BYTES, error)
        raise ArchiveError(f"its gzip stream is damaged: {show(error)}") from error
    # A gzip ends with the length of its last member, modulo 2**32 (RFC 1952, 2.3.1).
    if on_several and unpacked_bytes % (1 << 32) != int.from_bytes(packed.tail[-4:], "little"):
        on_several()


def _check_nothing_follows(tail: bytes, from_bytes: int, to_bytes: int, error: Exception) -> None:
    """Raise ArchiveError if the last bytes that were read contain the end of a complete stream, with other data behind it.

    A gzip ends with the length of what is packed: between what was unpacked before the error and that plus a buffer, and for
    a tar a multiple of its blocks.
    """
    for end in range(len(tail) - 1, _LENGTH_BYTES, -1):
        missing = (int.from_bytes(tail[end - _LENGTH_BYTES : end], "little") - from_bytes) % (1 << 32)
        if missing <= to_bytes - from_bytes and (from_bytes + missing) and not (from_bytes + missing) % BLOCK_BYTES:
            text = f"other data follows the end of its gzip stream, beginning with {tail[end:][:16]!r}"
            raise ArchiveError(text, fix="Remove what follows, or pack it again.") from error


def _reuse_buffer(buffers: deque[bytearray], size_bytes: int) -> bytearray:
    """Return a buffer that no view refers to any more, or allocate one; recently used memory is fastest."""
    buffer = buffers.popleft() if buffers else bytearray(size_bytes)
    try:
        buffer.pop()  # raises BufferError while a view of it exists
        buffer.append(0)
    except BufferError:
        buffers.appendleft(buffer)
        buffer = bytearray(size_bytes)
    buffers.append(buffer)
    return buffer


class _IteratorReader(io.RawIOBase):
    """Presents an iterator of chunks as the file that gzip reads from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Copy bytes into the buffer and return their number, 0 at the end."""
        self._rest = self._rest or memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
