"""Brings archives and files from the network or from a disk, unpacks on the way, and remembers where they came from."""

from __future__ import annotations

import contextlib
import io
import logging
from dataclasses import replace
from pathlib import Path

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.threads import PrefetchReader
from tfimm_resolver.archives.extractor import ArchiveInput, Extractor, Limits
from tfimm_resolver.archives.unpacking import PLAIN, ArchiveLayout
from tfimm_resolver.errors import ArchiveError, CacheError, IntegrityError, NotFoundError, OfflineError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.http import mirrors
from tfimm_resolver.http.digest_headers import ServerDigests
from tfimm_resolver.http.retry import RestartDownloadError, RetryPolicy, retry
from tfimm_resolver.manifest import FileEntry, Origin
from tfimm_resolver.object_store.client import ObjectInfo, ObjectStoreClient
from tfimm_resolver.progress import reporters
from tfimm_resolver.transfer.checksums import Checksums
from tfimm_resolver.transfer.partial_store import PartStore
from tfimm_resolver.transfer.sinks import Sink, make_file_sink, make_unpack_sink
from tfimm_resolver.transfer.streams import ChunkReader, HashingReader, LocalFile, with_progress

log = logging.getLogger("tfimm_resolver")

_PLACE_BYTES_MAX = 3000


