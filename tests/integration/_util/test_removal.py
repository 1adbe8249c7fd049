"""A directory on NFS that is not empty after everything in it was removed, since a process has a file in it open."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver._util.removal import remove_closed, remove_tree_without_rename
from tfimm_resolver.maintenance import removal


@pytest.fixture
def nfs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Directories cannot be removed, as if each had a file that is open; the list receives their paths."""
    paths: list[str] = []

    def fail(path: Any, *_: Any, **__: Any) -> None:
        paths.append(os.fspath(path))
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)

    monkeypatch.setattr(os, "rmdir", fail)
    return paths


def test_what_is_open_is_left_and_the_rest_is_removed(tmp_path: Path, nfs: list[str]) -> None:
    for number, remove in enumerate((remove_closed, remove_tree_without_rename)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "file").touch()
        remove(str(folder))
        assert list(folder.iterdir()) == [] and len(nfs) > number


def test_another_error_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        remove_closed(str(tmp_path / "no"))


def test_a_repair_a_resumed_download_and_a_removal_do_not_fail(
    origin: Origin, cache_dir: Path, nfs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfimm_resolver._util.rename_check.check_rename", lambda folder: None)  # it needs an empty directory
    handle = origin.put("/m.tar.gz", tar_gz({**MODEL, "assets/large": os.urandom(9 << 20)}))
    path = resolve(handle)
    os.unlink(f"{path}/saved_model.pb")
    repaired = resolve(handle)
    assert files_in(repaired).items() >= MODEL.items()
    (result,) = removal.remove(handle)
    assert result.error is None and nfs
    assert files_in(resolve(handle)).items() >= MODEL.items()
