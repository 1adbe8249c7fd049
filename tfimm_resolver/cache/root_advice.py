"""Advice for a local root that cannot be written, and for a cached copy that is not used in place of one to be fetched.

The former is another directory, and what a mounted bucket can still be used for.
"""

from __future__ import annotations

import contextlib
import errno
import os
from contextlib import AbstractContextManager

from tfimm_resolver._util.outgoing import show
from tfimm_resolver._util.rename_check import RenameUnsupportedError
from tfimm_resolver.errors import CacheError, FetchError
from tfimm_resolver.errors.advice import Advice, Fix, join_advice
from tfimm_resolver.errors.os_errors import map_os_errors, suggest_disk_fix
from tfimm_resolver.manifest import Origin
from tfimm_resolver.settings import ownership

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


def map_root_errors(action: str, root: str, otherwise: Fix) -> AbstractContextManager[None]:
    """Raise an OSError of the block, which reads or writes a root, as a CacheError."""
    suggest, explain = (suggest_write_fix, explain_foreign_owner) if action == "write" else (suggest_disk_fix, lambda *_: None)
    return map_os_errors(
        CacheError,
        lambda: f"cannot {action} the cache at {show(root)}",
        lambda error: suggest(error, otherwise),
        show_path=True,
        explain=lambda error: explain(error, root),
    )


def explain_foreign_owner(error: OSError, root: str) -> CacheError | None:
    """Return the error for a file or directory of another user in a root; None if that is not the cause."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return None
    for name in filter(None, (error.filename, error.filename2)):
        if (found := _find_foreign(os.fspath(name), root)) is not None:
            path, status = found
            reason = error.strerror or type(error).__name__
            text = f"{show(ownership.describe(path, status))}, so this user cannot change or remove it: {show(reason)}"
            return CacheError(text, fix="Ask its owner to do this, or ask root to change the owner with chown.")
    return None


def _find_foreign(path: str, root: str) -> tuple[str, os.stat_result] | None:
    """Return the path, or the nearest directory above it, that another user owns, with its status, if it is in the root."""
    while path.startswith(f"{root}/"):
        with contextlib.suppress(OSError):  # one that is missing, or in a directory that this user cannot search
            if not ownership.is_owned_by_user(status := os.lstat(path)):
                return path, status
        path = os.path.dirname(path)
    return None


def suggest_write_fix(error: OSError, otherwise: Fix = OTHER_ROOT_FIX) -> Fix:
    """Return what to do if a local root cannot be written; ``otherwise`` says how another one is chosen."""
    holds_models, extra = otherwise is OTHER_ROOT_FIX, list[str]()
    if isinstance(error, RenameUnsupportedError):
        extra = [_LOCAL_DISK, _MOUNT * holds_models]
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        extra = [_KEEP_READING * holds_models]
    return suggest_disk_fix(error, join_advice([otherwise, *extra], " "))
