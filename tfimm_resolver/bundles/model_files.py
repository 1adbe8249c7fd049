"""Reads the files of a cached model for an export, and verifies them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.extractor import CHUNK_BYTES
from tfimm_resolver.archives.member_policy import join_safely
from tfimm_resolver.bundles.export_errors import make_removed_error, suggest_repair
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.errors import CacheError, IntegrityError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.maintenance.cached_model import CachedModel
from tfimm_resolver.manifest import FileEntry


def hold(model: CachedModel) -> None:
    """Keep other processes from removing a model; raises CacheError if it no longer exists."""
    if not ModelLocation(model.path, is_read_only=model.is_read_only).hold():
        raise make_removed_error(model)


def read_chunks(model: CachedModel, file: FileEntry) -> Iterator[memoryview]:
    """Yield the bytes of a file, exactly as many as the record lists.

    Raises:
        IntegrityError: after the last chunk at the latest, if the bytes do not match the recorded hash.
    """
    digest, left_bytes, buffer = hashlib.sha256(), file.size_bytes, memoryview(bytearray(CHUNK_BYTES))
    path = join_safely(model.path, file.path)
    if not os.path.isdir(model.path):
        raise make_removed_error(model)
    with (
        map_os_errors(CacheError, f"{show(path)} cannot be read", suggest_repair(model)),
        open(path, "rb", buffering=0, opener=fs.open_regular_target) as source,
    ):
        while count := source.readinto(buffer[: left_bytes or 1]):
            if not left_bytes:
                break
            digest.update(buffer[:count])
            left_bytes -= count
            yield buffer[:count]
    if count or left_bytes or digest.hexdigest() != file.sha256:
        raise IntegrityError(
            f"{show(model.name)} is damaged: {show(file.path)} does not match its recorded sha256", fix=suggest_repair(model)
        )
