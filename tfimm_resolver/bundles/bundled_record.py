"""Reads and checks the record of a model in an untrusted bundle: its form, its date, and whose name it has."""

from __future__ import annotations

import re

from tfimm_resolver._util import clock
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives import tar_reader
from tfimm_resolver.cache.record import (
    DESCRIPTOR_SUFFIX,
    ENTRY_DIR_PATTERN,
    MAX_RECORD_BYTES,
    Record,
    decode_record,
)
from tfimm_resolver.errors import ArchiveError, HandleError, IntegrityError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.resolution.cached_names import derive_entry_name

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_CLOCK_TOLERANCE_S = 2 * 24 * 3600


def read_record(member: tar_reader.Member) -> Record:
    """Read the record that a model begins with."""
    name = member.name.removesuffix(DESCRIPTOR_SUFFIX)
    found = ENTRY_DIR_PATTERN.fullmatch(name)
    if member.is_directory or member.link or name == member.name or found is None or found[2]:
        raise ArchiveError(f"expected the record of a model, found {member.name!r:.200}")
    if member.size_bytes > MAX_RECORD_BYTES:
        raise ArchiveError(f"{show(member.name)} has {member.size_bytes} bytes, too many for a record")
    record = Record.parse(decode_record(b"".join(member.chunks)), name)
    if record.files is None or record.tree != name or not _TIME.fullmatch(record.fetched_at):
        raise ArchiveError(f"{show(member.name)} is not a record that this version can read")
    _check_date(record)
    return record


def _check_date(record: Record) -> None:
    """Check that a record is not dated in the future: such a copy would count as later than any other, for ever.

    Raises:
        IntegrityError: if it is, by more than clocks differ.
    """
    latest = clock.format_time(clock.get_time_s() + _CLOCK_TOLERANCE_S)
    if record.fetched_at > latest:
        raise IntegrityError(
            f"the record of {show(record.handle)} is dated in the future: {show(record.fetched_at)}",
            fix="Nothing was imported. Correct the clock of this machine if it is wrong; else do not trust this bundle.",
        )


def check_entry_name(record: Record, cached: Record | None, *, is_pinned: bool) -> None:
    """Check that a record's entry name, under which the model will be found, belongs to the handle that users see.

    A name that cannot be derived from the handle is accepted under two conditions. The caller has given the sha256 of the
    bundle, which is compared before anything is published; and the cached copy of that name has the same handle.

    Raises:
        IntegrityError: if the name belongs to another handle; importing a harmless model must not replace another one.
    """
    text = f"the record of {record.handle!r:.200} has the entry name {record.tree}, which "
    try:
        name = derive_entry_name(record)
        if name is None and is_pinned and (cached is None or Handle.parse(cached.handle).redacted == record.handle):
            return
    except HandleError as error:
        raise IntegrityError(f"{text}is another model's name, or not a valid one: {error.text}") from error
    if name is None and not is_pinned:
        trust = "Nothing was imported. If you trust its author, import it with the"
        fix = Advice(
            python=f"{trust} sha256 that bundles.export() returned.", command=f"{trust} --sha256 that export printed."
        )
        raise IntegrityError(f"{text}cannot be derived from that handle: it may be another model's name", fix=fix)
    if name != record.tree:
        raise IntegrityError(f"{text}is another model's name")
