"""Checks the files of a model that was fetched into a staging directory, before it is published."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tfimm_resolver._util.fs import walk
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.member_policy import safe_parts
from tfimm_resolver.cache.record import hash_tree
from tfimm_resolver.errors import ArchiveError, FetchError, IntegrityError, SourceError

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.manifest import FetchResult, FileEntry


def verify_staged(staged: Path, fetched: FetchResult, handle: str) -> tuple[FileEntry, ...]:
    """Return the list of staged files, after checking that the directory still holds everything that was fetched.

    Raises:
        ArchiveError: if the archive was empty, or a file has a name that may not be in a record.
        SourceError: if there was no archive, and the source of the handle wrote no files.
        IntegrityError: if another program removed or changed files that were just unpacked.
        FileNotFoundError: if it removed the directory.
    """
    os.stat(staged)
    files = hash_tree(str(staged)) if fetched.files is None else fetched.files
    if not files:
        raise _make_empty_error(fetched, handle)
    for file in files:
        safe_parts(file.path, is_canonical=True)  # else no reader would accept the record
    try:
        present = {path: os.stat(f"{staged}/{path}").st_size for path in walk(str(staged))}
    except FileNotFoundError:  # removed between walk and stat
        present = {}
    if present != {file.path: file.size_bytes for file in files}:
        size_bytes = sum(file.size_bytes for file in files)
        raise IntegrityError(
            f"unpacked {len(files)} files ({size_bytes} bytes) into {staged}, but {len(present)} files "
            f"({sum(present.values())} bytes) are there now",
            fix="Another program removes or changes new files there: try again, or set TFHUB_CACHE_DIR to another directory.",
        )
    return files


def _make_empty_error(fetched: FetchResult, handle: str) -> FetchError:
    """Return the error of a model without files: only one that was unpacked is the fault of an archive."""
    if fetched.origin.stated_sha256:
        return ArchiveError("the archive contains no files")
    return SourceError(
        f"the source of {show(handle)} wrote no files",
        fix="Check the handle; if it is correct, report this to the source's author.",
    )
