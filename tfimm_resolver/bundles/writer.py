"""Writes cached models into a bundle, one file for machines without network, and verifies every byte on the way.

A bundle is a plain tar of a cache: for each model, in the order of the entry names, its record and then its files.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, cast

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.replacing import replace_file
from tfimm_resolver._util.text import format_count
from tfimm_resolver.archives.member_policy import join_safely
from tfimm_resolver.archives.tar_header import BLOCK_BYTES
from tfimm_resolver.bundles.export_errors import describe_unportable_names, make_export_error
from tfimm_resolver.bundles.model_files import hold, read_chunks
from tfimm_resolver.bundles.stream import find_path
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.contents import MODEL
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX
from tfimm_resolver.errors import CacheError, HandleError, IntegrityError, UnknownHandleError
from tfimm_resolver.errors.advice import Advice, join_advice
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.handles.arguments import list_names
from tfimm_resolver.handles.handle import SHORTENED, Handle
from tfimm_resolver.maintenance import inventory
from tfimm_resolver.maintenance.cached_model import CachedModel
from tfimm_resolver.progress import reporters
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.cached_names import derive_entry_name
from tfimm_resolver.resolution.fetching import fetch, find_cached
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.resolution.selection import get_top

log = logging.getLogger("tfimm_resolver")

DOWNLOADER = "bundle"
_NAME_FIX = Advice(
    python="Give a handle, or a name of maintenance.list().",
    command="Give a handle, or a name that `tfimm-resolver ls` prints.",
)


@dataclass(frozen=True, slots=True)
class ExportResult:
    """The models in a bundle that was written, and the bundle's size and sha256.

    Example:
        >>> from tfimm_resolver import bundles
        >>> exported = bundles.export(["https://models.example/half_plus_two/1.tar.gz"], "models.tar")
        >>> exported.size_bytes, len(exported.sha256), [model.name for model in exported.models]
        (6656, 64, ['https://models.example/half_plus_two/1.tar.gz'])
    """

    models: tuple[CachedModel, ...]
    size_bytes: int
    sha256: str


def export(handles: Sequence[str], into: IO[bytes] | str | os.PathLike[str]) -> ExportResult:
    """Write models into a bundle, after fetching those that are not cached; the same copies give the same bytes.

    Args:
        handles: as for ``resolve``, or names of cached models as for ``maintenance.select``.
        into: a path, which is replaced atomically by the complete bundle, or written to if it is a pipe or a device; or a
            buffered stream, which is not closed.

    Raises:
        HandleError: if no handle is given, or one is not valid.
        UnknownHandleError: if a handle is not known, or its model is not in the cache.
        IntegrityError: if a model is damaged, or has no recorded hashes to verify it with.
        CacheError: if a model cannot be read, or the bundle cannot be written. An error of a stream is not changed.

    Example:
        >>> from tfimm_resolver import bundles
        >>> exported = bundles.export(["https://models.example/half_plus_two/1.tar.gz"], "models.tar")
        >>> len(exported.models)
        1
    """
    path = find_path(into, "write")
    if path is None:
        return _write_models(_select_models(handles), cast(IO[bytes], into))
    if not settings.is_stream(path):
        settings.check_output_path(path)
        return _write_file(_select_models(handles), path)
    models = _select_models(handles)
    with map_os_errors(CacheError, f"cannot write {show(path)}"), open(path, "wb") as stream:
        return _write_models(models, stream)


write = export
"""The name of ``export`` before it was a library function of its own."""


def _write_file(models: Sequence[CachedModel], path: str) -> ExportResult:
    fix = "Choose another path for the bundle."
    with map_os_errors(CacheError, f"cannot write {show(path)}", fix), replace_file(path) as file:
        return _write_models(models, file)


def _write_models(models: Sequence[CachedModel], out: IO[bytes]) -> ExportResult:
    digest, size_bytes = hashlib.sha256(), 0

    def write_bytes(data: bytes | memoryview) -> None:
        nonlocal size_bytes
        out.write(data)
        digest.update(data)
        size_bytes += len(data)

    total_bytes = sum(model.size_bytes for model in models)
    label = f"export of {format_count(len(models), 'model')}"
    with reporters.report_progress(label, total_bytes, quiet=settings.is_quiet()) as meter:
        for model in models:
            _write_model(model, write_bytes, meter)
    write_bytes(bytes(2 * BLOCK_BYTES))
    return ExportResult(tuple(models), size_bytes, digest.hexdigest())


def _write_model(
    model: CachedModel, write_bytes: Callable[[bytes | memoryview], None], meter: reporters.ProgressReporter
) -> None:
    assert model.entry is not None
    hold(model)
    name, record = model.entry.name, model.entry.record
    text = record._replace(tree=name).to_text(DOWNLOADER).encode("utf-8", "backslashreplace")
    write_bytes(_make_header(name + DESCRIPTOR_SUFFIX, len(text)) + text + bytes(-len(text) % BLOCK_BYTES))
    for file in record.files or ():
        write_bytes(_make_header(join_safely(name, file.path), file.size_bytes))
        for chunk in read_chunks(model, file):
            write_bytes(chunk)
            meter.advance(len(chunk))
        write_bytes(bytes(-file.size_bytes % BLOCK_BYTES))


def _make_header(name: str, size_bytes: int) -> bytes:
    """Return a tar header without owner, time or mode."""
    member = tarfile.TarInfo(name)
    member.size = size_bytes
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _select_models(handles: Sequence[str]) -> list[CachedModel]:
    """Return the models, each once, in the order of their entry names."""
    requested = list_names(handles, "handles", also=(CachedModel,))
    if not requested:
        raise HandleError("no models were named", fix="Nothing was written. Give at least one handle.")
    models = [_check_copy(one if isinstance(one, CachedModel) else _find_copy(one)) for one in requested]
    by_name = {model.entry.name: model for model in models if model.entry}
    for model in by_name.values():
        _check_entry_name(model)
        if text := describe_unportable_names(model):
            log.warning("%s", text)
    return [by_name[name] for name in sorted(by_name)]


def _find_copy(text: str) -> CachedModel:
    """Return the copy that ``resolve`` returns; fetch it if there is none."""
    candidates = _list_matching(text) or _list_matching(Handle.parse(text).text)
    resolved = _plan_export(text, candidates)
    if resolved is None:
        model = _choose_copy(candidates, Handle.parse(text).sha256)
    else:
        path = _locate(resolved, candidates)
        found = [model for model in inventory.list_models() if model.path == path and model.kind == MODEL]
        if not found:
            raise UnknownHandleError(f"{text} is at {show(path)}, not in the cache", fix="Copy that directory instead.")
        model = found[0]
    return model


def _check_copy(model: CachedModel) -> CachedModel:
    """Return a model that can be exported; raises CacheError or IntegrityError for any other one."""
    if model.entry is None or model.state != "ok" or settings.is_bucket(model.path):
        raise make_export_error(model)
    return model


def _list_matching(text: str) -> list[CachedModel]:
    with contextlib.suppress(UnknownHandleError):
        return [model for model in inventory.select([text]) if model.kind == MODEL]
    return []


def _plan_export(text: str, candidates: Sequence[CachedModel]) -> ResolvedPlan | None:
    """Return the plan that ``resolve`` follows; None for a model that only the inventory knows, for example by its sha1.

    Raises:
        UnknownHandleError: if the inventory does not know it either.
    """
    request = Request.parse(text)
    handle, entry = request.handle, candidates[0].entry if candidates else None
    if entry is not None and (entry.name.startswith(handle.text) or handle.text.endswith(SHORTENED)):
        record, is_derivable = entry.record, False
        with contextlib.suppress(HandleError):
            is_derivable = "://" in record.handle and derive_entry_name(record) == entry.name
        return rules.match_rule(Request.parse(record.handle, sha256=handle.sha256)) if is_derivable else None
    try:
        return rules.match_rule(request)
    except UnknownHandleError as error:
        if candidates:
            return None
        if handle.scheme:
            raise
        hint = error.advice if error.fix.startswith("Did you mean") else _NAME_FIX
        fix = join_advice(["Nothing was exported.", hint], " ")
        raise UnknownHandleError(f'"{show(text)}" is not cached: {error.text}', fix=fix) from error


def _locate(resolved: ResolvedPlan, candidates: Sequence[CachedModel]) -> str:
    """Return the path that ``resolve`` returns, but raise an error for a damaged copy instead of fetching it again."""
    if (plan := resolved.plan.download) is None:
        return get_top(fetch(resolved))
    if (found := find_cached(resolved)) is None:
        for model in candidates:
            is_own = model.entry and model.entry.name == entry_name_for_key(plan.key) and not model.other_root
            if is_own and model.state != "ok":
                raise make_export_error(model)
        found = fetch(resolved)
    return get_top(found)


def _choose_copy(candidates: Sequence[CachedModel], pin: str | None) -> CachedModel:
    """Return the copy of a model that ``resolve`` would return for its original handle, which is not recorded in full."""
    usable, roots = [model for model in candidates if model.state != "damaged"], settings.extra_roots()
    matching = [model for model in usable if model.entry and pin in (None, model.entry.record.origin.sha256)]
    if pin is not None and usable and not matching:
        raise IntegrityError(f"{usable[0].name} is cached with a different sha256 than\n  pinned {pin}")
    shared = sorted((model for model in matching if model.is_read_only), key=lambda model: roots.index(model.other_root))
    own = [model for model in matching if not model.other_root]
    is_later = own and shared and _get_fetched_at(own[0]) > _get_fetched_at(shared[0])
    return next(iter([*own, *shared] if is_later else [*shared, *own]), (usable or candidates)[0])


def _get_fetched_at(model: CachedModel) -> str:
    return model.entry.record.fetched_at if model.entry else ""


def _check_entry_name(model: CachedModel) -> None:
    """Log a warning if the import will need the sha256 of the bundle, and raise CacheError if it would reject the model."""
    assert model.entry is not None
    try:
        name = derive_entry_name(model.entry.record)
    except HandleError as error:
        raise CacheError(f"{show(model.name)} has a record that cannot be imported: {error.text}", fix=error.advice) from error
    if name is None:
        log.warning("%s has an incomplete handle: its import requires the sha256 of this bundle", model.name)
    elif name != model.entry.name:
        raise CacheError(
            f"{show(model.name)} is cached as {show(model.entry.name)}, which is not the entry name of its handle",
            fix="It may have been fetched with a user and password in its URL, or with another TFIMM_GITHUB_URL. Put the "
            "credentials into netrc or hosts.toml, or the host into the handle, resolve it again, and export that.",
        )
