"""Tokens and headers that are sent to one host only, from the user's hosts.toml."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import HandleError
from tfimm_resolver.errors.os_errors import map_os_errors, map_resource_errors

log = logging.getLogger("tfimm_resolver")

_BYTES_MAX = 1 << 20
_PORTS = {"http": ":80", "https": ":443"}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VALUE = re.compile(r"[\x21-\x7e]+([ \t]+[\x21-\x7e]+)*")
_RESERVED_HEADERS = ("accept-encoding", "connection", "content-length", "host", "if-range", "range", "transfer-encoding")
_KEYS = ("token", "token_variable", "headers")
_FIX = 'Write a table per host, such as ["models.example.org"] or with its port, with token or token_variable, and headers.'

Headers = Mapping[str, Callable[[], str]]
"""Values are callables: one that comes from a variable is read when it is sent."""


def get_headers(url: str, *, is_own: bool = True) -> dict[str, str]:
    """Return the headers that hosts.toml has for the host and port of ``url``; the default port of https may be omitted.

    Over http anyone on the network path can read them, or redirect to http. So an entry without a scheme counts for https, and
    with an explicit port for http as well if the user named that host: ``is_own``. Entries with a scheme count for that alone.

    Raises:
        HandleError: if the file cannot be read, or its entry is not valid.
    """
    entries = read_hosts()
    if not entries:
        return {}
    parts = urlsplit(url)
    host, port = parts.netloc.rpartition("@")[2].lower(), _PORTS.get(parts.scheme, "")
    bare = host.removesuffix(port)
    has_other_port = ":" in bare.rpartition("]")[2]
    names = [f"{parts.scheme}://{bare}{'' if has_other_port else port}"]
    if parts.scheme == "https":
        names += [f"https://{bare}", bare + ("" if has_other_port else port), bare]
    elif is_own:
        names.append(bare if has_other_port else bare + port)
    entry: Headers = next((entries[name] for name in names if name in entries), {})
    return {name: value() for name, value in entry.items()}


def read_hosts() -> dict[str, Headers]:
    """Return the headers of each host in the file; none if it does not exist and the user has not named it.

    Raises:
        HandleError: if the file cannot be read, or one of its entries is not valid.
    """
    path, is_explicit = settings.hosts_file()
    # After su or sudo, HOME may name another user's home, which is not readable.
    ignore = contextlib.suppress(*(() if is_explicit else (FileNotFoundError, NotADirectoryError, PermissionError)))
    status = None
    with map_os_errors(HandleError, f"{show(path)} cannot be read", f"Correct or unset {settings.HOSTS_FILE}."), ignore:
        status = os.stat(path)
    return {} if status is None else _read(path, status.st_mtime_ns, status.st_size, status.st_mode)


@functools.lru_cache(maxsize=8)
def _read(path: str, _: int, __: int, mode: int) -> dict[str, Headers]:
    """Parse the file; cached until its size, mode or time of change differs."""
    from tfimm_resolver._util.toml import parse_toml  # most users have no such file

    try:
        with (
            map_resource_errors(HandleError, f"{path} is not valid", _FIX),
            map_os_errors(HandleError, f"{show(path)} cannot be read", "Correct its permissions."),
        ):
            tables = parse_toml(fs.read_regular(path, _BYTES_MAX, follow=True).decode())
    except HandleError:
        raise
    except ValueError as error:  # not TOML, or not UTF-8; the message has a line number, and no content of the file
        raise HandleError(f"{show(path)} is not valid TOML: {show(error)}", fix=_FIX) from error
    entries = {host.lower(): _parse_host_entry(path, host, table) for host, table in tables.items()}
    if os.name == "posix" and mode & 0o077 and any({"token", "headers"} & {*table} for table in tables.values()):
        log.warning("%s has a token or headers, and other users can read it: chmod 600 it", path)
    return entries


def _parse_host_entry(path: str, host: str, table: Any) -> Headers:
    """Return the headers for one host; errors never show a value."""
    where = f"{path}, {host.rpartition('@')[2]!r}"
    if "/" in re.sub("^https?://", "", host) or "@" in host:
        raise HandleError(f"{where}: write the host without user and path", fix=_FIX)
    if not isinstance(table, dict):
        raise HandleError(f"{where}: this is not a table", fix=_FIX)
    if unknown := [key for key in table if key not in _KEYS]:
        raise HandleError(f"{where}: unknown key {unknown[0]!r}", fix=_FIX)
    extra = table.get("headers", {})
    if not isinstance(extra, dict) or not {type(value) for value in extra.values()} <= {str}:
        raise HandleError(f"{where}: headers is not a table of strings", fix=_FIX)
    for name, value in extra.items():
        if not _NAME.fullmatch(name) or name.lower() in _RESERVED_HEADERS or not _VALUE.fullmatch(value):
            raise HandleError(f"{where}: the header {name!r} may not be set, or its value is not valid", fix=_FIX)
    headers: dict[str, Callable[[], str]] = {name: functools.partial(str, value) for name, value in extra.items()}
    tokens = [key for key in ("token", "token_variable") if key in table]
    if len(tokens) > 1 or (tokens and "authorization" in map(str.lower, extra)):
        raise HandleError(f"{where}: use only one of token, token_variable and an Authorization header", fix=_FIX)
    if tokens:
        token = table[tokens[0]]
        if not isinstance(token, str) or not token:
            raise HandleError(f"{where}: {tokens[0]} is not a string, or is empty", fix=_FIX)
        headers["Authorization"] = functools.partial(_make_bearer, where, token, tokens == ["token_variable"])
    return headers


def _make_bearer(where: str, text: str, is_variable: bool) -> str:
    token = os.environ.get(text, "").strip() if is_variable else text
    if not _VALUE.fullmatch(token):
        name = f"the variable {text!r}" if is_variable else "token"
        fix = "Set the variable, or remove token_variable." if is_variable else "Correct the token."
        raise HandleError(f"{where}: {show(name)} is not set, or has characters that a header cannot hold", fix=fix)
    return f"Bearer {token}"
