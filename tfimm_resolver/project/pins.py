"""The pins of a models file: which models are meant, what archive is upstream by now, and what is written of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from tfimm_resolver import settings
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.roots import open_root
from tfimm_resolver.errors import HandleError, ModelsFileError, UnknownHandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import Origin
from tfimm_resolver.models_file import discovery, edit
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.resolution import overrides, rules
from tfimm_resolver.resolution.resolver import fetch, find_cached
from tfimm_resolver.resolution.rules import ResolvedPlan
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import InPlace, MutableRef, RemoteLocation


def select_models(words: Sequence[str]) -> list[ModelEntry]:
    """The models of those names or aliases, each once; all where none is wanted.

    Raises:
        UnknownHandleError: if no models file names one of them.
        ModelsFileError: if there is no models file, or it is at fault.
    """
    files = discovery.files()
    if not files:
        raise ModelsFileError(
            f"there is no {discovery.FILE_NAME} here or above", fix="tfimm-resolver add NAME HANDLE makes one."
        )
    if not words:
        return discovery.models()
    found: dict[str, ModelEntry] = {}
    for word in words:
        model = discovery.find(word)
        if model is None:
            similar = overrides.suggest(word, [model.name for model in discovery.models()])
            fix = f"Did you mean {' or '.join(similar)}?" if similar else "tfimm-resolver add NAME HANDLE adds it."
            raise UnknownHandleError(f'no model "{word}" in {", ".join(files)}', fix=fix)
        found[model.name] = model
    return list(found.values())


def file_to_change() -> str:
    """The models file that a new name goes into: the strongest, or one to be made in the working directory."""
    return next(iter(discovery.files()), None) or settings.expand_path(discovery.FILE_NAME)


def answer_of(handle: Handle) -> ResolvedPlan:
    """How the archive comes that a handle names, in any load format; raises UnknownHandleError."""
    found = rules.resolve_upstream(handle)
    return replace(found, plan=found.plan.otherwise) if isinstance(found.plan, RemoteLocation) else found


def fetch_and_hash(handle: Handle, *, refresh: bool) -> tuple[str, Origin]:
    """Where what a handle names lies in the cache now, and its archive; without a sha256 where it is no archive.

    With ``refresh`` an archive is as upstream has it now.
    """
    answer = answer_of(handle)
    here = find_cached(answer)
    known = here.record if here else None
    is_unmeasured = known is not None and known.files is None  # plain tensorflow_hub brought it, and kept no hash
    is_old = known is not None and bool(known.origin.sha256)
    found = fetch(answer, refresh=is_unmeasured or (refresh and is_old))
    return found.path, found.record.origin if found.record else Origin()


def fetch_upstream_hash(handle: Handle) -> Origin:
    """What archive the place itself has now: brought, measured and forgotten; the cache stays as it is.

    Of a handle that changes it is that of what it stands for now. Without a sha256 where it is no archive; with a pin
    what somebody else has on this machine, which comes without one, is not taken for it.
    """
    from tfimm_resolver.transfer.downloader import Downloader

    answer = answer_of(handle)
    if isinstance(answer.plan, MutableRef):
        settings.validate()
        answer = rules.follow_ref(answer, answer.plan.now(Downloader(replace(handle, sha256=None))))
    plan, handle = answer.plan, replace(answer.handle, sha256=None)  # it is to be compared, not to be refused
    plan = plan.otherwise if isinstance(plan, RemoteLocation) else plan
    if isinstance(plan, (InPlace, MutableRef)):
        return Origin()
    settings.validate()
    place = settings.local_root()  # also where the cache is a bucket, which is for what stays
    root, name = open_root(place.value, place.mode), entry_name_for_key(f"upstream of {plan.key}")
    with root.lock(name, f"{handle}, to compare it") as staged:
        assert staged is not None
        transfer = Downloader(handle, root.parts(name))
        plan.fill(staged, transfer)
    return transfer.origin


def size_bytes(models: Sequence[ModelEntry]) -> int | None:
    """Of the archives of all of them; None if it is not known of each."""
    sizes = [model.size_bytes for model in models]
    return sum(size or 0 for size in sizes) if None not in sizes else None


def add(path: str, model: ModelEntry, *, replaces: bool = False) -> None:
    """Write a model into the models file at ``path``.

    Raises:
        ModelsFileError: if the file has the name already, unless ``replaces``, or cannot be written.
    """

    def decide(known: dict[str, ModelEntry]) -> dict[str, edit.Keys]:
        check_new(known, model.name, replaces=replaces)
        return {
            model.name: {
                "handle": model.handle,
                "sha256": model.sha256,
                "size_bytes": model.size_bytes,
                "aliases": [*model.aliases] or None,
                "mirrors": [*model.mirrors] or None,
            }
        }

    edit.edit_models_file(path, decide)


def check_new(known: dict[str, ModelEntry], name: str, *, replaces: bool) -> None:
    """Refuse a name that is taken; raises ModelsFileError."""
    if name in known and (known[name].name != name or not replaces):
        alias = "" if known[name].name == name else f", an alias of {known[name].name}"
        fix = "Choose another name." if alias else "With --replace it is written anew."
        raise ModelsFileError(f"{known[name].place}: {name} is there already{alias}", fix=fix)


def pin(model: ModelEntry, origin: Origin) -> None:
    """Write what the archive of a model is; raises ModelsFileError."""

    def decide(known: dict[str, ModelEntry]) -> dict[str, edit.Keys]:
        now = known.get(model.name)
        if now is None or now.handle != model.handle:
            raise ModelsFileError(
                f"{model.file}: {model.name} was changed meanwhile", fix="Nothing of it was written; try again."
            )
        return {model.name: {"sha256": origin.sha256, "size_bytes": origin.size_bytes}}

    edit.edit_models_file(model.file, decide)


def handle_as_written(handle: Handle, file: str) -> str:
    """A handle as it is to stand in a models file: below its directory relative to it, so that a project can move.

    Raises:
        HandleError: if it may hold a secret, which a file for many is no place for.
    """
    if handle.scheme:
        if handle.query or "@" in handle.host:
            raise HandleError(
                f"{handle} has a query or a user, which may hold a secret: it is not written into {file}",
                fix="Name a handle without; credentials for a host belong into netrc. Or write it there by hand.",
            )
        return handle.text
    place, folder = local.find_place(handle), os.path.dirname(file)
    if handle.text.startswith("~") and not os.path.exists(handle.text):
        return handle.text
    inside = os.path.relpath(place, folder)
    return place if inside.split(os.sep)[0] == os.pardir else f"./{inside.replace(os.sep, '/')}"
