"""Resolves a handle to a path, and fetches the model if it is not cached."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tfimm_resolver import settings
from tfimm_resolver._util import clock
from tfimm_resolver.errors import FetchError, IntegrityError, MissingOverrideError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.progress import events
from tfimm_resolver.resolution import overrides, rules
from tfimm_resolver.resolution.limits import CancelEvent, call_with_limits
from tfimm_resolver.resolution.request import Request, ResolvedPlan

if TYPE_CHECKING:
    from tfimm_resolver.cache.tier import ModelLocation
    from tfimm_resolver.resolution.operation_check import ModelCheck
    from tfimm_resolver.resolution.upstream import Upstream
    from tfimm_resolver.settings import Config

log = logging.getLogger("tfimm_resolver")

Found = TypeVar("Found", str, "ModelLocation", "ModelToPublish", "ResolvedModel")


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
        PolicyError: if the model's operations are refused with ``at = "resolve"``.

    Example:
        >>> tfimm_resolver.resolve("https://models.example/half_plus_two/1.tar.gz")
        '/.../...'
    """
    request = Request.parse(handle, refresh=refresh, sha256=sha256)
    return run_request(_resolve, request, timeout_s, cancel)


def resolve_for_hub(handle: str) -> str:
    """Return what ``hub.resolve`` returns: as ``resolve``, but the top of a tree with several versions. Raises likewise.

    Raises:
        PolicyError: if the model is refused: tensorflow_hub loads it without asking again.
    """
    request = Request.parse(handle)
    return run_request(_resolve_for_hub, request)


def _resolve_for_hub(request: Request) -> str:
    model = _find(request, versions=False)
    model.check.run(model.path)
    return model.path


class ModelToPublish(NamedTuple):
    """Where a model is, and whether it has to be signed, or was."""

    location: ModelLocation
    is_signed: bool

    @property
    def path(self) -> str:
        return self.location.path


def locate_to_publish(request: Request) -> ModelToPublish:
    """Return where the model of a request is, with its record; fetch it first if it is not cached. Raises as ``resolve``.

    Raises:
        PolicyError: if the model is refused: a server loads what is published without asking again.
    """
    return run_request(_locate_to_publish, request)


def _locate_to_publish(request: Request) -> ModelToPublish:
    from tfimm_resolver.resolution import signatures
    from tfimm_resolver.resolution.selection import select_model

    resolved = rules.match_rule(request)
    location, check = _locate(resolved)
    check.run(select_model(location), is_served=True)
    return ModelToPublish(location, signatures.is_signed(resolved, location))


class ResolvedModel(NamedTuple):
    """The path of a model, and the check to run on the directory that TensorFlow is about to read."""

    path: str
    check: ModelCheck


def resolve_to_load(
    handle: str | os.PathLike[str],
    *,
    timeout_s: float | None = None,
    cancel: CancelEvent | None = None,
    former: str | None = None,
) -> ResolvedModel:
    """Return what ``resolve`` returns, and the check, which the caller runs; the limits are for both together.

    ``former`` is the URL that the model at a path was fetched from.
    """
    request = Request.parse(handle)
    if former is not None:
        request = replace(request, former=(Handle.parse(former),))
    begin_s = clock.get_monotonic_s()
    model = run_request(_find, request, timeout_s, cancel)

    def run_limited(search: Callable[[], None]) -> None:
        spent_s = clock.get_monotonic_s() - begin_s
        call_with_limits(search, request.handle, timeout_s, cancel, spent_s=spent_s, done="searched for operations")

    model.check.run_limited = run_limited
    return model


def _resolve(request: Request) -> str:
    return resolve_plan(rules.match_rule(request))


def resolve_plan(resolved: ResolvedPlan, make_upstream: Callable[[ResolvedPlan], Upstream] | None = None) -> str:
    """Return the path of the model of a plan, as ``resolve`` does; ``make_upstream`` as for ``fetching.fetch``."""
    model = _find_plan(resolved, make_upstream)
    if model.check.is_at_resolve:
        model.check.run(model.path)
    return model.path


def _find(request: Request, *, versions: bool = True) -> ResolvedModel:
    return _find_plan(rules.match_rule(request), versions=versions)


