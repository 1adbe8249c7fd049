"""Which rule answers to a handle: overrides, the models file, the directory of names, then each source."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tfimm_resolver.errors import CacheError, FetchError, HandleError, ModelsFileError, NotFoundError, UnknownHandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import named_models, overrides
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import Fetch, InPlace, MutableRef, Plan, RemoteLocation
from tfimm_resolver.sources.registry import known_schemes, sources_for

if TYPE_CHECKING:
    from tfimm_resolver.models_file.schema import ModelEntry


log = logging.getLogger("tfimm_resolver")


@dataclass(frozen=True, slots=True)
class ResolvedPlan:
    """What is to be done with a handle.

    Attributes:
        rule: the key of the rule that answered, in ``RULES``.
        handle: what is brought for it, with the pin that it has to keep.
        model: what the models file says, where that is the rule, or led to what is overridden.
        is_upstream: what the place itself has is wanted, whatever is overridden.
    """

    rule: str
    handle: Handle
    plan: Plan
    model: ModelEntry | None = None
    is_upstream: bool = False

    @property
    def mirrors(self) -> tuple[Handle, ...]:
        """Where the same archive is, if the models file's handle fails; each with the pin.

        None for what that leads to: bytes that are pinned under one key would stand under another one.
        """
        if self.model is None or Handle.parse(self.model.handle).key != self.handle.key:
            return ()
        places = self.model.mirrors
        return tuple(Handle.parse(place, sha256=self.handle.sha256) for place in places)


class OverrideTargetMissingError(UnknownHandleError):
    """``set_model_cache`` named a place where nothing is; to others an UnknownHandleError like any."""

    @property
    def code(self) -> str:
        return "unknown-handle"


def match_rule(handle: Handle) -> ResolvedPlan:
    """What the first rule that knows a handle says of it.

    Raises:
        UnknownHandleError: if none does.
        HandleError: if the handle contradicts what the rule says, or that cannot be used.
    """
    for rule in RULES.values():
        if (found := rule(handle)) is not None:
            return found
    raise _unknown(handle)


def resolve_upstream(handle: Handle) -> ResolvedPlan:
    """What the place itself says that a handle names, whatever other rules say; raises as ``answer`` does."""
    if (found := by_source(handle)) is None:
        raise _unknown(handle)
    return replace(found, is_upstream=True)


def follow_ref(match_rule: ResolvedPlan, fixed: str) -> ResolvedPlan:
    """The answer for the handle that the one of an answer stands for now; an override of it counts, too."""
    handle = Handle.parse(fixed, sha256=match_rule.handle.sha256)
    found = None if match_rule.is_upstream else by_override(handle)
    if found is not None:
        return replace(found, model=match_rule.model)
    found = resolve_upstream(handle)
    return replace(match_rule, handle=found.handle, plan=found.plan)


def mirror_plan(place: Handle) -> Fetch:
    """How the archive comes from a mirror; raises NotFoundError where none can."""
    plan = source_plan(place)
    if plan is None or isinstance(plan, (InPlace, MutableRef)):
        raise NotFoundError(f"{place} is {'nowhere to be found' if plan is None else 'no archive that stays the same'}")
    return plan.otherwise if isinstance(plan, RemoteLocation) else plan


def source_plan(handle: Handle) -> Plan | None:
    """What the first source that knows a handle says of it; no other rule is asked."""
    plans = (source(handle) for source in sources_for(handle.scheme))
    return next((plan for plan in plans if plan is not None), None)


def by_override(handle: Handle) -> ResolvedPlan | None:
    """What ``set_model_cache`` says."""
    if (place := overrides.override(handle.key)) is None:
        return None
    if not named_models.exists(place):
        raise OverrideTargetMissingError(
            f"set_model_cache() says that {handle} lies at {place}, where nothing is",
            fix="Put the model there, or take the override back with clear_model_cache().",
        )
    target = Handle.parse(place, sha256=handle.sha256)
    plan = source_plan(target) or InPlace(place)
    if isinstance(plan, InPlace) and handle.sha256 is not None:
        raise HandleError(
            f"set_model_cache() says that {handle} lies at {place}, which is a directory: "
            "only an archive can be pinned by sha256",
            fix="Give it the archive. For a name of the models file itself no pin counts: set_model_cache(name, path).",
        )
    return ResolvedPlan("override", target, plan)


def by_models_file(handle: Handle) -> ResolvedPlan | None:
    """What the project's models file says; what it pins is not shadowed by a directory of the same name."""
    if not handle.is_name or (model := discovery.find(handle.text)) is None:
        return None
    if handle.sha256 not in (None, model.sha256) and model.sha256 is not None:
        raise HandleError(
            f"{handle} is pinned to another sha256 than was asked for:\n"
            f"  pinned {model.sha256}, in {model.place}\n  asked  {handle.sha256}"
        )
    if model.mirrors and (handle.sha256 or model.sha256) is None:
        raise ModelsFileError(
            f"{model.place}: {model.name} has mirrors, and no sha256 by which their bytes could be believed",
            fix=f"Pin it: tfimm-resolver lock {model.name}",
        )
    try:
        target = Handle.parse(model.handle, sha256=handle.sha256 or model.sha256)
        plan = source_plan(target)
    except HandleError as error:
        raise ModelsFileError(f"{model.place}: {model.name}: {error.text}", fix=error.fix) from error
    if (found := by_override(target)) is not None:
        return replace(found, model=model)
    if plan is None:
        unknown = _unknown(target)
        raise UnknownHandleError(f"{model.place}: {model.name}: {unknown.text}", fix=unknown.fix)
    return ResolvedPlan("models file", target, plan, model)


