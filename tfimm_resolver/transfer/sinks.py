"""Sinks for the stream of a download: one unpacks an archive, the other writes a single file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Union

from tfimm_resolver import settings
from tfimm_resolver.archives.extractor import CHUNK_BYTES, ArchiveInput, Extractor, Limits, Stream
from tfimm_resolver.archives.unpacking import ArchiveLayout, unpack
from tfimm_resolver.manifest import FileEntry

Sink = Callable[[Stream, Path, Union[int, None]], list[FileEntry]]
"""Writes a stream into an empty directory, and returns the files; the third argument is the length of the stream, if known."""


def make_unpack_sink(layout: ArchiveLayout) -> Sink:
    """Return a sink that unpacks an archive."""
    return lambda stream, into, size_bytes: unpack(
        stream, into, Limits(*settings.unpack_limits()), packed_bytes=size_bytes, layout=layout
    )


def make_file_sink(name: str) -> Sink:
    """Return a sink that writes the stream to the file ``name``."""

    def sink(stream: Stream, into: Path, size_bytes: int | None) -> list[FileEntry]:
        packed = ArchiveInput(stream, size_bytes)
        packed.peek(CHUNK_BYTES)
        with Extractor(into, packed, Limits(*settings.unpack_limits())) as target:
            target.write_file(name, target.enforce_limits(packed.chunks()), size_bytes or 0)
            target.finish()
        return target.files

    return sink
