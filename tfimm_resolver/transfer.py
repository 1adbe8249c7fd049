"""Brings an archive from the network or from a disk, unpacks it on the way, and remembers where it came from."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
import urllib3

from tfimm_resolver import progress, settings
from tfimm_resolver.archive import quoted, unpack
from tfimm_resolver.errors import (
    AccessError,
    ArchiveError,
    FetchError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    ResolverError,
    TransferTimeoutError,
)
from tfimm_resolver.handle import Handle
from tfimm_resolver.record import Origin
from tfimm_resolver.target import Limits, Stream

log = logging.getLogger("tfimm_resolver")

_BODY_START_BYTES = 300
_FIXES = {
    401: "The place wants credentials: check the handle, and netrc or the token for that host.",
    403: "The place refuses: check the handle, its access rights, and whether a signed URL has run out.",
    404: "Check the spelling of the handle and its version.",
    410: "The model was taken down: look for a newer version.",
}


class Transfer:
    """Brings what one model is made of.

    Attributes:
        origin: where it came from; complete once ``archive`` or ``local_archive`` has returned.
    """

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self.origin = Origin()

    def archive(self, url: str, into: Path) -> None:
        """Bring the archive at ``url`` and unpack it into the empty directory ``into``.

        Raises:
            FetchError: if it did not come, whole; NotFoundError, AccessError, OfflineError and TransferTimeoutError say why.
            ArchiveError: if it may not be unpacked.
            IntegrityError: if the handle pins another sha256.
            CacheError: if ``into`` cannot be written.
        """
        with self._reply(url) as reply:
            self._refuse_failure(reply)
            size_bytes = _content_length(reply)
            self.origin = Origin(without_secrets(reply.url), reply.headers.get("ETag", ""))
            with progress.shown(self._handle.public, size_bytes, quiet=settings.is_quiet()) as meter:
                self._unpack(_Body(reply, meter), into, size_bytes)

    def local_archive(self, path: str, into: Path) -> None:
        """Unpack the archive at a local path; raises as ``archive`` does."""
        with _LocalFile(path) as file:
            self.origin = Origin(path)
            self._unpack(file, into, file.size_bytes)

    def see_other(self, url: str) -> str | None:
        """The body of a 303 answer to ``url``, not followed; None for any other answer.

        Raises:
            FetchError: if there is no answer.
        """
        with self._reply(url, allow_redirects=False) as reply, _translated(url):
            if reply.status_code != 303:
                return None
            body: bytes = reply.raw.read(_BODY_START_BYTES * 10, decode_content=True)
            return body.decode("utf-8", "replace").strip()

    def _unpack(self, stream: Stream, into: Path, size_bytes: int | None) -> None:
        hashed = _Hashed(stream)
        try:
            written = unpack(hashed, into, Limits(*settings.unpack_limits()), packed_bytes=size_bytes)
        except ArchiveError as error:
            raise ArchiveError(f"{self._handle}: {error.text}", fix=error.fix) from error
        self.origin = replace(
            self.origin,
            size_bytes=hashed.size_bytes,
            sha256=hashed.digest.hexdigest(),
            files=written.files,
            unpacked_bytes=written.size_bytes,
        )
        if self._handle.sha256 not in (None, self.origin.sha256):
            raise IntegrityError(
                f"{self._handle} has another sha256:\n  came   {self.origin.sha256}\n  pinned {self._handle.sha256}",
                fix="Mend the pin if you trust what came; nothing of it was kept.",
            )

    @contextlib.contextmanager
    def _reply(self, url: str, *, allow_redirects: bool = True) -> Iterator[requests.Response]:
        if settings.is_offline():
            raise OfflineError(
                f"{self._handle} is not in the cache at {settings.urls_root().value}, and TFIMM_RESOLVER_OFFLINE is set",
                fix="Unset it, or bring a copy and say where it is: set_model_cache(handle, path).",
            )
        with _translated(url), requests.Session() as session:
            reply = session.get(
                url,
                stream=True,
                timeout=settings.timeouts_s(),
                allow_redirects=allow_redirects,
                verify=_certificates(),
                # The archive as it is: a proxy that packs it anew would change its hash.
                headers={"Accept-Encoding": "identity", "User-Agent": "tfimm_resolver"},
            )
        with reply:
            yield reply

    def _refuse_failure(self, reply: requests.Response) -> None:
        """Raise unless the answer is a plain 200, quoting the start of what came instead."""
        if reply.status_code == 200:
            return
        with _translated(reply.url):
            start = quoted(reply.raw.read(_BODY_START_BYTES, decode_content=True))
        kind = {401: AccessError, 403: AccessError, 404: NotFoundError, 410: NotFoundError}.get(reply.status_code, FetchError)
        place = without_secrets(reply.url)
        asked = f"{self._handle}: " if place != str(self._handle) else ""
        raise kind(
            f"{asked}{place} answered {reply.status_code} {_printable(reply.reason)}: {_without_values(start, reply)}",
            fix=_FIXES.get(reply.status_code, "The fault is at that place: try again later."),
        )


class _Body:
    """The body of a reply as a stream, metered."""

    def __init__(self, reply: requests.Response, meter: progress.Meter) -> None:
        self._reply, self._meter = reply, meter

    def read(self, size: int, /) -> bytes:
        with _translated(self._reply.url):
            piece: bytes = self._reply.raw.read(size, decode_content=False)
        self._meter.advance(len(piece))
        return piece


class _LocalFile:
    """A file on this machine as a stream."""

    def __init__(self, path: str) -> None:
        self._path = path
        with self._telling():
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115  # closed by __exit__
            self.size_bytes = os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> _LocalFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int, /) -> bytes:
        with self._telling():
            return self._file.read(size)

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FetchError(f"{self._path} cannot be read: {error.strerror}") from error


class _Hashed:
    """A stream that is hashed as it passes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.size_bytes = 0

    def read(self, size: int, /) -> bytes:
        piece = self._stream.read(size)
        self.digest.update(piece)
        self.size_bytes += len(piece)
        return piece