def by_name(handle: Handle) -> ResolvedPlan | None:
    """What lies under the name below ``get_dir()``, or tfimm's other reading of it."""
    if not handle.is_name:
        return None
    try:
        path = named_models.find_named(named_models.validate_name(handle.text))
    except (CacheError, FetchError) as error:
        if (found := by_source(handle)) is None:
            raise
        log.warning("passed over: %s", error.text)
        return found
    return None if path is None else ResolvedPlan("directory of names", handle, InPlace(path))


def by_source(handle: Handle) -> ResolvedPlan | None:
    """What the place says that the handle names."""
    plan = source_plan(handle)
    return None if plan is None else ResolvedPlan("source", handle, plan)


RULES: dict[str, Callable[[Handle], ResolvedPlan | None]] = {
    "override": by_override,
    "models file": by_models_file,
    "directory of names": by_name,
    "source": by_source,
}
"""Every rule, in the look-up order."""


def _unknown(handle: Handle) -> UnknownHandleError:
    if handle.scheme:
        return UnknownHandleError(
            f'nobody serves "{handle}"\n  known schemes: {", ".join(known_schemes())}', fix=_other_scheme(handle)
        )
    looked = [local.find_place(handle)]
    if handle.is_name:
        looked = [*discovery.files(), *named_models.candidate_paths(handle.text), *looked]
    similar = overrides.suggest(handle.text, _project_names()) if handle.is_name else []
    fix = "Give a URL or a path, or say where it is: set_model_cache(name, path)."
    if similar:
        fix = f"Did you mean {' or '.join(similar)}?"
    kind = "name" if handle.is_name else "path"
    return UnknownHandleError(f'no model of the {kind} "{handle}"\n  looked at: {", ".join(looked)}', fix=fix)


def _project_names() -> list[str]:
    return [word for file in discovery.files() for word in discovery.read(file)]


def _other_scheme(handle: Handle) -> str:
    import difflib  # 1 ms that only an error costs

    rest = str(handle).partition("://")[2]
    close = difflib.get_close_matches(handle.scheme, [*known_schemes(), "tfhub"], n=1)
    if not close:
        return "Write a URL, a path or a model name."
    return f"Did you mean {'https://tfhub.dev' if close == ['tfhub'] else close[0] + ':/'}/{rest} ?"
