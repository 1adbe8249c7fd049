"""What is known of one cached model: read, written, and compared with the files that lie there."""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from tfimm_resolver.ownership import open_regular_target

VERSION = 1
RECORD = ".descriptor.txt"
"""Ends the name of a record; before it stands the name of the model."""

TREE = re.compile(r"([0-9a-f]{40})(\.[0-9a-f]{8}|\.[0-9a-f]{64}-[0-9a-f]{8})?")
"""The name of a tree: the sha1 of the key, and where there may be several of them, what tells one from the other."""

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")
_SHARD = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class File:
    """One file of a model; ``path`` is relative, with ``/``."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the files came from.

    Attributes:
        url: the last one of a chain of redirects, without its query; a path for a local archive.
        etag: as the server gave it.
        size_bytes: of the archive, packed.
        sha256: of the archive, or of the one file; empty where the model was neither.
        ref: the branch or tag of a repository, in full: ``refs/heads/main``.
        commit: of that repository.
    """

    url: str = ""
    etag: str = ""
    size_bytes: int | None = None
    sha256: str = ""
    ref: str = ""
    commit: str = ""

    @classmethod
    def parse(cls, facts: dict[str, Any]) -> Origin:
        """Read what a record says; another version of this package may say more."""
        size_bytes = facts.get("size_bytes")
        texts = {name: str(facts[name]) for name in ("url", "etag", "sha256", "ref", "commit") if name in facts}
        return cls(**texts, size_bytes=None if size_bytes is None else _size(size_bytes))


@dataclass(frozen=True, slots=True)
class Brought:
    """What came.

    Attributes:
        origin: from where.
        files: every file as it was written, sorted by path; None where nobody hashed them on the way.
        fetched_at: when they left their publisher, as in a record; empty for just now.
    """

    origin: Origin
    files: tuple[File, ...] | None = None
    fetched_at: str = ""


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
    files: tuple[File, ...] | None = None

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


def _size(said: Any) -> int:
    """A size that a file can have."""
    size_bytes = int(said)
    if not 0 <= size_bytes < 1 << 63:
        raise ValueError
    return size_bytes


@functools.lru_cache(maxsize=256)
def _parse(text: str, tree: str) -> Record:
    head, _, body = text.partition("\n\n")
    try:
        facts: dict[str, Any] = json.loads(body)
        if facts.pop("version") != VERSION:
            raise ValueError
        files = tuple(File(str(file["path"]), _size(file["size_bytes"]), str(file["sha256"])) for file in facts.pop("files"))
        # An absolute path has an empty first part.
        if not files or any(not {"", ".", ".."}.isdisjoint(file.path.split("/")) for file in files):
            raise ValueError
        texts = {name: str(facts.pop(name)) for name in ("handle", "tree", "fetched_at")}
        return Record(**texts, origin=Origin.parse(facts["origin"]), files=files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):  # not JSON of ours
        lines = dict(line.partition(": ")[::2] for line in head.splitlines())
        return Record(lines.get("Module", ""), tree, lines.get("Download Time", ""))


def measure(tree: str) -> tuple[File, ...]:
    """Every file below ``tree``, with its size and hash, sorted by path."""
    return tuple(File(path, *_size_and_sha256(f"{tree}/{path}")) for path in sorted(walk(tree)))


def walk(tree: str, *, folders: bool = False) -> Iterator[str]:
    """The relative path of every file below ``tree``, with ``/``; on demand of every folder, too."""
    for folder, below, names in os.walk(tree):
        inner = os.path.relpath(folder, tree).replace(os.sep, "/")
        yield from (name if inner == "." else f"{inner}/{name}" for name in [*below * folders, *names])


def _size_and_sha256(path: str) -> tuple[int, str]:
    import hashlib  # 6 ms that the import of the package need not cost

    digest, size_bytes, buffer = hashlib.sha256(), 0, memoryview(bytearray(_READ_BYTES))
    # A pipe would be waited for; links are followed, as trees that others put here may hold them.
    with open(path, "rb", buffering=0, opener=open_regular_target) as file:
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            size_bytes += count
    return size_bytes, digest.hexdigest()


def fault(tree: str, record: Record) -> str | None:
    """Why the files in the directory ``tree`` are not whole, or None; looks at sizes, reads no file."""
    if record.files is not None:
        return _size_fault(tree, record.files)
    try:
        return _unrecorded_fault(tree)
    except (FileNotFoundError, NotADirectoryError):
        return "there is no such directory, or its variables are none"
    except (OSError, ValueError) as error:  # a name that no disk can hold; no permission
        return str(error)


def _size_fault(tree: str, files: tuple[File, ...]) -> str | None:
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


def _unrecorded_fault(tree: str) -> str | None:
    names = os.listdir(tree)
    if not any(name in names for name in SAVED_MODEL_FILES):
        return "saved_model.pb is missing"
    if "variables" not in names:
        return None
    variables = set(os.listdir(f"{tree}/variables"))
    shards = [match for name in variables if (match := _SHARD.fullmatch(name))]
    wanted = {f"variables.data-{number:05}-of-{shard[2]}" for shard in shards for number in range(int(shard[2]))}
    missing = sorted(((wanted or {"variables.data-00000-of-00001"}) | {"variables.index"}) - variables)
    return f"variables/{missing[0]} is missing" if missing else None


def hash_faults(tree: str, files: tuple[File, ...]) -> Iterator[str]:
    """Every file that is not as recorded; reads all of them."""
    for file in files:
        if fault_ := _size_fault(tree, (file,)):
            yield fault_
        elif _size_and_sha256(f"{tree}/{file.path}")[1] != file.sha256:
            yield f"{file.path} has other bytes than were fetched"
