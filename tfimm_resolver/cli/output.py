"""Output of the command line: data on stdout as tables or JSON, everything else on stderr."""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import click

from tfimm_resolver._util.outgoing import clean_text, clean_value, escape_controls, mask_secrets
from tfimm_resolver._util.tables import align_columns
from tfimm_resolver._util.terminal import is_terminal
from tfimm_resolver._util.text import format_count, format_size
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.progress import events

_GOOD = ("ok", "cached", "fetched", "published", "unchanged", "pinned", "updated", "adopted")
_BAD = ("damaged", "missing", "changed", "unpinned", "unsigned", "failed")
_COLOURS = {**dict.fromkeys(_GOOD, "green"), **dict.fromkeys(_BAD, "red")}
_PATH_KEYS = ("path", "directory", "models_config", "file", "found", "bundle", "extra_root", "bucket")
_ESCAPE, _STYLED = f"\ufdd0{os.urandom(8).hex()}", "TEXT"
"""Stands for the escape character of a style until the line is printed: a text from outside cannot contain it."""

_PLAIN = str.maketrans("…█▏▎▍▌▋▊▉", "~#-------")
_PLAIN_ERRORS = "tfimm_resolver.plain"


def allow_every_character(stream: IO[str] | None) -> None:
    """Let a stream, such as one in Latin-1, take characters that its encoding does not have: similar or escaped ones."""
    if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
        codecs.register_error(_PLAIN_ERRORS, _replace_unencodable)
        stream.reconfigure(errors=_PLAIN_ERRORS)


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


@dataclass
class Output:
    """The output options of one run, and the methods that print accordingly."""

    as_json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False
    is_debugging: bool = False
    colour: str = "auto"

    def print_line(self, line: str) -> None:
        """Print one line of data on stdout."""
        click.echo(_clean(line, clean_value), color=self._is_colourful(sys.stdout))

    def print_table(self, rows: Sequence[Sequence[str]]) -> None:
        """Print a table on stdout, with aligned columns."""
        if rows:  # one write, since each of ten thousand takes its time
            click.echo("\n".join(format_table(rows)).replace(_ESCAPE, "\x1b"), color=self._is_colourful(sys.stdout))

    def print_path(self, path: str) -> None:
        """Print a path on stdout: escaped, but not masked, since a program may open it."""
        click.echo(escape_controls(path), color=False)

    def print_json(self, facts: dict[str, Any]) -> None:
        """Print the data as one JSON object on stdout."""
        click.echo(json.dumps(_mask_facts(facts), indent=1))

    def print_message(self, line: str) -> None:
        """Print one message on stderr, which may have further lines; nothing with ``-q``."""
        if not self.is_quiet:
            self.print_failure(line)

    def print_failure(self, line: str) -> None:
        """Print on stderr what went wrong, also with ``-q``."""
        if events.prints_json():
            events.print_log(click.unstyle(_clean(line, clean_text)))
            return
        click.echo(_clean(line, clean_text), err=True, color=self._is_colourful(sys.stderr))

    def print_summary(self, line: str) -> None:
        """Print a summary line below a table, on a terminal only: a program that parses the table should not see it."""
        if is_terminal(sys.stdout) and not self.is_quiet:
            self.print_line(line)

    def print_error(self, error: ResolverError) -> None:
        """Print an error: as JSON on stdout with ``--json``, else on stderr."""
        if self.is_debugging and error.__traceback__ is not None:
            import traceback

            lines = "".join(traceback.format_exception(error)).splitlines()
            self.print_failure("\n  ".join(lines))  # what begins a line would be taken for text from outside
        if self.as_json:
            self.print_json({"error": error_to_json(error)})
        elif events.prints_json():
            events.print_log(clean_text(format_error(error)), "error")
        else:
            more = (
                f"\n  Explained by: tfimm-resolver explain {error.code}" if self.is_verbose and is_terminal(sys.stderr) else ""
            )
            self.print_failure(f"{style('error:', fg='red')} {format_error(error)}{more * (error.code != 'usage')}")

    def get_width(self) -> int | None:
        """Return the width of the terminal in columns; None if stdout is not a terminal."""
        return shutil.get_terminal_size().columns if is_terminal(sys.stdout) else None

    def _is_colourful(self, stream: IO[str] | None) -> bool:
        if self.colour != "auto":
            return self.colour == "always"
        return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


@contextlib.contextmanager
def suppress_native_stderr() -> Iterator[None]:
    """Hide what native code of TensorFlow writes to stderr, which no variable of TensorFlow can silence.

    It is printed after all if the body raises an exception that is not a ResolverError.
    """
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except ResolverError:
            raise
        except Exception:
            hidden.seek(0)
            os.write(stderr, hidden.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def error_to_json(error: ResolverError) -> dict[str, str]:
    """Return the fields of an error that ``--json`` prints."""
    return {"code": error.code, "text": error.text, "fix": error.advice.command}


def format_error(error: ResolverError) -> str:
    """Return the text of an error with the advice for a user of the command line."""
    return f"{error.text}\n  {error.advice.command}" if error.advice.command else error.text


def style(text: str, *, fg: str | None = None, bold: bool = False, dim: bool = False) -> str:
    """Return a text with styles for a line that is printed; its own escape sequences are escaped."""
    styled = click.style(_STYLED, fg=fg, bold=bold or None, dim=dim or None)
    return styled.replace("\x1b", _ESCAPE).replace(_STYLED, clean_value(text))


def style_state(state: str) -> str:
    """Return a state word in its colour."""
    return style(state, fg=_COLOURS.get(state))


def format_device(device: dict[str, Any]) -> str:
    """Return a line for one device of ``loader.variables_by_device``: its variables, their size, its name."""
    return f"{format_count(device['count'], 'variable')}, {format_size(device['size_bytes'])}, on {device['device']}"


def format_bar(value: int, maximum: int, cells: int = 12) -> str:
    """Return a bar of block characters, with a resolution of an eighth of a cell."""
    eighths = max(1, round(8 * cells * value / maximum)) if value else 0
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return one line per row, with aligned columns; colour codes do not count as width."""
    cleaned = [[_clean(cell, clean_value, _ESCAPE) for cell in row] for row in rows]
    return align_columns(cleaned, measure=_measure)


def _clean(text: str, clean: Callable[[str], str], escape: str = "\x1b") -> str:
    """Clean a text between the styles that ``style`` put there, and write these with the character ``escape``."""
    return escape.join(map(clean, text.split(_ESCAPE)))


def _measure(cell: str) -> int:
    return len(cell) if _ESCAPE not in cell else len(click.unstyle(cell.replace(_ESCAPE, "\x1b")))


def _mask_facts(value: Any, key: str = "") -> Any:
    """Mask the secrets in the texts of an object for JSON, which escapes control characters itself; paths stay exact."""
    if isinstance(value, dict):
        return {clean_value(name): _mask_facts(each, name) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mask_facts(each, key) for each in value]
    return mask_secrets(value) if isinstance(value, str) and key not in _PATH_KEYS else value
