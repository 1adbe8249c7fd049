"""A publication that is killed at any moment leaves a complete model or none, and the next one ends right."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.faults.strace import KILLED, Call, list_changes, run_with_fault, skip_without_strace
from tests.fakes.processes import run, start
from tests.fakes.serving import list_staging, make_files, read_published

KILLS, KILLS_LONG = 8, 80
WAYS = ("tf-serving", "replaced", "filled")
FILES = {number: {**make_files(number), **{f"assets/{name}": b"%d" % number for name in "abcdef"}} for number in (1, 2)}

PUBLISH = """
    import itertools, os, sys
    target, way, cache, *archives = sys.argv[1:]
    os.environ["TFHUB_CACHE_DIR"] = cache
    from tfimm_resolver.integrations import serving
    import tfimm_resolver.integrations.serving.publishing
    if way == "filled":
        os.makedirs(target, exist_ok=True)
        os.chdir(target)  # it has to stay the same directory
    layout = "tf-serving" if way == "tf-serving" else "flat"
    for archive in archives if "ONCE" in os.environ else itertools.cycle(archives):
        published = serving.publish(archive, target, layout=layout)
        print(published.path, flush=True)
"""


@pytest.fixture
def archives(tmp_path: Path) -> list[str]:
    """Archives of two models, which are cached."""
    paths = []
    for number, files in FILES.items():
        path = tmp_path / f"{number}.tar.gz"
        path.write_bytes(tar_gz(files))
        paths.append(str(path))
    run(PUBLISH, str(tmp_path / "warm"), "replaced", str(tmp_path / "cache"), *paths, ONCE="1")
    return paths


def check(target: Path, way: str) -> str:
    """Check that no reader could take half a model for a complete one; return what is there."""
    if way != "tf-serving":
        if not (target / "saved_model.pb").exists():
            return "none"
        number = int((target / "saved_model.pb").read_bytes().split()[0])
        for path, data in FILES[number].items():
            assert (target / path).read_bytes() == data, path
        return "complete"
    versions = [path for path in target.iterdir() if path.name.isdigit()] if target.exists() else []
    for path in versions:
        assert read_published(path) in FILES.values(), path
    return "complete" if versions else "none"


def recover(target: Path, way: str, cache: Path, archives: list[str]) -> None:
    """Publish both models to the end; nothing may be left over."""
    for archive, files in zip(archives, FILES.values(), strict=True):
        path = run(PUBLISH, str(target), way, str(cache), archive, ONCE="1")
        assert read_published(path) == files
    assert list_staging(target) == list_staging(target.parent) == []


@pytest.mark.parametrize("kills", [KILLS, pytest.param(KILLS_LONG, marks=pytest.mark.long)])
@pytest.mark.parametrize("way", WAYS)
def test_killed_at_any_instant_a_directory_holds_complete_models_only(
    way: str, kills: int, archives: list[str], tmp_path: Path
) -> None:
    seed = random.randrange(1 << 32)
    chance, cache, found = random.Random(seed), tmp_path / "cache", Counter[str]()
    target = tmp_path / "parent" / "target"
    for number in range(10 * kills):
        if number >= kills and found["left over"]:
            break  # more only if none came while something was published
        with start(PUBLISH, str(target), way, str(cache), *archives) as process:
            assert process.stdout is not None and process.stdout.readline()
            time.sleep(0.03 * chance.random())
            process.send_signal(signal.SIGKILL)
        try:
            found[check(target, way)] += 1
            found["left over"] += bool(list_staging(target) or list_staging(target.parent))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, kill {number}") from error
    recover(target, way, cache, archives)
    assert found["left over"], "no kill came while something was published"


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_killed_before_any_call_that_changes_something_it_recovers(way: str, archives: list[str], tmp_path: Path) -> None:
    skip_without_strace()
    cache, killed = tmp_path / "cache", 0

    def prepare(name: str) -> tuple[Path, tuple[str, ...]]:
        root = tmp_path / name
        root.mkdir()
        arguments = (str(root / "target"), way, str(cache))
        run(PUBLISH, *arguments, archives[0], ONCE="1")  # another model, which is replaced
        return root, (*arguments, archives[1])

    root, arguments = prepare("counted")
    with contextlib.ExitStack() as stack:
        stack.callback(os.environ.pop, "ONCE", None)
        os.environ["ONCE"] = "1"
        calls = list_changes(root, PUBLISH, *arguments)
        assert len(calls) > 20
        for number, call in enumerate(calls):
            killed += kill_before(call, prepare(f"root{number}"), way, cache, archives)
    assert killed > 0.8 * len(calls), "strace does not see the first path of some calls with two"


def kill_before(call: Call, prepared: tuple[Path, tuple[str, ...]], way: str, cache: Path, archives: list[str]) -> bool:
    """Kill a process before one call, check what is there, and recover; return whether it was killed."""
    root, arguments = prepared
    end = run_with_fault(call, "signal=KILL", root, PUBLISH, *arguments)
    assert end.code in (KILLED, 0), (call, end.err)
    try:
        check(root / "target", way)
        recover(root / "target", way, cache, archives)
    except AssertionError as error:
        raise AssertionError(str(call)) from error
    return end.code == KILLED
