"""``python -m tests.soak [--seconds N] [--seed N]``: processes use one cache at random; exits 1 if anything went wrong."""

from __future__ import annotations

import argparse
import random
import sys

from tests.soak.driver import Soak


def main() -> int:
    """Run the test; print the seed, which repeats the schedule, and what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--seconds", type=float, default=600.0, help="how long processes are started (600)")
    parser.add_argument("--seed", type=int, default=None, help="the schedule; by default another one each time")
    parser.add_argument("--processes", type=int, default=6, help="how many run at the same time (6)")
    arguments = parser.parse_args()
    seed = random.randrange(1 << 31) if arguments.seed is None else arguments.seed
    sys.stdout.write(f"seed {seed}, {arguments.seconds:g} s, {arguments.processes} processes\n")
    sys.stdout.flush()
    soak = Soak(seed, arguments.seconds, arguments.processes)
    soak.run()
    counts = ", ".join(f"{count} {name}" for name, count in sorted(soak.counts.items()))
    faults = "".join(f"FAULT: {fault}\n" for fault in soak.faults[:10])
    sys.stdout.write(f"{counts}\n{faults}{len(soak.faults)} faults; to repeat the schedule: --seed {seed}\n")
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
