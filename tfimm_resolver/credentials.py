"""Who asks a place on the web: what is said there, and where that was found."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks.

    Attributes:
        source: the variable or file that says so; fit for messages.
        authorization: the value of the header; a secret.
    """

    source: str
    authorization: str = field(repr=False)

    @classmethod
    def basic(cls, source: str, name: str, password: str) -> Credentials:
        """By name and password (RFC 7617)."""
        return cls(source, "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode())
