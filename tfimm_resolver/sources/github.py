"""Repositories on GitHub or another git host: ``github://[host/]owner/repo[:ref]`` is the tree of one commit."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver._util.outgoing import mask_value
from tfimm_resolver.errors import (
    AccessError,
    ArchiveError,
    FetchError,
    HandleError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    UnknownRefError,
)
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources import git_hosts
from tfimm_resolver.sources.plan import Fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.sources.github_refs import Tip
    from tfimm_resolver.sources.plan import Fetcher

SCHEMES = ("github",)
GITHUB = "https://github.com"

URL, _TOKEN = "TFIMM_GITHUB_URL", "GITHUB_TOKEN"

# Compiled where it is used: 2 ms that the import of the package does not pay.
_TEXT = (
    r"(?a:(?:(?P<host>localhost(?::\d+)?|[\w-]+(?:\.[\w-]+)+(?::\d+)?|[\w-]+:\d+)/)?"
    r"(?P<owner>[\w-][\w.-]*(?:/[\w-][\w.-]*)*)/(?P<repo>[\w.-]+?)(?::(?P<ref>[^:]+))?)"
)
_FIX = "Write OWNER/REPO, OWNER/REPO:REF or HOST/OWNER/REPO:REF; REF is a branch, a tag, or the commit at the tip of one."
_ACCESS_FIX = "Check the spelling of OWNER/REPO and the host; a private repository needs GITHUB_TOKEN."

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository and the ref that a handle asks for.

    Attributes:
        base: the host's URL, to which ``/owner/repo`` is appended.
        owner: a user or an organization; where the host has groups within groups, their names with ``/``.
        ref: as written in the handle; empty for the default branch.
    """

    base: str
    owner: str
    repo: str
    ref: str = ""

    @classmethod
    def parse(cls, text: str) -> Repository:
        """Parse ``[host/]owner/repo[:ref]``.

        Raises:
            HandleError: if the text has another form.
        """
        from tfimm_resolver.handles.git import is_ref

        found = re.fullmatch(_TEXT, text) if isinstance(text, str) else None
        ref = (found and found["ref"]) or ""
        malformed = HandleError(f"{mask_value(str(text))[:200]!r} does not name a repository", fix=_FIX)
        if found is None or found["repo"].removesuffix(".git") in ("", ".", "..") or (ref and not is_ref(ref)):
            raise malformed
        base, owner = get_base_url(), found["owner"]
        if found["host"]:
            base, owner = _split_base(base, f"{found['host'].lower()}/{owner}")
        if base == GITHUB and "/" in owner:  # it has no groups of repositories
            raise malformed
        return cls(base, owner, found["repo"].removesuffix(".git"), ref)

    @property
    def full_name(self) -> str:
        """Host, owner and repository: the unit of trust."""
        return f"{_strip_scheme(self.base)}/{self.owner}/{self.repo}"

    @property
    def handle(self) -> str:
        """The canonical handle."""
        return f"github://{self.full_name}" + (f":{self.ref}" if self.ref else "")

    @property
    def url(self) -> str:
        """The URL of the repository's page."""
        return f"{self.base}/{self.owner}/{self.repo}"


def _strip_scheme(base: str) -> str:
    return base.partition("://")[2]


def _split_base(configured: str, path: str) -> tuple[str, str]:
    """Split the text before a repository's name, which begins with a host, into the base URL and the owner."""
    default = f"{_strip_scheme(configured)}/"
    if path.startswith(default):
        return configured, path.removeprefix(default)
    host, _, owner = path.partition("/")
    return f"https://{host}", owner


def get_base_url() -> str:
    """Return the URL of the host for handles that name none."""
    from tfimm_resolver.http import credentials

    return credentials.base_url_from_env(URL, GITHUB)


def plan(handle: Handle) -> Fetch:
    """Return the plan for a ``github://`` handle; the ref may follow ``@``, as in pip, instead of a colon."""
    if handle.query:
        raise HandleError(f"{handle} has a query", fix=_FIX)
    named, at, ref = (handle.host + handle.path).partition("@")
    is_pip_spelling = bool(at) and "/" in named and ":" not in named.rpartition("/")[2]
    repository = Repository.parse(f"{named}:{ref}" if is_pip_spelling else handle.host + handle.path)

    def fill(into: Path, fetcher: Fetcher) -> None:
        fetch_commit(repository, find_tip(repository, fetcher), into, fetcher)

    return Fetch(repository.handle, fill)


def find_tip(repository: Repository, fetcher: Fetcher) -> Tip:
    """Return the requested branch or tag and its commit: one request by git's own protocol, which has no rate limit.

    Raises:
        UnknownRefError: if there is no such branch or tag.
        FetchError: if the host does not answer with its refs.
    """
    from tfimm_resolver.sources.github_refs import Refs

    def read_refs(authorization: str) -> Tip:
        data = fetcher.get_bytes(f"{repository.url}.git/info/refs?service=git-upload-pack", authorization=authorization)
        return Refs.parse(data, repository.url).find_tip(repository.ref, repository.url)

    try:
        return _with_token_fallback(read_refs, repository)
    except (UnknownRefError, OfflineError):
        raise
    except FetchError as error:
        tip = _find_tip_by_api(repository, fetcher)
        if tip is not None:
            return tip
        fix = _ACCESS_FIX if isinstance(error, (AccessError, NotFoundError)) else None
        raise error.with_message(error.text, fix) from error.__cause__


