"""Asks for the bytes of one URL, and goes on where a dead process stopped: in ranges where the server bears it."""

from __future__ import annotations

import logging
from typing import Union

import requests

from tfimm_resolver import request
from tfimm_resolver.body import Body, hang_up
from tfimm_resolver.checksums import Checksums
from tfimm_resolver.digests import Digests
from tfimm_resolver.errors import FetchError
from tfimm_resolver.partial_content import ContentRange, content_range, validator
from tfimm_resolver.parts import Parts, Whole, boot
from tfimm_resolver.ranges import Ranges
from tfimm_resolver.tries import AnewError, Tries

RANGE_BYTES = 8 << 20
"""What the first request asks for; an archive that fits comes in one piece and leaves no parts."""

_ANY_ARCHIVE = Checksums()


class Plain:
    """A body as it comes from one answer, on one connection.

    Attributes:
        reply: the answer, its headers and the URL at the end of all redirects.
        size_bytes: how long the body is; None if the server did not say.
        arrived_bytes: how much has come.
        resumed_bytes: how much an earlier process brought: nothing.
    """

    resumed_bytes = 0

    def __init__(self, session: request.Session, reply: requests.Response, size_bytes: int | None) -> None:
        self._session = session
        self.reply, self.size_bytes, self.arrived_bytes = reply, size_bytes, 0
        self._body = Body(reply)

    def read(self, size: int, /) -> bytes:
        """At most so many bytes, none at the end.

        Raises:
            AnewError: if the body broke off for a passing reason.
        """
        try:
            piece = self._body.read(size)
        except FetchError as error:
            raise AnewError(error.text, cause=error, came_bytes=self.arrived_bytes) from error
        self.arrived_bytes += len(piece)
        return piece

    def stop(self) -> None:
        """Let a ``read`` that waits in another thread end."""
        hang_up(self.reply)

    def close(self) -> None:
        """Let the connection go, once nobody reads."""
        self.reply.close()
        self._session.close()


log = logging.getLogger("tfimm_resolver")

Download = Union[Plain, Ranges]


def begin(
    asked: str,
    url: str,
    parts: Parts,
    tries: Tries,
    authorization: request.Authorization | None = None,
    *,
    checksums: Checksums = _ANY_ARCHIVE,
    is_plain: bool = False,
) -> Download:
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
    session = request.Session(authorization)
    try:
        known = None if is_plain else parts.of()
        if known is not None and known.place == request.without_secrets(url) and _have_room(parts, known):
            going_on = _continued(asked, url, parts, known, session, tries, checksums)
            return going_on or begin(asked, url, parts, tries, authorization, checksums=checksums)
        if is_plain:
            reply = _answer(session, asked, url, tries)
            parts.clear()  # not earlier: they may be of another mirror, and this one may have nothing
            return Plain(session, reply, request.content_length(reply))
        begun = _begun(asked, url, parts, session, tries, checksums)
        return begun or begin(asked, url, parts, tries, authorization, is_plain=True)
    except BaseException:
        session.close()
        raise


def _have_room(parts: Parts, whole: Whole) -> bool:
    """Whether the disk can hold the parts, too; says so if it cannot."""
    has_room = parts.have_room(whole.size_bytes, whole.size_bytes - sum(stop - at for at, stop in parts.missing(whole)))
    if not has_room:
        log.warning("the disk has no room to keep %s as it comes: over one connection, not to be gone on with", whole.place)
    return has_room


def _begun(
    asked: str, url: str, parts: Parts, session: request.Session, tries: Tries, checksums: Checksums
) -> Download | None:
    """The body from its start; None if the server's ranges are of no use.

    Where no checksum is expected, all of it is asked for: this answer is then the one stream, unless it states a digest.
    """
    is_expected = checksums.are_expected(url)
    reply = _answer(session, asked, url, tries, f"bytes=0-{RANGE_BYTES - 1}" if is_expected else "bytes=0-")
    if reply.status_code == 200:
        return Plain(session, reply, request.content_length(reply))
    said, mark, covered = content_range(reply), validator(reply), _with_digests(checksums, reply)
    is_entire = said is not None and said == ContentRange(0, said.size_bytes, said.size_bytes)
    if said is not None and is_entire:
        is_single = is_expected or not covered.is_hash_known or said.size_bytes <= RANGE_BYTES
        if is_single or mark is None:
            return Plain(session, reply, said.size_bytes)
    is_right = is_entire or (said is not None and (said.start, said.stop) == (0, RANGE_BYTES))
    if said is not None and is_right and mark is not None:
        whole = Whole(request.without_secrets(url), mark, said.size_bytes, RANGE_BYTES, boot())
        if _have_room(parts, whole) and parts.begin(whole):
            return Ranges(asked, url, whole, parts, session, reply, covered)
    reply.close()
    session.close()
    return None


def _continued(
    asked: str, url: str, parts: Parts, known: Whole, session: request.Session, tries: Tries, checksums: Checksums
) -> Ranges | None:
    """The rest of a body; None, and nothing is left, if it is another one by now."""
    start, stop = next(parts.missing(known), (known.size_bytes - 1, known.size_bytes))
    reply = _answer(session, asked, url, tries, f"bytes={start}-{stop - 1}", known.validator)
    if content_range(reply) == ContentRange(start, stop, known.size_bytes) and validator(reply) == known.validator:
        return Ranges(asked, url, known, parts, session, reply, _with_digests(checksums, reply))
    reply.close()
    session.close()
    parts.clear()
    return None


def _with_digests(checksums: Checksums, reply: requests.Response) -> Checksums:
    """What covers a body, if the answer states a digest of all of it."""
    return checksums.with_hash(bool(Digests(reply.headers, is_whole=False)))


def _answer(
    session: request.Session, asked: str, url: str, tries: Tries, range_: str = "", mark: str = ""
) -> requests.Response:
    """An answer 200 or 206; 416 to a request for a range is asked again without."""
    is_renewed = False
    while True:
        headers = {"Range": range_, **({"If-Range": mark} if mark else {})} if range_ else {}
        try:
            reply = request.get(session, url, headers)
            if reply.status_code == 200 or (reply.status_code == 206 and range_):
                return reply
            if reply.status_code == 416 and range_:
                reply.close()
                range_ = mark = ""
            elif reply.status_code == 403 and reply.history and not is_renewed:  # a signed URL that has run out
                reply.close()
                is_renewed = True
            else:
                request.refuse(reply, asked)
        except FetchError as error:
            tries.after(error)
