"""Sinks for the stream of a download: one unpacks an archive, the other writes a single file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Union

from tfimm_resolver import settings
from tfimm_resolver.archives.budget import Limits
from tfimm_resolver.archives.extractor import CHUNK_BYTES, ArchiveInput, Extractor, Stream
from tfimm_resolver.archives.tar_reader import make_end_error
from tfimm_resolver.archives.unpacking import ArchiveLayout, unpack
from tfimm_resolver.errors import ArchiveError
from tfimm_resolver.http.retry import RestartDownloadError
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.transfer.foreign_files import ForeignFileCheck

Sink = Callable[[Stream, Path, Union[int, None]], list[FileEntry]]
"""Writes a stream into an empty directory, and returns the files; the third argument is the length of the stream, if known."""


class BodyChecks:
    """What confirms that a body is complete and of one version, for what an archive itself does not show.

    Attributes:
        handle: for messages.
        is_hash_known: a hash of all of its bytes is compared at the end.
        is_from_ranges: it was put together from several responses, and no hash of it is known.
    """

    def __init__(self, handle: str, *, is_hash_known: bool = False, is_from_ranges: bool = False) -> None:
        self.handle, self.is_hash_known, self.is_from_ranges = handle, is_hash_known, is_from_ranges

    def apply(self, layout: ArchiveLayout) -> ArchiveLayout:
        """Return the layout with these checks."""
        return layout._replace(
            on_several_members=self._reject_mixed_members,
            on_missing_end=self._reject_missing_end,
            label=self.handle,
        )

    def _reject_mixed_members(self) -> None:
        """Start over as one stream: in ranges, streams of two versions would all match their checksums."""
        if self.is_from_ranges:
            raise RestartDownloadError(
                f"{self.handle} consists of several compressed streams, and its hash is not known", without_ranges=True
            )

    def _reject_missing_end(self) -> None:
        if not self.is_hash_known:
            raise make_end_error()


def make_unpack_sink(layout: ArchiveLayout, origin: str = "") -> Sink:
    """Return a sink that unpacks an archive, and refuses files of other formats; ``origin`` is its URL or path."""

    def sink(stream: Stream, into: Path, size_bytes: int | None) -> list[FileEntry]:
        check, limits = ForeignFileCheck(origin), Limits(*settings.unpack_limits())
        try:
            files = unpack(stream, into, limits, packed_bytes=size_bytes, layout=layout._replace(on_start=check.check_start))
        except ArchiveError as error:
            if (explained := check.explain(error)) is error:
                raise
            raise explained from error
        if not layout.strip_top_level:  # else it is a repository, which may have files of any names
            check.check_members(file.path for file in files)
        return files

    return sink


def make_file_sink(name: str, origin: str = "") -> Sink:
    """Return a sink that writes the stream to the file ``name``; refuses pages and pointers instead of a model's file."""

    def sink(stream: Stream, into: Path, size_bytes: int | None) -> list[FileEntry]:
        packed = ArchiveInput(stream, size_bytes)
        ForeignFileCheck(origin).check_file(packed.peek(CHUNK_BYTES), name)
        with Extractor(into, packed, Limits(*settings.unpack_limits())) as target:
            target.write_file(name, target.enforce_limits(packed.chunks()), size_bytes or 0)
            target.finish()
        return target.files

    return sink
