"""Memory and time under hostile input: each reader stays below limits, at its own limits and beyond, in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.endless_server import ANSWER_SECONDS, ANSWERS, serve
from tests.fakes.hostile_inputs import INPUTS, MIB

MEMORY_MIB_MAX = 200
BUSY_FACTOR = 4
"""How much longer a reader may take than on a quiet machine."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if one.is_long else []) for name, one in INPUTS.items()]
)
def test_an_input_takes_neither_much_memory_nor_time(name: str, tmp_path: Path) -> None:
    INPUTS[name].make(tmp_path / "input")
    seconds, used_bytes, outcome = read(name, str(tmp_path / "input"))
    assert used_bytes < MEMORY_MIB_MAX * MIB, (f"{used_bytes / MIB:.0f} MiB", outcome)
    assert seconds < BUSY_FACTOR * INPUTS[name].seconds, (seconds, outcome)
    assert len(outcome) < 2000 and "MemoryError" not in outcome


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_without_an_end_takes_neither_much_memory_nor_time(name: str) -> None:
    with serve(name) as url:
        seconds, used_bytes, outcome = read("URL", url)
    assert used_bytes < MEMORY_MIB_MAX * MIB, (f"{used_bytes / MIB:.0f} MiB", outcome)
    assert seconds < BUSY_FACTOR * ANSWER_SECONDS, (seconds, outcome)
    assert "Error: " in outcome and "MemoryError" not in outcome and len(outcome) < 2000


def read(name: str, where: str) -> tuple[float, int, str]:
    """Read an input in a process of its own; return the seconds of the processor, the bytes of memory and the outcome."""
    environment = {**os.environ, "TFIMM_RESOLVER_READ_TIMEOUT_S": "3", "TFIMM_RESOLVER_RETRIES": "0"}
    command = [sys.executable, "-m", "tests.fakes.hostile_inputs", name, where]
    job = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False, env=environment)
    assert job.returncode == 0, job.stderr
    seconds, used_bytes, outcome = json.loads(job.stdout)
    return seconds, used_bytes, outcome
