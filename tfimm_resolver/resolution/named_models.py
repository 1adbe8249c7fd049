"""Finds models by their name in the directories of named models, such as the one that ``get_dir`` returns."""

from __future__ import annotations

import logging
import os

from tfimm_resolver import manifest, settings
from tfimm_resolver.errors import CacheError, FetchError, HandleError, ResolverError
from tfimm_resolver.saved_model.completeness import find_defect

log = logging.getLogger("tfimm_resolver")


def exists(path: str) -> bool:
    """Whether a path is a file or a directory that is not empty; URLs are assumed to exist, without a request."""
    if "://" in path or os.path.isfile(path):
        return True
    return os.path.isdir(path) and bool(os.listdir(path))


def list_candidate_paths(name: str) -> list[str]:
    """Return the paths to look up a name at: tfimm's code uses ``~/.cache/tfimm``, its documentation ``~/.cache``."""
    found = []
    for root in (settings.get_dir, _get_cache_dir):
        try:
            found.append(f"{root()}/{name}")
        except CacheError:  # no home directory
            continue
    return found


def _get_cache_dir() -> str:
    return settings.expand_path("~/.cache")


def find_named(name: str) -> str | None:
    """Return the directory of a complete SavedModel of that name, or None.

    Raises:
        FetchError: if none was found, and a bucket that may have one cannot be reached; also CacheError.
    """
    failure: ResolverError | None = None
    for path in list_candidate_paths(name):
        try:
            if has_saved_model(path):
                if failure:
                    log.warning("skipped: %s", failure.text)
                return path
        except (CacheError, FetchError) as error:
            failure = error
    if failure:
        raise failure
    return None


def has_saved_model(path: str) -> bool:
    """Whether a directory, on disk or in a ``gs://`` bucket, holds a complete SavedModel."""
    if not settings.is_bucket(path):
        return find_defect(path) is None
    from tfimm_resolver.object_store.client import ObjectStoreClient

    # Only gs://: a name is never fetched, so TensorFlow must be able to read the model in the bucket.
    return path.startswith("gs://") and any(
        found.name in manifest.SAVED_MODEL_FILES for found in ObjectStoreClient(path).list_objects()
    )


def validate_name(name: str) -> str:
    """Return the name if it is valid.

    Raises:
        HandleError: if it is empty, ``.`` or ``..``, or contains a path separator or a NUL.
    """
    if not isinstance(name, str):
        raise HandleError(f"a model name is a str, not {type(name).__name__}: {name!r:.80}")
    if not name.strip() or name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise HandleError(
            f"{name!r} is not a valid model name",
            fix='A name is not empty, not "." or "..", and contains no "/", "\\" or NUL.',
        )
    return name
