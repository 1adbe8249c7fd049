"""Repositories on Hugging Face, by huggingface_hub: which commit, which files, their bytes, compared with their hashes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import io
import logging
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from tfimm_resolver import settings
from tfimm_resolver._util.threads import DaemonThreadPool
from tfimm_resolver.archives.extractor import ArchiveInput, Extractor, Limits
from tfimm_resolver.archives.member_policy import MemberNamePolicy
from tfimm_resolver.errors import ArchiveError, FetchError, IntegrityError, NotFoundError
from tfimm_resolver.handles.git import COMMIT
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.http.retry import retry
from tfimm_resolver.manifest import FileEntry, Origin
from tfimm_resolver.progress import reporters
from tfimm_resolver.settings import ownership
from tfimm_resolver.sources import hugging_face_errors

_QUERY = re.compile(r"\?[^\s'\"]+")
_LOGS = (
    "huggingface_hub.file_download",
    "huggingface_hub.utils._http",
    *(f"httpx{version}" for version in ("", "2")),
    *(f"httpcore{version}.{part}" for version in ("", "2") for part in ("connection", "http11", "http2", "proxy")),
)
_READ_BYTES = 1 << 20
_AT_A_TIME = 1000
_FAREWELL_S = 2.0

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class RepoFile:
    """A file as the repository lists it.

    Attributes:
        path: in the repository.
        name: below the folder that is asked for.
        digest: a sha256 of 64 digits, or git's sha1 of a small file.
    """

    path: str
    name: str
    size_bytes: int
    digest: str


class Repository:
    """What is asked of one repository, at one revision, below one folder.

    Raises:
        OfflineError: if no socket may be opened.
        FetchError: if huggingface_hub is not installed; from every method, if the answer is not what is hoped for:
            NotFoundError, AccessError, OfflineError and TransferTimeoutError say why.
    """

    def __init__(self, model: HuggingFaceModel) -> None:
        self._model = model
        self._library = hugging_face_errors.import_huggingface_hub(model.key)
        self._endpoint = (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None  # at each call, unlike huggingface_hub
        self._hub = self._library.HfApi(endpoint=self._endpoint, library_name="tfimm_resolver")

    @property
    def origin(self) -> Origin:
        """Where the files come from."""
        folder = f"/{self._model.folder}" if self._model.folder else ""
        return Origin(f"{self._hub.endpoint}/{self._model.repository}/tree/{self._model.revision}{folder}")

    def commit(self) -> str:
        """The commit that the revision is at."""
        timeout_s = settings.timeouts_s()[1]

        def ask() -> Any:
            return self._hub.model_info(self._model.repository, revision=self._model.revision or None, timeout=timeout_s).sha

        commit = retry(lambda: self._asked(ask))
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            raise FetchError(
                f"{self._model.key}: {self._hub.endpoint} does not say at which commit it is",
                fix=hugging_face_errors.ENDPOINT_FIX,
            )
        return commit

    def bring(self, into: Path, parts: Path | None) -> tuple[FileEntry, ...]:
        """Bring every file below the folder into the empty directory ``into``; gives them with their hashes.

        What came stays in ``parts`` if not all comes, and need not come again.

        Raises:
            ArchiveError: if a name may not be written, or they are too many or too large.
            IntegrityError: if one has another hash than the repository says.
            CacheError: if they cannot be written.
        """
        wanted = self._listed()
        total_bytes = sum(listed.size_bytes for listed in wanted)
        with Extractor(into, ArchiveInput(io.BytesIO(), total_bytes), Limits(*settings.unpack_limits())) as target:
            target.expect(total_bytes)
        # A directory that others may write in is no place for what is compared first and moved afterwards.
        is_private = parts is not None and ownership.is_private_or_missing(str(parts), 0o700)
        here = parts if parts is not None and is_private else into / uuid.uuid4().hex
        kept_bytes = sum(listed.size_bytes for listed in wanted if _size_bytes(here / listed.path) == listed.size_bytes)
        try:
            with reporters.report_progress(self._model.key, total_bytes, kept_bytes, quiet=settings.is_quiet()) as meter:
                files = self._brought(wanted, here, meter)
        except BaseException:
            if all(_size_bytes(here / listed.path) is None for listed in wanted):  # nothing to go on with
                shutil.rmtree(here, ignore_errors=True)
            raise
        with hugging_face_errors.map_hf_errors(self._model):
            for listed in wanted:
                place = into / listed.name
                place.parent.mkdir(parents=True, exist_ok=True)
                os.rename(here / listed.path, place)
            shutil.rmtree(here)
        return tuple(sorted(files, key=lambda file: file.path))

    def _listed(self) -> list[RepoFile]:
        self.commit()  # at once; for the list huggingface_hub would try half a minute to reach somebody
        model = self._model
        tree = self._hub.list_repo_tree(model.repository, model.folder or None, revision=model.revision, recursive=True)
        prefix = f"{model.folder}/" if model.folder else ""
        names, wanted, members_max = MemberNamePolicy(), list[RepoFile](), settings.unpack_limits()[0]
        while some := self._asked(lambda: list(islice(tree, _AT_A_TIME))):
            for entry in some:
                if not hasattr(entry, "blob_id"):  # a folder
                    continue
                try:
                    path = names.listed_file(entry.path)
                except ArchiveError as error:
                    raise ArchiveError(f"{model.key}: {error.text}", fix=error.fix) from error
                listed = RepoFile(path, path.removeprefix(prefix), entry.size, _digest(entry))
                if not path.startswith(prefix) or len(wanted) == members_max:
                    raise FetchError(
                        f"{model.key}: the list of its files does not end, or holds files that lie elsewhere",
                        fix="If it has so many, set TFIMM_RESOLVER_MAX_MEMBERS.",
                    )
                wanted.append(listed)
        if not wanted:
            raise NotFoundError(f"{model.key}: there are no files", fix="Check the spelling of the folder.")
        return wanted

    def _brought(self, wanted: list[RepoFile], here: Path, meter: reporters.ProgressReporter) -> list[FileEntry]:
        told = _ProgressBridge(meter)
        with _redact_signed_urls_in_logs(), DaemonThreadPool(settings.connections()) as crew:
            coming = [crew.submit(self._one, listed, here, told) for listed in wanted]
            try:
                return [one.result() for one in coming]
            finally:
                told.is_over.set()
                crew.close()
                under_way = [one for one in coming if not one.done()][: settings.connections()]
                concurrent.futures.wait(under_way, _FAREWELL_S)

    def _one(self, listed: RepoFile, here: Path, told: _ProgressBridge) -> FileEntry:
        """One file, brought if it did not come earlier."""
        path = here / listed.path
        with hugging_face_errors.map_hf_errors(self._model):
            if (file := _verified_file(path, listed)) is not None:
                return file
            path.unlink(missing_ok=True)
            self._library.hf_hub_download(
                self._model.repository,
                listed.path,
                revision=self._model.revision,
                local_dir=here,
                endpoint=self._endpoint,
                etag_timeout=settings.timeouts_s()[1],
                library_name="tfimm_resolver",
                tqdm_class=told.bar(),
            )
            if (file := _verified_file(path, listed)) is None:
                came = f"{_size_bytes(path)} bytes, {_hashes(path, listed)[1]}"
                path.unlink()
                raise IntegrityError(
                    f"{self._model.key}: {listed.path} is not what the repository lists:\n"
                    f"  came    {came}\n  listed  {listed.size_bytes} bytes, {listed.digest}",
                    fix="Try again; nothing of it was kept.",
                )
            return file

    def _asked(self, ask: Callable[[], _Result]) -> _Result:
        """What huggingface_hub answers; some of its requests wait for ever, and hold up Ctrl-C."""
        with hugging_face_errors.map_hf_errors(self._model), DaemonThreadPool(1) as crew:
            return crew.submit(ask).result(sum(settings.timeouts_s()))


class _ProgressBridge:
    """Tells one meter of all files, from the threads that bring them, and ends them when it is over."""

    def __init__(self, meter: reporters.ProgressReporter) -> None:
        self._meter, self._lock = meter, threading.Lock()
        self.is_over = threading.Event()

    def advance(self, size_bytes: float) -> None:
        if self.is_over.is_set():
            raise FetchError("stopped")
        with self._lock:
            self._meter.advance(int(size_bytes))

    def bar(self) -> type:
        """What huggingface_hub takes for tqdm's class."""
        told = self

        class Bar:
            def __init__(self, *_: object, **__: object) -> None:
                self.total = self.n = 0

            def __enter__(self) -> Bar:
                return self

            def __exit__(self, *_: object) -> None:
                pass

            def update(self, size_bytes: float | None = 1) -> None:
                told.advance(size_bytes or 0)

            def update_transfer(self, size_bytes: float | None = 1) -> None:
                """Tells Xet that one bar is for all: what comes over the network is told beside what is written."""

            def __getattr__(self, name: str) -> Callable[..., None]:
                return lambda *_, **__: None

        return Bar


