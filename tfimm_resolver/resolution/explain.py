"""Explains how a handle is resolved: the rule that decides, and why every other candidate was rejected."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver.cache.tier import ModelLocation, Tier
from tfimm_resolver.errors import CacheError, FetchError, IntegrityError, ModelsFileError, PolicyError, ResolverError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.manifest import SignedBy
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import named_models, overrides, rules, signatures
from tfimm_resolver.resolution.fetching import find_cached
from tfimm_resolver.resolution.operation_check import ModelCheck, make_check
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.resolution.selection import select_model
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import InPlace, MutableRef, RemoteLocation

if TYPE_CHECKING:
    from tfimm_resolver.trust.operation_policy import Policy
    from tfimm_resolver.trust.policy import Requirement

_LOWER = "lower priority"


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one handle is resolved, and why.

    Attributes:
        resolved: the plan, and the rule that made it.
        path: where the model is; None if it would have to be fetched, does not match its pin, or ``resolve`` asks upstream.
        error: why the cached model may not be used, such as a signature that it lacks, or an operation that is refused.
        decided_by: what the rule is based on: a function, a line of a file, a directory, a scheme.
        rejected: the other candidates, and why each was rejected, in lookup order.
        needs_network: whether each ``resolve`` asks upstream where the model is.
        requirements: the signatures that the model must have.
        signed_by: who has signed the model that is cached, if that is known.
        policies: the operations that are refused of the model, when it is loaded or resolved.
        refusal: why the cached model cannot be loaded though it can be resolved.
    """

    resolved: ResolvedPlan
    path: str | None
    error: ResolverError | None
    decided_by: str
    rejected: list[tuple[str, str]]
    needs_network: bool = False
    requirements: tuple[Requirement, ...] = ()
    signed_by: SignedBy | None = None
    policies: tuple[Policy, ...] = ()
    refusal: PolicyError | None = None

    @property
    def size_bytes(self) -> int | None:
        """The size of the archive, if the models file states it."""
        return self.resolved.model.size_bytes if self.resolved.model else None


def explain(text: str) -> Explanation:
    """Explain how a handle is resolved, without fetching anything; raises as ``resolve`` does if no rule matches,
    or if the cached model does not contain the subdirectory."""
    request = Request.parse(text)
    handle, resolved = request.handle, rules.match_rule(request)
    found, path, signed_by = None, None, None
    error: ResolverError | None = None
    requirements = tuple(signatures.list_requirements(resolved))
    try:
        found = find_cached(resolved)
        path = select_model(found) if found else None
        signed_by = signatures.check(found, requirements, resolved.label) if found else None
    except IntegrityError as mismatch:
        error = mismatch
    check = make_check(resolved, found or ModelLocation(""))
    refusal = _find_refusal(check, path) if path and not error else None
    error = error or (refusal if check.is_at_resolve else None)
    needs_network = isinstance(resolved.plan, RemoteLocation) and resolved.handle.sha256 is None and not settings.is_offline()
    needs_network = needs_network and not requirements
    rejected = [
        *_explain_overrides(resolved),
        *_explain_files(handle, resolved),
        *_explain_directories(handle, resolved),
        *_explain_roots(resolved, found),
    ]
    if needs_network and path:
        rejected.append((path, "cached, used if upstream does not name an uncompressed copy"))
    decided_by = _explain_decision(handle, resolved)
    return Explanation(
        resolved,
        None if needs_network or error else path,
        error,
        decided_by,
        rejected,
        needs_network,
        requirements,
        signed_by,
        tuple(check.policies),
        None if error else refusal,
    )


def _find_refusal(check: ModelCheck, path: str) -> PolicyError | None:
    """Return why the operations of a cached model are refused, or None."""
    try:
        if check.policies:  # else a search could only warn
            check.run(path)
    except PolicyError as error:
        return error
    return None


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


def _explain_roots(resolved: ResolvedPlan, used: ModelLocation | None) -> Iterator[tuple[str, str]]:
    if isinstance(resolved.plan, InPlace):
        return
    for root in settings.extra_roots():
        if used is None or not used.path.startswith(f"{root}/"):
            yield root, f"an extra root {_explain_root(resolved, root, used)}"


def _explain_root(resolved: ResolvedPlan, root: str, used: ModelLocation | None) -> str:
    """Return why the copy of a model in an extra root is not used, or that it has none."""
    if not os.path.isdir(root):
        return "that does not exist"
    if (
        isinstance(resolved.plan, MutableRef) or resolved.plan.download is None
    ):  # which of its versions is meant is known only upstream, or by the copy in use
        return "without a copy of this version, or with one that comes later in the order"
    tier, key = Tier(root, is_read_only=True), resolved.plan.download.key
    cache = tier.open()
    try:
        if cache.find(key) is None:
            has_copy = next(cache.entries(cache.entry_name(key)), None) is not None
            return "with a damaged copy" if has_copy else "without a copy"
        if tier.find(key, resolved.request.pin.cover_key(key)) is None:
            return "with a copy that is not known to match the pin"
    except IntegrityError:
        return "with a copy that does not match the pin"
    except CacheError as error:
        return f"that cannot be read: {error.text}"
    return f"with a complete copy, {_LOWER}" if used and used.is_read_only else "with a complete copy, fetched earlier"
