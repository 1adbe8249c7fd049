"""Changes a models file as a person would: comments, order and spacing stay, and it is whole at every moment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Union

from tfimm_resolver._util import fs
from tfimm_resolver.errors import ModelsFileError
from tfimm_resolver.locking import lock as locking_lock
from tfimm_resolver.models_file.schema import ModelEntry, parse

Value = Union[str, int, list[str]]
Keys = Mapping[str, Union[Value, None]]
"""What the keys of a model are to be; None for one that is to go."""


def edit_models_file(path: str, decide: Callable[[dict[str, ModelEntry]], Mapping[str, Keys]]) -> None:
    """Set keys of models in the file at ``path``, which is made if it is missing.

    ``decide`` is given the models that are there, under their names and aliases, and says for each name which keys are to be
    what. Who else changes the file meanwhile waits.

    Raises:
        ModelsFileError: if it cannot be read or written, or would say what it may not.
    """
    real = os.path.realpath(path)  # a link stays one
    with _lock(real):
        before = _text(real)
        after = _changed(before, decide(parse(before, path)))
        parse(after, path)
        if after != before:
            _write(real, after)


def _changed(text: str, wanted: Mapping[str, Keys]) -> str:
    import tomlkit  # 40 ms that only a change costs
    from tomlkit.items import InlineTable

    newline = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n")
    document = tomlkit.parse(text)
    if "models" not in document:
        document["models"] = tomlkit.table(is_super_table=True)
    models: Any = document["models"]
    for name, keys in wanted.items():
        if name not in models:
            models[name] = tomlkit.inline_table() if isinstance(models, InlineTable) else tomlkit.table()
        for key, value in keys.items():
            _set(models[name], key, value)
    return tomlkit.dumps(document).replace("\n", newline)


def _set(table: Any, key: str, value: Value | None) -> None:
    if value is None:
        table.pop(key, None)
        return
    if key in table:
        if table[key] != value:
            table[key] = value
        return
    # Comments at the end belong to what follows: the key goes before them.
    body, tail = table.value.body, []
    while body and body[-1][0] is None:
        tail.append(body.pop()[1])
    table.add(key, value)
    for item in reversed(tail):
        table.add(item)


def _text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ModelsFileError(f"{path} cannot be read: {getattr(error, 'strerror', 'it is not UTF-8')}") from error


def _write(path: str, text: str) -> None:
    half = f"{path}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    with _map_os_errors(path):
        try:
            with open(half, "xb") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                os.chmod(half, os.stat(path).st_mode & 0o7777)
            fs.durable_replace(half, path)
        finally:
            fs.unlink(half)


@contextlib.contextmanager
def _lock(path: str) -> Iterator[None]:
    """Hold the right to change the file."""
    with _map_os_errors(path):
        lock = locking_lock.acquire(f"{path}.lock", f"a change of {path}")
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


@contextlib.contextmanager
def _map_os_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, ModelsFileError) or not error.strerror:
            raise
        raise ModelsFileError(
            f"{path} cannot be written: {error.strerror}", fix="Name a models file that you may write: TFIMM_MODELS_FILE."
        ) from error
