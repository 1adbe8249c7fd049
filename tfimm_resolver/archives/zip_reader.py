"""Reads a zip archive from a file, strictly: redundant headers must agree, and nothing may lie between members."""

from __future__ import annotations

import contextlib
import stat
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives import zip_methods
from tfimm_resolver.archives.budget import Budget, Limits
from tfimm_resolver.archives.link_targets import resolve_link
from tfimm_resolver.archives.member_policy import Skip, quote_name
from tfimm_resolver.archives.tar_reader import Member
from tfimm_resolver.archives.zip_directory import (
    LOCAL_HEADER,
    LOCAL_SIGNATURE,
    ZIP64_EXTRA,
    End,
    Entry,
    check_stub,
    find_end,
    read_entries,
    read_wide_numbers,
)
from tfimm_resolver.archives.zip_methods import CHUNK_BYTES, zlib
from tfimm_resolver.archives.zip_names import IS_UTF_8, UNICODE_PATH, decode_name, find_extra, normalize_separators
from tfimm_resolver.errors import ArchiveError, ResolverError, UnsupportedMemberError
from tfimm_resolver.errors.os_errors import map_resource_errors

_ENCRYPTED, _HAS_DATA_DESCRIPTOR = 0x2041, 0x08
_LINK_BYTES_MAX = 4096
_NO_LINKS_FIX = "Pack the files that the links lead to: `zip -r` without --symlinks."

Guess = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Span:
    """A member, and the range of its packed data in the file."""

    entry: Entry
    start: int
    end: int

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.entry.mode)


def read_end(file: IO[bytes]) -> End | None:
    """Return what the end of a zip says about it; None if the file does not end like a zip; raises as ``read_members``."""
    with _translate_zip_errors():
        return find_end(file)


def check_member_count(file: IO[bytes], members_max: int) -> None:
    """Check a zip before ``zipfile`` holds all of its members in memory.

    Raises:
        ArchiveError: if it has more members, or if it is damaged: then ``zipfile`` may find another directory in it.
    """
    with _translate_zip_errors():
        end = find_end(file, is_last=True)
        if end is None:
            raise make_end_error()
        Budget(Limits(members=members_max)).check_members(end.count)
        for _ in read_entries(file, end):
            pass


def read_members(
    file: IO[bytes], end: End | None = None, *, skip: Skip | None = None, on_guess: Guess | None = None
) -> Iterator[Member]:
    """Yield every member, in the order of the central directory; a link to a file has that file's bytes.

    Args:
        file: the zip.
        end: what ``read_end`` returned.
        skip: called for each link that leads to no file, and for each device, with an error that is raised without it.
        on_guess: called with the first name whose encoding is only assumed.

    Raises:
        ArchiveError: if a member is neither a regular file nor a directory nor a link to a file in the zip, is encrypted,
            compressed by another method than ``zip_methods`` knows, or damaged; if headers contradict each other; if any
            bytes do not belong to a member or to a program before them.
    """
    with _translate_zip_errors():
        end = end or find_end(file)
        if end is None:
            raise make_end_error()
        entries = _rename(read_entries(file, end))
        spans = _find_spans(entries, end, file)
        if on_guess is not None and (guessed := next((entry.name for entry in entries if entry.is_guessed), "")):
            on_guess(guessed)
        links = {_get_path(span): _read_link(span, file) for span in spans if span.is_link}
        targets = (span for span in spans if links and not span.is_link and not _is_directory(span))
        files = {_get_path(span): span for span in targets}
        for span in spans:
            try:
                _check_separators(span.entry.name)
                source = _find_source(span, links, files)
            except UnsupportedMemberError as error:
                if skip is None:
                    raise
                skip(error)
                continue
            chunks = _verify_chunks(source, file)
            yield Member(span.entry.name, _is_directory(span), source.entry.size_bytes, chunks)


def make_end_error() -> ArchiveError:
    """Return the error for a file that begins like a zip and does not end like one."""
    return ArchiveError("the zip is damaged: it is cut short, or something follows its end")


