"""Unpacks a zip: within the limits that its end tells, before anything else of it is read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.text import format_count
from tfimm_resolver.archives import formats, zip_reader
from tfimm_resolver.archives.member_policy import quote_name
from tfimm_resolver.archives.tar_reader import Member
from tfimm_resolver.errors import UnsupportedMemberError

if TYPE_CHECKING:
    from tfimm_resolver.archives.extractor import Extractor
    from tfimm_resolver.archives.unpacking import ArchiveLayout

log = logging.getLogger("tfimm_resolver")

_LISTED_MAX = 3


def unzip(extractor: Extractor, layout: ArchiveLayout, head: bytes) -> None:
    """Unpack a zip, which can only be read from a file, since its directory is at its end; ``head`` are its first bytes.

    Raises:
        ArchiveError: as ``zip_reader.read_members`` does.
    """
    skipped: list[UnsupportedMemberError] = []
    skip = skipped.append if layout.skips_unsupported else None
    with extractor.spool() as file:
        end = zip_reader.read_end(file)
        if end is None:
            raise zip_reader.make_end_error() if formats.identify(head) == formats.ZIP else formats.make_error(head)
        extractor.check_size(0, end.count)
        if layout.on_comment is not None:
            layout.on_comment(end.comment.decode("ascii", "replace"))

        def warn(name: str) -> None:
            log.warning(
                "%s: the zip does not say how its names are encoded; they are read as code page 437, for example %s",
                layout.describe(),
                quote_name(name),
            )

        members = [*zip_reader.read_members(file, end, skip=skip, on_guess=warn)]
        extractor.check_size(sum(member.size_bytes for member in members))
        extractor.extract(_limit(members, extractor), skip=skip)
    if skipped:
        _report_skipped(skipped, layout.describe())


def _limit(members: list[Member], extractor: Extractor) -> Iterator[Member]:
    for member in members:
        yield member._replace(chunks=extractor.enforce_limits(member.chunks))


def _report_skipped(skipped: list[UnsupportedMemberError], label: str) -> None:
    texts = "; ".join(show(error.text) for error in skipped[:_LISTED_MAX])
    more = f"; and {len(skipped) - _LISTED_MAX} more" if len(skipped) > _LISTED_MAX else ""
    log.warning("%s: left out %s: %s%s", label, format_count(len(skipped), "member"), texts, more)
