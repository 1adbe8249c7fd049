"""Local paths: a directory, or that of a graph, is used in place; an archive is unpacked once, keyed by its content."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import FetchError, HandleError, IntegrityError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.handles.handle import ARCHIVE_SUFFIXES, Handle
from tfimm_resolver.handles.pin import CONTENT_KEY
from tfimm_resolver.manifest import SAVED_MODEL_FILES
from tfimm_resolver.sources.plan import Fetch, InPlace

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.sources.plan import Fetcher

SCHEMES = ("", "file")


def plan(handle: Handle) -> InPlace | Fetch | None:
    """Return the plan for a local path; None if nothing exists there."""
    path = find_path(handle)
    if os.path.isdir(path):
        return InPlace(path)
    if not os.path.isfile(path):
        return None
    if os.path.basename(path) in SAVED_MODEL_FILES:
        return InPlace(os.path.dirname(path))
    if not handle.is_archive:
        raise _make_not_archive_error(path)

    content = _sha256(path)

    def fill(into: Path, fetcher: Fetcher) -> None:
        fetcher.local_archive(path, into)
        if fetcher.origin.sha256 != content:
            raise IntegrityError(f"{show(path)} changed while it was read", fix="Try again when it is fully written.")

    return Fetch(CONTENT_KEY + content, fill)


def _make_not_archive_error(path: str) -> HandleError:
    """Return the error of a file whose name is not that of an archive, with what the file is if it is recognized."""
    from tfimm_resolver.saved_model import recognition

    found = recognition.recognize(recognition.read_start(path), os.path.basename(path))
    suffixes = f"{', '.join(ARCHIVE_SUFFIXES[:-1])} or {ARCHIVE_SUFFIXES[-1]}"
    text = f"{show(path)} is a file, but its name does not end in {suffixes}"
    return (
        HandleError(text, fix="Rename the file if it is such an archive, or give the path of the model's directory.")
        if found is None
        else HandleError(f"{text}: it is {found.title}", fix=found.advice)
    )


def find_path(handle: Handle) -> str:
    """Return the absolute path; ``~`` and variables are expanded unless a file with the literal name exists."""
    is_literal = os.path.exists(handle.path) or not settings.is_encodable(handle.path)  # the latter exists nowhere
    return os.path.abspath(handle.path) if is_literal else settings.expand_path(handle.path)


def _sha256(path: str) -> str:
    import hashlib  # 6 ms that the import of the package does not pay

    digest = hashlib.sha256()
    failed = map_os_errors(FetchError, f"{show(path)} cannot be read")
    with failed, open(path, "rb", buffering=0, opener=fs.open_regular_target) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
