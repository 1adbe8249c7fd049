"""Reads a tar archive as a stream, strictly: whatever is ambiguous is an error.

The standard library's tarfile takes a broken header for the end of the archive, and ignores what follows the end.
Formats: POSIX ustar and pax, GNU (long names, base-256 numbers, sparse files), star and v7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tfimm_resolver.archives import tar_sparse
from tfimm_resolver.archives.budget import Budget, Limits
from tfimm_resolver.archives.member_policy import quote_name
from tfimm_resolver.archives.tar_blocks import BlockReader
from tfimm_resolver.archives.tar_header import (
    BLOCK_BYTES,
    DIRECTORY,
    GNU_DIRECTORY,
    GNU_SPARSE,
    HARD_LINK,
    SYMBOLIC_LINK,
    Header,
    decode_text,
    has_valid_checksum,
    parse_decimal,
    parse_pax_records,
)
from tfimm_resolver.archives.tar_sparse import SparseMap
from tfimm_resolver.errors import ArchiveError

_ZEROS = bytes(BLOCK_BYTES)
_HEADER_BYTES_MAX, _HEADERS_BYTES_MAX, _RECORDS_MAX = 1 << 20, 1 << 28, 1_000_000
"""Bounds on an extension header, and on all of an archive, which are parsed before anything is unpacked."""
_FILES = b"0\x007"
_PAX, _SOLARIS_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK, _VOLUME_LABEL = b"x", b"X", b"g", b"L", b"K", b"V"
_EXTENSIONS = (_PAX, _SOLARIS_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK)
_UNSUPPORTED = {
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"M": "the continuation of a file in another volume",
}


class Link(NamedTuple):
    """What a link points to: from its own directory if it is symbolic, else from the top of the archive."""

    target: str
    is_hard: bool

    @property
    def kind(self) -> str:
        """What a message calls it."""
        return "a hard link" if self.is_hard else "a symbolic link"


class Member(NamedTuple):
    """A file, a directory or a link; ``chunks`` yields a file's bytes, once, before the next member is read."""

    name: str
    is_directory: bool
    size_bytes: int = 0
    chunks: Iterator[memoryview] = iter(())
    link: Link | None = None


def is_header(block: bytes) -> bool:
    """Return whether a tar archive can begin with this block."""
    return len(block) == BLOCK_BYTES and (block == _ZEROS or has_valid_checksum(block))


def read_members(
    chunks: Iterable[bytes | memoryview],
    budget: Budget | None = None,
    *,
    on_missing_end: Callable[[], None] | None = None,
    end_blocks: int = 1,
) -> Iterator[Member]:
    """Yield every member, and check that the stream ends where the archive does.

    Args:
        chunks: the stream.
        budget: where extension headers, and the holes and regions of sparse files are counted; by default up to the
            default limits.
        end_blocks: how many blocks of zeros the end must have; POSIX wants two, but not all programs write them.
        on_missing_end: called if the stream ends after a member, without a block of zeros; may raise. Without it, that is
            an error.

    Raises:
        ArchiveError: if a member is neither a regular file nor a directory nor a link, a header is damaged, or anything but
            zeros follows the end; if the stream is empty.
    """
    reader, budget = BlockReader(chunks), budget or Budget(Limits())
    extensions = _Extensions(reader, budget)
    if reader.is_at_end:
        raise ArchiveError("the tar is empty: it has neither a member nor an end-of-archive marker")
    while not reader.is_at_end:
        block = reader.read_exact(BLOCK_BYTES)
        if block == _ZEROS:
            extensions.check_used()
            reader.expect_zeros((end_blocks - 1) * BLOCK_BYTES)
            return
        header = Header.parse(block)
        if header.kind in _EXTENSIONS:
            extensions.read(header)
            continue
        yield from _read_member(reader, *extensions.apply(header), budget)
    extensions.check_used()
    if on_missing_end is None:
        raise make_end_error()
    on_missing_end()


def make_end_error() -> ArchiveError:
    """Return the error of an archive that ends without a marker, as it does when tar is killed while it writes."""
    return ArchiveError(
        "end-of-archive marker missing: the tar may be incomplete",
        fix="Pack it again. If you know that it is complete, pin it: append #sha256= and the SHA-256 of the file, which "
        "`sha256sum FILE` prints, to the handle.",
    )


