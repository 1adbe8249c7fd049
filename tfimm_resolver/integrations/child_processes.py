"""Makes the processes that multiprocessing spawns import this package, as forked processes have it already."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping

from tfimm_resolver import settings
from tfimm_resolver._util.import_hooks import hook_import, is_imported, unhook_import
from tfimm_resolver.resolution import overrides

_PROCESS_MODULE = "multiprocessing.process"
_KEY = "tfimm_resolver"
_RECEIVE = """
try:
    from tfimm_resolver.integrations import child_processes
    child_processes.receive(*{!r})
    marker = child_processes.MARKER
except Exception:
    marker = None
"""


class _Marker:
    """Imports this package when it is unpickled, and sets what ``set_model_cache`` and ``set_dir`` have set.

    This never fails: the process may run another Python, without the package.
    """

    def __reduce__(self) -> tuple[object, tuple[str]]:
        override = settings.get_dir_override()
        state = (overrides.get_overrides(), (override.value, override.source) if override else None)
        return eval, (f"(lambda names: (exec({_RECEIVE.format(state)!r}, names), names['marker'])[1])({{}})",)


MARKER = _Marker()


def receive(models: Mapping[str, str], override: tuple[str, str] | None) -> None:
    """Set what another process has set; what this process has set itself is kept."""
    overrides.add_overrides(models)
    if override is not None and settings.get_dir_override() is None:
        settings.override_dir(*override)


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
