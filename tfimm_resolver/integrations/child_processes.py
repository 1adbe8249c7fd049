"""Makes the processes that multiprocessing spawns import this package, as forked processes have it already."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from tfimm_resolver._util.import_hooks import hook_import, is_imported, unhook_import
from tfimm_resolver.integrations import worker_state

_PROCESS_MODULE = "multiprocessing.process"
_KEY = "tfimm_resolver"
_RECEIVE = """
try:
    from tfimm_resolver.integrations import child_processes, worker_state
    worker_state.receive({!r})
    marker = child_processes.MARKER
except Exception:
    marker = None
"""


class _Marker:
    """Imports this package when it is unpickled, and sets what the parent process has set.

    This never fails: the process may run another Python, without the package.
    """

    def __reduce__(self) -> tuple[object, tuple[str]]:
        state = worker_state.capture_for_child(has_old_environment=_uses_fork_server())
        return eval, (f"(lambda names: (exec({_RECEIVE.format(state)!r}, names), names['marker'])[1])({{}})",)


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


def _uses_fork_server() -> bool:
    """Whether the child is forked from a server, whose environment is that of this process when it started the server."""
    context = sys.modules.get("multiprocessing.context")
    popen = context.get_spawning_popen() if context is not None else None
    return getattr(popen, "method", "") == "forkserver"
