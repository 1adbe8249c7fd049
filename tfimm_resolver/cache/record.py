"""The record of a cached model: reading, writing, and comparing it with the files on disk."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tfimm_resolver._util.fs import open_regular_target, walk
from tfimm_resolver._util.json_text import count_values, parse_json
from tfimm_resolver._util.outgoing import repr_fields, show
from tfimm_resolver.archives.member_policy import join_safely, safe_parts
from tfimm_resolver.errors import ArchiveError, CacheError
from tfimm_resolver.errors.os_errors import map_resource_errors
from tfimm_resolver.manifest import FileEntry, Origin, SignedBy, parse_size
from tfimm_resolver.saved_model.completeness import find_defect_inside

VERSION = 1
DESCRIPTOR_SUFFIX = ".descriptor.txt"
"""Suffix of a record's file name, after the entry's name."""

KEEP_SUFFIX = ".keep.txt"
"""Suffix of an empty file, after the entry's name, which says that the entry is never evicted."""

ENTRY_DIR_PATTERN = re.compile(r"([0-9a-f]{40})(\.[0-9a-f]{8}|\.[0-9a-f]{64}-[0-9a-f]{8})?")
"""The name of an entry directory: the sha1 of the key, then a suffix that distinguishes several directories of an entry."""

MAX_RECORD_BYTES = 32 << 20
"""Limit on the size of a record, above that of a model with the most files that are unpacked by default."""

_VALUES_MAX = 600_000
"""Limit on the values in a record, of which each file has four: a list of empty lists takes 30 times its memory."""

_REMEMBERED_MAX = 1 << 16
"""Limit on the characters of a record that is kept parsed: those of 256 models stay in memory."""

_UTF8_BYTES_MAX = 8 << 20
"""Limit on a record that is read as UTF-8: one character of some kinds makes Python store four bytes for each."""

_READ_BYTES = 1 << 20

_FILES_MIN = 6 if os.stat in os.supports_dir_fd and hasattr(os, "O_PATH") else sys.maxsize
"""From how many files on their directory is opened: the system then finds each of them a quarter faster."""

_PATHS_MAX = 256
_paths: dict[int, tuple[tuple[FileEntry, ...], list[str]]] = {}
"""The checked paths of lists of files, by the id of each list, which is kept with them so that no other list gets its id."""

_SEARCH_FLAGS = getattr(os, "O_PATH", 0) | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)


class Record(NamedTuple):
    """What is known of a cached model.

    Attributes:
        handle: without secrets.
        tree: the name of the entry directory, relative to the root.
        fetched_at: ISO 8601, UTC; empty if unknown.
        files: None for a directory that was put there by plain tensorflow_hub or by hand.
        signed_by: who signed the files, if a signature was required when they were fetched.
    """

    handle: str
    tree: str
    fetched_at: str = ""
    origin: Origin = Origin()
    files: tuple[FileEntry, ...] | None = None
    signed_by: SignedBy | None = None

    def __repr__(self) -> str:
        return repr_fields(self)

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files or ())

    def to_text(self, downloader: str = "") -> str:
        """Return the record as tensorflow_hub's three descriptor lines, a blank line, then JSON.

        ``downloader`` defaults to this process.
        """
        import socket  # takes 3 ms, needed on a miss only

        facts = {
            "version": VERSION,
            **self._asdict(),
            "origin": self.origin._asdict(),
            "files": [file._asdict() for file in self.files] if self.files is not None else None,
            "signed_by": self.signed_by and self.signed_by._asdict(),
        }
        if self.signed_by is None:
            del facts["signed_by"]
        text = (
            f"Module: {self.handle}\n"
            f"Download Time: {self.fetched_at}\n"
            f"Downloader Hostname: {downloader or f'{socket.gethostname()} (PID:{os.getpid()})'}\n\n"
            f"{json.dumps(facts, indent=1)}\n"
        )
        if len(text) > MAX_RECORD_BYTES or count_values(text) > _VALUES_MAX:  # it could not be read again
            raise CacheError(
                f"{show(self.handle)} has too many files, or too long names, for a record",
                fix="Ask its publisher for a model with fewer or larger files.",
            )
        return text

    @classmethod
    def parse(cls, text: str, tree: str) -> Record:
        """Parse a descriptor; one written by plain tensorflow_hub, or by a later version of this package, lists no files."""
        return _parse_and_remember(text, tree) if len(text) <= _REMEMBERED_MAX else _parse(text, tree)


def _parse(text: str, tree: str) -> Record:
    with map_resource_errors(CacheError, f"cannot read the record of {tree}"):
        return _parse_text(text, tree)


_parse_and_remember = functools.lru_cache(maxsize=256)(_parse)


