"""Writes ``models.config``, the file that lists the models of TensorFlow Serving (``ModelServerConfig``, as a text)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.handles.arguments import list_names
from tfimm_resolver.integrations.serving.marker import replace_text
from tfimm_resolver.integrations.serving.staging import Staging, remove_leftovers
from tfimm_resolver.integrations.serving.versions_layout import list_versions
from tfimm_resolver.locking.directory_lock import hold_directory

FILE_NAME = "models.config"
_HEADER = "# Written by tfimm_resolver, which replaces this file: change tfimm-models.toml instead.\n"
_BASE_PATH = re.compile(rb'^# base_path: "(.*)"$', re.MULTILINE)
"""Notes a directory that was given, so that a later call without one does not change it."""

_CODE = re.compile(rb"\\([0-7]{3})")
_BYTES_MAX = 4 << 20
_LABEL = "config"


def write_models_config(directory: str | os.PathLike[str], names: Iterable[str], *, base_path: str | None = None) -> str:
    """Write ``models.config`` into a directory that holds a directory with versions for each model; return its path.

    A name without any version is left out, since a server that waits for it would not become ready.

    Args:
        directory: the directory.
        names: the names of the models, which are those of their directories.
        base_path: the directory as the server sees it, if it is mounted elsewhere there; None for that of the last call
            that was given one, else ``directory``.

    Raises:
        HandleError: if the names are not texts.
        CacheError: if the file exists and was not written by this function, or cannot be written.

    Example:
        >>> from tfimm_resolver.integrations import serving
        >>> published = serving.publish(
        ...     "https://models.example/half_plus_two/1.tar.gz", "models/half", layout="tf-serving"
        ... )
        >>> serving.write_models_config("models", ["half"], base_path="/models")
        '/.../models/models.config'
    """
    folder = settings.expand_path(directory)
    path = f"{folder}/{FILE_NAME}"
    check_models_config(folder)
    listed = [name for name in sorted(list_names(names, "names")) if list_versions(f"{folder}/{name}")]
    with map_os_errors(CacheError, f"cannot write {show(path)}", show_path=True):
        os.makedirs(folder, exist_ok=True)
        with hold_directory(folder) as is_locked:
            remove_leftovers(folder, _LABEL, is_locked=is_locked)
            current = _read(path)
            chosen = base_path or _read_base_path(current)
            text = _HEADER + (f"# base_path: {_quote(chosen)}\n" if chosen else "")
            text += "".join(
                ["model_config_list {\n", *(_format_entry(name, f"{chosen or folder}/{name}") for name in listed), "}\n"]
            )
            if current != text.encode():
                with Staging(folder, _LABEL) as staging:
                    replace_text(path, text, staging.path)
    return path


def check_models_config(folder: str) -> None:
    """Check that the file in a directory does not exist, or was written by this package.

    Raises:
        CacheError: if it was not, or cannot be read.
    """
    path = f"{folder}/{FILE_NAME}"
    with map_os_errors(CacheError, f"cannot read {show(path)}"):
        text = _read(path)
    if text is not None and not text.startswith(_HEADER.encode()):
        raise CacheError(
            f"{show(path)} was not written by tfimm_resolver",
            fix="Nothing was changed. Move it away, or name another directory.",
        )


def _read_base_path(data: bytes | None) -> str | None:
    """Return the directory that an earlier call was given, as the file notes it."""
    found = _BASE_PATH.search(data or b"")
    return _CODE.sub(lambda code: bytes([int(code[1], 8) & 255]), found[1]).decode(errors="replace") if found else None


def _read(path: str) -> bytes | None:
    try:
        return fs.read_regular(path, _BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _format_entry(name: str, base: str) -> str:
    return f'  config {{\n    name: {_quote(name)}\n    base_path: {_quote(base)}\n    model_platform: "tensorflow"\n  }}\n'


def _quote(text: str) -> str:
    """Return a text as a string of protobuf's text format: other characters than ASCII as the octal codes of their bytes."""
    try:
        codes = text.encode()
    except UnicodeEncodeError as error:  # protobuf's strings are UTF-8
        raise CacheError(f"{show(text)} cannot be in {FILE_NAME}: it is not a text", fix="Name another directory.") from error
    return '"' + "".join(chr(code) if 32 <= code < 127 and code not in b'"\\' else f"\\{code:03o}" for code in codes) + '"'
