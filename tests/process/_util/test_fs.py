"""Durability: everything is synced, in order, before it is published; and renames are retried on Windows."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tests.fakes.traced import start_traced
from tfimm_resolver import resolve
from tfimm_resolver.cache.cache import entry_name_for_key

PRINT_ERROR = """
    import sys
    from tfimm_resolver import errors, resolve
    try:
        resolve(sys.argv[1])
    except errors.CacheError as error:
        print(error)
"""


def test_everything_is_synced_before_it_is_published_and_the_record_last(
    origin: Origin, cache_dir: Path, tmp_path: Path
) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    name = entry_name_for_key(handle)
    if shutil.which("strace") is None or subprocess.run(["strace", "-o", "/dev/null", "true"], check=False).returncode:
        pytest.skip("the order of system calls is observed with strace, which is missing or forbidden here")
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
    calls = [_describe_call(line, name) for line in log.read_text().splitlines() if str(cache_dir) in line]
    assert calls.pop(0) == "try to rename", "before the download, a file system that cannot rename is noticed"
    tree, record = calls.index("rename tree"), calls.index("rename record")
    files = ["saved_model.pb", "variables.index", "variables.data-00000-of-00001"]
    assert sorted(calls[:tree]) == sorted(f"fsync {name}" for name in [*files, "variables", "staged"])
    assert calls[tree + 1 : record] == ["fsync temporary record"], "which includes the name of the tree"
    assert calls[record + 1 :] == ["fsync root"]


def _describe_call(line: str, name: str) -> str:
    """Translate a line of strace into the words of the test."""
    call = line.split(maxsplit=1)[1].partition("(")[0].removesuffix("at").removesuffix("at2")
    target = line.rpartition('"')[0].rpartition('"')[2] if call == "rename" else line.partition("<")[2].partition(">")[0]
    last = target.rpartition("/")[2]
    if call == "rename":
        known = {name: "rename tree", "new": "try to rename"}
        return known.get(last, "rename record" if last.endswith(".descriptor.txt") else line)
    kinds = {".tmp": "staged", ".txt": "temporary record", "cache": "root"}
    return "fsync " + next((kind for ending, kind in kinds.items() if last.endswith(ending)), last)


@pytest.mark.parametrize("which", ["a file", "the root"])
def test_a_failing_fsync_is_reported_and_leaves_nothing_incomplete(which: str, origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    job = start_traced(["fsync:error=EIO:when=1"], PRINT_ERROR, handle, only=None if which == "a file" else cache_dir)
    output, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    assert f"Input/output error: {cache_dir}" in output and "The disk is failing" in output
    assert set(os.listdir(cache_dir)) <= {entry_name_for_key(handle), f"{entry_name_for_key(handle)}.descriptor.txt"}
    assert (which == "a file") == (os.listdir(cache_dir) == [])
    assert files_in(resolve(handle)) == MODEL


def test_accepts_a_file_system_that_cannot_sync_directories(tmp_path: Path) -> None:
    code = "import sys; from tfimm_resolver._util import fs; fs.fsync_dir(sys.argv[1])"
    _, err = (job := start_traced(["fsync:error=EINVAL"], code, str(tmp_path))).communicate(timeout=60)
    assert job.returncode == 0, err


RENAME_WHILE_BUSY = """
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
def test_a_rename_is_retried_on_windows(system: str, busy_s: str, outcome: str) -> None:
    """On Windows a file that is open cannot be renamed; here a directory without write permission takes its role."""
    with tempfile.TemporaryDirectory(prefix="tfimm_resolver-") as folder:
        if os.getuid() == 0:
            os.chown(folder, 54321, 54321)
        assert run(RENAME_WHILE_BUSY, folder, system, busy_s) == outcome
