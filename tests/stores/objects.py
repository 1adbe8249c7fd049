"""Buckets in memory, as Google keeps them: generations, conditions, pages of names, uploads under way."""

from __future__ import annotations

import base64
import functools
import itertools
import threading
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import datetime, timezone

import google_crc32c

MOST_IN_A_PAGE = 1000
_BEHIND_ALL = "\U0010ffff"


class RefusedError(Exception):
    """The store says no; ``status`` is HTTP's, ``reason`` Google's word for it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Blob:
    """One object, as it was put, in one piece or several; nobody changes it."""

    name: str
    pieces: tuple[bytes, ...] = field(repr=False)
    generation: int
    updated: datetime
    content_type: str
    crc32c: str

    @functools.cached_property
    def data(self) -> bytes:
        """The bytes; joined by the first who asks, so that no upload waits for it."""
        return b"".join(self.pieces)

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    @property
    def etag(self) -> str:
        """The content's, so that the same bytes put again have the same one, as with Google's MD5."""
        return f'"{base64.b64decode(self.crc32c).hex()}{self.size:x}"'


@dataclass(frozen=True)
class Condition:
    """What must hold at the moment in which an operation takes place; a generation of 0 is an object that is not there."""

    generation: int | None = None
    other_than: int | None = None

    def check(self, blob: Blob | None) -> None:
        """Raise if it does not hold for what is there."""
        there = blob.generation if blob else 0
        if self.generation not in (None, there) or self.other_than == there:
            raise RefusedError(412, "conditionNotMet")


@dataclass
class Upload:
    """An upload in several requests; ``parts`` maps numbers, or offsets, to what came."""

    name: str
    condition: Condition
    content_type: str
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """Some names, in order: of objects, and of folders, which are what the delimiter makes of the rest."""

    blobs: list[Blob]
    folders: list[str]
    token: str | None


ALWAYS = Condition()


class Bucket:
    """Objects by name. Who reads after a write has been answered sees it; of two conditional writes one wins.

    With a ``token``, only who shows it may write, and read, too, unless the bucket is ``public``.
    """

    _generations = itertools.count(1_700_000_000_000_001)

    def __init__(self, name: str, token: str | None = None, *, public: bool = False) -> None:
        self.name, self.token, self.public = name, token, public
        self.uploads: dict[str, Upload] = {}
        self._blobs: dict[str, Blob] = {}
        self._lock = threading.RLock()

    def put(self, name: str, data: bytes, condition: Condition = ALWAYS, content_type: str = "") -> Blob:
        """Keep an object, whole; replaces what has the name."""
        return self._put(name, (data,), condition, content_type)

    def get(self, name: str, condition: Condition = ALWAYS) -> Blob:
        """The object of that name."""
        blob = self._blobs.get(name)
        if blob is None:
            raise RefusedError(404, "notFound")
        condition.check(blob)
        return blob

    def delete(self, name: str, condition: Condition = ALWAYS) -> None:
        """Forget an object that is there."""
        with self._lock:
            self.get(name, condition)
            del self._blobs[name]

    def move(self, name: str, to: str, condition: Condition = ALWAYS) -> Blob:
        """Rename an object, in one step."""
        with self._lock:
            blob = self.get(name)
            moved = self.put(to, blob.data, condition, blob.content_type)
            if name != to:
                del self._blobs[name]
            return moved

    def begin(self, name: str, condition: Condition = ALWAYS, content_type: str = "") -> str:
        """Begin an upload in several requests; returns its id."""
        with self._lock:
            condition.check(self._blobs.get(name))
            upload_id = f"upload-{next(self._generations)}"
            self.uploads[upload_id] = Upload(name, condition, content_type)
            return upload_id

    def upload(self, upload_id: str) -> Upload:
        """An upload that is under way."""
        if upload_id not in self.uploads:
            raise RefusedError(404, "NoSuchUpload")
        return self.uploads[upload_id]

    def finish(self, upload_id: str, parts: list[int]) -> Blob:
        """Make an object of these parts of an upload."""
        upload = self.upload(upload_id)
        if not set(parts) <= set(upload.parts):
            raise RefusedError(400, "InvalidPart")
        pieces = tuple(upload.parts[part] for part in parts)
        blob = self._put(upload.name, pieces, upload.condition, upload.content_type)
        del self.uploads[upload_id]
        return blob

    def page(self, prefix: str = "", delimiter: str = "", after: str = "", most: int = MOST_IN_A_PAGE) -> Page:
        """Names that begin with ``prefix`` and come behind ``after``, which may be the token of the page before."""
        with self._lock:
            blobs = dict(self._blobs)
        names, page = sorted(blobs), Page([], [], None)
        at = max(bisect_left(names, prefix), bisect_right(names, after))
        while at < len(names) and names[at].startswith(prefix):
            if len(page.blobs) + len(page.folders) == most:
                return Page(page.blobs, page.folders, after)
            head, is_folder, _ = names[at][len(prefix) :].partition(delimiter or "\0")
            if is_folder:
                page.folders.append(prefix + head + delimiter)
                after = prefix + head + delimiter + _BEHIND_ALL
                at = bisect_left(names, after)
            else:
                page.blobs.append(blobs[names[at]])
                after = names[at]
                at += 1
        return page

    def __getitem__(self, name: str) -> bytes:
        return self.get(name).data

    def __contains__(self, name: str) -> bool:
        return name in self._blobs

    def files(self, prefix: str = "") -> dict[str, bytes]:
        """Every object by its name without the prefix, as ``files_in`` has those of a directory."""
        with self._lock:
            found = {name.removeprefix(prefix): blob.data for name, blob in self._blobs.items() if name.startswith(prefix)}
        return dict(sorted(found.items()))

    def _put(self, name: str, pieces: tuple[bytes, ...], condition: Condition, content_type: str) -> Blob:
        checksum = google_crc32c.Checksum()
        for piece in pieces:
            checksum.update(piece)
        crc32c = base64.b64encode(checksum.digest()).decode()
        with self._lock:
            condition.check(self._blobs.get(name))
            now, generation = datetime.now(timezone.utc), next(self._generations)
            blob = Blob(name, pieces, generation, now, content_type or "application/octet-stream", crc32c)
            self._blobs[name] = blob
            return blob
