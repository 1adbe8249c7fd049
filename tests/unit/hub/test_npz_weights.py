"""Tests of ``hub.npz_weights``: arrays of numbers are read, and nothing that is larger than its member."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tfimm_resolver.errors import WeightsError
from tfimm_resolver.hub import npz_weights


def make_npy(shape: tuple[int, ...], data: bytes, descr: str = "<f8") -> bytes:
    """Return a member with a header that may not fit its data."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue() + data


def write(path: Path, members: dict[str, bytes]) -> str:
    """Write a zip of members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return str(path)


def test_numbers_are_read_and_the_rest_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez_compressed(
        path, a=np.arange(3), b=np.asfortranarray([[1, 2], [3, 4]]), text=np.array(["x"]), empty=np.zeros((0, 2))
    )
    arrays = npz_weights.read(str(path))
    assert {name: array.tolist() for name, array in arrays.items()} == {"a": [0, 1, 2], "b": [[1, 2], [3, 4]], "empty": []}


@pytest.mark.parametrize("shape", [(10**9,), (12,), (14,), (2**62, 4), (0,), (-1,), (-13, -1)])
def test_a_member_that_does_not_have_the_size_of_its_shape_is_an_error(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"m\.npz: a has .* bytes, which is not the size of its shape"):
        npz_weights.read(write(tmp_path / "m.npz", {"a.npy": make_npy(shape, bytes(104))}))


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="a holds Python objects"):
        npz_weights.read(write(tmp_path / "m.npz", {"a.npy": make_npy((1,), bytes(8), "|O")}))


def test_the_limit_of_members_holds_whatever_follows_the_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_MEMBERS", "9")
    path = Path(write(tmp_path / "m.npz", {f"{number}.npy": b"" for number in range(20)}))
    with pytest.raises(WeightsError, match=r"m\.npz cannot be read: .*over 9 members"):
        npz_weights.read(str(path))
    for data in (path.read_bytes() + b"x", path.read_bytes()[:-1], b"PK\3\4"):
        path.write_bytes(data)
        with pytest.raises(WeightsError, match=r"m\.npz cannot be read: the zip is damaged"):
            npz_weights.read(str(path))
