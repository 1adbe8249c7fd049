"""What one host is sent, and no other: tokens and headers, from a file of the user's."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from tfimm_resolver import settings
from tfimm_resolver.errors import HandleError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger("tfimm_resolver")

_PORTS = {"http": ":80", "https": ":443"}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[\x21-\x7e]+([ \t]+[\x21-\x7e]+)*")
_RESERVED_HEADERS = ("accept-encoding", "connection", "content-length", "host", "if-range", "range", "transfer-encoding")
_KEYS = ("token", "token_variable", "headers")
_FORM = 'A host is a table: ["models.example.org"], or with its port; in it token or token_variable, and headers.'

Headers = Mapping[str, Callable[[], str]]
"""The value is asked for when it is sent, since it may be a variable's."""


def headers(url: str) -> dict[str, str]:
    """What the host of ``url`` is sent, as the file says for it and its port; https's own port need not be said.

    Raises:
        HandleError: if the file, or what it says of that host, cannot be read.
    """
    place, is_said = settings.hosts_file()
    try:
        status = os.stat(place)
    except OSError as error:
        # Into another user's home, which HOME names after su or sudo, one may not even look.
        if is_said or not isinstance(error, (FileNotFoundError, NotADirectoryError, PermissionError)):
            raise HandleError(
                f"{place} cannot be read: {error.strerror}", fix=f"Mend or unset {settings.HOSTS_FILE}."
            ) from error
        return {}
    known = _read(place, status.st_mtime_ns, status.st_size, status.st_mode)
    parts = urlsplit(url)
    host, port = parts.netloc.rpartition("@")[2].lower(), _PORTS.get(parts.scheme, "")
    bare = host.removesuffix(port)
    is_port_said = ":" in bare.rpartition("]")[2]
    # Over http anybody on the way may read it, and send others there: who wants that writes the port.
    said = known.get(bare + port) or (known.get(bare) if parts.scheme != "http" or is_port_said else None) or {}
    return {name: value() for name, value in said.items()}


@functools.lru_cache(maxsize=8)
def _read(place: str, _: int, __: int, mode: int) -> dict[str, Headers]:
    """Every host of the file, read anew when it has changed."""
    try:
        with open(place, "rb") as file:
            facts = tomllib.load(file)
    except OSError as error:
        raise HandleError(f"{place} cannot be read: {error.strerror}", fix="Mend its permissions.") from error
    except ValueError as error:  # no TOML, no UTF-8; it shows nothing of the file but the line's number
        raise HandleError(f"{place} is no TOML: {error}", fix=_FORM) from error
    known = {host.lower(): _parse_host_entry(place, host, said) for host, said in facts.items()}
    if os.name == "posix" and mode & 0o077 and any({"token", "headers"} & {*said} for said in facts.values()):
        log.warning("%s holds what others should not read, and they may: chmod 600 it", place)
    return known


def _parse_host_entry(place: str, host: str, said: Any) -> Headers:
    """What the file says of one host; no error shows a value."""
    where = f"{place}, {host.rpartition('@')[2]!r}"
    if "/" in host or "@" in host:
        raise HandleError(f"{where}: a host is written without scheme, user and path", fix=_FORM)
    wrong = [key for key in said if key not in _KEYS] if isinstance(said, dict) else ["no table"]
    if wrong:
        raise HandleError(f"{where}: unknown key {wrong[0]!r}", fix=_FORM)
    given = said.get("headers", {})
    if not isinstance(given, dict) or not {type(value) for value in given.values()} <= {str}:
        raise HandleError(f"{where}: headers are no table of texts", fix=_FORM)
    for name, value in given.items():
        if not _NAME.fullmatch(name) or name.lower() in _RESERVED_HEADERS or not _VALUE.fullmatch(value):
            raise HandleError(f"{where}: the header {name!r} cannot be sent, or its value cannot", fix=_FORM)
    found: dict[str, Callable[[], str]] = {name: functools.partial(str, value) for name, value in given.items()}
    tokens = [key for key in ("token", "token_variable") if key in said]
    if len(tokens) > 1 or (tokens and "authorization" in map(str.lower, given)):
        raise HandleError(f"{where}: of token, token_variable and an Authorization header only one can be sent", fix=_FORM)
    if tokens:
        token = said[tokens[0]]
        if not isinstance(token, str) or not token:
            raise HandleError(f"{where}: {tokens[0]} is no text", fix=_FORM)
        found["Authorization"] = functools.partial(_bearer, where, token, tokens == ["token_variable"])
    return found


def _bearer(where: str, text: str, is_variable: bool) -> str:
    token = os.environ.get(text, "").strip() if is_variable else text
    if not _VALUE.fullmatch(token):
        name = f"the variable {text!r}" if is_variable else "token"
        raise HandleError(f"{where}: {name} is not set, or holds what no header can", fix=_FORM)
    return f"Bearer {token}"
