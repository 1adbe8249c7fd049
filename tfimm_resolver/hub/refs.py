"""Resolves a ref, or its absence, to a branch or tag: from the cache, or by asking the host."""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass, replace

from tfimm_resolver import settings
from tfimm_resolver._util import clock
from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.errors import CacheError, FetchError, OfflineError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.handles.git import COMMIT
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.hub import layout
from tfimm_resolver.sources import github
from tfimm_resolver.sources.github import Repository
from tfimm_resolver.sources.github_refs import Tip

log = logging.getLogger("tfimm_resolver")

_NOTE = ".default.json"
_DEFAULT_BRANCH_TTL_S = 24 * 3600.0
"""How long the name of a default branch is reused: it rarely changes, and new commits on it do not matter here."""


@dataclass(frozen=True, slots=True)
class ResolvedRef:
    """A repository with its ref, and the tip of the ref.

    Attributes:
        repository: the repository; its ref is not empty.
        tip: the commit to download; None to use the cached copy. Without a ref it is not at the tip of a branch or tag,
            and without a commit the archive will name it.
        default: the tip of the default branch, if the host was just asked for it.
    """

    repository: Repository
    tip: Tip | None = None
    default: Tip | None = None


def resolve_ref(requested: Repository, cache: Cache, *, force_reload: bool, skip_validation: bool) -> ResolvedRef:
    """Resolve the ref of a repository, or its default branch if the ref is empty.

    Asks the host only for refs that are not cached, and once a day for the name of the default branch.

    Raises:
        UnknownRefError: if the repository has no such branch or tag.
        FetchError: if the host has to be asked and does not respond.
    """
    if not requested.ref:
        return _resolve_default(requested, cache, force_reload)
    if not force_reload and cache.find(requested.handle) is not None:
        return ResolvedRef(requested)
    try:
        return ResolvedRef(requested, _find_tip(requested, cache, requested))
    except OfflineError:
        raise
    except FetchError:
        if not skip_validation:
            raise
        # Not at the tip of a branch or tag, or the host does not list them: the user has to confirm what it returns.
        return ResolvedRef(requested, Tip("", requested.ref if COMMIT.fullmatch(requested.ref) else ""))


def _resolve_default(requested: Repository, cache: Cache, force_reload: bool) -> ResolvedRef:
    name = layout.get_note_filename(requested.handle) + _NOTE
    known, fetched_s = _load_default_branch(cache.root.read(name), requested)
    copy = known and cache.find(known.handle)
    if known and copy and not force_reload:
        if settings.is_offline():
            label = _format_branch(known, copy.origin.commit)
            log.warning("%s: offline, so %s is used as its default branch", requested.full_name, label)
            return ResolvedRef(known)
        if 0 <= clock.get_time_s() - fetched_s < _DEFAULT_BRANCH_TTL_S:
            return ResolvedRef(known)
    try:
        tip = _find_tip(requested, cache, known or requested)
    except FetchError as error:
        if not known or not copy or force_reload:
            raise
        label = _format_branch(known, copy.origin.commit)
        log.warning("%s\n  using %s, the last known default branch of %s", error.text, label, requested.full_name)
        # Saved so that the next calls do not repeat the failing request and the warning.
        save_default_branch(cache, known, Tip(f"refs/heads/{known.ref}", copy.origin.commit))
        return ResolvedRef(known)
    now = replace(requested, ref=tip.name)
    is_cached = not force_reload and cache.find(now.handle) is not None
    return ResolvedRef(now, None if is_cached else tip, tip)


def _format_branch(repository: Repository, commit: str) -> str:
    return f"{repository.ref} (commit {commit[:12]})"


def _find_tip(requested: Repository, cache: Cache, copy: Repository) -> Tip:
    """Ask the host for the tip; an error message says whether a cached copy is left."""
    from tfimm_resolver.transfer.downloader import Downloader

    try:
        if settings.is_offline():
            raise OfflineError(
                f"{requested.handle} cannot be downloaded to {cache.root.path_of('')}: TFIMM_RESOLVER_OFFLINE is set",
                fix=Advice(
                    python='Unset it, or load a local copy: load(path, model, source="local").',
                    command="Unset it, or give the path of a local copy with --local.",
                ),
            )
        return github.find_tip(requested, Downloader(Handle.parse(requested.handle)))
    except FetchError as error:
        explained = cache.explain_failure(copy.handle, error)
        if explained is error:
            raise
        raise explained from error


def _load_default_branch(text: str | None, requested: Repository) -> tuple[Repository | None, float]:
    """Return the repository with its last known default branch, and when the host was asked for it."""
    try:
        facts = parse_json(text or "")
        return replace(requested, ref=Tip(str(facts["ref"]), "").name), float(facts["asked_s"])
    except (ValueError, LookupError, TypeError, OverflowError):  # no note, or not a valid one
        return None, 0


def save_default_branch(cache: Cache, repository: Repository, default: Tip) -> None:
    """Store the default branch; if that fails, the next call asks the host again."""
    identity = replace(repository, ref="").handle
    facts = {"repository": identity, "ref": default.ref, "commit": default.commit, "asked_s": clock.get_time_s()}
    with contextlib.suppress(CacheError):
        cache.root.write(layout.get_note_filename(identity) + _NOTE, json.dumps(facts) + "\n")
