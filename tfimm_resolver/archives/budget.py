"""Counts what an archive unpacks to, and stops at the limits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar, Union

from tfimm_resolver._util.cancellation import get_current_token
from tfimm_resolver.errors import ArchiveError

RATIO_CHECK_MIN_BYTES = 64 << 20
"""Up to this size the compression ratio is not limited: small files of zeros are harmless."""

AnyBytes = TypeVar("AnyBytes", bound=Union[bytes, memoryview])


class Limits(NamedTuple):
    """Bounds on what one archive may unpack to.

    Attributes:
        members: how many files and directories it may contain; links, extension headers and regions of sparse files count.
        size_bytes: the total size of its files.
        ratio: unpacked bytes per packed byte; not checked for the first 64 MiB.
    """

    members: int = 100_000
    size_bytes: int = 1 << 40
    ratio: float = 200.0

    @property
    def packed_bytes(self) -> int:
        """How large an archive can be that keeps within the limits: files that do not shrink, headers, and a program."""
        return self.size_bytes + self.size_bytes // 64 + self.members * 1024 + (2 << 20)


class Budget:
    """What is left of the limits of one archive.

    Attributes:
        size_bytes: how many unpacked bytes were counted.
    """

    def __init__(self, limits: Limits, get_packed_bytes: Callable[[], int] | None = None) -> None:
        """``get_packed_bytes`` returns how much of the archive was read; without it, the ratio is not checked."""
        self._limits, self._get_packed_bytes = limits, get_packed_bytes
        self._token = get_current_token()
        self._members = 0
        self.size_bytes = 0

    def add_members(self, count: int = 1) -> None:
        """Count members. Raises ArchiveError beyond the limit."""
        self._token.raise_if_cancelled()  # also between members without bytes
        self._members += count
        self.check_members(self._members)

    def add_bytes(self, count: int) -> None:
        """Count unpacked bytes. Raises ArchiveError beyond the limits."""
        self._token.raise_if_cancelled()
        self.size_bytes += count
        self.check_size(self.size_bytes)
        if self._get_packed_bytes is None:
            return
        if self.size_bytes > max(RATIO_CHECK_MIN_BYTES, self._limits.ratio * self._get_packed_bytes()):
            raise ArchiveError(
                f"it unpacks to over {self._limits.ratio:g} times its size",
                fix="If you trust it, set TFIMM_RESOLVER_MAX_RATIO.",
            )

    def count_chunks(self, chunks: Iterable[AnyBytes]) -> Iterator[AnyBytes]:
        """Yield unpacked chunks as long as their total keeps within the limits; raises as ``add_bytes`` does."""
        for chunk in chunks:
            self.add_bytes(len(chunk))
            yield chunk

    def check_members(self, count: int) -> None:
        """Raise ArchiveError if so many members are over the limit."""
        if count > self._limits.members:
            raise ArchiveError(
                f"it has over {self._limits.members} members", fix="If you trust it, set TFIMM_RESOLVER_MAX_MEMBERS."
            )

    def check_packed_size(self, size_bytes: int) -> None:
        """Raise ArchiveError if a zip of so many bytes cannot keep within the limits; also between parts of one."""
        self._token.raise_if_cancelled()
        if size_bytes > self._limits.packed_bytes:
            raise ArchiveError(
                f"it is a zip of over {self._limits.packed_bytes} bytes, but {self._limits.size_bytes} may be unpacked",
                fix="If you trust it, set TFIMM_RESOLVER_MAX_BYTES.",
            )

    def check_size(self, size_bytes: int) -> None:
        """Raise ArchiveError if so many bytes are over the limit."""
        if size_bytes > self._limits.size_bytes:
            raise ArchiveError(
                f"it unpacks to over {self._limits.size_bytes} bytes", fix="If you trust it, set TFIMM_RESOLVER_MAX_BYTES."
            )
