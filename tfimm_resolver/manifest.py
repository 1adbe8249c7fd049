"""Facts about a model's files: what each is, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt", "saved_model.cpb")


@dataclass(frozen=True, slots=True)
class FileEntry:
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
        return cls(**texts, size_bytes=None if size_bytes is None else parse_size(size_bytes))


@dataclass(frozen=True, slots=True)
class FetchResult:
    """What came.

    Attributes:
        origin: from where.
        files: every file as it was written, sorted by path; None where nobody hashed them on the way.
        fetched_at: when they left their publisher, as in a record; empty for just now.
    """

    origin: Origin
    files: tuple[FileEntry, ...] | None = None
    fetched_at: str = ""


def parse_size(said: Any) -> int:
    """A size that a file can have."""
    size_bytes = int(said)
    if not 0 <= size_bytes < 1 << 63:
        raise ValueError
    return size_bytes
