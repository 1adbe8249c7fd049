"""Publishes a model to a directory that the user names, for a server that reads it there."""

from __future__ import annotations

import os
import re

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.errors.os_errors import is_disk_full, map_os_errors
from tfimm_resolver.integrations.serving.flat_layout import publish_flat
from tfimm_resolver.integrations.serving.model_files import ModelFiles, list_model_files
from tfimm_resolver.integrations.serving.outcome import Published
from tfimm_resolver.integrations.serving.versions_layout import VERSION_MAX, publish_version
from tfimm_resolver.resolution.request import Request
from tfimm_resolver.resolution.resolver import locate_to_publish

LAYOUTS = FLAT, TF_SERVING = ("flat", "tf-serving")
KEEP = 2
"""How many versions stay by default: a server may still load the one before the newest."""

_LAST_NUMBER = re.compile(r"(?:^|/)([0-9]{1,18})(?:\.tar|\.tar\.\w+|\.tgz|\.zip)?/?$")


def publish(
    handle: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    *,
    layout: str = FLAT,
    version: int | None = None,
    keep: int = KEEP,
    refresh: bool = False,
    sha256: str | None = None,
) -> Published:
    """Put a model into a directory of your own, where a server reads it; fetch it first if it is not cached.

    The files are hard links to those in the cache where that is safe and possible, else copies, and stay if it is pruned. No
    reader sees a part of a model. Only what this function wrote is ever replaced or removed: a hidden file lists it.

    Args:
        handle: as for ``resolve``, as are ``refresh`` and ``sha256``.
        directory: with the layout ``flat`` that of the model; with ``tf-serving`` that of its versions, ``1/``, ``2/``...
        layout: ``flat`` or ``tf-serving``.
        version: the number of the version; by default the one at the end of the handle, if it is higher than all others,
            else the next one, so that a server loads the model. If the highest version is this model, nothing changes.
        keep: how many versions stay.

    Raises:
        CacheError: if the directory cannot be written, is a link or a file, holds something that was not published, or the
            version is another model.
        NotASavedModelError: if the model is not a SavedModel, with ``tf-serving``.
        PolicyError: if the model's operations are refused, since a server loads it without asking.
        HandleError: if an argument is not valid; also what else ``resolve`` raises.

    Example:
        >>> from tfimm_resolver.integrations import serving
        >>> published = serving.publish(
        ...     "https://models.example/half_plus_two/1.tar.gz", "models/half", layout="tf-serving", version=3
        ... )
        >>> published.path, published.state
        ('/.../models/half/3', 'published')
    """
    _check_arguments(layout, version, keep)
    return _publish(Request.parse(handle, refresh=refresh, sha256=sha256), _expand(directory), layout, version, keep)


def _publish(request: Request, target: str, layout: str, version: int | None, keep: int) -> Published:
    location, is_signed = locate_to_publish(request)
    label = location.record.handle if location.record is not None else request.handle.redacted
    model = list_model_files(location, label, needs_graph=layout == TF_SERVING, is_signed=is_signed)
    with map_os_errors(CacheError, f"cannot publish {request.handle} to {show(target)}", _suggest_fix, show_path=True):
        if layout == FLAT:
            return publish_flat(model, target)
        return publish_version(model, target, version, _find_number(model, location), keep)


def _check_arguments(layout: str, version: int | None, keep: int) -> None:
    if layout not in LAYOUTS:
        raise HandleError(f"the layout {layout!r} is not known", fix=f"Choose one of: {', '.join(LAYOUTS)}.")
    if version is not None and layout == FLAT:
        raise HandleError("the layout flat has no versions", fix="Leave the version out, or choose the layout tf-serving.")
    if version is not None and (type(version) is not int or not 0 <= version <= VERSION_MAX):
        raise HandleError(f"{version!r:.80} is not the number of a version", fix=f"Choose one from 0 to {VERSION_MAX}.")
    if type(keep) is not int or keep < 1:
        raise HandleError(f"{keep!r:.80} versions cannot stay: the published one does", fix="Keep at least 1.")


def _expand(directory: str | os.PathLike[str]) -> str:
    """Return the absolute path of the directory; the links before its last name are followed by the system."""
    path = settings.expand_path(directory)
    if settings.is_bucket(path):
        raise HandleError(
            f"cannot publish to {show(path)}: it is not a directory of this machine",
            fix="Give the path of a directory; TensorFlow Serving can read a bucket by itself.",
        )
    return path


def _find_number(model: ModelFiles, location: ModelLocation) -> int | None:
    """Return the version that the directory of a model, or else its handle, names at its end; None without one."""
    handle = location.record.handle if location.record is not None else ""
    match = _LAST_NUMBER.search(f"/{os.path.basename(model.path)}") or _LAST_NUMBER.search(re.split("[?#]", handle)[0])
    return int(match[1]) if match else None


def _suggest_fix(error: OSError) -> str:
    if is_disk_full(error):
        return "Free some space on its disk. What was there is unchanged."
    if isinstance(error, PermissionError):
        user = f"user {os.geteuid()}" if hasattr(os, "geteuid") else "this user"
        return f"Let {user} write to the directory, or name another one."
    return ""
