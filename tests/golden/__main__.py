"""``python -m tests.golden``: shows how the behaviour of the working tree differs from that of a base commit."""

from __future__ import annotations

import argparse
import concurrent.futures
import fnmatch
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.golden import compare, trees
from tests.golden.compare import Accepted, Difference, Recording
from tests.golden.registry import SCENARIOS
from tests.golden.scenarios import load_all
from tests.golden.stage import Stage, WrongTreeError

BASE = compare.read_base(compare.ACCEPTED_FILE)
EXIT_DIFFERENT, EXIT_FAILED = 1, 2
_FOLDER_LENGTH = 64
"""All roots have paths of this length, so that tables have the same column widths."""


class ScenarioError(Exception):
    """A scenario has a bug, so its result says nothing about the trees; the cause is its exception."""


def main(
    argv: Sequence[str] | None = None,
    *,
    repository: Path = trees.REPOSITORY,
    base: str = BASE,
    accepted_file: Path = compare.ACCEPTED_FILE,
) -> int:
    """Run the command line; return 0 if there are only accepted differences.

    Args:
        argv: the command line.
        repository: the clone whose commits and working tree are compared.
        base: the commit to which differences are accepted.
        accepted_file: the list of accepted differences.
    """
    load_all()
    arguments = _make_parser(base).parse_args(argv)
    names = _select_names(arguments.only)
    if not names:
        return _fail(f"no scenario matches {', '.join(arguments.only)}; --list shows their names")
    if arguments.list:
        for name in names:
            _print(f"{name:<36} {(SCENARIOS[name].__doc__ or '').splitlines()[0]}")
        return 0
    try:
        if arguments.set_base:
            compare.write_accepted(Accepted(trees.find_commit(arguments.set_base, repository), {}), accepted_file)
            return 0
        with tempfile.TemporaryDirectory(prefix="golden-") as folder:
            sides = _prepare_trees(arguments, Path(folder), repository)
            if arguments.show:
                for name, recordings in _run_all(names, sides[1:], arguments.jobs):
                    _show(name, recordings[0])
                return 0
            commit = trees.find_commit(arguments.base, repository)
            is_usual = not arguments.against and commit == trees.find_commit(base, repository)
            if arguments.accept and not is_usual:
                return _fail(f"--accept is for differences between {base} and the working tree only")
            accepted = compare.read_accepted(accepted_file, commit) if is_usual else Accepted(commit, {})
            return _compare(arguments, names, sides, accepted, accepted_file)
    except (trees.CommitError, WrongTreeError) as error:
        return _fail(str(error))
    except ScenarioError as error:
        traceback.print_exception(error.__cause__)
        return _fail(str(error))


def _make_parser(base: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("--base", metavar="COMMIT", default=base, help="default %(default)s, which the accepted list is for")
    parser.add_argument("--set-base", metavar="COMMIT", help="begin an empty list of intended differences to this commit")
    parser.add_argument("--against", metavar="COMMIT", help="compare with this commit instead of the working tree")
    parser.add_argument("--only", metavar="NAME", action="append", default=[], help="only these scenarios; * matches any text")
    parser.add_argument("--list", action="store_true", help="list the scenarios, and run none")
    parser.add_argument("--show", action="store_true", help="print all that is recorded of the second tree; compare nothing")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="how many scenarios at once; default %(default)s")
    parser.add_argument("--accept", metavar="REASON", help="write what differs now into the list of intended differences")
    return parser


def _prepare_trees(arguments: argparse.Namespace, folder: Path, repository: Path) -> list[Path]:
    """Return the base tree and the one that is compared with it."""
    base = trees.check_out(trees.find_commit(arguments.base, repository), folder / "base", repository)
    if not arguments.against:
        return [base, repository]
    return [base, trees.check_out(trees.find_commit(arguments.against, repository), folder / "against", repository)]


def _select_names(patterns: Sequence[str]) -> list[str]:
    return [name for name in SCENARIOS if not patterns or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def _compare(
    arguments: argparse.Namespace, names: Sequence[str], sides: Sequence[Path], accepted: Accepted, accepted_file: Path
) -> int:
    started_s = time.monotonic()
    found: list[Difference] = []
    for name, (before, after) in _run_all(names, sides, arguments.jobs):
        found += compare.find_differences(name, before, after)
    if arguments.accept:
        return _accept(arguments.accept, accepted, found, names, accepted_file)
    return _report(found, accepted, names, time.monotonic() - started_s)


def _run_all(names: Sequence[str], sides: Sequence[Path], jobs: int) -> Iterator[tuple[str, list[Recording]]]:
    """Run every scenario with every tree; the order of names stays."""
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        running = [(name, [pool.submit(run, name, tree) for tree in sides]) for name in names]
        try:
            for name, futures in running:
                try:
                    recordings = [future.result() for future in futures]
                except WrongTreeError:
                    raise
                except Exception as error:
                    raise ScenarioError(f"the scenario {name} is at fault") from error
                yield name, recordings
        finally:
            pool.shutdown(cancel_futures=True)


def run(name: str, tree: Path) -> Recording:
    """Run one scenario with one tree, in a directory of its own; return what it showed."""
    folder = _make_folder()
    try:
        with Stage(folder, tree) as stage:
            SCENARIOS[name](stage)
        return stage.recording
    finally:
        shutil.rmtree(folder)


def _make_folder() -> Path:
    filling = _FOLDER_LENGTH - len(os.path.join(tempfile.gettempdir(), "golden-12345678-"))
    return Path(tempfile.mkdtemp(prefix="golden-", suffix="-" + "x" * max(0, filling)))


def _accept(reason: str, accepted: Accepted, found: Iterable[Difference], names: Sequence[str], file: Path) -> int:
    new, gone = compare.split(found, accepted.reasons, names)
    reasons: Mapping[Difference, str] = {
        **{one: why for one, why in accepted.reasons.items() if one not in gone},
        **dict.fromkeys(new, reason),
    }
    compare.write_accepted(Accepted(accepted.base, reasons), file)
    _print(f"accepted {len(new)} differences, removed {len(gone)} that are not there any more")
    return 0


def _report(found: Sequence[Difference], accepted: Accepted, names: Sequence[str], seconds: float) -> int:
    new, gone = compare.split(found, accepted.reasons, names)
    for one in new:
        _print(f"=== {one.scenario}: {one.section}\n{one.context}\n")
    for one in gone:
        reason = accepted.reasons[one]
        _print(f"=== {one.scenario}: {one.section}\naccepted, but not there any more ({reason}):\n{one.diff}\n")
    _print(
        f"{len(names)} scenarios in {seconds:.0f} s: {len(new)} new differences, "
        f"{len(found) - len(new)} accepted, {len(gone)} accepted but gone"
    )
    return EXIT_DIFFERENT if new or gone else 0


def _show(name: str, recording: Recording) -> None:
    _print(f"=== {name}")
    for section, lines in recording.items():
        _print(f"--- {section}")
        for line in lines:
            _print(f"  {line}")


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _fail(reason: str) -> int:
    sys.stderr.write(f"error: {reason}\n")
    return EXIT_FAILED


if __name__ == "__main__":
    sys.exit(main())
