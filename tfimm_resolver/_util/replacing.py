"""Replaces a file that a user names: by a complete new one, or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from tfimm_resolver._util import fs


@contextlib.contextmanager
def replace_file(path: str) -> Iterator[BinaryIO]:
    """Yield a new file, which replaces the one at ``path`` at the end of the block, and is removed after an error.

    It gets the permissions of the file that it replaces: a private one stays private. A symbolic link stays, and leads to the
    new file.
    """
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    try:
        with open(temporary, "xb") as file:
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
            yield file
            file.flush()
            fs.fsync_open(file.fileno())
        fs.durable_replace(temporary, target)
    finally:
        with contextlib.suppress(OSError):  # renamed already, or never created
            os.unlink(temporary)
