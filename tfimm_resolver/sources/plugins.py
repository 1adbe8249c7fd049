"""Sources from other packages: an entry point ``<scheme> = <module>:<function>`` in the group ``tfimm_resolver.sources``."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Container
from dataclasses import replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar, get_args

from tfimm_resolver.errors import ResolverError, SourceError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources.plan import Fetch, InPlace, MutableRef, Plan, RemoteLocation, Source

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

log = logging.getLogger("tfimm_resolver")

GROUP = "tfimm_resolver.sources"

_loaded: dict[str, Source] = {}
_warned: set[str] = set()
_P = ParamSpec("_P")
_R = TypeVar("_R")


def schemes(built_in: Container[str]) -> list[str]:
    """The schemes that installed packages serve, sorted; none of them is loaded for that."""
    return sorted(_entry_points_by_scheme(built_in))


def source(scheme: str, built_in: Container[str]) -> Source | None:
    """The source that an installed package has for a scheme; None if there is none.

    Looks at what is installed each time until it has found one, since a notebook may install it meanwhile.

    Raises:
        SourceError: if it cannot be loaded, or several packages have one.
    """
    if scheme not in _loaded:
        offers = _entry_points_by_scheme(built_in).get(scheme, [])
        if not offers:
            return None
        if len(offers) > 1:
            several = " and ".join(sorted(_owner(offer) for offer in offers))
            raise SourceError(f"{several} each have a source for {scheme}://", fix="Uninstall all of them but one.")
        _loaded[scheme] = _wrap_plugin(offers[0])
    return _loaded[scheme]


def _entry_points_by_scheme(built_in: Container[str]) -> dict[str, list[EntryPoint]]:
    """What is installed, by scheme; a scheme of ours is not theirs to serve, which is told once."""
    from importlib.metadata import entry_points  # 20 ms that only a scheme that is not ours costs

    found: dict[str, list[EntryPoint]] = {}
    for offer in entry_points(group=GROUP):
        if offer.name.lower() not in built_in:
            found.setdefault(offer.name.lower(), []).append(offer)
        elif offer.value not in _warned:
            _warned.add(offer.value)
            log.warning("%s has a source for %s://, which is ours: it is not used", _owner(offer), offer.name)
    return found


def _owner(offer: EntryPoint) -> str:
    return f"{offer.dist.name} {offer.dist.version}" if offer.dist else offer.value


def _wrap_plugin(offer: EntryPoint) -> Source:
    """The source, whose errors and answers are ours."""
    owner = f"the source of {offer.name.lower()}:// in {_owner(offer)}"
    fix = f"That is a fault of {_owner(offer)}: mend or uninstall it."
    try:
        plan = offer.load()
    except Exception as error:  # whatever the import of a stranger raises
        raise SourceError(f"{owner} cannot be loaded: {type(error).__name__}: {error}", fix=fix) from error
    if not callable(plan):
        raise SourceError(f"{owner} is no function, but {plan!r:.80}", fix=fix)

    ask: Source = _map_errors(owner, fix, plan)

    def guarded(handle: Handle) -> Plan | None:
        answer = ask(handle)
        if not _is_plan(answer):
            raise SourceError(f"{owner} answered {answer!r:.200} to {handle}, which is no plan", fix=fix)
        if isinstance(answer, Fetch):
            return replace(answer, fill=_map_errors(owner, fix, answer.fill))
        if isinstance(answer, RemoteLocation):
            fill = _map_errors(owner, fix, answer.otherwise.fill)
            return RemoteLocation(_map_errors(owner, fix, answer.where), replace(answer.otherwise, fill=fill))
        if isinstance(answer, MutableRef):
            newest = _map_errors(owner, fix, answer.newest) if answer.newest else None
            return MutableRef(_map_errors(owner, fix, answer.now), newest)
        return answer

    return guarded


def _is_plan(answer: object) -> bool:
    """Whether a source may answer so."""
    if isinstance(answer, InPlace):
        return isinstance(answer.path, str) and ("://" in answer.path or os.path.isabs(answer.path))
    if isinstance(answer, RemoteLocation):
        return callable(answer.where) and isinstance(answer.otherwise, Fetch) and _is_plan(answer.otherwise)
    if isinstance(answer, Fetch):
        return isinstance(answer.key, str) and bool(answer.key) and callable(answer.fill)
    if isinstance(answer, MutableRef):
        return callable(answer.now) and (answer.newest is None or callable(answer.newest))
    return answer is None or isinstance(answer, get_args(Plan))


def _map_errors(owner: str, fix: str, call: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function of theirs, whose errors, where they are not ours, tell whose they are."""

    @functools.wraps(call)
    def told(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return call(*args, **kwargs)
        except ResolverError:
            raise
        except Exception as error:
            raise SourceError(f"{owner} failed: {type(error).__name__}: {error}", fix=fix) from error

    return told
