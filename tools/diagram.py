"""Draws how a handle is resolved, as an SVG that follows the reader's light or dark mode; ``make reference`` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

_WIDTH, _BOX_WIDTH, _LINE, _GAP, _MARGIN = 760, 520, 18, 26, 16
_STYLE = """
    text { font: 14px system-ui, sans-serif; fill: #1f2328; }
    .head { font-weight: 600; }
    .note { fill: #59636e; font-size: 13px; }
    rect { fill: #f6f8fa; stroke: #8c959f; rx: 6; }
    .page { fill: #ffffff; stroke: none; }
    .end { fill: #dafbe1; stroke: #1a7f37; }
    path { stroke: #59636e; fill: none; stroke-width: 1.5; }
    marker path { fill: #59636e; stroke: none; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .note { fill: #9198a1; }
      rect { fill: #151b23; stroke: #656c76; }
      .page { fill: #0d1117; }
      .end { fill: #12261e; stroke: #3fb950; }
      path { stroke: #9198a1; }
      marker path { fill: #9198a1; }
    }
"""


@dataclass(frozen=True)
class Step:
    """One box: a headline, and lines of explanation; ``shortcut`` leads from it to the last box."""

    head: str
    lines: tuple[str, ...] = ()
    shortcut: str = ""

    @property
    def height(self) -> int:
        """The height of the box."""
        return _LINE * (1 + len(self.lines)) + 16


STEPS = (
    Step("a handle: URL, archive, bucket, repository, name", ("from resolve(), load(), hub.load() or the command line",)),
    Step(
        "which rule answers?",
        (
            "set_model_cache → tfimm-models.toml → names → local paths",
            "→ the source of its scheme (https, gs, s3, hf, kaggle, …)",
        ),
        "a local path",
    ),
    Step(
        "is it cached?",
        ("an extra root or the cache: a record, and files of its sizes;", "the sha256 of the pin, if there is one"),
        "yes",
    ),
    Step("one process takes the lock", ("the others wait, and then find the model in the cache",)),
    Step("download", ("from mirrors or the host; in ranges over several connections;", "an interrupted download is resumed")),
    Step("check and unpack, in a directory that nothing reads", ("checksums, pin, limits, names that leave the directory",)),
    Step("publish", ("rename; the record is written last",)),
    Step("a path that TensorFlow can load"),
)


def make_picture() -> str:
    """Return the SVG."""
    tops = []
    top = _MARGIN
    for step in STEPS:
        tops.append(top)
        top += step.height + _GAP
    height = top - _GAP + _MARGIN
    body = "\n".join([*_draw_boxes(tops), *_draw_arrows(tops)])
    title = "How a handle is resolved: rules, cache, lock, download, check, publish, path"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{title}">\n'
        f"  <title>{title}</title>\n  <style>{_STYLE}  </style>\n"
        '  <defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z"/></marker></defs>\n'
        f'  <rect class="page" width="{_WIDTH}" height="{height}"/>\n{body}\n</svg>\n'
    )


def _draw_boxes(tops: list[int]) -> Iterator[str]:
    for step, top in zip(STEPS, tops, strict=True):
        kind = ' class="end"' if step is STEPS[-1] else ""
        yield f'  <rect{kind} x="{_MARGIN}" y="{top}" width="{_BOX_WIDTH}" height="{step.height}"/>'
        yield f'  <text class="head" x="{_MARGIN + 14}" y="{top + 22}">{escape(step.head)}</text>'
        for number, line in enumerate(step.lines, start=1):
            yield f'  <text class="note" x="{_MARGIN + 14}" y="{top + 22 + number * _LINE}">{escape(line)}</text>'


def _draw_arrows(tops: list[int]) -> Iterator[str]:
    middle, right = _MARGIN + _BOX_WIDTH // 2, _MARGIN + _BOX_WIDTH
    for step, top in list(zip(STEPS, tops, strict=True))[:-1]:
        bottom = top + step.height
        yield f'  <path d="M{middle} {bottom} V{bottom + _GAP - 2}" marker-end="url(#tip)"/>'
    last = tops[-1] + STEPS[-1].height // 2
    for step, top in zip(STEPS, tops, strict=True):
        if step.shortcut:
            y, turn = top + step.height // 2, _WIDTH - _MARGIN - 40
            yield f'  <path d="M{right} {y} H{turn} V{last} H{right + 3}" marker-end="url(#tip)"/>'
            yield f'  <text x="{right + 14}" y="{y - 7}">{escape(step.shortcut)}</text>'
