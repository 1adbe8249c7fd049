"""Downloads or copies archives and files, unpacks them while they arrive, and notes their origin."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.threads import PrefetchReader
from tfimm_resolver.archives.unpacking import PLAIN, ArchiveLayout
from tfimm_resolver.errors import ArchiveError, CacheError, IntegrityError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.handles.pin import Pin
from tfimm_resolver.http import mirrors
from tfimm_resolver.http.authorization import OriginBoundAuth, make_auth
from tfimm_resolver.http.retry import RestartDownloadError, RetryPolicy
from tfimm_resolver.manifest import FileEntry, Origin
from tfimm_resolver.progress.reporters import ProgressReporter, report_progress
from tfimm_resolver.transfer import small_requests
from tfimm_resolver.transfer.checksums import Checksums
from tfimm_resolver.transfer.partial_store import PartStore
from tfimm_resolver.transfer.preconditions import raise_if_mirrored_post, raise_if_offline
from tfimm_resolver.transfer.sinks import BodyChecks, Sink, make_file_sink, make_unpack_sink
from tfimm_resolver.transfer.streams import HashingReader, LocalFile

log = logging.getLogger("tfimm_resolver")


class Downloader:
    """Fetches the files of one model: implements ``sources.plan.Fetcher``.

    Attributes:
        origin: where the files came from; complete once ``archive``, ``file`` or ``local_archive`` has returned.
        files: what was written, with the hash of each; None before that.
        parts: where a partial download is stored for the next one to resume; need not exist.
    """

    def __init__(
        self,
        handle: Handle,
        parts: Path | None = None,
        *,
        is_quiet: bool = False,
        is_hash_known: bool = False,
        known: Origin | None = None,
        reserve: Callable[[int], object] | None = None,
    ) -> None:
        """Create a downloader for one model.

        ``is_hash_known``: the caller compares the sha256 of what is downloaded, as this class does for a pinned handle.
        ``known``: where the copy that the caller has is from; if that is what is there, NotModifiedError is raised.
        ``reserve`` is called with the number of bytes that are about to be received, once the server has told it.
        """
        self._known, self._reserve = known, reserve
        self._handle, self.parts = handle, parts
        self._is_hash_known = is_hash_known or handle.sha256 is not None
        self._checks = BodyChecks(str(handle))
        self._is_quiet = is_quiet or settings.is_quiet()
        self.origin = Origin()
        self.files: tuple[FileEntry, ...] | None = None

    def archive(
        self, url: str, into: Path, *, layout: ArchiveLayout = PLAIN, authorization: str = "", post_data: bytes | None = None
    ) -> None:
        """Download the archive at ``url``, or from a mirror, and unpack it into the empty directory ``into``.

        ``authorization``, the value of that header, is sent to the host of ``url`` only, and overrides netrc.
        ``post_data``, JSON, is sent by POST to ``url`` only, and to no mirror.

        Raises:
            FetchError: if the download failed; NotFoundError, AccessError, OfflineError and TransferTimeoutError say why.
            ArchiveError: if it is not a valid archive, or is not safe to unpack.
            IntegrityError: if the sha256 differs from the handle's pin, or a digest from the one that the server stated.
            CacheError: if ``into`` cannot be written.
        """
        sink = make_unpack_sink(self._checks.apply(layout), url.partition("?")[0])
        self._fetch(url, into, sink, authorization, post_data)

    def file(self, url: str, into: Path, name: str, *, authorization: str = "") -> None:
        """Download ``url`` as the file ``name`` of the empty directory ``into``; otherwise like ``archive``."""
        self._fetch(url, into, make_file_sink(name, url.partition("?")[0]), authorization, is_archive=False)

    def _fetch(
        self,
        url: str,
        into: Path,
        sink: Sink,
        authorization: str,
        post_data: bytes | None = None,
        *,
        is_archive: bool = True,
    ) -> None:
        parts = PartStore(self.parts, into.with_suffix(".parts"))
        checksums = Checksums(is_archive=is_archive, is_hash_known=self._is_hash_known)

        def fetch_from(mirrored: str) -> None:
            raise_if_mirrored_post(self._handle, url, mirrored, post_data)
            fs.clear_dir(into)  # another mirror may have sent a part of the files
            if not mirrors.is_local(mirrored):
                auth = make_auth(url, authorization, post_data) if mirrored == url else None
                return self._fetch_with_retry(mirrored, into, sink, parts, checksums, auth)
            self._copy(mirrors.get_local_path(mirrored), into, sink)
            parts.clear()

        try:
            mirrors.try_each(url, fetch_from, is_archive=is_archive)
        finally:
            parts.clear_temporary()

    def object_archive(self, url: str, into: Path) -> None:
        """Download the archive that is one object of a bucket, and unpack it; raises as ``archive`` does."""
        from tfimm_resolver.transfer import object_downloads  # takes 4 ms

        with object_downloads.open_archive(url, self._known, self._report_progress) as (etag, size_bytes, hashed, stream):
            self.reserve(size_bytes)
            self.origin = Origin(url, etag)
            self._receive(stream, hashed, into, make_unpack_sink(self._checks.apply(PLAIN), url), size_bytes)

    def objects(self, url: str, into: Path, expected: tuple[FileEntry, ...] | None = None) -> None:
        """Download every object below ``url``, or the ``expected`` ones, into the empty directory ``into``.

        Raises:
            FetchError: if that failed; NotFoundError if there are none, IntegrityError if one is not as expected.
            ArchiveError: if the name of one is not safe to write, or there are too many, or they are too large.
            CacheError: if ``into`` cannot be written.
        """
        from tfimm_resolver.transfer import object_downloads

        self.files = object_downloads.download_objects(
            str(self._handle), url, into, expected, self._report_progress, self.reserve
        )
        self.origin = Origin(url)

    def reserve(self, size_bytes: int) -> None:
        """Make room in the cache for so many bytes that are about to be received, if its size is limited."""
        if self._reserve is not None and size_bytes > 0:
            self._reserve(size_bytes)

    def local_archive(self, path: str, into: Path) -> None:
        """Unpack the archive at a local path; raises as ``archive`` does."""
        self._copy(path, into, make_unpack_sink(self._checks.apply(PLAIN), path))

    def _copy(self, path: str, into: Path, sink: Sink) -> None:
        with LocalFile(path) as file:
            self.reserve(file.size_bytes)
            self.origin = Origin(path)
            hashed = HashingReader(file.read)
            with contextlib.closing(PrefetchReader(hashed.read_chunk, size_bytes=file.size_bytes)) as stream:
                self._receive(stream, hashed, into, sink, file.size_bytes)

    def get_redirect_target(self, url: str) -> str | None:
        """Return the body of a 303 response to ``url``, which is not followed; None for any other response."""
        return small_requests.get_redirect_target(self._handle, url)

    def _fetch_with_retry(
        self, url: str, into: Path, sink: Sink, parts: PartStore, checksums: Checksums, auth: OriginBoundAuth | None
    ) -> None:
        raise_if_offline(self._handle)
        policy, without_ranges, changes = RetryPolicy(), False, 0
        while True:
            try:
                self._fetch_once(url, into, sink, parts, policy, checksums, without_ranges, auth)
                return parts.clear()
            except RestartDownloadError as restart:
                if without_ranges or not (restart.without_ranges or restart.has_changed):
                    policy.sleep_or_raise(restart.error, restart.received_bytes, is_resumable=False)
                else:  # not a failure of the server, and bounded: one change, then one stream
                    changes += 1
                    without_ranges = restart.without_ranges or changes > 1
                    log.info("%s; starting over%s", restart.error.text, " without range requests" if without_ranges else "")
            except (ArchiveError, IntegrityError):  # the downloaded bytes are bad
                parts.clear()
                raise
            except CacheError as error:
                if not into.is_dir():  # another program removed it; the next try resumes from the parts
                    raise
                had_parts = parts.load() is not None or isinstance(error.__cause__, FileNotFoundError)
                parts.clear()
                if without_ranges or not had_parts:
                    raise
                # The parts may be what filled the disk.
                log.warning("%s; trying again without storing a partial download", error.text)
                without_ranges = True
            fs.clear_dir(into)

    def get_bytes(self, url: str, *, authorization: str = "", post_data: bytes | None = None) -> bytes:
        """Return the body at ``url``, or at a mirror, of at most 64 MiB; the other arguments as in ``archive``."""
        return small_requests.get_bytes(self._handle, url, authorization, post_data)

    def _fetch_once(
        self,
        url: str,
        into: Path,
        sink: Sink,
        parts: PartStore,
        policy: RetryPolicy,
        checksums: Checksums,
        without_ranges: bool,
        auth: OriginBoundAuth | None,
    ) -> None:
        # Imported here: urllib3 opens a socket when it is imported, which is not allowed offline.
        from tfimm_resolver.http.session import warn_if_tls_verification_disabled
        from tfimm_resolver.transfer.download import open_download
        from tfimm_resolver.transfer.received import explain_encoding, make_origin, open_hashed

        warn_if_tls_verification_disabled()
        with contextlib.ExitStack() as stack:
            handle = str(self._handle)
            body = open_download(
                handle, url, parts, policy, auth, checksums=checksums, without_ranges=without_ranges, known=self._known
            )
            stack.callback(body.close)
            self.reserve((body.size_bytes or 0) - body.resumed_bytes)
            self.origin = make_origin(body.response)
            meter = stack.enter_context(self._report_progress(body.size_bytes, body.resumed_bytes))
            reported_bytes = 0

            def report() -> None:
                nonlocal reported_bytes
                received_bytes = body.received_bytes
                meter.advance(received_bytes - reported_bytes)
                reported_bytes = received_bytes

            hashed, size_bytes = open_hashed(body.read, body.response, body.size_bytes, is_archive=checksums.is_archive)
            reader = PrefetchReader(hashed.read_chunk, report, body.interrupt, size_bytes=size_bytes)
            stream = stack.enter_context(contextlib.closing(reader))
            with explain_encoding(body.response):
                self._receive(stream, hashed, into, sink, size_bytes, is_from_ranges=body.is_checked_by_member)
            report()

    def _receive(
        self,
        stream: PrefetchReader,
        hashed: HashingReader,
        into: Path,
        sink: Sink,
        size_bytes: int | None,
        *,
        is_from_ranges: bool = False,
    ) -> None:
        self._checks.is_hash_known = self._is_hash_known or hashed.has_expected
        self._checks.is_from_ranges = is_from_ranges  # of this body, not of one before it from another mirror
        try:
            files = sink(stream, into, size_bytes)
        except ArchiveError as error:
            text = f"{self._handle}: {error.text}"
            raise ArchiveError(text, fix=error.advice, is_page=error.is_page) from error
        self.origin = self.origin._replace(size_bytes=hashed.size_bytes, sha256=hashed.digest.hexdigest())
        hashed.check(self.origin.url)
        Pin(self._handle.sha256).check_received(self.origin, str(self._handle))
        self.files = tuple(files)

    def _report_progress(
        self, size_bytes: int | None, resumed: int = 0
    ) -> contextlib.AbstractContextManager[ProgressReporter]:
        return report_progress(self._handle.redacted, size_bytes, resumed, quiet=self._is_quiet)
