"""Decompresses members of a zip: deflate, bzip2, LZMA, XZ and Zstandard, in bounded memory."""

from __future__ import annotations

import contextlib
import importlib
import struct
import zlib as stdlib_zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives import formats
from tfimm_resolver.archives.decompression import XZ_MEMORY_MAX, ZSTD_WINDOW_LOG_MAX, is_memory_error, make_memory_error
from tfimm_resolver.errors import ArchiveError

zlib: Any = stdlib_zlib
with contextlib.suppress(ImportError):  # isal has no wheel for this platform
    zlib = importlib.import_module("isal.isal_zlib")

CHUNK_BYTES = 1 << 18
STORED, DEFLATED, BZIP2, LZMA, ZSTANDARD, XZ = 0, 8, 12, 14, 93, 95
SUPPORTED = "stored, deflated, bzip2, LZMA, XZ and Zstandard"
_FORMS = {LZMA: formats.LZMA, ZSTANDARD: formats.ZSTD, XZ: formats.XZ}
"""The formats of files whose limits on memory apply."""
_OTHER_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 97: "WavPack", 98: "PPMd", 99: "AES encryption"}
_ENDS_WITH_MARKER = 0x02  # APPNOTE.TXT 4.4.4
_UNKNOWN_SIZE = (1 << 64) - 1
_LZMA_PROPERTIES_BYTES = 5


class _Engine(Protocol):
    """A decompressor as in ``bz2``, ``lzma`` and ``compression.zstd``."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def is_supported(method: int) -> bool:
    """Return whether members that are compressed in this way can be read."""
    return method == STORED or method in _ENGINES


def describe_method(method: int) -> str:
    """Return the number of a compression method, with its name if it is known."""
    return f"{method} ({_OTHER_METHODS[method]})" if method in _OTHER_METHODS else f"{method}"


def decompress(method: int, chunks: Iterable[bytes], size_bytes: int, flags: int) -> Iterator[bytes]:
    """Yield what the packed chunks unpack to, at most ``CHUNK_BYTES`` at once.

    Args:
        method: how they are compressed, as ``is_supported`` accepts it.
        size_bytes: what they should unpack to; the caller checks it.
        flags: the flags of the member.

    Raises:
        ArchiveError: if they are damaged, end too early or too late, or need too much memory.
    """
    if method == STORED:
        yield from chunks
        return
    open_engine, may_repeat = _ENGINES[method]
    engine = open_engine(size_bytes, flags)
    for chunk in chunks:
        data = chunk
        while True:
            if engine.eof:
                if not may_repeat:
                    raise ArchiveError("its compressed data continues after its end")
                engine = open_engine(size_bytes, flags)
            yield _decompress_step(engine, data, method)
            data = engine.unused_data if engine.eof else b""
            if not data and (engine.eof or engine.needs_input):
                break
    if not engine.eof:
        raise ArchiveError("its compressed data is incomplete")


def _decompress_step(engine: _Engine, data: bytes, method: int) -> bytes:
    try:
        return engine.decompress(data, CHUNK_BYTES)
    except (ArchiveError, MemoryError):
        raise
    # Each library has an error of its own; bz2 raises OSError, which must not look like one of the disk.
    except Exception as error:
        if method in _FORMS and is_memory_error(error):
            raise make_memory_error(_FORMS[method]) from error
        raise ArchiveError(f"its compressed data is damaged: {show(error)}") from error


class _Inflater:
    """Deflate without a header, with the interface of the other engines."""

    unused_data = b""

    def __init__(self) -> None:
        self._engine = zlib.decompressobj(wbits=-15)
        self._rest = b""
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return bool(self._engine.eof)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        inflated: bytes = self._engine.decompress(self._rest + data, max_length)
        self._rest, self.unused_data = self._engine.unconsumed_tail, self._engine.unused_data
        self.needs_input = not self._rest and len(inflated) < max_length
        return inflated


class _LzmaEngine:
    """LZMA as in a zip (APPNOTE.TXT 5.8): a short header, then a raw stream that may have no mark at its end."""

    def __init__(self, size_bytes: int, *, has_marker: bool) -> None:
        self._size_bytes, self._has_marker = size_bytes, has_marker
        self._header = b""
        self._engine: Any = None

    @property
    def eof(self) -> bool:
        return self._engine is not None and bool(self._engine.eof)

    @property
    def needs_input(self) -> bool:
        return self._engine is None or bool(self._engine.needs_input)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._engine.unused_data) if self._engine is not None else b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        if self._engine is None:
            self._header += data
            if len(self._header) < 4 + _LZMA_PROPERTIES_BYTES:
                return b""
            length = int.from_bytes(self._header[2:4], "little")
            if length != _LZMA_PROPERTIES_BYTES:
                raise ArchiveError(f"its LZMA header has {length} bytes of properties")
            start = self._make_file_header(self._header[4 : 4 + length])
            self._engine = _open_lzma("FORMAT_ALONE")
            data, self._header = start + self._header[4 + length :], b""
        unpacked: bytes = self._engine.decompress(data, max_length)
        return unpacked

    def _make_file_header(self, properties: bytes) -> bytes:
        """Return the header of an .lzma file: with it, the decoder knows the end of a stream that does not mark it."""
        # A distance longer than the file does not occur.
        dictionary_bytes = max(4096, min(int.from_bytes(properties[1:], "little"), self._size_bytes))
        size_bytes = _UNKNOWN_SIZE if self._has_marker else self._size_bytes
        return properties[:1] + struct.pack("<LQ", dictionary_bytes, size_bytes)


def _open_lzma(form: str) -> Any:
    lzma = _import_module("lzma")
    return lzma.LZMADecompressor(getattr(lzma, form), XZ_MEMORY_MAX)


def _open_zstandard(*_: int) -> _Engine:
    for name in ("compression.zstd", "backports.zstd"):
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            limits = {module.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG_MAX}
            engine: _Engine = module.ZstdDecompressor(options=limits)
            return engine
    raise ArchiveError("it is compressed with Zstandard", fix="Use Python 3.14, or install the package backports.zstd.")


def _import_module(name: str) -> Any:
    """Import a module of the standard library that some builds of Python lack."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ArchiveError(
            f"this build of Python has no module {show(name)}", fix="Use a Python with it, or pack the zip without."
        ) from error


_ENGINES: dict[int, tuple[Callable[[int, int], _Engine], bool]] = {
    DEFLATED: (lambda *_: _Inflater(), False),
    BZIP2: (lambda *_: _import_module("bz2").BZ2Decompressor(), True),
    LZMA: (lambda size_bytes, flags: _LzmaEngine(size_bytes, has_marker=bool(flags & _ENDS_WITH_MARKER)), False),
    ZSTANDARD: (_open_zstandard, True),
    XZ: (lambda *_: _open_lzma("FORMAT_XZ"), True),
}
"""By method: opens a decompressor for a size and flags; and whether several streams may follow each other."""
