"""Explains how a handle is resolved: the rule that decides, and why every other candidate was rejected."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver.errors import CacheError, FetchError, IntegrityError, ModelsFileError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import SignedBy
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import named_models, overrides, rules, signatures
from tfimm_resolver.resolution.fetching import find_cached
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.resolution.selection import select_model
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import InPlace, RemoteLocation

if TYPE_CHECKING:
    from tfimm_resolver.trust.policy import Requirement

_LOWER = "lower priority"


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one handle is resolved, and why.

    Attributes:
        resolved: the plan, and the rule that made it.
        path: where the model is; None if it would have to be fetched, does not match its pin, or ``resolve`` asks upstream.
        error: why the cached model may not be used.
        decided_by: what the rule is based on: a function, a line of a file, a directory, a scheme.
        rejected: the other candidates, and why each was rejected, in lookup order.
        needs_network: whether each ``resolve`` asks upstream where the model is.
        requirements: the signatures that the model must have.
        signed_by: who has signed the model that is cached, if that is known.
    """

    resolved: ResolvedPlan
    path: str | None
    error: IntegrityError | None
    decided_by: str
    rejected: list[tuple[str, str]]
    needs_network: bool = False
    requirements: tuple[Requirement, ...] = ()
    signed_by: SignedBy | None = None

    @property
    def size_bytes(self) -> int | None:
        """The size of the archive, if the models file states it."""
        return self.resolved.model.size_bytes if self.resolved.model else None


def explain(text: str) -> Explanation:
    """Explain how a handle is resolved, without fetching anything; raises as ``resolve`` does if no rule matches,
    or if the cached model does not contain the subdirectory."""
    request = Request.parse(text)
    handle, resolved = request.handle, rules.match_rule(request)
    path, mismatch, signed_by = None, None, None
    requirements = tuple(signatures.list_requirements(resolved))
    try:
        found = find_cached(resolved)
        path = select_model(found) if found else None
        signed_by = signatures.check(found, requirements, resolved.label) if found else None
    except IntegrityError as error:
        mismatch = error
    needs_network = isinstance(resolved.plan, RemoteLocation) and resolved.handle.sha256 is None and not settings.is_offline()
    needs_network = needs_network and not requirements
    rejected = [
        *_explain_overrides(resolved),
        *_explain_files(handle, resolved),
        *_explain_directories(handle, resolved),
        *_explain_roots(resolved, path),
    ]
    if needs_network and path:
        rejected.append((path, "cached, used if upstream does not name an uncompressed copy"))
    decided_by = _explain_decision(handle, resolved)
    path = None if needs_network else path
    return Explanation(resolved, path, mismatch, decided_by, rejected, needs_network, requirements, signed_by)


def _explain_decision(handle: Handle, resolved: ResolvedPlan) -> str:
    if resolved.rule == "override":
        model = resolved.model
        origin = f" for {model.redacted_handle}, the handle in {model.location}" if model else ""
        return f"set by set_model_cache{origin}"
    if resolved.model is not None:
        alias = "" if resolved.model.name == handle.text else f", {handle.text} is an alias of {resolved.model.name}"
        return resolved.model.location + alias
    if resolved.rule == "directory of names":
        assert isinstance(resolved.plan, InPlace)
        return os.path.dirname(resolved.plan.path)
    if resolved.rule == rules.CACHED_NAME:
        return "as listed by `tfimm-resolver ls`"
    return resolved.handle.scheme or "a path on this machine"


def _explain_overrides(resolved: ResolvedPlan) -> Iterator[tuple[str, str]]:
    if resolved.rule != "override":
        others = overrides.list_cached_models()
        yield "set_model_cache", "not set for this handle" if others else "nothing set in this process"


def _explain_files(handle: Handle, resolved: ResolvedPlan) -> Iterator[tuple[str, str]]:
    if not handle.is_name:
        return
    files = discovery.find_files()
    if not files:
        yield discovery.FILE_NAME, "none found"
    for file in files:
        try:
            is_named = handle.text in discovery.read_entries(file)
        except ModelsFileError as error:
            yield file, f"cannot be used: {error.text}"
            continue
        if resolved.model is None or resolved.model.file != file:
            yield file, f"names it, {_LOWER}" if is_named else "does not name it"


def _explain_directories(handle: Handle, resolved: ResolvedPlan) -> Iterator[tuple[str, str]]:
    if not handle.is_name:
        return
    used = resolved.plan.path if isinstance(resolved.plan, InPlace) else None
    for path in named_models.list_candidate_paths(handle.text):
        if path != used:
            yield path, _explain_path(path)
    if (here := local.find_path(handle)) != used:
        yield here, f"exists, {_LOWER}" if os.path.exists(here) else "does not exist"


def _explain_path(path: str) -> str:
    """Return why a path at which a name is looked up was rejected."""
    try:
        if named_models.has_saved_model(path):
            return f"exists, {_LOWER}"
    except (CacheError, FetchError) as error:
        return f"skipped: {error.text}"
    return "not a complete model" if os.path.exists(path) else "does not exist"


def _explain_roots(resolved: ResolvedPlan, path: str | None) -> Iterator[tuple[str, str]]:
    if isinstance(resolved.plan, InPlace):
        return
    for root in settings.extra_roots():
        if path is None or not path.startswith(f"{root}/"):
            yield root, "an extra root without a copy, or with an older or damaged one"
