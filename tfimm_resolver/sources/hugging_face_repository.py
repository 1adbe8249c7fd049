"""Repositories on Hugging Face, by huggingface_hub: looks up commits, lists, downloads and verifies files."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import io
import logging
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.cancellation import CancellationToken, get_current_token
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.thread_pool import DaemonThreadPool
from tfimm_resolver.archives import Extractor, Limits, MemberNamePolicy
from tfimm_resolver.archives.extractor import ArchiveInput
from tfimm_resolver.errors import ArchiveError, FetchError, IntegrityError, NotFoundError
from tfimm_resolver.handles.git import COMMIT
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.http.retry import retry
from tfimm_resolver.manifest import FileEntry, Origin
from tfimm_resolver.progress import reporters
from tfimm_resolver.settings import ownership
from tfimm_resolver.sources import hugging_face_errors

_QUERY = re.compile(r"\?[^\s'\"]+")
_LOGGERS = (
    "huggingface_hub.file_download",
    "huggingface_hub.utils._http",
    *(f"httpx{version}" for version in ("", "2")),
    *(f"httpcore{version}.{part}" for version in ("", "2") for part in ("connection", "http11", "http2", "proxy")),
)
_READ_BYTES = 1 << 20
_PAGE_SIZE = 1000
_JOIN_TIMEOUT_S = 2.0

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class RepoFile:
    """A file as the repository lists it.

    Attributes:
        parts: the components of its path in the repository, as ``safe_parts`` returned them.
        parts_below: those of them below the requested folder.
        digest: a sha256 of 64 digits, or git's sha1 of a small file.
    """

    parts: tuple[str, ...]
    parts_below: tuple[str, ...]
    size_bytes: int
    digest: str

    @property
    def text(self) -> str:
        """The path in the repository, for requests and messages."""
        return "/".join(self.parts)

    def path_in(self, folder: Path) -> Path:
        """Return where it is stored in a directory that mirrors the repository."""
        return folder.joinpath(*self.parts)


class Repository:
    """Reads one repository at one revision, below one folder.

    Raises:
        OfflineError: if a variable says to stay offline.
        FetchError: if huggingface_hub is not installed; from every method, if a request fails: NotFoundError, AccessError,
            OfflineError and TransferTimeoutError tell the reason.
    """

    def __init__(self, model: HuggingFaceModel) -> None:
        self._model = model
        self._library = hugging_face_errors.import_huggingface_hub(model.key)
        # Read at each call, while huggingface_hub reads it once.
        self._endpoint = (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None
        self._hub = self._library.HfApi(endpoint=self._endpoint, library_name="tfimm_resolver")

    @property
    def origin(self) -> Origin:
        """Where the files come from."""
        folder = f"/{self._model.folder}" if self._model.folder else ""
        return Origin(f"{self._hub.endpoint}/{self._model.repository}/tree/{self._model.revision}{folder}")

    def look_up_commit(self) -> str:
        """Return the commit that the revision refers to."""
        timeout_s = settings.timeouts_s()[1]

        def request_commit() -> Any:
            return self._hub.model_info(self._model.repository, revision=self._model.revision or None, timeout=timeout_s).sha

        commit = retry(lambda: self._call_with_timeout(request_commit))
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise FetchError(
                f"{self._model.key}: {self._hub.endpoint} did not return the commit of the revision",
                fix=hugging_face_errors.ENDPOINT_FIX,
            )
        return commit

    def download(self, into: Path, parts: Path | None, reserve: Callable[[int], object]) -> tuple[FileEntry, ...]:
        """Download every file below the folder into the empty directory ``into``; return the files with their hashes.

        If a download fails, the complete files stay in ``parts`` for the next call. ``reserve`` is as ``Fetcher.reserve``.

        Raises:
            ArchiveError: if a file name is not allowed, or there are too many files or bytes.
            IntegrityError: if a file does not have the hash that the repository lists.
            CacheError: if a file cannot be written.
        """
        files = self._list_files()
        total_bytes = sum(file.size_bytes for file in files)
        with Extractor(into, ArchiveInput(io.BytesIO(), total_bytes), Limits(*settings.unpack_limits())) as target:
            target.check_size(total_bytes)
        # Where others may write, a file could be replaced between its verification and its move.
        is_private = parts is not None and ownership.is_private_or_missing(str(parts), 0o700)
        parts_dir = parts if parts is not None and is_private else into / uuid.uuid4().hex
        resumed_bytes = sum(file.size_bytes for file in files if _get_size_bytes(file.path_in(parts_dir)) == file.size_bytes)
        reserve(total_bytes - resumed_bytes)
        try:
            with reporters.report_progress(self._model.key, total_bytes, resumed_bytes, quiet=settings.is_quiet()) as meter:
                written = self._download_all(files, parts_dir, meter)
        except BaseException:
            if all(_get_size_bytes(file.path_in(parts_dir)) is None for file in files):  # nothing to resume
                fs.remove_tree(str(parts_dir), ignore_errors=True)
            raise
        with hugging_face_errors.map_hf_errors(self._model):
            for file in files:
                path = into.joinpath(*file.parts_below)
                path.parent.mkdir(parents=True, exist_ok=True)
                os.rename(file.path_in(parts_dir), path)
            fs.remove_tree(str(parts_dir), ignore_errors=True)
        return tuple(sorted(written, key=lambda entry: entry.path))

    def _list_files(self) -> list[RepoFile]:
        self.look_up_commit()  # fails at once if the hub cannot be reached; the list would be retried for half a minute
        model = self._model
        tree = self._hub.list_repo_tree(model.repository, model.folder or None, revision=model.revision, recursive=True)
        folder = tuple(model.folder.split("/")) if model.folder else ()
        names, files, members_max = MemberNamePolicy(), list[RepoFile](), settings.unpack_limits()[0]
        while page := self._call_with_timeout(lambda: list(islice(tree, _PAGE_SIZE))):
            for entry in page:
                if not hasattr(entry, "blob_id"):  # it is a folder
                    continue
                try:
                    parts = names.validate_listed_file(entry.path)
                except ArchiveError as error:
                    raise ArchiveError(f"{model.key}: {error.text}", fix=error.advice) from error
                file = RepoFile(parts, parts[len(folder) :], entry.size, _get_digest(entry))
                if parts[: len(folder)] != folder or not file.parts_below or len(files) == members_max:
                    raise FetchError(
                        f"{model.key}: the list of its files is too long, or contains files outside the folder",
                        fix="If it has that many files, set TFIMM_RESOLVER_MAX_MEMBERS higher.",
                    )
                files.append(file)
        if not files:
            raise NotFoundError(f"{model.key}: no files found", fix="Check the spelling of the folder.")
        return files

    def _download_all(self, files: list[RepoFile], parts_dir: Path, meter: reporters.ProgressReporter) -> list[FileEntry]:
        bridge = _ProgressBridge(meter)
        with _redact_signed_urls_in_logs(), DaemonThreadPool(settings.connections()) as pool:
            downloads = [pool.submit(self._download_file, file, parts_dir, bridge) for file in files]
            try:
                return [download.result() for download in downloads]
            finally:
                bridge.token.cancel()
                pool.close()
                running = [download for download in downloads if not download.done()][: settings.connections()]
                concurrent.futures.wait(running, _JOIN_TIMEOUT_S)

    def _download_file(self, file: RepoFile, parts_dir: Path, bridge: _ProgressBridge) -> FileEntry:
        """Download one file, unless an earlier call left it complete."""
        path = file.path_in(parts_dir)
        with hugging_face_errors.map_hf_errors(self._model):
            if (entry := _verify_file(path, file)) is not None:
                return entry
            path.unlink(missing_ok=True)
            self._library.hf_hub_download(
                self._model.repository,
                file.text,
                revision=self._model.revision,
                local_dir=parts_dir,
                endpoint=self._endpoint,
                etag_timeout=settings.timeouts_s()[1],
                library_name="tfimm_resolver",
                tqdm_class=bridge.tqdm_class(),
            )
            if (entry := _verify_file(path, file)) is None:
                received = f"{_get_size_bytes(path)} bytes, {_hash_file(path, file)[1]}"
                path.unlink()
                raise IntegrityError(
                    f"{self._model.key}: {file.text} is not what the repository lists:\n"
                    f"  received  {received}\n  listed    {file.size_bytes} bytes, {show(file.digest)}",
                    fix="Try again; the file was discarded.",
                )
            return entry

    def _call_with_timeout(self, call: Callable[[], _Result]) -> _Result:
        """Call a function of huggingface_hub in another thread: some of its requests never time out, and block Ctrl-C."""
        with hugging_face_errors.map_hf_errors(self._model), DaemonThreadPool(1) as pool:
            return pool.submit(call).result(sum(settings.timeouts_s()))


class _ProgressBridge:
    """Reports the progress of all download threads to one reporter, and stops the threads once ``token`` is cancelled."""

    def __init__(self, meter: reporters.ProgressReporter) -> None:
        self._meter, self._lock = meter, threading.Lock()
        self.token = CancellationToken(get_current_token())

    def advance(self, size_bytes: float) -> None:
        with self._lock:
            self._meter.advance(int(size_bytes))

    def tqdm_class(self) -> type:
        """Return a class that huggingface_hub uses in place of tqdm's."""
        bridge = self

        class Bar:
            def __init__(self, *_: object, **__: object) -> None:
                self.total = self.n = 0

            def __enter__(self) -> Bar:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def update(self, size_bytes: float | None = 1) -> None:
                bridge.token.raise_if_cancelled()  # huggingface_hub calls nothing else during a download
                bridge.advance(size_bytes or 0)

            def update_transfer(self, size_bytes: float | None = 1) -> None:
                """Ignore network bytes: because of this method Xet uses one bar, and reports written bytes to ``update``."""

            def __getattr__(self, name: str) -> Callable[..., None]:
                return lambda *_, **__: None

        return Bar


