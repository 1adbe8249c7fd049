"""Advice for a local root that cannot be written, and for a cached copy that is not used in place of one to be fetched.

The former is another directory, and what a mounted bucket can still be used for.
"""

from __future__ import annotations

import errno

from tfimm_resolver._util.rename_check import RenameUnsupportedError
from tfimm_resolver.errors import FetchError
from tfimm_resolver.errors.advice import Advice, Fix, join_advice
from tfimm_resolver.errors.os_errors import suggest_disk_fix
from tfimm_resolver.manifest import Origin

_OTHER_ROOT = "Use a directory that you can write: set TFHUB_CACHE_DIR (TFIMM_HOME for names), or"
OTHER_ROOT_FIX = Advice(python=f"{_OTHER_ROOT} call set_dir(path).", command=f"{_OTHER_ROOT} pass --cache-dir.")
"""How another directory for the caches is chosen."""

_KEEP_READING = "To keep reading the models in this one, add it to TFIMM_RESOLVER_EXTRA_ROOTS."
_LOCAL_DISK = "This one may be a mounted bucket: use a directory on a local disk."
_MOUNT = (
    "TFHUB_CACHE_DIR can also be the bucket itself (gs://... or s3://...); a cache that was filled elsewhere and copied to "
    "the mount is read if it is in TFIMM_RESOLVER_EXTRA_ROOTS."
)

_IMPORT_AGAIN = "To make the cached copy satisfy a pin, import the bundle again with"
_IMPORT_FIX = Advice(
    python=f"{_IMPORT_AGAIN} the sha256 that export returned, or a signature: bundles.import_(path, sha256=...).",
    command=f"{_IMPORT_AGAIN} the sha256 that export printed, or a signature: tfimm-resolver import BUNDLE --sha256 HEX",
)


def describe_unchanged(error: FetchError, origin: Origin) -> FetchError:
    """Return the error of a failed fetch that also says that a copy of this origin is cached, and why no pin accepts it."""
    text = f"{error.text}\n  the cached copy is unchanged"
    if not origin.claimed_sha256:
        return error.with_message(text)
    return error.with_message(f"{text}; it {origin.describe_claim()}", join_advice([error.advice, _IMPORT_FIX]))


def suggest_write_fix(error: OSError, otherwise: Fix = OTHER_ROOT_FIX) -> Fix:
    """Return what to do if a local root cannot be written; ``otherwise`` says how another one is chosen."""
    holds_models, extra = otherwise is OTHER_ROOT_FIX, list[str]()
    if isinstance(error, RenameUnsupportedError):
        extra = [_LOCAL_DISK, _MOUNT * holds_models]
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        extra = [_KEEP_READING * holds_models]
    return suggest_disk_fix(error, join_advice([otherwise, *extra], " "))
