"""How a place on the web is reached: at which address, and with whose credentials."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tfimm_resolver.errors import HandleError


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


def base_url_from_env(variable: str, default: str) -> str:
    """The address that a variable says, or else the default one; the host in small letters, no slash at the end.

    Raises:
        HandleError: if it is no http or https address of a host, or holds more, such as credentials.
    """
    try:
        parts = urlsplit(os.environ.get(variable) or default)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0  # no number raises
    except ValueError:
        is_sound = False
    if not is_sound or "@" in parts.netloc or parts.query or parts.fragment:
        raise HandleError(f"{variable} is no address of a host", fix="Write https://HOST, and no credentials.")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
