"""Which certificate authorities and which proxy a connection uses; read from the environment at each call."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from tfimm_resolver._util import fs
from tfimm_resolver._util.urls import find_confusing_character
from tfimm_resolver.errors import FetchError
from tfimm_resolver.errors.os_errors import map_os_errors

HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")
"""Of a certificate in a directory, as ``openssl rehash`` names it and OpenSSL finds it."""

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_CERTIFICATE_SUFFIXES = (".pem", ".crt", ".cer")
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_OPENSSL_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # macOS, FreeBSD
)
_CERTIFICATES_BYTES_MAX = 16 << 20
_PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
# The filter of messages takes what stands between // and an @ for a login.
_PROXY_FIX = (
    "A login, if the proxy requires one, comes before the host as USER:PASSWORD@, percent-encoded; without one, write "
    "http://HOST:PORT with a number as the port."
)


class CaSources(NamedTuple):
    """Files and directories of trusted certificates.

    Attributes:
        paths: in no order: all of them count.
        description: names them, for messages.
        is_explicit: the user named them, so that one that cannot be read is an error.
    """

    paths: tuple[str, ...]
    description: str
    is_explicit: bool


def choose_ca_sources(*variables: str) -> CaSources:
    """Return the sources of trusted certificates: those that the user names, else the system's and certifi's.

    ``variables`` come before those that requests, curl and OpenSSL read.
    """
    for variable in (*variables, *_CA_VARIABLES):
        if path := os.environ.get(variable):
            return CaSources((expand_variables(path),), f"{variable}={path}", True)
    named = {variable: os.environ[variable] for variable in _OPENSSL_VARIABLES if os.environ.get(variable)}
    folders = named.get("SSL_CERT_DIR", "").split(os.pathsep)
    paths = tuple(expand_variables(path) for path in (named.get("SSL_CERT_FILE", ""), *folders) if path)
    if paths:
        return CaSources(paths, " and ".join(f"{variable}={value}" for variable, value in named.items()), True)
    return _list_default_sources()


def expand_variables(path: str) -> str:
    """Return the path of a file of other programs with ``~`` and ``$VAR`` expanded; a relative one stays as it is."""
    return os.path.expanduser(os.path.expandvars(path))


def read_certificates(sources: CaSources) -> str:
    """Return the certificates of all sources as one PEM text, for libraries that take nothing else.

    Raises:
        FetchError: if a file that the user named cannot be read.
    """
    texts: list[str] = []
    failed = f"{sources.description} cannot be read"
    for path in (file for source in sources.paths for file in list_certificate_files(source)):
        ignore = contextlib.suppress(*(() if sources.is_explicit else (FetchError,)))
        opened = functools.partial(open, path, encoding="utf-8", errors="replace", opener=_open_certificates)
        with ignore, map_os_errors(FetchError, failed, "Correct or unset it."), opened() as file:
            texts += _CERTIFICATE.findall(file.read())
    return "\n".join(dict.fromkeys(texts))


def _open_certificates(path: str, flags: int) -> int:
    return fs.open_regular(path, flags, follow=True, max_bytes=_CERTIFICATES_BYTES_MAX)


def list_certificate_files(path: str) -> list[str]:
    """Return the files of a source that may hold certificates: the path itself, unless it is a directory."""
    if not os.path.isdir(path):
        return [path]
    names = sorted(name for name in os.listdir(path) if name.endswith(_CERTIFICATE_SUFFIXES) or HASHED_NAME.fullmatch(name))
    return [os.path.join(path, name) for name in names]


def _list_default_sources() -> CaSources:
    import ssl  # 6 ms that only a connection pays

    import certifi

    paths = ssl.get_default_verify_paths()
    candidates = (paths.openssl_cafile, paths.openssl_capath, *SYSTEM_BUNDLES)
    system = dict.fromkeys(path for path in candidates if os.path.exists(path))
    names = ", ".join(system) or "none found"
    description = f"the system's certificates ({names}) and those of certifi ({certifi.where()})"
    return CaSources((*system, certifi.where()), description, False)


class Proxy(NamedTuple):
    """A proxy, and the variable that names it; ``url`` has no credentials."""

    url: str
    variable: str
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Proxy(url={self.url!r}, variable={self.variable!r})"

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS instead of HTTP."""
        return self.url.startswith("socks")

    @property
    def full_url(self) -> str:
        """The URL with the credentials; a secret."""
        from urllib.parse import quote

        scheme, _, rest = self.url.partition("://")
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user or self.password else ""
        return f"{scheme}://{login}{rest}"


def choose_proxy(url: str) -> Proxy | None:
    """Return the proxy for a URL, as the environment names it; None for a direct connection.

    Raises:
        FetchError: if the variable does not hold the URL of a proxy.
    """
    # On other systems the settings of the desktop count, too.
    if sys.platform == "linux" and not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies

    parts, proxies = urlsplit(url), getproxies()
    scheme = parts.scheme if proxies.get(parts.scheme) else "all"
    if not proxies.get(scheme) or is_proxy_bypassed(url):
        return None
    return _parse_proxy(proxies[scheme], _name_variable(scheme))


def is_proxy_bypassed(url: str) -> bool:
    """Whether ``no_proxy`` names the host of a URL: by its name or a suffix, with or without the port, a network, or ``*``."""
    from urllib.request import proxy_bypass

    parts = urlsplit(url)
    host = parts.hostname or ""
    location = parts.netloc.rpartition("@")[2]
    if proxy_bypass(location) or proxy_bypass(host):
        return True
    text = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))  # an empty no_proxy hides the other, as in urllib
    entries = [entry.strip() for entry in text.split(",")]
    return "*" in entries or any(_is_in_network(host, entry) for entry in entries)


def _is_in_network(host: str, entry: str) -> bool:
    import ipaddress  # 1 ms that few users pay

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return False


def _name_variable(scheme: str) -> str:
    name = f"{scheme}_proxy"
    return next((spelling for spelling in (name, name.upper()) if os.environ.get(spelling)), name)


def _parse_proxy(text: str, variable: str) -> Proxy:
    """Parse the value of a variable; the error never shows it, since it may hold a password."""
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # raises if a part of it is empty or too long
        is_misspelt = "://" not in text and parts.netloc.endswith(":")  # http:/proxy has a scheme, but not as it is written
        is_cut = "@" in parts.path + parts.query + parts.fragment  # a character of the password ends the host
        if is_misspelt or is_cut or find_confusing_character(parts.netloc.rpartition("@")[2]):
            host = None
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in _PROXY_SCHEMES or port == 0:
        raise FetchError(f"{variable} does not hold the URL of a proxy", fix=_PROXY_FIX)
    host = f"[{host}]" if ":" in host else host
    location = host if port is None else f"{host}:{port}"
    return Proxy(f"{parts.scheme}://{location}", variable, unquote(parts.username or ""), unquote(parts.password or ""))
