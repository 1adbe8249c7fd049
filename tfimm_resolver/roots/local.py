"""A cache root in a local directory, laid out as tensorflow_hub does it."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tfimm_resolver import record, settings
from tfimm_resolver.errors import CacheError, LockTimeoutError
from tfimm_resolver.holder import OURS, Holder, Patience, is_word_alive, new_word, try_lock

if TYPE_CHECKING:
    from pathlib import Path

    from filelock import BaseFileLock

_POLL_S = 0.05


class LocalRoot:
    """Trees are directories, texts are files, a lock is an flock on a file that names its holder as tensorflow_hub does."""

    def __init__(self, place: str, mode: int = 0o777) -> None:
        self.place = place
        self.mode = mode

    def locate(self, name: str) -> str:
        return f"{self.place}/{name}"

    def fault(self, known: record.Record) -> str | None:
        with self._telling("read"):
            return record.fault(self.locate(known.tree), known)

    def read(self, name: str) -> str | None:
        try:
            with open(self.locate(name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error("read", error) from error

    def write(self, name: str, text: str) -> None:
        half = self.locate(f"{name.partition('.')[0]}.{new_word()}.txt")
        with self._telling("write"):
            try:
                with open(half, "x", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                self._close(half)
                os.replace(half, self.locate(name))
            finally:
                _unlink(half)

    def names(self) -> list[str]:
        try:
            return os.listdir(self.place)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._error("read", error) from error

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[Path]:
        from pathlib import Path  # 5 ms that only a miss costs

        path = self.locate(f"{name}.lock")
        with contextlib.ExitStack() as after:
            with self._telling("write"):
                self._make()
                after.callback(self._acquired(name, path).release)
                mine = Holder.new()
                staging = Path(self.locate(f"{name}.{mine.word}.tmp"))
                after.callback(self._leave, path, mine)
                after.callback(_remove_tree, str(staging), ignore_errors=True)
                self._remove_unfinished(name)
                Path(path).write_text(mine.to_text(), encoding="utf-8")
                staging.mkdir()
            yield staging

    def parts(self, name: str) -> Path:
        from pathlib import Path

        return Path(self.locate(f"{name}.parts"))

    def adopt(self, staged: Path, tree: str) -> bool:
        try:
            os.utime(staged)  # from here on its age counts
            self._close(str(staged))
            os.rename(staged, self.locate(tree))
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise self._error("write", error) from error
        return True

    def remove(self, name: str) -> None:
        path = self.locate(name)
        with self._telling("write"), contextlib.suppress(FileNotFoundError):
            if not os.path.isdir(path) or os.path.islink(path):
                return os.unlink(path)
            # Renamed first, so that nobody finds half a tree under its name.
            dying = self.locate(f"{name.partition('.')[0]}.{new_word()}.tmp")
            os.rename(path, dying)
            _remove_tree(dying)

    def retire(self, tree: str) -> None:
        with self._telling("write"):
            os.utime(self.locate(tree))

    def retired_for_s(self, tree: str) -> float:
        with self._telling("read"):
            return time.time() - os.stat(self.locate(tree)).st_mtime

    def _make(self) -> None:
        parent = os.path.dirname(self.place)
        os.makedirs(parent, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.place, self.mode)
        if not os.path.isdir(self.place):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self.place)
        if self._is_private() and not settings.is_ours_alone(self.place):
            raise CacheError(f"{self.place} came to belong to somebody else just now", fix="Set TFHUB_CACHE_DIR.")

    def _is_private(self) -> bool:
        """Whether nobody else may write here, whatever the umask."""
        return not self.mode & 0o022

    def _close(self, path: str) -> None:
        """Take from others what the umask would let them do in a private root."""
        if self._is_private():
            for file in (path, *(f"{path}/{inner}" for inner in record.walk(path, folders=True))):
                os.chmod(file, os.stat(file).st_mode & ~0o022)

    def _leave(self, path: str, mine: Holder) -> None:
        """Take our lock file away, if it is still ours; while it is held, so that a waiter sees that it has no name."""
        if Holder.read(path) in (mine, Holder()):
            _unlink(path)

    def _acquired(self, name: str, path: str) -> BaseFileLock:
        """The lock, held, once no living process has it."""
        patience = Patience(self.locate(name))
        while True:
            lock, holder = try_lock(path), Holder.read(path)
            if lock is not None and (holder.is_gone() or patience.is_out(holder)):
                return lock
            if lock is not None:
                lock.release()
            elif patience.is_out(holder):
                raise LockTimeoutError(
                    f"{holder} holds {path}, and fetched nothing for {settings.lock_timeout_s():g} s",
                    fix="End that process, or set TFIMM_RESOLVER_LOCK_TIMEOUT_S higher.",
                )
            time.sleep(_POLL_S)

    def _remove_unfinished(self, name: str) -> None:
        """Remove what the dead left: of this name what plain tensorflow_hub staged, of any name what processes of ours did."""
        for other in self.names():
            key, _, rest = other.partition(".")
            is_hubs = key == name and rest.endswith(".tmp") and not rest.startswith(OURS)
            is_ours = rest.startswith(OURS)
            if is_hubs or (is_ours and not is_word_alive(rest.partition(".")[0], by_us=key != name)):
                _remove_tree(self.locate(other), ignore_errors=True)
                with contextlib.suppress(OSError):  # it was a directory, and is gone
                    _unlink(self.locate(other))

    @contextlib.contextmanager
    def _telling(self, deed: str) -> Iterator[None]:
        try:
            yield
        except CacheError:
            raise
        except OSError as error:
            raise self._error(deed, error) from error

    def _error(self, deed: str, error: OSError) -> CacheError:
        fix = "Name a directory that you may write: TFHUB_CACHE_DIR, for names TFIMM_HOME, or --cache-dir."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            fix = "Free some space there, or set TFHUB_CACHE_DIR to another disk."
        return CacheError(f"cannot {deed} the cache at {self.place}: {error.strerror}: {error.filename}", fix=fix)


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _remove_tree(path: str, *, ignore_errors: bool = False) -> None:
    import shutil  # 2 ms that only a miss costs

    shutil.rmtree(path, ignore_errors)
