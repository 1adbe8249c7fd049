"""What a user may set: ``set_dir``, the environment and absl flags, read at each call."""

from __future__ import annotations

import os

from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.settings import absl_flags
from tfimm_resolver.settings.paths import expand_path

MODELS_FILE = "TFIMM_MODELS_FILE"
MIRRORS = "TFIMM_RESOLVER_MIRRORS"
HOSTS_FILE = "TFIMM_RESOLVER_HOSTS_FILE"


def models_files() -> list[str]:
    """The models files that the user names, the stronger first; none where the nearest one counts."""
    return list(dict.fromkeys(expand_path(place) for place in os.environ.get(MODELS_FILE, "").split(os.pathsep) if place))


def load_format() -> str:
    """COMPRESSED, UNCOMPRESSED or AUTO, which means COMPRESSED.

    Raises:
        HandleError: if ``$TFHUB_MODEL_LOAD_FORMAT`` says anything else.
    """
    said = os.environ.get("TFHUB_MODEL_LOAD_FORMAT") or absl_flags.value(absl_flags.LOAD_FORMAT) or "AUTO"
    if said not in absl_flags.LOAD_FORMATS:
        known = ", ".join(absl_flags.LOAD_FORMATS)
        raise HandleError(f"TFHUB_MODEL_LOAD_FORMAT is {said!r}", fix=f"Known load formats: {known}.")
    return said


def mirrors() -> str:
    """Where to ask instead of a URL's own host, as ``mirrors.parsed`` reads it."""
    return os.environ.get(MIRRORS, "")


def hosts_file() -> tuple[str, bool]:
    """The file of tokens and headers for hosts, empty where there is no home, and whether the user named it."""
    if place := os.environ.get(HOSTS_FILE):
        return expand_path(place), True
    try:
        return os.path.join(
            expand_path(os.environ.get("XDG_CONFIG_HOME") or "~/.config"), "tfimm_resolver", "hosts.toml"
        ), False
    except CacheError:
        return "", False


def is_offline() -> bool:
    """Whether no socket may be opened."""
    return _is_on("TFIMM_RESOLVER_OFFLINE")


def is_quiet() -> bool:
    """Whether no progress is shown."""
    return _is_on("TFIMM_RESOLVER_QUIET")


def is_tls_verified() -> bool:
    """False only where ``$TFHUB_DISABLE_CERT_VALIDATION`` is ``true``, as in tensorflow_hub."""
    return os.environ.get("TFHUB_DISABLE_CERT_VALIDATION") != "true"


def timeouts_s() -> tuple[float, float]:
    """Seconds to wait for a connection, and for the next bytes on it."""
    return (_number("TFIMM_RESOLVER_CONNECT_TIMEOUT_S", 10, 1e6), _number("TFIMM_RESOLVER_READ_TIMEOUT_S", 30, 1e6))


def validate() -> None:
    """Read every number that a fetch may need: better before it than in its middle.

    Raises:
        HandleError: if one of them is none.
    """
    for number in (connections, retries, timeouts_s, lock_timeout_s, unpack_limits):
        number()


def connections() -> int:
    """How many connections may bring one large archive."""
    return _count("TFIMM_RESOLVER_CONNECTIONS", 8, 64)


def retries() -> int:
    """How often in a row a request is repeated that failed for a passing reason; 0 is allowed."""
    return _count("TFIMM_RESOLVER_RETRIES", 5, 1000, least=0)


def lock_timeout_s() -> float:
    """Seconds for which a lock file of an unknown or foreign holder is respected without a sign of life."""
    return _number("TFIMM_RESOLVER_LOCK_TIMEOUT_S", 600)


def unpack_limits() -> tuple[int, int, float]:
    """How many members and bytes an archive may unpack to, and at how many bytes for each packed one."""
    return (
        _count("TFIMM_RESOLVER_MAX_MEMBERS", 100_000),
        _count("TFIMM_RESOLVER_MAX_BYTES", 1 << 40),
        _number("TFIMM_RESOLVER_MAX_RATIO", 200),
    )


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").lower() not in ("", "0", "false", "no", "off")


def _count(variable: str, default: int, most: float = 1e18, least: float = 1) -> int:
    number = _number(variable, default, most, least)
    if number != int(number):
        raise HandleError(f"{variable} is {os.environ.get(variable)!r}", fix="It has to be a whole number.")
    return int(number)


def _number(variable: str, default: float, most: float = 1e18, least: float = 1e-9) -> float:
    said = os.environ.get(variable) or default
    try:
        number = float(said)
    except ValueError:
        number = -1
    if not least <= number <= most:
        from_ = "above 0" if 0 < least < 1 else f"from {least:g} on"
        raise HandleError(f"{variable} is {said!r}", fix=f"It has to be a number {from_}, and not above {most:g}.")
    return number
