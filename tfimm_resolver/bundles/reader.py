"""Imports an untrusted bundle into the cache: all of its models, verified, or none."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import repr_fields, show
from tfimm_resolver.archives import tar_reader
from tfimm_resolver.archives.budget import Budget, Limits
from tfimm_resolver.archives.extractor import ArchiveInput, Extractor
from tfimm_resolver.archives.member_policy import join_safely
from tfimm_resolver.bundles import bundled_record
from tfimm_resolver.bundles.checks import BundleChecks
from tfimm_resolver.bundles.stream import BundleStream, find_path
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record
from tfimm_resolver.errors import ArchiveError, CacheError, HandleError, IntegrityError, SignatureError, UnknownHandleError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.errors.os_errors import map_os_errors, map_resource_errors
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import FetchResult, SignedBy
from tfimm_resolver.resolution import signatures

_COMPARE = "Nothing was imported. Export it again, and compare its sha256 on both machines with the one that"
_FIX = Advice(python=f"{_COMPARE} bundles.export() returns.", command=f"{_COMPARE} export prints.")
_ARCHIVE = "an archive of one model needs no import: resolve the archive itself."
_NOT_A_BUNDLE = Advice(
    python=f"Nothing was imported. A bundle is a file that bundles.export() wrote; {_ARCHIVE}",
    command=f"Nothing was imported. A bundle is a file that `tfimm-resolver export` wrote; {_ARCHIVE}",
)


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """A model of a bundle, and what the import did with it.

    Attributes:
        record: the model's record in the bundle.
        path: the path of the model in the cache.
        state: ``imported``; ``cached`` if the cache had these files already; ``kept`` if the cached copy was fetched later
            than the bundle's, and was left as it is.

    Example:
        >>> from tfimm_resolver import bundles
        >>> _ = bundles.export(["https://models.example/half_plus_two/1.tar.gz"], "models.tar")
        >>> [model] = bundles.import_("models.tar")
        >>> model.state, model.path
        ('cached', '/.../...')
    """

    record: Record
    path: str
    state: str

    __repr__ = repr_fields

    def facts(self) -> dict[str, Any]:
        """Return the fields of ``import --json``."""
        return {
            "handle": self.record.handle,
            "path": self.path,
            "state": self.state,
            "size_bytes": self.record.size_bytes,
            "fetched_at": self.record.fetched_at,
            "archive_sha256": self.record.origin.sha256 or None,
        }


def import_(
    source: IO[bytes] | str | os.PathLike[str],
    *,
    refresh: bool = False,
    sha256: str | None = None,
    signature: str | os.PathLike[str] | None = None,
    signer: Mapping[str, Any] | None = None,
) -> list[ImportedModel]:
    """Import all models of a bundle into the cache; none of them if any part of the bundle is invalid.

    A cached copy that was fetched later than the bundle's is left as it is; an older one is replaced as by a refresh.

    Args:
        source: a path, or a stream, which is read once, to its end, and not closed.
        refresh: replace cached copies that were fetched later, too.
        sha256: the required hash of the bundle, 64 hexadecimal digits. Needed for models whose handle was shortened, or has
            a scheme that no source here handles, since the cache entry name cannot be derived from such a handle.
        signature: the path of a signature of the bundle, as ``sign`` writes it; it counts as much as ``sha256``.
        signer: whose signature that has to be, as in the models file: ``{"key": "team.pub"}``.

    Without ``sha256`` or ``signature``, what the bundle says of its models' archives is only a claim, and satisfies no pin.

    Returns:
        One ``ImportedModel`` for each model, in the order of the bundle.

    Raises:
        HandleError: if the file is not a bundle; UnknownHandleError if it does not exist.
        ArchiveError: if the bundle is truncated or damaged, or contains a path outside of its model's directory.
        IntegrityError: if a file does not match its record, a record is stored under another model's name, or the bundle
            does not match ``sha256``.
        SignatureError: if the signature of the bundle, or one that is required of a model in it, is missing or not valid.
        CacheError: if the bundle cannot be read, or the cache cannot be written.

    Example:
        >>> from tfimm_resolver import bundles
        >>> handle = "https://models.example/half_plus_two/1.tar.gz"
        >>> exported = bundles.export([handle], "models.tar")
        >>> with tfimm_resolver.using(dir="empty_cache"):  # as on another machine
        ...     [model] = bundles.import_("models.tar", sha256=exported.sha256)
        >>> model.state
        'imported'
    """
    path, checks = find_path(source, "read"), BundleChecks.parse(sha256, signature, signer)
    if path is None:
        return _read_stream(cast(IO[bytes], source), refresh, checks)
    with _open_bundle(path) as file:
        _check_kind(file, path)
        return _read_stream(file, refresh, checks)


read = import_
"""The name of ``import_`` before it was a library function of its own."""


def _open_bundle(path: str) -> IO[bytes]:
    if not os.path.exists(path):
        raise UnknownHandleError(f"there is no bundle at {show(path)}", fix=_NOT_A_BUNDLE)
    if os.path.isdir(path):
        raise HandleError(f"{show(path)} is not a bundle: it is a directory", fix=_NOT_A_BUNDLE)
    with map_os_errors(CacheError, f"the bundle {show(path)} cannot be read"):
        return open(path, "rb", buffering=0)


def _check_kind(file: IO[bytes], path: str) -> None:
    """Refuse a device: reading one may never end, and may change what it controls."""
    mode = os.fstat(file.fileno()).st_mode
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise HandleError(f"the bundle {show(path)} is a device, not a file or a pipe", fix="Nothing was imported.")


def _read_stream(source: IO[bytes], refresh: bool, checks: BundleChecks) -> list[ImportedModel]:
    name = str(getattr(source, "name", "") or "<stream>")
    sha256 = Handle.parse(name, sha256=checks.sha256).sha256
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(BundleStream.open_with_progress(source, name))
        transaction = ImportTransaction(tiers.open_cache(), stack, refresh, is_pinned=checks.is_pinned)
        try:
            with map_resource_errors(ArchiveError, "it cannot be read"):
                budget = Budget(Limits(*settings.unpack_limits()))
                transaction.stage(tar_reader.read_members(stream.iterate_chunks(), budget, end_blocks=2))
        except (ArchiveError, IntegrityError) as error:
            if not stream.is_bundle():
                detail = f": {error.text}" if stream.is_tar() else ""  # else that it is a damaged tar
                text = f"{show(name)} is not a bundle: {stream.describe_start()}{detail}"
                raise HandleError(text, fix=_NOT_A_BUNDLE) from error
            fix = _FIX if error.has_usual_fix and not isinstance(error, SignatureError) else error.advice
            raise type(error)(f"the bundle {show(name)}: {error.text}", fix=fix) from error
        stream.check(sha256)
        checks.check_signature(stream, name)
        return transaction.commit()


class ImportTransaction:
    """Stages the models of a bundle under their locks, and publishes them when all of it is verified."""

    def __init__(self, cache: Cache, stack: contextlib.ExitStack, refresh: bool, *, is_pinned: bool) -> None:
        """Prepare an import.

        Args:
            cache: the cache to import into.
            stack: holds the locks and the staged files until it is closed.
            refresh: replace cached copies that were fetched later, too.
            is_pinned: the caller has given the sha256 or a signature of the bundle, which is compared before ``commit``.
        """
        self._cache, self._stack, self._refresh, self._is_pinned = cache, stack, refresh, is_pinned
        self._staged: dict[str, tuple[Record, Path | None, str]] = {}
        self._signed_by: dict[str, SignedBy | None] = {}

    def stage(self, members: Iterator[tar_reader.Member]) -> None:
        """Read and verify all members, and stage the models that will be imported; raises as ``import_`` does."""
        last = ""
        for member in members:
            record = bundled_record.read_record(member)
            if record.tree <= last:  # sorted locks: two processes that import the same models cannot deadlock
                raise ArchiveError(
                    f"{show(member.name)} follows {last}{DESCRIPTOR_SUFFIX}, but records must be in ascending order"
                )
            last = record.tree
            bundled_record.check_entry_name(record, self._cache.find_named(last), is_pinned=self._is_pinned)
            self._staged[last] = record, *self._stage_model(record, members)
        if not last:
            raise ArchiveError("it contains no models")

    def commit(self) -> list[ImportedModel]:
        """Publish all staged models in the cache; returns one result per model of the bundle."""
        imported = []
        for name, (record, staged, state) in self._staged.items():
            if staged is not None:
                origin = record.origin if self._is_pinned else record.origin.make_unverified()
                result = FetchResult(origin, record.files, record.fetched_at, self._signed_by[name])
                cached = self._cache.publish(name, record.handle, staged, result)
            else:
                cached = self._cache.find_named(name) or record
            imported.append(ImportedModel(record, self._cache.path(cached), state))
        tiers.make_room(0)
        return imported

    def _stage_model(self, record: Record, members: Iterator[tar_reader.Member]) -> tuple[Path | None, str]:
        """Read and verify one model; returns the directory where it is staged, None if it is not imported, and its state."""
        staged, state = None, self._decide_state(record)
        if state == "imported":
            staged = self._stack.enter_context(self._cache.root.lock(record.tree, record.handle))
            assert staged is not None  # None only for a lock that was taken with a check whether it is still needed
            if (state := self._decide_state(record)) != "imported":  # another process imported it while we waited
                staged = None
        if staged is None:
            for index, member in enumerate(_expect_files(record, members)):
                digest = hashlib.sha256()
                for chunk in member.chunks:
                    digest.update(chunk)
                _check_file_hash(record, index, digest.hexdigest())
        else:
            tiers.make_room(record.size_bytes)
            _write_files(staged, record, members)
            result = FetchResult(record.origin, record.files)
            requirements = signatures.list_requirements_of(record)
            self._signed_by[record.tree] = signatures.verify_fetched(staged, result, requirements, record.handle).signed_by
        return staged, state

    def _decide_state(self, record: Record) -> str:
        cached = self._cache.find_named(record.tree)
        if cached is None or cached.files is None or self._refresh:
            return "imported"
        if cached.files == record.files and cached.origin.stated_sha256 == record.origin.stated_sha256:
            is_verified_now = self._is_pinned and record.origin.sha256 and not cached.origin.sha256
            return "imported" if is_verified_now else "cached"
        return "kept" if cached.fetched_at >= record.fetched_at else "imported"


def _expect_files(record: Record, members: Iterator[tar_reader.Member]) -> Iterator[tar_reader.Member]:
    """Yield the next members, which must be exactly the files that the record lists, in the same order."""
    for file in record.files or ():
        member = next(members, None)
        expected = join_safely(record.tree, file.path)
        if member is None or _describe_file(member) != (expected, file.size_bytes):
            found = "the end" if member is None else "{!r:.200} with {} bytes".format(*_describe_file(member))
            raise ArchiveError(f"expected {expected!r:.200} with {file.size_bytes} bytes, found {found}")
        yield member


def _describe_file(member: tar_reader.Member) -> tuple[str, int]:
    """Return the name and size of a member. Raises ArchiveError if it is not a file."""
    if member.is_directory or member.link:
        raise ArchiveError(f"{member.name!r:.200} is {member.link.kind if member.link else 'a directory'}, not a file")
    return member.name, member.size_bytes


def _check_file_hash(record: Record, index: int, sha256: str) -> None:
    file = (record.files or ())[index]
    if sha256 != file.sha256:
        raise IntegrityError(f"{show(file.path)} of {show(record.handle)} does not match its recorded sha256")


def _write_files(staged: Path, record: Record, members: Iterator[tar_reader.Member]) -> None:
    """Write the model's files into the directory where it is staged, and verify their hashes."""
    with Extractor(staged, ArchiveInput(io.BytesIO(), record.size_bytes), Limits(*settings.unpack_limits())) as extractor:
        extractor.check_size(record.size_bytes)
        for member in _expect_files(record, members):
            extractor.write_file(member.name.partition("/")[2], member.chunks, member.size_bytes)
        extractor.finish()
        by_path = {file.path: file.sha256 for file in extractor.files}
    for index, file in enumerate(record.files or ()):
        _check_file_hash(record, index, by_path.get(file.path, ""))
