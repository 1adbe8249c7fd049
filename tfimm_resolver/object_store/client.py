"""A client for the objects below one prefix of a bucket: obstore does the work, and its errors become ours."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from tfimm_resolver import settings
from tfimm_resolver._util.cancellation import NEVER, CancellationToken, get_current_token
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.thread_pool import DaemonThreadPool
from tfimm_resolver.errors import (
    ArchiveError,
    FetchError,
    IntegrityError,
    NotFoundError,
    ResolverError,
)
from tfimm_resolver.object_store import billing, credentials
from tfimm_resolver.object_store.store_errors import NAME_FIX, NOT_FOUND_FIX, RECORD_FIX, is_billing_refusal, translate_error

CHUNK_BYTES = 8 << 20
"""Size of one range of a download, and the smallest part of a multipart upload."""

MAX_CONCURRENT_REQUESTS = 16
"""Limit of concurrent small requests."""

_LARGE_FILE_UPLOADS = 4
"""How many large files are uploaded at once: more are not faster, and a single one idles while it starts and completes."""

_MULTIPART_CONCURRENCY = 12
"""How many parts of all large files are uploaded at once. obstore holds two more parts of each file in memory."""

_MAX_PARTS = 10_000  # per object, at Google and Amazon alike
_IF_ABSENT = "create"
_SMALL_BYTES = 1 << 20
_SMALL_OBJECT_BYTES_MAX = 32 << 20
"""Limit on an object that is read at once: a record, a lease."""

_HADOOP_FOLDER = "_$folder$"
_TRUST_FIX = "If you trust it, set TFIMM_RESOLVER_MAX_MEMBERS."

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's name relative to the client's URL, and its metadata; ``modified_s`` in seconds since 1970."""

    name: str
    size_bytes: int
    modified_s: float
    etag: str


@dataclass(frozen=True, slots=True)
class Version:
    """Identifies one version of an object, for conditional writes."""

    etag: str | None
    number: str | None


