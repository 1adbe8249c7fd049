"""Brings a repository that has a hubconf.py and that the user trusts."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from tfimm_resolver import settings
from tfimm_resolver.errors import CacheError, HandleError, NotFoundError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.hub import layout, refs, trust
from tfimm_resolver.manifest import FetchResult
from tfimm_resolver.settings import ownership
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
    """Where the repository lies; with the source "local" the given directory.

    Raises:
        HandleError: if the text names no repository, or the source is another one.
        UntrustedError: if the user does not trust it.
        FetchError: if it did not come; NotFoundError if it has no hubconf.py.
        CacheError: if the directory of the hub cannot be used.
    """
    if not isinstance(source, str) or source.lower() not in ("github", "local"):
        raise HandleError(f'Unknown source: "{source}". Allowed values: "github" | "local".')
    if source.lower() == "local":
        return _local(repo_or_dir)
    trust.check_choice(trust_repo)
    if not isinstance(repo_or_dir, str):
        raise HandleError(f"{repo_or_dir!r} names no repository", fix='For a directory call with source="local".')
    asked, cache = Repository.parse(repo_or_dir), layout.repositories()
    chosen = refs.resolve_ref(asked, cache, force_reload=force_reload, skip_validation=skip_validation)
    repository, tip = chosen.repository, chosen.tip
    record = cache.find(repository.identity) if tip is None else None
    commit = tip.commit if tip else record.origin.commit if record else ""
    is_new = trust.ask_for_trust(repository, commit, trust_repo)
    if tip is not None:
        record = cache.ensure(repository.identity, repository.identity, _filling(repository, tip), refresh=force_reload)
    if record is None or record.handle != repository.identity:
        other = record.handle if record else "nothing"
        raise CacheError(
            f"{cache.root.locate(cache.named(repository.identity))} holds {other}, not {repository.identity}",
            fix="Remove that directory and the record beside it.",
        )
    if tip is None and verbose:
        log.info("Using cache found in %s", cache.path(record))
    _check_owners(cache.path(record))
    if chosen.default is not None:
        refs.save_default_branch(cache, repository, chosen.default)
    if is_new:
        trust.remember_trust(repository)
    return cache.path(record)


def _check_owners(tree: str) -> None:
    """See that no other user can have put code into the tree; a hub directory that was once open may hold such a one.

    Raises:
        CacheError: if one can, or it holds anything but directories and regular files.
    """
    fix = f"Remove {tree} and the record beside it, so that it is fetched anew. Or look at it, and chmod -R go-w {tree}."
    try:
        with layout.hub_guard().reading():
            ownership.check_tree(tree, fix)
    except CacheError:
        raise
    except OSError as error:
        raise CacheError(f"{tree} cannot be looked through: {error}", fix=fix) from error


def _filling(repository: Repository, tip: Tip) -> Callable[[Path, Path], FetchResult]:
    from tfimm_resolver.transfer.downloader import Downloader

    def fill(into: Path, parts: Path) -> FetchResult:
        settings.validate()
        transfer = Downloader(Handle.parse(repository.identity), parts)
        github.fetch_commit(repository, tip, into, transfer)
        if not (into / HUBCONF).is_file():
            raise NotFoundError(
                f"{repository.identity} has no {HUBCONF} at commit {transfer.origin.commit}",
                fix="Ask for another branch or tag, or its publisher for one: only that makes a repository one of models.",
            )
        return FetchResult(transfer.origin, transfer.files)

    return fill


def _local(place: str | os.PathLike[str]) -> str:
    path = settings.expand_path(os.fspath(place))
    if not os.path.isfile(f"{path}/{HUBCONF}"):
        raise NotFoundError(f"there is no {HUBCONF} in {path}", fix="Name the directory that holds it.")
    return path
