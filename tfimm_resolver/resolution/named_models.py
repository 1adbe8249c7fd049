"""Models that lie under their names in a directory."""

from __future__ import annotations

import contextlib
import logging
import os

from tfimm_resolver import manifest, settings
from tfimm_resolver.errors import CacheError, FetchError, HandleError, ResolverError
from tfimm_resolver.saved_model.completeness import find_defect

log = logging.getLogger("tfimm_resolver")


def exists(place: str) -> bool:
    """Whether a place holds anything; of an object store's it is believed, without a request."""
    if "://" in place or os.path.isfile(place):
        return True
    return os.path.isdir(place) and bool(os.listdir(place))


def candidate_paths(name: str) -> list[str]:
    """Where a name is looked up: tfimm's code looks below ``~/.cache/tfimm``, its documentation says ``~/.cache``."""
    found = []
    for root in (settings.get_dir, lambda: settings.expand_path("~/.cache")):
        with contextlib.suppress(CacheError):  # no home directory
            found.append(f"{root()}/{name}")
    return found


def find_named(name: str) -> str | None:
    """The directory of a whole SavedModel of that name, or None.

    Raises:
        FetchError: if none was found, and a bucket that may have one is out of reach; also CacheError.
    """
    failure: ResolverError | None = None
    for place in candidate_paths(name):
        try:
            if has_saved_model(place):
                if failure:
                    log.warning("passed over: %s", failure.text)
                return place
        except (CacheError, FetchError) as error:
            failure = error
    if failure:
        raise failure
    return None


def has_saved_model(place: str) -> bool:
    """Whether a place that a name may mean holds a whole SavedModel."""
    if not settings.is_bucket(place):
        return find_defect(place) is None
    from tfimm_resolver.object_store.client import ObjectStoreClient

    # What TensorFlow cannot read where it lies is no model of that name.
    return place.startswith("gs://") and any(
        found.name in manifest.SAVED_MODEL_FILES for found in ObjectStoreClient(place).below()
    )


def validate_name(name: str) -> str:
    """The name, if it may be one.

    Raises:
        HandleError: if it is empty or holds a separator, ``..`` or a NUL.
    """
    if not isinstance(name, str) or not name.strip() or name in (".", "..") or any(mark in name for mark in "/\\\0"):
        raise HandleError(
            f"{name!r} is no model name", fix="A name is one word: not empty, without /, \\, NUL, and not .. either."
        )
    return name
