"""What is known of one cached model: read, written, and compared with the files that lie there."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tfimm_resolver._util.fs import open_regular_target, walk
from tfimm_resolver.manifest import FileEntry, Origin, parse_size
from tfimm_resolver.saved_model.completeness import find_defect

VERSION = 1
DESCRIPTOR_SUFFIX = ".descriptor.txt"
"""Ends the name of a record; before it stands the name of the model."""

ENTRY_DIR_PATTERN = re.compile(r"([0-9a-f]{40})(\.[0-9a-f]{8}|\.[0-9a-f]{64}-[0-9a-f]{8})?")
"""The name of a tree: the sha1 of the key, and where there may be several of them, what tells one from the other."""

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of one cached model.

    Attributes:
        handle: without secrets.
        tree: the name of the directory in the root that holds the files.
        fetched_at: ISO 8601, UTC; empty if unknown.
        files: None for a tree that plain tensorflow_hub or a person put there.
    """

    handle: str
    tree: str
    fetched_at: str = ""
    origin: Origin = field(default_factory=Origin)
    files: tuple[FileEntry, ...] | None = None

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files or ())

    def to_text(self, downloader: str = "") -> str:
        """tensorflow_hub's three descriptor lines, a blank line, then JSON; this process is the downloader if none is said."""
        import socket  # 3 ms that only a miss costs

        facts = {"version": VERSION, **asdict(self)}
        return (
            f"Module: {self.handle}\n"
            f"Download Time: {self.fetched_at}\n"
            f"Downloader Hostname: {downloader or f'{socket.gethostname()} (PID:{os.getpid()})'}\n\n"
            f"{json.dumps(facts, indent=1)}\n"
        )

    @classmethod
    def parse(cls, text: str, tree: str) -> Record:
        """Read a descriptor; one by plain tensorflow_hub, or by a later version of this package, tells no files."""
        return _parse(text, tree)


@functools.lru_cache(maxsize=256)
def _parse(text: str, tree: str) -> Record:
    head, _, body = text.partition("\n\n")
    try:
        facts: dict[str, Any] = json.loads(body)
        if facts.pop("version") != VERSION:
            raise ValueError
        files = tuple(
            FileEntry(str(file["path"]), parse_size(file["size_bytes"]), str(file["sha256"])) for file in facts.pop("files")
        )
        # An absolute path has an empty first part.
        if not files or any(not {"", ".", ".."}.isdisjoint(file.path.split("/")) for file in files):
            raise ValueError
        texts = {name: str(facts.pop(name)) for name in ("handle", "tree", "fetched_at")}
        return Record(**texts, origin=Origin.parse(facts["origin"]), files=files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):  # not JSON of ours
        lines = dict(line.partition(": ")[::2] for line in head.splitlines())
        return Record(lines.get("Module", ""), tree, lines.get("Download Time", ""))


def hash_tree(tree: str) -> tuple[FileEntry, ...]:
    """Every file below ``tree``, with its size and hash, sorted by path."""
    return tuple(FileEntry(path, *_size_and_sha256(f"{tree}/{path}")) for path in sorted(walk(tree)))


def _size_and_sha256(path: str) -> tuple[int, str]:
    import hashlib  # 6 ms that the import of the package need not cost

    digest, size_bytes, buffer = hashlib.sha256(), 0, memoryview(bytearray(_READ_BYTES))
    # A pipe would be waited for; links are followed, as trees that others put here may hold them.
    with open(path, "rb", buffering=0, opener=open_regular_target) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            size_bytes += count
    return size_bytes, digest.hexdigest()


def find_tree_defect(tree: str, record: Record) -> str | None:
    """Why the files in the directory ``tree`` are not whole, or None; looks at sizes, reads no file."""
    return find_defect(tree) if record.files is None else _size_fault(tree, record.files)


def _size_fault(tree: str, files: tuple[FileEntry, ...]) -> str | None:
    for file in files:
        try:
            size_bytes = os.stat(f"{tree}/{file.path}").st_size
        except (FileNotFoundError, NotADirectoryError):
            return f"{file.path} is missing"
        except (OSError, ValueError) as error:
            return f"{file.path} cannot be read: {error}"
        if size_bytes != file.size_bytes:
            return f"{file.path} has {size_bytes} bytes, should have {file.size_bytes}"
    return None


def verify_hashes(tree: str, files: tuple[FileEntry, ...]) -> Iterator[str]:
    """Every file that is not as recorded; reads all of them."""
    for file in files:
        if fault_ := _size_fault(tree, (file,)):
            yield fault_
        elif _size_and_sha256(f"{tree}/{file.path}")[1] != file.sha256:
            yield f"{file.path} has other bytes than were fetched"
