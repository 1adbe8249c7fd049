"""The cache directories: what is in them, and what is wrong with them."""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.text import format_count, format_size
from tfimm_resolver.cache import keeping, tiers
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.roots import check_scheme
from tfimm_resolver.cli.diagnosis import disk
from tfimm_resolver.cli.diagnosis.disk import DiskFacts
from tfimm_resolver.cli.diagnosis.findings import Finding, catch_errors, make_note, make_problem
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.locking.owner import PARTS
from tfimm_resolver.locking.stale_locks import StaleLock, find_stale_locks
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.maintenance.cached_model import CachedModel
from tfimm_resolver.settings import ownership
from tfimm_resolver.settings.cache_dirs import Setting

_FREE_BYTES_MIN = 16 << 20
_CLOCK_TOLERANCE_S = 300.0
"""How far clocks may be apart: ages are compared with an hour and more."""

_VARIABLES = {"urls": "TFHUB_CACHE_DIR", "names": "TFIMM_HOME", "hub": "TFIMM_HUB_DIR"}
"""The variable that sets the directory of one kind alone, or with TFIMM_HOME also what is below it."""

_DISK_CODES = ("disk-full", "no-locks", "no-rename", "clock")
"""What is wrong with a disk, whichever directory on it is looked at."""

_ROOTS: dict[str, Callable[[], Setting]] = {
    "urls": settings.cache_root,
    "names": settings.names_root,
    "hub": settings.hub_root,
}


