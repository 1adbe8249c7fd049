"""Lists the files of a model in another tool's cache: regular ones inside that cache, which no other user can change."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.member_policy import MemberNamePolicy
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.settings import ownership
from tfimm_resolver.sources.hugging_face_cache import find_blob

_TRUST_FIX = Advice(
    python="If you trust its contents, name the directory: maintenance.adopt(directory).",
    command="If you trust its contents, name the directory: tfimm-resolver adopt --from DIRECTORY.",
)


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """One file of a model.

    Attributes:
        path: its path in the model, with ``/``.
        source: the regular file that holds its bytes.
        size_bytes: its size.
        blob: the name that huggingface_hub gave to the file, which may be a hash of it; empty in other caches.
    """

    path: str
    source: str
    size_bytes: int
    blob: str = ""


def list_files(tree: str, root: str, *, links_to: str = "", check_owners: bool) -> tuple[ForeignFile, ...]:
    """Return the files of a model, sorted by path.

    Args:
        tree: the directory of the model.
        root: the directory of the cache that contains it.
        links_to: the directory of a repository's blobs, to which links lead; by default, they may lead to files in the tree.
        check_owners: refuse what a user other than this one and root owns or can write.

    Raises:
        CacheError: if a file or directory is refused, or cannot be read, or there are too many.
        ArchiveError: if a name is not one that a model may have.
    """
    with map_os_errors(CacheError, f"{show(tree)} cannot be read", show_path=True):
        lister = _Lister(os.path.realpath(tree), os.path.realpath(links_to) if links_to else "", check_owners=check_owners)
        lister.check_parents(os.path.realpath(root))
        return tuple(sorted(lister.walk(lister.tree, ""), key=lambda found: found.path))


def find_way_out(tree: str, root: str) -> str | None:
    """Return why a directory is not in the directory of a cache, whose path a link leads out of; None if it is."""
    tree, root = os.path.realpath(tree), os.path.realpath(root)
    if os.path.commonpath([root, tree]) == root:
        return None
    return f"{show(tree)} is not in {show(root)}: a link leads out of the cache"


class _Lister:
    def __init__(self, tree: str, links_to: str, *, check_owners: bool) -> None:
        self.tree, self._links_to, self._check_owners = tree, links_to, check_owners
        self._names, self._files_max = MemberNamePolicy(), settings.unpack_limits()[0]

    def check_parents(self, root: str) -> None:
        """Check the directories between the cache and the tree, and those two: who can write one can replace the model."""
        if (defect := find_way_out(self.tree, root)) is not None:
            raise CacheError(defect)
        folder = self.tree
        while True:
            self._check_owner(folder, os.lstat(folder))
            if folder == root:
                return
            folder = os.path.dirname(folder)

    def walk(self, folder: str, prefix: str) -> Iterator[ForeignFile]:
        """Yield the files below a directory, whose path in the tree is ``prefix``."""
        for part in sorted(os.listdir(folder)):
            source, path = f"{folder}/{part}", prefix + part
            status, blob = os.lstat(source), ""
            self._names.validate(path, is_directory=stat.S_ISDIR(status.st_mode))
            if self._names.count > self._files_max:
                raise CacheError(f"{show(self.tree)} has over {self._files_max} files and directories")
            if stat.S_ISLNK(status.st_mode):
                source, blob = self._follow(source)
                status = os.lstat(source)
            self._check_owner(source, status)
            if stat.S_ISDIR(status.st_mode):
                yield from self.walk(source, f"{path}/")
            elif stat.S_ISREG(status.st_mode):
                yield ForeignFile(path, source, status.st_size, blob)
            else:
                raise CacheError(f"{show(source)} is neither a file nor a directory")

    def _follow(self, link: str) -> tuple[str, str]:
        """Return the file that a link leads to, if it is one of those that links may lead to, and its name as a blob."""
        target = os.path.realpath(link)
        if self._links_to:
            found = find_blob(link, self._links_to)
        else:
            found = (target, "") if target.startswith(f"{self.tree}/") else None
        if found is None or os.path.isdir(target):
            raise CacheError(f"{show(link)} is a link to {show(target)}, which is not a file of this model")
        return found

    def _check_owner(self, path: str, status: os.stat_result) -> None:
        if self._check_owners and not ownership.is_trusted(path, status):
            raise CacheError(f"{show(ownership.describe(path, status))}: another user can change it", fix=_TRUST_FIX)
