"""Keeps the parts of an interrupted download on disk, and what they are parts of, so that the next one can resume."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from tfimm_resolver._util import fs
from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.removal import remove_closed
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.advice import Fix
from tfimm_resolver.errors.os_errors import is_disk_full, map_os_errors, suggest_disk_fix
from tfimm_resolver.settings import ownership

_METADATA_FILE = "of.json"
_METADATA_MAX_BYTES = 100_000
_MAX_PARTS = 200_000


class PartialDownloadInfo(NamedTuple):
    """The body that the parts belong to; parts of different bodies must not be combined.

    Attributes:
        url: the URL that was requested, without secrets.
        validator: a strong ETag, or a Last-Modified date (RFC 9110, 8.8).
        size_bytes: the length of the body.
        range_bytes: the length of each part except the last.
        boot_id: identifies the run of the operating system that wrote them: after a crash, the content of files is undefined.
    """

    url: str
    validator: str
    size_bytes: int
    range_bytes: int
    boot_id: str

    def to_json(self) -> str:
        """Encode for the metadata file."""
        facts = self._asdict()
        return json.dumps({"place": facts.pop("url"), "boot": facts.pop("boot_id"), **facts})

    @classmethod
    def from_json(cls, text: bytes) -> PartialDownloadInfo:
        """Decode the metadata file.

        Raises:
            AttributeError, LookupError, TypeError, ValueError: if it is not what ``to_json`` wrote.
        """
        facts = parse_json(text, max_bytes=_METADATA_MAX_BYTES)
        return cls(url=facts.pop("place"), boot_id=facts.pop("boot"), **facts)

    @property
    def is_valid(self) -> bool:
        """Whether ``PartStore.reset`` can have written this."""
        numbers = (self.size_bytes, self.range_bytes)
        is_numbers = all(isinstance(number, int) and 0 < number < 1 << 60 for number in numbers)
        is_text = isinstance(self.validator, str) and self.validator.isprintable()
        return is_numbers and is_text and self.size_bytes // self.range_bytes < _MAX_PARTS

    @property
    def starts(self) -> range:
        """The offsets at which the parts start."""
        return range(0, self.size_bytes, self.range_bytes)

    def get_length(self, start: int) -> int:
        """Return the length of the part that starts at offset ``start``, once it is complete."""
        return min(self.range_bytes, self.size_bytes - start)


def read_url(folder: Path) -> str:
    """Return the URL, without secrets, of the partial download in a directory; empty if it is not known."""
    try:
        with _open_private(folder / _METADATA_FILE, "rb") as file:
            return str(PartialDownloadInfo.from_json(file.read(_METADATA_MAX_BYTES)).url)
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return ""


class PartStore:
    """A directory with one file per range, named by the offset of its first byte, and filled from its start.

    In a directory like /tmp, or in a root that several users share, another user may have prepared it with bytes of their own.
    So the directory is used only if it belongs to this user and no other user can write into it.
    """

    def __init__(self, folder: Path | None, temporary: Path | None = None) -> None:
        """``folder`` is where the next download looks; if it is not usable, ``temporary``, whose name is not predictable."""
        self._usual, self._temporary = folder, temporary
        self._folder = folder or temporary or Path()

    def load(self) -> PartialDownloadInfo | None:
        """Return what the stored parts belong to; None if there are none, or they are not usable."""
        try:
            if not ownership.is_private_dir(os.lstat(self._folder)):
                return None
            with _open_private(self._folder / _METADATA_FILE, "rb") as file:
                info = PartialDownloadInfo.from_json(file.read(_METADATA_MAX_BYTES))
            if not info.is_valid or info.boot_id != get_boot_id():
                return None
            starts = (int(name) for name in os.listdir(self._folder) if name.isdecimal())
            fits = all(self.get_stored_bytes(start) <= info.get_length(start) for start in starts if start in info.starts)
        except (OSError, ValueError, TypeError, AttributeError, LookupError):
            return None
        return info if fits else None

    def reset(self, info: PartialDownloadInfo) -> bool:
        """Remove the stored parts, and store parts of another body from now on; False if no directory is usable."""
        with contextlib.suppress(CacheError):  # _make_folder sees what could not be removed, such as another user's directory
            self.clear()
        with self._map_os_errors():
            if not self._make_folder():
                return False
            half = self._folder / f"{_METADATA_FILE}.half"
            half.write_text(info.to_json(), encoding="utf-8")
            half.replace(self._folder / _METADATA_FILE)
        return True

    def _make_folder(self) -> bool:
        """Create the directory, and check that it is private: on some mounts none is."""
        for folder in filter(None, (self._usual, self._temporary)):
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                self._folder = folder
                if ownership.is_private_dir(os.lstat(folder)):
                    return True
                folder.rmdir()
        return False

    def has_disk_space(self, size_bytes: int, stored_bytes: int = 0) -> bool:
        """Whether the disk can hold all parts beside the unpacked files, which are usually larger."""
        free_bytes = fs.get_free_bytes(self._folder.parent)
        return free_bytes is None or free_bytes > 2 * size_bytes - stored_bytes

    def find_missing(self, info: PartialDownloadInfo) -> Iterator[tuple[int, int]]:
        """Yield start and stop of the missing bytes of each part that is not complete."""
        for start in info.starts:
            stored_bytes, stop = self.get_stored_bytes(start), start + info.get_length(start)
            if start + stored_bytes < stop:
                yield start + stored_bytes, stop

    def get_stored_bytes(self, start: int) -> int:
        """Return how many bytes of the part that starts at offset ``start`` are on disk."""
        try:
            return os.lstat(self._folder / str(start)).st_size
        except FileNotFoundError:
            return 0

    @contextlib.contextmanager
    def append_to(self, start: int) -> Iterator[Callable[[bytes], None]]:
        """Open the part that starts at offset ``start``; gives a function that appends bytes to it."""
        with self._map_os_errors(), _open_private(self._folder / str(start), "ab") as file:

            def append(data: bytes) -> None:
                with self._map_os_errors():
                    rest = memoryview(data)
                    while rest:
                        rest = rest[file.write(rest) :]

            yield append

    def open_part(self, start: int) -> IO[bytes]:
        """Open the part that starts at offset ``start`` for reading."""
        with self._map_os_errors():
            return _open_private(self._folder / str(start), "rb")

    def clear(self) -> None:
        """Remove the directory, unless it belongs to another user."""
        with self._map_os_errors(), contextlib.suppress(FileNotFoundError):
            status = os.lstat(self._folder)
            if not ownership.is_owned_by_user(status):
                return
            if stat.S_ISDIR(status.st_mode):
                remove_closed(str(self._folder))
            else:
                self._folder.unlink()

    def clear_temporary(self) -> None:
        """Remove the directory if the next download would not find it."""
        if self._folder == self._temporary:
            with contextlib.suppress(CacheError):
                self.clear()

    def _map_os_errors(self) -> contextlib.AbstractContextManager[None]:
        return map_os_errors(CacheError, self._describe_action, _suggest_fix, explain=self._explain)

    def _describe_action(self) -> str:
        return f"cannot write the partial download in {show(self._folder)}"

    def _explain(self, error: OSError) -> CacheError | None:
        if not is_disk_full(error):
            return None
        return CacheError(
            f"the disk of {self._folder.parent} is full (it holds a partial download)", fix=suggest_disk_fix(error)
        )


def _suggest_fix(error: OSError) -> Fix:
    if isinstance(error, FileNotFoundError):
        return "Another program has removed it: exclude it from what cleans that directory, and try again."
    return suggest_disk_fix(error, "Set TFHUB_CACHE_DIR to another directory.")


def _open_private(path: Path, mode: str) -> IO[bytes]:
    """Open a file that belongs to this user and is not a link, pipe or device."""
    return open(path, mode, buffering=0, opener=functools.partial(fs.open_regular, owner=fs.get_user_id()))


def get_boot_id() -> str:
    """Return an identifier of this run of the operating system; empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
