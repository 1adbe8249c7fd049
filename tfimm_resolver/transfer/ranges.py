"""One range of a download, and the address that its redirects led to."""

from __future__ import annotations

from dataclasses import dataclass

import requests


@dataclass(frozen=True, slots=True)
class ResolvedUrl:
    """Where the body lies in the end, with the credentials that the way there has brought along for that host."""

    url: str
    authorization: str | None = None

    @classmethod
    def of(cls, reply: requests.Response) -> ResolvedUrl:
        return cls(reply.url, reply.request.headers.get("Authorization"))

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": self.authorization} if self.authorization else {}


@dataclass(slots=True)
class Range:
    """A part that is being brought; ``done_bytes`` of it are on disk."""

    start: int
    size_bytes: int
    done_bytes: int

    @property
    def is_done(self) -> bool:
        return self.done_bytes >= self.size_bytes
