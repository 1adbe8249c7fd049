"""What a user may set: ``set_dir``, the environment and absl flags, read at each call."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from tfimm_resolver import flags, ownership
from tfimm_resolver.errors import CacheError, HandleError

TEMPORARY = "default, temporary"
EXTRA_ROOTS = "TFIMM_RESOLVER_EXTRA_ROOTS"
MODELS_FILE = "TFIMM_MODELS_FILE"
MIRRORS = "TFIMM_RESOLVER_MIRRORS"
HOSTS_FILE = "TFIMM_RESOLVER_HOSTS_FILE"

_lock = threading.Lock()
_chosen: Setting | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """A directory, which setting it came from, and the permission bits it is made with."""

    value: str
    source: str
    mode: int = 0o777


def get_dir() -> str:
    """The directory in which models lie under their names; creates nothing.

    The first that is set of ``set_dir()``, ``$TFIMM_HOME``, ``$XDG_CACHE_HOME/tfimm``; else ``~/.cache/tfimm``.

    Raises:
        CacheError: if nothing is set and there is no home directory.
    """
    return names_root().value


def set_dir(d: str | os.PathLike[str] | None) -> None:
    """Put every cache, of names and of URL handles, into ``d`` for this process; None takes that back."""
    choose_dir(d, "set_dir()")


def choose_dir(d: str | os.PathLike[str] | None, source: str) -> Setting | None:
    """``set_dir`` on behalf of ``source``; returns what was chosen before."""
    global _chosen
    chosen = Setting(expanded(os.fspath(d)), source) if d else None
    with _lock:
        before, _chosen = _chosen, chosen
    return before


def restore_dir(chosen: Setting | None) -> None:
    """Choose again what ``choose_dir`` said was chosen before."""
    global _chosen  # noqa: PLW0603  # one of the few process-wide values, behind its lock
    with _lock:
        _chosen = chosen


def names_root() -> Setting:
    """The root for model names, and what chose it."""
    return _chosen or _tfimm_root() or Setting(expanded("~/.cache/tfimm"), "default")


def urls_root() -> Setting:
    """The root for URL handles, and what chose it."""
    return next(_said_roots(), None) or _temporary_root()


def local_root(*, create: bool = False) -> Setting:
    """The root for URL handles on this machine's disk: the first that is said and no bucket."""
    return next((root for root in _said_roots() if not is_bucket(root.value)), None) or _temporary_root(create=create)


def is_bucket(place: str) -> bool:
    """Whether a root is one of an object store."""
    return "://" in place


def is_second_level(place: str = "") -> bool:
    """Whether the root for URL handles, ``place`` if known, is a bucket from which models are copied, as s3:// always is."""
    place = place or urls_root().value
    return is_bucket(place) and (not place.startswith("gs://") or _is_on("TFIMM_RESOLVER_LOCAL_COPY"))


def cache_root(*, create: bool = False) -> Setting:
    """The root in which the paths lie that ``resolve`` gives for URL handles; ``create`` makes the temporary default."""
    root = next(_said_roots(), None)
    return root if root and not is_second_level(root.value) else local_root(create=create)


def _said_roots() -> Iterator[Setting]:
    if _chosen:
        yield _chosen
    if place := os.environ.get("TFHUB_CACHE_DIR"):
        yield Setting(expanded(place), "$TFHUB_CACHE_DIR")
    if place := flags.value(flags.CACHE_DIR):
        yield Setting(expanded(place), "--tfhub_cache_dir")
    if root := _tfimm_root():
        yield root


def extra_roots() -> list[str]:
    """Directories in which URL handles are looked for before the root; they are only read, and need not be there."""
    said = os.environ.get(EXTRA_ROOTS, "")
    if "://" in said.replace("file://", ""):
        raise HandleError(
            f"{EXTRA_ROOTS} is {said!r}", fix=f"An extra root is a local directory; they are separated by {os.pathsep!r}."
        )
    places = dict.fromkeys(expanded(place) for place in said.split(os.pathsep) if place)
    own = urls_root().value if places else ""
    return [place for place in places if place != own]


def models_files() -> list[str]:
    """The models files that the user names, the stronger first; none where the nearest one counts."""
    return list(dict.fromkeys(expanded(place) for place in os.environ.get(MODELS_FILE, "").split(os.pathsep) if place))


def _tfimm_root() -> Setting | None:
    if place := os.environ.get("TFIMM_HOME"):
        return Setting(expanded(place), "$TFIMM_HOME")
    if place := os.environ.get("XDG_CACHE_HOME"):
        return Setting(os.path.join(expanded(place), "tfimm"), "$XDG_CACHE_HOME")
    return None