@contextlib.contextmanager
def _redact_signed_urls_in_logs() -> Iterator[None]:
    """huggingface_hub logs the signed address of a file that breaks off, its HTTP libraries that of every one."""
    logs = [logging.getLogger(name) for name in _LOGS]

    def unsigned(record: logging.LogRecord) -> bool:
        record.msg, record.args = _QUERY.sub("?…", record.getMessage()), ()
        return True

    for log in logs:
        log.addFilter(unsigned)
    try:
        yield
    finally:
        for log in logs:
            log.removeFilter(unsigned)


def _digest(entry: Any) -> str:
    return str(entry.lfs.sha256 if entry.lfs else entry.blob_id)


def _size_bytes(path: Path) -> int | None:
    """Of a file; None where there is none, or something else."""
    return path.stat().st_size if path.is_file() and not path.is_symlink() else None


def _verified_file(path: Path, listed: RepoFile) -> FileEntry | None:
    """The file, if it is the one that is listed."""
    size_bytes = _size_bytes(path)
    if size_bytes != listed.size_bytes:
        return None
    sha256, listed_hash = _hashes(path, listed)
    return FileEntry(listed.name, size_bytes, sha256) if listed_hash == listed.digest else None


def _hashes(path: Path, listed: RepoFile) -> tuple[str, str]:
    """The sha256 of a file, and the hash by which the repository knows it, which may be git's of a blob."""
    sha256 = hashlib.sha256()
    sha1 = hashlib.sha1(f"blob {listed.size_bytes}\0".encode(), usedforsecurity=False)
    is_large = len(listed.digest) == 2 * sha256.digest_size
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_READ_BYTES):
            sha256.update(piece)
            if not is_large:
                sha1.update(piece)
    return sha256.hexdigest(), sha256.hexdigest() if is_large else sha1.hexdigest()
