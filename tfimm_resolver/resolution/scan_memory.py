"""Searches models for operations, and remembers the results, in this process and in a private directory of the user.

A result counts for files with the same device, inode, size and times. Only the user and root can change the content of such a
file: what others can write is not remembered, and the time of a file's last change cannot be set.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import astuple
from typing import TYPE_CHECKING

from tfimm_resolver._util import clock, fs
from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver.errors import CacheError, LoadError
from tfimm_resolver.errors.os_errors import map_os_errors, map_resource_errors
from tfimm_resolver.manifest import SAVED_MODEL_FILES
from tfimm_resolver.settings import ownership
from tfimm_resolver.settings.paths import find_xdg_directory

if TYPE_CHECKING:
    from tfimm_resolver.saved_model.operations import Operation

RULES_VERSION = 2
"""Increase it with each change of what is found."""

_FILES = (*SAVED_MODEL_FILES, "keras_metadata.pb")
_RESULT_BYTES_MAX, _RESULTS_MAX = 64 << 10, 512

_known: dict[tuple[str, bool], tuple[str, tuple[Operation, ...]]] = {}
"""By the path of a model, and whether it is warmed up: the state of its files, and what was found in them."""


def find_operations(path: str, *, is_warmed: bool = False) -> tuple[Operation, ...]:
    """Return the operations that a local model has, as ``saved_model.operations.find_operations`` does.

    Raises:
        ValueError: if its graph cannot be read completely.
        LoadError: if a file cannot be read, or the memory is too small.
    """
    with (
        map_resource_errors(LoadError, "it cannot be searched"),
        map_os_errors(LoadError, "it cannot be read", show_path=True),
    ):
        return _find_operations(path, is_warmed)


def _find_operations(path: str, is_warmed: bool) -> tuple[Operation, ...]:
    from tfimm_resolver.saved_model import operations  # imported for what is not known yet

    before = _describe_state(path, is_warmed)
    if before is not None:
        if (known := _known.get((path, is_warmed))) is not None and known[0] == before:
            return known[1]
        if (read := _read(before)) is not None:
            _known[path, is_warmed] = before, read
            return read
    found = tuple(operations.find_operations(path, is_warmed=is_warmed))
    if before is not None and _describe_state(path, is_warmed) == before:
        _known[path, is_warmed] = before, found
        with contextlib.suppress(OSError, CacheError):
            _write(before, found)
    return found


def _describe_state(path: str, is_warmed: bool) -> str | None:
    """Return the state of the files that are searched, as a text; None if another user can change them unnoticed."""
    parts = [RULES_VERSION, int(is_warmed)]
    for name in _FILES:
        try:
            status = os.stat(f"{path}/{name}")
        except FileNotFoundError:
            parts.append(0)
            continue
        if not ownership.is_trusted(f"{path}/{name}", status) or not clock.is_settled(status.st_ctime_ns):
            return None
        parts += fs.get_state(status)
    return " ".join(map(str, parts))


def _find_folder() -> tuple[str, str]:
    """Return the directory around that of the results, and that one; raises CacheError if the user has no home directory."""
    folder = os.path.join(find_xdg_directory("XDG_CACHE_HOME", "~/.cache"), "tfimm_resolver")
    return folder, os.path.join(folder, "scans")


def _make_path(folder: str, state: str) -> str:
    import hashlib

    return os.path.join(folder, f"{hashlib.sha256(state.encode()).hexdigest()}.json")


def _read(state: str) -> tuple[Operation, ...] | None:
    """Return the result that an earlier process wrote; None without one, or if it may be another user's."""
    from tfimm_resolver.saved_model.operations import Operation

    with contextlib.suppress(OSError, CacheError, ValueError, TypeError, KeyError):
        folders = _find_folder()
        with ownership.Guard(*folders, fix="").reading() as exists:
            if not exists:
                return None
            data = fs.read_regular(_make_path(folders[-1], state), _RESULT_BYTES_MAX)
        value = parse_json(data)
        if value["state"] == state:
            return tuple(Operation(*one) for one in value["operations"])
    return None


def _write(state: str, found: tuple[Operation, ...]) -> None:
    text = json.dumps({"state": state, "operations": [astuple(one) for one in found]})
    if len(text) > _RESULT_BYTES_MAX:
        return
    folders = _find_folder()
    guard = ownership.Guard(*folders, fix="")
    if guard.check() is None:
        guard.create(0o700)
    path = _make_path(folders[-1], state)
    temporary = f"{path}.{os.getpid()}-{os.urandom(4).hex()}"
    try:
        with open(temporary, "x", opener=lambda name, flags: fs.open_regular(name, flags, 0o600)) as file:
            file.write(text)
        os.replace(temporary, path)
    finally:
        fs.unlink(temporary)
    _remove_oldest(folders[-1])


def _remove_oldest(folder: str) -> None:
    """Remove half of the results if there are too many."""
    names = os.listdir(folder)
    if len(names) > _RESULTS_MAX:
        paths = sorted((os.path.join(folder, name) for name in names), key=lambda path: os.stat(path).st_mtime_ns)
        for path in paths[: _RESULTS_MAX // 2]:
            fs.unlink(path)
