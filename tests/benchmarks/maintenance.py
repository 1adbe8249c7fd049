"""Commands on a cache of ten thousand models: listing it, measuring it, and deciding what a prune removes."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.rows import Row
from tests.benchmarks.stand import Size, Stand
from tfimm_resolver.cache.record import Record
from tfimm_resolver.manifest import FileEntry

_COUNT, _FILE = 10_000, b"0123456789"
_PATHS = ("assets/vocab.txt", "saved_model.pb", "variables/variables.data-00000-of-00001", "variables/variables.index")
_COMMANDS = {
    "ls, processor time": (["ls"], 1.5),
    "ls --sort size, processor time": (["ls", "--sort", "size", "--filter", "size>1B"], 1.5),
    "du, processor time": (["du"], 1.5),
    "rm --all --dry-run, processor time": (["rm", "--all", "--dry-run"], None),
}
_DECIDE = """
    import time
    from tfimm_resolver import maintenance
    started_s = time.process_time()
    result = maintenance.prune(max_size="{}B", dry_run=True)
    print(len(result.removed), time.process_time() - started_s)
"""


def maintain(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure the commands; a prune removes a tenth of the models in a dry run."""
    _fill(stand.folder / "cache")
    command = str(Path(sys.executable).with_name("tfimm-resolver"))
    seconds: dict[str, list[float]] = {name: [] for name in (*_COMMANDS, "a prune's decision, processor time")}
    decide = textwrap.dedent(_DECIDE).format(
        _COUNT * len(_PATHS) * len(_FILE) - 1
    )  # a byte too much, so that it evicts down to nine tenths
    for turn in range(-1, size.rounds):
        for name, (arguments, _) in _COMMANDS.items():
            started_s = _get_processor_s()
            stand.process([command, *arguments])
            seconds[name] += [_get_processor_s() - started_s] * (turn >= 0)
        removed, seconds_text = stand.python(decide).words[-2:]
        assert int(removed) == _COUNT // 10 + 1, removed
        seconds["a prune's decision, processor time"] += [float(seconds_text)] * (turn >= 0)
    stand.remove_cache("cache")
    for name, values in seconds.items():
        yield Row("maintain", name, "s", values, below=_COMMANDS[name][1] if name in _COMMANDS else 1)


def _get_processor_s() -> float:
    """Return the processor time of all ended children: on a machine with other work the time on the clock says little."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _fill(root: Path) -> None:
    """Make a cache of models that were used long ago."""
    root.mkdir()
    files = tuple(FileEntry(path, len(_FILE), "0" * 64) for path in _PATHS)
    for number in range(_COUNT):
        handle = f"https://models.example/team/model-{number}/1.tar.gz"
        tree = root / hashlib.sha1(handle.encode(), usedforsecurity=False).hexdigest()
        for path in _PATHS:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(_FILE)
            os.utime(tree / path, (number, number))
        os.utime(tree, (number, number))
        record = Record(handle, tree.name, "2026-01-01T00:00:00Z", files=files)
        tree.with_name(f"{tree.name}.descriptor.txt").write_text(record.to_text("host"))