def _temporary_root(*, create: bool = False) -> Setting:
    """tensorflow_hub's default place, unless another user could have put files there.

    A place where nothing lies counts as ours, for as long as it is not read: ``Guard`` sees to that. To ``create`` it at
    once keeps another user from doing so first.
    """
    for root in _temporary_roots():
        if ownership.is_private_or_missing(root.value, root.mode if create else None):
            return root
    shared, private = (root.value for root in _temporary_roots())
    raise CacheError(f"{shared} and {private} belong to others, or others may write there", fix="Set TFHUB_CACHE_DIR.")


def _temporary_roots() -> Iterator[Setting]:
    import tempfile  # 10 ms that only this default costs

    shared = os.path.join(tempfile.gettempdir(), "tfhub_modules")
    yield Setting(shared, TEMPORARY, 0o755)
    yield Setting(f"{shared}-{_user()}", TEMPORARY, 0o700)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a passwd entry
        return str(os.getuid())


def expanded(place: str) -> str:
    """``~`` and ``$VAR`` expanded and made absolute; an object store's URL as it is, ``file://`` as its path.

    Raises:
        HandleError: if it holds a NUL.
        CacheError: if it begins with ``~`` and there is no home directory.
    """
    if "\0" in place:
        raise HandleError(f"the path {place!r} holds a NUL")
    place = os.path.expandvars(place)
    if place.startswith("file://"):
        from urllib.parse import unquote, urlsplit

        place = unquote(urlsplit(place).path)
    elif "://" in place:
        scheme, _, rest = place.partition("://")
        bucket = rest.partition("/")[0]
        if "@" in bucket or not bucket:
            shown = f"{scheme}://{bucket.rpartition('@')[2]}"
            raise CacheError(f"{shown} is no place for a cache: it has to be {scheme}://BUCKET/PATH, without credentials")
        return place.rstrip("/")
    home = os.path.expanduser(place)
    if home.startswith("~") and place[1:2] in ("", "/"):
        raise CacheError(f"there is no home directory for {place}", fix="Set HOME, TFHUB_CACHE_DIR or TFIMM_HOME.")
    try:
        return os.path.abspath(home)
    except FileNotFoundError as error:
        raise CacheError(f"{place} is relative, and the working directory is gone", fix="Give an absolute path.") from error


def load_format() -> str:
    """COMPRESSED, UNCOMPRESSED or AUTO, which means COMPRESSED.

    Raises:
        HandleError: if ``$TFHUB_MODEL_LOAD_FORMAT`` says anything else.
    """
    said = os.environ.get("TFHUB_MODEL_LOAD_FORMAT") or flags.value(flags.LOAD_FORMAT) or "AUTO"
    if said not in flags.LOAD_FORMATS:
        known = ", ".join(flags.LOAD_FORMATS)
        raise HandleError(f"TFHUB_MODEL_LOAD_FORMAT is {said!r}", fix=f"Known load formats: {known}.")
    return said


def mirrors() -> str:
    """Where to ask instead of a URL's own host, as ``mirrors.parsed`` reads it."""
    return os.environ.get(MIRRORS, "")


def hosts_file() -> tuple[str, bool]:
    """The file of tokens and headers for hosts, empty where there is no home, and whether the user named it."""
    if place := os.environ.get(HOSTS_FILE):
        return expanded(place), True
    try:
        return os.path.join(expanded(os.environ.get("XDG_CONFIG_HOME") or "~/.config"), "tfimm_resolver", "hosts.toml"), False
    except CacheError:
        return "", False


def is_offline() -> bool:
    """Whether no socket may be opened."""
    return _is_on("TFIMM_RESOLVER_OFFLINE")


def is_quiet() -> bool:
    """Whether no progress is shown."""
    return _is_on("TFIMM_RESOLVER_QUIET")


def is_certificate_checked() -> bool:
    """False only where ``$TFHUB_DISABLE_CERT_VALIDATION`` is ``true``, as in tensorflow_hub."""
    return os.environ.get("TFHUB_DISABLE_CERT_VALIDATION") != "true"


def timeouts_s() -> tuple[float, float]:
    """Seconds to wait for a connection, and for the next bytes on it."""
    return (_number("TFIMM_RESOLVER_CONNECT_TIMEOUT_S", 10, 1e6), _number("TFIMM_RESOLVER_READ_TIMEOUT_S", 30, 1e6))


def check() -> None:
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
