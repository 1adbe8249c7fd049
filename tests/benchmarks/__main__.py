"""``python -m tests.benchmarks``: compares this package with plain tensorflow_hub in the same run, and prints a table."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from tests.benchmarks.cases import CASES, ROUNDS
from tests.benchmarks.rows import HEAD
from tests.benchmarks.stand import Size, Stand


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the given cases and print rows; the exit code is nonzero if a case failed, not if a target was missed."""
    arguments = _make_parser().parse_args(argv)
    failed = []
    _print(_describe_machine())
    _print(HEAD)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        stand = Stand(Path(folder))
        for case in arguments.cases or CASES:
            size = Size(arguments.rounds or ROUNDS[case], arguments.size_mb)
            try:
                for row in CASES[case](stand, size):
                    _print(row.line())
            except RuntimeError as error:
                failed.append(f"{case}: {error}")
                stand.remove_cache("cold")
    if failed:
        sys.exit("\n".join(failed))


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", type=_parse_case, help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    parser.add_argument("--size-mb", type=float, default=500, help="of the large model, to which targets apply; default 500")
    return parser


def _parse_case(name: str) -> str:
    if name not in CASES:
        raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(CASES)}")
    return name


def _describe_machine() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("tfimm_resolver", "tensorflow-hub", "tensorflow"))
    return f"Python {platform.python_version()}, {packages}; {os.cpu_count()} processors"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
