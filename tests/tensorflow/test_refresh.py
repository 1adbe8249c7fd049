"""Processes load a model in a loop while another process refreshes it with different content."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from tests.fakes.archives import files_in, tar_gz
from tests.fakes.fork_server import ForkServer
from tests.fakes.origin import Origin
from tests.fakes.processes import wait_until
from tests.tensorflow.models import save_line
from tfimm_resolver import resolve

LOAD = """
    import pathlib, sys, tfimm_resolver
    import tensorflow as tf
    stop, ready, seen, loads = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), set(), 0
    while not stop.exists():
        model = tfimm_resolver.load(sys.argv[1])
        slope, offset = float(model.slope), float(model.offset)
        assert slope == offset, (slope, offset)
        assert float(model(tf.constant([1.0]))[0]) == 2 * slope
        if slope not in seen:
            seen.add(slope)
            ready.write_bytes(b"x" * len(seen))
        loads += 1
    print(loads, len(seen))
"""


def has_loaded(ready: list[Path], contents: int) -> bool:
    """Whether each process has loaded so many versions."""
    return all(path.stat().st_size >= contents for path in ready)


@pytest.mark.parametrize("processes", [3, pytest.param(8, marks=pytest.mark.long)])
def test_no_load_fails_or_mixes_while_another_process_refreshes(
    processes: int, origin: Origin, tmp_path: Path, server: ForkServer
) -> None:
    archives = [
        tar_gz(files_in(save_line(tmp_path / f"line{number}", slope=number / 8, offset=number / 8))) for number in range(1, 9)
    ]
    handle = origin.put("/m.tar.gz", archives[0])
    resolve(handle)
    ready = [tmp_path / f"ready{number}" for number in range(processes)]
    readers = [server.start(LOAD, handle, str(tmp_path / "stop"), str(path)) for path in ready]
    wait_until(lambda: all(path.exists() for path in ready), 120)
    for number, archive in enumerate(archives[1:]):
        origin.put("/m.tar.gz", archive)
        resolve(handle, refresh=True)
        time.sleep(0.5)
        if number in (2, 5):  # by now each has loaded another version
            wait_until(partial(has_loaded, ready, 2 + number // 3))
    (tmp_path / "stop").touch()
    for reader in readers:
        out, err = reader.communicate(timeout=60)
        assert reader.returncode == 0, err
        loads, contents = map(int, out.split())
        assert loads >= contents > 2, "each process should have loaded several versions"
