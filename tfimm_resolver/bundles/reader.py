"""Reads a bundle that nobody vouches for into the cache: every model of it, verified, or none."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tfimm_resolver import settings
from tfimm_resolver.archives import tar_reader
from tfimm_resolver.archives.extractor import CHUNK_BYTES, ArchiveInput, Extractor, Limits
from tfimm_resolver.bundles.writer import expected_entry_name
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, ENTRY_DIR_PATTERN, Record
from tfimm_resolver.errors import ArchiveError, FetchError, HandleError, IntegrityError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.manifest import FetchResult
from tfimm_resolver.progress import reporters

_RECORD_BYTES_MAX = 256 << 20
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_FIX = "Nothing of it was imported: export it again, and compare the sha256 that export prints on both sides."


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model of a bundle, and what became of it.

    Attributes:
        state: ``imported``; ``same`` where these very files were here already; ``kept`` where those that are here were
            fetched later than the bundle's.
    """

    record: Record
    path: str
    state: str

    def facts(self) -> dict[str, Any]:
        """The words of ``--json``."""
        return {
            "handle": self.record.handle,
            "path": self.path,
            "state": self.state,
            "size_bytes": self.record.size_bytes,
            "fetched_at": self.record.fetched_at,
            "archive_sha256": self.record.origin.sha256 or None,
        }


def read(
    source: IO[bytes] | str | os.PathLike[str], *, refresh: bool = False, sha256: str | None = None
) -> list[ImportedModel]:
    """Take every model of a bundle into the cache; none of them if anything in it is not right.

    A whole model that is here stays, if it was fetched later than the bundle's; else the bundle's takes its place as after
    a refresh, without disturbing who reads the old one.

    Args:
        source: a path, or a stream, which is read once, to its end, and not closed.
        refresh: the bundle's take the place of later ones, too.
        sha256: what the bundle has to hash to, 64 hexadecimal digits; needed where a handle was shortened, or its scheme
            is served by nobody here, since such a handle cannot tell under which name its model is found.

    Raises:
        ArchiveError: if it is cut, damaged, no bundle, or holds a name that leaves its model's directory.
        IntegrityError: if a file is not as its record says, a record is another model's, or the bundle has another hash.
        FetchError: if it cannot be read.
        CacheError: if the cache cannot be written.
    """
    if isinstance(source, (str, os.PathLike)):
        try:
            file = open(source, "rb", buffering=0)  # noqa: SIM115  # closed below
        except OSError as error:
            raise FetchError(f"the bundle {os.fspath(source)} cannot be read: {error.strerror}") from error
        with file:
            return read(file, refresh=refresh, sha256=sha256)
    is_pinned = sha256 is not None  # by who imports it; its name may be of who made it
    name = str(getattr(source, "name", "") or "that was given")
    sha256 = Handle.parse(name, sha256=sha256).sha256
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(_Stream.shown(source, name))
        intake = ImportTransaction(inventory.cache(), stack, refresh, is_pinned=is_pinned)
        try:
            intake.take(tar_reader.members(stream.pieces()))
        except (ArchiveError, IntegrityError) as error:
            raise type(error)(f"the bundle {name}: {error.text}", fix=error.fix or _FIX) from error
        stream.check(sha256)
        return intake.published()


class ImportTransaction:
    """What a bundle holds on its way into the cache: staged under its models' locks, published when all of it is right."""

    def __init__(self, cache: Cache, stack: contextlib.ExitStack, refresh: bool, *, is_pinned: bool) -> None:
        """``stack`` holds the locks, and what is staged, until it is closed; ``is_pinned`` if its sha256 was said."""
        self._cache, self._stack, self._refresh, self._is_pinned = cache, stack, refresh, is_pinned
        self._staged: dict[str, tuple[Record, Path | None, str]] = {}

    def take(self, members: Iterator[tar_reader.Member]) -> None:
        """Read all, and keep what is not here yet; raises as ``read`` does."""
        last = ""
        for member in members:
            record = _record(member)
            if record.tree <= last:  # so two who import the same at a time do not wait for each other
                raise ArchiveError(f"{member.name} stands behind {last}{DESCRIPTOR_SUFFIX}, and not before it")
            last = record.tree
            _check_name(record, self._cache.find_named(last), is_pinned=self._is_pinned)
            self._staged[last] = record, *self._model(record, members)
        if not last:
            raise ArchiveError("it holds no models")

    def published(self) -> list[ImportedModel]:
        """Make all that was staged appear in the cache."""
        taken = []
        for name, (record, staged, state) in self._staged.items():
            here = record
            if staged is not None:
                brought = FetchResult(record.origin, record.files, record.fetched_at)
                here = self._cache.publish(name, record.handle, staged, brought)
            else:
                here = self._cache.find_named(name) or record
            taken.append(ImportedModel(record, self._cache.path(here), state))
        return taken

    def _model(self, record: Record, members: Iterator[tar_reader.Member]) -> tuple[Path | None, str]:
        """Where the model is staged, if it is wanted, and what becomes of it."""
        staged, state = None, self._state(record)
        if state == "imported":
            staged = self._stack.enter_context(self._cache.root.lock(record.tree, record.handle))
            assert staged is not None  # nobody said that the lock may be needless
            if (state := self._state(record)) != "imported":  # it came while we waited for the lock
                staged = None
        if staged is None:
            for index, member in enumerate(_files(record, members)):
                digest = hashlib.sha256()
                for piece in member.pieces:
                    digest.update(piece)
                _compare(record, index, digest.hexdigest())
        else:
            _fill(staged, record, members)
        return staged, state

    def _state(self, record: Record) -> str:
        here = self._cache.find_named(record.tree)
        if here is None or here.files is None:
            return "imported"
        if self._refresh:
            return "imported"
        if here.files == record.files and here.origin.sha256 == record.origin.sha256:
            return "same"
        return "kept" if here.fetched_at >= record.fetched_at else "imported"


