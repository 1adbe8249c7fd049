"""Where output goes: a terminal, a notebook, or neither."""

from __future__ import annotations

import sys
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    pass


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether somebody looks at the stream; it may be closed, or missing."""
    return stream is not None and not stream.closed and stream.isatty()


def is_notebook() -> bool:
    """Whether IPython runs where its output is shown below the code."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ in ("ZMQInteractiveShell", "Shell")  # the latter is Colab's
