"""Tests of ``integrations.child_processes``: processes that multiprocessing starts import the package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MAIN = """
import sys
{before}
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def is_imported():
    return "tfimm_resolver" in sys.modules and "tensorflow" not in sys.modules

def start_another():
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(is_imported).result(timeout=60)

if __name__ == "__main__":
    {setup}
    context = multiprocessing.get_context({method!r})
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        print(pool.submit({function}).result(timeout=60))
"""
IMPORT, UNDO = "import tfimm_resolver", "import tfimm_resolver; tfimm_resolver.unregister()"
AGAIN = f"{UNDO}; tfimm_resolver.register()"


def run_main(folder: Path) -> str:
    """Run the program in that folder; return its output."""
    job = subprocess.run([sys.executable, "main.py"], cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert job.returncode == 0, job.stderr
    return job.stdout.strip()


@pytest.mark.parametrize("function", ["is_imported", "start_another"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_worker_and_a_worker_of_it_import_what_the_main_program_imported(method: str, function: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN.format(before="", setup=IMPORT, method=method, function=function))
    assert run_main(tmp_path) == "True"


STATE = """
import os, sys
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
{before}
def get_state():
    import tfimm_resolver
    return tfimm_resolver.get_dir(), tfimm_resolver.resolve("https://models.example/m/1"), tfimm_resolver.resolve("lion")

if __name__ == "__main__":
    import tfimm_resolver
    tfimm_resolver.set_dir("of_main")
    tfimm_resolver.set_model_cache("https://models.example/m/1", "model")
    tfimm_resolver.set_model_cache("lion", "model")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        print(*map(os.path.basename, pool.submit(get_state).result(timeout=60)))
"""


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("", "of_main model model"),
        (
            "if __name__ != '__main__':\n    import tfimm_resolver\n    tfimm_resolver.set_dir('own')\n"
            "    tfimm_resolver.set_model_cache('lion', 'own_model')\n",
            "own model own_model",
        ),
    ],
)
def test_a_spawned_worker_gets_the_directory_and_the_overrides_unless_it_sets_them(
    before: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text(STATE.format(before=before))
    for name in ("model", "own_model"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "saved_model.pb").touch()
    assert run_main(tmp_path) == expected


@pytest.mark.parametrize(("setup", "expected"), [("pass", "False"), (UNDO, "False"), (AGAIN, "True")])
def test_without_an_import_or_after_unregister_it_does_not(setup: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MAIN.format(before="", setup=setup, method="spawn", function="is_imported"))
    assert run_main(tmp_path) == expected


def test_a_worker_that_cannot_import_the_package_works_without_it(tmp_path: Path) -> None:
    before = "if __name__ != '__main__':\n    sys.modules['tfimm_resolver'] = None"
    text = MAIN.format(before=before, setup=IMPORT, method="spawn", function="is_imported")
    (tmp_path / "main.py").write_text(text.replace('"tfimm_resolver" in sys.modules', 'sys.modules["tfimm_resolver"] is None'))
    assert run_main(tmp_path) == "True"
