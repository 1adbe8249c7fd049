"""Where to ask instead of a URL's own host: ``$TFIMM_RESOLVER_MIRRORS``, in the grammar of Go's GOPROXY."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from tfimm_resolver import settings
from tfimm_resolver.errors import FetchError, HandleError, NotFoundError, OfflineError
from tfimm_resolver.handles.handle import ARCHIVE_SUFFIXES

log = logging.getLogger("tfimm_resolver")

DIRECT, OFF = "direct", "off"
_FILE = "file://"
_PLACE = re.compile(r"\{([^{}]*)\}")
_FIX = "It has to be a list as of https://mirror.example.org,direct: README's chapter on mirrors tells its grammar."
_STOP_FIX = f"Behind a comma, {settings.MIRRORS} goes on to the next place after 404 and 410 only; behind | after any error."
_OFF_FIX = "Change it, or bring a copy and say where it is: set_model_cache(handle, path)."

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Mirror:
    """One place of the list.

    Attributes:
        template: of addresses, with ``{host}`` and ``{path}``; or ``direct``, or ``off``.
        is_any_error: whether the next place is asked after any error, not only where this one has nothing.
    """

    template: str
    is_any_error: bool = False

    def address(self, url: str, *, is_archive: bool = True) -> str:
        """Where this mirror has what lies at ``url``, an archive as a rule; userinfo stays behind, a query goes along.

        Raises:
            HandleError: if the path could climb out of the mirror.
        """
        if self.template == DIRECT:
            return url
        parts = urlsplit(url)
        host, path = parts.netloc.rpartition("@")[2], parts.path.lstrip("/")
        names = re.split(r"[/\\]", unquote(f"{host}/{path}"))
        if not {".", ".."}.isdisjoint(names) or any(not name.isprintable() for name in names):
            raise HandleError(f"{_public(url)!r} has a path that does not stay inside a mirror")
        if self.is_local and is_archive and not path.lower().endswith(ARCHIVE_SUFFIXES):
            path += ".tar.gz"  # google/nnlm/2 may stand beside google/nnlm/2/...: a file cannot
        address = self.template.replace("{host}", host).replace("{path}", path)
        if self.is_local or not parts.query:
            return address
        return f"{address}{'&' if '?' in address else '?'}{parts.query}"

    @property
    def is_local(self) -> bool:
        """Whether it lies on a disk of this machine."""
        return is_local(self.template)


_DIRECTLY = (Mirror(DIRECT),)


def try_each(url: str, bring: Callable[[str], _Answer], *, is_archive: bool = True) -> _Answer:
    """What ``bring`` gives for the first address of ``url``, in the order of the list, for which it raises no FetchError.

    Raises:
        HandleError: if the list cannot be read.
        OfflineError: where the list says ``off``.
        FetchError: of the last place asked, or the one that says most; its text tells of all of them.
    """
    failures: list[tuple[Mirror, FetchError]] = []
    places = parsed(settings.mirrors())
    if places == _DIRECTLY:
        return bring(url)
    for mirror in places:
        address = mirror.address(url, is_archive=is_archive)
        try:
            if mirror.template == OFF:
                raise OfflineError(f"{_public(url)} is not to be fetched: {settings.MIRRORS} says off", fix=_OFF_FIX)
            if mirror.is_local and _has_extra_query(url):  # the query may say which model it is, and a directory has but one
                raise NotFoundError(f"{_public(url)} has a query, which a directory of archives cannot answer")
            return bring(address)
        except FetchError as error:
            failures.append((mirror, _with_mirror_name(address, error) if mirror.template not in (DIRECT, OFF) else error))
            if not mirror.is_any_error and not isinstance(error, NotFoundError):
                break
            if mirror is not places[-1]:
                level = logging.DEBUG if isinstance(error, NotFoundError) else logging.WARNING
                log.log(level, "%s; asking the next place of %s", failures[-1][1].text, settings.MIRRORS)
    try:
        raise _select_error(failures, len(places))
    finally:
        failures.clear()  # an error's traceback holds this frame: together they would keep connections open


def is_direct() -> bool:
    """Whether a URL's own host may be asked at all."""
    return any(mirror.template == DIRECT for mirror in parsed(settings.mirrors()))


