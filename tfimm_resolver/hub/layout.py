"""The directory of the hub: which one it is, and who may have written to it."""

from __future__ import annotations

import os

from tfimm_resolver import settings
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.cache.hub_stores import add_hash, get_full_name, get_guard, open_repositories, open_weights
from tfimm_resolver.errors import CacheError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.settings import ownership

__all__ = [
    "check_owners",
    "get_dir",
    "get_full_name",
    "get_guard",
    "get_note_filename",
    "open_repositories",
    "open_weights",
    "set_dir",
]


def get_dir() -> str:
    """Return the directory of repositories, weights and the list of trusted repositories; it may not exist yet.

    It is the directory given to ``set_dir()``, else ``$TFIMM_HUB_DIR``, else ``.hub`` in ``tfimm_resolver.get_dir()``.

    Example:
        >>> import os
        >>> tfimm_resolver.hub.get_dir() == os.path.join(tfimm_resolver.get_dir(), ".hub")
        True
    """
    return settings.hub_root().value


def set_dir(d: str | os.PathLike[str] | None) -> None:
    """Use ``d`` as the directory of the hub in this process; None restores the default.

    Example:
        >>> tfimm_resolver.hub.set_dir("/data/hub")
        >>> tfimm_resolver.hub.get_dir()
        '/data/hub'
        >>> tfimm_resolver.hub.set_dir(None)
    """
    settings.override_hub_dir(d, "hub.set_dir()")


def check_owners(tree: str) -> None:
    """Check that no other user can have written to the tree, as was possible while the hub directory had open permissions.

    Raises:
        CacheError: if one can, or the tree contains anything but directories and regular files.
    """
    quoted = show(tree)
    fix = f"Remove {quoted} and the record beside it, to download it again. Or inspect it, and run chmod -R go-w {quoted}."
    with map_os_errors(CacheError, f"cannot check the owners of {quoted}", fix, show_path=True), get_guard().reading():
        ownership.check_tree(tree, fix)


def get_note_filename(identity: str) -> str:
    """Return the name, without suffix, of a file with facts about a repository that do not depend on the ref."""
    return add_hash(identity)
