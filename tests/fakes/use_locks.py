"""Ends this process's use of models, as if it had not resolved them itself, so that other processes may remove them."""

from __future__ import annotations

from tfimm_resolver.locking import use_lock


def give_up_all() -> None:
    """Give up every use lock of this process."""
    for tree in list(use_lock._held):
        use_lock.give_up(tree)
