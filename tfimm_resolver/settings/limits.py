"""Limits of the cache: its size, the free space to keep, the age of what is evicted; none is set by default."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.settings.config_file import read_config
from tfimm_resolver.settings.paths import find_xdg_directory

MAX_SIZE, MIN_FREE, MAX_AGE = "TFIMM_RESOLVER_MAX_SIZE", "TFIMM_RESOLVER_MIN_FREE", "TFIMM_RESOLVER_MAX_AGE"
GRACE, GRACE_WITHOUT_LOCKS = "TFIMM_RESOLVER_GRACE", "TFIMM_RESOLVER_GRACE_WITHOUT_LOCKS"

_GRACE_S, _GRACE_WITHOUT_LOCKS_S = 3600.0, 24 * 3600.0
_KEYS = {"max_size": MAX_SIZE, "min_free": MIN_FREE, "max_age": MAX_AGE}
_SIZE_UNITS = {unit: 1000**power for power, unit in enumerate(("", "K", "M", "G", "T", "P"))}
_BINARY_UNITS = {f"{unit}I": 1024**power for power, unit in enumerate(("", "K", "M", "G", "T", "P")) if unit}
_TIME_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SIZE = r"(\d{1,18}(?:\.\d*)?|\.\d+)\s*(%|[KMGTP]?I?B?)"  # compiled when used: each import of the package comes here
_DURATION = r"(\d{1,18}(?:\.\d*)?|\.\d+)\s*(s|min|h|d|w)|0"
_SIZE_FIX = "Set it to a size such as 50GB or 800MiB, or to a part of the disk such as 20%."
_DURATION_FIX = "Set it to a duration such as 90d, 12h, 30min or 10s."


class Size(NamedTuple):
    """A number of bytes, or a fraction of the disk that holds the cache."""

    size_bytes: int = 0
    fraction: float = 0.0

    def to_bytes(self, disk_bytes: int | None) -> int | None:
        """Return the number of bytes on a disk of that size; None for a fraction of a disk whose size is not known."""
        if not self.fraction:
            return self.size_bytes
        return int(self.fraction * disk_bytes) if disk_bytes else None


class CacheLimits(NamedTuple):
    """When models are evicted; what is None is not limited.

    Attributes:
        max_size: of all models in the cache.
        min_free: what is to stay free on its disk.
        max_age_s: for how many seconds a model may be unused.
        sources: where each of them is set, by the name of the attribute, without ``_s``.
    """

    max_size: Size | None = None
    min_free: Size | None = None
    max_age_s: float | None = None
    sources: tuple[tuple[str, str], ...] = ()

    @property
    def is_limited(self) -> bool:
        return (self.max_size, self.min_free, self.max_age_s) != (None, None, None)


def cache_limits() -> CacheLimits:
    """Return the limits that are set in the environment, or else in ``config.toml``.

    Raises:
        HandleError: if a limit is not a size or a duration, or the file cannot be read.
    """
    values = _read_values()
    sources = tuple((key, source) for key, (_, source) in values.items())
    sizes = {key: parse_size(*values[key]) for key in ("max_size", "min_free") if key in values}
    max_age_s = parse_duration_s(*values["max_age"]) if "max_age" in values else None
    return CacheLimits(sizes.get("max_size"), sizes.get("min_free"), max_age_s, sources)


def describe_limits() -> dict[str, str]:
    """Return for each limit that is set its value, and where it is set; raises as ``cache_limits`` does."""
    cache_limits()
    return {key: f"{text} ({source})" for key, (text, source) in _read_values().items()}


def grace_s(*, has_locks: bool = True) -> float:
    """Return for how many seconds after its last use a model is not evicted: longer where use locks are not supported."""
    variable, default_s = (GRACE, _GRACE_S) if has_locks else (GRACE_WITHOUT_LOCKS, _GRACE_WITHOUT_LOCKS_S)
    text = os.environ.get(variable)
    return parse_duration_s(text, variable) if text else default_s


def state_dir() -> str:
    """Return the directory for what this package notes between runs, which may not exist; empty without a home directory."""
    try:
        return os.path.join(find_xdg_directory("XDG_STATE_HOME", "~/.local/state"), "tfimm_resolver")
    except CacheError:
        return ""


def parse_size(text: str, source: str) -> Size:
    """Parse ``50GB``, ``800MiB``, ``10B``, or ``20%``; only 0 needs no unit. Raises HandleError that names ``source``."""
    found = re.fullmatch(_SIZE, text.strip(), re.ASCII | re.IGNORECASE) if isinstance(text, str) else None
    if found is None or (found[2] == "%" and float(found[1]) > 100):
        raise HandleError(f"{source} is {text!r:.80}", fix=_SIZE_FIX)
    if found[2] == "%":
        return Size(fraction=float(found[1]) / 100)
    if not found[2] and float(found[1]):  # meant in GB more often than in bytes, and so few bytes evict every model
        raise HandleError(f"{source} is {text!r:.80}, without a unit", fix=f"Write {found[1]}GB, or {found[1]}B for bytes.")
    unit = found[2].upper().removesuffix("B")
    if unit == "I":
        raise HandleError(f"{source} is {text!r:.80}", fix=_SIZE_FIX)
    return Size(int(float(found[1]) * {**_SIZE_UNITS, **_BINARY_UNITS}[unit]))


def parse_duration_s(text: str, source: str) -> float:
    """Parse ``90d``, ``12h``, ``30min`` or ``10s`` into seconds; 0 needs no unit. Raises HandleError that names ``source``."""
    found = re.fullmatch(_DURATION, text.strip(), re.ASCII) if isinstance(text, str) else None
    if found is None:
        raise HandleError(f"{source} is {text!r:.80}", fix=_DURATION_FIX)
    return float(found[1]) * _TIME_UNITS[found[2]] if found[1] else 0.0


def _read_values() -> dict[str, tuple[str, str]]:
    """Return the limits that are set as texts, each with its source."""
    values = _read_config()
    values.update({key: (text, variable) for key, variable in _KEYS.items() if (text := os.environ.get(variable))})
    return values


def _read_config() -> dict[str, tuple[str, str]]:
    """Return the limits in the settings file as texts, each with the file as its source; an integer is a size in bytes."""
    path, table = read_config()
    texts = {key: str(table[key]) for key in _KEYS if key in table}
    texts |= {key: f"{texts[key]}B" for key in ("max_size", "min_free") if type(table.get(key)) is int}
    return {key: (text, f"{key} in {path}") for key, text in texts.items()}
