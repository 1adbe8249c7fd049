"""The files of a model that is published: where they are, and what distinguishes them from those of another model."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from tfimm_resolver._util.copies import LINKED
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.member_policy import join_safely, safe_parts
from tfimm_resolver.cache.record import hash_tree
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.errors import CacheError, NotASavedModelError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.integrations.serving.marker import FILE_NAME, Marker
from tfimm_resolver.integrations.serving.outcome import Published
from tfimm_resolver.manifest import SAVED_MODEL_FILES, FileEntry
from tfimm_resolver.resolution.selection import select_model, suggest_subdirectory


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of one model on this machine.

    Attributes:
        handle: of the model, without secrets.
        path: the directory with the files.
        files: every file, sorted by path.
        may_link: whether what is published may be hard links to the files: they are in a cache, whose files never change,
            while those of another directory may be edited; and not signed, as a program that may write what is published
            could change the signed files through a link.
    """

    handle: str
    path: str
    files: tuple[FileEntry, ...]
    may_link: bool

    @property
    def content(self) -> str:
        """The hash over the paths, sizes and hashes of all files."""
        facts = [[file.path, file.size_bytes, file.sha256] for file in self.files]
        return hashlib.sha256(json.dumps(facts).encode("ascii")).hexdigest()

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def is_saved_model(self) -> bool:
        """Whether the directory is a SavedModel itself."""
        return any(file.path in SAVED_MODEL_FILES for file in self.files)

    def make_outcome(
        self, path: str, counts: dict[str, int] | None, *, version: int | None = None, removed: tuple[int, ...] = ()
    ) -> Published:
        """Return what publishing to a path did: how many files by which way, None if the model was there already."""
        state, linked = ("unchanged", 0) if counts is None else ("published", counts.get(LINKED, 0))
        return Published(self.handle, path, version, state, self.size_bytes, len(self.files), linked, removed)

    def shares_files(self, directory: str) -> bool:
        """Whether a directory has hard links to files of this model which it may not have, from before a rule required so."""
        return not self.may_link and any(
            _is_same(join_safely(directory, file.path), join_safely(self.path, file.path)) for file in self.files
        )

    def make_marker(self) -> Marker:
        """Return the marker of a directory that holds these files."""
        sizes = {file.path: file.size_bytes for file in self.files}
        return Marker(self.handle, self.content, sizes, hashes={file.path: file.sha256 for file in self.files})


def list_model_files(location: ModelLocation, handle: str, *, needs_graph: bool, is_signed: bool = False) -> ModelFiles:
    """Return the files of a model that was resolved: those of its SavedModel, or of the directory that its handle chooses.

    ``is_signed``: its files may not be linked.

    Raises:
        CacheError: if it is in a bucket, or its files cannot be read.
        NotASavedModelError: if ``needs_graph`` and it is not a SavedModel.
    """
    path = select_model(location)
    if "://" in path:
        raise CacheError(
            f"{show(handle)} is at {show(path)}, not on this machine, so that it cannot be published",
            fix="Let the server read it there; or choose a cache on this machine, or set TFIMM_RESOLVER_LOCAL_COPY=1.",
        )
    recorded = location.record.files if location.record is not None else None
    if recorded is None:
        with map_os_errors(CacheError, f"{show(path)} cannot be read", show_path=True):
            files = hash_tree(path, _list_files(path, "", ()))
    else:
        prefix = f"{os.path.relpath(path, location.path).replace(os.sep, '/')}/".removeprefix("./")
        files = tuple(
            FileEntry(file.path.removeprefix(prefix), file.size_bytes, file.sha256)
            for file in recorded
            if file.path.startswith(prefix)
        )
    found = ModelFiles(handle, path, files, location.record is not None and not is_signed)
    if needs_graph and not found.is_saved_model:
        raise NotASavedModelError(
            f"{show(path)} is not a SavedModel: TensorFlow Serving could not load it",
            fix=suggest_subdirectory(location) or "Give the handle of a SavedModel; the layout flat takes any files.",
        )
    if any(file.path == FILE_NAME for file in files):  # a directory that was published, without the note about it
        return ModelFiles(handle, path, tuple(file for file in files if file.path != FILE_NAME), found.may_link)
    return found


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _list_files(top: str, folder: str, outer: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Yield the relative path of each file below a directory; links are followed, but not to a directory around them."""
    current = f"{top}/{folder}"
    status = os.stat(current)
    identity = (status.st_dev, status.st_ino)
    if identity in outer:
        raise CacheError(
            f"{show(current)} is a link to a directory that contains it, so that its files would never end",
            fix="Remove the link, or replace it by a copy of what it stands for.",
        )
    for child in os.listdir(current):
        inner = folder + child
        if stat.S_ISDIR(os.stat(f"{top}/{inner}").st_mode):
            yield from _list_files(top, f"{inner}/", (*outer, identity))
        else:
            safe_parts(inner, is_canonical=True)
            yield inner
