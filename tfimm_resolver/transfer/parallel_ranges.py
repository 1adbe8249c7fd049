"""Downloads one body with parallel range requests, each range into its own file, and reads them in order."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import IO

from tfimm_resolver import settings
from tfimm_resolver._util import clock
from tfimm_resolver._util.cancellation import CancellationToken, get_current_token
from tfimm_resolver._util.retry import THROTTLING_STATUSES
from tfimm_resolver._util.threads import start_thread
from tfimm_resolver.archives.extractor import CHUNK_BYTES
from tfimm_resolver.archives.formats import HEAD_BYTES
from tfimm_resolver.errors import AccessError, FetchError
from tfimm_resolver.http.body import ResponseBody, abort_response
from tfimm_resolver.http.errors import raise_for_status, redact_url
from tfimm_resolver.http.range_headers import ContentRange, get_strong_validator, parse_content_range
from tfimm_resolver.http.response import Response
from tfimm_resolver.http.retry import RestartDownloadError, RetryPolicy
from tfimm_resolver.http.session import Session, get
from tfimm_resolver.transfer.checksums import Checksums
from tfimm_resolver.transfer.partial_store import PartialDownloadInfo, PartStore
from tfimm_resolver.transfer.ranges import Range

_SLOW_READ_S = 0.02
_JOIN_TIMEOUT_S = 2.0


class RangedDownload:
    """The body of a URL as a stream; its ranges arrive in any order.

    Attributes:
        response: the first response, for its headers and the URL after all redirects.
        size_bytes: the length of the body.
        received_bytes: how much has been received.
        resumed_bytes: how much an earlier process downloaded.
    """

    def __init__(
        self,
        handle: str,
        url: str,
        info: PartialDownloadInfo,
        parts: PartStore,
        session: Session,
        response: Response,
        checksums: Checksums,
    ) -> None:
        """Continue with the first response, which holds the first missing range."""
        self._handle, self._url, self._info, self._parts = handle, url, info, parts
        self._checksums, self.is_checked_by_member = checksums, not checksums.is_hash_known
        self._resolved = response.url
        self._refreshed_at_bytes = -1
        self._token = get_current_token()
        self._connections_token = CancellationToken(self._token)
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._ranges = [Range(start, info.get_length(start), parts.get_stored_bytes(start)) for start in info.starts]
        self._queue = [range_ for range_ in self._ranges if not range_.is_done]
        self._position = 0
        self._open: tuple[int, IO[bytes]] | None = None
        self._responses: set[Response] = set()
        self._threads: list[threading.Thread] = []
        self._has_started = False
        self._inline: list[tuple[Range | None, Response | None]] = []
        self.response, self.size_bytes, self.received_bytes = response, info.size_bytes, 0
        self.resumed_bytes = sum(range_.done_bytes for range_ in self._ranges)
        self._connections, self._max_connections = 0, settings.connections()
        self._session = session

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes, empty at the end; waits until there are any.

        Raises:
            FetchError: if all tries failed.
            RestartDownloadError: if the body has changed, the server's ranges are not reliable, or no checksum would
                detect parts of two versions.
        """
        if self._position == self.size_bytes:
            return b""
        if not self._has_started:  # not in __init__: from here on the caller closes this object
            self._start()
        range_ = self._ranges[self._position // self._info.range_bytes]
        needed = 1 if self._position else min(HEAD_BYTES, range_.size_bytes)
        while self._inline and range_.start + range_.done_bytes - self._position < needed and self._error is None:
            self._token.raise_if_cancelled()
            self._download_inline()
        with self._changed:
            while (ready := range_.start + range_.done_bytes - self._position) < needed and self._error is None:
                self._wait_for_data()
            if self._error is not None:
                raise self._error
        if self._position == 0:
            self._check_format()
        data = self._open_part(range_.start).read(min(size, ready))
        self._position += len(data)
        return data

    def _check_format(self) -> None:
        """Refuse to continue where no checksum would detect that parts come from different versions."""
        file = self._open_part(0)
        head = file.read(HEAD_BYTES)
        file.seek(0)
        if not self._checksums.cover(head):
            raise RestartDownloadError(
                f"{redact_url(self.response.url)} has no checksum over all of its bytes", without_ranges=True
            )

    def interrupt(self) -> None:
        """Make a ``read`` that waits in another thread return, and end every connection; nothing is written afterwards."""
        with self._changed:
            self._connections_token.cancel()
            self._error = self._error or FetchError("the download was interrupted")
            self._changed.notify_all()
            responses = [*self._responses]
        for response in responses:
            abort_response(response)

    def close(self) -> None:
        """Release all resources, once no thread reads from it; nothing is written afterwards."""
        self.interrupt()
        until_s = clock.get_monotonic_s() + _JOIN_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0, until_s - clock.get_monotonic_s()))
        self.response.close()
        self._session.close()
        self._error = None  # its traceback would keep all this alive
        if self._open is not None:
            self._open[1].close()

    def _start(self) -> None:
        """Start with one connection; with all of them if stored parts keep the reader busy for a while."""
        self._has_started = True
        first = self._queue.pop(0) if self._queue else None  # the range that the first response holds
        if not self._connect(self._session, first, self.response):  # no threads: the reader downloads each range itself
            self._connections = 1
            self._inline = [(first, self.response)]
            return
        for _ in range(min(self._max_connections - 1, len(self._queue)) if self.resumed_bytes else 0):
            self._add_connection()

    def _download_inline(self) -> None:
        """Download the next missing range in the reader's own thread."""
        range_, response = self._inline.pop()
        self._inline.append((None, None))
        if range_ := range_ or self._take_range():
            self._download(self._session, range_, response)

    def _wait_for_data(self) -> None:
        """Wait for data; add a connection if the reader spends most of its time waiting."""
        self._token.raise_if_cancelled()
        started_s = clock.get_monotonic_s()
        self._changed.wait(_SLOW_READ_S)
        now_s = clock.get_monotonic_s()
        self._waited_s += now_s - started_s
        is_slow = self._waited_s > max(_SLOW_READ_S, (now_s - self._connected_s) / 2)
        if is_slow and self._queue and self._connections < self._max_connections:
            self._add_connection()

    def _add_connection(self) -> None:
        if not self._connect(self._session.fork()):
            self._max_connections = self._connections

    def _connect(self, session: Session, range_: Range | None = None, response: Response | None = None) -> bool:
        """Download in another thread; return False if none can be started."""
        self._waited_s, self._connected_s = 0.0, clock.get_monotonic_s()
        name = f"tfimm_resolver range {len(self._threads)}"
        with self._changed:
            thread = start_thread(self._run, name, session, range_, response)
            if thread is None:
                return False
            self._connections += 1
            self._threads.append(thread)
        return True

    def _open_part(self, start: int) -> IO[bytes]:
        if self._open is None or self._open[0] != start:
            if self._open is not None:
                self._open[1].close()
            self._open = start, self._parts.open_part(start)
        return self._open[1]

    def _run(self, session: Session, range_: Range | None, response: Response | None) -> None:
        """Download ranges over one connection until none is left; the first one may already have its response."""
        try:
            with session:
                range_ = range_ or self._take_range()
                while range_ and self._download(session, range_, response):
                    range_, response = self._take_range(), None
        except BaseException as error:  # raised by read()
            with self._changed:
                self._error = self._error or error
                self._connections_token.cancel()
                self._changed.notify_all()

    def _take_range(self) -> Range | None:
        with self._changed:
            if self._queue and not self._connections_token.is_cancelled:
                return self._queue.pop(0)
            self._connections -= 1
            return None

    def _download(self, session: Session, range_: Range, response: Response | None) -> bool:
        """Download one range, with retries; False if the server throttles and other connections continue with the range."""
        policy = RetryPolicy(self._connections_token, has_responded=True)
        while not range_.is_done and not self._connections_token.is_cancelled:
            before, resolved = range_.done_bytes, self._resolved
            try:
                with self._track(response or self._request(session, range_, resolved)) as body:
                    self._receive(body, range_)
            except AccessError as error:
                if not self._refresh_url(resolved, error):
                    raise
            except FetchError as error:
                if error.status in THROTTLING_STATUSES and self._release(range_):
                    return False
                policy.sleep_or_raise(error, range_.done_bytes - before)
            response = None
        return True

    def _request(self, session: Session, range_: Range, resolved: str) -> Response:
        """Request the missing bytes of a range."""
        start, stop = range_.start + range_.done_bytes, range_.start + range_.size_bytes
        headers = {"Range": f"bytes={start}-{stop - 1}", "If-Range": self._info.validator}
        response = get(session, resolved, headers)
        is_as_requested = parse_content_range(response) == ContentRange(start, stop, self.size_bytes)
        if is_as_requested and get_strong_validator(response) == self._info.validator:
            self._resolved = response.url
            return response
        with response:
            if response.status_code not in (200, 206, 416):
                raise_for_status(response, self._handle)
            url = redact_url(response.url)
            if get_strong_validator(response) not in (None, self._info.validator):
                raise RestartDownloadError(f"{url} changed during the download", has_changed=True)
            raise RestartDownloadError(f"{url} returned a different range than requested", without_ranges=True)

    @contextlib.contextmanager
    def _track(self, response: Response) -> Iterator[Response]:
        """Register a response while it is read, so that ``interrupt`` can abort it."""
        with response:
            with self._changed:
                self._responses.add(response)
            try:
                yield response
            finally:
                with self._changed:
                    self._responses.discard(response)

    def _receive(self, response: Response, range_: Range) -> None:
        """Append what a response holds of a range to its part."""
        received, body = parse_content_range(response), ResponseBody(response)
        if received is None or received.start != range_.start + range_.done_bytes:
            raise RestartDownloadError(f"{redact_url(response.url)} returned a different range than requested")
        with self._parts.append_to(range_.start) as append:
            while not range_.is_done and (data := body.read(min(CHUNK_BYTES, range_.size_bytes - range_.done_bytes))):
                with self._changed:
                    if self._connections_token.is_cancelled:
                        return
                    append(data)
                    range_.done_bytes += len(data)
                    self.received_bytes += len(data)
                    self._changed.notify_all()
        if not range_.is_done:
            raise FetchError(f"{redact_url(response.url)}: the connection broke", fix="Try again.", is_passing=True)

    def _release(self, range_: Range) -> bool:
        """Give a range back to the other connections, and use one connection less; False if there is no other."""
        with self._changed:
            if self._connections == 1:
                return False
            self._connections -= 1
            self._max_connections = self._connections
            self._queue.insert(0, range_)
            return True

    def _refresh_url(self, resolved: str, error: AccessError) -> bool:
        """Return to the first URL if the one it redirected to has expired, as signed ones do; False if that cannot help."""
        with self._changed:
            if self._resolved != resolved:  # another connection has done it already
                return True
            if error.status != 403 or resolved == self._url or self._refreshed_at_bytes == self.received_bytes:
                return False
            self._resolved, self._refreshed_at_bytes = self._url, self.received_bytes
            return True
