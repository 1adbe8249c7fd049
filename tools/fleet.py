"""Draws how long fleets of workers wait for a model, as an SVG; ``make reference`` writes it from the simulation."""

from __future__ import annotations

import math
from collections.abc import Iterator

from tests.benchmarks.fleet_model import WAYS, Parameters

WORKERS = (1, 2, 4, 8, 16, 32, 64, 125, 250, 500, 1000)
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 400, 64, 150, 40, 56
_SECONDS_MIN, _SECONDS_MAX = 1.0, 10_000.0
_NAMES = {"alone": "each alone", "bucket": "cache in a bucket", "ray": "Ray"}
_STYLE = """
    text { font: 14px system-ui, sans-serif; fill: #1f2328; }
    .note { fill: #59636e; font-size: 13px; }
    .page { fill: #ffffff; }
    .grid { stroke: #d1d9e0; stroke-width: 1; }
    polyline { fill: none; stroke-width: 2.5; }
    .alone { stroke: #cf222e; } .bucket { stroke: #0969da; } .ray { stroke: #1a7f37; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .note { fill: #9198a1; }
      .page { fill: #0d1117; }
      .grid { stroke: #3d444d; }
      .alone { stroke: #f85149; } .bucket { stroke: #4493f8; } .ray { stroke: #3fb950; }
    }
"""


def make_picture() -> str:
    """Return the SVG."""
    title = "Seconds until the last worker has a model of 500 MB, by the number of workers: each alone, by a bucket, by Ray"
    body = "\n".join([*_draw_grid(), *_draw_lines()])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title}">\n'
        f"  <title>{title}</title>\n  <style>{_STYLE}  </style>\n"
        f'  <rect class="page" width="{_WIDTH}" height="{_HEIGHT}"/>\n{body}\n</svg>\n'
    )


def _draw_grid() -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for seconds in (1, 10, 100, 1000, 10_000):
        y = _get_y(seconds)
        yield f'  <line class="grid" x1="{_LEFT}" y1="{y}" x2="{right}" y2="{y}"/>'
        yield f'  <text class="note" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{seconds:,}</text>'
    for workers in (1, 4, 16, 64, 250, 1000):
        x = _get_x(workers)
        yield f'  <line class="grid" x1="{x}" y1="{_TOP}" x2="{x}" y2="{bottom}"/>'
        yield f'  <text class="note" x="{x}" y="{bottom + 18}" text-anchor="middle">{workers:,}</text>'
    yield f'  <text x="{_LEFT}" y="24">seconds until the last worker has a model of 500 MB</text>'
    yield f'  <text x="{(_LEFT + right) // 2}" y="{_HEIGHT - 14}" text-anchor="middle">workers</text>'


def _draw_lines() -> Iterator[str]:
    for way, run in WAYS.items():
        times = [run(workers, Parameters()).seconds for workers in WORKERS]
        points = " ".join(f"{_get_x(count)},{_get_y(seconds)}" for count, seconds in zip(WORKERS, times, strict=True))
        yield f'  <polyline class="{way}" points="{points}"/>'
        yield f'  <text x="{_WIDTH - _RIGHT + 8}" y="{_get_y(times[-1]) + 5}">{_NAMES[way]}</text>'


def _get_x(workers: int) -> int:
    return _LEFT + round((_WIDTH - _RIGHT - _LEFT) * math.log(workers) / math.log(WORKERS[-1]))


def _get_y(seconds: float) -> int:
    part = math.log(seconds / _SECONDS_MIN) / math.log(_SECONDS_MAX / _SECONDS_MIN)
    return _HEIGHT - _BOTTOM - round((_HEIGHT - _BOTTOM - _TOP) * part)
