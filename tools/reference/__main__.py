"""``python -m tools.reference`` writes generated pages and pictures below docs/; a test checks that they are current."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tools import diagram, fleet
from tools.reference import api, commands, events, exit_codes, json_output, notebooks, security, variables

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "api.md": api.make_page,
    "commands.md": commands.make_page,
    "event_schemas.json": events.make_schemas,
    "events.md": events.make_page,
    "exit_codes.md": exit_codes.make_page,
    "json.md": json_output.make_page,
    "json_schemas.json": json_output.make_schemas,
    "variables.md": variables.make_page,
    "../security.md": security.make_page,
    "../guides/troubleshooting.md": security.make_troubleshooting_page,
    **notebooks.list_pages(),
    "../images/way_of_a_handle.svg": diagram.make_picture,
    "../images/fleet.svg": fleet.make_picture,
}
_NEUTRAL = ("HOME", "LANG", "PATH", "PYTHONPATH", "SYSTEMROOT", "VIRTUAL_ENV")


def main() -> None:
    """Write each page, in a process whose environment sets nothing that a page could show."""
    if os.environ.get("TFIMM_REFERENCE") != "1":
        environment = {name: value for name, value in os.environ.items() if name in _NEUTRAL}
        command = [sys.executable, "-m", "tools.reference"]
        sys.exit(subprocess.call(command, cwd=FOLDER.parents[1], env={**environment, "TFIMM_REFERENCE": "1"}))
    for name, make in PAGES.items():
        (FOLDER / name).parent.mkdir(exist_ok=True)
        (FOLDER / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
