"""Addresses at which kinds of git hosts offer one commit as a zip, and which kind each host is known to be."""

from __future__ import annotations

import threading
from urllib.parse import quote, urlsplit

from tfimm_resolver.errors import ArchiveError, FetchError

ADDRESSES = {
    "GitHub": "/zipball/{ref}",
    "GitLab": "/-/archive/{ref}/{repo}-{name}.zip",
    "Gitea or Forgejo": "/archive/{ref}.zip",
    "Bitbucket": "/get/{ref}.zip",
}
"""Below the page of a repository, by kind. No protocol of git's asks for an archive, and no host says which kind it is."""

_NAMES = {"gitlab": "GitLab", "gitea": "Gitea or Forgejo", "forgejo": "Gitea or Forgejo", "bitbucket": "Bitbucket"}
_HOSTS = {"github.com": "GitHub", "codeberg.org": "Gitea or Forgejo"}

_lock = threading.Lock()
_known: dict[str, str] = {}


def list_archive_urls(url: str, ref: str) -> list[tuple[str, str]]:
    """Return each kind and its URL for the zip of a ref, for the page ``url`` of a repository; the likeliest kind first."""
    host, repo = urlsplit(url).netloc.lower(), url.rpartition("/")[2]
    if host == "github.com":
        kinds = ["GitHub"]
    else:
        likely = _known.get(host) or _HOSTS.get(host) or next((kind for name, kind in _NAMES.items() if name in host), "")
        kinds = sorted(ADDRESSES, key=lambda kind: kind != likely)
    parts = {"ref": quote(ref), "repo": quote(repo), "name": quote(ref.replace("/", "-"))}
    return [(kind, url + ADDRESSES[kind].format(**parts)) for kind in kinds]


def remember_kind(url: str, kind: str) -> None:
    """Remember, for this process, of which kind the host of ``url`` is."""
    with _lock:
        _known[urlsplit(url).netloc.lower()] = kind


def is_missing_address(error: FetchError) -> bool:
    """Whether the error may mean that the host is of another kind: it refused the address, or sent a page such as a login."""
    if isinstance(error, ArchiveError):
        return error.is_page
    return error.status is not None and not error.is_passing