def _rename(entries: Iterable[Entry]) -> list[Entry]:
    entries = [*entries]
    names = normalize_separators([entry.name for entry in entries])
    return [replace(entry, name=name) if entry.name != name else entry for entry, name in zip(entries, names, strict=True)]


def _find_spans(entries: list[Entry], end: End, file: IO[bytes]) -> list[_Span]:
    """Return where the data of each member is; check that they follow each other without a gap, up to the directory."""
    in_file = sorted(range(len(entries)), key=lambda index: entries[index].offset)
    spans: dict[int, _Span] = {}
    position = check_stub(file, entries[in_file[0]].offset) if in_file else end.start
    for index in in_file:
        entry = entries[index]
        if entry.offset != position:
            raise ArchiveError(
                f"the zip is damaged: what precedes member {quote_name(entry.name)} does not match the central directory"
            )
        _check_kind(entry)
        spans[index], position = _find_span(entry, file)
    if position != end.start:
        raise ArchiveError("the zip is damaged: it contains data that its central directory does not list")
    return [spans[index] for index in range(len(entries))]


def _is_directory(span: _Span) -> bool:
    return span.entry.name.endswith("/")


def _get_path(span: _Span) -> str:
    """Return the spelling of a member's path by which links find it."""
    return "/".join(part for part in span.entry.name.split("/") if part not in ("", "."))


def _check_kind(entry: Entry) -> None:
    quoted = quote_name(entry.name)
    if entry.flags & _ENCRYPTED:
        raise ArchiveError(f"member {quoted} is encrypted")
    if not zip_methods.is_supported(entry.method):
        raise ArchiveError(
            f"member {quoted} uses compression method {zip_methods.describe_method(entry.method)}; "
            f"those that are read: {zip_methods.SUPPORTED}",
            fix="Pack it again, for example with `zip -r`.",
        )
    if entry.name.endswith("/") and entry.size_bytes:
        raise ArchiveError(f"member {quoted} is a directory, but has {entry.size_bytes} bytes")


def _check_separators(name: str) -> None:
    """Raise an error for a backslash that was left in a name: it may be a separator, or a character on Unix."""
    if "\\" in name:
        raise UnsupportedMemberError(
            f"member {quote_name(name)} has a backslash, but other names in the zip have a slash",
            fix="Pack it again with a program that writes a slash between directories, as `zip -r` does.",
        )


def _find_source(span: _Span, links: dict[str, str], files: dict[str, _Span]) -> _Span:
    """Return the member whose bytes a member has: its own, or those of the file that it links to."""
    quoted, kind = quote_name(span.entry.name), stat.S_IFMT(span.entry.mode)
    if span.is_link:
        target = resolve_link(path := _get_path(span), links, files)
        if target is None:
            raise UnsupportedMemberError(
                f"member {quoted} is a symbolic link to {quote_name(links[path])}, which is not a file in the archive",
                fix=_NO_LINKS_FIX,
            )
        return files[target]
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnsupportedMemberError(f"member {quoted} is a device; only regular files, directories and links are unpacked")
    return span


def _read_link(span: _Span, file: IO[bytes]) -> str:
    """Return the target of a symbolic link; empty if it is too long to be one."""
    if span.entry.size_bytes > _LINK_BYTES_MAX:
        return ""
    return b"".join(_verify_chunks(span, file)).decode("utf-8", "surrogateescape")


