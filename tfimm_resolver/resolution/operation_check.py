"""Refuses models by their operations, before TensorFlow sees them, and warns of others: the only place.

``resolver`` makes a ``ModelCheck`` for each model that it finds, and runs it before it returns a path to tensorflow_hub; the
loader runs it on the directory that TensorFlow is about to read.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tfimm_resolver._util.cancellation import ignore_time_limits
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import HandleError, LoadError, ModelsFileError, PolicyError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.models_file import discovery
from tfimm_resolver.resolution import signatures
from tfimm_resolver.trust import operation_policy
from tfimm_resolver.trust.operation_policy import AT_RESOLVE, Policy

if TYPE_CHECKING:
    from tfimm_resolver.cache.tier import ModelLocation
    from tfimm_resolver.models_file.schema import ModelEntry
    from tfimm_resolver.resolution.request import ResolvedPlan
    from tfimm_resolver.saved_model.operations import Operation
    from tfimm_resolver.settings import Config

log = logging.getLogger("tfimm_resolver")

_SHOWN_MAX = 5
_ACCEPT = "lists all operations. If you accept what the model does, change the rule."
_WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
_WARMUP_NOTE = "a server that loads it replays its warm-up requests"
_NOT_SEARCHED_FIX = "Use a copy on this machine's disk, in the binary format; or change the rule."

_warned: set[str] = set()
"""The directories that were warned of, so that each is once in a process."""


class ModelCheck:
    """What is refused of one model; ``run`` searches a directory for it.

    Attributes:
        label: the model's name in messages.
        policies: what is refused, and where that is set; found when they are needed.
        is_at_resolve: not even the path of the model may be returned if it is refused.
        is_cached: the model was on this machine before, so that the search may take longer than ``timeout_s``.
        run_limited: calls the search within the limits of the call that the model is for.
    """

    def __init__(
        self,
        named: str | ResolvedPlan,
        list_policies: Callable[[], list[Policy]],
        *,
        may_refuse_path: bool = False,
        is_cached: bool = False,
    ) -> None:
        self.is_cached = is_cached
        self._named, self._list_policies, self._may_refuse_path = named, list_policies, may_refuse_path
        self.run_limited: Callable[[Callable[[], None]], None] = _call

    @property
    def label(self) -> str:
        return self._named if isinstance(self._named, str) else self._named.label

    @functools.cached_property
    def policies(self) -> list[Policy]:
        return self._list_policies()

    @property
    def is_at_resolve(self) -> bool:
        return self._may_refuse_path and any(policy.at == AT_RESOLVE for policy in self.policies)

    def run(self, path: str, *, is_served: bool = False) -> None:
        """Check each model in a directory that TensorFlow, or a caller, is about to receive; warn once of what is allowed.

        ``is_served`` says that a server receives it, which replays the model's warm-up requests when it loads it.

        Raises:
            PolicyError: if one has an operation that is refused, or cannot be searched completely while anything is refused.
            FetchError: if it takes longer than the call may.
            CancelledError: if the call is cancelled.
        """
        self.run_limited(functools.partial(self._run, path, is_served))

    def _run(self, path: str, is_served: bool) -> None:
        with ignore_time_limits() if self.is_cached else contextlib.nullcontext():
            self._search_all(path, is_served)

    def _search_all(self, path: str, is_served: bool) -> None:
        for directory in self._list_directories(path):
            is_warmed = is_served and os.path.lexists(os.path.join(directory, _WARMUP_FILE))
            found = self._search(directory, is_warmed=is_warmed)
            for policy in self.policies:
                kinds = [kind for kind in policy.refuse if any(matches(one, kind) for one in found)]
                if kinds:
                    violations = [one for one in found if any(matches(one, kind) for kind in kinds)]
                    raise self._make_error(directory, policy, kinds, violations, is_warmed)
            self._warn(directory, found)

    def _list_directories(self, path: str) -> Iterator[str]:
        """Yield the directories of SavedModels at a path and below it."""
        if "://" in path:
            if self.policies:
                raise self._make_unsearched_error(path, "it is not on this machine's disk")
            return
        from tfimm_resolver.saved_model import locate

        models = locate.find_models_on_disk(path)
        if self.policies and not models.is_complete:
            raise self._make_unsearched_error(path, "it has too many directories, or too deep ones")
        yield from (os.path.join(path, directory) if directory else path for directory in models.directories)

    def _search(self, directory: str, *, is_warmed: bool) -> tuple[Operation, ...]:
        from tfimm_resolver.resolution import scan_memory  # imported for models that are loaded

        try:
            found = scan_memory.find_operations(directory, is_warmed=is_warmed)
            return tuple(map(_count_as_on_load, found)) if is_warmed else found
        except (ValueError, LoadError) as error:
            if self.policies:
                raise self._make_unsearched_error(directory, str(error)) from error
            log.debug("%s was not searched for operations: %s", show(directory), show(error))
            return ()

    def _make_unsearched_error(self, directory: str, reason: str) -> PolicyError:
        policy = self.policies[0]
        return PolicyError(
            f"{show(self.label)} is refused: {show(policy.source)} refuses {', '.join(policy.refuse)}, and {show(directory)} "
            f"cannot be searched for operations: {show(reason)}",
            fix=_NOT_SEARCHED_FIX,
        )

    def _make_error(
        self, directory: str, policy: Policy, kinds: list[str], found: list[Operation], is_warmed: bool
    ) -> PolicyError:
        note = f"\n{_WARMUP_NOTE}: {_WARMUP_FILE}" if is_warmed else ""
        return PolicyError(
            f"{show(self.label)} is refused: {show(policy.source)} refuses {', '.join(kinds)}, and {show(directory)} "
            f"has\n{_describe_all(found)}{note}",
            fix=self._suggest_fix(),
        )

    def _suggest_fix(self) -> Advice:
        label = show(self.label)
        return Advice(
            python=f"inspect({label!r}) {_ACCEPT}",
            command=f"`tfimm-resolver inspect --ops {shlex.quote(label)}` {_ACCEPT}",
        )

    def _warn(self, directory: str, found: Iterable[Operation]) -> None:
        noticed = [one for one in found if one.when == "on load" and (one.kind == "write" or one.is_remote)]
        if noticed and directory not in _warned:
            _warned.add(directory)
            log.warning("%s writes files or uses the network when it is loaded:\n%s", show(self.label), _describe_all(noticed))


def _call(search: Callable[[], None]) -> None:
    search()


def make_check(resolved: ResolvedPlan, location: ModelLocation, config: Config | None = None) -> ModelCheck:
    """Return the check for a model, whichever way led to it: by its name, an override, a mirror, its path or the cache.

    ``config`` is the settings file if the caller has read it for this call.

    Raises:
        HandleError: if a setting is not valid.
    """
    entries = _list_restricted()
    at_resolve = operation_policy.may_refuse_paths(config)
    for entry in entries:
        at_resolve = at_resolve or (entry.ops is not None and entry.ops.at == AT_RESOLVE)
    list_policies = functools.partial(_list_policies, resolved, location, entries)
    return ModelCheck(resolved, list_policies, may_refuse_path=at_resolve, is_cached=not location.is_fetched)


def _list_policies(resolved: ResolvedPlan, location: ModelLocation, entries: list[ModelEntry]) -> list[Policy]:
    if not (entries or operation_policy.has_policies()):
        return []
    handles = [*signatures.list_handles(resolved)]
    if location.record is not None:
        handles += _parse(location.record.handle)
    return [*_list_entry_policies(resolved, handles, entries), *operation_policy.list_policies(handles)]


def matches(operation: Operation, kind: str) -> bool:
    """Whether an operation is of a kind that a policy names; what may happen on load, for all that is known, does."""
    match kind:
        case "on-load-writes":
            return operation.kind == "write" and operation.when != "on call"
        case "network":
            return operation.is_remote
        case "writes" | "reads":
            return operation.kind == kind.removesuffix("s")
    return operation.kind == kind


def _list_restricted() -> list[ModelEntry]:
    """Return the entries with policies; a models file that cannot be read is an error when one of its names is resolved."""
    try:
        return discovery.list_restricted()
    except ModelsFileError as error:
        log.debug("the models file was not searched for policies: %s", error.text)
        return []


def _list_entry_policies(resolved: ResolvedPlan, handles: list[Handle], entries: list[ModelEntry]) -> Iterator[Policy]:
    """Yield the policies of the models files for a model: of each entry with its name, or with one of its handles.

    The name counts also if its path is overridden, and a handle also if it is a mirror.
    """
    from tfimm_resolver.trust.prefixes import list_forms

    names = {handle.text for handle in handles if handle.is_name}
    forms = {spelling for handle in handles if not handle.is_name for spelling in list_forms(handle)}
    for entry in entries:
        known = {one for text in (entry.handle, *entry.mirrors) for handle in _parse(text) for one in list_forms(handle)}
        is_named = entry == resolved.model or not names.isdisjoint((entry.name, *entry.aliases))
        if entry.ops is not None and (is_named or known & forms):
            yield entry.ops


def _parse(text: str) -> list[Handle]:
    try:
        return [Handle.parse(text)]
    except HandleError:
        return []


def _count_as_on_load(one: Operation) -> Operation:
    return replace(one, when="on load") if one.when == "on call" else one


def _describe_all(found: list[Operation]) -> str:
    lines = [f"  {_describe(one)}" for one in found[:_SHOWN_MAX]]
    return "\n".join([*lines, f"  and {len(found) - _SHOWN_MAX} more"] if len(found) > _SHOWN_MAX else lines)


def _describe(one: Operation) -> str:
    path = f" {show(one.path)}" if one.path else ""
    node = f" ({show('/'.join(filter(None, (one.function, one.node))))})" if one.node or one.function else ""
    return f"{one.kind} {one.when}: {show(one.op)}{path}{node}"
