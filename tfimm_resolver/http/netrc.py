"""The login that netrc has for a host, under rules narrower than those of other programs."""

from __future__ import annotations

import io
import logging
import os
from urllib.parse import urlsplit

from tfimm_resolver._util import fs
from tfimm_resolver.http.credentials import Credentials
from tfimm_resolver.settings import network

log = logging.getLogger("tfimm_resolver")

_Logins = dict[str, tuple[str, str, str]]

_BYTES_MAX = 1 << 20


def find_login(url: str, *, is_own: bool) -> Credentials | None:
    """Return the login for the host of ``url``; ``is_own``: that of the handle, and not one that a redirect names.

    An exact ``machine`` counts for every host, ``default`` for the handle's own only. None counts over http.
    """
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    path = _find_file()
    if not path:
        return None
    hosts = _read_logins(path)
    entry = hosts.get(parts.hostname) if parts.hostname != "default" else None  # a word for all hosts, and not the name of one
    entry = entry or (hosts.get("default") if is_own else None)
    if not entry or not any(entry):
        return None
    return Credentials.basic(path, entry[0] or entry[1] or "", entry[2] or "")


def _read_logins(path: str) -> _Logins:
    """Return the logins of a file by host; none, with the reason in the log, if it cannot be read."""
    import netrc  # with shlex, 1 ms that only a user with such a file pays

    class TextNetrc(netrc.netrc):
        """Parses a text: the base class would open a pipe, and read a file of any size."""

        def __init__(self, text: str) -> None:
            self.hosts, self.macros = {}, {}
            self._parse(path, io.StringIO(text), False)  # type: ignore[attr-defined]

    try:
        hosts: _Logins = TextNetrc(fs.read_regular(path, _BYTES_MAX, follow=True).decode()).hosts  # type: ignore[assignment]
    except netrc.NetrcParseError as error:  # its text may quote a password
        log.warning("%s, line %s, cannot be parsed: it is ignored", path, error.lineno)
    except (OSError, UnicodeDecodeError) as error:
        log.warning("%s cannot be read, and is ignored: %s", path, error)
    else:
        return hosts
    return {}


def _find_file() -> str | None:
    candidates = [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]
    paths = map(network.expand_variables, candidates)
    return next((path for path in paths if os.path.isfile(path)), None)
