"""A kill, and an error of the disk, at every call by which an install changes something, one after the other."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.archives import MODEL, files_in, tar_gz
from tests.faults import strace
from tests.faults.aftermath import Files, assert_next_one_mends, left_in, served, served_by_hub
from tests.faults.origin import Host
from tfimm_resolver import resolve, settings
from tfimm_resolver.errors import CacheError

RESOLVE = """
    import tfimm_resolver
    from tfimm_resolver.transfer import download
    download.RANGE_BYTES = int(sys.argv[2])  # only how much comes with one request
    tfimm_resolver.resolve(sys.argv[1], refresh="refresh" in sys.argv[3:])
"""
COMMAND = """
    import runpy
    from tfimm_resolver.transfer import download
    download.RANGE_BYTES = int(sys.argv[2])  # only how much comes with one request
    sys.argv[:] = ["tfimm-resolver", "resolve", sys.argv[1], *(f"--{word}" for word in sys.argv[3:])]
    runpy.run_module("tfimm_resolver", run_name="__main__")
"""
WITHOUT_FLOCK = """
    import errno, fcntl
    def no_flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    fcntl.flock = no_flock
"""
ONE_RANGE, SMALL_RANGE = str(8 << 20), str(1 << 14)
LARGE = {"saved_model.pb": b"a graph", "variables/variables.data-00000-of-00001": random.Random(3).randbytes(50_000)}
LARGE_OTHER = LARGE | {"variables/variables.data-00000-of-00001": random.Random(4).randbytes(50_000)}
OTHER = MODEL | {"saved_model.pb": b"A GRAPH"}  # as long: sizes tell nothing


_ERRORS = {
    "EIO on fsync": (strace.SYNCS, "EIO"),
    "EXDEV on rename": (strace.RENAMES, "EXDEV"),
    "ENOSPC on write": (strace.WRITES, "ENOSPC"),
    "ENOSPC on a new name": (strace.NEW_NAMES, "ENOSPC"),
}


def no_flock(*_: object) -> None:
    """What flock does on a disk that has none."""
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@dataclass(frozen=True)
class Scene:
    """What lies in the root before, how the snippet is called, and what may be served after it; the last is the new model."""

    url: str
    before: Path
    arguments: tuple[str, ...]
    may_serve: tuple[Files | None, ...]
    hub_may_serve: tuple[Files | None, ...]
    other: str
    prelude: str = ""

    @property
    def files(self) -> Files:
        return self.may_serve[-1] or {}


@pytest.fixture(autouse=True)
def _strace() -> None:
    strace.skip_without_strace()


@pytest.fixture
def scene(request: pytest.FixtureRequest, host: Host, tmp_path: Path) -> Scene:
    """One of the situations in which a process may die."""
    place = tmp_path.resolve()  # strace compares texts
    return _SCENES[request.param](host, place / "before", host.put("/other.tar.gz", tar_gz()))


def _cold(host: Host, before: Path, other: str) -> Scene:
    return Scene(host.put("/m.tar.gz", tar_gz()), before, (ONE_RANGE,), (None, MODEL), (None, MODEL), other)


def _in_ranges(host: Host, before: Path, other: str) -> Scene:
    return Scene(host.put("/m.tar.gz", tar_gz(LARGE)), before, (SMALL_RANGE,), (None, LARGE), (None, LARGE), other)


def _as_a_stream(host: Host, before: Path, other: str) -> Scene:
    url = host.put("/m.tar.gz", tar_gz(), ranges=False)
    return Scene(url, before, (ONE_RANGE,), (None, MODEL), (None, MODEL), other)


def _resumed(host: Host, before: Path, other: str) -> Scene:
    """Parts of a download that was killed lie there."""
    scene = _in_ranges(host, before, other)
    is_part = re.compile(r".*\.parts/\d+").fullmatch
    *_, last = (call for call in _changes(scene) if call.name in strace.WRITES and call.number == 1 and is_part(call.path))
    end = strace.struck(last, "signal=KILL", before, RESOLVE, scene.url, *scene.arguments)
    assert end.code == strace.KILLED and any(name.endswith(".parts") for name in left_in(before))
    return scene


def _resumed_in_vain(host: Host, before: Path, other: str) -> Scene:
    """Parts lie there of what the place does not have any more."""
    scene = _resumed(host, before, other)
    host.put("/m.tar.gz", tar_gz(LARGE_OTHER), etag='"two"')
    return replace(scene, may_serve=(None, LARGE_OTHER), hub_may_serve=(None, LARGE_OTHER))


def _without_flock(host: Host, before: Path, other: str) -> Scene:
    return replace(_cold(host, before, other), prelude=WITHOUT_FLOCK)


def _damaged(host: Host, before: Path, other: str) -> Scene:
    """A tree lies there that tensorflow_hub takes for whole, but a file is short; the place has another model by now."""
    scene = _cold(host, before, other)
    settings.set_dir(before)
    weights = Path(resolve(scene.url), "variables/variables.data-00000-of-00001")
    weights.write_bytes(weights.read_bytes()[:-1])
    damaged = files_in(weights.parent.parent)
    host.put("/m.tar.gz", tar_gz(OTHER))
    return replace(scene, may_serve=(None, OTHER), hub_may_serve=(damaged, None, OTHER))


def _refreshed(host: Host, before: Path, other: str) -> Scene:
    """A whole model lies there; the place has another one by now."""
    scene = _cold(host, before, other)
    settings.set_dir(before)
    resolve(scene.url)
    host.put("/m.tar.gz", tar_gz(OTHER))
    return Scene(scene.url, before, (ONE_RANGE, "refresh"), (MODEL, OTHER), (MODEL, OTHER), other)


_SCENES = {
    "cold": _cold,
    "in ranges": _in_ranges,
    "as a stream": _as_a_stream,
    "resumed": _resumed,
    "resumed in vain": _resumed_in_vain,
    "without flock": _without_flock,
    "damaged": _damaged,
    "refreshed": _refreshed,
}


def _changes(scene: Scene) -> list[strace.Call]:
    root = scene.before.parent / "observed"
    _copy(scene.before, root)
    return strace.changes(root, scene.prelude + RESOLVE, scene.url, *scene.arguments)


def _copy(before: Path, root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    if before.exists():
        shutil.copytree(before, root)


def _each(scene: Scene, calls: list[strace.Call], fault: str, code: str) -> Iterator[tuple[strace.Call, Path, strace.End]]:
    """Let the fault strike at each call, each time in a fresh copy of the root; two at a time."""

    def strike(numbered: tuple[int, strace.Call]) -> tuple[strace.Call, Path, strace.End]:
        number, call = numbered
        root = scene.before.parent / f"root{number}"
        _copy(scene.before, root)
        return call, root, strace.struck(call, fault, root, scene.prelude + code, scene.url, *scene.arguments)

    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(strike, enumerate(calls))


@pytest.mark.parametrize("scene", _SCENES, indirect=True)
def test_a_kill_at_any_call_leaves_a_model_absent_or_whole_and_the_next_one_mends(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _changes(scene)
    if scene.prelude:
        monkeypatch.setattr(fcntl, "flock", no_flock)  # the next ones run where this one did
    assert {"mkdir", "write", "rename", "unlink", "fsync"} <= {call.name for call in calls}
    for call, root, end in _each(scene, calls, "signal=KILL", RESOLVE):
        # How many pieces a file is written in depends on how they came.
        assert end.code == strace.KILLED or (end.code == 0 and call.number > 1), (str(call), end)
        _check(scene, call, root)


@pytest.mark.parametrize(("names", "error"), _ERRORS.values(), ids=_ERRORS)
@pytest.mark.parametrize("scene", ["in ranges", "as a stream", "damaged", "refreshed"], indirect=True)
def test_an_error_of_the_disk_at_any_call_is_told_and_leaves_nothing_half_made(
    scene: Scene, names: tuple[str, ...], error: str
) -> None:
    calls = [call for call in _changes(scene) if call.name in names and not call.is_in_vain]
    assert calls
    for call, root, end in _each(scene, calls, f"error={error}", COMMAND):
        if "(INJECTED)" in end.log or call.number == 1:
            # A disk that is full because of the parts may do without them.
            went_on = "without keeping what comes" in end.err
            assert end.code in ((0, CacheError.exit_code) if went_on else (CacheError.exit_code,)), (str(call), end)
            reason = f"is full|{os.strerror(getattr(errno, error))}"
            assert str(root) in end.err and re.search(reason, end.err), (str(call), end.err)
            assert "Traceback" not in end.err, end.err
        # The parts of a download that can go on may stay; everything else goes, and by the one that failed.
        assert [name for name in left_in(root) if not name.endswith(".parts")] == [], str(call)
        _check(scene, call, root)


@pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def test_a_disk_without_kernel_locks_is_served(error: str, host: Host, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    url = host.put("/m.tar.gz", tar_gz())
    end = strace.run(root, COMMAND, url, ONE_RANGE, names=("flock",), options=("-e", f"inject=flock:error={error}"))
    assert error in end.log and end.code == 0, end
    assert served(root, url) == MODEL and left_in(root) == []


def _check(scene: Scene, call: strace.Call, root: Path) -> None:
    assert served(root, scene.url) in scene.may_serve, str(call)
    assert served_by_hub(root, scene.url) in scene.hub_may_serve, str(call)
    assert_next_one_mends(root, scene.url, scene.files, scene.other, refresh="refresh" in scene.arguments)
