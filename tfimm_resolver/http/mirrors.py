"""Rewrites URLs to mirrors and tries one after the other: ``$TFIMM_RESOLVER_MIRRORS``, in the grammar of Go's GOPROXY."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import mask_value, show
from tfimm_resolver._util.urls import find_confusing_character
from tfimm_resolver.errors import FetchError, HandleError, NotFoundError, OfflineError
from tfimm_resolver.errors.advice import join_advice, suggest_local_copy
from tfimm_resolver.handles.handle import ARCHIVE_SUFFIXES
from tfimm_resolver.progress.events import emit

log = logging.getLogger("tfimm_resolver")

DIRECT, OFF = "direct", "off"
_FILE = "file://"
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_FIX = "Write a list such as https://mirror.example.org,direct; the page on mirrors and proxies has the grammar."
_STOP_FIX = (
    f"In {settings.MIRRORS} a comma continues with the next entry only after 404 and 410; use | to continue after any error."
)
_OFF_FIX = suggest_local_copy("Change it")

_Result = TypeVar("_Result")


class Mirror(NamedTuple):
    """One entry of the list.

    Attributes:
        template: a URL with ``{host}`` and ``{path}``; or ``direct``, or ``off``.
        is_any_error: try the next entry after any error, not only after 404 and 410.
    """

    template: str
    is_any_error: bool = False

    def rewrite(self, url: str, *, is_archive: bool = True) -> str:
        """Return the URL at this mirror for ``url``, without userinfo, with the query.

        Raises:
            HandleError: if the path could leave the mirror's directory.
        """
        if self.template == DIRECT:
            return url
        parts = urlsplit(url)
        host, path = parts.netloc.rpartition("@")[2], parts.path.lstrip("/")
        names = re.split(r"[/\\]", unquote(f"{host}/{path}"))
        if not {".", ".."}.isdisjoint(names) or any(not name.isprintable() for name in names):
            raise HandleError(
                f"{mask_value(url)!r} has a path that would leave the mirror's directory", fix="Remove the .. from its path."
            )
        if self.is_local and is_archive and not path.lower().endswith(ARCHIVE_SUFFIXES):
            path += ".tar.gz"  # a handle google/nnlm/2 may exist beside google/nnlm/2/...; a file may not
        mirrored = self.template.replace("{host}", host).replace("{path}", path)
        if self.is_local or not parts.query:
            return mirrored
        return f"{mirrored}{'&' if '?' in mirrored else '?'}{parts.query}"

    @property
    def is_local(self) -> bool:
        """Whether it is a directory on this machine."""
        return is_local(self.template)


_ONLY_DIRECT = (Mirror(DIRECT),)


def try_each(url: str, fetch: Callable[[str], _Result], *, is_archive: bool = True) -> _Result:
    """Call ``fetch`` with the URL at each mirror, in the order of the list, until it succeeds; return its result.

    Raises:
        HandleError: if the list is not valid.
        OfflineError: where the list ends in ``off``.
        FetchError: the most informative error of the mirrors; its message lists the others.
    """
    failures: list[tuple[Mirror, FetchError]] = []
    mirrors = read_mirrors()
    if mirrors == _ONLY_DIRECT:
        return fetch(url)
    for mirror in mirrors:
        mirrored = mirror.rewrite(url, is_archive=is_archive)
        try:
            if mirror.template == OFF:
                raise OfflineError(f"{mask_value(url)} may not be downloaded: {settings.MIRRORS} ends in off", fix=_OFF_FIX)
            if mirror.is_local and _has_extra_query(url):  # the query may select the model, and a directory has only one
                raise NotFoundError(
                    f"{mask_value(url)} has a query, which a directory of archives cannot answer",
                    fix="Use a mirror that is a server, or a handle without a query.",
                )
            return fetch(mirrored)
        except FetchError as error:
            failures.append((mirror, _add_mirror(mirrored, error) if mirror.template not in (DIRECT, OFF) else error))
            if not mirror.is_any_error and not isinstance(error, NotFoundError):
                break
            if mirror is not mirrors[-1]:
                level = logging.DEBUG if isinstance(error, NotFoundError) else logging.WARNING
                log.log(level, "%s; trying the next entry of %s", failures[-1][1].text, settings.MIRRORS)
                emit("fetch.mirror", text=failures[-1][1].text)
    try:
        raise _select_error(failures, len(mirrors))
    finally:
        failures.clear()  # an error's traceback holds this frame: together they would keep connections open


def is_direct_allowed() -> bool:
    """Whether a URL's own host may be used at all."""
    return any(mirror.template == DIRECT for mirror in read_mirrors())


def is_only_direct() -> bool:
    """Whether only a URL's own host is used, without mirrors."""
    return read_mirrors() == _ONLY_DIRECT


