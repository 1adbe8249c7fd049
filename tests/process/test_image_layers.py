"""A cache in a lower layer of overlayfs, as in a Docker image: repair, refresh and removal work as in any other."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver._util import removal
from tfimm_resolver.bundles import reader, writer
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX

NEW = {**MODEL, "saved_model.pb": b"a newer graph"}


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[list[Path]]:
    """A list of directories, which are unmounted after the test."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems")
    paths: list[Path] = []
    yield paths
    for path in reversed(paths):
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def mount(kind: str, path: Path, mounted: list[Path], options: str = "") -> None:
    """Mount a file system until the test ends."""
    command = ["mount", "-t", kind, *(["-o", options] if options else []), kind, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no {kind} can be mounted here: {done.stderr.strip()}")
    mounted.append(path)


@dataclass
class Image:
    """A handle that was cached when the image was built, and the cache as a container sees it."""

    handle: str
    root: Path

    @property
    def tree(self) -> Path:
        return self.root / entry_name_for_key(self.handle)


@pytest.fixture
def image(origin: Origin, cache_dir: Path, tmp_path: Path, mounted: list[Path]) -> Image:
    handle = origin.put("/m.tar.gz", tar_gz())
    resolve(handle)
    upper, work = tmp_path / "upper", tmp_path / "work"
    upper.mkdir()
    work.mkdir()
    mount("overlay", cache_dir, mounted, f"lowerdir={cache_dir},upperdir={upper},workdir={work}")
    return Image(handle, cache_dir)


def list_leftovers(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_a_damaged_model_of_a_lower_layer_is_repaired_for_good(image: Image, origin: Origin) -> None:
    (image.tree / "saved_model.pb").unlink()
    for _ in range(2):
        assert files_in(resolve(image.handle)) == MODEL
    assert len(origin.requests) == 2 and list_leftovers(image.root) == [image.tree.name, image.tree.name + DESCRIPTOR_SUFFIX]


def test_verify_repairs_a_model_of_a_lower_layer(image: Image) -> None:
    (image.tree / "variables/variables.index").write_bytes(b"AN INDEX")
    assert run_cli("verify")[0] != 0
    assert run_cli("verify", "--repair")[0] == 0
    assert run_cli("verify")[0] == 0 and files_in(image.tree) == MODEL


def test_a_model_of_a_lower_layer_is_refreshed_and_the_old_one_removed_in_time(image: Image, origin: Origin) -> None:
    origin.put("/m.tar.gz", tar_gz(NEW))
    path = resolve(image.handle, refresh=True)
    assert files_in(path) == NEW and files_in(image.tree) == MODEL
    os.utime(image.tree, (0, 0))
    resolve(origin.put("/other.tar.gz", tar_gz()))  # another fetch collects garbage
    assert not image.tree.exists() and files_in(resolve(image.handle)) == NEW


def test_a_model_of_a_lower_layer_is_removed(image: Image) -> None:
    assert run_cli("rm", image.handle)[0] == 0
    assert list_leftovers(image.root) == [] and image.handle not in run_cli("ls")[1]


def test_a_bundle_replaces_a_damaged_model_of_a_lower_layer(image: Image, tmp_path: Path) -> None:
    writer.write([image.handle], tmp_path / "bundle")
    (image.tree / "saved_model.pb").unlink()
    assert [one.state for one in reader.read(tmp_path / "bundle")] == ["imported"]
    assert files_in(image.tree) == MODEL


def test_an_interrupted_removal_does_not_leave_a_model(tmp_path: Path, mounted: list[Path]) -> None:
    disk_root = tmp_path / "disk"
    disk_root.mkdir()
    mount("tmpfs", disk_root, mounted)
    tree = disk_root / "tree"
    tree.mkdir()
    (tree / "saved_model.pb").write_bytes(b"a graph")
    (tree / "variables").mkdir()  # tmpfs lists the newest first, so a plain removal would stop here
    mount("tmpfs", tree / "variables", mounted)
    assert os.listdir(tree) == ["variables", "saved_model.pb"]
    removal.remove_tree_without_rename(str(tree))  # what is busy is left
    assert os.listdir(tree) == ["variables"]
