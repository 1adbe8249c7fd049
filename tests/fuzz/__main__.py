"""Fuzz all targets, or those named, for a time in all: with atheris where it is installed, else with hypothesis.

``python -m tests.fuzz [--seconds N] [--seed N] [--cases N] [TARGET...]``; ``--cases`` repeats a case that was reported.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys

from tests.fuzz import coverage_guided, driver, random_edits


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return 1 if there is a violation."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(driver.TARGETS))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=0)
    options = parser.parse_args(arguments)
    if unknown := {*options.targets} - {*driver.TARGETS}:
        parser.error(f"no target is called {', '.join(sorted(unknown))}")
    names = options.targets or [*driver.TARGETS]
    is_guided = importlib.util.find_spec("atheris") is not None
    seconds = options.seconds / len(names)
    failures = 0
    for name in names:
        if options.cases:
            report = driver.run(driver.TARGETS[name], options.seed, cases=options.cases)
            line, violations = f"{dict(report.outcomes)}", report.violations
        else:
            line, violations = (coverage_guided if is_guided else random_edits).run(name, seconds, options.seed)
        sys.stdout.write(f"{name}: {line}\n" + "".join(f"  {one}\n" for one in violations))
        sys.stdout.flush()
        failures += len(violations)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
