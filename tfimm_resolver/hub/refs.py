"""Which branch or tag is meant by what a person wrote: asked of the host, or remembered."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from dataclasses import dataclass, replace

from tfimm_resolver import settings
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.errors import CacheError, FetchError, OfflineError
from tfimm_resolver.handles.git import COMMIT
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.hub import layout
from tfimm_resolver.sources import github
from tfimm_resolver.sources.github import Repository
from tfimm_resolver.sources.github_refs import Tip

log = logging.getLogger("tfimm_resolver")

_NOTE = ".default.json"
_ASKED_AGAIN_S = 24 * 3600.0
"""Seconds after which a default branch is asked for again: it hardly ever changes, and the commits on it are no matter."""


@dataclass(frozen=True, slots=True)
class ResolvedRef:
    """A repository with the ref that is meant, and its tip.

    Attributes:
        tip: None where the cached copy is to serve.
        default: the tip of the default branch, if the host was asked for it just now.
    """

    repository: Repository
    tip: Tip | None = None
    default: Tip | None = None


def resolve_ref(asked: Repository, cache: Cache, *, force_reload: bool, skip_validation: bool) -> ResolvedRef:
    """What is meant. Asks the host only for what is not cached, and once a day for the name of a default branch.

    Raises:
        UnknownRefError: if the repository has no such branch or tag.
        FetchError: if it cannot be asked, and has to be.
    """
    if not asked.ref:
        return _default(asked, cache, force_reload)
    if not force_reload and cache.find(asked.identity) is not None:
        return ResolvedRef(asked)
    if skip_validation:
        return ResolvedRef(asked, Tip("", asked.ref if COMMIT.fullmatch(asked.ref) else ""))
    return ResolvedRef(asked, _tip(asked, cache, asked))


def _default(asked: Repository, cache: Cache, force_reload: bool) -> ResolvedRef:
    name = layout.note_filename(asked.identity) + _NOTE
    known, asked_s = _load_default_branch(cache.root.read(name), asked)
    copy = known and cache.find(known.identity)
    if known and copy and not force_reload:
        if settings.is_offline():
            log.warning("%s: offline, so %s is taken for its default branch", asked.name, _shown(known, copy.origin.commit))
            return ResolvedRef(known)
        if 0 <= time.time() - asked_s < _ASKED_AGAIN_S:
            return ResolvedRef(known)
    try:
        tip = _tip(asked, cache, known or asked)
    except FetchError as error:
        if not known or not copy or force_reload:
            raise
        shown = _shown(known, copy.origin.commit)
        log.warning("%s\n  %s is taken for the default branch of %s, as before", error.text, shown, asked.name)
        save_default_branch(
            cache, known, Tip(f"refs/heads/{known.ref}", copy.origin.commit)
        )  # not to fail, and say so, at each call
        return ResolvedRef(known)
    now = replace(asked, ref=tip.name)
    is_cached = not force_reload and cache.find(now.identity) is not None
    return ResolvedRef(now, None if is_cached else tip, tip)


def _shown(repository: Repository, commit: str) -> str:
    return f"{repository.ref} (commit {commit[:12]})"


def _tip(asked: Repository, cache: Cache, copy: Repository) -> Tip:
    """The tip, asked of the host; an error says what is with the copy that lies here."""
    from tfimm_resolver.transfer.downloader import Downloader

    try:
        if settings.is_offline():
            raise OfflineError(
                f"{asked.identity} cannot be brought to {cache.root.locate('')}: TFIMM_RESOLVER_OFFLINE is set",
                fix='Unset it, or bring a copy and load that: load(path, model, source="local").',
            )
        return github.find_tip(asked, Downloader(Handle.parse(asked.identity)))
    except FetchError as error:
        told = cache.retold(copy.identity, error)
        if told is error:
            raise
        raise told from error


def _load_default_branch(text: str | None, asked: Repository) -> tuple[Repository | None, float]:
    """The repository with its default branch as it was when last asked, and when that was."""
    try:
        facts = json.loads(text or "")
        return replace(asked, ref=Tip(str(facts["ref"]), "").name), float(facts["asked_s"])
    except (ValueError, LookupError, TypeError):  # none, or not ours
        return None, 0


def save_default_branch(cache: Cache, repository: Repository, default: Tip) -> None:
    """Remember the default branch; what cannot be written is asked for again."""
    identity = replace(repository, ref="").identity
    facts = {"repository": identity, "ref": default.ref, "commit": default.commit, "asked_s": time.time()}
    with contextlib.suppress(CacheError):
        cache.root.write(layout.note_filename(identity) + _NOTE, json.dumps(facts) + "\n")
