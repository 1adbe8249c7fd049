"""Filters and orders of the inventory: ``used>30d``, ``size>1GB``, ``state=damaged``, ``kept``."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable

from tfimm_resolver._util import clock
from tfimm_resolver.cache.contents import MODEL, REPOSITORY, WEIGHTS
from tfimm_resolver.errors import HandleError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.maintenance.cached_model import CachedModel
from tfimm_resolver.settings.limits import parse_duration_s, parse_size

Filter = Callable[[CachedModel], bool]

SORTS: dict[str, Callable[[CachedModel], tuple[float | str, ...]]] = {
    "name": lambda model: (model.name, model.other_root),
    "size": lambda model: (-model.size_bytes, model.name, model.other_root),
    "used": lambda model: (model.used_s, model.name, model.other_root),
}
"""Orders by name; the largest first; the one that was not used for longest first."""

_CHOICES = {"state": ("ok", "damaged", "unverified"), "kind": (MODEL, REPOSITORY, WEIGHTS)}
_OPERATOR = re.compile(r"\s*(>=|<=|!=|>|<|=)\s*")
_COMPARISON = re.compile(r"([a-z]+)(>=|<=|!=|>|<|=)(.+)")
_ORDERS: dict[str, Callable[[float, float], bool]] = {
    ">": lambda one, other: one > other,
    "<": lambda one, other: one < other,
    ">=": lambda one, other: one >= other,
    "<=": lambda one, other: one <= other,
}
_KNOWN = (
    "Filters are used>30d, used<1h, size>1GB, size<10MB, state=damaged, kind=model, name=google/* and kept; ! before one "
    "reverses it."
)
_FIX = Advice(python=_KNOWN, command=f"{_KNOWN} Quote them: a shell takes > for a redirection.")


def parse_filters(texts: Iterable[str]) -> list[Filter]:
    """Parse filters, each text one or several with blanks between them; a model has to match them all.

    Raises:
        HandleError: if one is not a filter.
    """
    return [_parse_filter(word) for text in texts for word in _OPERATOR.sub(r"\1", text).split()]


def _parse_filter(text: str) -> Filter:
    if text.startswith("!"):
        negated = _parse_filter(text[1:])
        return lambda model: not negated(model)
    if text == "kept":
        return lambda model: model.is_protected
    found = _COMPARISON.fullmatch(text)
    key, operator, value = found.groups() if found else ("", "", "")
    if key in ("used", "size") and operator in _ORDERS:
        return _parse_order(key, operator, value)
    if operator in ("=", "!=") and (key == "name" or value in _CHOICES.get(key, ())):
        return lambda model: fnmatch.fnmatchcase(getattr(model, key), value) == (operator == "=")
    raise HandleError(f"filter {text!r} is not known", fix=_FIX)


def _parse_order(key: str, operator: str, value: str) -> Filter:
    compare, source = _ORDERS[operator], f"filter {key}"
    if key == "size":
        size = parse_size(value, source)
        if size.fraction:
            raise HandleError(f"{source} is {value!r}, a part of a disk", fix=_FIX)
        size_bytes = size.size_bytes
        return lambda model: compare(model.size_bytes, size_bytes)
    limit_s, now_s = parse_duration_s(value, source), clock.get_time_s()
    return lambda model: bool(model.used_s) and compare(now_s - model.used_s, limit_s)
