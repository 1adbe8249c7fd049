"""Fetches a repository that has a hubconf.py and that the user trusts."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import clean_text, show
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.record import Record
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.errors import CacheError, HandleError, NotFoundError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.hub import failures, layout, refs, trust
from tfimm_resolver.hub.isolation import HUBCONF, Checkout
from tfimm_resolver.manifest import FetchResult
from tfimm_resolver.sources import github
from tfimm_resolver.sources.github import Repository
from tfimm_resolver.sources.github_refs import Tip

log = logging.getLogger("tfimm_resolver")

_BYTECODE = (".pyc", ".pyo")


def ensure_checkout(
    repo_or_dir: str | os.PathLike[str],
    *,
    source: str = "github",
    trust_repo: bool | str = "check",
    force_reload: bool = False,
    verbose: bool = True,
    skip_validation: bool = False,
) -> Checkout:
    """Return the files of the repository, fetching it if needed; with the source "local" those of the given directory.

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
    record = _find_record(cache, repository) if tip is None else None
    displayed = record.origin if record is not None else tip or Tip("", "")
    is_new = False
    if record is not None or displayed.commit:
        is_new = trust.confirm_trust(repository, displayed.commit, trust_repo, is_tip=bool(displayed.ref))
    if record is not None:
        _report(f"Using cache found in {show(cache.path(record))}", verbose)
    else:
        record = _fetch(cache, repository, tip or Tip("", ""), force_reload, verbose)
        if not displayed.commit:  # nothing could be shown before the archive named its commit
            trust.confirm_trust(repository, record.origin.commit, trust_repo, is_tip=False)
    layout.check_owners(cache.path(record))
    if resolved.default is not None:
        refs.save_default_branch(cache, repository, resolved.default)
    if is_new:
        trust.remember_trust(repository)
    return make_checkout(cache, record)


def make_checkout(cache: Cache, record: Record) -> Checkout:
    """Return the files of a cached repository."""
    ModelLocation(cache.path(record), record).hold()  # code is imported from it later, too
    return Checkout(cache.path(record), record.tree.partition(".")[0], f"{record.handle}\n{record.origin.commit}")


def _find_record(cache: Cache, repository: Repository) -> Record:
    return _check_record(cache, repository, cache.find(repository.handle))


def _check_record(cache: Cache, repository: Repository, record: Record | None) -> Record:
    if record is None or record.handle != repository.handle:
        other = show(record.handle) if record else "nothing"
        raise CacheError(
            f"{cache.root.path_of(cache.entry_name(repository.handle))} holds {other}, not {repository.handle}",
            fix="Remove that directory and the record beside it.",
        )
    return record


def _fetch(cache: Cache, repository: Repository, tip: Tip, force_reload: bool, verbose: bool) -> Record:
    """Fetch the commit of a tip, also if another process fetches a later one meanwhile: the user has confirmed this one."""
    handle, fill = repository.handle, _make_fill(cache, repository, tip, verbose)
    settings.cache_limits()  # a wrong one is an error before the download
    for must_refresh in (force_reload, True):
        record = _check_record(cache, repository, tiers.ensure(cache, handle, handle, fill, refresh=must_refresh))
        if tip.commit in ("", record.origin.commit):
            ModelLocation(cache.path(record), record).hold(is_new=True)
            tiers.make_room(0, cache)
            return record
    raise CacheError(
        f"{handle} was replaced by another process:\n  now        {record.origin.commit}\n  requested  {tip.commit}",
        fix="Try again.",
    )


def _make_fill(cache: Cache, repository: Repository, tip: Tip, verbose: bool) -> Callable[[Path, Path], FetchResult]:
    from tfimm_resolver.transfer.downloader import Downloader

    def fill(into: Path, parts: Path) -> FetchResult:
        settings.validate()
        reserve = functools.partial(tiers.make_room, cache=cache)
        transfer = Downloader(Handle.parse(repository.handle), parts, reserve=reserve)
        if not settings.is_offline():
            # Not into which directory there: its name has the branch, which may hold anything.
            _report(f'Downloading: "{show(github.make_archive_url(repository, tip))}" to {show(layout.get_dir())}', verbose)
        github.fetch_commit(repository, tip, into, transfer)
        if not (into / HUBCONF).is_file():
            raise _make_missing_error(into, f"{repository.handle} has no {HUBCONF} at commit {transfer.origin.commit}")
        removed = _remove_bytecode(str(into))
        files = transfer.files and tuple(file for file in transfer.files if file.path not in removed)
        return FetchResult(transfer.origin, files)

    return fill


def _remove_bytecode(tree: str) -> set[str]:
    """Remove the bytecode that a repository ships: where its code runs a file by its path, Python would prefer that."""
    removed = {name for name in fs.walk(tree) if name.endswith(_BYTECODE)}
    for name in removed:
        os.unlink(f"{tree}/{name}")
        with contextlib.suppress(OSError):  # not empty
            os.rmdir(os.path.dirname(f"{tree}/{name}"))
    return removed


def _make_missing_error(tree: Path, text: str) -> NotFoundError:
    deeper = failures.find_deeper(str(tree), HUBCONF)
    if deeper:
        text += f"\n  it has {show(', '.join(deeper))}; only a {HUBCONF} at the top is used"
        parent = os.path.dirname(deeper[0])
        return NotFoundError(
            text,
            fix=Advice(
                python=f'Clone the repository, then load(".../{show(parent)}", model, source="local").',
                command=f"Clone the repository, then give .../{show(parent)} with --local.",
            ),
        )
    return NotFoundError(
        text, fix=f"Use another branch or tag, or ask its author to add a {HUBCONF} that defines the entry points."
    )


def _report(line: str, verbose: bool) -> None:
    """Log a line; if no handler of the program's own shows it, print it on stderr, as torch.hub does."""
    if not verbose:
        return
    if log.isEnabledFor(logging.INFO) and log.hasHandlers():
        log.info("%s", line)
    elif sys.stderr is not None:
        sys.stderr.write(f"{clean_text(line)}\n")


def _check_local(folder: str | os.PathLike[str]) -> Checkout:
    path = settings.expand_path(folder)
    if not os.path.isfile(f"{path}/{HUBCONF}"):
        raise NotFoundError(f"{HUBCONF} not found in {show(path)}", fix="Pass the directory that contains it.")
    return Checkout(path, os.path.basename(path))