def _find_span(entry: Entry, file: IO[bytes]) -> tuple[_Span, int]:
    """Return where the member's data is, and where everything that belongs to it ends, including its data descriptor."""
    file.seek(entry.offset)
    head = file.read(LOCAL_HEADER.size)
    if len(head) < LOCAL_HEADER.size or not head.startswith(LOCAL_SIGNATURE):
        raise ArchiveError(f"the zip is damaged: member {quote_name(entry.name)} has no local header")
    _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = LOCAL_HEADER.unpack(head)
    name, extra = file.read(name_bytes), file.read(extra_bytes)
    size, packed = read_wide_numbers(find_extra(extra, ZIP64_EXTRA), size, packed)
    local, central = (crc, packed, size), (entry.crc, entry.packed_bytes, entry.size_bytes)
    is_same = local == central or (
        flags & _HAS_DATA_DESCRIPTOR and all(one in (0, other) for one, other in zip(local, central, strict=True))
    )
    if not is_same or method != entry.method or flags & _ENCRYPTED or not _is_same_name(entry, name, flags, extra):
        raise ArchiveError(
            f"the zip is damaged: member {quote_name(entry.name)} has a local header that contradicts the central directory"
        )
    start = entry.offset + LOCAL_HEADER.size + name_bytes + extra_bytes
    end = start + entry.packed_bytes
    file.seek(end)
    return _Span(entry, start, end), end + (
        _find_descriptor_length(entry, file.read(24)) if flags & _HAS_DATA_DESCRIPTOR else 0
    )


def _is_same_name(entry: Entry, raw: bytes, flags: int, extra: bytes) -> bool:
    """Return whether a local header has the name of the central directory, also for those who read only the one."""
    if raw != entry.raw_name or raw.isascii():
        return raw == entry.raw_name
    if not (flags ^ entry.flags) & IS_UTF_8 and find_extra(extra, UNICODE_PATH) is None:
        return True
    name, _ = decode_name(raw, flags, entry.host, extra)
    return name.replace("\\", "/") == entry.name.replace("\\", "/")


def _find_descriptor_length(entry: Entry, following: bytes) -> int:
    """Return the length of the data descriptor after a member: with or without signature, with sizes of 32 or 64 bits."""
    for layout in ("<LQQ", "<LLL"):
        with contextlib.suppress(struct.error):  # too large for 32 bits
            fields = struct.pack(layout, entry.crc, entry.packed_bytes, entry.size_bytes)
            for descriptor in (b"PK\x07\x08" + fields, fields):
                if following.startswith(descriptor):
                    return len(descriptor)
    raise ArchiveError(
        f"the zip is damaged: member {quote_name(entry.name)} has a data descriptor that contradicts its header"
    )


def _verify_chunks(span: _Span, file: IO[bytes]) -> Iterator[memoryview]:
    """Yield a member's bytes, and compare their size and CRC with the header at the end."""
    entry, crc, size = span.entry, 0, 0
    try:
        for chunk in zip_methods.decompress(entry.method, _read_packed(span, file), entry.size_bytes, entry.flags):
            crc, size = zlib.crc32(chunk, crc), size + len(chunk)
            if size > entry.size_bytes:
                break
            yield memoryview(chunk)
    except ArchiveError as error:
        raise ArchiveError(
            f"member {quote_name(entry.name)} cannot be unpacked: {show(error.text)}", fix=error.advice
        ) from error
    if (crc, size) != (entry.crc, entry.size_bytes):
        raise ArchiveError(f"the zip is damaged: member {quote_name(entry.name)} has another size or CRC than its header says")


def _read_packed(span: _Span, file: IO[bytes]) -> Iterator[bytes]:
    position = span.start
    while position < span.end:
        file.seek(position)  # the file may have been read elsewhere since
        chunk = file.read(min(CHUNK_BYTES, span.end - position))
        if not chunk:
            raise ArchiveError("the zip is truncated")
        position += len(chunk)
        yield chunk


@contextlib.contextmanager
def _translate_zip_errors() -> Iterator[None]:
    try:
        with map_resource_errors(ArchiveError, "the zip cannot be read"):
            yield
    except ResolverError:
        raise
    # What struct and decoders raise for nonsensical fields. OSError, of a seek before the start or of a full or broken disk,
    # is mapped by ``Extractor``.
    except (EOFError, ValueError, struct.error, OverflowError) as error:
        raise ArchiveError(f"the zip is damaged: {show(error)}") from error