@contextlib.contextmanager
def _redact_signed_urls_in_logs() -> Iterator[None]:
    """Remove signatures from log records: huggingface_hub logs the URL of a broken download, its HTTP library every URL."""
    logs = [logging.getLogger(name) for name in _LOGGERS]

    def redact(record: logging.LogRecord) -> bool:
        record.msg, record.args = _QUERY.sub("?…", record.getMessage()), ()
        return True

    for log in logs:
        log.addFilter(redact)
    try:
        yield
    finally:
        for log in logs:
            log.removeFilter(redact)


def _get_digest(entry: Any) -> str:
    return str(entry.lfs.sha256 if entry.lfs else entry.blob_id)


def _get_size_bytes(path: Path) -> int | None:
    """Return the size of a regular file; None if there is none."""
    return path.stat().st_size if path.is_file() and not path.is_symlink() else None


def _verify_file(path: Path, file: RepoFile) -> FileEntry | None:
    """Return the manifest entry of a local file if it has the listed size and hash; else None."""
    size_bytes = _get_size_bytes(path)
    if size_bytes != file.size_bytes:
        return None
    sha256, digest = _hash_file(path, file)
    return FileEntry("/".join(file.parts_below), size_bytes, sha256) if digest == file.digest else None


def _hash_file(path: Path, file: RepoFile) -> tuple[str, str]:
    """Return a local file's sha256, and its hash of the kind that the repository lists: sha256, or git's of a blob."""
    sha256 = hashlib.sha256()
    sha1 = hashlib.sha1(f"blob {file.size_bytes}\0".encode(), usedforsecurity=False)
    is_large = len(file.digest) == 2 * sha256.digest_size
    with open(path, "rb", buffering=0, opener=fs.open_regular) as stream:
        while chunk := stream.read(_READ_BYTES):
            sha256.update(chunk)
            if not is_large:
                sha1.update(chunk)
    return sha256.hexdigest(), sha256.hexdigest() if is_large else sha1.hexdigest()