@dataclass(frozen=True, slots=True)
class RootFacts:
    """A cache directory.

    Attributes:
        kinds: what it is used for: ``urls``, ``names``, ``hub``.
        path: the directory, or the URL of a bucket.
        source: the setting that chose it.
        exists: whether it is there; it is created when it is needed.
        is_bucket: whether it is in an object store, where nothing else is looked at.
        disk: its file system; that of the nearest existing parent if it does not exist.
        stale_locks: lock files of dead processes.
        unfinished_downloads: how many partial downloads it has.
    """

    kinds: tuple[str, ...]
    path: str
    source: str
    exists: bool
    is_bucket: bool
    disk: DiskFacts
    stale_locks: tuple[StaleLock, ...] = ()
    unfinished_downloads: int = 0

    def facts(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints."""
        return {
            "kinds": [*self.kinds],
            "path": self.path,
            "source": self.source,
            "exists": self.exists,
            "stale_locks": len(self.stale_locks),
            "unfinished_downloads": self.unfinished_downloads,
            **{("file_system" if name == "kind" else name): value for name, value in asdict(self.disk).items()},
        }


def inspect_roots(models: Sequence[CachedModel]) -> list[RootFacts]:
    """Return the cache directories that are in use; each once, also if it is used for several things."""
    found: dict[str, tuple[list[str], str]] = {}
    for kind, choose in _ROOTS.items():
        try:
            root = choose()
        except ResolverError:  # reported with the settings
            continue
        found.setdefault(root.value, ([], root.source))[0].append(kind)
    trees = [model.path for model in models if model.entry and not model.other_root]
    return [_inspect(path, tuple(kinds), source, trees) for path, (kinds, source) in found.items()]


def _inspect(path: str, kinds: tuple[str, ...], source: str, trees: Sequence[str]) -> RootFacts:
    if settings.is_bucket(path):
        return RootFacts(kinds, path, source, exists=True, is_bucket=True, disk=DiskFacts())
    if not os.path.isdir(path):
        return RootFacts(kinds, path, source, exists=False, is_bucket=False, disk=_look_at_parent(path))
    facts = disk.probe(path, [tree for tree in trees if tree.startswith(f"{path}/")])
    stale, unfinished = tuple(find_stale_locks(path)), _count_unfinished(path)
    return RootFacts(kinds, path, source, True, False, facts, stale, unfinished)


def _count_unfinished(path: str) -> int:
    with contextlib.suppress(OSError):
        return sum(name.partition(".")[2].startswith(PARTS) for name in os.listdir(path))
    return 0


def _look_at_parent(path: str) -> DiskFacts:
    """Return what is known of the directory that is going to be created, without creating a file in its parent."""
    return disk.measure(fs.find_existing_directory(path))


def check_roots(roots: Sequence[RootFacts], models: Sequence[CachedModel]) -> Iterator[Finding]:
    """Yield what is wrong with the directories, and with what they contain."""
    yield from _check_directories([root for root in roots if not root.is_bucket])
    yield from _check_models(models)
    yield from catch_errors(_check_scheme, settings.cache_limits)
    yield from _check_limits(models)
    yield from _check_extra_roots()


def _check_directories(roots: Sequence[RootFacts]) -> Iterator[Finding]:
    """Yield what is wrong with local directories; what is wrong with a disk once, for the first directory on it."""
    seen = set[tuple[str, int]]()
    for root in roots:
        yield from _check_access(root, roots)
        device = os.stat(fs.find_existing_directory(root.path)).st_dev
        for finding in _check_disk(root):
            if finding.code not in _DISK_CODES or (finding.code, device) not in seen:
                seen.add((finding.code, device))
                yield finding
        yield from _check_locks(root)


def _check_scheme() -> None:
    """Raise CacheError if the chosen cache is a URL that can hold none: only what needs it notices otherwise."""
    try:
        location = settings.urls_root().value
    except ResolverError:  # reported with the settings
        return
    check_scheme(location)


def _check_access(root: RootFacts, roots: Sequence[RootFacts]) -> Iterator[Finding]:
    path = show(root.path)
    if os.path.lexists(root.path) and not root.exists:
        yield make_problem("not-a-directory", f"cache {path} is not a directory", f"remove it, or {_suggest_root(root)}")
        return
    outer = [other for other in roots if root.path.startswith(f"{other.path}/")]
    if not _is_writable(root) and all(map(_is_writable, outer)):
        verb = "cannot be written" if root.exists else "cannot be created"
        fix = _suggest_root(root) + ", or read it as one of TFIMM_RESOLVER_EXTRA_ROOTS" * ("urls" in root.kinds)
        yield make_problem("not-writable", f"cache {path} {verb} by this user", fix)
    if not root.exists:
        return
    status = os.stat(root.path)
    if not ownership.is_own_or_root(status):
        described = show(ownership.describe(root.path, status))
        yield make_note(
            "foreign-owner", f"cache {described}: its owner can change the models", f"if not intended, {_suggest_root(root)}"
        )
    if status.st_mode & stat.S_IWOTH:
        is_sticky = bool(status.st_mode & stat.S_ISVTX)
        text = f"cache {path} can be written by every user of this machine"
        fix = f"chmod o-w {path}"
        yield make_note("world-writable", text, fix) if is_sticky else make_problem("world-writable", text, fix)


def _check_disk(root: RootFacts) -> Iterator[Finding]:
    path, facts = show(root.path), root.disk
    if _is_full(facts):
        free = "no more files" if facts.free_files == 0 else f"{format_size(facts.free_bytes or 0)} free"
        fix = f"remove models with `tfimm-resolver prune` or `rm`, or {_suggest_root(root)}"
        yield make_problem("disk-full", f"the disk of the cache {path} is full: {free}", fix)
    if facts.has_locks is False:
        fix = _suggest_root(root, "a local disk") + "; until then a model is spared for a day after its last use"
        yield make_problem("no-locks", f"cache {path} has no working locks (flock)", fix)
    if facts.renames_directories is False:
        yield make_problem("no-rename", f"the disk of the cache {path} cannot rename directories", _suggest_root(root))
    offset_s = facts.clock_offset_s or 0.0
    if abs(offset_s) > _CLOCK_TOLERANCE_S:
        order = "ahead of" if offset_s > 0 else "behind"
        text = f"this machine's clock is {abs(offset_s) / 60:.0f} min {order} that of the disk of the cache {path}"
        yield make_problem("clock", text, "set both clocks, such as by NTP: ages of models and locks are compared")
    if facts.lower_trees:
        verb = "is" if facts.lower_trees == 1 else "are"
        text = f"{format_count(facts.lower_trees, 'model')} of the cache {path} {verb} in a lower layer of an image"
        fix = "nothing has to be done; removing them frees no space, and new models are better put on a volume"
        yield make_note("image-layer", text, fix)


def _suggest_root(root: RootFacts, target: str = "another directory") -> str:
    """Return how another directory is chosen: by the option or flag that chose this one, else by its variable."""
    if root.source.startswith("--"):
        return f"pass {target} as {root.source}"
    kinds = [kind for kind in root.kinds if kind != "urls" or "names" not in root.kinds or root.source == "$TFHUB_CACHE_DIR"]
    return f"set {' and '.join(_VARIABLES[kind] for kind in kinds)} to {target}"


def _is_full(facts: DiskFacts) -> bool:
    return facts.free_files == 0 or (facts.free_bytes is not None and facts.free_bytes < _FREE_BYTES_MIN)


def _is_writable(root: RootFacts) -> bool:
    return root.disk.is_writable or _is_full(root.disk)


def _check_locks(root: RootFacts) -> Iterator[Finding]:
    path = show(root.path)
    removable = [lock for lock in root.stale_locks if lock.is_removable]
    if removable:
        text = f"cache {path} has {format_count(len(removable), 'stale lock')} of processes that have ended"
        yield make_note("stale-lock", text, "nothing has to be done: the next fetch removes them")
    for lock in root.stale_locks:
        if not lock.is_removable:
            text = f"{show(lock.path)} is a stale lock of another user: {lock.owner} has ended"
            yield make_problem("stale-lock", text, f"ask its owner to remove it, or {_suggest_root(root)}")


def _check_models(models: Sequence[CachedModel]) -> Iterator[Finding]:
    own = [model for model in models if not model.other_root]
    damaged = [model for model in own if model.state == "damaged"]
    if damaged:
        yield make_problem("damaged", _name_damaged(damaged), "tfimm-resolver verify --repair")
    yield from _check_shared_models(models)
    foreign = [model for model in own if model.entry and _is_owned_by_other(model.path)]
    if foreign:
        text = f"{format_count(len(foreign), 'model')} of another user: {show(foreign[0].path)}"
        fix = "they are used, but cannot be removed or repaired: ask that user, or change the owner with chown"
        yield make_note("foreign-owner", text, fix)


def _check_shared_models(models: Sequence[CachedModel]) -> Iterator[Finding]:
    """Yield what is damaged in extra roots: a problem if there is no other copy, which is used instead."""
    undamaged = {model.entry.name for model in models if model.entry and model.state != "damaged"}
    shared = [model for model in models if model.is_read_only and model.state == "damaged" and model.entry]
    for root in dict.fromkeys(model.other_root for model in shared):
        damaged = [model for model in shared if model.other_root == root]
        is_replaced = all(model.entry and model.entry.name in undamaged for model in damaged)
        text = f"the extra root {show(root)} has {_name_damaged(damaged)}"
        fix = f"the owner of {show(root)} repairs it: TFHUB_CACHE_DIR={show(shlex.quote(root))} tfimm-resolver verify --repair"
        yield make_note("extra-root-damaged", text, fix) if is_replaced else make_problem("extra-root-damaged", text, fix)


def _name_damaged(damaged: Sequence[CachedModel]) -> str:
    names = ", ".join(show(model.name) for model in damaged[:3]) + ", ..." * (len(damaged) > 3)
    return f"{format_count(len(damaged), 'damaged model')}: {names}"


def _is_owned_by_other(path: str) -> bool:
    """Whether a directory belongs to another user, and this one cannot change it."""
    try:
        return not ownership.is_owned_by_user(os.stat(path)) and not os.access(path, os.W_OK)
    except OSError:
        return False


def _check_limits(models: Sequence[CachedModel]) -> Iterator[Finding]:
    """Yield a problem if the models that are never evicted take more room than the cache may have."""
    try:
        limits, cache = settings.cache_limits(), tiers.open_cache()
    except ResolverError:
        return
    if limits.max_size is None or not isinstance(cache.root, LocalRoot) or not os.path.isdir(cache.root.path):
        return
    limit_bytes = limits.max_size.to_bytes(disk.measure(cache.root.path).total_bytes)
    if limit_bytes is None:
        return
    protected = keeping.list_protected(cache.root.list_names())
    sizes = [model.size_bytes for model in models if model.entry and not model.other_root and model.entry.name in protected]
    if sum(sizes) > limit_bytes:
        source = dict(limits.sources).get("max_size", "max_size")
        count = format_count(len(sizes), "model")
        text = f"{source} allows {format_size(limit_bytes)}, but the {count} to keep have {format_size(sum(sizes))}"
        yield make_problem("limit-below-kept", text, "raise the limit, or release models: tfimm-resolver unkeep NAME")


def _check_extra_roots() -> Iterator[Finding]:
    try:
        missing = [path for path in settings.extra_roots() if not os.path.isdir(path)]
    except ResolverError:  # reported with the settings
        return
    for path in missing:
        text = f"{settings.EXTRA_ROOTS} names {show(path)}, which does not exist"
        yield make_note("extra-root-missing", text, "mount it, or take it out of the variable")


def list_models() -> tuple[list[CachedModel], list[Finding]]:
    """Return the cached models, and what keeps them from being listed."""
    models = list[CachedModel]()
    return models, list(catch_errors(lambda: models.extend(inventory.list_models())))
