"""A body as it comes from one answer, on one connection."""

from __future__ import annotations

import requests

from tfimm_resolver.errors import FetchError
from tfimm_resolver.http import session as http_session
from tfimm_resolver.http.body import ResponseBody, abort_response
from tfimm_resolver.http.retry import RestartDownloadError


class SingleStreamDownload:
    """A body as it comes from one answer, on one connection.

    Attributes:
        reply: the answer, its headers and the URL at the end of all redirects.
        size_bytes: how long the body is; None if the server did not say.
        arrived_bytes: how much has come.
        resumed_bytes: how much an earlier process brought: nothing.
    """

    resumed_bytes = 0

    def __init__(self, session: http_session.Session, reply: requests.Response, size_bytes: int | None) -> None:
        self._session = session
        self.reply, self.size_bytes, self.arrived_bytes = reply, size_bytes, 0
        self._body = ResponseBody(reply)

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end.

        Raises:
            RestartDownloadError: if the body broke off for a passing reason.
        """
        try:
            piece = self._body.read(size)
        except FetchError as error:
            raise RestartDownloadError(error.text, cause=error, came_bytes=self.arrived_bytes) from error
        self.arrived_bytes += len(piece)
        return piece

    def stop(self) -> None:
        """Let a ``read`` that waits in another thread end."""
        abort_response(self.reply)

    def close(self) -> None:
        """Let the connection go, once nobody reads."""
        self.reply.close()
        self._session.close()
