"""Asks the resolvers that other packages added to tensorflow_hub, once this package cannot fetch a model."""

from __future__ import annotations

import contextvars
import logging
import os
import sys
from collections.abc import Iterator
from typing import Any

from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.urls import has_signature
from tfimm_resolver.errors import ArchiveError, FetchError, IntegrityError, SourceError
from tfimm_resolver.handles.pin import NO_PIN
from tfimm_resolver.resolution import named_models, signatures
from tfimm_resolver.resolution.request import ResolvedPlan

log = logging.getLogger("tfimm_resolver")

_NOT_OTHERS = ("tfimm_resolver", "tensorflow_hub")
"""Packages whose own resolvers are not asked: ours has just failed, and tensorflow_hub's would fetch without its checks."""

_is_active: contextvars.ContextVar[bool] = contextvars.ContextVar("tfimm_resolver_is_active_others", default=False)


def resolve_elsewhere(resolved: ResolvedPlan, error: FetchError) -> str:
    """Return the path that another resolver of tensorflow_hub's registry has for a handle; ``error`` is our own failure.

    The newest resolver is asked first, as tensorflow_hub does it. One that fails, or returns a path that does not exist, is
    skipped. A resolver that calls this package again gets our error: others are not asked once more.

    Raises:
        FetchError: ``error``, with the failures of the others, if none of them has the model or none may be asked.
    """
    if not _is_allowed(resolved, error) or _is_active.get():
        raise error
    before = _is_active.set(True)
    try:
        failures = list[str]()
        for resolver in _list_others():
            name = show(type(resolver).__name__)
            try:
                path = _resolve_with(resolver, resolved.handle.text)
            except Exception as failure:  # foreign code may raise anything
                log.debug("the resolver %s failed", name, exc_info=failure)
                failures.append(f"{name}: {show(f'{type(failure).__name__}: {failure}')}")
            else:
                if path is not None:
                    log.warning("%s comes from %s, a resolver of tensorflow_hub: %s", resolved.handle, name, error.text)
                    return path
    finally:
        _is_active.reset(before)
    if not failures:
        raise error
    details = "\n  ".join(["other resolvers of tensorflow_hub failed, too:", *failures])
    raise error.with_message(f"{error.text}\n  {details}") from error


def _is_allowed(resolved: ResolvedPlan, error: FetchError) -> bool:
    """Whether another resolver may answer: not in place of wrong bytes, and nothing whose content has to be verified."""
    if isinstance(error, (IntegrityError, ArchiveError, SourceError)) or resolved.rule == "override":
        return False
    request = resolved.request
    is_signed = has_signature(resolved.handle.text.partition("?")[2])  # the query of some handles is not part of the model
    if signatures.list_requirements(resolved):
        return False
    return request.pin == NO_PIN and not (is_signed or request.refresh)


def _list_others() -> Iterator[Any]:
    """Yield the resolvers of other packages, if tensorflow_hub is imported, the newest first."""
    registry = getattr(sys.modules.get("tensorflow_hub.registry"), "resolver", None)
    for resolver in reversed(list(getattr(registry, "_impls", ()))):
        if type(resolver).__module__.partition(".")[0] not in _NOT_OTHERS:
            yield resolver


def _resolve_with(resolver: Any, handle: str) -> str | None:
    """Return the path that a resolver returns, absolute; None if it does not support the handle.

    Raises:
        FileNotFoundError: if it does not exist, or is empty.
    """
    if not resolver.is_supported(handle):
        return None
    path = os.fspath(resolver(handle))
    if not isinstance(path, str) or not path or not named_models.exists(path):
        raise FileNotFoundError(f"it returned {path!r:.200}, which does not exist or is empty")
    return path if "://" in path else os.path.abspath(path)
