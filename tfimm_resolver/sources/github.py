"""Repositories on GitHub, or a host like it: ``github://[host/]owner/repo[:ref]`` is the directory of one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

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
from tfimm_resolver.sources.plan import Fetch

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.sources.github_refs import Tip
    from tfimm_resolver.sources.plan import Fetcher

SCHEMES = ("github",)
GITHUB = "https://github.com"

URL, _TOKEN = "TFIMM_GITHUB_URL", "GITHUB_TOKEN"

# Compiled where it is used: 2 ms that the import of the package need not cost.
_TEXT = (
    r"(?a:(?:(?P<host>localhost(?::\d+)?|[\w-]+(?:\.[\w-]+)+(?::\d+)?|[\w-]+:\d+)(?P<below>(?:/[\w.-]+)*?)/)?"
    r"(?P<owner>[\w-][\w.-]*)/(?P<repo>[\w.-]+?)(?::(?P<ref>[^:]+))?)"
)
_FIX = "Write OWNER/REPO, OWNER/REPO:REF or HOST/OWNER/REPO:REF; REF is a branch, a tag, or the commit at the tip of one."
_ACCESS_FIX = "Check the spelling of OWNER/REPO and the host; a private repository wants GITHUB_TOKEN."

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository, and what is wanted of it.

    Attributes:
        base: the URL below which owners stand.
        ref: as it was written; empty for the default branch.
    """

    base: str
    owner: str
    repo: str
    ref: str = ""

    @classmethod
    def parse(cls, text: str) -> Repository:
        """Read ``[host/]owner/repo[:ref]``.

        Raises:
            HandleError: if it is of another form.
        """
        from tfimm_resolver.handles.git import is_ref

        found = re.fullmatch(_TEXT, text) if isinstance(text, str) else None
        ref = (found and found["ref"]) or ""
        if found is None or found["repo"].removesuffix(".git") in ("", ".", "..") or (ref and not is_ref(ref)):
            raise HandleError(f"{re.sub('[^/]*@', '', str(text))[:200]!r} names no repository", fix=_FIX)
        base = _configured()
        host = f"{found['host'].lower()}{found['below']}" if found["host"] else _host(base)
        return cls(base if host == _host(base) else f"https://{host}", found["owner"], found["repo"].removesuffix(".git"), ref)

    @property
    def name(self) -> str:
        """Host, owner and repository: what one trusts, or does not."""
        return f"{_host(self.base)}/{self.owner}/{self.repo}"

    @property
    def identity(self) -> str:
        """All that tells it from any other, as a handle."""
        return f"github://{self.name}" + (f":{self.ref}" if self.ref else "")

    @property
    def place(self) -> str:
        """The URL where people see it."""
        return f"{self.base}/{self.owner}/{self.repo}"


def _host(base: str) -> str:
    return base.partition("://")[2]


def _configured() -> str:
    """The base of all repositories for which no other host is said."""
    from tfimm_resolver.http import credentials

    return credentials.base_url_from_env(URL, GITHUB)


def plan(handle: Handle) -> Fetch:
    """What is done with a ``github://`` handle."""
    if handle.query:
        raise HandleError(f"{handle} has a query", fix=_FIX)
    repository = Repository.parse(handle.host + handle.path)

    def fill(into: Path, fetcher: Fetcher) -> None:
        fetch_commit(repository, find_tip(repository, fetcher), into, fetcher)

    return Fetch(repository.identity, fill)


def find_tip(repository: Repository, fetcher: Fetcher) -> Tip:
    """The branch or tag that is wanted, and its commit: one request by git's own protocol, which nobody counts.

    Raises:
        UnknownRefError: if there is no such branch or tag.
        FetchError: if the host does not say.
    """
    from tfimm_resolver.sources.github_refs import Refs

    def ask(authorization: str) -> Tip:
        page = fetcher.page(f"{repository.place}.git/info/refs?service=git-upload-pack", authorization=authorization)
        return Refs.parse(page, repository.place).tip(repository.ref, repository.place)

    try:
        return _with_token_fallback(ask, repository)
    except (UnknownRefError, OfflineError):
        raise
    except FetchError as error:
        tip = _tip_by_api(repository, fetcher)
        if tip is not None:
            return tip
        fix = _ACCESS_FIX if isinstance(error, (AccessError, NotFoundError)) else None
        raise error.retold(error.text, fix) from error.__cause__


