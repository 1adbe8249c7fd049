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

from tfimm_resolver.errors import CacheError, ResolverError

_OF = "of.json"
_OF_BYTES_MAX = 100_000
_PARTS_MAX = 10_000_000
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@dataclass(frozen=True, slots=True)
class Whole:
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
        """Whether this can be what ``Parts.begin`` wrote."""
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


class Parts:
    """A directory with one file a range, named by the offset of its first byte and filled from its start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self) -> Whole | None:
        """What lies here, or None if it is of no use."""
        try:
            if self._folder.is_symlink():
                return None
            with _regular(self._folder / _OF, "rb") as file:
                whole = Whole(**json.loads(file.read(_OF_BYTES_MAX)))
            if not whole.is_sound or whole.boot != boot():
                return None
            fits = all(self.held_bytes(start) <= whole.length(start) for start in whole.starts)
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return None
        return whole if fits else None

    def begin(self, whole: Whole) -> None:
        """Forget what lies here, and keep parts of another whole from now on."""
        self.clear()
        with self._telling():
            self._folder.mkdir()
            half = self._folder / f"{_OF}.half"
            half.write_text(json.dumps(asdict(whole)), encoding="utf-8")
            half.replace(self._folder / _OF)

    def have_room(self, whole_bytes: int, held_bytes: int = 0) -> bool:
        """Whether the disk can keep all parts beside what they unpack to, which is more than they are, as a rule."""
        return shutil.disk_usage(self._folder.parent).free > 2 * whole_bytes - held_bytes

    def missing(self, whole: Whole) -> Iterator[tuple[int, int]]:
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
        with self._telling(), _regular(self._folder / str(start), "ab") as file:

            def add(data: bytes) -> None:
                with self._telling():
                    left = memoryview(data)
                    while left:
                        left = left[file.write(left) :]

            yield add

    def opened(self, start: int) -> IO[bytes]:
        """The part that begins there, to be read."""
        with self._telling():
            return _regular(self._folder / str(start), "rb")

    def clear(self) -> None:
        """Leave nothing."""
        with self._telling(), contextlib.suppress(FileNotFoundError):
            if self._folder.is_dir() and not self._folder.is_symlink():
                shutil.rmtree(self._folder)
            else:
                self._folder.unlink()

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


def _regular(path: Path, mode: str) -> IO[bytes]:
    """Open a file that is no link, pipe or device: in a shared root anybody may have put one there."""
    file = open(path, mode, buffering=0, opener=lambda name, flags: os.open(name, flags | _SAFELY, 0o666))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "is no file")
    return file


def boot() -> str:
    """Which run of the operating system this is; empty where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
