"""The rules that handles are matched against: overrides, the models file, the directory of names, then the sources."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import (
    CacheError,
    FetchError,
    HandleError,
    MissingOverrideError,
    ModelsFileError,
    NotFoundError,
    UnknownHandleError,
)
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.handles.handle import SHORTENED, Handle
from tfimm_resolver.handles.pin import Pin
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import named_models, overrides
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.resolution.unknown_handles import make_unknown_handle_error
from tfimm_resolver.sources.plan import Fetch, InPlace, Plan
from tfimm_resolver.sources.registry import get_sources

CACHED_NAME = "name in the cache"

log = logging.getLogger("tfimm_resolver")


def match_rule(request: Request) -> ResolvedPlan:
    """Return the plan of the first rule that matches a request.

    Raises:
        UnknownHandleError: if no rule matches.
        HandleError: if the handle contradicts the rule that matches, or the rule's own handle or path cannot be used.
    """
    for rule in (match_source,) if request.upstream else RULES.values():
        if (found := rule(request)) is not None:
            return found
    raise make_unknown_handle_error(request.handle)


def follow_ref(resolved: ResolvedPlan, fixed: str) -> ResolvedPlan:
    """Return the plan for ``fixed``, the immutable handle that a mutable one refers to now; overrides of it apply."""
    request = resolved.request.with_handle(Handle.parse(fixed, sha256=resolved.handle.sha256))
    found = None if request.upstream else match_override(request)
    if found is not None:
        return replace(found, model=resolved.model)
    return replace(resolved, request=request, plan=match_rule(replace(request, upstream=True)).plan)


def use_mirror(resolved: ResolvedPlan, mirror: Handle) -> ResolvedPlan:
    """Return the plan to fetch the archive from a mirror, under the mirror's key; raises as ``make_mirror_plan``."""
    return resolved.redirect(mirror, make_mirror_plan(mirror))


def make_mirror_plan(mirror: Handle) -> Fetch:
    """Return how to fetch the archive from a mirror; raises NotFoundError if the mirror is not an immutable archive."""
    plan = find_source_plan(mirror)
    if plan is None:
        raise NotFoundError(
            f"no source handles {mirror}" if mirror.scheme else f"{mirror} does not exist",
            fix="Correct the mirror, or remove it.",
        )
    if plan.download is None:
        raise NotFoundError(
            f"{mirror} is not an archive whose contents are fixed", fix="Give the URL of the archive, or remove the mirror."
        )
    return plan.download


def find_source_plan(handle: Handle) -> Plan | None:
    """Return the plan of the first source that handles this handle; no other rule is tried."""
    for source in get_sources(handle.scheme):
        if (plan := source(handle)) is not None:
            return plan
    return None


def match_override(request: Request) -> ResolvedPlan | None:
    """Match a handle that ``set_model_cache`` overrides."""
    handle = request.handle
    if (path := overrides.get_override(handle.key)) is None:
        return None
    target = Handle.parse(path, sha256=handle.sha256)
    if not named_models.exists(target.text):
        raise MissingOverrideError(
            f"set_model_cache() maps {handle} to {show(path)}, which does not exist or is empty",
            fix=Advice(
                python="Put the model there, or remove the override with clear_model_cache().", command="Put the model there."
            ),
        )
    plan = find_source_plan(target) or InPlace(target.text)
    if handle.sha256 is not None and isinstance(plan, InPlace):
        raise HandleError(
            f"set_model_cache() maps {handle} to {show(path)}, which is a directory: only an archive can be pinned by sha256",
            fix=Advice(
                python="Map it to the archive, or override the name in the models file instead of its handle, "
                "which ignores the pin: set_model_cache(name, path).",
                command="Use the handle without its pin.",
            ),
        )
    return ResolvedPlan("override", request.stand_for(target), plan)


