"""The cases, functions from a stand to rows, and their default numbers of rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.benchmarks.base import base, kills
from tests.benchmarks.bucket import bucket
from tests.benchmarks.cold import cold, fetch_shaped
from tests.benchmarks.crowd import crowd
from tests.benchmarks.fleet import fleet
from tests.benchmarks.herd import herd
from tests.benchmarks.hits import command_line, import_packages, warm
from tests.benchmarks.inspection import inspection
from tests.benchmarks.limits import limits
from tests.benchmarks.load import load
from tests.benchmarks.maintenance import maintain
from tests.benchmarks.resume import resume
from tests.benchmarks.rows import Row
from tests.benchmarks.small import small
from tests.benchmarks.stand import Size, Stand

CASES: dict[str, Callable[[Stand, Size], Iterator[Row]]] = {
    "import": import_packages,
    "cli": command_line,
    "warm": warm,
    "base": base,
    "load": load,
    "inspect": inspection,
    "crowd": crowd,
    "small": small,
    "cold": cold,
    "shaped": fetch_shaped,
    "resume": resume,
    "herd": herd,
    "kills": kills,
    "fleet": fleet,
    "bucket": bucket,
    "maintain": maintain,
    "limits": limits,
}
ROUNDS = dict.fromkeys(CASES, 5) | {
    "import": 10,
    "cli": 10,
    "warm": 7,
    "base": 15,
    "kills": 3,
    "small": 9,
    "load": 9,
    "inspect": 7,
}
