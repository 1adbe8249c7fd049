"""A reader in another process, and of another user where possible, never sees half a model: over 200 publications."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.namespaces import NAMESPACE
from tests.fakes.processes import start
from tests.fakes.serving import make_files

COUNT = 200
OTHER_DISK = "/dev/shm"
FILES = make_files(1)

WATCH = """
    import json, os, sys

    target, layout, files, user = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
    if user:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    seen, halves = {}, []

    def read(folder, name):
        descriptor = os.open(name, os.O_RDONLY, dir_fd=folder)
        try:
            return os.read(descriptor, 1 << 20).split()[0]
        finally:
            os.close(descriptor)

    def find_inode(path):
        try:
            return os.stat(path).st_ino
        except FileNotFoundError:
            return None

    def look(path):
        # What vanishes while it is read does not count, if the directory, or the graph in it, is another one by now.
        try:
            folder = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            identity, graph = os.fstat(folder).st_ino, find_inode(f"{path}/saved_model.pb")
            if graph is None and layout == "flat":
                return
            try:
                found = {read(folder, name) for name in files}
            except FileNotFoundError as error:
                found = {str(error)}
            is_same = find_inode(path) == identity and find_inode(f"{path}/saved_model.pb") == graph
            if is_same and (len(found) != 1 or not next(iter(found)).isdigit()):
                halves.append([path, sorted(map(str, found))])
            elif is_same:
                seen[str(found)] = seen.get(str(found), 0) + 1
        finally:
            os.close(folder)

    print("watching", flush=True)
    while not os.path.exists(f"{target}.done"):
        for name in os.listdir(target) if layout == "tf-serving" else ["."]:
            if layout == "flat" or name.isdigit():
                look(os.path.normpath(f"{target}/{name}"))
    print(json.dumps({"looks": sum(seen.values()), "models": len(seen), "halves": halves[:5]}))
"""
PUBLISH = """
    import itertools, os, subprocess, sys
    from tfimm_resolver.integrations import serving

    target, layout, files, user, count, *archives = sys.argv[1:]
    os.environ["TFHUB_CACHE_DIR"] = os.environ["CACHE"]
    if layout == "tf-serving" and not os.path.isdir(target):
        os.mkdir(target)
    command = [sys.executable, "-c", os.environ["WATCH"], target, layout, files, user]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout.readline() == "watching\\n"
        linked = 0
        for archive in itertools.islice(itertools.cycle(archives), int(count)):
            published = serving.publish(archive, target, layout=layout)
            assert published.state == "published"
            linked += published.linked
        open(f"{target}.done", "x").close()
        print(watcher.stdout.read(), linked, len([name for name in os.listdir(target) if name.startswith(".tmp")]))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that every user may enter."""
    path = Path(tempfile.mkdtemp(prefix="tfimm_resolver-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def watch(target: Path, layout: str, folder: Path, *, is_mount: bool = False) -> tuple[dict[str, object], int]:
    """Publish two models in turns while another process looks; return what that saw, and how many files were links."""
    archives = []
    for number in (1, 2):
        archives.append(folder / f"{number}.tar.gz")
        archives[-1].write_bytes(tar_gz(make_files(number)))
    user = 65534 if os.getuid() == 0 and not is_mount else 0
    arguments = (str(target), layout, json.dumps([*FILES]), str(user), str(COUNT), *map(str, archives))
    environment = {"CACHE": str(folder / "cache"), "WATCH": textwrap.dedent(WATCH), "TFHUB_CACHE_DIR": str(target)}
    code = (textwrap.dedent(NAMESPACE) if is_mount else "") + textwrap.dedent(PUBLISH)
    with start(code, *arguments, **environment) as process:
        try:
            out, err = process.communicate(timeout=240)
        finally:
            process.kill()
    if process.returncode == 77:
        pytest.skip("this machine forbids user namespaces, which the test needs for a mount point")
    assert process.returncode == 0, err
    facts, end = json.JSONDecoder().raw_decode(out)
    linked, leftovers = out[end:].split()
    assert leftovers == "0"
    return facts, int(linked)


def check(facts: dict[str, object]) -> None:
    assert facts["halves"] == [], facts
    assert isinstance(facts["looks"], int) and facts["looks"] >= 100 and facts["models"] == 2, facts


long = pytest.mark.long


@pytest.mark.parametrize("layout", ["tf-serving", pytest.param("flat", marks=long)])
def test_no_half_of_a_linked_model_is_seen(layout: str, folder: Path) -> None:
    facts, linked = watch(folder / "target", layout, folder)
    check(facts)
    assert linked == COUNT * len(FILES)


@pytest.mark.parametrize("layout", ["flat", pytest.param("tf-serving", marks=long)])
def test_no_half_of_a_model_that_is_copied_from_another_disk_is_seen(layout: str, folder: Path) -> None:
    if not os.access(OTHER_DISK, os.W_OK) or os.stat(OTHER_DISK).st_dev == folder.stat().st_dev:
        pytest.skip(f"{OTHER_DISK} is not a second disk that can be written")
    other = Path(tempfile.mkdtemp(dir=OTHER_DISK))
    other.chmod(0o755)
    try:
        facts, linked = watch(other / "target", layout, folder)
    finally:
        shutil.rmtree(other)
    check(facts)
    assert linked == 0


@pytest.mark.parametrize("layout", ["flat", pytest.param("tf-serving", marks=long)])
def test_no_half_of_a_model_in_a_mount_point_is_seen(layout: str, folder: Path) -> None:
    (folder / "target").mkdir()
    facts, linked = watch(folder / "target", layout, folder, is_mount=True)
    check(facts)
    assert linked == 0