def match_models_file(request: Request) -> ResolvedPlan | None:
    """Match a name in the project's models file; a directory of the same name does not shadow the pinned model."""
    handle = request.handle
    if not handle.is_name or (model := discovery.find_entry(handle.text)) is None:
        return None
    if handle.sha256 not in (None, model.sha256) and model.sha256 is not None:
        raise HandleError(
            f"{handle} is pinned to a different sha256 than requested:\n"
            f"  pinned    {model.sha256}, in {show(model.location)}\n  requested {handle.sha256}",
            fix="Leave the requested sha256 out, or correct the pin.",
        )
    if model.mirrors and (handle.sha256 or model.sha256) is None:
        raise ModelsFileError(
            f"{show(model.location)}: {show(model.name)} has mirrors, but no sha256 to verify their archives with",
            fix=Advice(
                python=f"Pin it: project.lock([{show(model.name)!r}])",
                command=f"Pin it: tfimm-resolver lock {show(model.name)}",
            ),
        )
    try:
        target = model.parse_handle(handle.sha256)
        plan = find_source_plan(target)
    except HandleError as error:
        raise ModelsFileError(f"{show(model.location)}: {show(model.name)}: {error.text}", fix=error.advice) from error
    request = request.stand_for(target, Pin(target.sha256, model.size_bytes))
    if (found := match_override(request)) is not None:
        return replace(found, model=model)
    if plan is None:
        unknown = make_unknown_handle_error(target)
        raise UnknownHandleError(f"{show(model.location)}: {show(model.name)}: {unknown.text}", fix=unknown.advice)
    return ResolvedPlan("models file", request, plan, model)


def match_directory(request: Request) -> ResolvedPlan | None:
    """Match a model directory of that name below ``get_dir()``, or below ``~/.cache``, which tfimm documents."""
    if not request.handle.is_name or "\\" in request.handle.text:  # which may be the path of a file, or a slip
        return None
    try:
        path = named_models.find_named(named_models.validate_name(request.handle.text))
    except (CacheError, FetchError) as error:
        if (found := match_source(request)) is None:
            raise
        log.warning("skipped: %s", error.text)
        return found
    return None if path is None else ResolvedPlan("directory of names", request, InPlace(path))


def match_source(request: Request) -> ResolvedPlan | None:
    """Match a handle that a source handles: a path, or a URL of a known scheme; not one whose query is left out."""
    if f"?{request.handle.query}" == SHORTENED:
        raise HandleError(
            f"{request.handle} is not complete: its query was left out, as it may contain a secret",
            fix="Use the handle that it was first fetched with.",
        )
    plan = find_source_plan(request.handle)
    return None if plan is None else ResolvedPlan("source", request, plan)


def match_recorded(request: Request) -> ResolvedPlan | None:
    """Match what ``ls`` prints for a URL whose query was not recorded, and for one version of an archive on this machine.

    The URL is written ``https://host/model?…``, and the archive with the pin of the version; on a narrow terminal, the middle
    of a long name is left out, ``https://host/…/1.tar.gz``.
    """
    handle = request.handle
    if "…" not in handle.text and (handle.scheme or handle.sha256 is None):
        return None
    from tfimm_resolver.resolution import cached_names  # imported for such handles only: it imports the cache

    return cached_names.match_recorded(request)


def match_cached_name(request: Request) -> ResolvedPlan | None:
    """Match another name that ``ls`` prints for a cached model: a sha1, a short TF Hub name, an archive that was removed."""
    if request.handle.scheme:
        return None
    from tfimm_resolver.resolution import cached_names  # imported for what no other rule matches

    return cached_names.match_cached_name(request)


RULES: dict[str, Callable[[Request], ResolvedPlan | None]] = {
    "override": match_override,
    "models file": match_models_file,
    "directory of names": match_directory,
    "recorded handle": match_recorded,
    "source": match_source,
    CACHED_NAME: match_cached_name,
}
"""Every rule, in lookup order."""
