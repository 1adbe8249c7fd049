"""What the file system of a cache directory can do, found out with files that are removed again."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tfimm_resolver._util import clock, fs
from tfimm_resolver._util.rename_check import RenameUnsupportedError, check_rename
from tfimm_resolver.locking.lock_file import LockFile
from tfimm_resolver.locking.owner import new_token

_MOUNTS = "/proc/self/mountinfo"
_TREES_MAX = 50
"""How many models are looked at: an image layer contains either most of them or none."""


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """What the file system of a directory can do; None if that is not known.

    Attributes:
        kind: its type, such as ``ext4``.
        total_bytes: its size.
        free_bytes: what this user may still write.
        free_files: how many more files it can hold; None also without a limit.
        is_writable: whether files can be created in the directory.
        has_locks: whether it has kernel locks.
        has_hard_links: whether a file can have two names.
        renames_directories: whether a directory can be renamed.
        is_case_sensitive: whether ``A`` and ``a`` are two files.
        clock_offset_s: how far this machine's clock is ahead of the one that stamps its files.
        lower_trees: how many of the given directories lie in a lower layer of an image.
    """

    kind: str | None = None
    total_bytes: int | None = None
    free_bytes: int | None = None
    free_files: int | None = None
    is_writable: bool = False
    has_locks: bool | None = None
    has_hard_links: bool | None = None
    renames_directories: bool | None = None
    is_case_sensitive: bool | None = None
    clock_offset_s: float | None = None
    lower_trees: int = 0


def probe(path: str, trees: Iterable[str] = ()) -> DiskFacts:
    """Return the facts about the file system of an existing directory; ``trees`` are directories in it."""
    facts = measure(path)
    folder = f"{path}/tfimm_resolver.{new_token()}.tmp"  # a name that a later fetch would remove
    try:
        os.mkdir(folder, 0o700)
    except OSError:
        return replace(facts, is_writable=False)
    try:
        return _probe_in(folder, facts, list(trees) if facts.kind == "overlay" else [])
    except OSError:  # it is full
        return facts
    finally:
        fs.remove_tree(folder, ignore_errors=True)


def measure(path: str) -> DiskFacts:
    """Return what is known of the file system of an existing directory without writing to it."""
    disk = None
    with contextlib.suppress(OSError):
        disk = fs.get_disk_bytes(path)
    total_bytes, free_bytes = disk or (None, None)
    is_writable = os.access(path, os.W_OK | os.X_OK)
    return DiskFacts(_find_file_system(path), total_bytes, free_bytes, _count_free_files(path), is_writable)


def _probe_in(folder: str, facts: DiskFacts, trees: list[str]) -> DiskFacts:
    renames = True
    try:
        check_rename(folder)
    except RenameUnsupportedError:
        renames = False
    lock_path = f"{folder}/lock"
    lock = LockFile.create(lock_path)
    try:
        offset_s = clock.get_time_s() - os.fstat(lock.fd).st_mtime
        has_locks = lock.try_flock() is not None
    finally:
        lock.close()
    return replace(
        facts,
        is_writable=True,
        has_locks=has_locks,
        has_hard_links=_has_hard_links(lock_path),
        renames_directories=renames,
        is_case_sensitive=not os.path.exists(f"{folder}/LOCK"),
        clock_offset_s=round(offset_s, 3),
        lower_trees=sum(_is_in_lower_layer(tree, folder) for tree in trees[:_TREES_MAX]),
    )


def _has_hard_links(path: str) -> bool:
    try:
        os.link(path, f"{path}.link")
    except OSError:
        return False
    return True


def _is_in_lower_layer(tree: str, folder: str) -> bool:
    """Whether a directory lies in a lower layer of overlayfs: it cannot be renamed (EXDEV), whatever the target is.

    The target is a directory that is not empty, so that the rename of any other directory fails, too: nothing is moved.
    """
    target = f"{folder}/target"
    os.makedirs(f"{target}/full", exist_ok=True)
    try:
        os.rename(tree, target)
    except OSError as error:
        return error.errno == errno.EXDEV
    os.rename(target, tree)  # another program emptied the target just now
    return False


def _find_file_system(path: str) -> str | None:
    """Return the type of the file system of a path, as Linux tells it."""
    real, found = os.path.realpath(path), (0, "")
    with (
        contextlib.suppress(OSError, ValueError),
        open(_MOUNTS, encoding="utf-8", errors="replace", opener=fs.open_regular_target) as file,
    ):
        for line in file:
            fields, _, described = line.partition(" - ")
            mount = fields.split()[4].encode("latin-1", "replace").decode("unicode_escape")
            if real == mount or real.startswith(mount.rstrip("/") + "/"):
                found = max(found, (len(mount), described.split()[0]), key=lambda one: one[0])
    return found[1] or None


def _count_free_files(path: str) -> int | None:
    with contextlib.suppress(OSError, AttributeError):
        status = os.statvfs(path)
        return status.f_favail if status.f_files else None
    return None
