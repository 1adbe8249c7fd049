"""What is published can be read by everybody who can list the root, whatever the umask of the process that fetched it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL
from tests.fakes.named_models import put_model
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.sharing import share_tree
from tfimm_resolver.manifest import FetchResult, Origin

KEY = "https://h.example/m.tar.gz"


def list_modes(folder: Path) -> set[tuple[bool, int]]:
    """Return for each file and directory whether it is a directory, and its permissions."""
    return {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("root_mode", "expected"),
    [
        (0o755, {(True, 0o755), (False, 0o644)}),
        (0o777, {(True, 0o755), (False, 0o644)}),
        (0o2775, {(True, 0o755), (False, 0o644)}),
        (0o750, {(True, 0o750), (False, 0o640)}),
        (0o700, {(True, 0o700), (False, 0o600)}),
    ],
)
def test_a_strict_umask_locks_no_reader_of_the_root_out(
    tmp_path: Path, root_mode: int, expected: set[tuple[bool, int]]
) -> None:
    path = tmp_path / "root"
    path.mkdir()
    path.chmod(root_mode)
    cache = Cache(LocalRoot(str(path)))

    def fill(into: Path, _: Path) -> FetchResult:
        put_model(into, MODEL)
        return FetchResult(Origin())

    before = os.umask(0o077)
    try:
        cache.ensure(KEY, KEY, fill)
        cache.set_alias(KEY, "https://h.example/m/1.tar.gz")
    finally:
        os.umask(before)
    assert {(is_folder, mode & 0o777) for is_folder, mode in list_modes(path)} == expected


def test_programs_stay_programs(tmp_path: Path) -> None:
    tree = put_model(tmp_path / "m")
    (tree / "program").touch(mode=0o700)
    share_tree(str(tree), 0o755)
    assert stat.S_IMODE((tree / "program").stat().st_mode) == 0o755
