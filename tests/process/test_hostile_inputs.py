"""Memory and time under hostile input: each reader stays below limits, at its own limits and beyond, in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.hostile_inputs import INPUTS, MIB

MEMORY_MIB_MAX = 200
BUSY_FACTOR = 4
"""How much longer a reader may take than on a quiet machine."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if one.is_long else []) for name, one in INPUTS.items()]
)
def test_an_input_takes_neither_much_memory_nor_time(name: str, tmp_path: Path) -> None:
    INPUTS[name].make(tmp_path / "input")
    command = [sys.executable, "-m", "tests.fakes.hostile_inputs", name, str(tmp_path / "input")]
    job = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert job.returncode == 0, job.stderr
    seconds, used_bytes, outcome = json.loads(job.stdout)
    assert used_bytes < MEMORY_MIB_MAX * MIB, (f"{used_bytes / MIB:.0f} MiB", outcome)
    assert seconds < BUSY_FACTOR * INPUTS[name].seconds, (seconds, outcome)
    assert len(outcome) < 2000 and "MemoryError" not in outcome