def is_only_direct() -> bool:
    """Whether no place but a URL's own host is asked."""
    return parsed(settings.mirrors()) == _DIRECTLY


def require_direct(asked: str) -> None:
    """For what is asked past all mirrors, by another library: nothing, where the list does not end at the place itself.

    Raises:
        OfflineError: then.
    """
    if not is_direct():
        raise OfflineError(f"{asked} is not to be fetched: {settings.MIRRORS} does not say direct", fix=_OFF_FIX)


def is_local(address: str) -> bool:
    """Whether an address is that of a file on this machine."""
    return address.startswith(_FILE)


def local_path(address: str) -> str:
    """The path of such a file."""
    return unquote(urlsplit(address).path)


def parsed(text: str) -> tuple[Mirror, ...]:
    """Read a list; nothing means ``direct``.

    As Go reads GOPROXY (https://go.dev/ref/mod#goproxy-protocol and cmd/go/internal/modfetch/proxy.go): ``,`` goes on after
    404 and 410, ``|`` after any error, nothing follows ``direct`` and ``off``, and a place without a scheme is one of https.

    Raises:
        HandleError: if an entry is no URL, or none is left.
    """
    if not text.strip():
        return _DIRECTLY
    found = tuple(_parse_entries(text))
    if not found:
        raise HandleError(f"{settings.MIRRORS} is {text!r}, and names no place", fix=_FIX)
    return found


def _parse_entries(text: str) -> Iterator[Mirror]:
    for entry, separator in re.findall(r"([^,|]+)([,|]?)", text):
        place = entry.strip()
        if place:
            yield Mirror(place if place in (DIRECT, OFF) else _template(place), separator == "|")
        if place in (DIRECT, OFF):
            return


def _template(place: str) -> str:
    if "://" not in place and re.match(r"[^/]*[.:]", place):
        place = f"https://{place}"
    try:
        parts = urlsplit(place)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0  # no number raises
        # A query would stand before the path; a token belongs into hosts.toml.
        is_right = is_right and (not parts.query or "{path}" in place)
        is_right = is_right or (place.startswith(_FILE) and parts.netloc in ("", "localhost") and parts.path.startswith("/"))
    except ValueError:
        is_right = False
    unknown = {*_PLACE.findall(place)} - {"host", "path"}
    if not is_right or unknown or parts.fragment:
        names = f" of unknown {', '.join(sorted(unknown))}" if unknown else ""
        raise HandleError(f"{settings.MIRRORS} names{names} {_public(place)!r}, which is no place to ask", fix=_FIX)
    if "{path}" in place:
        return place
    return place.rstrip("/") + ("/{path}" if "{host}" in place else "/{host}/{path}")


def _with_mirror_name(address: str, error: FetchError) -> FetchError:
    """The error, with the mirror's place in it: the handle alone does not tell who sent a page instead of a model."""
    place = local_path(address) if is_local(address) else _public(address)
    return error if place in error.text else error.retold(f"{place}: {error.text}")


def _select_error(failures: list[tuple[Mirror, FetchError]], places: int) -> FetchError:
    """The error to raise, as Go chooses it: that of the place itself; else the last one that is not of a gap."""
    errors = [error for _, error in failures]
    told = [error for error in errors if not isinstance(error, NotFoundError)] or errors
    best = errors[-1] if failures[-1][0].template == DIRECT else told[-1]
    others = dict.fromkeys(error.text for error in errors if error.text != best.text)
    is_stopped = len(failures) < places
    text = best.text + "".join(f"\n  asked, too: {other}" for other in others)
    error = best.retold(text, "\n  ".join(filter(None, [best.fix, _STOP_FIX * is_stopped])))
    error.__cause__ = best
    return error


def _has_extra_query(url: str) -> bool:
    """Whether a URL that names no archive has a query that is not ours, about the form of an answer."""
    parts = urlsplit(url)
    said = [part for part in parts.query.split("&") if part and not part.startswith("tf-hub-format=")]
    return bool(said) and not parts.path.lower().endswith(ARCHIVE_SUFFIXES)


def _public(url: str) -> str:
    """A URL without userinfo and query, of whatever text."""
    return re.sub(r"://[^/?#]*@", "://", url).partition("?")[0]
