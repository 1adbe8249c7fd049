"""A fuzz target: what it reads, what it may do with that, and the check of one input."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import re
import resource
import shutil
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from tfimm_resolver.errors import ResolverError

HANG_S = 20
"""How long one input may take, on a busy machine: far above what any of these small ones needs."""

MEMORY_BYTES_MAX = 300 << 20
"""How far one input may raise the largest size of the process."""

TEXT_MAX = 20_000
_UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


class ViolationError(Exception):
    """An input broke a rule; not an OSError, which the package would take for one of the disk."""


@dataclass(frozen=True)
class Target:
    """Something that reads data of others.

    Attributes:
        name: for the command line.
        run: reads one input; the directory is empty, and is where it may write. Raises ``expected``, or nothing.
        make_seeds: returns inputs that are valid, or nearly: they have to reach deep.
        tokens: texts that change the meaning of an input, which are inserted into it.
        expected: the errors that this target may raise.
    """

    name: str
    run: Callable[[bytes, Path], object]
    make_seeds: Callable[[], list[bytes]]
    tokens: tuple[bytes, ...] = ()
    expected: tuple[type[Exception], ...] = (ResolverError,)


def check(target: Target, data: bytes) -> str:
    """Run a target with one input in a directory of its own; return "accepted" or "refused".

    Raises:
        ViolationError: if it raised another error, wrote elsewhere, took long, or used much memory.
    """
    with tempfile.TemporaryDirectory() as name, _hide_messages(), _limit_time(target):
        folder = Path(name)
        (folder / "into").mkdir()
        (folder / "victim").write_bytes(b"untouched")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcome = "accepted"
        try:
            target.run(data, folder / "into")
        except target.expected as error:
            outcome = "refused"
            _check_text(error)
        except ViolationError:
            raise
        except Exception as error:
            raise ViolationError(f"{target.name}: {type(error).__name__}: {error}") from error
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        if grown > MEMORY_BYTES_MAX:
            raise ViolationError(f"{target.name}: the process grew by {grown >> 20} MiB")
        _check_folder(target, folder)
        return outcome


def _check_text(error: Exception) -> None:
    text = error.text if isinstance(error, ResolverError) else ""
    if _UNPRINTABLE.search(text) or len(text) > TEXT_MAX:
        raise ViolationError(f"the message is long, or would change a terminal: {text[:200]!a}") from error


def _check_folder(target: Target, folder: Path) -> None:
    if sorted(os.listdir(folder)) != ["into", "victim"] or (folder / "victim").read_bytes() != b"untouched":
        raise ViolationError(f"{target.name}: there is something outside of the directory: {os.listdir(folder)}")


@contextlib.contextmanager
def _hide_messages() -> Iterator[None]:
    """Hide log records and warnings, which are expected for damaged input."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _limit_time(target: Target) -> Iterator[None]:
    def raise_violation(_: int, __: FrameType | None) -> None:
        faulthandler.dump_traceback()
        raise ViolationError(f"{target.name}: no result within {HANG_S} s")

    before = signal.signal(signal.SIGALRM, raise_violation)
    signal.alarm(HANG_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def clear(folder: Path) -> None:
    """Empty a directory."""
    shutil.rmtree(folder)
    folder.mkdir()