def fetch_commit(repository: Repository, tip: Tip, into: Path, fetcher: Fetcher) -> None:
    """Bring the files of a commit into the empty directory ``into``; raises as ``Fetcher.archive`` does.

    A tip without a commit stands for whatever the host gives for the ref: then the archive says which commit it is.
    """
    from tfimm_resolver.archives.unpacking import ArchiveLayout
    from tfimm_resolver.handles.git import COMMIT

    came = ""

    def heed(comment: str) -> None:
        nonlocal came
        came = comment if COMMIT.fullmatch(comment) else ""
        if came and tip.commit not in ("", came):
            raise IntegrityError(f"{repository.identity} came as another commit:\n  came  {came}\n  asked {tip.commit}")

    wanted = quote(tip.commit or repository.ref or "HEAD")

    def ask(authorization: str) -> None:
        url = f"{repository.place}/zipball/{wanted}"
        fetcher.archive(url, into, form=ArchiveLayout(is_wrapped=True, heed=heed), authorization=authorization)

    _with_token_fallback(ask, repository)
    if not came:
        raise ArchiveError(f"{repository.identity}: what {repository.place} gave is no zip that says of which commit it is")
    fetcher.origin = replace(fetcher.origin, ref=tip.ref, commit=came)


def _with_token_fallback(ask: Callable[[str], _Answer], repository: Repository) -> _Answer:
    """The answer to who has the token; where that one is refused, to anybody."""
    authorization = _authorization(repository)
    try:
        return ask(authorization)
    except AccessError as refused:
        if not authorization:
            raise
        try:
            return ask("")
        except FetchError as error:
            raise error.retold(f"{error.text}\n  and with {_TOKEN}: {refused.text}") from refused


def _authorization(repository: Repository) -> str:
    """What the token makes of the header, for the configured host and no other one; else empty."""
    token = os.environ.get(_TOKEN, "").strip()
    if not token or repository.base != _configured():
        return ""
    from tfimm_resolver.http.credentials import Credentials

    return Credentials.basic(_TOKEN, "x-access-token", token).authorization


def _tip_by_api(repository: Repository, fetcher: Fetcher) -> Tip | None:
    """The same by GitHub's REST API (https://docs.github.com/rest/git), for those with a token: others may ask it rarely."""
    from tfimm_resolver.sources.github_refs import Refs

    api = "https://api.github.com" if repository.base == GITHUB else f"{repository.base}/api/v3"
    authorization = _authorization(repository)
    if not authorization:
        return None

    def facts(path: str) -> Any:
        place = f"{api}/repos/{repository.owner}/{repository.repo}{path}"
        return json.loads(fetcher.page(place, authorization=authorization))

    try:
        default = "" if repository.ref else f"refs/heads/{facts('')['default_branch']}"
        wanted = (repository.ref or default).removeprefix("refs/heads/").removeprefix("refs/tags/")
        commits = {}
        for kind in ("heads", "tags"):
            for found in facts(f"/git/matching-refs/{kind}/{quote(wanted)}"):
                target = found["object"]
                is_tag = target["type"] == "tag" and found["ref"] == f"refs/{kind}/{wanted}"
                commits[found["ref"]] = facts(f"/git/tags/{target['sha']}")["object"]["sha"] if is_tag else target["sha"]
    except (FetchError, ValueError, LookupError, TypeError):  # what git's own protocol said is told
        return None
    return Refs(commits, default).tip(repository.ref, repository.place)
