"""Writes models into one file, to be carried to where no network is, and verifies every byte on the way.

A bundle is a plain tar of a cache: for each model, in the order of their names there, its record and then its files.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO

from tfimm_resolver import settings
from tfimm_resolver.archives.extractor import CHUNK_BYTES
from tfimm_resolver.archives.tar_reader import BLOCK_BYTES
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record
from tfimm_resolver.errors import CacheError, HandleError, IntegrityError, ResolverError, UnknownHandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.maintenance.inventory import CachedModel
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.progress import reporters
from tfimm_resolver.resolution import resolver, rules
from tfimm_resolver.resolution.rules import ResolvedPlan
from tfimm_resolver.sources.plan import Fetch, InPlace, MutableRef, RemoteLocation

log = logging.getLogger("tfimm_resolver")

DOWNLOADER = "bundle"


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What a bundle came to be; ``sha256`` tells it from every other one."""

    models: tuple[CachedModel, ...]
    size_bytes: int
    sha256: str


def write(handles: Sequence[str], into: IO[bytes] | str | os.PathLike[str]) -> ExportResult:
    """Put models into a bundle, fetching what is not cached; the same copies make the same bytes.

    Args:
        handles: as ``resolve`` takes them, or names and sha1s as the command line shows them.
        into: a path, where a whole bundle appears or nothing; or a buffered stream, which is not closed.

    Raises:
        UnknownHandleError: if one of them is not known, or lies elsewhere than in the cache.
        IntegrityError: if one is damaged, or nobody recorded what it should be.
        CacheError: if one cannot be read, or the bundle cannot be written.
    """
    models = _select_models(handles)
    if not isinstance(into, (str, os.PathLike)):
        return _write_models(models, into)
    half = f"{os.fspath(into)}.{os.urandom(4).hex()}.half"
    try:
        with open(half, "xb") as file:
            written = _write_models(models, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, into)
    except OSError as error:
        if isinstance(error, ResolverError):
            raise
        raise CacheError(
            f"cannot write {os.fspath(into)}: {error.strerror}", fix="Name another place for the bundle."
        ) from error
    finally:
        with contextlib.suppress(OSError):  # it has its name, or never was
            os.unlink(half)
    return written


def expected_entry_name(record: Record) -> str | None:
    """The name in a cache that the handle of a record gives; None where it cannot be told.

    That is where the handle was shortened, since what its query was is in no record, and where nobody serves its scheme.

    Raises:
        HandleError: if no one model has that handle.
    """
    handle = Handle.parse(record.handle)
    if not handle.scheme:
        return entry_name_for_key(f"sha256:{record.origin.sha256}")
    if handle.query or (plan := rules.source_plan(handle)) is None:
        return None
    if isinstance(plan, MutableRef):
        raise HandleError(f"{handle} is of another model from time to time")
    plan = plan.otherwise if isinstance(plan, RemoteLocation) else plan
    return entry_name_for_key(plan.key if isinstance(plan, Fetch) else handle.key)


def _write_models(models: Sequence[CachedModel], out: IO[bytes]) -> ExportResult:
    digest, size_bytes = hashlib.sha256(), 0

    def put(data: bytes | memoryview) -> None:
        nonlocal size_bytes
        out.write(data)
        digest.update(data)
        size_bytes += len(data)

    total_bytes = sum(model.size_bytes for model in models)
    label = f"export of {len(models)} model{'' if len(models) == 1 else 's'}"
    with reporters.report_progress(label, total_bytes, quiet=settings.is_quiet()) as meter:
        for model in models:
            _put_model(model, put, meter)
    put(bytes(2 * BLOCK_BYTES))
    return ExportResult(tuple(models), size_bytes, digest.hexdigest())


def _put_model(model: CachedModel, put: Callable[[bytes | memoryview], None], meter: reporters.ProgressReporter) -> None:
    assert model.entry is not None
    name, record = model.entry.name, model.entry.record
    text = replace(record, tree=name).to_text(DOWNLOADER).encode("utf-8", "backslashreplace")
    put(_header(name + DESCRIPTOR_SUFFIX, len(text)) + text + bytes(-len(text) % BLOCK_BYTES))
    for file in record.files or ():
        put(_header(f"{name}/{file.path}", file.size_bytes))
        for piece in _read_chunks(model, file):
            put(piece)
            meter.advance(len(piece))
        put(bytes(-file.size_bytes % BLOCK_BYTES))


def _header(name: str, size_bytes: int) -> bytes:
    """A member without owner, time or mode of its own."""
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _read_chunks(model: CachedModel, file: FileEntry) -> Iterator[memoryview]:
    """The bytes of a file, all that the record promises and no others.

    Raises:
        IntegrityError: if they are others, at the latest when the last one has been given.
    """
    digest, left_bytes, buffer = hashlib.sha256(), file.size_bytes, memoryview(bytearray(CHUNK_BYTES))
    try:
        with open(f"{model.path}/{file.path}", "rb", buffering=0) as source:
            while count := source.readinto(buffer[: left_bytes or 1]):
                if not left_bytes:
                    break
                digest.update(buffer[:count])
                left_bytes -= count
                yield buffer[:count]
    except OSError as error:
        raise CacheError(f"{model.path}/{file.path} cannot be read: {error.strerror}", fix=_repair_hint(model)) from error
    if count or left_bytes or digest.hexdigest() != file.sha256:
        raise IntegrityError(
            f"{model.name} is damaged: {file.path} has other bytes than were fetched", fix=_repair_hint(model)
        )


