"""What one place on the web wants to be told before it answers, and which no other place is told."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is said to one place, a scheme and host, and to no other: neither by us nor where it redirects to."""

    place: str
    authorization: str = field(repr=False)

    @classmethod
    def basic(cls, url: str, user: str, password: str) -> Credentials:
        """For the place of a URL (RFC 7617)."""
        return cls(place_of(url), "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())

    def headers(self, url: str) -> dict[str, str]:
        """What a request for the URL says."""
        return {"Authorization": self.authorization} if place_of(url) == self.place else {}


def place_of(url: str) -> str:
    """The scheme and host of a URL, without userinfo."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()