class ObjectStoreClient:
    """Accesses the objects below ``url``, ``scheme://bucket/prefix``; connects at the first call of a method.

    Raises:
        FetchError: from every method, if the bucket denies access or does not answer; NotFoundError, AccessError and
            OfflineError tell the reason.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._scheme, _, rest = self.url.partition("://")
        self._bucket, _, self._prefix = rest.partition("/")

    def read(self, name: str) -> tuple[bytes, Version] | None:
        """Return a small object and its version, or None if it does not exist; one request."""
        with contextlib.suppress(NotFoundError), self._map_errors(name):
            return self._call(lambda: self._read(name))
        return None

    def write(self, name: str, data: bytes) -> None:
        """Write a small object atomically, over any that exists."""
        self._put(name, data, "overwrite")

    def create(self, name: str, data: bytes) -> Version | None:
        """Write a small object if it does not exist, and return its version; return None if it exists."""
        return self._put(name, data, _IF_ABSENT)

    def replace(self, name: str, data: bytes, version: Version) -> Version | None:
        """Write a small object if it still has that version, and return the new one; return None if it has not."""
        known = {"e_tag": version.etag, "version": version.number}
        return self._put(name, data, {key: value for key, value in known.items() if value is not None})

    def upload(self, files: Mapping[str, Path]) -> None:
        """Upload files, given by object name, each atomically; only a few parts of large files are in memory at once."""
        sizes_bytes = {name: path.stat().st_size for name, path in files.items()}
        large = sum(size_bytes > _SMALL_BYTES for size_bytes in sizes_bytes.values())
        parts_at_once = _MULTIPART_CONCURRENCY // max(1, min(large, _LARGE_FILE_UPLOADS))
        with DaemonThreadPool(_LARGE_FILE_UPLOADS) as large_pool, DaemonThreadPool(MAX_CONCURRENT_REQUESTS) as small_pool:
            uploads = []
            for name, path in files.items():
                pool = large_pool if sizes_bytes[name] > _SMALL_BYTES else small_pool
                part_bytes = max(CHUNK_BYTES, -(-sizes_bytes[name] // _MAX_PARTS))
                uploads.append(pool.submit(self._upload, name, path, part_bytes, parts_at_once))
            small_pool.wait_for_all(uploads)

    def stream_objects(self, objects: Iterable[ObjectInfo], at_once: int) -> Generator[tuple[ObjectInfo, Iterator[bytes]]]:
        """Yield each object with its bytes in chunks, in order; up to ``at_once`` chunks are fetched ahead, across objects.

        Raises:
            IntegrityError: if an object is replaced meanwhile.
        """
        objects = [*objects]
        jobs = ((info, start) for info in objects for start in range(0, info.size_bytes, CHUNK_BYTES))
        with DaemonThreadPool(at_once) as pool:
            pending = deque(pool.submit(self._read_range, *job) for job in islice(jobs, at_once))

            def iterate_chunks(info: ObjectInfo) -> Iterator[bytes]:
                for _ in range(0, info.size_bytes, CHUNK_BYTES):
                    chunk = pending.popleft().result()
                    pending.extend(pool.submit(self._read_range, *job) for job in islice(jobs, 1))
                    yield chunk

            for info in objects:
                yield info, iterate_chunks(info)

    def get_info(self, name: str) -> ObjectInfo:
        """Return the metadata of one object; raise NotFoundError if it does not exist."""
        with self._map_errors(name):
            return self._make_info(self._call(lambda: self._obstore.head(self._store(), self._join_prefix(name))))

    def list_files(self) -> list[ObjectInfo]:
        """Return every object that is a file, and not an empty placeholder for a directory (``name/``) as some clients put."""
        found = self.list_objects()
        with DaemonThreadPool(MAX_CONCURRENT_REQUESTS) as pool:
            checks = {info.name: pool.submit(self._exists, info.name) for info in found if not info.size_bytes}
            return [info for info in found if info.name not in checks or checks[info.name].result()]

    def list_objects(self, name: str = "") -> list[ObjectInfo]:
        """Return every object below ``name``, with names relative to the client's URL; raises ArchiveError if too many."""
        token = get_current_token()
        with self._map_errors(name):
            found = self._call(lambda: list(self._list_bounded(name, token)))
        # Some clients put an empty object as a placeholder for a directory.
        folders = {"", *(info.name[:end] for info in found for end, mark in enumerate(info.name) if mark == "/")}
        return [info for info in found if info.size_bytes or not _is_placeholder(info.name, folders)]

    def list_top_level(self) -> tuple[list[str], list[ObjectInfo]]:
        """Return the common prefixes (folders) and the objects directly below the client's URL."""
        with self._map_errors(""):
            listed = self._call(lambda: self._obstore.list_with_delimiter(self._store(), self._prefix or None))
        folders = [self._strip_prefix(path) for path in listed["common_prefixes"]]
        return folders, [self._make_info(meta) for meta in listed["objects"]]

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; ignore those that do not exist."""
        paths = [self._join_prefix(name) for name in names]
        if paths:
            with contextlib.suppress(NotFoundError), self._map_errors("", is_writing=True):
                self._call(lambda: self._obstore.delete(self._store(), paths))

    def _upload(self, name: str, path: Path, part_bytes: int, parts_at_once: int) -> None:
        def put() -> None:
            store, object_path = self._store(is_writing=True), self._join_prefix(name)
            self._obstore.put(store, object_path, path, chunk_size=part_bytes, max_concurrency=parts_at_once)

        with self._map_errors(name, is_writing=True):
            self._bill_if_required(put)

    def _exists(self, name: str) -> bool:
        with contextlib.suppress(NotFoundError):
            return bool(self.get_info(name))
        return False

    def _read(self, name: str) -> tuple[bytes, Version]:
        result = self._obstore.get(self._store(), self._join_prefix(name))
        if (size_bytes := result.meta["size"]) > _SMALL_OBJECT_BYTES_MAX:
            raise FetchError(f"{self._show(name)} has {size_bytes} bytes, too many for a record", fix=RECORD_FIX)
        return result.bytes().to_bytes(), Version(result.meta["e_tag"], result.meta["version"])

    def _list_bounded(self, name: str, token: CancellationToken) -> Iterator[ObjectInfo]:
        """Yield the objects below ``name``, of a model that may have so many members; a hostile store lists without an end."""
        objects_max = 2 * settings.unpack_limits()[0]  # each folder may have a placeholder
        pages = self._obstore.list(self._store(), self._join_prefix(name) or None)
        for count, meta in enumerate((meta for page in pages for meta in page), 1):
            if count > objects_max:
                raise ArchiveError(f"{self._show(name)} lists over {objects_max} objects", fix=_TRUST_FIX)
            token.raise_if_cancelled()
            yield self._make_info(meta)

    @property
    def _obstore(self) -> Any:
        return credentials.import_obstore(self.url)

    def _store(self, *, is_writing: bool = False) -> Any:
        return credentials.open_store(self._scheme, self._bucket, is_writing=is_writing)

    def _join_prefix(self, name: str) -> str:
        return f"{self._prefix}/{name}".strip("/")

    def _show(self, name: str) -> str:
        return f"{self.url}/{show(name)}".rstrip("/")

    def _strip_prefix(self, path: str) -> str:
        return path.removeprefix(self._prefix).strip("/")

    def _make_info(self, meta: Any) -> ObjectInfo:
        modified_s = meta["last_modified"].timestamp()
        return ObjectInfo(self._strip_prefix(meta["path"]), meta["size"], modified_s, meta["e_tag"] or "")

    def _put(self, name: str, data: bytes, mode: Any) -> Version | None:
        with self._map_errors(name, is_writing=True):
            exceptions = self._obstore.exceptions
            with contextlib.suppress(exceptions.AlreadyExistsError, exceptions.PreconditionError):
                path, is_large = self._join_prefix(name), len(data) > _SMALL_BYTES
                options = {"mode": mode, "use_multipart": False}
                result = self._call(lambda: self._obstore.put(self._store(is_writing=is_large), path, data, **options))
                return Version(result["e_tag"], result["version"])
        return None

    def _read_range(self, info: ObjectInfo, start: int) -> bytes:
        stop = min(start + CHUNK_BYTES, info.size_bytes)
        options: dict[str, Any] = {"range": (start, stop)}
        if info.etag:
            options["if_match"] = info.etag
        path = self._join_prefix(info.name)

        def get() -> bytes:
            data: bytes = self._obstore.get(self._store(), path, options=options).bytes().to_bytes()
            return data

        with self._map_errors(info.name):
            data = self._bill_if_required(get)
        if len(data) != stop - start:
            raise IntegrityError(
                f"{self.url}/{show(info.name)} returned {len(data)} bytes where {stop - start} were requested"
            )
        return data

    def _call(self, operation: Callable[[], _Result]) -> _Result:
        def call() -> _Result:
            return self._bill_if_required(operation)

        return _call_interruptibly(call)

    def _bill_if_required(self, operation: Callable[[], _Result]) -> _Result:
        """Run an operation, once more with the project that Google is to bill if the bucket requires one."""
        is_sent = bool(billing.make_headers(self._scheme, self._bucket))
        try:
            return operation()
        except self._obstore.exceptions.BaseError as error:
            if is_sent or not is_billing_refusal(self._scheme, str(error)) or not billing.send_project(self._bucket):
                raise
        try:
            return operation()
        except self._obstore.exceptions.BaseError as error:
            if is_billing_refusal(self._scheme, str(error)):  # something else is wrong with the request
                billing.stop_sending_project(self._bucket)
            raise

    @contextlib.contextmanager
    def _map_errors(self, name: str, *, is_writing: bool = False) -> Iterator[None]:
        exceptions = self._obstore.exceptions
        url = self._show(name)
        try:
            yield
        except ResolverError:
            raise
        except ValueError as error:
            raise FetchError(f"{url} is not a valid object name: {show(error)}", fix=NAME_FIX) from error
        except FileNotFoundError as error:
            raise NotFoundError(f"{url} does not exist", fix=NOT_FOUND_FIX) from error
        except exceptions.PreconditionError as error:
            raise IntegrityError(f"{url} changed while it was read", fix="Try again.") from error
        except exceptions.BaseError as error:
            raise translate_error(self._scheme, url, error, "written" if is_writing else "read") from error


def _is_placeholder(name: str, folders: Collection[str]) -> bool:
    """Whether an empty object stands for a directory: it has that directory's name, or ends as those of Hadoop's clients."""
    return name in folders or name.endswith(_HADOOP_FOLDER)


def _call_interruptibly(call: Callable[[], _Result]) -> _Result:
    """Call in another thread where the call would block Ctrl-C or a cancellation, since obstore ignores both."""
    if threading.current_thread() is not threading.main_thread() and get_current_token() is NEVER:
        return call()
    with DaemonThreadPool(1) as pool:
        return pool.submit(call).result()
