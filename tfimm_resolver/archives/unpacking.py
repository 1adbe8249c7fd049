"""Unpacks an untrusted archive: files, directories and copies of linked files, below one directory, or an error."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives import formats, tar_reader
from tfimm_resolver.archives.budget import Limits
from tfimm_resolver.archives.decompression import decompress
from tfimm_resolver.archives.extractor import ArchiveInput, Extractor, Stream
from tfimm_resolver.archives.member_policy import is_litter, quote_name
from tfimm_resolver.archives.tar_header import BLOCK_BYTES
from tfimm_resolver.errors import ArchiveError
from tfimm_resolver.manifest import SAVED_MODEL_FILES, FileEntry

log = logging.getLogger("tfimm_resolver")


class ArchiveLayout(NamedTuple):
    """What is known of an archive's layout.

    Attributes:
        strip_top_level: the archive must consist of one top-level directory, which is stripped from every path.
        on_comment: called with a zip's comment before anything is unpacked; may raise.
        on_start: called with the first bytes of what is not a plain tar, before anything is unpacked; may raise.
        on_several_members: called if a compressed tar has several streams or blocks, each with a checksum of its own bytes
            only; may raise.
        on_missing_end: called if a tar has no end-of-archive marker; may raise. Without it, that is an error.
        skips_unsupported: what this system cannot hold, and links that lead to no file, are left out of a zip with a warning.
        label: what warnings call the archive: the handle.
    """

    strip_top_level: bool = False
    on_comment: Callable[[str], None] | None = None
    on_start: Callable[[bytes], None] | None = None
    on_several_members: Callable[[], None] | None = None
    on_missing_end: Callable[[], None] | None = None
    skips_unsupported: bool = False
    label: str = ""

    def describe(self) -> str:
        """Return what messages call the archive."""
        return show(self.label) if self.label else "the archive"


PLAIN = ArchiveLayout()


def unpack(
    stream: Stream,
    into: Path,
    limits: Limits | None = None,
    *,
    packed_bytes: int | None = None,
    layout: ArchiveLayout = PLAIN,
) -> list[FileEntry]:
    """Unpack an archive, recognized by content, into an empty directory, and return its files sorted by path.

    It is a .zip or a .tar, plain or compressed with gzip, bzip2, xz, lzma or zstd. The stream is read to its end and must
    contain nothing but the archive. Modes and owners in it are ignored; links become copies. A single top-level directory
    around a SavedModel is stripped.

    Args:
        packed_bytes: the size of the archive, if known; used to check and report the disk space that is needed.

    Raises:
        ArchiveError: if it is not an archive, is damaged, exceeds the limits, or has a member that is not a regular file,
            a directory or a link to a regular file inside, that would leave ``into``, or whose name collides with another
            one.
        CacheError: if the disk is full or cannot be written.
    """
    packed = ArchiveInput(stream, packed_bytes)
    head = packed.peek(BLOCK_BYTES)
    if not head:
        raise ArchiveError(f"it is not a {formats.DESCRIPTION}: it is empty")
    if layout.on_start is not None and (formats.identify(head) or not tar_reader.is_header(head)):
        layout.on_start(head)
    with Extractor(into, packed, limits or Limits()) as extractor:
        extractor.check_disk_space(packed_bytes or 0)  # unpacked data is usually larger than the archive
        if (form := _identify(packed, head)) == formats.ZIP:
            from tfimm_resolver.archives.zip_extraction import unzip  # 2 ms that a tar does not pay

            unzip(extractor, layout, head)
        else:
            chunks = _read_tar(packed, form, layout)
            members = tar_reader.read_members(
                extractor.enforce_limits(chunks), extractor.budget, on_missing_end=layout.on_missing_end
            )
            extractor.extract(members, last_wins=True)
        extractor.finish()
        _warn_of_replaced(extractor.find_replaced(), layout)
    prefix = _strip_top_level_dir(into, layout.strip_top_level)
    files = extractor.files
    if prefix:
        files = [file._replace(path=file.path.removeprefix(prefix)) for file in files if file.path.startswith(prefix)]
    return sorted(files, key=lambda file: file.path)


def _identify(packed: ArchiveInput, head: bytes) -> str:
    """Return the format of an archive, empty for a plain tar."""
    if form := formats.identify(head):
        return form
    if tar_reader.is_header(head):
        return ""
    if formats.is_lzma(head):
        return formats.LZMA
    from tfimm_resolver.archives.zip_directory import STUB_BYTES_MAX, may_follow_stub

    if may_follow_stub(packed.peek(STUB_BYTES_MAX)):
        return formats.ZIP
    raise formats.make_error(head)


def _read_tar(packed: ArchiveInput, form: str, layout: ArchiveLayout) -> Iterator[bytes | memoryview]:
    """Return the chunks of a tar, decompressed if it is compressed."""
    return decompress(packed, form, layout.on_several_members) if form else packed.chunks()


def _warn_of_replaced(paths: list[str], layout: ArchiveLayout) -> None:
    for path in paths:
        log.warning(
            "%s contains %s more than once, with different bytes: the last one is used, as by tar",
            layout.describe(),
            quote_name(path),
        )


def _strip_top_level_dir(into: Path, is_required: bool) -> str:
    """Strip a single top-level directory, if it holds a SavedModel or is required, and return the stripped prefix.

    What macOS adds beside it does not count, and is removed with it.
    """
    names = [name for name in os.listdir(into) if not is_litter(name)]
    if is_required and not (len(names) == 1 and (into / names[0]).is_dir()):
        found = ", ".join(map(quote_name, sorted(names)[:5])) or "nothing"
        raise ArchiveError(f"it does not have exactly one top-level directory, but contains {found}")
    is_model = len(names) == 1 and any((into / names[0] / file).is_file() for file in SAVED_MODEL_FILES)
    if not is_required and not is_model:
        return ""
    for name in filter(is_litter, os.listdir(into)):
        (into / name).unlink() if (into / name).is_file() else shutil.rmtree(into / name)
    top_level = (into / names[0]).rename(into / os.urandom(16).hex())
    for child in list(top_level.iterdir()):
        child.rename(into / child.name)
    top_level.rmdir()
    return f"{names[0]}/"
