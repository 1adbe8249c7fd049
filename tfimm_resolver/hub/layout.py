"""Where repositories and weights lie, and under which names: such as a person can read, and no two share."""

from __future__ import annotations

import hashlib
import os
import re
import threading

from tfimm_resolver import settings
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.roots import LocalRoot
from tfimm_resolver.errors import CacheError
from tfimm_resolver.settings.cache_dirs import Setting
from tfimm_resolver.settings.ownership import Guard

_REPOSITORY_TREES = re.compile(r"([\w-]+_[\w-]+_[\w-]+)(\.[0-9a-f]{8})?", re.ASCII)
_WEIGHTS_TREES = re.compile(r"([\w-]+-[0-9a-f]{12})(\.[0-9a-f]{8})?", re.ASCII)
_IDENTITY = re.compile(r"github://([^/]+(?:/[^/:]+)*?)/([^/:]+)/([^/:]+)(?::(.+))?")
_PLAIN = re.compile(r"[a-z0-9-]+")
_LIKE_HASHED = re.compile(r"-[0-9a-f]{12}$")
_NAME_LENGTH_MAX = 100
_MODE = 0o755
"""What directories of the hub are made with, so that no umask makes one in which other users can put code."""

OWN_DIRECTORY = "Set TFIMM_HUB_DIR to a directory of your own, in which no other user can write."

_lock = threading.Lock()
_chosen: Setting | None = None


def get_dir() -> str:
    """The directory in which repositories, weights and the list of trusted repositories are kept; creates nothing.

    The first that is set of ``set_dir()``, ``$TFIMM_HUB_DIR``; else ``.hub`` in ``tfimm_resolver.get_dir()``.
    """
    return root().value


def set_dir(d: str | os.PathLike[str] | None) -> None:
    """Keep all of that in ``d`` from now on, in this process; None takes that back."""
    global _chosen  # noqa: PLW0603  # one of the few process-wide values, behind its lock
    with _lock:
        _chosen = Setting(settings.expand_path(os.fspath(d)), "hub.set_dir()") if d else None


def root() -> Setting:
    """That directory, and what chose it."""
    if _chosen:
        return _chosen
    if place := os.environ.get("TFIMM_HUB_DIR"):
        return Setting(settings.expand_path(place), "$TFIMM_HUB_DIR")
    names = settings.names_root()
    return Setting(f"{names.value}/.hub", names.source)


def repositories() -> Cache:
    """The cache of repositories.

    Raises:
        CacheError: if the directory is none on this machine, or one where another user can have put code.
    """
    place, guard = _local(get_dir()), hub_guard()
    guard.check()
    return Cache(LocalRoot(place, _MODE, _REPOSITORY_TREES, guard), _repository_name)


def weights(model_dir: str | os.PathLike[str] | None) -> Cache:
    """The cache of weights, below ``get_dir()``, of which the same holds as of ``repositories``, or in ``model_dir``.

    That may be a directory that several users share: whoever names it trusts those who may write there.
    """
    if model_dir is not None:
        return Cache(LocalRoot(_local(settings.expand_path(os.fspath(model_dir))), trees=_WEIGHTS_TREES), _weights_name)
    place = f"{_local(get_dir())}/checkpoints"
    return Cache(LocalRoot(place, _MODE, _WEIGHTS_TREES, hub_guard(place)), _weights_name)


def hub_guard(*below: str) -> Guard:
    """Sees that ``get_dir()``, and directories below it, are this user's or root's, and that no other user can write there.

    Above it may lie a directory of several users, such as a ``$TFIMM_HOME`` that they share.
    """
    return Guard(get_dir(), *below, fix=OWN_DIRECTORY, is_roots_trusted=True)


def note_filename(identity: str) -> str:
    """The name under which something is noted of a repository, whatever its ref."""
    return _with_hash(identity)


def _local(place: str) -> str:
    if settings.is_bucket(place):
        raise CacheError(f"code cannot be run from {place}", fix="Set TFIMM_HUB_DIR to a local directory.")
    return place


def _repository_name(identity: str) -> str:
    """``owner_repo_ref``, as torch.hub has it, where that can mean one thing only; else with a hash of all that is meant.

    It must not depend on what lies there already, as eight processes may ask at once. A dot, for the cache, ends a name.
    """
    found = _IDENTITY.fullmatch(identity)
    host, *parts = found.groups("") if found else ("", identity)
    plain = "_".join(parts)
    is_one = host == "github.com" and all(_PLAIN.fullmatch(part) for part in parts) and not _LIKE_HASHED.search(plain)
    return plain if is_one and len(plain) <= _NAME_LENGTH_MAX else _with_hash(identity)


def _weights_name(key: str) -> str:
    """The file's name, and a hash of the URL: there are many files of the same name."""
    return f"{_readable(key.partition(' ')[0])}-{_hash(key)}"


def _with_hash(identity: str) -> str:
    found = _IDENTITY.fullmatch(identity)
    _, *parts = found.groups("") if found else ("", identity)
    return "_".join(_readable(part) for part in parts if part) + f"-{_hash(identity)}"


def _readable(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[: _NAME_LENGTH_MAX // 2]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
