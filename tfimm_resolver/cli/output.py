"""How the command line speaks: data on stdout as tables or JSON, all else on stderr, colour only where it is wanted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import click

from tfimm_resolver._util.terminal import is_terminal
from tfimm_resolver._util.text import format_size
from tfimm_resolver.errors import ResolverError

_GOOD = ("whole", "there", "fetched", "same", "pinned", "updated")
_BAD = ("damaged", "missing", "differs", "changed", "unpinned", "failed")
_COLOURS = {**dict.fromkeys(_GOOD, "green"), **dict.fromkeys(_BAD, "red")}
_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))


@dataclass
class Output:
    """What the options of one run say."""

    as_json: bool = False
    is_quiet: bool = False
    colour: str = "auto"

    def data(self, line: str) -> None:
        """One line of what was asked for."""
        click.echo(line, color=self._is_colourful(sys.stdout))

    def facts(self, facts: dict[str, Any]) -> None:
        """What was asked for, as JSON."""
        click.echo(json.dumps(facts, indent=1))

    def say(self, line: str) -> None:
        """One line beside the data."""
        click.echo(line, err=True, color=self._is_colourful(sys.stderr))

    def sum(self, line: str) -> None:
        """One line that closes a table; a program that reads the table does not want it."""
        if is_terminal(sys.stdout) and not self.is_quiet:
            self.data(line)

    def error(self, error: ResolverError) -> None:
        """An error in the form that was asked for; it is data for a program that reads JSON."""
        if self.as_json:
            self.facts({"error": error_to_json(error)})
        else:
            self.say(f"{click.style('error:', fg='red')} {error}")

    def columns(self) -> int | None:
        """How wide the terminal is; None where stdout is none."""
        return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None

    def _is_colourful(self, stream: IO[str] | None) -> bool:
        if self.colour != "auto":
            return self.colour == "always"
        return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


@contextlib.contextmanager
def suppress_native_stderr() -> Iterator[None]:
    """Keep TensorFlow's native chatter from stderr; no variable of its own does that any more.

    It comes back where the body fails for a reason that this package does not know.
    """
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            yield
        except ResolverError:
            raise
        except Exception:
            chatter.seek(0)
            os.write(stderr, chatter.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def error_to_json(error: ResolverError) -> dict[str, str]:
    """An error in the words of ``--json``."""
    return {"code": error.code, "text": error.text, "fix": error.fix}


def state(word: str) -> str:
    """A word of state in its colour."""
    return click.style(word, fg=_COLOURS.get(word))


def format_age(when_s: float) -> str:
    """A time for people: ``9 d ago``; nothing where it is unknown."""
    if not when_s:
        return ""
    passed_s = time.time() - when_s
    for unit_s, unit in _UNITS:
        if passed_s >= unit_s:
            return f"{passed_s // unit_s:.0f} {unit} ago"
    return "just now"


def count(number: int, noun: str) -> str:
    """``1 model``, ``2 models``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_device(place: dict[str, Any]) -> str:
    """How many variables live on one device, as ``loading.places_of`` tells it."""
    return f"{count(place['count'], 'variable')}, {format_size(place['size_bytes'])}, on {place['device']}"


def format_bar(part: int, whole: int, cells: int = 12) -> str:
    """A bar in eighths of a cell."""
    eighths = max(1, round(8 * cells * part / whole)) if part else 0
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows with aligned columns; styles take no room."""
    widths = [max(len(click.unstyle(cell)) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = (cell + " " * (width - len(click.unstyle(cell))) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(padded).rstrip())
    return lines
