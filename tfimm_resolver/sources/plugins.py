"""Sources of other packages: entry points ``<scheme> = <module>:<function>`` in the group ``tfimm_resolver.sources``."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar, get_args

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import ResolverError, SourceError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources.plan import Fetch, InPlace, MutableRef, Plan, RemoteLocation, Source

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

log = logging.getLogger("tfimm_resolver")

GROUP = "tfimm_resolver.sources"

_loaded: dict[str, Source] = {}
_warned: set[str] = set()
_P = ParamSpec("_P")
_R = TypeVar("_R")


def list_schemes(built_in: Container[str]) -> list[str]:
    """Return the schemes that installed plug-ins handle, sorted, without loading the plug-ins."""
    return sorted(_entry_points_by_scheme(built_in))


def describe_source(scheme: str, built_in: Container[str]) -> str | None:
    """Return which plug-in handles a scheme, with its package, for a message, without loading it; None if none does."""
    candidates = _entry_points_by_scheme(built_in).get(scheme)
    return f"the source of {scheme}:// in {_describe_package(candidates[0])}" if candidates else None


def load_source(scheme: str, built_in: Container[str]) -> Source | None:
    """Return the source that an installed package has for a scheme; None if there is none.

    Searches the installed packages at each call until one is found, since a notebook may install it meanwhile.

    Raises:
        SourceError: if it cannot be loaded, or several packages have one.
    """
    if scheme not in _loaded:
        candidates = _entry_points_by_scheme(built_in).get(scheme, [])
        if not candidates:
            return None
        if len(candidates) > 1:
            packages = " and ".join(sorted(_describe_package(candidate) for candidate in candidates))
            raise SourceError(f"{packages} each have a source for {scheme}://", fix="Uninstall all of them but one.")
        _loaded[scheme] = _load_and_wrap(candidates[0])
    return _loaded[scheme]


def _entry_points_by_scheme(built_in: Container[str]) -> dict[str, list[EntryPoint]]:
    """Return the installed entry points by scheme; warn once of each that claims a built-in scheme, and leave it out."""
    found: dict[str, list[EntryPoint]] = {}
    for entry_point in _list_entry_points():
        scheme = entry_point.name.lower()
        if scheme not in built_in:
            found.setdefault(scheme, []).append(entry_point)
        elif entry_point.value not in _warned:
            _warned.add(entry_point.value)
            package = _describe_package(entry_point)
            log.warning("%s has a source for %s://, which is a built-in scheme: ignored", package, entry_point.name)
    return found


def _list_entry_points() -> Iterator[EntryPoint]:
    """Yield the entry points of the installed packages, of each package once, as Python itself reads them.

    The working directory is left out, which ``python -c``, ``python -m`` and notebooks search first: a directory that was
    merely cloned or unpacked installs nothing. What is installed somewhere below it, as in ``.venv``, counts.
    """
    from importlib.metadata import distributions  # 20 ms that built-in schemes do not pay

    path = [path for path in sys.path if not _is_working_directory(path)]
    installed = [(distribution, _list_sources(distribution)) for distribution in distributions(path=path)]
    if not any(sources for _, sources in installed):
        return  # the names, for which the metadata of each package is parsed, only matter if one has a source
    seen: set[str] = set()
    for distribution, sources in installed:
        try:
            name = re.sub("[-_.]+", "-", distribution.metadata["Name"] or "").lower()
        except (OSError, ValueError):  # metadata that is damaged, or not UTF-8
            continue
        if name not in seen and sources is not None:
            seen.add(name)
            yield from sources


def _list_sources(distribution: Distribution) -> list[EntryPoint] | None:
    """Return the entry points of a package that are sources; None if they cannot be read."""
    try:
        return [entry_point for entry_point in distribution.entry_points if entry_point.group == GROUP]
    except (OSError, ValueError):
        return None


def _is_working_directory(path: str) -> bool:
    try:
        return not path or os.path.samefile(path, os.curdir)
    except OSError:  # one of them does not exist
        return False


def _describe_package(entry_point: EntryPoint) -> str:
    return f"{entry_point.dist.name} {entry_point.dist.version}" if entry_point.dist else entry_point.value


def _load_and_wrap(entry_point: EntryPoint) -> Source:
    """Load a plug-in's source; its plans are checked, and its errors raised as SourceError."""
    package = _describe_package(entry_point)
    owner = f"the source of {entry_point.name.lower()}:// in {package}"
    fix = f"This is a bug in {package}: update or uninstall it."
    try:
        plan = entry_point.load()
    except Exception as error:  # the import of foreign code may raise anything
        raise SourceError(f"{owner} cannot be loaded: {type(error).__name__}: {show(error)}", fix=fix) from error
    if not callable(plan):
        raise SourceError(f"{owner} is not a function, but {plan!r:.80}", fix=fix)

    call_plugin: Source = _map_errors(owner, fix, plan)

    def call_and_check(handle: Handle) -> Plan | None:
        result = call_plugin(handle)
        if not _is_plan(result):
            raise SourceError(f"{owner} returned {result!r:.200} for {handle}, which is not a plan", fix=fix)
        if isinstance(result, Fetch):
            return replace(result, fill=_map_errors(owner, fix, result.fill))
        if isinstance(result, RemoteLocation):
            fill = _map_errors(owner, fix, result.otherwise.fill)
            return RemoteLocation(_map_errors(owner, fix, result.where), replace(result.otherwise, fill=fill))
        if isinstance(result, MutableRef):
            newest = _map_errors(owner, fix, result.newest) if result.newest else None
            local = _map_errors(owner, fix, result.local) if result.local else None
            return MutableRef(_map_errors(owner, fix, result.now), newest, local)
        return result

    return call_and_check


def _is_plan(value: object) -> bool:
    """Whether a source may return this value."""
    if isinstance(value, InPlace):
        return isinstance(value.path, str) and ("://" in value.path or os.path.isabs(value.path))
    if isinstance(value, RemoteLocation):
        return callable(value.where) and isinstance(value.otherwise, Fetch) and _is_plan(value.otherwise)
    if isinstance(value, Fetch):
        return isinstance(value.key, str) and bool(value.key) and callable(value.fill)
    if isinstance(value, MutableRef):
        return callable(value.now) and all(call is None or callable(call) for call in (value.newest, value.local))
    return value is None or isinstance(value, get_args(Plan))


def _map_errors(owner: str, fix: str, call: Callable[_P, _R]) -> Callable[_P, _R]:
    """Wrap a plug-in's function so that errors other than ours become a SourceError that names the plug-in."""

    @functools.wraps(call)
    def call_and_map(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return call(*args, **kwargs)
        except ResolverError:
            raise
        except Exception as error:
            raise SourceError(f"{owner} failed: {type(error).__name__}: {show(error)}", fix=fix) from error

    return call_and_map
