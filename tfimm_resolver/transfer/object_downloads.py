"""Downloads from buckets: an archive that is one object, or every object below a URL."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from tfimm_resolver import settings
from tfimm_resolver._util.threads import PrefetchReader
from tfimm_resolver.archives.budget import Limits
from tfimm_resolver.archives.extractor import ArchiveInput, Extractor
from tfimm_resolver.errors import ArchiveError, IntegrityError, NotFoundError
from tfimm_resolver.errors.advice import suggest_refresh
from tfimm_resolver.manifest import FileEntry, Origin
from tfimm_resolver.object_store.client import ObjectInfo, ObjectStoreClient
from tfimm_resolver.progress.reporters import ProgressReporter
from tfimm_resolver.transfer.revalidation import NotModifiedError
from tfimm_resolver.transfer.streams import ChunkReader, HashingReader, report_chunks

ReportProgress = Callable[[int], AbstractContextManager[ProgressReporter]]
"""Given a number of bytes, reports their progress until its context is left."""


@contextlib.contextmanager
def open_archive(
    url: str, known: Origin | None, report_progress: ReportProgress
) -> Iterator[tuple[str, int, HashingReader, PrefetchReader]]:
    """Open the archive at ``url``; yield its ETag, its size, what hashes it, and a stream of its bytes.

    Raises:
        NotModifiedError: if the object is the one that is ``known``.
    """
    folder, _, name = url.rpartition("/")
    client = ObjectStoreClient(folder)
    info = client.get_info(name)
    if known and info.etag and (known.url, known.etag, known.size_bytes) == (url, info.etag, info.size_bytes):
        raise NotModifiedError(known)
    with contextlib.ExitStack() as stack:
        meter = stack.enter_context(report_progress(info.size_bytes))
        streams = stack.enter_context(contextlib.closing(client.stream_objects([info], settings.connections())))
        hashed = HashingReader(ChunkReader(next(streams)[1], meter).read)
        stream = stack.enter_context(contextlib.closing(PrefetchReader(hashed.read_chunk)))
        yield info.etag, info.size_bytes, hashed, stream


def download_objects(
    handle: str,
    url: str,
    into: Path,
    expected: tuple[FileEntry, ...] | None,
    report_progress: ReportProgress,
    reserve: Callable[[int], object],
) -> tuple[FileEntry, ...]:
    """Download every object below ``url``, or the ``expected`` ones; raises as ``Downloader.objects``."""
    client = ObjectStoreClient(url)
    infos = client.list_files() if expected is None else [ObjectInfo(file.path, file.size_bytes, 0, "") for file in expected]
    if not infos:
        raise NotFoundError(f"{handle}: found no objects below {url}", fix="Check the spelling: it has to be a directory.")
    if any(not info.name for info in infos):
        raise _make_unreadable_error(f"{handle}: the object {url}/ has bytes")
    reserve(sum(info.size_bytes for info in infos))
    try:
        files = _fetch_objects(client, infos, into, report_progress)
    except ArchiveError as error:
        raise ArchiveError(f"{handle}: {error.text}", fix=error.advice, is_page=error.is_page) from error
    except NotFoundError as error:
        if expected is None:
            raise _make_unreadable_error(f"{handle}: {error.text}, although it was listed") from error
        raise IntegrityError(error.text, fix=suggest_refresh(handle)) from error
    except IntegrityError as error:
        if expected is None:
            raise
        raise IntegrityError(error.text, fix=suggest_refresh(handle)) from error
    if expected is not None and (differing := {*files} - {*expected}):
        names = ", ".join(sorted(file.path for file in differing))
        raise IntegrityError(f"{url} does not match its recorded sha256: {names}", fix=suggest_refresh(handle))
    return files


def _make_unreadable_error(text: str) -> NotFoundError:
    """Return the error for an object that was listed and cannot be read under its name, as ``name/`` with bytes."""
    return NotFoundError(
        f"{text}\n  its name may end in a slash, like that of a directory, or it was removed just now",
        fix="If it has such a name, rename or remove the object; else try again.",
    )


def _fetch_objects(
    client: ObjectStoreClient, infos: list[ObjectInfo], into: Path, report_progress: ReportProgress
) -> tuple[FileEntry, ...]:
    total_bytes = sum(info.size_bytes for info in infos)
    with contextlib.ExitStack() as stack:
        meter = stack.enter_context(report_progress(total_bytes))
        streams = stack.enter_context(contextlib.closing(client.stream_objects(infos, settings.connections())))
        no_archive = ArchiveInput(io.BytesIO(), total_bytes)
        target = stack.enter_context(Extractor(into, no_archive, Limits(*settings.unpack_limits())))
        target.check_size(total_bytes, len(infos))
        for info, chunks in streams:
            target.write_file(info.name, report_chunks(chunks, meter), info.size_bytes)
        target.finish()
    return tuple(sorted(target.files, key=lambda file: file.path))
