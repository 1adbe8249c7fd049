"""Test of ``tfimm-resolver demo``."""

from __future__ import annotations

import json
import os
import subprocess
import sys


def test_the_demonstration_resolves_names_loads_and_runs_a_model() -> None:
    job = subprocess.run(
        [sys.executable, "-m", "tfimm_resolver", "demo", "--json"], capture_output=True, text=True, timeout=120, check=False
    )
    assert job.returncode == 0, job.stderr
    steps = {step["name"]: step for step in json.loads(job.stdout)["steps"]}
    cold, warm, named = (steps[name] for name in ("resolve, cold", "resolve, warm", "resolve by name"))
    assert cold["size_bytes"] > 1000 and warm["size_bytes"] == named["size_bytes"] == 0
    assert cold["result"] == warm["result"] == named["result"] and not os.path.exists(cold["result"])
    for name in ("load by URL, run", "load by name, run"):
        assert steps[name]["result"].endswith("2.5, 3, 3.5")
