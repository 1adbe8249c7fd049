"""Asks for the bytes of one URL, and goes on where a dead process stopped: in ranges where the server bears it."""

from __future__ import annotations

import logging
from typing import Union

import requests

from tfimm_resolver.errors import FetchError
from tfimm_resolver.http import errors
from tfimm_resolver.http import session as http_session
from tfimm_resolver.http.digest_headers import ServerDigests
from tfimm_resolver.http.range_headers import ContentRange, content_range, strong_validator
from tfimm_resolver.http.retry import RetryPolicy
from tfimm_resolver.transfer.checksums import Checksums
from tfimm_resolver.transfer.parallel_ranges import RangedDownload
from tfimm_resolver.transfer.partial_store import PartialDownloadInfo, PartStore, boot
from tfimm_resolver.transfer.single_stream import SingleStreamDownload

RANGE_BYTES = 8 << 20
"""What the first request asks for; an archive that fits comes in one piece and leaves no parts."""

_ANY_ARCHIVE = Checksums()


log = logging.getLogger("tfimm_resolver")

OpenDownload = Union[SingleStreamDownload, RangedDownload]


def open_download(
    asked: str,
    url: str,
    parts: PartStore,
    tries: RetryPolicy,
    authorization: http_session.OriginBoundAuth | None = None,
    *,
    checksums: Checksums = _ANY_ARCHIVE,
    is_plain: bool = False,
) -> OpenDownload:
    """The body of ``url`` as a stream; ``asked`` is the handle, for messages.

    Args:
        parts: what an earlier download left, continued if it is of the same body, else forgotten.
        tries: counts the failures, those of earlier calls included.
        authorization: who asks, if not whom netrc names.
        checksums: what would notice parts of two versions; where nothing would, the body comes from one answer.
        is_plain: ask without ranges.

    Raises:
        FetchError: if it is refused, or does not come after all tries.
    """
    session = http_session.Session(authorization)
    try:
        known = None if is_plain else parts.of()
        if known is not None and known.place == errors.redact_url(url) and _has_disk_space(parts, known):
            going_on = _resume(asked, url, parts, known, session, tries, checksums)
            return going_on or open_download(asked, url, parts, tries, authorization, checksums=checksums)
        if is_plain:
            reply = _answer(session, asked, url, tries)
            parts.clear()  # not earlier: they may be of another mirror, and this one may have nothing
            return SingleStreamDownload(session, reply, http_session.content_length(reply))
        begun = _start_ranged(asked, url, parts, session, tries, checksums)
        return begun or open_download(asked, url, parts, tries, authorization, is_plain=True)
    except BaseException:
        session.close()
        raise


def _has_disk_space(parts: PartStore, whole: PartialDownloadInfo) -> bool:
    """Whether the disk can hold the parts, too; says so if it cannot."""
    has_room = parts.have_room(whole.size_bytes, whole.size_bytes - sum(stop - at for at, stop in parts.missing(whole)))
    if not has_room:
        log.warning("the disk has no room to keep %s as it comes: over one connection, not to be gone on with", whole.place)
    return has_room


def _start_ranged(
    asked: str, url: str, parts: PartStore, session: http_session.Session, tries: RetryPolicy, checksums: Checksums
) -> OpenDownload | None:
    """The body from its start; None if the server's ranges are of no use.

    Where no checksum is expected, all of it is asked for: this answer is then the one stream, unless it states a digest.
    """
    is_expected = checksums.are_expected(url)
    reply = _answer(session, asked, url, tries, f"bytes=0-{RANGE_BYTES - 1}" if is_expected else "bytes=0-")
    if reply.status_code == 200:
        return SingleStreamDownload(session, reply, http_session.content_length(reply))
    said, mark, covered = content_range(reply), strong_validator(reply), _with_digests(checksums, reply)
    is_entire = said is not None and said == ContentRange(0, said.size_bytes, said.size_bytes)
    if said is not None and is_entire:
        is_single = is_expected or not covered.is_hash_known or said.size_bytes <= RANGE_BYTES
        if is_single or mark is None:
            return SingleStreamDownload(session, reply, said.size_bytes)
    is_right = is_entire or (said is not None and (said.start, said.stop) == (0, RANGE_BYTES))
    if said is not None and is_right and mark is not None:
        whole = PartialDownloadInfo(errors.redact_url(url), mark, said.size_bytes, RANGE_BYTES, boot())
        if _has_disk_space(parts, whole) and parts.begin(whole):
            return RangedDownload(asked, url, whole, parts, session, reply, covered)
    reply.close()
    session.close()
    return None


def _resume(
    asked: str,
    url: str,
    parts: PartStore,
    known: PartialDownloadInfo,
    session: http_session.Session,
    tries: RetryPolicy,
    checksums: Checksums,
) -> RangedDownload | None:
    """The rest of a body; None, and nothing is left, if it is another one by now."""
    start, stop = next(parts.missing(known), (known.size_bytes - 1, known.size_bytes))
    reply = _answer(session, asked, url, tries, f"bytes={start}-{stop - 1}", known.validator)
    if content_range(reply) == ContentRange(start, stop, known.size_bytes) and strong_validator(reply) == known.validator:
        return RangedDownload(asked, url, known, parts, session, reply, _with_digests(checksums, reply))
    reply.close()
    session.close()
    parts.clear()
    return None


def _with_digests(checksums: Checksums, reply: requests.Response) -> Checksums:
    """What covers a body, if the answer states a digest of all of it."""
    return checksums.with_hash(bool(ServerDigests(reply.headers, is_whole=False)))


def _answer(
    session: http_session.Session, asked: str, url: str, tries: RetryPolicy, range_: str = "", mark: str = ""
) -> requests.Response:
    """An answer 200 or 206; 416 to a request for a range is asked again without."""
    is_renewed = False
    while True:
        headers = {"Range": range_, **({"If-Range": mark} if mark else {})} if range_ else {}
        try:
            reply = http_session.get(session, url, headers)
            if reply.status_code == 200 or (reply.status_code == 206 and range_):
                return reply
            if reply.status_code == 416 and range_:
                reply.close()
                range_ = mark = ""
            elif reply.status_code == 403 and reply.history and not is_renewed:  # a signed URL that has run out
                reply.close()
                is_renewed = True
            else:
                errors.raise_for_status(reply, asked)
        except FetchError as error:
            tries.after(error)
