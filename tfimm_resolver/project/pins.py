"""The pins of a models file: selects models, hashes their archives as they are upstream, and writes the pins."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import HandleError, ModelsFileError, ResolverError, UnknownHandleError
from tfimm_resolver.errors.advice import Advice, suggest_add
from tfimm_resolver.handles.arguments import list_names
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import Origin
from tfimm_resolver.models_file import discovery, edit
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.resolution import overrides, rules
from tfimm_resolver.resolution.fetching import fetch, find_cached
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.resolution.selection import select_model
from tfimm_resolver.resolution.upstream import Upstream
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import InPlace, MutableRef


def select_models(names: str | Iterable[str]) -> list[ModelEntry]:
    """Return the models with these names or aliases, each once; all models without ``names``.

    Raises:
        UnknownHandleError: if a name is in no models file.
        ModelsFileError: if no models file exists, or one cannot be used, or was skipped since it is another user's.
        HandleError: if a name is not a str.
    """
    requested, files = list_names(names, "names"), discovery.find_files()
    discovery.check_none_skipped()
    if not files:
        raise ModelsFileError(
            f"there is no {discovery.FILE_NAME} in this directory or its parents",
            fix=suggest_add("Create one"),
        )
    if not requested:
        return discovery.list_entries()
    found: dict[str, ModelEntry] = {}
    for name in requested:
        model = discovery.find_entry(name)
        if model is None:
            similar = overrides.suggest(name, [model.name for model in discovery.list_entries()])
            fix = f"Did you mean {' or '.join(similar)}?" if similar else suggest_add("Add it")
            raise UnknownHandleError(f'no model "{show(name)}" in {", ".join(files)}', fix=fix)
        found[model.name] = model
    return list(found.values())


def choose_file() -> str:
    """Return the models file that a new name is added to: the first found, else a new one in the working directory.

    Raises:
        ModelsFileError: if a nearer one belongs to another user.
    """
    discovery.check_none_skipped()
    return next(iter(discovery.find_files()), None) or settings.expand_path(discovery.FILE_NAME)


def plan_archive(handle: Handle, *, refresh: bool = False) -> ResolvedPlan:
    """Return the plan to fetch a handle's archive, whatever the load format; raises UnknownHandleError."""
    found = rules.match_rule(Request.for_handle(handle, refresh=refresh, upstream=True))
    return replace(found, plan=found.plan.download or found.plan)


def fetch_and_hash(handle: Handle, *, refresh: bool) -> tuple[str, Origin]:
    """Fetch the model of a handle; returns its path, and what is known of its archive, without a sha256 if it has none.

    With ``refresh``, an archive is fetched again, so that the hash is that of the archive upstream.
    """
    cached = find_cached(plan_archive(handle))
    record = cached.record if cached else None
    is_unhashed = record is not None and record.files is None  # fetched by plain tensorflow_hub, which records no hash
    is_archive = record is not None and bool(record.origin.sha256)
    found = fetch(plan_archive(handle, refresh=is_unhashed or (refresh and is_archive)))
    if found.record is not None and found.record.files is None:  # another process has published it, but not its record yet
        found = fetch(plan_archive(handle, refresh=True))
    return select_model(found), found.record.origin if found.record else Origin()


def fetch_upstream_hash(handle: Handle) -> Origin:
    """Download the archive of a handle, hash it and discard it; the cache is not changed.

    Nothing is downloaded if the server says that the archive is still the one that is cached, or that is pinned.

    A mutable handle is followed to the version that it refers to now. The result has no sha256 if the model is not an
    archive. If the handle is pinned, copies in the caches of other tools are not used, since they have no archive hash.
    """
    from tfimm_resolver.transfer.downloader import Downloader
    from tfimm_resolver.transfer.revalidation import NotModifiedError

    resolved = plan_archive(handle)
    if isinstance(resolved.plan, MutableRef):
        settings.validate()
        resolved = rules.follow_ref(resolved, Upstream(plan_archive(replace(handle, sha256=None))).look_up())
    if (plan := resolved.plan.download) is None:
        return Origin()
    handle = replace(resolved.handle, sha256=None)  # the caller compares the hashes; a mismatch is not an error here
    settings.validate()
    root, name = tiers.open_scratch(), entry_name_for_key(f"upstream of {plan.key}")
    with root.lock(name, f"{handle} (comparison with upstream)") as staged:
        assert staged is not None
        downloader = Downloader(handle, root.parts_dir(name), known=_find_known(resolved))
        try:
            plan.fill(staged, downloader)
        except NotModifiedError as unchanged:
            return unchanged.origin
    return downloader.origin


