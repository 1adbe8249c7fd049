"""Whether output goes to a terminal, a notebook, or neither."""

from __future__ import annotations

import sys
from typing import IO


def is_terminal(stream: IO[str] | None) -> bool:
    """Return whether a stream is a terminal; it may be closed, or None."""
    return stream is not None and not stream.closed and stream.isatty()


def is_notebook() -> bool:
    """Return whether the code runs in a notebook, whose output is shown below the cell."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # the latter is Colab's