def _find_plan(
    resolved: ResolvedPlan, make_upstream: Callable[[ResolvedPlan], Upstream] | None = None, *, versions: bool = True
) -> ResolvedModel:
    select_model = _import_steps()[2]
    location, check = _locate(resolved, make_upstream)
    return ResolvedModel(select_model(location, versions=versions), check)


def _locate(
    resolved: ResolvedPlan, make_upstream: Callable[[ResolvedPlan], Upstream] | None = None
) -> tuple[ModelLocation, ModelCheck]:
    fetch_model, make_check, _ = _import_steps()
    config = settings.read_config()
    try:
        if make_upstream is None:
            location = fetch_model(resolved, config=config)
        else:
            location = fetch_model(resolved, make_upstream, config)
    except FetchError as error:
        from tfimm_resolver.cache.tier import ModelLocation
        from tfimm_resolver.resolution.other_resolvers import resolve_elsewhere

        location = ModelLocation(resolve_elsewhere(resolved, error), None, resolved.request.subdirectory)
        location.is_fetched = True
    # A rule that was written during a download counts.
    return location, make_check(resolved, location, None if location.is_fetched else config)


@functools.cache  # each import statement takes 2 µs at each hit
def _import_steps() -> tuple[
    Callable[..., ModelLocation],
    Callable[[ResolvedPlan, ModelLocation, Config | None], ModelCheck],
    Callable[..., str],
]:
    """Import what only a call needs: importing the package should not cost these 3 ms."""
    from tfimm_resolver.resolution.fetching import fetch_model
    from tfimm_resolver.resolution.operation_check import make_check
    from tfimm_resolver.resolution.selection import select_model

    return fetch_model, make_check, select_model


def run_request(
    action: Callable[[Request], Found], request: Request, timeout_s: float | None = None, cancel: CancelEvent | None = None
) -> Found:
    """Run a look-up within its limits, and report it to those who listen to events; raises as ``call_with_limits`` does."""
    if not events.is_active():
        return call_with_limits(lambda: action(request), request.handle, timeout_s, cancel)
    with events.report_operation(request.handle.redacted) as operation:
        found = call_with_limits(lambda: action(request), request.handle, timeout_s, cancel)
        operation.path = found if isinstance(found, str) else found.path
        return found


def cached_model_path(model_name: str) -> str | None:
    """Return the path of a model by its name, in the lookup order of ``resolve``; None if it is not on this machine.

    Also None, with a warning in the log, if the path given to ``set_model_cache`` does not exist. The same holds for a cached
    copy that does not match the pin in the models file, or lacks a signature that is required. Fetches nothing.

    Raises:
        HandleError: if the name is not valid.
        ModelsFileError: if the models file cannot be used.
        PolicyError: if its operations are refused with ``at = "resolve"``.

    Example:
        >>> tfimm_resolver.cached_model_path("resnet18") is None
        True
        >>> with tfimm_resolver.using(models={"resnet18": "gs://bucket/resnet18"}):
        ...     tfimm_resolver.cached_model_path("resnet18")
        'gs://bucket/resnet18'
    """
    try:
        return _find_cached_path(model_name)
    except (IntegrityError, MissingOverrideError) as error:
        log.warning("%s", error.text)
        return None


def _find_cached_path(model_name: str) -> str | None:
    from tfimm_resolver.resolution import signatures
    from tfimm_resolver.resolution.cached_names import find_adopted
    from tfimm_resolver.resolution.fetching import find_cached
    from tfimm_resolver.resolution.selection import select_model, select_path

    key = overrides.parse_key(model_name)
    is_plain_name = "://" not in key and overrides.get_override(key) is None
    if is_plain_name and (resolved := rules.match_models_file(Request.parse(model_name))) is not None:
        found = find_cached(resolved)
        return _check_path(select_model(found), resolved, found) if found else None
    path = overrides.find_path(model_name) or (find_adopted(key) if is_plain_name else None)
    if path is None:
        return None
    signatures.check_path(Request.parse(model_name), path)
    return _check_path(select_path(path), signatures.plan_path(Request.parse(model_name), path))


def _check_path(path: str, resolved: ResolvedPlan, found: ModelLocation | None = None) -> str:
    from tfimm_resolver.cache.tier import ModelLocation
    from tfimm_resolver.resolution.operation_check import make_check

    check = make_check(resolved, found or ModelLocation(path))
    if check.is_at_resolve:
        check.run(path)
    return path
