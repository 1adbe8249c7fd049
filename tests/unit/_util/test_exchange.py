"""Two paths are exchanged in one step, or not at all."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest

from tfimm_resolver._util.exchange import exchange

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges paths")


def make_two(folder: Path) -> tuple[Path, Path]:
    one, other = folder / "one", folder / "other"
    for path in (one, other):
        path.mkdir()
        (path / path.name).touch()
    return one, other


@linux_only
def test_two_directories_are_exchanged(tmp_path: Path) -> None:
    one, other = make_two(tmp_path)
    assert exchange(str(one), str(other))
    assert (one / "other").exists() and (other / "one").exists()


@linux_only
def test_a_path_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    one, other = make_two(tmp_path)
    with pytest.raises(FileNotFoundError):
        exchange(str(one), str(tmp_path / "none"))
    assert (one / "one").exists() and (other / "other").exists()


def test_a_c_library_without_the_call_exchanges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = make_two(tmp_path)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    assert not exchange(str(one), str(other))
    assert (one / "one").exists() and (other / "other").exists()
