"""Finds out whether asyncio still waits for the call that this thread runs for it.

A coroutine that awaits ``asyncio.to_thread(resolve, handle)`` or ``loop.run_in_executor`` can be cancelled, for example by
``asyncio.wait_for``. asyncio has no way to pass that on to the thread, which goes on, and the end of ``asyncio.run`` waits
for it. So this looks for the future in the frames of ``concurrent.futures``; in a Python that has other frames it finds none,
and the call then only ends by itself.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Any


def find_abandoned_check() -> Callable[[], bool] | None:
    """Return a function that says whether asyncio gave up the call in which this thread is; None if asyncio did not make it.

    Cheap outside of an executor's threads: a cached model is found in microseconds.
    """
    module = sys.modules.get("concurrent.futures.thread")
    if module is None or "asyncio" not in sys.modules or threading.get_ident() == threading.main_thread().ident:
        return None
    with contextlib.suppress(AttributeError, KeyError):  # another Python, with other frames
        run, frame = module._WorkItem.run.__code__, sys._getframe()
        while frame.f_back is not None:
            frame = frame.f_back
            if frame.f_code is run:
                return _make_check(frame.f_locals["self"].future)
    return None


def _make_check(future: Any) -> Callable[[], bool]:
    def is_abandoned() -> bool:
        """Whether the asyncio future that was to receive the result has been cancelled."""
        # Looked for at each call: asyncio connects the two only after the thread may have started.
        for callback in list(getattr(future, "_done_callbacks", ())):
            names = getattr(getattr(callback, "__code__", None), "co_freevars", ())
            if "destination" in names and _is_cancelled(callback.__closure__[names.index("destination")].cell_contents):
                return True
        return False

    return is_abandoned


def _is_cancelled(future: Any) -> bool:
    """Whether a future has been cancelled; False for anything else."""
    is_cancelled = getattr(future, "cancelled", None)
    return callable(is_cancelled) and bool(is_cancelled())
