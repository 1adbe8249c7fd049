"""``doctor`` on real disks: full ones, and a lower layer of an image."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.diagnosis import PLAIN, Findings, diagnose, read_findings
from tests.fakes.foreign_caches import read_state
from tests.fakes.namespaces import NAMESPACE
from tests.fakes.origin import Origin
from tests.fakes.processes import start
from tfimm_resolver import resolve


def run_on_disk(options: str, fill: str, cache_dir: Path) -> Findings:
    """Run ``doctor`` on a small disk of its own, after the code ``fill``; return the problems."""
    cache_dir.mkdir()
    code = textwrap.dedent(NAMESPACE).replace("size=2m", options) + textwrap.dedent(fill) + PLAIN
    job = start(code, TFIMM_HOME=str(cache_dir))
    out, err = job.communicate(timeout=60)
    if job.returncode == 77:
        pytest.skip("this machine forbids user namespaces, which the test needs for a small disk")
    assert job.returncode == 0, err
    return read_findings(out)[0]


@pytest.mark.parametrize("left_bytes", [0, 8 << 20, 32 << 20])
def test_a_full_disk(left_bytes: int, cache_dir: Path) -> None:
    fill = f"""
        with open(f"{{root}}/filler", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, os.statvfs(root).f_bavail * os.statvfs(root).f_frsize - {left_bytes})
    """
    problems = run_on_disk("size=64m", fill, cache_dir)
    assert list(problems) == ["disk-full"] * (left_bytes < 16 << 20)


def test_a_disk_that_can_hold_no_more_files(cache_dir: Path) -> None:
    fill = """
        for number in range(os.statvfs(root).f_favail):
            os.mknod(f"{root}/{number}")
    """
    problems = run_on_disk("size=64m,nr_inodes=50", fill, cache_dir)
    assert list(problems) == ["disk-full"] and "no more files" in problems["disk-full"]


@pytest.fixture
def image(origin: Origin, cache_dir: Path, tmp_path: Path) -> Iterator[Path]:
    """A cached model in a lower layer of overlayfs."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    path = resolve(origin.put("/m.tar.gz", tar_gz()))
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={cache_dir},upperdir={tmp_path}/upper,workdir={tmp_path}/work,redirect_dir=off"
    command = ["mount", "-t", "overlay", "-o", options, "overlay", str(cache_dir)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no overlay can be mounted here: {done.stderr.strip()}")
    try:
        yield Path(path)
    finally:
        subprocess.run(["umount", "--lazy", str(cache_dir)], check=True)


def test_models_in_a_lower_layer_of_an_image(image: Path, origin: Origin) -> None:
    resolve(origin.put("/new.tar.gz", tar_gz()))
    before = read_state(image)
    problems, notes = diagnose()
    assert problems == {} and list(notes) == ["image-layer"] and notes["image-layer"].startswith("1 model of the cache")
    assert read_state(image) == before