def _find_known(resolved: ResolvedPlan) -> Origin | None:
    """Return what is known of the archive: of the cached copy if there is one, else its pin."""
    with contextlib.suppress(ResolverError):
        cached = find_cached(resolved)
        if cached is not None and cached.record is not None and cached.record.origin.sha256:
            return cached.record.origin
    return Origin(sha256=resolved.handle.sha256) if resolved.handle.sha256 else None


def can_be_pinned(handle: Handle) -> bool:
    """Whether a model is an archive, which has a hash to pin, as far as is known without a download."""
    try:
        plan = rules.find_source_plan(replace(handle, sha256="0" * 64))
    except HandleError:  # the source rejects pins of what is not an archive
        return False
    if isinstance(plan, InPlace):
        return False
    cached = find_cached(plan_archive(replace(handle, sha256=None))) if plan else None
    record = cached.record if cached else None
    return record is None or record.files is None or bool(record.origin.sha256)


def sum_archive_sizes(models: Sequence[ModelEntry]) -> int | None:
    """Return the total size of the models' archives in bytes; None unless the models file states all of them."""
    sizes = [model.size_bytes for model in models]
    return sum(size or 0 for size in sizes) if None not in sizes else None


def add(path: str, model: ModelEntry, *, replaces: bool = False) -> None:
    """Write a model into the models file at ``path``.

    Raises:
        ModelsFileError: if the file already has the name and not ``replaces``, or if it cannot be written.
    """

    def make_changes(known: dict[str, ModelEntry]) -> dict[str, edit.Keys]:
        check_new(known, model.name, replaces=replaces)
        return {
            model.name: {
                "handle": model.handle,
                "subdirectory": model.subdirectory,
                "sha256": model.sha256,
                "size_bytes": model.size_bytes,
                "aliases": [*model.aliases] or None,
                "mirrors": [*model.mirrors] or None,
            }
        }

    edit.edit_models_file(path, make_changes)


def check_new(known: dict[str, ModelEntry], name: str, *, replaces: bool) -> None:
    """Raise ModelsFileError if a name is in use already."""
    if name in known and (known[name].name != name or not replaces):
        alias = "" if known[name].name == name else f", an alias of {known[name].name}"
        overwrite = Advice(python="Pass replace=True to overwrite it.", command="Use --replace to overwrite it.")
        fix = "Choose another name." if alias else overwrite
        raise ModelsFileError(f"{known[name].location}: {show(name)} already exists{alias}", fix=fix)


def pin(model: ModelEntry, origin: Origin) -> None:
    """Write the hash and size of a model's archive into its models file; raises ModelsFileError."""

    def make_changes(known: dict[str, ModelEntry]) -> dict[str, edit.Keys]:
        current = known.get(model.name)
        if current is None or current.handle != model.handle:
            raise ModelsFileError(
                f"{show(model.file)}: {show(model.name)} was changed during the run", fix="Its pin was not written; try again."
            )
        return {model.name: {"sha256": origin.sha256, "size_bytes": origin.size_bytes}}

    edit.edit_models_file(model.file, make_changes)


def format_handle(handle: Handle, file: str) -> str:
    """Return a handle as it is written into a models file.

    Paths below the file's directory, and relative paths, are relative to it; an absolute path elsewhere stays absolute.

    Raises:
        HandleError: if the handle may contain a secret, which must not be written into a shared file.
    """
    if handle.scheme:
        if handle.query or "@" in handle.host:
            raise HandleError(
                f"{handle} has a query or a user, which may contain a secret: it is not written into {file}",
                fix="Use a handle without them, and keep credentials in netrc; or edit the file by hand.",
            )
        return handle.text
    path, folder = local.find_path(handle), os.path.dirname(file)
    if handle.text.startswith("~") and not os.path.exists(handle.text):
        return handle.text
    relative = os.path.relpath(path, folder)
    if relative.split(os.sep)[0] != os.pardir:
        return f"./{relative.replace(os.sep, '/')}"
    is_relative = not os.path.isabs(handle.path) and path == os.path.abspath(handle.path)
    return relative.replace(os.sep, "/") if is_relative else path