def _parse_text(text: str, tree: str) -> Record:
    head, _, body = text.partition("\n\n")
    try:
        facts: dict[str, Any] = parse_json(body, max_bytes=MAX_RECORD_BYTES, max_values=_VALUES_MAX)
        if facts.pop("version") != VERSION:
            raise ValueError
        files = tuple(
            FileEntry(str(file["path"]), parse_size(file["size_bytes"]), str(file["sha256"])) for file in facts.pop("files")
        )
        for file in files:
            safe_parts(file.path, is_canonical=True)
        if not files:
            raise ValueError
        texts = {name: str(facts.pop(name)) for name in ("handle", "tree", "fetched_at")}
        signed_by = SignedBy.parse(facts.get("signed_by"))
        return Record(**texts, origin=Origin.parse(facts["origin"]), files=files, signed_by=signed_by)
    except (ArchiveError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):  # not JSON of ours
        lines = dict(line.partition(": ")[::2] for line in head.splitlines())
        return Record(lines.get("Module", ""), tree, lines.get("Download Time", ""))


def decode_record(data: bytes) -> str:
    """Return the text of a record, or of any other small file of a root; of a large one only the ASCII characters.

    Its JSON has no others, as this package writes it.
    """
    return data.decode("utf-8", "replace") if len(data) <= _UTF8_BYTES_MAX else data.decode("ascii", "ignore")


def is_tree(name: str) -> bool:
    """Whether a name is one of a cache's entry directories."""
    return ENTRY_DIR_PATTERN.fullmatch(name) is not None


def is_entry_name(name: str) -> bool:
    """Whether a name is that of an entry: a sha1."""
    found = ENTRY_DIR_PATTERN.fullmatch(name)
    return found is not None and not found[2]


def hash_tree(tree: str, names: Iterable[str] | None = None) -> tuple[FileEntry, ...]:
    """Return every file below ``tree``, or those of its files, with its size and hash, sorted by path."""
    paths = sorted(walk(tree) if names is None else names)
    return tuple(FileEntry(path, *hash_file(f"{tree}/{path}")) for path in paths)


def hash_file(path: str) -> tuple[int, str]:
    """Return the size and the hash of a regular file, or of one that a link leads to."""
    import hashlib  # takes 6 ms, not needed to import the package

    digest, size_bytes, buffer = hashlib.sha256(), 0, memoryview(bytearray(_READ_BYTES))
    # The opener rejects pipes, which would block; it follows links, as directories put here by others may contain them.
    with open(path, "rb", buffering=0, opener=_open_to_hash) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            size_bytes += count
    return size_bytes, digest.hexdigest()


def _open_to_hash(path: str, flags: int) -> int:
    """Open a file without a change of its access time, where this user may do that: a verification is not a use."""
    with contextlib.suppress(PermissionError):
        return open_regular_target(path, flags | getattr(os, "O_NOATIME", 0))
    return open_regular_target(path, flags)


def find_tree_defect(tree: str, record: Record) -> str | None:
    """Return why the directory ``tree`` is incomplete, or None; compares sizes and does not read files."""
    return find_defect_inside(tree) if record.files is None else _find_size_defect(tree, record.files)


def _find_size_defect(tree: str, files: tuple[FileEntry, ...]) -> str | None:
    if len(files) < _FILES_MIN:
        return _compare_sizes(files, [join_safely(tree, file.path) for file in files], None)
    try:
        descriptor = os.open(tree, _SEARCH_FLAGS)
    except OSError:
        return _compare_sizes(files, [join_safely(tree, file.path) for file in files], None)
    try:
        return _compare_sizes(files, _list_paths(files), descriptor)
    finally:
        os.close(descriptor)


def _compare_sizes(files: tuple[FileEntry, ...], paths: list[str], descriptor: int | None) -> str | None:
    """Return the defect of a tree with files at these paths, relative to its open directory if there is a descriptor."""
    get_status, is_regular = os.stat, stat.S_ISREG  # local names: each hit compares every file
    for file, path in zip(files, paths):  # noqa: B905  # strict would be checked for every file
        try:
            status = get_status(path, dir_fd=descriptor)
        except (FileNotFoundError, NotADirectoryError):
            return f"{file.path} is missing"
        except (OSError, ValueError) as error:
            return f"{file.path} cannot be read: {error}"
        if not is_regular(status.st_mode):  # a pipe would block its reader for ever
            return f"{file.path} is not a regular file"
        if status.st_size != file.size_bytes:
            return f"{file.path} has {status.st_size} bytes, should have {file.size_bytes}"
    return None


def _list_paths(files: tuple[FileEntry, ...]) -> list[str]:
    """Return the paths of files relative to their tree; remembered, as a record that is read again is the same object."""
    known = _paths.get(id(files))
    if known is None:
        if len(_paths) >= _PATHS_MAX:
            _paths.clear()
        known = _paths[id(files)] = (files, [join_safely(".", file.path) for file in files])
    return known[1]


def verify_hashes(tree: str, files: tuple[FileEntry, ...]) -> Iterator[str]:
    """Yield a message for each file that is not as recorded; reads all files."""
    for file in files:
        if defect := _find_size_defect(tree, (file,)):
            yield defect
        elif hash_file(join_safely(tree, file.path))[1] != file.sha256:
            yield f"{file.path} does not match its recorded sha256"
