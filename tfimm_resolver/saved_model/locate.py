"""Finds the SavedModels in a tree, or in the list of its files, and chooses the one that a handle stands for."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tfimm_resolver.manifest import SAVED_MODEL_FILES

MAX_DEPTH = 12
"""How many directories below the top are searched; archives of Estimator and of the detection zoo need three."""

MAX_DIRECTORIES = 2000
"""How many directories of a tree are read: a path that a user names may be a home directory."""

ListDirectory = Callable[[str], "tuple[set[str], list[str]]"]
"""Returns the names of the files and of the directories in a directory, which is relative to the top, ``""``."""

_IGNORED = re.compile(r"\..*|__MACOSX|temp-(\d+|b'\d+')")
"""Directories that are not searched: hidden ones, litter of macOS, and an export that Estimator did not finish."""

_VERSION = re.compile(r"[0-9]{1,100}")


class FoundModels(NamedTuple):
    """The SavedModels in a tree.

    Attributes:
        directories: relative to the top, with ``/``, sorted; ``""`` is the top itself. What a SavedModel contains, such as
            one in its ``assets.extra``, is not searched.
        is_complete: whether the whole tree was searched.
        graphless: directories that look like a SavedModel whose graph is missing: they contain ``variables``.
    """

    directories: tuple[str, ...]
    is_complete: bool = True
    graphless: tuple[str, ...] = ()

    @property
    def only(self) -> str | None:
        """The directory of the only SavedModel; None if there is none, or if there may be several."""
        return self.directories[0] if len(self.directories) == 1 and self._is_conclusive else None

    @property
    def newest(self) -> str | None:
        """The directory of the only SavedModel, or of the highest version of the only model; otherwise None.

        Versions are directories beside each other whose names are integers, as TensorFlow Serving reads them.
        """
        if self.only is not None or not self.directories or not self._is_conclusive:
            return self.only
        parents, names = zip(*(directory.rpartition("/")[::2] for directory in self.directories), strict=True)
        if len(set(parents)) > 1 or not all(map(_VERSION.fullmatch, names)):
            return None
        highest = max(map(int, names))
        found = [directory for directory, name in zip(self.directories, names, strict=True) if int(name) == highest]
        return found[0] if len(found) == 1 else None  # "1" and "01" are the same version

    @property
    def _is_conclusive(self) -> bool:
        return self.is_complete or self.directories == ("",)


TOP_ONLY = FoundModels(("",))


def find_models_in_list(paths: Iterable[str]) -> FoundModels:
    """Find the SavedModels in the list of all files of a tree; paths are relative, with ``/``."""
    found = set()
    for path in paths:
        directory, _, name = path.rpartition("/")
        if name in SAVED_MODEL_FILES:
            if not directory:
                return TOP_ONLY
            found.add(directory)
    outermost = (one for one in found if found.isdisjoint(_list_parents(one)) and not _is_ignored(one))
    return FoundModels(tuple(sorted(outermost)))


def find_models(list_directory: ListDirectory) -> FoundModels:
    """Find the SavedModels in a tree, level by level; stops early in a very deep or a very large one."""
    found, graphless, waiting, read, is_complete = list[str](), list[str](), deque([("", 0)]), 0, True
    while waiting:
        directory, depth = waiting.popleft()
        if read == MAX_DIRECTORIES:
            is_complete = False
            break
        read += 1
        files, subdirectories = list_directory(directory)
        if not files.isdisjoint(SAVED_MODEL_FILES):
            found.append(directory)
            continue
        if "variables" in subdirectories:
            graphless.append(directory)
        below = sorted(name for name in subdirectories if not _IGNORED.fullmatch(name))
        if below and depth == MAX_DEPTH:
            is_complete = False
            continue
        waiting.extend((f"{directory}/{name}".lstrip("/"), depth + 1) for name in below)
    return FoundModels(tuple(sorted(found)), is_complete, tuple(graphless))


def find_models_on_disk(path: str, *, follow_links: bool = True) -> FoundModels:
    """Find the SavedModels below a local directory; if the top is one, nothing else is read.

    Each directory is searched once, even if symbolic links lead to it; what cannot be read counts as empty. Without
    ``follow_links``, a link to a directory is not searched.
    """
    for name in SAVED_MODEL_FILES:  # not any(), as each hit on a path comes here
        if os.path.isfile(f"{path}/{name}"):
            return TOP_ONLY
    seen: set[tuple[int, int]] = set()

    def list_directory(directory: str) -> tuple[set[str], list[str]]:
        try:
            status = os.stat(f"{path}/{directory}")
            if (status.st_dev, status.st_ino) in seen:
                return set(), []
            seen.add((status.st_dev, status.st_ino))
            return _list_names(f"{path}/{directory}", follow_links=follow_links)
        except OSError:
            return set(), []

    return find_models(list_directory)


def _list_names(path: str, *, follow_links: bool) -> tuple[set[str], list[str]]:
    """Return the names of the files that belong to a SavedModel's top, and of the directories."""
    files, below = set[str](), list[str]()
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name in SAVED_MODEL_FILES and entry.is_file():
                files.add(entry.name)
            elif entry.is_dir(follow_symlinks=follow_links):
                below.append(entry.name)
    return files, below


def _list_parents(directory: str) -> set[str]:
    parts = directory.split("/")
    return {"/".join(parts[:end]) for end in range(1, len(parts))}


def _is_ignored(directory: str) -> bool:
    return any(map(_IGNORED.fullmatch, directory.split("/")))
