"""A bundle as a caller names it, a path or a stream, and its bytes."""

from __future__ import annotations

import os
from typing import IO

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.extractor import CHUNK_BYTES
from tfimm_resolver.errors import FetchError, HandleError
from tfimm_resolver.errors.os_errors import map_os_errors


def find_path(bundle: object, method: str) -> str | None:
    """Return the path of a bundle; None if it is a stream with a method of that name.

    Raises:
        HandleError: if it is neither, or has a character that no path can have.
    """
    if isinstance(bundle, (str, os.PathLike)):
        return settings.check_path(bundle)
    if hasattr(bundle, method):
        return None
    raise HandleError(f"a bundle is a path or a binary stream, not {type(bundle).__name__}: {bundle!r:.80}")


def read_chunk(source: IO[bytes], name: str) -> bytes:
    """Return the next bytes of a bundle, empty at its end.

    Raises:
        FetchError: if the stream cannot be read.
        HandleError: if it is not a binary stream.
    """
    read = getattr(source, "read1", source.read)  # returns what a pipe has, without waiting for more
    with map_os_errors(FetchError, f"the bundle {show(name)} cannot be read"):
        chunk = read(CHUNK_BYTES)
    if not isinstance(chunk, bytes):
        raise HandleError(f"the bundle {show(name)} is a stream of {type(chunk).__name__}, not of bytes")
    return chunk
