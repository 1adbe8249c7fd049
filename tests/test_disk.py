"""What a disk does to those who write on it: that flushed is flushed, in order, and that renames wait on Windows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.archives import MODEL, files_in, tar_gz
from tests.e2e.test_locks import traced
from tests.origin import Origin
from tests.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.cache.cache import entry_name_for_key

REFUSED = """
    import sys
    from tfimm_resolver import errors, resolve
    try:
        resolve(sys.argv[1])
    except errors.CacheError as error:
        print(error)
"""


def test_everything_is_flushed_before_it_is_published_and_the_record_last(
    origin: Origin, cache_dir: Path, tmp_path: Path
) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    name = entry_name_for_key(handle)
    if shutil.which("strace") is None or subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("this machine has no strace, or forbids it, by which the test sees the order of calls")
    code = "import sys, tfimm_resolver; tfimm_resolver.resolve(sys.argv[1])"
    log = tmp_path / "calls"
    subprocess.run(
        [
            "strace",
            "-f",
            "-y",
            "-o",
            str(log),
            "-e",
            "trace=fsync,rename,renameat,renameat2",
            sys.executable,
            "-c",
            code,
            handle,
        ],
        check=True,
        timeout=60,
    )
    calls = [_call(line, name) for line in log.read_text().splitlines() if str(cache_dir) in line]
    tree, record = calls.index("rename tree"), calls.index("rename record")
    files = ["saved_model.pb", "variables.index", "variables.data-00000-of-00001"]
    assert sorted(calls[:tree]) == sorted(f"fsync {name}" for name in [*files, "variables", "staged"])
    assert calls[tree + 1 : record] == ["fsync root", "fsync half a record"]
    assert calls[record + 1 :] == ["fsync root"]


def _call(line: str, name: str) -> str:
    """A line of strace in the words of the test."""
    call = line.split(maxsplit=1)[1].partition("(")[0].removesuffix("at").removesuffix("at2")
    target = line.rpartition('"')[0].rpartition('"')[2] if call == "rename" else line.partition("<")[2].partition(">")[0]
    last = target.rpartition("/")[2]
    if call == "rename":
        return "rename tree" if last == name else "rename record" if last.endswith(".descriptor.txt") else line
    kinds = {".tmp": "staged", ".txt": "half a record", "cache": "root"}
    return "fsync " + next((kind for ending, kind in kinds.items() if last.endswith(ending)), last)


@pytest.mark.parametrize("which", ["a file", "the root, first", "the root, then"])
def test_a_disk_that_fails_to_flush_is_told_and_nothing_half_made_is_left(which: str, origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    number = 2 if which == "the root, then" else 1
    job = traced([f"fsync:error=EIO:when={number}"], REFUSED, handle, only=None if which == "a file" else cache_dir)
    said, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    assert f"Input/output error: {cache_dir}" in said and "That disk fails" in said
    assert set(os.listdir(cache_dir)) <= {entry_name_for_key(handle), f"{entry_name_for_key(handle)}.descriptor.txt"}
    assert (which == "a file") == (os.listdir(cache_dir) == [])
    assert files_in(resolve(handle)) == MODEL


def test_a_file_system_that_cannot_flush_directories_is_good_enough(tmp_path: Path) -> None:
    code = "import sys; from tfimm_resolver._util import fs; fs.fsync_dir(sys.argv[1])"
    _, err = (job := traced(["fsync:error=EINVAL"], code, str(tmp_path))).communicate(timeout=60)
    assert job.returncode == 0, err


BUSY = """
    import os, sys, threading, time
    from tfimm_resolver._util import fs
    fs.IS_WINDOWS = sys.argv[2] == "Windows"
    if os.getuid() == 0:
        os.setuid(54321)
    os.chdir(sys.argv[1])
    open("old", "w").close()
    os.chmod(".", 0o555)
    threading.Timer(float(sys.argv[3]), os.chmod, [".", 0o755]).start()
    try:
        fs.durable_rename("old", sys.argv[1] + "/new")
        print("renamed")
    except PermissionError:
        print("refused")
"""


@pytest.mark.parametrize(
    ("system", "busy_s", "outcome"), [("Windows", "0.5", "renamed"), ("Linux", "0.5", "refused"), ("Windows", "4", "refused")]
)
def test_a_rename_waits_on_windows_while_something_is_in_the_way(system: str, busy_s: str, outcome: str) -> None:
    """There a file that is open cannot be renamed; here a directory that may not be written stands for it."""
    with tempfile.TemporaryDirectory(prefix="tfimm_resolver-") as place:
        if os.getuid() == 0:
            os.chown(place, 54321, 54321)
        assert run(BUSY, place, system, busy_s) == outcome
