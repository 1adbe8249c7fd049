"""One spelling for all URLs that mean the same, so that a rule for a prefix counts for each of them."""

from __future__ import annotations

import contextlib
import re
from urllib.parse import unquote

from tfimm_resolver._util.urls import STORE_ALIASES
from tfimm_resolver.handles.kaggle import KAGGLE_PAGES, framework_key

URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_PORT = re.compile(r":([0-9]*)$")
_DEFAULT_PORTS = (None, 80, 443)
_NUMERIC_HOST = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}")
_GOOGLE_API = re.compile(
    r"https://(?:storage|www)\.googleapis\.com/(?:download/)?storage/v1/b/([^/]+)(?:/o(?:/(.*))?)?", re.DOTALL
)
_REWRITTEN = (
    ("kaggle://", f"{KAGGLE_PAGES}/"),
    ("https://kaggle.com/models/", f"{KAGGLE_PAGES}/"),
    ("https://www.kaggle.com/api/v1/models/", f"{KAGGLE_PAGES}/"),
    ("https://kaggle.com/api/v1/models/", f"{KAGGLE_PAGES}/"),
    ("https://huggingface.co/api/models/", "hf://"),
    ("https://huggingface.co/", "hf://"),
    ("https://www.huggingface.co/", "hf://"),
    ("https://hf.co/", "hf://"),
    ("https://api.github.com/repos/", "github://"),
    ("https://codeload.github.com/", "github://"),
    ("https://raw.githubusercontent.com/", "github://"),
    ("https://www.github.com/", "github://"),
    ("https://github.com/", "github://"),
    ("https://www.tfhub.dev/", "https://tfhub.dev/"),
)
"""Spellings of hosts that have handles of their own, each with the one that counts."""

_REPOSITORY = re.compile(r"(hf|github)://([^/]*)(/[^/:@]*)?(.*)", re.DOTALL)


def canonicalize_url(text: str) -> str:
    """Return one spelling for all URLs that mean the same, as far as a URL shows that.

    The scheme http counts as https. The case and the encoding of a host, a user, a default port, zeros before a port, a query,
    escapes, empty components and dots make no difference, nor does the case of an owner and a repository.
    """
    url = simplify_url(text)
    if found := _GOOGLE_API.fullmatch(url):
        return f"gs://{found[1]}/{found[2] or ''}"
    for begin, canonical in _REWRITTEN:
        if url.startswith(begin):
            url = canonical + url.removeprefix(begin)
            break
    return _fold_owner(url)


def simplify_url(text: str) -> str:
    """Return ``canonicalize_url`` without the rules for single hosts."""
    found = URL.fullmatch(text)
    assert found is not None
    scheme, host, rest = found[1].lower(), found[2].rpartition("@")[2], re.split(r"[?#]", found[3], maxsplit=1)[0]
    scheme = STORE_ALIASES.get(scheme, scheme)
    if scheme in ("http", "https"):
        scheme, host = "https", _simplify_host(host)
    return f"{scheme}://{host}{_simplify_path(rest)}"


def list_repository_forms(url: str) -> list[str]:
    """Return the spellings without its revision of a handle in canonical form, if it names one."""
    found = _REPOSITORY.fullmatch(url)
    if found is None or not found[4].startswith(("@", ":")):
        return []
    repository = f"{found[1]}://{found[2]}{found[3]}"
    return [repository, f"{repository}/{found[4].partition('/')[2]}"]


def _fold_owner(url: str) -> str:
    """Return a URL with the names whose case does not count in lower case: of owners and repositories of known hosts."""
    if found := _REPOSITORY.fullmatch(url):
        repository = (found[3] or "").lower().removesuffix(".git")
        return f"{found[1]}://{found[2].lower()}{repository}{found[4]}"
    if not url.startswith(f"{KAGGLE_PAGES}/"):
        return url
    owner, *parts = url.removeprefix(f"{KAGGLE_PAGES}/").split("/")
    names = [framework_key(name) if number == 1 else name.lower() for number, name in enumerate(parts[:3])]
    return "/".join([KAGGLE_PAGES, owner.lower(), *names, *parts[3:]])


def _simplify_host(host: str) -> str:
    """Return the name of a host, as it is connected to, with its port if that is another than the default."""
    host = _unquote(host)
    port = None
    if found := _PORT.search(host):
        host, port = host[: found.start()], int(found[1][-20:]) if found[1] else None
    host = host.lower().rstrip(".")
    if not host.isascii():
        host = _encode_host(host)
    elif host.startswith("[") or _NUMERIC_HOST.fullmatch(host):
        host = _simplify_address(host)
    return host if port in _DEFAULT_PORTS else f"{host}:{port}"


def _encode_host(host: str) -> str:
    """Return a host with characters of other alphabets as it is looked up."""
    import idna  # only few hosts need it

    with contextlib.suppress(UnicodeError):
        return idna.encode(host, uts46=True).decode().rstrip(".")
    return host


def _simplify_address(host: str) -> str:
    """Return one spelling of an IP address; the system reads ``127.1`` and ``0x7f000001`` as 127.0.0.1."""
    import socket

    with contextlib.suppress(OSError, ValueError):
        if host.startswith("["):
            return f"[{socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, host.strip('[]')))}]"
        return socket.inet_ntoa(socket.inet_aton(host))
    return host


def _unquote(text: str) -> str:
    for _ in range(3):
        text = unquote(text)
    return text


def _simplify_path(path: str) -> str:
    """Return a path, percent-decoded, without empty components and dots."""
    path = _unquote(path)
    parts: list[str] = []
    for part in path.split("/")[1:]:
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "".join(f"/{part}" for part in parts) + "/" * path.endswith(("/", "/.", "/.."))
