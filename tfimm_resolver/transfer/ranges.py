"""One range of a download, and the URL that its redirects led to."""

from __future__ import annotations

from dataclasses import dataclass

import requests


@dataclass(frozen=True, slots=True)
class ResolvedUrl:
    """The URL of the body after all redirects, with the credentials that apply to its host."""

    url: str
    authorization: str | None = None

    @classmethod
    def from_response(cls, response: requests.Response) -> ResolvedUrl:
        """Return the URL that sent the response, and the credentials that were sent to it."""
        return cls(response.url, response.request.headers.get("Authorization"))

    @property
    def headers(self) -> dict[str, str]:
        """The headers to send to it."""
        return {"Authorization": self.authorization} if self.authorization else {}


@dataclass(slots=True)
class Range:
    """A range that is being downloaded; ``done_bytes`` of it are on disk."""

    start: int
    size_bytes: int
    done_bytes: int

    @property
    def is_done(self) -> bool:
        """Whether all of it is on disk."""
        return self.done_bytes >= self.size_bytes
