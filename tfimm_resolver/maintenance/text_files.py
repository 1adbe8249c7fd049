"""Writes a text file that a user names: all of it, or nothing."""

from __future__ import annotations

import contextlib
import os
import stat

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.settings.paths import check_output_path


def write_text(path: str, text: str) -> None:
    """Write a file, beside its path first; one that exists keeps its permissions. Raises CacheError."""
    check_output_path(path)
    partial = f"{path}.{os.urandom(4).hex()}.half"
    with map_os_errors(CacheError, f"cannot write {show(path)}", "Choose another path."):
        try:
            with open(partial, "xb") as file:
                file.write(text.encode())
                file.flush()
                if os.path.exists(path):
                    os.chmod(file.fileno(), stat.S_IMODE(os.stat(path).st_mode))
                fs.fsync_open(file.fileno())
            os.replace(partial, path)
        finally:
            with contextlib.suppress(OSError):  # renamed already, or never created
                os.unlink(partial)
