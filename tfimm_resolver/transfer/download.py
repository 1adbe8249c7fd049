"""Downloads one URL, and resumes what an earlier process left, using range requests where the server supports them."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Union

from tfimm_resolver._util.threads import call_cancellably
from tfimm_resolver.errors import FetchError
from tfimm_resolver.http.authorization import OriginBoundAuth
from tfimm_resolver.http.digest_headers import ServerDigests
from tfimm_resolver.http.errors import raise_for_status, redact_url
from tfimm_resolver.http.range_headers import ContentRange, get_strong_validator, parse_content_range
from tfimm_resolver.http.response import Response, get_content_length
from tfimm_resolver.http.retry import RetryPolicy
from tfimm_resolver.http.session import Session, get
from tfimm_resolver.manifest import Origin
from tfimm_resolver.transfer.checksums import Checksums
from tfimm_resolver.transfer.partial_store import PartialDownloadInfo, PartStore, get_boot_id
from tfimm_resolver.transfer.revalidation import make_conditions, may_be_older, raise_if_same_date, raise_if_unchanged
from tfimm_resolver.transfer.single_stream import SingleStreamDownload

if TYPE_CHECKING:
    from tfimm_resolver.transfer.parallel_ranges import RangedDownload

log = logging.getLogger("tfimm_resolver")

RANGE_BYTES = 8 << 20
"""The size of the first request; a smaller archive arrives in one response and leaves no parts."""

_ANY_ARCHIVE = Checksums()

OpenDownload = Union[SingleStreamDownload, "RangedDownload"]


def open_download(
    handle: str,
    url: str,
    parts: PartStore,
    policy: RetryPolicy,
    authorization: OriginBoundAuth | None = None,
    *,
    checksums: Checksums = _ANY_ARCHIVE,
    without_ranges: bool = False,
    known: Origin | None = None,
) -> OpenDownload:
    """Request ``url`` and return its body as a stream.

    Args:
        handle: for error messages.
        url: the URL.
        parts: what an earlier download left; resumed if it is of the same body, else removed.
        policy: counts the failures, including those of earlier calls.
        authorization: used instead of the credentials in netrc.
        checksums: what would detect a mix of two versions; where nothing would, the body comes from one response.
        without_ranges: send one plain request.
        known: what is known of the body that the caller has.

    Raises:
        NotModifiedError: if the body is the one that is known.
        FetchError: if the server refuses, or all tries fail.
    """
    session = Session(authorization)
    try:
        info = None if without_ranges else parts.load()
        if info is not None and info.url == redact_url(url) and _has_disk_space(parts, info):
            resumed = _resume(handle, url, parts, info, session, policy, checksums)
            return resumed or open_download(handle, url, parts, policy, authorization, checksums=checksums)
        if without_ranges:
            response = _request(session, handle, url, policy, known=known)
            parts.clear()  # only now: they may come from another mirror, and this one may not have the file
            return SingleStreamDownload(session, response, get_content_length(response))
        started = _start(handle, url, parts, session, policy, checksums, known)
        return started or open_download(handle, url, parts, policy, authorization, without_ranges=True)
    except BaseException:
        session.close()
        raise


def _has_disk_space(parts: PartStore, info: PartialDownloadInfo) -> bool:
    """Whether the disk can hold the parts, too; logs a warning if not."""
    missing_bytes = sum(stop - start for start, stop in parts.find_missing(info))
    has_space = parts.has_disk_space(info.size_bytes, info.size_bytes - missing_bytes)
    if not has_space:
        log.warning("not enough disk space to keep %s resumable: downloading over one connection", info.url)
    return has_space


def _start(
    handle: str,
    url: str,
    parts: PartStore,
    session: Session,
    policy: RetryPolicy,
    checksums: Checksums,
    known: Origin | None,
) -> OpenDownload | None:
    """Start a download from byte 0; None if range requests do not work with this server.

    Where no checksum is expected, all bytes are requested: the body is then this one response, unless it states a digest.
    """
    is_expected = checksums.are_expected(url)
    range_ = f"bytes=0-{RANGE_BYTES - 1}" if is_expected else "bytes=0-"
    response = _request(session, handle, url, policy, range_, known=known)
    if response.status_code == 200:
        return SingleStreamDownload(session, response, get_content_length(response))
    received, validator = parse_content_range(response), get_strong_validator(response)
    is_complete = received is not None and received == ContentRange(0, received.size_bytes, received.size_bytes)
    if received is not None and is_complete:
        is_single = is_expected or validator is None or received.size_bytes <= RANGE_BYTES
        if is_single or not _add_digests(checksums, response).is_hash_known:
            return SingleStreamDownload(session, response, received.size_bytes)
    is_as_requested = is_complete or (received is not None and (received.start, received.stop) == (0, RANGE_BYTES))
    if received is not None and is_as_requested and validator is not None:
        info = PartialDownloadInfo(redact_url(url), validator, received.size_bytes, RANGE_BYTES, get_boot_id())
        if _has_disk_space(parts, info) and parts.reset(info):
            return _receive_in_ranges(handle, url, info, parts, session, response, checksums)
    response.close()
    session.close()
    return None


def _resume(
    handle: str,
    url: str,
    parts: PartStore,
    info: PartialDownloadInfo,
    session: Session,
    policy: RetryPolicy,
    checksums: Checksums,
) -> RangedDownload | None:
    """Resume a download; if the body has changed since, remove the parts and return None."""
    start, stop = next(parts.find_missing(info), (info.size_bytes - 1, info.size_bytes))
    response = _request(session, handle, url, policy, f"bytes={start}-{stop - 1}", info.validator)
    is_as_requested = parse_content_range(response) == ContentRange(start, stop, info.size_bytes)
    if is_as_requested and get_strong_validator(response) == info.validator:
        return _receive_in_ranges(handle, url, info, parts, session, response, checksums)
    response.close()
    session.close()
    parts.clear()
    return None


def _receive_in_ranges(
    handle: str,
    url: str,
    info: PartialDownloadInfo,
    parts: PartStore,
    session: Session,
    response: Response,
    checksums: Checksums,
) -> RangedDownload:
    from tfimm_resolver.transfer.parallel_ranges import RangedDownload  # 1 ms that a small archive does not pay

    return RangedDownload(handle, url, info, parts, session, response, _add_digests(checksums, response))


def _add_digests(checksums: Checksums, response: Response) -> Checksums:
    """Return the checksums, with the knowledge whether the response states a digest of the complete body."""
    return checksums.with_hash(bool(ServerDigests(response.headers, is_complete=False)))


def _request(
    session: Session,
    handle: str,
    url: str,
    policy: RetryPolicy,
    range_: str = "",
    validator: str = "",
    known: Origin | None = None,
) -> Response:
    """Return a 200 or 206 response; after a 416 the request is repeated without a range."""
    is_refreshed = False
    while True:
        headers = {"Range": range_, **({"If-Range": validator} if validator else {})} if range_ else {}
        try:
            send = functools.partial(get, session, url, headers | make_conditions(known))
            response = call_cancellably(send, Response.close)
            if known is not None and may_be_older(response, known):
                response.close()
                send = functools.partial(get, session, url, {"Range": "bytes=0-0"})
                raise_if_same_date(call_cancellably(send, Response.close), known)
                known = None
                continue
            raise_if_unchanged(response, known)
            if response.status_code == 200 or (response.status_code == 206 and range_):
                return response
            if response.status_code == 416 and range_:
                response.close()
                range_ = validator = ""
            elif response.status_code == 304 and known is not None:  # of another URL, so that it proves nothing
                response.close()
                known = None
            elif response.status_code == 403 and response.history and not is_refreshed:  # an expired signed URL
                response.close()
                is_refreshed = True
            else:
                raise_for_status(response, handle)
        except FetchError as error:
            policy.sleep_or_raise(error)
