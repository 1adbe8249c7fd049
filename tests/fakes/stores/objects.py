"""In-memory buckets with Google's semantics: generations, conditions, pages of names, pending uploads."""

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


class StoreError(Exception):
    """A failed operation: the HTTP ``status`` and Google's ``reason`` code."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Blob:
    """One version of an object, in one chunk or several; immutable."""

    name: str
    chunks: tuple[bytes, ...] = field(repr=False)
    generation: int
    updated: datetime
    content_type: str
    crc32c: str

    @functools.cached_property
    def data(self) -> bytes:
        """The bytes; joined when they are first read, so that uploads do not wait for it."""
        return b"".join(self.chunks)

    @property
    def size(self) -> int:
        return sum(map(len, self.chunks))

    @property
    def etag(self) -> str:
        """A hash of the content, so that putting the same bytes again gives the same ETag, as with Google's MD5."""
        return f'"{base64.b64decode(self.crc32c).hex()}{self.size:x}"'


@dataclass(frozen=True)
class Condition:
    """The precondition of an operation; generation 0 stands for an object that does not exist."""

    generation: int | None = None
    other_than: int | None = None

    def check(self, blob: Blob | None) -> None:
        """Raise StoreError if it does not hold for the current object."""
        current = blob.generation if blob else 0
        if self.generation not in (None, current) or self.other_than == current:
            raise StoreError(412, "conditionNotMet")


@dataclass
class Upload:
    """An upload in several requests; ``parts`` maps part numbers, or offsets, to data."""

    name: str
    condition: Condition
    content_type: str
    parts: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """A page of a sorted listing: objects, and folders (common prefixes up to the delimiter)."""

    blobs: list[Blob]
    folders: list[str]
    token: str | None


ALWAYS = Condition()


class Bucket:
    """Objects by name. A read after a completed write sees it; of two concurrent conditional writes one wins.

    With a ``token``, writing requires it, and reading, too, unless the bucket is ``public``. With ``project``, its readers
    pay, and every request has to name that project.
    """

    _generations = itertools.count(1_700_000_000_000_001)

    def __init__(self, name: str, token: str | None = None, *, public: bool = False) -> None:
        self.name, self.token, self.public = name, token, public
        self.project = ""
        self.uploads: dict[str, Upload] = {}
        self._blobs: dict[str, Blob] = {}
        self._lock = threading.RLock()

    def put(self, name: str, data: bytes, condition: Condition = ALWAYS, content_type: str = "") -> Blob:
        """Store an object, over any that has the name."""
        return self._put(name, (data,), condition, content_type)

    def get(self, name: str, condition: Condition = ALWAYS) -> Blob:
        """Return the object with that name."""
        blob = self._blobs.get(name)
        if blob is None:
            raise StoreError(404, "notFound")
        condition.check(blob)
        return blob

    def delete(self, name: str, condition: Condition = ALWAYS) -> None:
        """Delete an object, which must exist."""
        with self._lock:
            self.get(name, condition)
            del self._blobs[name]

    def move(self, name: str, to: str, condition: Condition = ALWAYS) -> Blob:
        """Rename an object atomically."""
        with self._lock:
            blob = self.get(name)
            moved = self.put(to, blob.data, condition, blob.content_type)
            if name != to:
                del self._blobs[name]
            return moved

    def begin(self, name: str, condition: Condition = ALWAYS, content_type: str = "") -> str:
        """Start an upload in several requests; return its id."""
        with self._lock:
            condition.check(self._blobs.get(name))
            upload_id = f"upload-{next(self._generations)}"
            self.uploads[upload_id] = Upload(name, condition, content_type)
            return upload_id

    def upload(self, upload_id: str) -> Upload:
        """Return a pending upload."""
        if upload_id not in self.uploads:
            raise StoreError(404, "NoSuchUpload")
        return self.uploads[upload_id]

    def finish(self, upload_id: str, parts: list[int]) -> Blob:
        """Complete an upload from these parts."""
        upload = self.upload(upload_id)
        if not set(parts) <= set(upload.parts):
            raise StoreError(400, "InvalidPart")
        chunks = tuple(upload.parts[part] for part in parts)
        blob = self._put(upload.name, chunks, upload.condition, upload.content_type)
        del self.uploads[upload_id]
        return blob

    def page(self, prefix: str = "", delimiter: str = "", after: str = "", most: int = MOST_IN_A_PAGE) -> Page:
        """Return names that begin with ``prefix`` and sort after ``after``, which may be the token of the previous page."""
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
        """Return every object by its name without the prefix, in the form of ``files_in`` for a directory."""
        with self._lock:
            found = {name.removeprefix(prefix): blob.data for name, blob in self._blobs.items() if name.startswith(prefix)}
        return dict(sorted(found.items()))

    def _put(self, name: str, chunks: tuple[bytes, ...], condition: Condition, content_type: str) -> Blob:
        checksum = google_crc32c.Checksum()
        for chunk in chunks:
            checksum.update(chunk)
        crc32c = base64.b64encode(checksum.digest()).decode()
        with self._lock:
            condition.check(self._blobs.get(name))
            now, generation = datetime.now(timezone.utc), next(self._generations)
            blob = Blob(name, chunks, generation, now, content_type or "application/octet-stream", crc32c)
            self._blobs[name] = blob
            return blob
