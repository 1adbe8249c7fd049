"""Explains why code of a repository failed: what the zip of a repository lacks, paths, and modules that are not installed."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.hub.dependencies import suggest_install
from tfimm_resolver.saved_model import recognition

_GITMODULES_BYTES_MAX = 1 << 20
_SUBMODULE = re.compile(r"^\s*path\s*=\s*(.+?)\s*$", re.MULTILINE)
_RELATIVE_PATH = re.compile(r"(?<![\w./\\-])(?:\./)?\w[\w.-]*(?:/[\w.-]+)*\.\w+")
_NAMES_MAX, _TEXT_MAX = 3, 10_000

_CLONE = "Clone the repository with git (git clone --recurse-submodules, git lfs pull), then"
CLONE_FIX = Advice(
    python=f'{_CLONE} load the clone: load(DIRECTORY, model, source="local").',
    command=f"{_CLONE} give the directory of the clone with --local.",
)


def explain(error: Exception, folder: str) -> tuple[list[str], Advice | str]:
    """Return lines that say what in the repository in ``folder`` may have led to an error, and what to do about it."""
    absent = [*_describe_submodules(folder), *_describe_lfs_pointers(folder)]
    paths = [*_describe_relative_paths(error, folder)]
    if absent:
        return absent + paths, CLONE_FIX
    if paths:
        return paths, f"Change to {show(folder)} first, or ask its author to use paths relative to __file__."
    if isinstance(error, ModuleNotFoundError) and error.name:
        return [], suggest_install([error.name.partition(".")[0], error.name])
    return [], ""


def _describe_submodules(folder: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        text = fs.read_regular(f"{folder}/.gitmodules", _GITMODULES_BYTES_MAX).decode("utf-8", "replace")
        names = [name for name in _SUBMODULE.findall(text) if _is_empty(folder, os.path.normpath(name))]
        if names:
            yield f"{_join(names)}: a Git submodule, which the zip of a repository does not contain"


def _is_empty(folder: str, inner: str) -> bool:
    """Return whether a directory below ``folder`` is empty or missing; False for one that is not below it."""
    is_below = not os.path.isabs(inner) and inner.partition("/")[0] not in (".", "..")
    return is_below and not (os.path.isdir(f"{folder}/{inner}") and os.listdir(f"{folder}/{inner}"))


def _describe_lfs_pointers(folder: str) -> Iterator[str]:
    if names := [*recognition.find_lfs_pointers(folder)]:
        yield f"{_join(names)}: a Git LFS pointer instead of the file, as in the zip of a repository"


def _describe_relative_paths(error: Exception, folder: str) -> Iterator[str]:
    """Yield a line for a file named in an error that is in the repository, but not in the working directory."""
    filename = getattr(error, "filename", None)
    texts = [filename] if isinstance(filename, str) else _RELATIVE_PATH.findall(str(error)[:_TEXT_MAX])
    for name in dict.fromkeys(texts):
        is_relative = not os.path.isabs(name) and ".." not in name.split("/")
        if is_relative and not os.path.exists(name) and os.path.exists(f"{folder}/{name}"):
            yield f"{show(name)} is relative to the working directory, {show(os.getcwd())}; the repository has that file"


def _join(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_MAX} more" if len(names) > _NAMES_MAX else ""
    return ", ".join(map(show, sorted(names)[:_NAMES_MAX])) + more


def find_deeper(folder: str, name: str) -> list[str]:
    """Return the paths, relative to ``folder``, of files of that name in directories below it."""
    paths = [path for path in fs.walk(folder) if path.endswith(f"/{name}")]
    return sorted(paths, key=lambda path: (path.count("/"), path))[:_NAMES_MAX]
