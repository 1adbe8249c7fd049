"""What consumes the stream of a download: an archive is unpacked, anything else becomes one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Union

from tfimm_resolver import settings
from tfimm_resolver.archives.extractor import CHUNK_BYTES, ArchiveInput, Extractor, Limits, Stream
from tfimm_resolver.archives.unpacking import ArchiveLayout, unpack
from tfimm_resolver.manifest import FileEntry

Sink = Callable[[Stream, Path, Union[int, None]], list[FileEntry]]
"""Puts a stream of so many bytes, if that is known, into an empty directory."""


def make_unpack_sink(form: ArchiveLayout) -> Sink:
    """Unpacks an archive."""
    return lambda stream, into, size_bytes: unpack(
        stream, into, Limits(*settings.unpack_limits()), packed_bytes=size_bytes, form=form
    )


def make_file_sink(name: str) -> Sink:
    """Writes all as one file."""

    def put(stream: Stream, into: Path, size_bytes: int | None) -> list[FileEntry]:
        packed = ArchiveInput(stream, size_bytes)
        packed.peek(CHUNK_BYTES)
        with Extractor(into, packed, Limits(*settings.unpack_limits())) as target:
            target.file(name, target.limited(packed.pieces()), size_bytes or 0)
            target.finish()
        return target.files

    return put
