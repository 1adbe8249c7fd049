"""ObjectStoreClient in a bucket, by obstore: read, written, listed, and its errors in the words of this package."""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from tfimm_resolver._util.threads import DaemonThreadPool
from tfimm_resolver.errors import (
    AccessError,
    ArchiveError,
    FetchError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    ResolverError,
    TransferTimeoutError,
)
from tfimm_resolver.object_store import credentials

CHUNK_BYTES = 8 << 20
"""How much one request for a part of an object brings, or sends."""

MAX_CONCURRENT_REQUESTS = 16
"""How many requests may be under way at once that carry little."""

_LARGE_FILE_UPLOADS = 4
"""How many large files go up at once; more of them make none quicker, and one alone waits at its ends."""

_MULTIPART_CONCURRENCY = 12
"""How many parts of them all go up at once. obstore holds two more of each file in memory."""

_PARTS_MOST = 10_000  # of one object; Google and Amazon have the same limit
_ABSENT = "create"
_SMALL_BYTES = 1 << 20
_REASON_CHARACTERS = 300
_STATUS = re.compile(r"status code: (\d{3})")
_MESSAGE = re.compile(r"<Message>(.*?)</Message>", re.DOTALL)
_RETRYABLE_STATUS = (408, 409, 412, 425, 429)
_NOT_FOUND_FIX = "Check the bucket's name and the path."
_OFFLINE_FIX = "Check the network and the proxy variables (https_proxy, no_proxy)."
_CERTIFICATE_FIX = "Behind a proxy that opens TLS, name its certificate: SSL_CERT_FILE."
_TIMEOUT_FIX = "Try again, or set TFIMM_RESOLVER_READ_TIMEOUT_S higher."

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object: its name below the place, and which version of it; ``modified_s`` in seconds since 1970."""

    name: str
    size_bytes: int
    modified_s: float
    etag: str


@dataclass(frozen=True, slots=True)
class Version:
    """What tells one text under a name from the next."""

    etag: str | None
    number: str | None


class ObjectStoreClient:
    """What lies under one place, ``scheme://bucket/prefix``; opens nothing before it is asked.

    Raises:
        FetchError: from every method, if the bucket refuses or does not answer; NotFoundError, AccessError and
            OfflineError say why.
    """

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/")
        self._scheme, _, rest = self.place.partition("://")
        self._bucket, _, self._prefix = rest.partition("/")

    def read(self, name: str) -> tuple[bytes, Version] | None:
        """A small object, and its version; None if there is none. One request."""
        with contextlib.suppress(NotFoundError), self._telling(name):
            return _call_interruptibly(self._read, name)
        return None

    def write(self, name: str, data: bytes) -> None:
        """Put a small object there, whole or not at all."""
        self._put(name, data, "overwrite")

    def create(self, name: str, data: bytes) -> Version | None:
        """The same, if there is none; its version, or None if there is one."""
        return self._put(name, data, _ABSENT)

    def replace(self, name: str, data: bytes, version: Version) -> Version | None:
        """The same, if what lies there is of that version; the new one, or None if it is not."""
        known = {"e_tag": version.etag, "version": version.number}
        return self._put(name, data, {key: value for key, value in known.items() if value is not None})

    def upload(self, files: Mapping[str, Path]) -> None:
        """Put files under names, each whole or not at all; of all that is large only a few parts are in memory at once."""
        sizes_bytes = {name: path.stat().st_size for name, path in files.items()}
        large = sum(size_bytes > _SMALL_BYTES for size_bytes in sizes_bytes.values())
        parts_at_once = _MULTIPART_CONCURRENCY // max(1, min(large, _LARGE_FILE_UPLOADS))
        with DaemonThreadPool(_LARGE_FILE_UPLOADS) as lanes, DaemonThreadPool(MAX_CONCURRENT_REQUESTS) as crew:
            sent = []
            for name, path in files.items():
                idle = lanes if sizes_bytes[name] > _SMALL_BYTES else crew
                part_bytes = max(CHUNK_BYTES, -(-sizes_bytes[name] // _PARTS_MOST))
                sent.append(idle.submit(self._upload, name, path, part_bytes, parts_at_once))
            for one in sent:
                one.result()

    def streams(self, wanted: Iterable[ObjectInfo], at_once: int) -> Generator[tuple[ObjectInfo, Iterator[bytes]]]:
        """Every object with its bytes in pieces, in order, while the next few pieces are under way, of later objects, too.

        Raises:
            IntegrityError: if one is replaced meanwhile.
        """
        wanted = [*wanted]
        jobs = ((found, start) for found in wanted for start in range(0, found.size_bytes, CHUNK_BYTES))
        with DaemonThreadPool(at_once) as crew:
            waiting = deque(crew.submit(self._piece, *job) for job in islice(jobs, at_once))

            def pieces(found: ObjectInfo) -> Iterator[bytes]:
                for _ in range(0, found.size_bytes, CHUNK_BYTES):
                    piece = waiting.popleft().result()
                    waiting.extend(crew.submit(self._piece, *job) for job in islice(jobs, 1))
                    yield piece

            for found in wanted:
                yield found, pieces(found)

    def find(self, name: str) -> ObjectInfo:
        """One object. Raises NotFoundError if there is none."""
        with self._telling(name):
            return self._found(_call_interruptibly(self._obstore.head, self._store(), self._path(name)))

    def files(self) -> list[ObjectInfo]:
        """Every object that is a file: some clients put an empty object, named like one with a slash, where a directory is."""
        found = self.below()
        with DaemonThreadPool(MAX_CONCURRENT_REQUESTS) as crew:
            asked = {one.name: crew.submit(self._is_there, one.name) for one in found if not one.size_bytes}
            return [one for one in found if one.name not in asked or asked[one.name].result()]

    def below(self, name: str = "") -> list[ObjectInfo]:
        """Every object below a name, with names that begin behind the place."""
        with self._telling(name):
            found = _call_interruptibly(lambda: [self._found(meta) for page in self._pages(name) for meta in page])
        # Some clients put an empty object where others have a directory.
        folders = {"", *(one.name[:end] for one in found for end, mark in enumerate(one.name) if mark == "/")}
        return [one for one in found if one.size_bytes or one.name not in folders]

    def top(self) -> tuple[list[str], list[ObjectInfo]]:
        """The first parts of all names: those of which more follows, and objects."""
        with self._telling(""):
            listed = _call_interruptibly(self._obstore.list_with_delimiter, self._store(), self._prefix or None)
        folders = [self._name(path) for path in listed["common_prefixes"]]
        return folders, [self._found(meta) for meta in listed["objects"]]

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; nothing where there is none."""
        paths = [self._path(name) for name in names]
        if paths:
            with contextlib.suppress(NotFoundError), self._telling("", is_writing=True):
                _call_interruptibly(self._obstore.delete, self._store(), paths)

    def _upload(self, name: str, path: Path, part_bytes: int, parts_at_once: int) -> None:
        with self._telling(name, is_writing=True):
            store = self._store(is_writing=True)
            self._obstore.put(store, self._path(name), path, chunk_size=part_bytes, max_concurrency=parts_at_once)

    def _is_there(self, name: str) -> bool:
        with contextlib.suppress(NotFoundError):
            return bool(self.find(name))
        return False

    def _read(self, name: str) -> tuple[bytes, Version]:
        result = self._obstore.get(self._store(), self._path(name))
        return result.bytes().to_bytes(), Version(result.meta["e_tag"], result.meta["version"])

    def _pages(self, name: str) -> Any:
        return self._obstore.list(self._store(), self._path(name) or None)

    @property
    def _obstore(self) -> Any:
        return credentials.import_obstore(self.place)

    def _store(self, *, is_writing: bool = False) -> Any:
        return credentials.store(self._scheme, self._bucket, is_writing=is_writing)

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{name}".strip("/")

    def _name(self, path: str) -> str:
        return path.removeprefix(self._prefix).strip("/")

    def _found(self, meta: Any) -> ObjectInfo:
        return ObjectInfo(self._name(meta["path"]), meta["size"], meta["last_modified"].timestamp(), meta["e_tag"] or "")

    def _put(self, name: str, data: bytes, mode: Any) -> Version | None:
        with self._telling(name, is_writing=True):
            wrong = self._obstore.exceptions
            with contextlib.suppress(wrong.AlreadyExistsError, wrong.PreconditionError):
                store = self._store(is_writing=len(data) > _SMALL_BYTES)
                put = _call_interruptibly(self._obstore.put, store, self._path(name), data, mode=mode, use_multipart=False)
                return Version(put["e_tag"], put["version"])
        return None

    def _piece(self, found: ObjectInfo, start: int) -> bytes:
        stop = min(start + CHUNK_BYTES, found.size_bytes)
        options: dict[str, Any] = {"range": (start, stop)}
        if found.etag:
            options["if_match"] = found.etag
        with self._telling(found.name):
            piece: bytes = self._obstore.get(self._store(), self._path(found.name), options=options).bytes().to_bytes()
        if len(piece) != stop - start:
            raise IntegrityError(f"{self.place}/{found.name} gave {len(piece)} bytes where {stop - start} were asked for")
        return piece

    @contextlib.contextmanager
    def _telling(self, name: str, *, is_writing: bool = False) -> Iterator[None]:
        wrong = self._obstore.exceptions
        place = f"{self.place}/{name}".rstrip("/")
        try:
            yield
        except ResolverError:
            raise
        except ValueError as error:
            raise FetchError(f"{place} is no name of an object: {error}") from error
        except FileNotFoundError as error:
            raise NotFoundError(f"{place} is not there", fix=_NOT_FOUND_FIX) from error
        except wrong.PreconditionError as error:
            raise IntegrityError(f"{place} changed while it was read", fix="Try again.") from error
        except wrong.BaseError as error:
            raise self._error(place, error, "written" if is_writing else "read") from error

    def _error(self, place: str, error: Exception, deed: str) -> FetchError:
        """An error of obstore, which tells apart by its text alone what a list, or the network, went wrong with."""
        text, _, details = str(error).partition("\n\nDebug source")
        if "invalid path" in text:
            return ArchiveError(f"{place} holds a name that no directory can: {' '.join(text.split())[:_REASON_CHARACTERS]}")
        found = _STATUS.search(text)
        status = int(found[1]) if found else None
        if status == 404:
            return NotFoundError(f"{place} is not there", fix=_NOT_FOUND_FIX, status=status)
        if status == 416:
            return IntegrityError(f"{place} is shorter than it was", status=status)
        if status in (401, 403) or "credential provider: " in text:
            why = f"HTTP {status}" if status else text.partition("credential provider: ")[2].strip()[:_REASON_CHARACTERS]
            who = credentials.credentials_name(self._scheme)
            fix = credentials.CREDENTIALS_FIX[self._scheme]
            return AccessError(f"{place} may not be {deed} {who} ({why})", fix=fix, status=status)
        if status is None and "kind: Timeout" in details:
            return TransferTimeoutError(f"{place} did not answer in time", fix=_TIMEOUT_FIX, is_passing=True)
        if status is None and "InvalidCertificate" in details:
            return FetchError(f"{place} could not be {deed}: nobody known vouches for its certificate", fix=_CERTIFICATE_FIX)
        if status is None and "kind: Connect," in details:  # and not ConnectionReset
            return OfflineError(f"{place} is out of reach: no connection", fix=_OFFLINE_FIX, is_passing=True)
        fix, is_passing = "Try again later.", not status or status in _RETRYABLE_STATUS or status >= 500
        if "redirect without LOCATION" in text or (self._scheme == "s3" and status == 400):
            fix, is_passing = "If the bucket lies in another region, name that: AWS_DEFAULT_REGION.", False
        said = _MESSAGE.search(text)
        reason = " ".join((said[1] if said else text if not status else "").split())[:_REASON_CHARACTERS]
        reason = ": ".join(part for part in (f"HTTP {status}" if status else "", reason) if part)
        return FetchError(f"{place} could not be {deed}: {reason}", fix=fix, is_passing=is_passing, status=status)


def _call_interruptibly(call: Callable[..., _Result], *args: Any, **options: Any) -> _Result:
    """Call in another thread, where it comes to that: obstore does not let Ctrl-C through, and a wait for a thread does."""
    if threading.current_thread() is not threading.main_thread():
        return call(*args, **options)
    with DaemonThreadPool(1) as crew:
        return crew.submit(functools.partial(call, *args, **options)).result()
