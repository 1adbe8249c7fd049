"""Fetches a repository that has a hubconf.py and that the user trusts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import CacheError, HandleError, NotFoundError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.hub import layout, refs, trust
from tfimm_resolver.manifest import FetchResult
from tfimm_resolver.sources import github
from tfimm_resolver.sources.github import Repository
from tfimm_resolver.sources.github_refs import Tip

log = logging.getLogger("tfimm_resolver")

HUBCONF = "hubconf.py"


def ensure_directory(
    repo_or_dir: str | os.PathLike[str],
    *,
    source: str = "github",
    trust_repo: bool | str = "check",
    force_reload: bool = False,
    verbose: bool = True,
    skip_validation: bool = False,
) -> str:
    """Return the directory of the repository, fetching it if needed; with the source "local" the given directory.

    Raises:
        HandleError: if the text is not a repository, or the source is neither "github" nor "local".
        UntrustedError: if the user does not trust the repository.
        FetchError: if it cannot be fetched; NotFoundError if it has no hubconf.py.
        CacheError: if the directory of the hub cannot be used.
    """
    if not isinstance(source, str) or source.lower() not in ("github", "local"):
        raise HandleError(f'Unknown source: "{source}". Allowed values: "github" | "local".')
    if source.lower() == "local":
        return _check_local(repo_or_dir)
    trust.check_choice(trust_repo)
    if not isinstance(repo_or_dir, str):
        fix = Advice(python='Pass source="local" to use a directory.', command="Pass --local to use a directory.")
        raise HandleError(f"{repo_or_dir!r} is not a repository", fix=fix)
    requested, cache = Repository.parse(repo_or_dir), layout.open_repositories()
    resolved = refs.resolve_ref(requested, cache, force_reload=force_reload, skip_validation=skip_validation)
    repository, tip = resolved.repository, resolved.tip
    record = cache.find(repository.handle) if tip is None else None
    commit = tip.commit if tip else record.origin.commit if record else ""
    is_new = trust.confirm_trust(repository, commit, trust_repo)
    if tip is not None:
        record = cache.ensure(repository.handle, repository.handle, _make_fill(repository, tip), refresh=force_reload)
    if record is None or record.handle != repository.handle:
        other = show(record.handle) if record else "nothing"
        raise CacheError(
            f"{cache.root.path_of(cache.entry_name(repository.handle))} holds {other}, not {repository.handle}",
            fix="Remove that directory and the record beside it.",
        )
    if tip is None and verbose:
        log.info("Using cache found in %s", cache.path(record))
    layout.check_owners(cache.path(record))
    if resolved.default is not None:
        refs.save_default_branch(cache, repository, resolved.default)
    if is_new:
        trust.remember_trust(repository)
    return cache.path(record)


def _make_fill(repository: Repository, tip: Tip) -> Callable[[Path, Path], FetchResult]:
    from tfimm_resolver.transfer.downloader import Downloader

    def fill(into: Path, parts: Path) -> FetchResult:
        settings.validate()
        transfer = Downloader(Handle.parse(repository.handle), parts)
        github.fetch_commit(repository, tip, into, transfer)
        if not (into / HUBCONF).is_file():
            raise NotFoundError(
                f"{repository.handle} has no {HUBCONF} at commit {transfer.origin.commit}",
                fix=f"Use another branch or tag, or ask its author to add a {HUBCONF} that defines the entry points.",
            )
        return FetchResult(transfer.origin, transfer.files)

    return fill


def _check_local(folder: str | os.PathLike[str]) -> str:
    path = settings.expand_path(folder)
    if not os.path.isfile(f"{path}/{HUBCONF}"):
        raise NotFoundError(f"{HUBCONF} not found in {show(path)}", fix="Pass the directory that contains it.")
    return path
