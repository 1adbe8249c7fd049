"""User configuration from environment variables and absl flags, read at each call."""

from __future__ import annotations

import os

from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.settings import absl_flags
from tfimm_resolver.settings.paths import expand_variable, find_xdg_directory

MODELS_FILE = "TFIMM_MODELS_FILE"
MIRRORS = "TFIMM_RESOLVER_MIRRORS"
HOSTS_FILE = "TFIMM_RESOLVER_HOSTS_FILE"
PROGRESS_FORMATS = ("auto", "json")


def models_files() -> list[str]:
    """Return the models files that the user names, highest priority first; none means: use the nearest one."""
    if not (value := os.environ.get(MODELS_FILE)):
        return []
    return list(dict.fromkeys(expand_variable(MODELS_FILE, path) for path in value.split(os.pathsep) if path))


def load_format() -> str:
    """Return COMPRESSED, UNCOMPRESSED or AUTO, which means COMPRESSED.

    Raises:
        HandleError: if ``$TFHUB_MODEL_LOAD_FORMAT`` has any other value.
    """
    value = os.environ.get("TFHUB_MODEL_LOAD_FORMAT") or absl_flags.value(absl_flags.LOAD_FORMAT) or "AUTO"
    if value not in absl_flags.LOAD_FORMATS:
        known = ", ".join(absl_flags.LOAD_FORMATS)
        raise HandleError(f"TFHUB_MODEL_LOAD_FORMAT is {value!r}", fix=f"Known load formats: {known}.")
    return value


def mirrors() -> str:
    """Return the setting that names mirrors of hosts, in the syntax that ``http.mirrors`` parses."""
    return os.environ.get(MIRRORS, "")


def hosts_file() -> tuple[str, bool]:
    """Return the path of the file with tokens and headers for hosts, and whether the user named it.

    The path is empty if the user has no home directory.
    """
    if path := os.environ.get(HOSTS_FILE):
        return expand_variable(HOSTS_FILE, path), True
    try:
        return os.path.join(find_xdg_directory("XDG_CONFIG_HOME", "~/.config"), "tfimm_resolver", "hosts.toml"), False
    except CacheError:
        return "", False


def is_offline() -> bool:
    """Whether network access is switched off."""
    return is_on("TFIMM_RESOLVER_OFFLINE")


def is_quiet() -> bool:
    """Whether progress display is switched off."""
    return is_on("TFIMM_RESOLVER_QUIET")


def progress_format() -> str:
    """Return how progress is shown: for a person, ``auto``, or as events, ``json``; raises HandleError for anything else."""
    value = os.environ.get("TFIMM_RESOLVER_PROGRESS") or PROGRESS_FORMATS[0]
    if value not in PROGRESS_FORMATS:
        raise HandleError(f"TFIMM_RESOLVER_PROGRESS is {value!r:.80}", fix=f"Set it to {' or '.join(PROGRESS_FORMATS)}.")
    return value


def is_tls_verified() -> bool:
    """Whether TLS certificates are verified: unless ``$TFHUB_DISABLE_CERT_VALIDATION`` is ``true``, as in tensorflow_hub."""
    return os.environ.get("TFHUB_DISABLE_CERT_VALIDATION") != "true"


def timeouts_s() -> tuple[float, float]:
    """Return the connect timeout and the read timeout in seconds."""
    return (_read_number("TFIMM_RESOLVER_CONNECT_TIMEOUT_S", 10, 1e6), _read_number("TFIMM_RESOLVER_READ_TIMEOUT_S", 30, 1e6))


def validate() -> None:
    """Check every setting that a fetch may need, before it starts instead of halfway through.

    Raises:
        HandleError: if one is not a number in its range, or not one of its values.
    """
    for read in (connections, retries, timeouts_s, lock_timeout_s, unpack_limits, progress_format):
        read()


def connections() -> int:
    """Return the maximum number of connections for one large archive."""
    return _read_int("TFIMM_RESOLVER_CONNECTIONS", 8, 64)


def retries() -> int:
    """Return how many times in a row a request is retried after transient failures; may be 0."""
    return _read_int("TFIMM_RESOLVER_RETRIES", 5, 1000, minimum=0)


def lock_timeout_s() -> float:
    """Return for how many seconds without activity the lock of an unknown or remote process is respected."""
    return _read_number("TFIMM_RESOLVER_LOCK_TIMEOUT_S", 600)


def unpack_limits() -> tuple[int, int, float]:
    """Return the limits for unpacking an archive: number of members, total bytes, and the compression ratio."""
    return (
        _read_int("TFIMM_RESOLVER_MAX_MEMBERS", 100_000),
        _read_int("TFIMM_RESOLVER_MAX_BYTES", 1 << 40),
        _read_number("TFIMM_RESOLVER_MAX_RATIO", 200),
    )


def is_on(variable: str) -> bool:
    """Whether a switch is on: set, and not to 0, false, no or off."""
    return os.environ.get(variable, "").lower() not in ("", "0", "false", "no", "off")


def _read_int(variable: str, default: int, maximum: float = 1e18, minimum: float = 1) -> int:
    number = _read_number(variable, default, maximum, minimum)
    if number != int(number):
        raise HandleError(f"{variable} is {os.environ.get(variable)!r}", fix="Set it to a whole number.")
    return int(number)


def _read_number(variable: str, default: float, maximum: float = 1e18, minimum: float = 1e-9) -> float:
    if not (value := os.environ.get(variable)):
        return default
    try:
        number = float(value)
    except ValueError:
        number = -1
    if not minimum <= number <= maximum:
        lowest = "above 0" if 0 < minimum < 1 else f"of at least {minimum:g}"
        raise HandleError(f"{variable} is {value!r}", fix=f"Set it to a number {lowest} and at most {maximum:g}.")
    return number