def make_archive_url(repository: Repository, tip: Tip) -> str:
    """Return the first URL that is tried for the zip of a tip's commit, or of the ref if the commit is not known."""
    return next(iter(git_hosts.list_archive_urls(repository.url, tip.commit or repository.ref or "HEAD")))[1]


def fetch_commit(repository: Repository, tip: Tip, into: Path, fetcher: Fetcher) -> None:
    """Download the files of a commit into the empty directory ``into``; raises as ``Fetcher.archive`` does.

    A tip without a commit stands for whatever the host returns for the ref; the archive then names the commit.
    """
    from tfimm_resolver.archives.unpacking import ArchiveLayout
    from tfimm_resolver.handles.git import COMMIT

    received = ""

    def check_comment(comment: str) -> None:
        nonlocal received
        received = comment if COMMIT.fullmatch(comment) else ""
        if received and tip.commit not in ("", received):
            text = f"{repository.handle} arrived as another commit:\n  received   {received}\n  requested  {tip.commit}"
            raise IntegrityError(text)

    layout = ArchiveLayout(strip_top_level=True, on_comment=check_comment, skips_unsupported=True)

    def download(url: str) -> None:
        _with_token_fallback(lambda token: fetcher.archive(url, into, layout=layout, authorization=token), repository)

    _try_each_kind(repository, tip.commit or repository.ref or "HEAD", download)
    if not received:
        raise ArchiveError(f"{repository.handle}: {repository.url} did not return a zip that names its commit")
    fetcher.origin = fetcher.origin._replace(ref=tip.ref, commit=received)


def _try_each_kind(repository: Repository, ref: str, download: Callable[[str], None]) -> None:
    """Download from the address that the kind of the host has for the zip of a ref; try one kind after the other.

    Raises:
        FetchError: the first failure, with those of the other addresses; at once if a zip was found, and is not valid.
    """
    failures = list[tuple[str, FetchError]]()
    for kind, url in git_hosts.list_archive_urls(repository.url, ref):
        try:
            download(url)
            return git_hosts.remember_kind(url, kind)
        except FetchError as error:
            if not git_hosts.is_missing_address(error):
                raise
            failures.append((kind, error))
    (kind, first), *others = failures
    if not others:
        raise first
    details = "".join(f"\n  as from {other}: {error.text}" for other, error in others)
    raise first.with_message(f"{first.text}\n  this was the address of a zip at {kind}{details}") from first


def _with_token_fallback(call: Callable[[str], _Result], repository: Repository) -> _Result:
    """Call with the token's Authorization header; if the host rejects that, without it: the repository may be public."""
    authorization = _make_authorization(repository)
    try:
        return call(authorization)
    except AccessError as rejected:
        if not authorization:
            raise
        try:
            return call("")
        except FetchError as error:
            raise error.with_message(f"{error.text}\n  and with {_TOKEN}: {rejected.text}") from rejected


def _make_authorization(repository: Repository) -> str:
    """Return the Authorization header with the token; empty without one, and for any host but the configured one."""
    token = os.environ.get(_TOKEN, "").strip()
    if not token or repository.base != get_base_url():
        return ""
    from tfimm_resolver.http.credentials import Credentials

    return Credentials.basic(_TOKEN, "x-access-token", token).authorization


def _find_tip_by_api(repository: Repository, fetcher: Fetcher) -> Tip | None:
    """Find the tip by GitHub's REST API (https://docs.github.com/rest/git), with a token only: the limit is low without."""
    from tfimm_resolver.sources.github_refs import Refs

    api = "https://api.github.com" if repository.base == GITHUB else f"{repository.base}/api/v3"
    authorization = _make_authorization(repository)
    if not authorization:
        return None

    def get_json(path: str) -> Any:
        url = f"{api}/repos/{repository.owner}/{repository.repo}{path}"
        return parse_json(fetcher.get_bytes(url, authorization=authorization))

    try:
        default = "" if repository.ref else f"refs/heads/{get_json('')['default_branch']}"
        requested = (repository.ref or default).removeprefix("refs/heads/").removeprefix("refs/tags/")
        commits = {}
        for kind in ("heads", "tags"):
            for found in get_json(f"/git/matching-refs/{kind}/{quote(requested)}"):
                target = found["object"]
                is_tag = target["type"] == "tag" and found["ref"] == f"refs/{kind}/{requested}"
                commits[found["ref"]] = get_json(f"/git/tags/{target['sha']}")["object"]["sha"] if is_tag else target["sha"]
    except (FetchError, ValueError, LookupError, TypeError):
        return None  # the error of git's own protocol is reported instead
    return Refs(commits, default).find_tip(repository.ref, repository.url)
