"""Fetches the model of a plan: where it is, else from the first tier that has it, else from upstream into the cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.cache.tiers import Lookup
from tfimm_resolver.errors import HandleError, IntegrityError, SignatureError, UnknownHandleError
from tfimm_resolver.progress import events
from tfimm_resolver.resolution import signatures
from tfimm_resolver.resolution.request import ResolvedPlan
from tfimm_resolver.resolution.upstream import Upstream
from tfimm_resolver.sources.plan import InPlace, MutableRef, RemoteLocation

if TYPE_CHECKING:
    from tfimm_resolver.models_file.schema import ModelEntry
    from tfimm_resolver.settings import Config


MakeUpstream = Callable[[ResolvedPlan], Upstream]


def fetch(resolved: ResolvedPlan, make_upstream: MakeUpstream = Upstream) -> ModelLocation:
    """Return where the model of a plan is; fetch it first if it is not cached. Raises as ``resolve`` does.

    ``make_upstream`` returns what is asked for a model that is not cached.
    """
    if not events.is_active():
        return fetch_model(resolved, make_upstream)
    with events.report_operation(resolved.handle.redacted) as operation:
        found = fetch_model(resolved, make_upstream)
        operation.path = found.path
        return found


def fetch_model(resolved: ResolvedPlan, make_upstream: MakeUpstream = Upstream, config: Config | None = None) -> ModelLocation:
    """Do the work of ``fetch``, as a part of an operation that its caller reports; ``config`` as in ``list_requirements``."""
    requirements = signatures.list_requirements(resolved, config)
    found = _fetch(resolved, make_upstream, may_be_remote=not requirements)
    if requirements:
        signatures.check(found, requirements, resolved.label)
    return found


def _fetch(resolved: ResolvedPlan, make_upstream: Callable[[ResolvedPlan], Upstream], *, may_be_remote: bool) -> ModelLocation:
    match resolved.plan:
        case InPlace():
            return _use_path(resolved)
        case MutableRef():
            from tfimm_resolver.resolution.mutable_refs import MutableHandle

            return MutableHandle(resolved, make_upstream).fetch(lambda followed: fetch_model(followed, make_upstream))
        # A pin is the hash of an archive, and a signature is verified on this machine.
        case RemoteLocation() if resolved.handle.sha256 is None and may_be_remote:
            if (path := make_upstream(resolved).locate()) is not None:
                return ModelLocation(path, None, resolved.request.subdirectory)
    request, lookup = resolved.request, Lookup(resolved.plan.download.key, resolved.request.pin)
    try:
        found = None if request.refresh else lookup.find() or _find_by_spelling(resolved, resolved.plan.download.key)
        found = found or lookup.fetch(make_upstream(resolved).fill, resolved.label, refresh=request.refresh)
    except IntegrityError as error:
        _raise_with_pin(error, resolved.model)
    found.subdirectory = request.subdirectory
    return found


def find_cached(resolved: ResolvedPlan) -> ModelLocation | None:
    """Return where the model of a plan is already; None if it would have to be fetched. Does not ask upstream.

    Raises:
        IntegrityError: if the cached model does not match its pin, or lacks a signature that is required.
    """
    found = _find_cached(resolved)
    if found is not None:
        signatures.check(found, signatures.list_requirements(resolved), resolved.label)
    return found


def _find_cached(resolved: ResolvedPlan) -> ModelLocation | None:
    match resolved.plan:
        case InPlace():
            return _use_path(resolved)
        case MutableRef():
            from tfimm_resolver.resolution.mutable_refs import MutableHandle

            return MutableHandle(resolved).find_cached(find_cached)
    key = resolved.plan.download.key
    try:
        found = Lookup(key, resolved.request.pin).find() or _find_by_spelling(resolved, key)
    except IntegrityError as error:
        _raise_with_pin(error, resolved.model)
    if found is not None:
        found.subdirectory = resolved.request.subdirectory
    return found


def _find_by_spelling(resolved: ResolvedPlan, key: str) -> ModelLocation | None:
    """Return where plain tensorflow_hub cached the model: it hashes a URL as it was typed."""
    handle = resolved.handle
    if handle.scheme not in ("http", "https") or handle.text == key:
        return None
    return Lookup(handle.text, resolved.request.pin).find()


def _use_path(resolved: ResolvedPlan) -> ModelLocation:
    if resolved.handle.sha256 is not None:
        raise HandleError(
            f"{resolved.handle} is a directory: only an archive can be pinned by sha256",
            fix="Leave the sha256 out, or pack the directory as an archive.",
        )
    assert isinstance(resolved.plan, InPlace)
    path, scheme = resolved.plan.path, resolved.handle.scheme
    if scheme and "://" not in path and not os.path.exists(path):  # the source of a plug-in may return any path
        raise UnknownHandleError(
            f"{resolved.label} does not exist: the source of {show(scheme)}:// says that it is {show(path)}, where nothing is",
            fix="Correct the handle, or put the model there. If the path is wrong, report it to the authors of the source.",
        )
    return ModelLocation(resolved.plan.path, None, resolved.request.subdirectory)


def _raise_with_pin(error: IntegrityError, model: ModelEntry | None) -> NoReturn:
    """Raise an error with the location of the pin, if the models file has it."""
    if model is None or isinstance(error, SignatureError):
        raise error
    raise error.with_message(f"{error.text}\n  {show(model.name)} is pinned in {show(model.location)}") from error
