"""Downloads a body in one response, over one connection."""

from __future__ import annotations

from tfimm_resolver.errors import FetchError
from tfimm_resolver.http.body import ResponseBody, abort_response
from tfimm_resolver.http.response import Response
from tfimm_resolver.http.retry import RestartDownloadError
from tfimm_resolver.http.session import Session


class SingleStreamDownload:
    """A body that arrives in one response, over one connection.

    Attributes:
        response: its headers, and the URL after all redirects.
        size_bytes: the length of the body; None if the server did not state it.
        received_bytes: how much has been received.
        resumed_bytes: how much an earlier process downloaded: always 0.
        is_checked_by_member: never, since one response holds one version.
    """

    resumed_bytes = 0
    is_checked_by_member = False

    def __init__(self, session: Session, response: Response, size_bytes: int | None) -> None:
        self._session = session
        self.response, self.size_bytes, self.received_bytes = response, size_bytes, 0
        self._body = ResponseBody(response)

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes; empty at the end.

        Raises:
            RestartDownloadError: if the connection broke.
        """
        try:
            chunk = self._body.read(size)
        except FetchError as error:
            raise RestartDownloadError(error.text, cause=error, received_bytes=self.received_bytes) from error
        self.received_bytes += len(chunk)
        return chunk

    def interrupt(self) -> None:
        """Make a ``read`` that waits in another thread return."""
        abort_response(self.response)

    def close(self) -> None:
        """Close the connection, once no thread reads from it."""
        self.response.close()
        self._session.close()
