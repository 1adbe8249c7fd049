"""A kill, and an error of the disk, at each call by which an install changes something."""

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

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.faults import strace
from tests.fakes.faults.origin import Host
from tests.fakes.faults.recovery import (
    Files,
    assert_next_resolve_recovers,
    list_leftovers,
    read_as_plain_hub,
    read_cached_model,
)
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tfimm_resolver import resolve, settings
from tfimm_resolver.errors import CacheError

RESOLVE = """
    import tfimm_resolver
    from tfimm_resolver.transfer import download
    download.RANGE_BYTES = int(sys.argv[2])  # only the size of a range
    tfimm_resolver.resolve(sys.argv[1], refresh="refresh" in sys.argv[3:])
"""
COMMAND = """
    import runpy
    from tfimm_resolver.transfer import download
    download.RANGE_BYTES = int(sys.argv[2])  # only the size of a range
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
OTHER = MODEL | {"saved_model.pb": b"A GRAPH"}  # of the same length: sizes do not differ


_ERRORS = {
    "EIO on fsync": (strace.SYNCS, "EIO"),
    "EXDEV on rename": (strace.RENAMES, "EXDEV"),
    "ENOSPC on write": (strace.WRITES, "ENOSPC"),
    "ENOSPC on a new name": (strace.NEW_NAMES, "ENOSPC"),
}


def no_flock(*_: object) -> None:
    """Fail as flock does on a file system without locks."""
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@dataclass(frozen=True)
class Scene:
    """The root before, the arguments of the snippet, and the models that may be served afterwards; the last is the new one."""

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
    """One of the situations in which a process may be killed."""
    folder = tmp_path.resolve()  # strace compares strings
    return _SCENES[request.param](host, folder / "before", host.put("/other.tar.gz", tar_gz()))


def _make_cold(host: Host, before: Path, other: str) -> Scene:
    return Scene(host.put("/m.tar.gz", tar_gz()), before, (ONE_RANGE,), (None, MODEL), (None, MODEL), other)


def _make_ranged(host: Host, before: Path, other: str) -> Scene:
    return Scene(host.put("/m.tar.gz", tar_gz(LARGE)), before, (SMALL_RANGE,), (None, LARGE), (None, LARGE), other)


def _make_stream(host: Host, before: Path, other: str) -> Scene:
    url = host.put("/m.tar.gz", tar_gz(), ranges=False)
    return Scene(url, before, (ONE_RANGE,), (None, MODEL), (None, MODEL), other)


def _make_resumed(host: Host, before: Path, other: str) -> Scene:
    """The root has parts of a killed download."""
    scene = _make_ranged(host, before, other)
    is_part = re.compile(r".*\.parts/\d+").fullmatch
    *_, last = (call for call in _changes(scene) if call.name in strace.WRITES and call.number == 1 and is_part(call.path))
    end = strace.run_with_fault(last, "signal=KILL", before, RESOLVE, scene.url, *scene.arguments)
    assert end.code == strace.KILLED and any(name.endswith(".parts") for name in list_leftovers(before))
    return scene


def _make_outdated_parts(host: Host, before: Path, other: str) -> Scene:
    """The root has parts of a version that the server no longer has."""
    scene = _make_resumed(host, before, other)
    host.put("/m.tar.gz", tar_gz(LARGE_OTHER), etag='"two"')
    return replace(scene, may_serve=(None, LARGE_OTHER), hub_may_serve=(None, LARGE_OTHER))


def _make_without_flock(host: Host, before: Path, other: str) -> Scene:
    return replace(_make_cold(host, before, other), prelude=WITHOUT_FLOCK)


def _make_damaged(host: Host, before: Path, other: str) -> Scene:
    """The root has a tree with a truncated file, which tensorflow_hub would load; the server has another model by now."""
    scene = _make_cold(host, before, other)
    settings.set_dir(before)
    weights = Path(resolve(scene.url), "variables/variables.data-00000-of-00001")
    weights.write_bytes(weights.read_bytes()[:-1])
    damaged = files_in(weights.parent.parent)
    host.put("/m.tar.gz", tar_gz(OTHER))
    return replace(scene, may_serve=(None, OTHER), hub_may_serve=(damaged, None, OTHER))


def _make_refreshed(host: Host, before: Path, other: str) -> Scene:
    """The root has a complete model; the server has another one by now."""
    scene = _make_cold(host, before, other)
    settings.set_dir(before)
    resolve(scene.url)
    host.put("/m.tar.gz", tar_gz(OTHER))
    return Scene(scene.url, before, (ONE_RANGE, "refresh"), (MODEL, OTHER), (MODEL, OTHER), other)


_SCENES = {
    "cold": _make_cold,
    "in ranges": _make_ranged,
    "as a stream": _make_stream,
    "resumed": _make_resumed,
    "outdated parts": _make_outdated_parts,
    "without flock": _make_without_flock,
    "damaged": _make_damaged,
    "refreshed": _make_refreshed,
}


_DISK_SCENES = ("in ranges", "as a stream", "damaged", "refreshed")


def _changes(scene: Scene) -> list[strace.Call]:
    root = scene.before.parent / "observed"
    _copy(scene.before, root)
    return strace.list_changes(root, scene.prelude + RESOLVE, scene.url, *scene.arguments)


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
        return call, root, strace.run_with_fault(call, fault, root, scene.prelude + code, scene.url, *scene.arguments)

    with ThreadPoolExecutor(2) as pool:
        yield from pool.map(strike, enumerate(calls))


def _choose(calls: list[strace.Call], scene: str, share: int) -> list[strace.Call]:
    """Return the first call, every rename, and one in ``share`` of the others; which ones differs between the scenes."""
    start = list(_SCENES).index(scene)
    numbered = enumerate(calls, start)
    return [call for number, call in numbered if number == start or number % share == 0 or call.name in strace.RENAMES]


SHARES = pytest.mark.parametrize("share", [pytest.param(16, id="some"), pytest.param(1, id="all", marks=pytest.mark.long)])


@SHARES
@pytest.mark.parametrize(("scene", "name"), [(name, name) for name in _SCENES], ids=_SCENES, indirect=["scene"])
def test_after_a_kill_at_any_call_a_model_is_absent_or_complete_and_the_next_resolve_recovers(
    scene: Scene, name: str, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = _changes(scene)
    if scene.prelude:
        monkeypatch.setattr(fcntl, "flock", no_flock)  # the next ones run without locks, too
    assert {"mkdir", "write", "rename", "unlink", "fsync"} <= {call.name for call in calls}
    for call, root, end in _each(scene, _choose(calls, name, share), "signal=KILL", RESOLVE):
        # The number of writes of a file depends on how its bytes arrived.
        assert end.code == strace.KILLED or (end.code == 0 and call.number > 1), (str(call), end)
        _check(scene, call, root)


@SHARES
@pytest.mark.parametrize(("names", "error"), _ERRORS.values(), ids=_ERRORS)
@pytest.mark.parametrize(("scene", "name"), [(name, name) for name in _DISK_SCENES], ids=_DISK_SCENES, indirect=["scene"])
def test_an_error_of_the_disk_at_any_call_is_reported_and_leaves_nothing_incomplete(
    scene: Scene, name: str, names: tuple[str, ...], error: str, share: int
) -> None:
    calls = [call for call in _changes(scene) if call.name in names and not call.has_failed]
    assert calls
    for call, root, end in _each(scene, _choose(calls, name, share), f"error={error}", COMMAND):
        # A tree that cannot be renamed, as on overlayfs, is removed without a rename: that succeeds.
        is_removed = '.tmp") = -1 EXDEV' in end.log and end.code == 0
        # A full disk has no room for the file that tells its time: the root's own time does.
        is_removed |= error == "ENOSPC" and "tfimm_resolver." in str(call) and end.code == 0
        if not is_removed and ("(INJECTED)" in end.log or call.number == 1):
            # If the parts filled the disk, the download succeeds without them.
            retried = "without storing a partial download" in end.err
            assert end.code in ((0, CacheError.exit_code) if retried else (CacheError.exit_code,)), (str(call), end)
            reason = f"is full|{os.strerror(getattr(errno, error))}"
            assert str(root) in end.err and re.search(reason, end.err), (str(call), end.err)
            assert "Traceback" not in end.err, end.err
        # Parts that can be resumed may stay; everything else is removed by the failed process itself.
        assert [name for name in list_leftovers(root) if not name.endswith(".parts")] == [], str(call)
        _check(scene, call, root)


@pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def test_a_disk_without_kernel_locks_is_served(error: str, host: Host, tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    url = host.put("/m.tar.gz", tar_gz())
    end = strace.run(root, COMMAND, url, ONE_RANGE, names=("flock",), options=("-e", f"inject=flock:error={error}"))
    assert error in end.log and end.code == 0, end
    assert read_cached_model(root, url) == MODEL and list_leftovers(root) == []


def _check(scene: Scene, call: strace.Call, root: Path) -> None:
    assert read_cached_model(root, scene.url) in scene.may_serve, str(call)
    assert read_as_plain_hub(root, scene.url) in scene.hub_may_serve, str(call)
    assert_next_resolve_recovers(root, scene.url, scene.files, scene.other, refresh="refresh" in scene.arguments)
