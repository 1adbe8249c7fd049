"""Brings one body in ranges over several connections, each to its own file, and reads them in order."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import IO

import requests

from tfimm_resolver import settings
from tfimm_resolver.archives.extractor import CHUNK_BYTES
from tfimm_resolver.errors import AccessError, FetchError
from tfimm_resolver.http import errors
from tfimm_resolver.http import session as http_session
from tfimm_resolver.http.body import ResponseBody, abort_response
from tfimm_resolver.http.range_headers import ContentRange, content_range, strong_validator
from tfimm_resolver.http.retry import RestartDownloadError, RetryPolicy
from tfimm_resolver.transfer.checksums import HEAD_BYTES, Checksums
from tfimm_resolver.transfer.partial_store import PartialDownloadInfo, PartStore
from tfimm_resolver.transfer.ranges import Range, ResolvedUrl

_THROTTLED_STATUS = (429, 503)
_SLOW_READ_S = 0.02
_FAREWELL_S = 2.0


class RangedDownload:
    """The body of a URL as a stream, whose parts come in any order.

    Attributes:
        reply: the first answer, its headers and the URL at the end of all redirects.
        size_bytes: how long the body is.
        arrived_bytes: how much has come.
        resumed_bytes: how much an earlier process brought.
    """

    def __init__(
        self,
        asked: str,
        url: str,
        whole: PartialDownloadInfo,
        parts: PartStore,
        session: http_session.Session,
        reply: requests.Response,
        checksums: Checksums,
    ) -> None:
        """Go on with the first answer, which holds the first part that is missing."""
        self._asked, self._url, self._whole, self._parts = asked, url, whole, parts
        self._checksums = checksums
        self._address = ResolvedUrl.of(reply)
        self._renewed_at_bytes = -1
        self._stopped = threading.Event()
        self._news = threading.Condition()
        self._error: BaseException | None = None
        self._ranges = [Range(start, whole.length(start), parts.held_bytes(start)) for start in whole.starts]
        self._waiting = [piece for piece in self._ranges if not piece.is_done]
        self._at = 0
        self._open: tuple[int, IO[bytes]] | None = None
        self._replies: set[requests.Response] = set()
        self._threads: list[threading.Thread] = []
        self._has_begun = False
        self._inline: list[tuple[Range | None, requests.Response | None]] = []
        self.reply, self.size_bytes, self.arrived_bytes = reply, whole.size_bytes, 0
        self.resumed_bytes = sum(piece.done_bytes for piece in self._ranges)
        self._working, self._working_max = 0, settings.connections()
        self._session = session

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end; waits until they are there.

        Raises:
            FetchError: if they do not come after all tries.
            RestartDownloadError: if the body has changed, the server's ranges are not to be trusted, or no checksum would
                notice parts of two versions.
        """
        if self._at == self.size_bytes:
            return b""
        if not self._has_begun:  # not earlier: whoever has this object by now will close it
            self._begin()
        piece = self._ranges[self._at // self._whole.range_bytes]
        needed = 1 if self._at else min(HEAD_BYTES, piece.size_bytes)
        while self._inline and piece.start + piece.done_bytes - self._at < needed and self._error is None:
            self._download_inline()
        with self._news:
            while (ready := piece.start + piece.done_bytes - self._at) < needed and self._error is None:
                self._starve()
            if self._error is not None:
                raise self._error
        if self._at == 0:
            self._check_format()
        data = self._part(piece.start).read(min(size, ready))
        self._at += len(data)
        return data

    def _check_format(self) -> None:
        """Refuse to go on where no checksum would notice that some parts are of another version than others."""
        file = self._part(0)
        head = file.read(HEAD_BYTES)
        file.seek(0)
        if not self._checksums.cover(head):
            raise RestartDownloadError(
                f"{errors.redact_url(self.reply.url)} has no checksum over all of its bytes", is_plain=True
            )

    def stop(self) -> None:
        """Let a ``read`` that waits in another thread end, and every connection; from here on nothing is written."""
        with self._news:
            self._stopped.set()
            self._error = self._error or FetchError("stopped")
            self._news.notify_all()
            replies = [*self._replies]
        for reply in replies:
            abort_response(reply)

    def close(self) -> None:
        """Let what is open go, once nobody reads; nothing is written from here on."""
        self.stop()
        until_s = time.monotonic() + _FAREWELL_S
        for thread in self._threads:
            thread.join(max(0, until_s - time.monotonic()))
        self.reply.close()
        self._session.close()
        self._error = None  # its traceback would keep all this alive
        if self._open is not None:
            self._open[1].close()

    def _begin(self) -> None:
        """One connection to begin with; all of them where there is so much to unpack that nobody will starve for long."""
        self._has_begun = True
        first = self._waiting.pop(0) if self._waiting else None  # of which the first answer holds the bytes, no other
        try:
            self._connect(self._session, first, self.reply)
        except RuntimeError:  # no more threads, see ahead.start_thread: the reader downloads each part itself
            self._working = 1
            self._inline = [(first, self.reply)]
            return
        for _ in range(min(self._working_max - 1, len(self._waiting)) if self.resumed_bytes else 0):
            self._connect_another()

    def _download_inline(self) -> None:
        """Download the next missing part in the reader's own thread."""
        piece, reply = self._inline.pop()
        self._inline.append((None, None))
        if piece := piece or self._next():
            self._bring(self._session, piece, reply)

    def _starve(self) -> None:
        """Wait for bytes; who mostly waits has another connection brought in."""
        started_s = time.monotonic()
        self._news.wait(_SLOW_READ_S)
        now_s = time.monotonic()
        self._starved_s += now_s - started_s
        is_starving = self._starved_s > max(_SLOW_READ_S, (now_s - self._connected_s) / 2)
        if is_starving and self._waiting and self._working < self._working_max:
            self._connect_another()

    def _connect_another(self) -> None:
        try:
            self._connect(http_session.Session(self._session.authorization))
        except RuntimeError:  # no more threads
            self._working_max = self._working

    def _connect(
        self, session: http_session.Session, piece: Range | None = None, reply: requests.Response | None = None
    ) -> None:
        self._starved_s, self._connected_s = 0.0, time.monotonic()
        name = f"tfimm_resolver range {len(self._threads)}"
        thread = threading.Thread(target=self._work, args=(session, piece, reply), name=name, daemon=True)
        with self._news:
            thread.start()
            self._working += 1
            self._threads.append(thread)

    def _part(self, start: int) -> IO[bytes]:
        if self._open is None or self._open[0] != start:
            if self._open is not None:
                self._open[1].close()
            self._open = start, self._parts.opened(start)
        return self._open[1]

    def _work(self, session: http_session.Session, piece: Range | None, reply: requests.Response | None) -> None:
        """One connection: brings parts until none is left, at first a certain one, if it has its answer already."""
        try:
            with session:
                piece = piece or self._next()
                while piece and self._bring(session, piece, reply):
                    piece, reply = self._next(), None
        except BaseException as error:  # it is raised where the bytes are wanted
            with self._news:
                self._error = self._error or error
                self._stopped.set()
                self._news.notify_all()

    def _next(self) -> Range | None:
        with self._news:
            if self._waiting and not self._stopped.is_set():
                return self._waiting.pop(0)
            self._working -= 1
            return None

    def _bring(self, session: http_session.Session, piece: Range, reply: requests.Response | None) -> bool:
        """Bring one part, however often it breaks off; False if this connection is one too many for the server."""
        tries = RetryPolicy(self._stopped, has_begun=True)
        while not piece.is_done and not self._stopped.is_set():
            before, address = piece.done_bytes, self._address
            try:
                with self._known(reply or self._answer(session, piece, address)) as body:
                    self._receive(body, piece)
            except AccessError as error:
                if not self._renewed(address, error):
                    raise
            except FetchError as error:
                if error.status in _THROTTLED_STATUS and self._has_left(piece):
                    return False
                tries.after(error, piece.done_bytes - before)
            reply = None
        return True

    def _answer(self, session: http_session.Session, piece: Range, address: ResolvedUrl) -> requests.Response:
        """An answer with what is missing of a part."""
        start, stop = piece.start + piece.done_bytes, piece.start + piece.size_bytes
        headers = {"Range": f"bytes={start}-{stop - 1}", "If-Range": self._whole.validator}
        reply = http_session.get(session, address.url, headers | address.headers)
        said = content_range(reply)
        if said == ContentRange(start, stop, self.size_bytes) and strong_validator(reply) == self._whole.validator:
            self._address = ResolvedUrl.of(reply)
            return reply
        with reply:
            if reply.status_code not in (200, 206, 416):
                errors.raise_for_status(reply, self._asked)
            place = errors.redact_url(reply.url)
            if strong_validator(reply) not in (None, self._whole.validator):
                raise RestartDownloadError(f"{place} changed while it was fetched", has_changed=True)
            raise RestartDownloadError(f"{place} gave other bytes than the range that it was asked for", is_plain=True)

    @contextlib.contextmanager
    def _known(self, reply: requests.Response) -> Iterator[requests.Response]:
        """While it is read, ``stop`` can end it."""
        with reply:
            with self._news:
                self._replies.add(reply)
            try:
                yield reply
            finally:
                with self._news:
                    self._replies.discard(reply)

    def _receive(self, reply: requests.Response, piece: Range) -> None:
        """Add to a part what an answer holds of it, and of nothing else."""
        said, body = content_range(reply), ResponseBody(reply)
        if said is None or said.start != piece.start + piece.done_bytes:
            raise RestartDownloadError(f"{errors.redact_url(reply.url)} answered for another part")
        with self._parts.appended(piece.start) as add:
            while not piece.is_done and (data := body.read(min(CHUNK_BYTES, piece.size_bytes - piece.done_bytes))):
                with self._news:
                    if self._stopped.is_set():
                        return
                    add(data)
                    piece.done_bytes += len(data)
                    self.arrived_bytes += len(data)
                    self._news.notify_all()
        if not piece.is_done:
            raise FetchError(f"{errors.redact_url(reply.url)} broke off", fix="Try again.", is_passing=True)

    def _has_left(self, piece: Range) -> bool:
        """Whether another connection goes on with the part."""
        with self._news:
            if self._working == 1:
                return False
            self._working -= 1
            self._working_max = self._working
            self._waiting.insert(0, piece)
            return True

    def _renewed(self, address: ResolvedUrl, error: AccessError) -> bool:
        """Whether to ask at the first URL again, since the one that it redirected to, often a signed one, has run out."""
        with self._news:
            if self._address != address:  # another connection was quicker
                return True
            if error.status != 403 or address.url == self._url or self._renewed_at_bytes == self.arrived_bytes:
                return False
            self._address, self._renewed_at_bytes = ResolvedUrl(self._url), self.arrived_bytes
            return True
