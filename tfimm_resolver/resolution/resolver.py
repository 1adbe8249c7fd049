"""Resolves a handle to a path, and fetches the model if it is not cached."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from tfimm_resolver.errors import FetchError, IntegrityError, MissingOverrideError
from tfimm_resolver.resolution import overrides, rules
from tfimm_resolver.resolution.limits import CancelEvent, call_with_limits
from tfimm_resolver.resolution.request import Request, ResolvedPlan

if TYPE_CHECKING:
    from tfimm_resolver.resolution.upstream import Upstream

log = logging.getLogger("tfimm_resolver")


def resolve(
    handle: str | os.PathLike[str],
    *,
    refresh: bool = False,
    sha256: str | None = None,
    timeout_s: float | None = None,
    cancel: CancelEvent | None = None,
) -> str:
    """Return the absolute path, or ``gs://`` URL, from which TensorFlow can load a model; fetch it first if it is not cached.

    If the model's tree is not a SavedModel itself, it is the directory of the only SavedModel in it, or of its highest version
    (``1/``, ``2/``); ``#subdirectory=export/1`` at the end of the handle chooses another directory.

    Looks in this order: ``set_model_cache``, the project's models file, names below ``get_dir()``, local paths, the extra
    roots, the cache, and upstream; if that cannot be reached or does not have the model, and the handle has no pin, asks the
    resolvers that other packages added to tensorflow_hub.

    Args:
        handle: a tfhub-style URL, the URL or path of an archive, a ``gs://`` path, a directory, or a model name; also the name
            of a cached model as ``maintenance.list`` and the command ``ls`` give it.
        refresh: fetch the model again. Readers of the old copy are not disturbed, and it stays if the fetch fails.
        sha256: the required hash of the archive, 64 hexadecimal digits; also as ``#sha256=...`` at the end of the handle.
        timeout_s: the seconds that the call may take; a cached model is returned whatever they are.
        cancel: an event, such as ``threading.Event()``; the call ends soon after another thread has set it. Called by
            ``asyncio.to_thread`` or ``run_in_executor``, it also ends soon after the coroutine that waits for it is cancelled.

    Raises:
        ResolveTimeoutError: if it took longer than ``timeout_s``; this FetchError is a TimeoutError, too.
        CancelledError: if it was cancelled. Either way no incomplete model is left, and another call resumes the download.
        HandleError: if the handle or the models file cannot be parsed, or no rule matches the handle.
        FetchError: if the model could not be fetched completely, does not match its pin, or has no such subdirectory.
        CacheError: if the cache root cannot be used.

    Example:
        >>> tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        '/.../...'
    """
    request = Request.parse(handle, refresh=refresh, sha256=sha256)
    return call_with_limits(lambda: _resolve(request), request.handle, timeout_s, cancel)


def resolve_for_hub(handle: str) -> str:
    """Return what ``hub.resolve`` returns: as ``resolve``, but the top of a tree with several versions. Raises likewise."""
    request = Request.parse(handle)
    return call_with_limits(lambda: _resolve(request, versions=False), request.handle, None, None)


def _resolve(request: Request, *, versions: bool = True) -> str:
    return resolve_plan(rules.match_rule(request), versions=versions)


def resolve_plan(
    resolved: ResolvedPlan, make_upstream: Callable[[ResolvedPlan], Upstream] | None = None, *, versions: bool = True
) -> str:
    """Return the path of the model of a plan, as ``resolve`` does; ``make_upstream`` as for ``fetching.fetch``."""
    from tfimm_resolver.cache.tier import ModelLocation
    from tfimm_resolver.resolution.fetching import fetch  # imported here: importing the package should not cost these 3 ms
    from tfimm_resolver.resolution.selection import select_model

    try:
        location = fetch(resolved) if make_upstream is None else fetch(resolved, make_upstream)
    except FetchError as error:
        from tfimm_resolver.resolution.other_resolvers import resolve_elsewhere

        location = ModelLocation(resolve_elsewhere(resolved, error), None, resolved.request.subdirectory)
    return select_model(location, versions=versions)


def cached_model_path(model_name: str) -> str | None:
    """Return the path of a model by its name, in the lookup order of ``resolve``; None if it is not on this machine.

    Also None, with a warning in the log, if the path given to ``set_model_cache`` does not exist, or if the cached copy
    does not match the pin in the models file, or lacks a signature that is required. Fetches nothing.

    Raises:
        HandleError: if the name is not valid.
        ModelsFileError: if the models file cannot be used.

    Example:
        >>> tfimm_resolver.cached_model_path("resnet18") is None
        True
        >>> with tfimm_resolver.using(models={"resnet18": "gs://bucket/resnet18"}):
        ...     tfimm_resolver.cached_model_path("resnet18")
        'gs://bucket/resnet18'
    """
    from tfimm_resolver.resolution import signatures
    from tfimm_resolver.resolution.fetching import find_cached
    from tfimm_resolver.resolution.selection import select_model, select_path

    if overrides.get_override(overrides.parse_key(model_name)) is None and "://" not in model_name:
        try:
            resolved = rules.match_models_file(Request.parse(model_name))
            if resolved is not None:
                found = find_cached(resolved)
                return select_model(found) if found else None
        except (IntegrityError, MissingOverrideError) as error:
            log.warning("%s", error.text)
            return None
    path = overrides.find_path(model_name)
    if path is None:
        return None
    try:
        signatures.check_path(Request.parse(model_name), path)
    except IntegrityError as error:
        log.warning("%s", error.text)
        return None
    return select_path(path)
