"""Paths as users write them: expansion, and object store URLs."""

from __future__ import annotations

import functools
import os

from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.urls import TENSORFLOW_SCHEMES
from tfimm_resolver.errors import CacheError, HandleError

_AROUND_PATHS = "\"'` \t\r\n"
"""What may surround a path in a variable by mistake."""


def is_bucket(path: str) -> bool:
    """Whether a root is a URL in an object store."""
    return "://" in path


def check_path(path: str | os.PathLike[str]) -> str:
    """Return a path as a text that the system accepts.

    Raises:
        HandleError: if it is neither a str nor an os.PathLike of one, or has a character that no path can have.
    """
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else path
    if not isinstance(text, str):
        raise HandleError(f"a path is a str or an os.PathLike, not {type(path).__name__}: {path!r:.80}")
    if "\0" in text:
        raise HandleError(f"the path {text!r} contains a NUL character", fix="Remove the character.")
    if not is_encodable(text):
        raise HandleError(f"the path {text!r} contains a character that no path can have", fix="Remove the character.")
    return text


def is_encodable(text: str) -> bool:
    """Whether the system can encode a text as a path: not with a lone surrogate that stands for no byte."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


@functools.lru_cache(maxsize=64)  # expanding takes a microsecond, and each hit expands several paths
def _is_expanded(path: str) -> bool:
    """Whether a path stays as it is, whatever the environment and the working directory are."""
    is_plain = path.startswith("/") and "$" not in path and "://" not in path and "\0" not in path
    return is_plain and os.name != "nt" and is_encodable(path) and os.path.normpath(path) == path


@functools.lru_cache(maxsize=64)
def join_home(home: str, path: str) -> str | None:
    """Return a path that begins with ``~/``, expanded; None if that depends on more than the value of ``$HOME``."""
    joined = home.rstrip("/") + path[1:]
    return joined if home.startswith("/") and _is_expanded(joined) else None


def expand_path(path: str | os.PathLike[str]) -> str:
    """Return a path with ``~`` and ``$VAR`` expanded, made absolute; ``file://`` as its path, other URLs unchanged.

    Raises:
        HandleError: as ``check_path`` does.
        CacheError: if it begins with ``~`` and the user has no home directory, if it is relative and the working directory
            was removed, or if it is an object store URL with credentials or without a bucket.
    """
    if isinstance(path, str):
        if _is_expanded(path):
            return path
        if path.startswith("~/") and (joined := join_home(os.environ.get("HOME", ""), path)) is not None:
            return joined
    path = os.path.expandvars(check_path(path))
    if path.startswith("file://"):
        from urllib.parse import unquote, urlsplit

        path = check_path(unquote(urlsplit(path).path))
    elif "://" in path:
        scheme, _, rest = path.partition("://")
        bucket = rest.partition("/")[0]
        if "@" in bucket or (not bucket and scheme.lower() not in TENSORFLOW_SCHEMES):
            redacted = f"{scheme}://{bucket.rpartition('@')[2]}"
            raise CacheError(f"{redacted} is not a cache location: it has to be {scheme}://BUCKET/PATH, without credentials")
        return path.rstrip("/")
    home = os.path.expanduser(path)
    if home.startswith("~") and path[1:2] in ("", "/"):
        raise CacheError(
            f"cannot expand {show(path)}: this user has no home directory", fix="Set HOME, TFHUB_CACHE_DIR or TFIMM_HOME."
        )
    try:
        return os.path.abspath(home)
    except FileNotFoundError as error:
        raise CacheError(
            f"{show(path)} is a relative path, and the working directory was removed", fix="Give an absolute path."
        ) from error


def expand_variable(variable: str, value: str) -> str:
    """Return the path in an environment variable or a flag, as ``expand_path`` does.

    Raises:
        HandleError: if quotes, blanks or control characters surround it: a shell would have removed them, but not what
            reads an --env-file, and a directory of that name below the working directory is not what was meant.
        CacheError: as ``expand_path`` does.
    """
    bare = value.strip(_AROUND_PATHS)
    if bare != value and not (os.path.isabs(value) and os.path.isdir(value)):
        fix = f"Set it to {bare}, without the quotes and blanks: only a shell removes them."
        raise HandleError(
            f"{variable} is {value!r}: quotes or blanks are part of it", fix=fix if bare else f"Unset {variable}."
        )
    return expand_path(value)


def find_xdg_directory(variable: str, default: str) -> str:
    """Return one of the user's base directories: that of a variable such as ``XDG_CONFIG_HOME``, else the default below ``~``.

    Raises:
        HandleError: as ``expand_variable`` does.
        CacheError: if the user has no home directory.
    """
    value = os.environ.get(variable)
    return expand_variable(variable, value) if value else expand_path(default)


def check_output_path(path: str) -> None:
    """Check that a path which a user named may be replaced by a new file: it is a file, a link to one, or does not exist.

    Raises:
        CacheError: if its directory does not exist, or it is a directory, a device, a pipe or a socket, or leads to one.
    """
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise CacheError(
            f"cannot write {show(path)}: its directory does not exist", fix="Create the directory, or give another path."
        )
    if os.path.isdir(path):
        raise CacheError(f"cannot write {show(path)}: it is a directory", fix="Give the path of a file.")
    if is_stream(path):
        raise CacheError(
            f"cannot write {show(path)}: it is not a regular file, and would be replaced",
            fix="Pass the path of a file that does not exist yet, or that may be replaced.",
        )


def is_stream(path: str) -> bool:
    """Whether a path is a pipe, a device or an open descriptor, such as ``/dev/stdout``: it is written to, never replaced."""
    # /dev/stdout may lead to a regular file, too, but replacing the link would break every program that uses it.
    is_descriptor = os.path.islink(path) and os.readlink(path).startswith("/proc/")
    return is_descriptor or (os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path))
