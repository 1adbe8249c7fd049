"""Reads the user's settings file, ``config.toml``, for each setting that it may have: the only place that opens it."""

from __future__ import annotations

import functools
import os
import stat
from typing import Any, NamedTuple

from tfimm_resolver._util import clock, fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.errors.os_errors import map_os_errors, map_resource_errors
from tfimm_resolver.settings import ownership
from tfimm_resolver.settings.paths import find_xdg_directory, join_home

KEYS = ("max_size", "min_free", "max_age", "ops", "trust")
"""What the file may have at its top level; a feature that reads a key of its own adds it here."""

_BYTES_MAX = 1 << 20
_FIX = "Correct the file, or move it away."


class Config(NamedTuple):
    """The settings file.

    Attributes:
        path: of the file, also if it does not exist; empty if the user has no home directory.
        table: its values, with no other keys than ``KEYS``; empty if it does not exist. It is shared: not to be changed.
    """

    path: str
    table: dict[str, Any]

    @property
    def folder(self) -> str:
        """The directory from which relative paths in the file count."""
        return os.path.dirname(self.path)

    def make_error(self, key: str, text: str, fix: str = _FIX) -> HandleError:
        """Return the error for the value of a key, which names the file."""
        return HandleError(f"{show(self.path)}: {show(key)} {text}", fix=fix)


def config_file() -> str:
    """Return the path of the settings file, which may not exist; empty if the user has no home directory."""
    if not os.environ.get("XDG_CONFIG_HOME") and (path := _find_below(os.environ.get("HOME", ""))) is not None:
        return path
    try:
        return _join_name(find_xdg_directory("XDG_CONFIG_HOME", "~/.config"))
    except CacheError:
        return ""


@functools.lru_cache(maxsize=8)  # each hit comes here, as to the other functions that remember what they return
def _find_below(home: str) -> str | None:
    """Return the path of the settings file below the home directory; None if that depends on more than its path."""
    folder = join_home(home, "~/.config")
    return None if folder is None else _join_name(folder)


@functools.lru_cache(maxsize=8)
def _join_name(folder: str) -> str:
    return os.path.join(folder, "tfimm_resolver", "config.toml")


def read_config() -> Config:
    """Return the settings file; without values if it does not exist.

    A key that is not known is an error, not ignored: a misspelt ``trust`` would silently allow every model. So is a file of
    another user, or one that others may write: who writes it decides which signatures and operations are required.

    Raises:
        HandleError: if the file cannot be read, may be another user's, is not TOML, or has an unknown key.
    """
    path = config_file()
    if not path:
        return _make_empty(path)
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return _make_empty(path)
    except OSError as error:
        # After su or sudo, HOME may name another user's home, which is not readable.
        if isinstance(error, PermissionError) and not os.environ.get("XDG_CONFIG_HOME"):
            return _make_empty(path)
        with map_os_errors(HandleError, f"{show(path)} cannot be read", _FIX):
            raise
    read = _read if clock.is_settled(status.st_mtime_ns) else _read.__wrapped__
    return read(path, fs.get_state(status))


def _check_owner(path: str) -> None:
    """Check that no other user may have written the file or, if it is a link, made it."""
    for current, status in ((path, os.lstat(path)), (os.path.realpath(path), os.stat(path))):
        if not ownership.is_own_or_root(status):
            fix = "Check its contents, then make it yours with chown, or set XDG_CONFIG_HOME to a directory of yours."
        elif not stat.S_ISLNK(status.st_mode) and ownership.is_writable_by_others(current, status):
            fix = f"Check its contents, then run: chmod go-w {show(path)}"
        else:
            continue
        described = show(ownership.describe(path, status))
        raise HandleError(f"{described}: it is not used, since another user may have written it", fix=fix)


@functools.lru_cache(maxsize=8)
def _make_empty(path: str) -> Config:
    return Config(path, {})


@functools.lru_cache(maxsize=8)
def _read(path: str, _: tuple[int, ...]) -> Config:
    from tfimm_resolver._util.toml import parse_toml  # 1 ms that a user without the file does not pay

    with (
        map_resource_errors(HandleError, f"{show(path)} cannot be read", _FIX),
        map_os_errors(HandleError, f"{show(path)} cannot be read", _FIX),
    ):
        _check_owner(path)  # the look-up of a group takes time; a change of the owner or the mode changes the ctime
        data = fs.read_regular(path, _BYTES_MAX, follow=True)
        try:
            table = parse_toml(data.decode())
        except ValueError as error:
            raise HandleError(f"{show(path)} is not valid TOML: {show(error)}", fix=_FIX) from error
    for key in table:
        if key not in KEYS:
            import difflib  # 1 ms that only an error pays

            close = difflib.get_close_matches(key, KEYS, n=1)
            suggestion = f"Did you mean {close[0]}? " if close else ""
            raise HandleError(f'{show(path)} has an unknown key "{show(key)}"', fix=f"{suggestion}Known: {', '.join(KEYS)}.")
    return Config(path, table)