def require_direct(handle: str) -> None:
    """Check that ``handle`` may be requested from its own host by another library, which knows no mirrors.

    Raises:
        OfflineError: if the list of mirrors does not contain ``direct``.
    """
    if not is_direct_allowed():
        raise OfflineError(f"{handle} may not be downloaded: {settings.MIRRORS} does not contain direct", fix=_OFF_FIX)


def is_local(url: str) -> bool:
    """Whether a URL is a file on this machine."""
    return url.startswith(_FILE)


def get_local_path(url: str) -> str:
    """Return the path of a file:// URL."""
    return unquote(urlsplit(url).path)


def read_mirrors() -> tuple[Mirror, ...]:
    """Return the mirrors that the user has set; raises HandleError as ``parse`` does."""
    return parse(settings.mirrors())


def parse(text: str) -> tuple[Mirror, ...]:
    """Parse a list of mirrors; an empty text means ``direct``.

    The grammar is that of GOPROXY (https://go.dev/ref/mod#goproxy-protocol and cmd/go/internal/modfetch/proxy.go): ``,``
    continues after 404 and 410, ``|`` after any error, ``direct`` and ``off`` end the list, and https is the default scheme.

    Raises:
        HandleError: if an entry is not a URL, or the list is empty.
    """
    if not text.strip():
        return _ONLY_DIRECT
    mirrors = tuple(_parse_entries(text))
    if not mirrors:
        raise HandleError(f"{settings.MIRRORS} is {text!r}, which contains no mirror", fix=_FIX)
    return mirrors


def _parse_entries(text: str) -> Iterator[Mirror]:
    for entry, separator in re.findall(r"([^,|]+)([,|]?)", text):
        value = entry.strip()
        if value:
            yield Mirror(value if value in (DIRECT, OFF) else _make_template(value), separator == "|")
        if value in (DIRECT, OFF):
            return


def _make_template(url: str) -> str:
    original, is_scheme_missing = url, "://" not in url and re.match(r"[^/]*[.:]", url) is not None
    if is_scheme_missing:
        url = f"https://{url}"
    try:
        parts = urlsplit(url)
        is_misspelt = is_scheme_missing and parts.netloc.endswith(":")  # http:/host has a scheme, but not as it is written
        is_valid = not is_misspelt and parts.scheme in ("http", "https") and bool(parts.hostname)
        is_valid = is_valid and parts.port != 0  # a bad port raises
        # Without {path} a query would come before the path; a token belongs in hosts.toml.
        is_valid = is_valid and (not parts.query or "{path}" in url) and not find_confusing_character(parts.netloc)
        is_valid = is_valid or (url.startswith(_FILE) and parts.netloc in ("", "localhost") and parts.path.startswith("/"))
    except ValueError:
        is_valid = False
    unknown = {*_PLACEHOLDER.findall(url)} - {"host", "path"}
    if not is_valid or unknown or parts.fragment:
        reason = f" (unknown placeholder: {', '.join(sorted(unknown))})" if unknown else ""
        raise HandleError(
            f"{settings.MIRRORS} contains {mask_value(original)!r}, which is not a valid mirror{show(reason)}", fix=_FIX
        )
    if "{path}" in url:
        return url
    return url.rstrip("/") + ("/{path}" if "{host}" in url else "/{host}/{path}")


def _add_mirror(mirrored: str, error: FetchError) -> FetchError:
    """Add the URL at the mirror to an error: the handle alone does not tell which server sent a page instead of a model."""
    source = get_local_path(mirrored) if is_local(mirrored) else mask_value(mirrored)
    return error if source in error.text else error.with_message(f"{source}: {error.text}")


def _select_error(failures: list[tuple[Mirror, FetchError]], mirror_count: int) -> FetchError:
    """Choose the error to raise as Go does: that of the URL's own host, else the last one that is not "not found"."""
    errors = [error for _, error in failures]
    serious = [error for error in errors if not isinstance(error, NotFoundError)] or errors
    best = errors[-1] if failures[-1][0].template == DIRECT else serious[-1]
    others = dict.fromkeys(error.text for error in errors if error.text != best.text)
    has_stopped = len(failures) < mirror_count
    text = best.text + "".join(f"\n  also tried: {other}" for other in others)
    error = best.with_message(text, join_advice([best.advice, _STOP_FIX * has_stopped]))
    error.__cause__ = best
    return error


def _has_extra_query(url: str) -> bool:
    """Whether a URL that does not name an archive has a query other than tf-hub-format, which this package adds itself."""
    parts = urlsplit(url)
    extra = [part for part in parts.query.split("&") if part and not part.startswith("tf-hub-format=")]
    return bool(extra) and not parts.path.lower().endswith(ARCHIVE_SUFFIXES)
