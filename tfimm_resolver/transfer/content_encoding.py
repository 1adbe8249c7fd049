"""Undoes a Content-Encoding that a server applied although none was asked for, unless it describes the file itself."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives import budget, formats
from tfimm_resolver.archives.extractor import CHUNK_BYTES
from tfimm_resolver.errors import ArchiveError

Read = Callable[[int], bytes]

_GZIP_SUFFIXES = (".gz", ".tgz")
_SLICE_BYTES = 1 << 14  # what follows a short member is copied
_ENCODINGS_MAX = 3
_HEAD_BYTES = 512


def parse_encodings(header: str) -> list[str]:
    """Return the encodings of a Content-Encoding header in the order in which they were applied, without ``identity``."""
    names = (name.strip().lower().removeprefix("x-") for name in header.split(","))
    return [name for name in names if name not in ("", "identity")]


def decode_body(read: Read, header: str, url: str, *, is_archive: bool) -> tuple[Read, bool]:
    """Return a function that reads the body as it was before the encoding, and whether that differs from the body as sent.

    A header ``gzip`` for a ``.tar.gz`` mostly describes that file: it is decoded only if another archive is inside.
    """
    names = parse_encodings(header)
    if not 0 < len(names) <= _ENCODINGS_MAX or not {*names} <= {"gzip", "deflate"}:
        return read, False
    reader = _DecodingReader(read, names, header, urlsplit(url).path)
    return (reader.read, True) if reader.must_decode(is_archive) else (reader.read_raw, False)


class _DecodingReader:
    """The first chunk of a body, and what to make of the rest."""

    def __init__(self, read: Read, names: list[str], header: str, path: str) -> None:
        self._read, self._names, self._header, self._path = read, names, header, path.lower()
        self._head = read(CHUNK_BYTES)
        self._chunks: Iterator[bytes] | None = None
        self._rest = memoryview(b"")

    def must_decode(self, is_archive: bool) -> bool:
        """Whether the encoding was applied on top of the file, judged by what is inside."""
        try:
            decoded = next(self._decode(iter([self._head])), b"")[:_HEAD_BYTES]
        except ArchiveError:
            return False
        if not is_archive:
            return not self._path.endswith(_GZIP_SUFFIXES)
        return bool(formats.identify(decoded)) or self._path.endswith(".tar")

    def read_raw(self, size: int) -> bytes:
        """Read the body as it is."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._read(size)

    def read(self, size: int) -> bytes:
        """Read the decoded body."""
        self._chunks = self._chunks or self._decode(iter(lambda: self.read_raw(_SLICE_BYTES), b""))
        self._rest = self._rest or memoryview(next(self._chunks, b""))
        data, self._rest = self._rest[:size], self._rest[size:]
        return bytes(data)

    def _decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for name in reversed(self._names):
            chunks = _inflate(chunks, name, f"the server states Content-Encoding: {self._header}, and its body")
        return chunks


def _inflate(chunks: Iterator[bytes], name: str, what: str) -> Iterator[bytes]:
    """Decode gzip of any number of members, or deflate with or without its header."""
    ratio, received_bytes, decoded_bytes = settings.unpack_limits()[2], 0, 0
    decoder: zlib._Decompress | None = None
    for chunk in chunks:
        received_bytes += len(chunk)
        data = chunk
        while data:
            if decoder is None and not (data := data.lstrip(b"\0") if received_bytes > len(chunk) else data):
                break
            decoder = decoder or zlib.decompressobj(_choose_window(name, data))
            try:
                decoded = decoder.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise ArchiveError(f"{what} is damaged: {show(error)}") from error
            decoded_bytes += len(decoded)
            if decoded_bytes > max(budget.RATIO_CHECK_MIN_BYTES, received_bytes * ratio):
                raise ArchiveError(
                    f"{what} grows by more than the factor {ratio:g}", fix="Set TFIMM_RESOLVER_MAX_RATIO higher."
                )
            if decoded:
                yield decoded
            data = decoder.unconsumed_tail
            if decoder.eof:
                data, decoder = decoder.unused_data, None
    if decoder is not None:
        raise ArchiveError(f"{what} is cut short")


def _choose_window(name: str, data: bytes) -> int:
    """Return zlib's parameter for the format."""
    if name == "gzip":
        return 31
    has_header = len(data) > 1 and data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
    return 15 if has_header else -15
