"""Writes a text file that a user names: all of it, or nothing."""

from __future__ import annotations

from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.replacing import replace_file
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.settings.paths import check_output_path


def write_text(path: str, text: str) -> None:
    """Write a file, or replace it in one step. Raises CacheError."""
    check_output_path(path)
    with map_os_errors(CacheError, f"cannot write {show(path)}", "Choose another path."), replace_file(path) as file:
        file.write(text.encode())
