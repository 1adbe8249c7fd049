"""Adopting models from other tools' caches, killed at any moment or on a full disk, leaves nothing half."""

from __future__ import annotations

import os
import signal
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.foreign_caches import MODEL, put_in_huggingface, put_in_kagglehub, read_state
from tests.fakes.namespaces import NAMESPACE
from tests.fakes.processes import run, start
from tests.fakes.traced import start_traced
from tfimm_resolver import maintenance

ADOPT = """
    import sys
    from tfimm_resolver import maintenance
    for result in maintenance.adopt(["kagglehub", "huggingface"]):
        print(result.state)
        if result.error:
            print(result.error)
"""
CALLS = ("linkat", "ioctl", "mkdir", "rename", "fsync", "unlink")


@pytest.fixture
def caches() -> tuple[Path, Path]:
    home = Path(os.environ["HOME"]) / ".cache"
    put_in_kagglehub(home / "kagglehub", "google/nnlm/tensorflow2/en-dim50/1")
    put_in_huggingface(home / "huggingface" / "hub", "ada/half")
    return home / "kagglehub", home / "huggingface" / "hub"


@pytest.mark.parametrize("when", [1, *(pytest.param(when, marks=pytest.mark.long) for when in (2, 4))])
@pytest.mark.parametrize("call", CALLS)
def test_a_killed_adoption_leaves_nothing_half(call: str, when: int, caches: tuple[Path, Path], cache_dir: Path) -> None:
    before = read_state(*caches)
    job = start_traced([f"{call}:signal=KILL:when={when}"], ADOPT)
    job.communicate(timeout=60)
    assert job.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL)
    assert all(model.state == "ok" for model in maintenance.list_models())
    assert read_state(*caches) == before
    assert set(run(ADOPT).split()) <= {"adopted", "cached"}
    assert [model.state for model in maintenance.list_models()] == ["ok", "ok"]
    kinds = Counter("tree" if path.is_dir() else path.suffixes[0] for path in cache_dir.iterdir())
    assert kinds == {"tree": 2, ".descriptor": 2, ".latest": 1}, kinds
    assert read_state(*caches) == before


def test_processes_that_adopt_at_the_same_time_share_the_work(caches: tuple[Path, Path], cache_dir: Path) -> None:
    before = read_state(*caches)
    jobs = [start(ADOPT) for _ in range(4)]
    states = [job.communicate(timeout=60)[0].split() for job in jobs]
    assert all(set(found) <= {"adopted", "cached"} and len(found) == 2 for found in states)
    assert sum(found.count("adopted") for found in states) == 2
    assert len([path for path in cache_dir.iterdir() if path.is_dir()]) == 2 and read_state(*caches) == before


def test_a_full_disk_is_reported_and_nothing_is_left(caches: tuple[Path, Path], cache_dir: Path) -> None:
    large = {**MODEL, "assets/large": os.urandom(3 << 20)}
    put_in_kagglehub(caches[0], "google/nnlm/tensorflow2/en-dim50/2", large)
    before = read_state(*caches)
    cache_dir.mkdir()
    job = start(
        textwrap.dedent(NAMESPACE) + textwrap.dedent(ADOPT) + "print(sorted(os.listdir(root)))", TFIMM_HOME=str(cache_dir)
    )
    out, err = job.communicate(timeout=60)
    if job.returncode == 77:
        pytest.skip("this machine forbids user namespaces, which the test needs for a small disk")
    assert job.returncode == 0, err
    assert out.splitlines().count("adopted") == 2 and "failed" in out and "No space left" in out, out
    assert out.count("descriptor") == 2 and ".tmp" not in out and read_state(*caches) == before
