"""Makes the processes that multiprocessing spawns import this package, as forked processes have it already."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from tfimm_resolver._util.import_hooks import hook_import, is_imported, unhook_import

_PROCESS_MODULE = "multiprocessing.process"
_KEY = "tfimm_resolver"
_IMPORT = """
try:
    from tfimm_resolver.integrations.child_processes import MARKER
except Exception:
    MARKER = None
"""
_EVALUATE = f"(lambda names: (exec({_IMPORT!r}, names), names['MARKER'])[1])({{}})"


class _Marker:
    """Imports this package when it is unpickled. This never fails: the process may run another Python, without the package."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (_EVALUATE,)


MARKER = _Marker()


def mark() -> None:
    """Put the marker into what a process passes on to those that it spawns, now or as soon as multiprocessing is imported.

    A process hands the settings of ``multiprocessing.current_process()`` to its children, and these to theirs.
    """
    hook_import(_PROCESS_MODULE, _mark_after_import)


def unmark() -> None:
    """Remove the marker."""
    unhook_import(_PROCESS_MODULE)
    if is_imported(_PROCESS_MODULE):
        _get_config().pop(_KEY, None)


@contextlib.contextmanager
def _mark_after_import() -> Iterator[None]:
    yield
    _get_config()[_KEY] = MARKER


def _get_config() -> dict[str, object]:
    module = sys.modules.get(_PROCESS_MODULE)
    current = module.current_process() if module is not None else None
    config: dict[str, object] = getattr(current, "_config", {})
    return config
