"""What a download that was broken off leaves for the next one: ranges of bytes, and what they are parts of."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from tfimm_resolver._util import fs
from tfimm_resolver.errors import CacheError, ResolverError
from tfimm_resolver.settings import ownership

_METADATA_FILE = "of.json"
_OF_BYTES_MAX = 100_000
_PARTS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class PartialDownloadInfo:
    """What the parts are parts of; only parts of the same whole fit together.

    Attributes:
        place: the URL that was asked, without secrets.
        validator: a strong ETag, or a Last-Modified date (RFC 9110, 8.8).
        range_bytes: how long each part is, but for the last.
        boot: which run of the operating system wrote them: what a crash of the machine leaves in a file is anybody's guess.
    """

    place: str
    validator: str
    size_bytes: int
    range_bytes: int
    boot: str

    @property
    def is_sound(self) -> bool:
        """Whether this can be what ``PartStore.begin`` wrote."""
        numbers = (self.size_bytes, self.range_bytes)
        is_numbers = all(isinstance(number, int) and 0 < number < 1 << 60 for number in numbers)
        is_text = isinstance(self.validator, str) and self.validator.isprintable()
        return is_numbers and is_text and self.size_bytes // self.range_bytes < _PARTS_MAX

    @property
    def starts(self) -> range:
        """Where each part begins."""
        return range(0, self.size_bytes, self.range_bytes)

    def length(self, start: int) -> int:
        """How long the part that begins there is to become."""
        return min(self.range_bytes, self.size_bytes - start)


class PartStore:
    """A directory with one file a range, named by the offset of its first byte and filled from its start.

    In a directory like /tmp, or a root of several users, another user may have put one there, with bytes of theirs. So only
    one is read, and filled, that is this user's and in which no other user can write.
    """

    def __init__(self, folder: Path | None, spare: Path | None = None) -> None:
        """Where it is found again, if it can be had; else ``spare``, which nobody foresees, and which ``leave`` removes."""
        self._usual, self._spare = folder, spare
        self._folder = folder or spare or Path()

    def of(self) -> PartialDownloadInfo | None:
        """What lies here, or None if it is of no use."""
        try:
            if not ownership.is_private_dir(os.lstat(self._folder)):
                return None
            with _opened(self._folder / _METADATA_FILE, "rb") as file:
                whole = PartialDownloadInfo(**json.loads(file.read(_OF_BYTES_MAX)))
            if not whole.is_sound or whole.boot != boot():
                return None
            parts = (int(name) for name in os.listdir(self._folder) if name.isdecimal())
            fits = all(self.held_bytes(start) <= whole.length(start) for start in parts if start in whole.starts)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return None
        return whole if fits else None

    def begin(self, whole: PartialDownloadInfo) -> bool:
        """Forget what lies here, and keep parts of another whole from now on; False if no directory can be had for them."""
        with contextlib.suppress(CacheError):  # what cannot be removed is in the way, as another user's is
            self.clear()
        with self._telling():
            if not self._make():
                return False
            half = self._folder / f"{_METADATA_FILE}.half"
            half.write_text(json.dumps(asdict(whole)), encoding="utf-8")
            half.replace(self._folder / _METADATA_FILE)
        return True

    def _make(self) -> bool:
        """Make a directory that was not there, and see that it is private: on some mounts nothing is."""
        for folder in filter(None, (self._usual, self._spare)):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                self._folder = folder
                if ownership.is_private_dir(os.lstat(folder)):
                    return True
                folder.rmdir()
        return False

    def have_room(self, whole_bytes: int, held_bytes: int = 0) -> bool:
        """Whether the disk can keep all parts beside what they unpack to, which is more than they are, as a rule."""
        return shutil.disk_usage(self._folder.parent).free > 2 * whole_bytes - held_bytes

    def missing(self, whole: PartialDownloadInfo) -> Iterator[tuple[int, int]]:
        """Of each part that is not complete, where to go on, and where it stops."""
        for start in whole.starts:
            held_bytes, stop = self.held_bytes(start), start + whole.length(start)
            if start + held_bytes < stop:
                yield start + held_bytes, stop

    def held_bytes(self, start: int) -> int:
        """How much of the part that begins there has come."""
        try:
            return os.lstat(self._folder / str(start)).st_size
        except FileNotFoundError:
            return 0

    @contextlib.contextmanager
    def appended(self, start: int) -> Iterator[Callable[[bytes], None]]:
        """What adds bytes to the part that begins there."""
        with self._telling(), _opened(self._folder / str(start), "ab") as file:

            def add(data: bytes) -> None:
                with self._telling():
                    left = memoryview(data)
                    while left:
                        left = left[file.write(left) :]

            yield add

    def opened(self, start: int) -> IO[bytes]:
        """The part that begins there, to be read."""
        with self._telling():
            return _opened(self._folder / str(start), "rb")

    def clear(self) -> None:
        """Leave nothing of this user's; what is another user's stays."""
        with self._telling(), contextlib.suppress(FileNotFoundError):
            status = os.lstat(self._folder)
            if not ownership.is_ours(status):
                return
            if stat.S_ISDIR(status.st_mode):
                shutil.rmtree(self._folder)
            else:
                self._folder.unlink()

    def leave(self) -> None:
        """Remove what the next download would not find; what it will find stays for it."""
        if self._folder == self._spare:
            with contextlib.suppress(CacheError):
                self.clear()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except ResolverError:
            raise
        except OSError as error:
            full = f"the disk of {self._folder.parent} is full, with what came of a model on it"
            other = f"cannot keep what came in {self._folder}: {error.strerror}"
            raise CacheError(
                full if error.errno in (errno.ENOSPC, errno.EDQUOT) else other,
                fix="Free some space there, or set TFHUB_CACHE_DIR to another disk.",
            ) from error


def _opened(path: Path, mode: str) -> IO[bytes]:
    """Open a file of this user's that is no link, pipe or device."""
    file = open(path, mode, buffering=0, opener=fs.open_regular)  # noqa: SIM115
    if not ownership.is_ours(os.fstat(file.fileno())):
        file.close()
        raise PermissionError(errno.EPERM, "it is another user's")
    return file


def boot() -> str:
    """Which run of the operating system this is; empty where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
