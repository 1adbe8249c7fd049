"""Finds a project's models files, the nearest one or those that a variable names, and the entry for a name in them."""

from __future__ import annotations

import functools
import logging
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

from tfimm_resolver import settings
from tfimm_resolver._util import clock, fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import ModelsFileError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.settings import ownership

if TYPE_CHECKING:
    from tfimm_resolver.models_file.schema import ModelEntry

log = logging.getLogger("tfimm_resolver")

Found = TypeVar("Found")

FILE_NAME = "tfimm-models.toml"

_warned_untrusted: set[str] = set()
_RECEIVED = " (received)"
_received: dict[str, str] = {}
_restricted: list[tuple[dict[str, ModelEntry], list[ModelEntry]]] = []
_access = os.access
_HAS_QUICK_TEST = os.access in os.supports_effective_ids and os.access("/", os.F_OK, effective_ids=True)
"""Whether ``access`` finds what ``stat`` finds, in half the time, as it raises nothing; some containers forbid the call."""

_OWNER_FIX = f"If you trust it, name it in {settings.MODELS_FILE}, or copy it to a file of your own."


def find_files() -> list[str]:
    """Return the models files in use, strongest first: those of ``$TFIMM_MODELS_FILE``, else the nearest one upwards.

    In a worker process, those that were received are used after the former, and instead of the latter.
    """
    if configured := settings.models_files():
        return [*configured, *_received]
    if _received:
        return [*_received]
    nearest = _find_nearest()
    return [nearest] if nearest else []


def read_texts() -> dict[str, str]:
    """Return the texts of the models files in use by their paths, for ``add_received``; raises as ``find_entry`` does."""
    return {path: _received[path] if path in _received else _read_text(path) for path in find_files()}


def add_received(texts: Mapping[str, str]) -> None:
    """Use the models files of another process, which may run on another machine; those received earlier are kept.

    Their paths get a suffix: this machine may have another file at such a path.
    """
    for path, text in texts.items():
        _received.setdefault(path.removesuffix(_RECEIVED) + _RECEIVED, text)


def find_entry(name_or_alias: str) -> ModelEntry | None:
    """Return the entry of the first file that has the name or alias; None if no file has it.

    Raises:
        ModelsFileError: if a file that is searched cannot be read, or is not valid.
    """
    return next((entry for file in find_files() if (entry := read_entries(file).get(name_or_alias)) is not None), None)


def list_entries() -> list[ModelEntry]:
    """Return every entry that its name leads to, sorted by name; raises as ``find_entry`` does."""
    known: dict[str, ModelEntry] = {}
    for file in find_files():
        known = {**read_entries(file), **known}
    return sorted((entry for name, entry in known.items() if name == entry.name), key=lambda entry: entry.name)


def read_entries(path: str) -> dict[str, ModelEntry]:
    """Return the entries of one file by name and by alias.

    Raises:
        ModelsFileError: if the file cannot be read, or is not valid; the message names the line.
    """
    if path in _received:
        return _parse_received(path, _received[path])
    return _read_current(_read_cached, path)


def _read_current(read_cached: functools._lru_cache_wrapper[Found], path: str) -> Found:
    """Return what a file holds now, as a function that remembers it for each state of the file reads it."""
    try:
        status = os.stat(path)
    except OSError:  # only now, since each hit comes here
        with _map_read_errors(path):
            raise
    read = read_cached if clock.is_settled(status.st_mtime_ns) else read_cached.__wrapped__
    return read(path, fs.get_state(status))


def list_restricted() -> list[ModelEntry]:
    """Return every entry of the files in use that refuses operations of its model; raises as ``find_entry`` does."""
    return [entry for file in find_files() if _may_restrict(file) for entry in _select_restricted(read_entries(file))]


def _may_restrict(path: str) -> bool:
    """Whether a file may have a policy: almost none does, and each ``resolve`` of a path asks, without a parser of TOML."""
    return _mentions_operations(_received[path]) if path in _received else _read_current(_may_restrict_cached, path)


