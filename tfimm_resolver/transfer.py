"""Brings archives and files from the network or from a disk, unpacks on the way, and remembers where they came from."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Union

from tfimm_resolver import disk, mirrors, progress, settings
from tfimm_resolver.ahead import Ahead
from tfimm_resolver.archive import PLAIN, Form, unpack
from tfimm_resolver.checksums import Checksums
from tfimm_resolver.digests import Digests
from tfimm_resolver.errors import ArchiveError, CacheError, IntegrityError, NotFoundError, OfflineError
from tfimm_resolver.handle import Handle
from tfimm_resolver.objects import Found, Objects
from tfimm_resolver.parts import Parts
from tfimm_resolver.record import File, Origin
from tfimm_resolver.streams import Cut, Hashed, LocalFile, counted
from tfimm_resolver.target import PIECE_BYTES, Limits, Packed, Stream, Target
from tfimm_resolver.tries import AnewError, Tries, persistently

log = logging.getLogger("tfimm_resolver")

_PLACE_BYTES_MAX = 3000

_Put = Callable[[Stream, Path, Union[int, None]], list[File]]
"""Puts a stream of so many bytes, if that is known, into an empty directory."""


class Transfer:
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
        self.files: tuple[File, ...] | None = None

    def archive(self, url: str, into: Path, *, form: Form = PLAIN, authorization: str = "") -> None:
        """Bring the archive at ``url``, or of a mirror, and unpack it into the empty directory ``into``.

        ``authorization``, the header of that name, is for the host of ``url`` only, and goes before what netrc says.

        Raises:
            FetchError: if it did not come, whole; NotFoundError, AccessError, OfflineError and TransferTimeoutError say why.
            ArchiveError: if it may not be unpacked.
            IntegrityError: if the handle pins another sha256, or the server promised another hash.
            CacheError: if ``into`` cannot be written.
        """
        self._bring_whole(url, into, _unpacked(form), authorization)

    def file(self, url: str, into: Path, name: str, *, authorization: str = "") -> None:
        """Bring what is at ``url`` as the one file ``name`` of the empty directory ``into``; all else is as of ``archive``."""
        self._bring_whole(url, into, _as_file(name), authorization, is_archive=False)

    def _bring_whole(self, url: str, into: Path, put: _Put, authorization: str, *, is_archive: bool = True) -> None:
        parts = Parts(self.parts, into.with_suffix(".parts"))
        checksums = Checksums(is_archive=is_archive, is_hash_known=self._is_hash_known)

        def bring(address: str) -> None:
            disk.empty(into)  # of what another place sent
            if not mirrors.is_local(address):
                return self._bring_from(address, into, put, parts, checksums, authorization if address == url else "")
            self._copy(mirrors.local_path(address), into, put)
            parts.clear()

        try:
            mirrors.tried(url, bring, is_archive=is_archive)
        finally:
            parts.leave()

    def object_archive(self, place: str, into: Path) -> None:
        """Bring the archive that is the object at ``place``, with its bucket's credentials; raises as ``archive`` does."""
        folder, _, name = place.rpartition("/")
        objects = Objects(folder)
        found = objects.find(name)
        self.origin = Origin(place, found.etag)
        with contextlib.ExitStack() as stack:
            meter = stack.enter_context(progress.shown(self._handle.public, found.size_bytes, quiet=self._is_quiet))
            streams = stack.enter_context(contextlib.closing(objects.streams([found], settings.connections())))
            hashed = Hashed(Cut(next(streams)[1], meter).read)
            stream = stack.enter_context(contextlib.closing(Ahead(hashed.piece)))
            self._receive(stream, hashed, into, _unpacked(PLAIN), found.size_bytes)

    def objects(self, place: str, into: Path, expected: tuple[File, ...] | None = None) -> None:
        """Bring every object below ``place``, or those that are expected, into the empty directory ``into``.

        Raises:
            FetchError: if they did not come; NotFoundError if there are none, IntegrityError if one is not as expected.
            ArchiveError: if one has a name that may not be written, or they are too many or too large.
            CacheError: if ``into`` cannot be written.
        """
        objects = Objects(place)
        wanted = objects.files() if expected is None else [Found(file.path, file.size_bytes, 0, "") for file in expected]
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

    def _bring_objects(self, objects: Objects, wanted: list[Found], into: Path) -> None:
        total_bytes = sum(found.size_bytes for found in wanted)
        with contextlib.ExitStack() as stack:
            meter = stack.enter_context(progress.shown(self._handle.public, total_bytes, quiet=self._is_quiet))
            streams = stack.enter_context(contextlib.closing(objects.streams(wanted, settings.connections())))
            nothing = Packed(io.BytesIO(), total_bytes)
            target = stack.enter_context(Target(into, nothing, Limits(*settings.unpack_limits())))
            target.expect(total_bytes, len(wanted))
            for found, pieces in streams:
                target.file(found.name, counted(pieces, meter), found.size_bytes)
            target.finish()
        self.files = tuple(sorted(target.files, key=lambda file: file.path))

    def local_archive(self, path: str, into: Path) -> None:
        """Unpack the archive at a local path; raises as ``archive`` does."""
        self._copy(path, into, _unpacked(PLAIN))

    def _copy(self, path: str, into: Path, put: _Put) -> None:
        with LocalFile(path) as file:
            self.origin = Origin(path)
            hashed = Hashed(file.read)
            with contextlib.closing(Ahead(hashed.piece)) as stream:
                self._receive(stream, hashed, into, put, file.size_bytes)

    def see_other(self, url: str) -> str | None:
        """The body of a 303 answer to ``url``, not followed; None for any other answer.

        Raises:
            FetchError: if there is no answer.
        """

        def ask(address: str) -> str | None:
            self._refuse_directory(address)
            self._refuse_offline()
            from tfimm_resolver import request

            with (
                request.Session() as session,
                request.get(session, address, follow=False) as reply,
                request.translated(address),
            ):
                if reply.status_code >= 400:
                    request.refuse(reply, str(self._handle))
                body = reply.raw.read(_PLACE_BYTES_MAX, decode_content=True) if reply.status_code == 303 else None
            return None if body is None else body.decode("utf-8", "replace").strip()

        return mirrors.tried(url, ask)

    def _bring_from(self, url: str, into: Path, put: _Put, parts: Parts, checksums: Checksums, authorization: str) -> None:
        self._refuse_offline()
        tries, is_plain, changes = Tries(), False, 0
        while True:
            try:
                self._bring(url, into, put, parts, tries, checksums, is_plain, authorization)
                return parts.clear()
            except AnewError as anew:
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
            disk.empty(into)

    def page(self, url: str, *, authorization: str = "") -> bytes:
        """The body of an answer 200 to ``url``, or of a mirror, of at most 64 MiB; ``authorization`` as in ``archive``.

        Raises:
            FetchError: if there is none after all tries.
        """

        def ask(address: str) -> bytes:
            self._refuse_directory(address)
            self._refuse_offline()
            from tfimm_resolver import body, request

            request.warn_of_unchecked_certificates()
            who = request.Authorization(url, authorization) if authorization and address == url else None
            with request.Session(who) as session:
                return persistently(lambda: body.page(session, address, str(self._handle)))

        return mirrors.tried(url, ask)

    def _bring(
        self,
        url: str,
        into: Path,
        put: _Put,
        parts: Parts,
        tries: Tries,
        checksums: Checksums,
        is_plain: bool,
        authorization: str,
    ) -> None:
        from tfimm_resolver import download, request  # urllib3 tries a socket when it is imported, which offline may not be

        request.warn_of_unchecked_certificates()
        with contextlib.ExitStack() as stack:
            who = request.Authorization(url, authorization) if authorization else None
            body = download.begin(str(self._handle), url, parts, tries, who, checksums=checksums, is_plain=is_plain)
            stack.callback(body.close)
            self.origin = Origin(request.without_secrets(body.reply.url), body.reply.headers.get("ETag", ""))
            meter = stack.enter_context(
                progress.shown(self._handle.public, body.size_bytes, body.resumed_bytes, quiet=self._is_quiet)
            )
            told_bytes = 0

            def tell() -> None:
                nonlocal told_bytes
                arrived_bytes = body.arrived_bytes
                meter.advance(arrived_bytes - told_bytes)  # also of nothing: it says so if this one is to stop
                told_bytes = arrived_bytes

            hashed = Hashed(body.read, Digests(body.reply.headers, is_whole=body.reply.status_code == 200))
            stream = stack.enter_context(contextlib.closing(Ahead(hashed.piece, tell, body.stop)))
            self._receive(stream, hashed, into, put, body.size_bytes)
            tell()

    def _receive(self, stream: Ahead, hashed: Hashed, into: Path, put: _Put, size_bytes: int | None) -> None:
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


def _unpacked(form: Form) -> _Put:
    """Unpacks an archive."""
    return lambda stream, into, size_bytes: unpack(
        stream, into, Limits(*settings.unpack_limits()), packed_bytes=size_bytes, form=form
    )


def _as_file(name: str) -> _Put:
    """Writes all as one file."""

    def put(stream: Stream, into: Path, size_bytes: int | None) -> list[File]:
        packed = Packed(stream, size_bytes)
        packed.peek(PIECE_BYTES)
        with Target(into, packed, Limits(*settings.unpack_limits())) as target:
            target.file(name, target.limited(packed.pieces()), size_bytes or 0)
            target.finish()
        return target.files

    return put