class Downloader:
    """Brings what one model is made of.

    Attributes:
        origin: where it came from; complete once ``archive``, ``file`` or ``local_archive`` has returned.
        files: what was written, with the hash of each; None before that.
        parts: where an unfinished download is kept for the next one to go on with; need not exist.
    """

    def __init__(
        self, handle: Handle, parts: Path | None = None, *, is_quiet: bool = False, is_hash_known: bool = False
    ) -> None:
        """``is_hash_known``: the caller compares a hash of what comes, as the pin of a handle is."""
        self._handle, self.parts = handle, parts
        self._is_hash_known = is_hash_known or handle.sha256 is not None
        self._is_quiet = is_quiet or settings.is_quiet()
        self.origin = Origin()
        self.files: tuple[FileEntry, ...] | None = None

    def archive(self, url: str, into: Path, *, form: ArchiveLayout = PLAIN, authorization: str = "") -> None:
        """Bring the archive at ``url``, or of a mirror, and unpack it into the empty directory ``into``.

        ``authorization``, the header of that name, is for the host of ``url`` only, and goes before what netrc says.

        Raises:
            FetchError: if it did not come, whole; NotFoundError, AccessError, OfflineError and TransferTimeoutError say why.
            ArchiveError: if it may not be unpacked.
            IntegrityError: if the handle pins another sha256, or the server promised another hash.
            CacheError: if ``into`` cannot be written.
        """
        self._bring_whole(url, into, make_unpack_sink(form), authorization)

    def file(self, url: str, into: Path, name: str, *, authorization: str = "") -> None:
        """Bring what is at ``url`` as the one file ``name`` of the empty directory ``into``; all else is as of ``archive``."""
        self._bring_whole(url, into, make_file_sink(name), authorization, is_archive=False)

    def _bring_whole(self, url: str, into: Path, put: Sink, authorization: str, *, is_archive: bool = True) -> None:
        parts = PartStore(self.parts, into.with_suffix(".parts"))
        checksums = Checksums(is_archive=is_archive, is_hash_known=self._is_hash_known)

        def bring(address: str) -> None:
            fs.clear_dir(into)  # of what another place sent
            if not mirrors.is_local(address):
                return self._bring_from(address, into, put, parts, checksums, authorization if address == url else "")
            self._copy(mirrors.local_path(address), into, put)
            parts.clear()

        try:
            mirrors.try_each(url, bring, is_archive=is_archive)
        finally:
            parts.leave()

    def object_archive(self, place: str, into: Path) -> None:
        """Bring the archive that is the object at ``place``, with its bucket's credentials; raises as ``archive`` does."""
        folder, _, name = place.rpartition("/")
        objects = ObjectStoreClient(folder)
        found = objects.find(name)
        self.origin = Origin(place, found.etag)
        with contextlib.ExitStack() as stack:
            meter = stack.enter_context(reporters.report_progress(self._handle.public, found.size_bytes, quiet=self._is_quiet))
            streams = stack.enter_context(contextlib.closing(objects.streams([found], settings.connections())))
            hashed = HashingReader(ChunkReader(next(streams)[1], meter).read)
            stream = stack.enter_context(contextlib.closing(PrefetchReader(hashed.piece)))
            self._receive(stream, hashed, into, make_unpack_sink(PLAIN), found.size_bytes)

    def objects(self, place: str, into: Path, expected: tuple[FileEntry, ...] | None = None) -> None:
        """Bring every object below ``place``, or those that are expected, into the empty directory ``into``.

        Raises:
            FetchError: if they did not come; NotFoundError if there are none, IntegrityError if one is not as expected.
            ArchiveError: if one has a name that may not be written, or they are too many or too large.
            CacheError: if ``into`` cannot be written.
        """
        objects = ObjectStoreClient(place)
        wanted = objects.files() if expected is None else [ObjectInfo(file.path, file.size_bytes, 0, "") for file in expected]
        if not wanted:
            raise NotFoundError(
                f"{self._handle}: there is nothing below {place}", fix="Check the spelling; it is a directory's."
            )
        try:
            self._bring_objects(objects, wanted, into)
        except ArchiveError as error:
            raise ArchiveError(f"{self._handle}: {error.text}", fix=error.fix) from error
        except (NotFoundError, IntegrityError) as error:
            if expected is None:
                raise
            raise self._damaged(error.text) from error
        self.origin = Origin(place)
        if expected is not None and (other := {*(self.files or ())} - {*expected}):
            names = ", ".join(sorted(file.path for file in other))
            raise self._damaged(f"{place} holds other bytes than were fetched: {names}")

    def _damaged(self, text: str) -> IntegrityError:
        return IntegrityError(text, fix=f"Fetch {self._handle} anew with refresh=True (command line: --refresh).")

    def _bring_objects(self, objects: ObjectStoreClient, wanted: list[ObjectInfo], into: Path) -> None:
        total_bytes = sum(found.size_bytes for found in wanted)
        with contextlib.ExitStack() as stack:
            meter = stack.enter_context(reporters.report_progress(self._handle.public, total_bytes, quiet=self._is_quiet))
            streams = stack.enter_context(contextlib.closing(objects.streams(wanted, settings.connections())))
            nothing = ArchiveInput(io.BytesIO(), total_bytes)
            target = stack.enter_context(Extractor(into, nothing, Limits(*settings.unpack_limits())))
            target.expect(total_bytes, len(wanted))
            for found, pieces in streams:
                target.file(found.name, with_progress(pieces, meter), found.size_bytes)
            target.finish()
        self.files = tuple(sorted(target.files, key=lambda file: file.path))

    def local_archive(self, path: str, into: Path) -> None:
        """Unpack the archive at a local path; raises as ``archive`` does."""
        self._copy(path, into, make_unpack_sink(PLAIN))

    def _copy(self, path: str, into: Path, put: Sink) -> None:
        with LocalFile(path) as file:
            self.origin = Origin(path)
            hashed = HashingReader(file.read)
            with contextlib.closing(PrefetchReader(hashed.piece)) as stream:
                self._receive(stream, hashed, into, put, file.size_bytes)

    def see_other(self, url: str) -> str | None:
        """The body of a 303 answer to ``url``, not followed; None for any other answer.

        Raises:
            FetchError: if there is no answer.
        """

        def ask(address: str) -> str | None:
            self._refuse_directory(address)
            self._refuse_offline()
            from tfimm_resolver.http import errors
            from tfimm_resolver.http import session as http_session

            with (
                http_session.Session() as session,
                http_session.get(session, address, follow=False) as reply,
                errors.map_http_errors(address),
            ):
                if reply.status_code >= 400:
                    errors.raise_for_status(reply, str(self._handle))
                body = reply.raw.read(_PLACE_BYTES_MAX, decode_content=True) if reply.status_code == 303 else None
            return None if body is None else body.decode("utf-8", "replace").strip()

        return mirrors.try_each(url, ask)

    def _bring_from(self, url: str, into: Path, put: Sink, parts: PartStore, checksums: Checksums, authorization: str) -> None:
        self._refuse_offline()
        tries, is_plain, changes = RetryPolicy(), False, 0
        while True:
            try:
                self._bring(url, into, put, parts, tries, checksums, is_plain, authorization)
                return parts.clear()
            except RestartDownloadError as anew:
                if is_plain or not (anew.is_plain or anew.has_changed):
                    tries.after(anew.error, anew.came_bytes, is_kept=False)
                else:  # no failure of the server, and bounded: one change, then one stream
                    changes += 1
                    is_plain = anew.is_plain or changes > 1
                    log.info("%s; asking for it again%s", anew.error.text, ", in one stream" if is_plain else "")
            except (ArchiveError, IntegrityError):  # what came is bad
                parts.clear()
                raise
            except CacheError as error:
                had_parts = parts.of() is not None
                parts.clear()
                if is_plain or not had_parts:
                    raise
                log.warning("%s; trying again without keeping what comes", error.text)  # it may have taken the room
                is_plain = True
            fs.clear_dir(into)

    def page(self, url: str, *, authorization: str = "") -> bytes:
        """The body of an answer 200 to ``url``, or of a mirror, of at most 64 MiB; ``authorization`` as in ``archive``.

        Raises:
            FetchError: if there is none after all tries.
        """

        def ask(address: str) -> bytes:
            self._refuse_directory(address)
            self._refuse_offline()
            from tfimm_resolver.http import body as http_body
            from tfimm_resolver.http import session as http_session

            http_session.warn_if_tls_verification_disabled()
            who = http_session.OriginBoundAuth(url, authorization) if authorization and address == url else None
            with http_session.Session(who) as session:
                return retry(lambda: http_body.read_small_body(session, address, str(self._handle)))

        return mirrors.try_each(url, ask)

    def _bring(
        self,
        url: str,
        into: Path,
        put: Sink,
        parts: PartStore,
        tries: RetryPolicy,
        checksums: Checksums,
        is_plain: bool,
        authorization: str,
    ) -> None:
        from tfimm_resolver.http import errors
        from tfimm_resolver.http import (  # urllib3 tries a socket when it is imported, which offline may not be
            session as http_session,
        )
        from tfimm_resolver.transfer import download

        http_session.warn_if_tls_verification_disabled()
        with contextlib.ExitStack() as stack:
            who = http_session.OriginBoundAuth(url, authorization) if authorization else None
            body = download.open_download(str(self._handle), url, parts, tries, who, checksums=checksums, is_plain=is_plain)
            stack.callback(body.close)
            self.origin = Origin(errors.redact_url(body.reply.url), body.reply.headers.get("ETag", ""))
            meter = stack.enter_context(
                reporters.report_progress(self._handle.public, body.size_bytes, body.resumed_bytes, quiet=self._is_quiet)
            )
            told_bytes = 0

            def tell() -> None:
                nonlocal told_bytes
                arrived_bytes = body.arrived_bytes
                meter.advance(arrived_bytes - told_bytes)  # also of nothing: it says so if this one is to stop
                told_bytes = arrived_bytes

            hashed = HashingReader(body.read, ServerDigests(body.reply.headers, is_whole=body.reply.status_code == 200))
            stream = stack.enter_context(contextlib.closing(PrefetchReader(hashed.piece, tell, body.stop)))
            self._receive(stream, hashed, into, put, body.size_bytes)
            tell()

    def _receive(self, stream: PrefetchReader, hashed: HashingReader, into: Path, put: Sink, size_bytes: int | None) -> None:
        try:
            files = put(stream, into, size_bytes)
        except ArchiveError as error:
            raise ArchiveError(f"{self._handle}: {error.text}", fix=error.fix) from error
        self.origin = replace(self.origin, size_bytes=hashed.size_bytes, sha256=hashed.digest.hexdigest())
        hashed.check(self.origin.url)
        if self._handle.sha256 not in (None, self.origin.sha256):
            raise IntegrityError(
                f"{self._handle} has another sha256:\n  came   {self.origin.sha256}\n  pinned {self._handle.sha256}",
                fix="Mend the pin if you trust what came; nothing of it was kept.",
            )
        self.files = tuple(files)

    def _refuse_directory(self, address: str) -> None:
        if mirrors.is_local(address):
            raise NotFoundError(f"{self._handle}: a directory of archives answers no questions about them")

    def _refuse_offline(self) -> None:
        if settings.is_offline():
            place = settings.urls_root().value
            raise OfflineError(
                f"{self._handle} cannot be brought into the cache at {place}: TFIMM_RESOLVER_OFFLINE is set",
                fix="Unset it, or bring a copy and say where it is: set_model_cache(handle, path).",
            )