class _Stream:
    """The bytes of a bundle, hashed as they pass."""

    def __init__(self, source: IO[bytes], name: str, meter: reporters.ProgressReporter) -> None:
        self._source, self._name, self._meter = source, name, meter
        self._digest = hashlib.sha256()

    @classmethod
    @contextlib.contextmanager
    def shown(cls, source: IO[bytes], name: str) -> Iterator[_Stream]:
        """With its progress shown."""
        size_bytes = None
        with contextlib.suppress(OSError, ValueError):  # no file; a pipe
            size_bytes = os.fstat(source.fileno()).st_size or None
        with reporters.report_progress(f"import of {os.path.basename(name)}", size_bytes, quiet=settings.is_quiet()) as meter:
            yield cls(source, name, meter)

    def pieces(self) -> Iterator[bytes]:
        """All of them."""
        while piece := self._piece():
            self._digest.update(piece)
            self._meter.advance(len(piece))
            yield piece

    def check(self, sha256: str | None) -> None:
        """Compare what has passed with what was asked for.

        Raises:
            IntegrityError: if it differs.
        """
        if sha256 is not None and self._digest.hexdigest() != sha256.lower():
            text = (
                f"the bundle {self._name} has another sha256:\n  came   {self._digest.hexdigest()}\n  pinned {sha256.lower()}"
            )
            raise IntegrityError(text, fix="Nothing of it was imported.")

    def _piece(self) -> bytes:
        read = getattr(self._source, "read1", self._source.read)  # of a pipe, what is there
        try:
            piece: bytes = read(CHUNK_BYTES)
        except OSError as error:
            raise FetchError(f"the bundle {self._name} cannot be read: {error.strerror}") from error
        return piece


def _record(member: tar_reader.Member) -> Record:
    """The record that a model begins with."""
    name = member.name.removesuffix(DESCRIPTOR_SUFFIX)
    found = ENTRY_DIR_PATTERN.fullmatch(name)
    if member.is_directory or name == member.name or found is None or found[2]:
        raise ArchiveError(f"{member.name!r:.200} stands where the record of a model should")
    if member.size_bytes > _RECORD_BYTES_MAX:
        raise ArchiveError(f"{member.name} has {member.size_bytes} bytes, which no record has")
    record = Record.parse(b"".join(member.pieces).decode("utf-8", "replace"), name)
    if record.files is None or record.tree != name or not _TIME.fullmatch(record.fetched_at):
        raise ArchiveError(f"{member.name} is no record that this version can read")
    return record


def _check_name(record: Record, here: Record | None, *, is_pinned: bool) -> None:
    """Compare the name under which a model is found with the handle that people are shown.

    Where that handle does not give the name, it is believed of a bundle whose sha256 was said, to be compared before
    anything appears, and only if what is here under that name has the same handle.

    Raises:
        IntegrityError: if it is another handle's: who imports a harmless model must not get another one replaced.
    """
    text = f"the record of {record.handle!r:.200} is filed as {record.tree}, which "
    try:
        name = expected_entry_name(record)
        if name is None and is_pinned and (here is None or Handle.parse(here.handle).public == record.handle):
            return
    except HandleError as error:
        raise IntegrityError(f"{text}is another model's name, or nobody's: {error.text}") from error
    if name is None and not is_pinned:
        fix = "Nothing of it was imported. If you trust who made it: import it with the --sha256 that export printed."
        raise IntegrityError(f"{text}that handle does not tell: it may be another model's name", fix=fix)
    if name != record.tree:
        raise IntegrityError(f"{text}is another model's name")


def _files(record: Record, members: Iterator[tar_reader.Member]) -> Iterator[tar_reader.Member]:
    """Exactly the members that the record promises, in its order."""
    for file in record.files or ():
        member = next(members, None)
        wanted = f"{record.tree}/{file.path}"
        if member is None or (member.name, member.size_bytes, member.is_directory) != (wanted, file.size_bytes, False):
            found = "its end" if member is None else f"{member.name!r:.200} with {member.size_bytes} bytes"
            raise ArchiveError(f"{found} stands where {wanted!r:.200} with {file.size_bytes} bytes should")
        yield member


def _compare(record: Record, index: int, sha256: str) -> None:
    file = (record.files or ())[index]
    if sha256 != file.sha256:
        raise IntegrityError(f"{file.path} of {record.handle} has other bytes than were fetched")


def _fill(staged: Path, record: Record, members: Iterator[tar_reader.Member]) -> None:
    """Write the model's files where they are staged."""
    with Extractor(staged, ArchiveInput(io.BytesIO(), record.size_bytes), Limits(*settings.unpack_limits())) as target:
        target.expect(record.size_bytes)
        for member in _files(record, members):
            target.file(member.name.partition("/")[2], member.pieces, member.size_bytes)
        target.finish()
        by_path = {file.path: file.sha256 for file in target.files}
    for index, file in enumerate(record.files or ()):
        _compare(record, index, by_path.get(file.path, ""))