class _Extensions:
    """The extension headers before a member, and bounds on those of the archive."""

    def __init__(self, reader: BlockReader, budget: Budget) -> None:
        self._reader, self._budget = reader, budget
        self._bytes = self._records = 0
        self._clear()

    def _clear(self) -> None:
        self._has_any = False
        self._name, self._link_target, self._size_bytes = "", "", b""
        self._long_name = self._long_link_target = ""
        self._sparse: dict[bytes, bytes] = {}
        self._sparse_pairs: list[bytes] = []

    def read(self, header: Header) -> None:
        """Read the body of an extension header."""
        self._budget.add_members()
        self._bytes += header.size_bytes
        if header.size_bytes > _HEADER_BYTES_MAX or self._bytes > _HEADERS_BYTES_MAX:
            raise ArchiveError(f"an extension header of {header.size_bytes} bytes is too large, or there are too many")
        text = self._reader.read_exact(header.size_bytes)
        self._reader.skip_padding(header.size_bytes)
        if header.kind == _PAX_GLOBAL:
            return self._check_global(text)
        self._has_any = True
        if header.kind == _LONG_NAME:
            self._long_name = decode_text(text)
        elif header.kind == _LONG_LINK:
            self._long_link_target = decode_text(text)
        else:
            self._read_records(text)
        return None

    def _iterate_records(self, text: bytes) -> Iterator[tuple[bytes, bytes]]:
        for keyword, value in parse_pax_records(text):
            self._records += 1
            if self._records > _RECORDS_MAX:
                raise ArchiveError(f"it has over {_RECORDS_MAX} records in pax headers")
            yield keyword, value

    def _check_global(self, text: bytes) -> None:
        """Refuse what programs disagree about: a name, size or map for all members that follow."""
        for keyword, value in self._iterate_records(text):
            if keyword in (b"path", b"linkpath", b"size") or keyword.startswith(tar_sparse.PAX_PREFIX):
                raise ArchiveError(
                    f"a global pax header sets {quote_name((keyword + b'=' + value).decode('utf-8', 'replace'))}"
                )

    def _read_records(self, text: bytes) -> None:
        for keyword, value in self._iterate_records(text):
            if keyword == b"path":
                self._name = value.decode("utf-8", "surrogateescape")
            elif keyword == b"linkpath":
                self._link_target = value.decode("utf-8", "surrogateescape")
            elif keyword == b"size":
                self._size_bytes = value
            elif keyword.startswith(tar_sparse.PAX_PREFIX):
                word = keyword.removeprefix(tar_sparse.PAX_PREFIX)
                if word in (b"offset", b"numbytes"):
                    if word != (b"offset", b"numbytes")[len(self._sparse_pairs) % 2]:
                        raise ArchiveError("the map of a sparse file is damaged")
                    self._sparse_pairs.append(value)
                self._sparse[word] = value

    def apply(self, header: Header) -> tuple[Header, SparseMap | None]:
        """Return a member's header with what the extension headers before it say, and its map if it is a sparse file."""
        name, size_bytes = _choose(self._name, self._long_name) or header.name, header.size_bytes
        if self._size_bytes and header.has_body:
            size_bytes = parse_decimal(self._size_bytes.decode("utf-8", "replace"))
        if b"name" in self._sparse:
            name = self._sparse[b"name"].decode("utf-8", "surrogateescape")
        changed = header._replace(
            name=name,
            size_bytes=size_bytes,
            link_target=_choose(self._link_target, self._long_link_target) or header.link_target,
        )
        sparse = None
        if header.kind == GNU_SPARSE:
            sparse = tar_sparse.read_old_map(changed, self._reader, self._budget)
        elif self._sparse:
            sparse = tar_sparse.read_pax_map(name, size_bytes, self._sparse, self._sparse_pairs, self._reader, self._budget)
        self._clear()
        return changed, sparse

    def check_used(self) -> None:
        """Raise ArchiveError if a member should follow."""
        if self._has_any:
            raise ArchiveError("it ends after an extension header")


def _choose(pax: str, gnu: str) -> str:
    """Return the name from the extension headers of pax and GNU; programs disagree about which of two names counts.

    Raises:
        ArchiveError: if both are there, and differ.
    """
    if pax and gnu and pax != gnu:
        raise ArchiveError(f"a member has two names, {quote_name(pax)} and {quote_name(gnu)}")
    return pax or gnu


def _read_member(reader: BlockReader, header: Header, sparse: SparseMap | None, budget: Budget) -> Iterator[Member]:
    name, kind = header.name, header.kind
    if kind in (HARD_LINK, SYMBOLIC_LINK):
        yield Member(name, False, link=Link(header.link_target, is_hard=kind == HARD_LINK))
    elif kind in (DIRECTORY, GNU_DIRECTORY) or (kind == b"\0" and name.endswith("/")):
        yield Member(name, is_directory=True)
        _skip_body(reader, header)  # GNU tar --incremental: the names in the directory
    elif kind == _VOLUME_LABEL:
        budget.add_members()
        _skip_body(reader, header)
    elif kind in _FILES or kind == GNU_SPARSE:
        stored = reader.iter_bytes(sparse.stored_bytes if sparse else header.size_bytes)
        chunks = sparse.expand(stored, budget) if sparse else stored
        yield Member(name, False, sparse.size_bytes if sparse else header.size_bytes, chunks)
        for _ in chunks:
            pass
        reader.skip_padding(header.size_bytes)
    else:
        what = _UNSUPPORTED.get(kind, f"of the unknown type {kind!r}")
        raise ArchiveError(f"member {quote_name(name)} is {what}; only regular files, directories and links are unpacked")


def _skip_body(reader: BlockReader, header: Header) -> None:
    for _ in reader.iter_bytes(header.size_bytes):
        pass
    reader.skip_padding(header.size_bytes)