def _mentions_operations(text: str) -> bool:
    return "ops" in text or "\\" in text  # which may be a part of the key, escaped


def _select_restricted(entries: dict[str, ModelEntry]) -> list[ModelEntry]:
    """Return the entries with a policy; remembered for the entries that were read last, as each ``resolve`` asks."""
    if not _restricted or _restricted[0][0] is not entries:
        _restricted[:] = [
            (entries, [entry for name, entry in entries.items() if entry.ops is not None and name == entry.name])
        ]
    return _restricted[0][1]


def check_none_skipped() -> None:
    """Check that no models file was left out because of its owner: what is about to run or be written would not be complete.

    Raises:
        ModelsFileError: if one was.
    """
    if not settings.models_files() and (skipped := [path for path, is_trusted in _list_nearest() if not is_trusted]):
        raise ModelsFileError(f"{show(skipped[0])} is not used: it belongs to another user", fix=_OWNER_FIX)


def _find_nearest() -> str | None:
    for path, is_trusted in _list_nearest():
        if is_trusted:
            return path
        if path not in _warned_untrusted:
            _warned_untrusted.add(path)
            log.warning("ignored %s: it belongs to another user. %s", show(path), _OWNER_FIX)
    return None


def _list_nearest() -> Iterator[tuple[str, bool]]:
    """Yield the models files of the working directory and its parents, nearest first, up to the first that is trusted.

    With each comes whether it is trusted.
    """
    try:
        folder = os.getcwd()
    except FileNotFoundError:
        return
    for path in _list_paths(folder):
        if _HAS_QUICK_TEST and not _access(path, os.F_OK, effective_ids=True):
            continue
        is_file, is_trusted = _examine(path)
        if is_file:
            yield path, is_trusted
            if is_trusted:
                return


@functools.lru_cache(maxsize=64)
def _list_paths(folder: str) -> tuple[str, ...]:
    """Return the paths that a models file of a directory can have: in it, and in its parents."""
    parent = os.path.dirname(folder)
    return (os.path.join(folder, FILE_NAME), *(_list_paths(parent) if parent != folder else ()))


def _examine(path: str) -> tuple[bool, bool]:
    """Return whether a path is a file, and whether it is trusted: its owner, and that of the link if it is one, decides.

    It has to be this user or root: a file decides which models, and so which code, run.

    Its directory does not matter: in a world-writable one such as ``/tmp``, or one of another user, a file may still be ours.
    """
    try:
        link = os.lstat(path)
        target = os.stat(path) if stat.S_ISLNK(link.st_mode) else link
    except OSError:  # it was removed a moment ago, or is a link to nothing
        return False, False
    is_trusted = ownership.is_own_or_root(link) and (target is link or ownership.is_own_or_root(target))
    return stat.S_ISREG(target.st_mode), is_trusted


@functools.lru_cache(maxsize=64)
def _read_cached(path: str, _: tuple[int, ...]) -> dict[str, ModelEntry]:
    return _parse_received.__wrapped__(path, _read_text(path))


@functools.lru_cache(maxsize=64)
def _may_restrict_cached(path: str, _: tuple[int, ...]) -> bool:
    return _mentions_operations(_read_text(path))


@functools.lru_cache(maxsize=64)
def _parse_received(path: str, text: str) -> dict[str, ModelEntry]:
    from tfimm_resolver.models_file.schema import parse  # 1 ms that a project without a models file does not pay

    return parse(text, path)


def _read_text(path: str) -> str:
    from tfimm_resolver.models_file.schema import MAX_BYTES

    with _map_read_errors(path):
        data = fs.read_regular(path, MAX_BYTES, follow=True)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ModelsFileError(f"{show(path)}:{line}: this is not UTF-8", fix="Save it as UTF-8.") from error


def _map_read_errors(path: str) -> AbstractContextManager[None]:
    subject = f"${settings.MODELS_FILE} names {show(path)}, which" if settings.models_files() else show(path)
    fix = f"Correct its path or its permissions, or set {settings.MODELS_FILE} to another file."
    return map_os_errors(ModelsFileError, f"{subject} cannot be read", fix)