def without_secrets(url: str) -> str:
    """A URL without userinfo, query and fragment."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _without_values(text: str, reply: requests.Response) -> str:
    """What a server says, without the values of queries, which some echo."""
    for url in (reply.url, *(earlier.url for earlier in reply.history)):
        for _, value in parse_qsl(urlsplit(url).query):
            text = text.replace(value, "…") if len(value) > 5 else text
    return text


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text or "")


def _content_length(reply: requests.Response) -> int | None:
    said = reply.headers.get("Content-Length", "")
    return int(said) if re.fullmatch("[0-9]{1,18}", said) else None


def _certificates() -> Any:
    """What requests' ``verify`` takes. requests itself knows REQUESTS_CA_BUNDLE, but not SSL_CERT_FILE."""
    if not settings.is_certificate_checked():
        log.warning("certificates are not checked: TFHUB_DISABLE_CERT_VALIDATION is true")
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return False
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    """The one place where errors of the HTTP library become ours."""
    try:
        yield
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        # The library's own texts show the query, which may be a signature.
        raise _translation(error, without_secrets(url)) from (None if "?" in url else error)


def _translation(error: Exception, place: str) -> ResolverError:
    if isinstance(error, (requests.Timeout, urllib3.exceptions.TimeoutError)):
        connect_s, read_s = settings.timeouts_s()
        return TransferTimeoutError(
            f"{place} sent nothing for {read_s:g} s, or took no connection for {connect_s:g} s",
            fix="Try again, or set TFIMM_RESOLVER_READ_TIMEOUT_S or TFIMM_RESOLVER_CONNECT_TIMEOUT_S higher.",
        )
    if isinstance(error, ValueError):  # InvalidURL, InvalidSchema and the like
        return FetchError(f"{place} has no host that can be asked, or redirects to no http or https address")
    if isinstance(error, requests.exceptions.SSLError):
        return FetchError(
            f"{place} shows no certificate that is trusted: {_reason(error)}",
            fix="Set REQUESTS_CA_BUNDLE to the right CA bundle.",
        )
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.ProtocolError)):
        return FetchError(f"{place} broke off: {_reason(error)}", fix="Try again.")
    if isinstance(error, requests.ConnectionError):
        return OfflineError(f"{place} is out of reach: {_reason(error)}", fix="Check the network and the proxy.")
    return FetchError(f"{place} could not be read: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """The innermost reason, without the addresses of Python objects that urllib3 puts into its messages."""
    while inner := next((arg for arg in (getattr(error, "reason", None), *error.args) if isinstance(arg, Exception)), None):
        error = inner
    return re.split(r"[>)]: ", str(error))[-1]
