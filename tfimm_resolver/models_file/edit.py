"""Edits a models file: comments, order and spacing stay as they are, and the file is replaced atomically."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Union

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.replacing import replace_file
from tfimm_resolver.errors import ModelsFileError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.locking import lock
from tfimm_resolver.locking.owner import TOKEN_PREFIXES, is_token_alive
from tfimm_resolver.models_file.schema import MAX_BYTES, ModelEntry, parse

Value = Union[str, int, list[str]]
Keys = Mapping[str, Union[Value, None]]
"""New values for the keys of one model; None removes the key."""


def edit_models_file(path: str, decide_changes: Callable[[dict[str, ModelEntry]], Mapping[str, Keys]]) -> None:
    """Set keys of models in the file at ``path``, which is created if it does not exist; other processes that edit it wait.

    ``decide_changes`` receives the existing entries by name and alias, and returns the keys to set for each name.

    Raises:
        ModelsFileError: if the file cannot be read or written, or is not valid before or after the change.
    """
    real = os.path.realpath(path)  # a symbolic link is kept
    with _lock(real):
        _remove_leftovers(real)
        before = _read_text(real)
        after = _apply_changes(before, decide_changes(parse(before, path)))
        parse(after, path)
        if after != before:
            _write(real, after)


def _apply_changes(text: str, changes: Mapping[str, Keys]) -> str:
    import tomlkit  # 40 ms that only a change pays
    from tomlkit.items import InlineTable

    newline = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n")
    document = tomlkit.parse(text)
    if "models" not in document:
        document["models"] = tomlkit.table(is_super_table=True)
    models: Any = document["models"]
    for name, keys in changes.items():
        if name not in models:
            models[name] = tomlkit.inline_table() if isinstance(models, InlineTable) else tomlkit.table()
        for key, value in keys.items():
            _set_key(models[name], key, value)
    return tomlkit.dumps(document).replace("\n", newline)


def _set_key(table: Any, key: str, value: Value | None) -> None:
    if value is None:
        table.pop(key, None)
        return
    if key in table:
        if table[key] != value:
            table[key] = value
        return
    # Comments at the end belong to what follows, so the key goes before them.
    body, tail = table.value.body, []
    while body and body[-1][0] is None:
        tail.append(body.pop()[1])
    table.add(key, value)
    for item in reversed(tail):
        table.add(item)


def _read_text(path: str) -> str:
    data = b""
    ignore_missing = contextlib.suppress(FileNotFoundError)
    with map_os_errors(ModelsFileError, f"{show(path)} cannot be read"), ignore_missing:
        data = fs.read_regular(path, MAX_BYTES, follow=True)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ModelsFileError(f"{show(path)} cannot be read: it is not UTF-8", fix="Save it as UTF-8.") from error


def _write(path: str, text: str) -> None:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        text = f"{error.object[error.start]!a} cannot be written as UTF-8"
        raise ModelsFileError(
            f"{show(path)} was not changed: the character {text}", fix="Remove that character from the handle or the name."
        ) from error
    with _map_write_errors(path), replace_file(path) as file:
        file.write(data)


def _remove_leftovers(path: str) -> None:
    """Remove what killed processes left beside the file; the caller holds its lock, so no other process writes it now."""
    folder, name = os.path.split(path)
    with contextlib.suppress(OSError):  # a directory that may not be listed, or another user's file
        for other in os.listdir(folder):
            rest = other.removeprefix(f"{name}.")
            is_text = rest != other and re.fullmatch(r"\d+-[0-9a-f]{8}\.tmp", rest, re.ASCII) is not None
            token = rest.removesuffix(".txt")
            is_lock = rest not in (other, token) and token.startswith(TOKEN_PREFIXES)
            if is_text or (is_lock and not is_token_alive(token, assume_own_alive=True)):
                fs.unlink(os.path.join(folder, other))


@contextlib.contextmanager
def _lock(path: str) -> Iterator[None]:
    """Hold the lock of the file."""
    with _map_write_errors(path):
        held = lock.acquire(f"{path}.lock", f"a change of {path}")
    try:
        yield
    finally:
        if held is not None:
            held.release()


def _map_write_errors(path: str) -> contextlib.AbstractContextManager[None]:
    fix = "Name a models file that you may write: TFIMM_MODELS_FILE."
    return map_os_errors(ModelsFileError, f"{show(path)} cannot be written", fix)
