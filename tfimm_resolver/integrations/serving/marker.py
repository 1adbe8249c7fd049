"""The marker in a published directory: which files in it are ours, so that nothing else is ever removed or replaced."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from tfimm_resolver._util import fs
from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver.archives.member_policy import join_safely, safe_parts
from tfimm_resolver.cache.record import MAX_RECORD_BYTES, hash_file
from tfimm_resolver.errors import ArchiveError
from tfimm_resolver.manifest import parse_size

FILE_NAME = ".tfimm_resolver.json"
_VERSION = 1
_VALUES_MAX = 600_000


@dataclass(frozen=True, slots=True)
class Marker:
    """What a directory was published as.

    Attributes:
        handle: of the model, without secrets.
        content: the hash over the paths, sizes and hashes of its files, which tells two models apart.
        files: the size of each file, by its path; those of the model, and while it is being filled also those before.
        is_complete: whether the directory holds all of the model; a kill may leave a part of it.
        hashes: the SHA-256 of each file, by its path; empty in the markers of earlier versions.
    """

    handle: str
    content: str
    files: Mapping[str, int]
    is_complete: bool = True
    hashes: Mapping[str, str] = field(default_factory=dict)

    def to_text(self) -> str:
        """Return the text of the file, which ``parse_marker`` reads."""
        facts = {"version": _VERSION, "handle": self.handle, "content": self.content, "is_complete": self.is_complete}
        return json.dumps({**facts, "files": dict(self.files), "hashes": dict(self.hashes)}, indent=1) + "\n"

    def is_intact(self, directory: str) -> bool:
        """Whether the directory holds the complete model; compares sizes."""
        if not self.is_complete:
            return False
        for path, size_bytes in self.files.items():
            status = fs.find_status(join_safely(directory, path))
            if status is None or not stat.S_ISREG(status.st_mode) or status.st_size != size_bytes:
                return False
        return True


def parse_marker(text: bytes) -> Marker | None:
    """Return the marker in a file; None if another program wrote it, or a later version of this one."""
    try:
        facts = parse_json(text, max_bytes=MAX_RECORD_BYTES, max_values=_VALUES_MAX)
        if facts["version"] != _VERSION:
            return None
        files = {str(path): parse_size(size_bytes) for path, size_bytes in facts["files"].items()}
        for path in files:
            safe_parts(path, is_canonical=True)
        hashes = {str(path): str(sha256) for path, sha256 in facts.get("hashes", {}).items()}
        return Marker(str(facts["handle"]), str(facts["content"]), files, facts["is_complete"] is True, hashes)
    except (ArchiveError, AttributeError, KeyError, TypeError, ValueError):
        return None


def read_marker(directory: str) -> Marker | None:
    """Return the marker of a directory; None if it has none, or one that cannot be used.

    Raises:
        OSError: if the directory may not be read.
    """
    try:
        return parse_marker(fs.read_regular(f"{directory}/{FILE_NAME}", MAX_RECORD_BYTES))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, fs.NotRegularError):
        return None


def write_marker(marker: Marker, directory: str, scratch: str) -> None:
    """Write the marker of a directory in one step, through a new file in ``scratch``, which is on the same disk."""
    replace_text(f"{directory}/{FILE_NAME}", marker.to_text(), scratch)


def replace_text(path: str, text: str, scratch: str) -> None:
    """Write a file in one step, through a new file in ``scratch``, which is on the same disk."""
    temporary = f"{scratch}/text"
    with open(temporary, "x", encoding="utf-8", opener=fs.open_regular) as file:
        file.write(text)
        file.flush()
        fs.fsync_open(file.fileno())
    fs.durable_replace(temporary, path)


def find_foreign(directory: str, files: Collection[str], ignored: Collection[str] = ()) -> str | None:
    """Return the relative path of something in a directory that this package did not write; None if there is nothing.

    Args:
        directory: the directory.
        files: the paths that its marker lists.
        ignored: names at its top that do not count.

    Raises:
        OSError: if the directory cannot be read.
    """
    folders = {"/".join(parts[:depth]) for parts in (path.split("/") for path in files) for depth in range(1, len(parts))}
    for path, is_folder in _list_entries(directory, ignored):
        if path != FILE_NAME and path not in (folders if is_folder else files):
            return path
    return None


def find_changed(directory: str, marker: Marker) -> str | None:
    """Return the relative path of a file that was replaced or edited since it was published; None if there is none.

    A file is read only if it was changed after its marker: a link to it in the cache, made or removed, is such a change, too.

    Raises:
        OSError: if a file cannot be read.
    """
    status = fs.find_status(f"{directory}/{FILE_NAME}")
    if not marker.is_complete or status is None:  # it may have files of the model before, under the same names
        return None
    for path, size_bytes in marker.files.items():
        inner = join_safely(directory, path)
        found = fs.find_status(inner)
        if found is None:
            continue
        if not stat.S_ISREG(found.st_mode) or found.st_size != size_bytes:
            return path
        expected = marker.hashes.get(path)
        if expected and found.st_ctime_ns > status.st_ctime_ns and hash_file(inner)[1] != expected:
            return path
    return None


def _list_entries(directory: str, ignored: Collection[str]) -> Iterator[tuple[str, bool]]:
    """Yield the relative path of everything below a directory, and whether it is a directory; follow no links."""
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(f"{directory}/{folder}") as entries:
            found = sorted(((each.name, each.is_dir(follow_symlinks=False)) for each in entries), reverse=True)
        for child, is_folder in found:
            if folder or child not in ignored:
                inner = folder + child
                yield inner, is_folder
                if is_folder:
                    pending.append(f"{inner}/")
