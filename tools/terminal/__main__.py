"""``make pictures`` records every session and draws it below docs/images/.

``python -m tools.terminal [--text] [NAME...]`` restricts this to some sessions; ``--text`` prints them and writes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tools.terminal import drawing, recording, screen
from tools.terminal.sessions import COLUMNS, SESSIONS, get_picture

IMAGES = recording.REPOSITORY / "docs" / "images"


def main(arguments: Sequence[str] = (), images: Path = IMAGES) -> None:
    """Record the sessions that are named, or all."""
    names = [one for one in arguments if one != "--text"] or list(SESSIONS)
    for name in names:
        session = SESSIONS[name]
        lines = recording.record(session)
        if "--text" in arguments:
            sys.stdout.write(screen.read_text(lines) + "\n")
        else:
            (images / get_picture(name)).write_text(drawing.draw(lines, session.title, COLUMNS), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
