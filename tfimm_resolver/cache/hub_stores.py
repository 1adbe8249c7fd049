"""The caches of the hub, its repositories and its weights, with names of entries that are readable and unique."""

from __future__ import annotations

import hashlib
import os
import re

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.tiers import open_store
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.settings.ownership import Guard

_REPOSITORY_TREES = re.compile(r"([\w-]+_[\w-]+_[\w-]+)(\.[0-9a-f]{8})?", re.ASCII)
_WEIGHTS_TREES = re.compile(r"([\w-]+-[0-9a-f]{12})(\.[0-9a-f]{8})?", re.ASCII)
_IDENTITY = re.compile(r"github://([^/]+(?:/[^/:]+)*?)/([^/:]+)/([^/:]+)(?::(.+))?")
_PLAIN = re.compile(r"[a-z0-9-]+")
_LIKE_HASHED = re.compile(r"-[0-9a-f]{12}$")
_NAME_LENGTH_MAX = 100
_MODE = 0o755
"""Mode of the directories of the hub, whatever the umask: other users must not be able to add code."""

OWN_DIRECTORY = "Set TFIMM_HUB_DIR to a directory that belongs to you and that no other user can write to."

_OTHER_DIRECTORY = "Use a directory that you can write: set TFIMM_HUB_DIR or TFIMM_HOME"
_OTHER_FIX = Advice(python=f"{_OTHER_DIRECTORY}, or call hub.set_dir(path).", command=f"{_OTHER_DIRECTORY}.")
_OTHER_MODEL_DIR_FIX = "Pass a model_dir that you can write."


def open_repositories() -> Cache:
    """Return the cache of repositories.

    Raises:
        CacheError: if the directory is not on this machine, or another user may have put code into it.
    """
    path, guard = _require_local(settings.hub_root().value), get_guard()
    with map_os_errors(CacheError, f"cannot use the directory of the hub, {show(path)}", OWN_DIRECTORY):
        guard.check()
    return open_store(path, _make_repository_name, mode=_MODE, entry_pattern=_REPOSITORY_TREES, guard=guard, fix=_OTHER_FIX)


def open_weights(model_dir: str | os.PathLike[str] | None = None) -> Cache:
    """Return the cache of weights, in ``model_dir`` or else in the directory of the hub.

    That must not be writable for other users, as in ``open_repositories``; ``model_dir`` may be a shared directory, because
    the caller chose it.
    """
    if model_dir is not None:
        own = _require_local(settings.expand_path(model_dir))
        return open_store(own, _make_weights_name, entry_pattern=_WEIGHTS_TREES, fix=_OTHER_MODEL_DIR_FIX)
    path = f"{_require_local(settings.hub_root().value)}/checkpoints"
    guard = get_guard(path)
    return open_store(path, _make_weights_name, mode=_MODE, entry_pattern=_WEIGHTS_TREES, guard=guard, fix=_OTHER_FIX)


def get_guard(*below: str) -> Guard:
    """Return a guard which checks that only this user or root owns, and can write to, the hub and directories in it.

    It also checks each file that is opened through it, as another user may have written it while a directory was open to all.
    The directory above may be shared, such as a ``$TFIMM_HOME`` of several users.
    """
    return Guard(settings.hub_root().value, *below, fix=OWN_DIRECTORY, trust_root_user=True, check_files=True)


def get_full_name(identity: str) -> str:
    """Return host, owner and repository of a handle, the unit of trust."""
    match = _IDENTITY.fullmatch(identity)
    return "/".join(match.groups()[:3]) if match else ""


def add_hash(identity: str) -> str:
    """Return a name for a repository that ends in a hash of its identity."""
    match = _IDENTITY.fullmatch(identity)
    _, *parts = match.groups("") if match else ("", identity)
    return "_".join(_sanitize(part) for part in parts if part) + f"-{_hash(identity)}"


def _require_local(path: str) -> str:
    if settings.is_bucket(path):
        raise CacheError(f"the hub cannot run code from a bucket: {show(path)}", fix="Set TFIMM_HUB_DIR to a local directory.")
    return path


def _make_repository_name(identity: str) -> str:
    """Return ``owner_repo_ref``, as torch.hub does, where it is unambiguous; else add a hash of the identity.

    The name must not depend on existing entries, as several processes may look it up at once. It must not contain a dot,
    which ends the name of a cache entry.
    """
    match = _IDENTITY.fullmatch(identity)
    host, *parts = match.groups("") if match else ("", identity)
    plain = "_".join(parts)
    is_unambiguous = host == "github.com" and all(_PLAIN.fullmatch(part) for part in parts) and not _LIKE_HASHED.search(plain)
    return plain if is_unambiguous and len(plain) <= _NAME_LENGTH_MAX else add_hash(identity)


def _make_weights_name(key: str) -> str:
    """Return the file's name and a hash of its URL, as different URLs often have the same file name."""
    return f"{_sanitize(key.partition(' ')[0])}-{_hash(key)}"


def _sanitize(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[: _NAME_LENGTH_MAX // 2]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