def _select_models(handles: Sequence[str]) -> list[CachedModel]:
    """The models, each once, in the order of their names in a cache."""
    models = [_model(handle) for handle in handles]
    by_name = {model.entry.name: model for model in models if model.entry}
    for model in by_name.values():
        _check_name(model)
    return [by_name[name] for name in sorted(by_name)]


def _model(text: str) -> CachedModel:
    """The copy that ``resolve`` gives, brought first where none is here: whole, recorded, on this machine's disk."""
    listed = _list_matching(Handle.parse(text).text)
    answer = _answer(text, listed)
    if answer is None:
        model = _preferred_copy(listed, Handle.parse(text).sha256)
    else:
        path = _path(answer, listed)
        found = [model for model in inventory.list_models() if model.path == path]
        if not found:
            raise UnknownHandleError(f"{text} lies at {path}, and not in the cache", fix="Copy that directory as it is.")
        model = found[0]
    if model.entry is None or model.state != "whole" or settings.is_bucket(model.path):
        raise _export_error(model)
    return model


def _list_matching(text: str) -> list[CachedModel]:
    with contextlib.suppress(UnknownHandleError):
        return inventory.select([text])
    return []


def _answer(text: str, listed: Sequence[CachedModel]) -> ResolvedPlan | None:
    """What ``resolve`` goes by; None for a model that is known by what is listed of it only, such as part of its handle.

    Raises:
        UnknownHandleError: if it is not listed, either.
    """
    handle, entry = Handle.parse(inventory.handle_of(text)), listed[0].entry if listed else None
    if entry is not None and (entry.name.startswith(handle.text) or handle.text.endswith("?…")):
        record, is_told = entry.record, False
        with contextlib.suppress(HandleError):
            is_told = "://" in record.handle and expected_entry_name(record) == entry.name
        return rules.match_rule(Handle.parse(record.handle, sha256=handle.sha256)) if is_told else None
    try:
        return rules.match_rule(handle)
    except UnknownHandleError:
        if not listed and not handle.scheme and not os.path.exists(text):
            inventory.select([text])  # which tells why not
        if not listed:
            raise
        return None


def _path(answer: ResolvedPlan, listed: Sequence[CachedModel]) -> str:
    """Where ``resolve`` says that it lies; what is damaged in the cache is told, and not fetched anew."""
    if isinstance(answer.plan, (InPlace, MutableRef)):
        return resolver.fetch(answer).path
    if (found := resolver.find_cached(answer)) is None:
        plan = answer.plan.otherwise if isinstance(answer.plan, RemoteLocation) else answer.plan
        for model in listed:
            is_own = model.entry and model.entry.name == entry_name_for_key(plan.key) and not model.lender
            if is_own and model.state != "whole":
                raise _export_error(model)
        found = resolver.fetch(answer)
    return found.path


def _preferred_copy(listed: Sequence[CachedModel], pin: str | None) -> CachedModel:
    """Of the copies of one model, the one that ``resolve`` gives for the handle that nobody can tell any more."""
    usable, roots = [model for model in listed if model.state != "damaged"], settings.extra_roots()
    kept = [model for model in usable if model.entry and pin in (None, model.entry.record.origin.sha256)]
    if pin is not None and usable and not kept:
        raise IntegrityError(f"{usable[0].name} is cached with another sha256 than\n  pinned {pin}")
    lent = sorted((model for model in kept if model.is_only_read), key=lambda model: roots.index(model.lender))
    own = [model for model in kept if not model.lender]
    is_later = own and lent and _fetched_at(own[0]) > _fetched_at(lent[0])
    return next(iter([*own, *lent] if is_later else [*lent, *own]), (usable or listed)[0])


def _fetched_at(model: CachedModel) -> str:
    return model.entry.record.fetched_at if model.entry else ""


def _check_name(model: CachedModel) -> None:
    """Say what an import will want, or refuse what it would refuse."""
    assert model.entry is not None
    try:
        name = expected_entry_name(model.entry.record)
    except HandleError as error:
        raise CacheError(f"{model.name} has a record that no import takes: {error.text}", fix=error.fix) from error
    if name is None:
        log.warning("%s does not tell all of its handle: import wants the --sha256 of this bundle for it", model.name)
    elif name != model.entry.name:
        raise CacheError(
            f"{model.name} is cached as {model.entry.name}, which its handle does not give",
            fix="It may have been fetched with a user and password in its URL, or another TFIMM_GITHUB_URL: "
            "put them into netrc or hosts.toml, or the host into the handle, resolve it so, and export that.",
        )


def _export_error(model: CachedModel) -> CacheError | IntegrityError:
    if model.entry is None:
        return CacheError(f"{model.path} was put there by hand, and has no record", fix="Copy that directory as it is.")
    if model.state == "damaged":
        return IntegrityError(f"{model.name} is damaged: {model.entry.fault}", fix=_repair_hint(model))
    if model.state == "unverifiable":
        fix = f"Fetch it anew: tfimm-resolver resolve --refresh {model.entry.record.handle or 'HANDLE'}"
        return IntegrityError(f"nobody recorded what the files of {model.name} should be", fix=fix)
    fix = "Bring it to this machine's disk first: tfimm-resolver resolve HANDLE, for gs:// with TFIMM_RESOLVER_LOCAL_COPY=1."
    return CacheError(f"{model.name} lies in a bucket, at {model.path}", fix=fix)


def _repair_hint(model: CachedModel) -> str:
    return f"Mend it: tfimm-resolver verify --repair {model.name}"
