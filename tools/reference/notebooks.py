"""Shows the notebooks as pages: their text, code and saved outputs, with the pictures inside the page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tools.reference.markdown import GENERATED

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = ("first_steps", "colab_tpu", "shared_cache", "inspect_and_pin")

_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


def list_pages() -> dict[str, Any]:
    """Return the function that makes each page, by the page's path from the reference."""
    return {f"../notebooks/{name}.md": partial(make_page, name) for name in NAMES}


def make_page(name: str) -> str:
    """Return the page of a notebook."""
    cells = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    title, *parts = _format_cells(cells)
    note = f"The notebook is `notebooks/{name}.ipynb` in the repository; the outputs below are those saved in it."
    return GENERATED + "\n\n".join([title, note, *parts]) + "\n"


def _format_cells(cells: list[dict[str, Any]]) -> Iterator[str]:
    heading = ""
    for cell in cells:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = found[1] if (found := _HEADING.search(source)) else heading
            yield source
        else:
            yield _make_block("python", source)
            yield from (_format_output(output, heading) for output in cell["outputs"])


def _format_output(output: Mapping[str, Any], heading: str) -> str:
    """Return an output as a picture, HTML or text; ``heading`` says what a picture belongs to."""
    data = output.get("data", {})
    if "image/png" in data:
        picture = "".join(data["image/png"]).replace("\n", "")
        return f"![{heading}](data:image/png;base64,{picture})"
    if "text/html" in data:
        return "".join(data["text/html"])
    return _make_block("text", _COLOR.sub("", "".join(output.get("text") or data["text/plain"])))


def _make_block(language: str, text: str) -> str:
    return f"```{language}\n{text.strip()}\n```"
