"""Where the models files of a project are, and what they say of a name: the nearest one, or those that a variable names."""

from __future__ import annotations

import functools
import logging
import os
import stat
import time
from typing import TYPE_CHECKING

from tfimm_resolver import settings
from tfimm_resolver.errors import ModelsFileError

if TYPE_CHECKING:
    from tfimm_resolver.models_file.schema import ModelEntry

log = logging.getLogger("tfimm_resolver")

FILE_NAME = "tfimm-models.toml"

_MTIME_GRANULARITY_NS = 2 * 10**9
_warned_untrusted: set[str] = set()


def files() -> list[str]:
    """The models files that count, the stronger first: those of ``$TFIMM_MODELS_FILE``, else the nearest one upwards."""
    if said := settings.models_files():
        return said
    nearest = _nearest()
    return [nearest] if nearest else []


def find(word: str) -> ModelEntry | None:
    """What the first file that knows a name, or an alias, says of it.

    Raises:
        ModelsFileError: if a file that is asked cannot be read, or says what it may not.
    """
    return next((model for file in files() if (model := read(file).get(word)) is not None), None)


def models() -> list[ModelEntry]:
    """Every model that can be asked for by its name; raises as ``find`` does."""
    known: dict[str, ModelEntry] = {}
    for file in files():
        known = {**read(file), **known}
    return sorted((model for word, model in known.items() if word == model.name), key=lambda model: model.name)


def read(path: str) -> dict[str, ModelEntry]:
    """The models of one file, under their names and their aliases.

    Raises:
        ModelsFileError: if it cannot be read, or says what it may not; the message names the line.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    # What was changed a moment ago may be changed once more without a sign of it.
    is_settled = time.time_ns() - status.st_mtime_ns > _MTIME_GRANULARITY_NS
    looked = _read_cached if is_settled else _read_cached.__wrapped__
    return looked(path, (status.st_mtime_ns, status.st_size, status.st_ino))


def _nearest() -> str | None:
    try:
        folder, below = os.getcwd(), ""
    except FileNotFoundError:
        return None
    while folder != below:
        path = os.path.join(folder, FILE_NAME)
        if os.path.isfile(path) and _is_trusted(path):
            return path
        folder, below = os.path.dirname(folder), folder
    return None


def _is_trusted(path: str) -> bool:
    """Whether nobody could have put the file there in whose directory the user only happens to work, as in ``/tmp``."""
    try:
        folder, file = os.stat(os.path.dirname(path)), os.lstat(path)
    except OSError:  # it went this moment
        return False
    if not hasattr(os, "getuid") or not folder.st_mode & stat.S_IWOTH or file.st_uid in (os.getuid(), 0):
        return True
    if path not in _warned_untrusted:
        _warned_untrusted.add(path)
        log.warning("passed over: %s is another user's, where anybody may write; if it is meant: TFIMM_MODELS_FILE", path)
    return False


@functools.lru_cache(maxsize=64)
def _read_cached(path: str, _: tuple[int, int, int]) -> dict[str, ModelEntry]:
    from tfimm_resolver.models_file.schema import parse  # 1 ms that a project without a models file does not pay

    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        return parse(data.decode(), path)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ModelsFileError(f"{path}:{line}: this is not UTF-8", fix="Save it as UTF-8.") from error


def _unreadable(path: str, error: OSError) -> ModelsFileError:
    said = f"${settings.MODELS_FILE} names {path}, which" if settings.models_files() else f"{path}"
    return ModelsFileError(f"{said} cannot be read: {error.strerror}", fix="Mend it, or say where it is.")
