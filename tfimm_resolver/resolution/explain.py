"""Why a handle leads where it does: the rule that answers, and what the others have, in the look-up order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from tfimm_resolver import settings
from tfimm_resolver.errors import CacheError, FetchError, IntegrityError, ModelsFileError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import named_models, overrides, rules
from tfimm_resolver.resolution.resolver import find_cached
from tfimm_resolver.resolution.rules import ResolvedPlan
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import InPlace, RemoteLocation

_LATER = "exists, comes later"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is to be said of one handle.

    Attributes:
        path: where it lies; None if it would have to be fetched, or is not as pinned, or the place has to be asked.
        fault: why what is cached may not be used.
        said_by: who makes the rule answer: a function, a line of a file, a directory, a scheme.
        not_used: other places, and why each was not used, in the look-up order.
        is_asked: whether ``resolve`` asks the place at each call where the model lies.
    """

    answer: ResolvedPlan
    path: str | None
    fault: IntegrityError | None
    said_by: str
    not_used: list[tuple[str, str]]
    is_asked: bool = False

    @property
    def size_bytes(self) -> int | None:
        return self.answer.model.size_bytes if self.answer.model else None


def explain(text: str) -> Explanation:
    """Look a handle up, and say why; nothing is fetched. Raises as ``resolve`` does where no rule answers."""
    handle = Handle.parse(text)
    answer = rules.match_rule(handle)
    path, fault = None, None
    try:
        found = find_cached(answer)
        path = found.path if found else None
    except IntegrityError as error:
        fault = error
    is_asked = isinstance(answer.plan, RemoteLocation) and answer.handle.sha256 is None and not settings.is_offline()
    not_used = [*_overrides(answer), *_files(handle, answer), *_directories(handle, answer), *_roots(answer, path)]
    if is_asked and path:
        not_used.append((path, "cached, serves if the place does not say where it lies uncompressed"))
    return Explanation(answer, None if is_asked else path, fault, _said_by(handle, answer), not_used, is_asked)


def _said_by(handle: Handle, answer: ResolvedPlan) -> str:
    if answer.rule == "override":
        led = f" for {Handle.parse(answer.model.handle)}, to which {answer.model.place} leads" if answer.model else ""
        return f"set by set_model_cache{led}"
    if answer.model is not None:
        alias = "" if answer.model.name == handle.text else f", {handle.text} is an alias of {answer.model.name}"
        return answer.model.place + alias
    if answer.rule == "directory of names":
        assert isinstance(answer.plan, InPlace)
        return os.path.dirname(answer.plan.path)
    return answer.handle.scheme or "a path on this machine"


def _overrides(answer: ResolvedPlan) -> Iterator[tuple[str, str]]:
    if answer.rule != "override":
        known = overrides.list_cached_models()
        yield "set_model_cache", "nothing set for it" if known else "nothing set in this process"


def _files(handle: Handle, answer: ResolvedPlan) -> Iterator[tuple[str, str]]:
    if not handle.is_name:
        return
    files = discovery.files()
    if not files:
        yield discovery.FILE_NAME, "none found"
    for file in files:
        try:
            is_there = handle.text in discovery.read(file)
        except ModelsFileError as error:
            yield file, f"cannot be used: {error.text}"
            continue
        if answer.model is None or answer.model.file != file:
            yield file, "names it, comes later" if is_there else "does not name it"


def _directories(handle: Handle, answer: ResolvedPlan) -> Iterator[tuple[str, str]]:
    if not handle.is_name:
        return
    used = answer.plan.path if isinstance(answer.plan, InPlace) else None
    for place in named_models.candidate_paths(handle.text):
        if place != used:
            yield place, _at(place)
    if (here := local.find_place(handle)) != used:
        yield here, _LATER if os.path.exists(here) else "not there"


def _at(place: str) -> str:
    """What lies where a name is looked up."""
    try:
        is_there = named_models.has_saved_model(place)
    except (CacheError, FetchError) as error:
        return f"passed over: {error.text}"
    return _LATER if is_there else "no whole model" if os.path.exists(place) else "not there"


def _roots(answer: ResolvedPlan, path: str | None) -> Iterator[tuple[str, str]]:
    if isinstance(answer.plan, InPlace):
        return
    for place in settings.extra_roots():
        if path is None or not path.startswith(f"{place}/"):
            yield place, "an extra root, without a copy that counts"
