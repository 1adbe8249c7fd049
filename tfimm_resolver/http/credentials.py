"""The base URL of a service, and the credentials to send to it."""

from __future__ import annotations

import base64
import os
from typing import NamedTuple
from urllib.parse import urlsplit

from tfimm_resolver._util.urls import find_confusing_character
from tfimm_resolver.errors import HandleError


class Credentials(NamedTuple):
    """An Authorization header and where it was configured.

    Attributes:
        source: the variable or file that holds the credentials; safe to show in messages.
        authorization: the value of the header; a secret.
    """

    source: str
    authorization: str

    def __repr__(self) -> str:
        return f"Credentials(source={self.source!r})"

    @classmethod
    def basic(cls, source: str, name: str, password: str) -> Credentials:
        """Encode a name and a password for Basic authentication (RFC 7617)."""
        return cls(source, "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode())


def base_url_from_env(variable: str, default: str) -> str:
    """Return the base URL in an environment variable, or the default; host in lower case, without a trailing slash.

    Raises:
        HandleError: if it is not the http or https URL of a host, or contains credentials, a query or a fragment.
    """
    try:
        parts = urlsplit(os.environ.get(variable) or default)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0  # a bad port raises
    except ValueError:
        is_valid = False
    if not is_valid or find_confusing_character(parts.netloc) or "@" in parts.netloc or parts.query or parts.fragment:
        raise HandleError(f"{variable} is not the base URL of a host", fix="Write https://HOST, without credentials.")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
