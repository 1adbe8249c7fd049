"""Brings an archive from the network or from a disk, unpacks it on the way, and remembers where it came from."""

from __future__ import annotations

import contextlib
import io
import logging
from dataclasses import replace
from pathlib import Path

from tfimm_resolver import disk, mirrors, progress, settings
from tfimm_resolver.ahead import Ahead
from tfimm_resolver.archive import unpack
from tfimm_resolver.digests import Digests
from tfimm_resolver.errors import ArchiveError, CacheError, IntegrityError, NotFoundError, OfflineError
from tfimm_resolver.handle import Handle
from tfimm_resolver.objects import Found, Objects
from tfimm_resolver.parts import Parts
from tfimm_resolver.record import File, Origin
from tfimm_resolver.streams import Cut, Hashed, LocalFile, counted
from tfimm_resolver.target import Limits, Packed, Target
from tfimm_resolver.tries import AnewError, Tries, persistently

log = logging.getLogger("tfimm_resolver")

_PLACE_BYTES_MAX = 3000


class Transfer:
    """Brings what one model is made of.

    Attributes:
        origin: where it came from; complete once ``archive`` or ``local_archive`` has returned.
        files: what was unpacked, with the hash of each; None before that.
        parts: where an unfinished download is kept for the next one to go on with; need not exist.
    """

    def __init__(self, handle: Handle, parts: Path | None = None) -> None:
        self._handle, self.parts = handle, parts
        self.origin = Origin()
        self.files: tuple[File, ...] | None = None

    def archive(self, url: str, into: Path, *, authorization: str = "") -> None:
        """Bring the archive at ``url``, or of a mirror, and unpack it into the empty directory ``into``.

        ``authorization``, the header of that name, is for the host of ``url`` only, and goes before what netrc says.

        Raises:
            FetchError: if it did not come, whole; NotFoundError, AccessError, OfflineError and TransferTimeoutError say why.
            ArchiveError: if it may not be unpacked.
            IntegrityError: if the handle pins another sha256, or the server promised another hash.
            CacheError: if ``into`` cannot be written.
        """
        parts = Parts(self.parts or into.with_suffix(".parts"))

        def bring(address: str) -> None:
            disk.empty(into)  # of what another place sent
            if not mirrors.is_local(address):
                return self._archive(address, into, parts, authorization if address == url else "")
            self.local_archive(mirrors.local_path(address), into)
            parts.clear()

        mirrors.tried(url, bring)

    def object_archive(self, place: str, into: Path) -> None:
        """Bring the archive that is the object at ``place``, with its bucket's credentials; raises as ``archive`` does."""
        folder, _, name = place.rpartition("/")
        objects = Objects(folder)
        found = objects.find(name)
        self.origin = Origin(place, found.etag)
        with contextlib.ExitStack() as stack:
            meter = stack.enter_context(progress.shown(self._handle.public, found.size_bytes, quiet=settings.is_quiet()))
            streams = stack.enter_context(contextlib.closing(objects.streams([found], settings.connections())))
            hashed = Hashed(Cut(next(streams)[1], meter).read)
            stream = stack.enter_context(contextlib.closing(Ahead(hashed.piece)))
            self._unpack(stream, hashed, into, found.size_bytes)

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
            meter = stack.enter_context(progress.shown(self._handle.public, total_bytes, quiet=settings.is_quiet()))
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
        with LocalFile(path) as file:
            self.origin = Origin(path)
            hashed = Hashed(file.read)
            with contextlib.closing(Ahead(hashed.piece)) as stream:
                self._unpack(stream, hashed, into, file.size_bytes)

    def see_other(self, url: str) -> str | None:
        """The body of a 303 answer to ``url``, not followed; None for any other answer.

        Raises:
            FetchError: if there is no answer.
        """

        def ask(address: str) -> str | None:
            if mirrors.is_local(address):
                raise NotFoundError(f"{self._handle}: a directory of archives cannot answer where it lies uncompressed")
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

    def _archive(self, url: str, into: Path, parts: Parts, authorization: str) -> None:
        self._refuse_offline()
        tries, is_plain = Tries(), False
        while True:
            try:
                self._bring(url, into, parts, tries, is_plain, authorization)
                return parts.clear()
            except AnewError as anew:
                is_plain = is_plain or anew.is_plain
                tries.after(anew.error, anew.came_bytes, is_kept=False)
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

    def text(self, url: str, *, authorization: str = "") -> str:
        """The body of a short answer 200 to ``url``; ``authorization`` as in ``archive``.

        Raises:
            FetchError: if there is none after all tries.
        """
        self._refuse_offline()
        from tfimm_resolver import request

        request.warn_of_unchecked_certificates()
        with request.Session(request.Authorization(url, authorization) if authorization else None) as session:
            return persistently(lambda: request.text(session, url, str(self._handle)))

    def _bring(self, url: str, into: Path, parts: Parts, tries: Tries, is_plain: bool, authorization: str) -> None:
        from tfimm_resolver import download, request  # urllib3 tries a socket when it is imported, which offline may not be

        request.warn_of_unchecked_certificates()
        with contextlib.ExitStack() as stack:
            who = request.Authorization(url, authorization) if authorization else None
            body = download.begin(str(self._handle), url, parts, tries, who, is_plain=is_plain)
            stack.callback(body.close)
            self.origin = Origin(request.without_secrets(body.reply.url), body.reply.headers.get("ETag", ""))
            meter = stack.enter_context(
                progress.shown(self._handle.public, body.size_bytes, body.resumed_bytes, quiet=settings.is_quiet())
            )
            told_bytes = 0

            def tell() -> None:
                nonlocal told_bytes
                arrived_bytes = body.arrived_bytes
                if arrived_bytes > told_bytes:
                    meter.advance(arrived_bytes - told_bytes)
                told_bytes = arrived_bytes

            hashed = Hashed(body.read, Digests(body.reply.headers, is_whole=body.reply.status_code == 200))
            stream = stack.enter_context(contextlib.closing(Ahead(hashed.piece, tell, body.stop)))
            self._unpack(stream, hashed, into, body.size_bytes)
            tell()

    def _unpack(self, stream: Ahead, hashed: Hashed, into: Path, size_bytes: int | None) -> None:
        try:
            files = unpack(stream, into, Limits(*settings.unpack_limits()), packed_bytes=size_bytes)
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

    def _refuse_offline(self) -> None:
        if settings.is_offline():
            place = settings.urls_root().value
            raise OfflineError(
                f"{self._handle} cannot be brought into the cache at {place}: TFIMM_RESOLVER_OFFLINE is set",
                fix="Unset it, or bring a copy and say where it is: set_model_cache(handle, path).",
            )
