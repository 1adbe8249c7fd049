"""Tests of ``saved_model.checkpoint``: bytes become arrays, and nothing is allocated that the files do not have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.fakes.checkpoints import encode_message, make_entry, write_checkpoint
from tfimm_resolver.errors import WeightsError
from tfimm_resolver.saved_model import checkpoint

DATA = np.array([[1, 2, 3], [4, 5, 6]], "<f4").tobytes()


def make_extent(start: int, length: int) -> bytes:
    """Return one dimension of a slice."""
    return encode_message([(1, encode_message([(1, start), (2, length)]))])


def test_numbers_are_read_and_texts_left_out(tmp_path: Path) -> None:
    entries = {
        b"a": make_entry(1, [2, 3], DATA),
        b"half": make_entry(19, [2], DATA[:4]),
        b"text": make_entry(7, [1], b"\1a"),
        b"empty": make_entry(1, [0, 5], b""),
    }
    arrays = checkpoint.read_tensors(write_checkpoint(tmp_path / "m", entries, DATA))
    assert [*arrays] == ["a", "empty", "half"]
    assert arrays["a"].tolist() == [[1, 2, 3], [4, 5, 6]] and arrays["a"].flags.writeable
    assert arrays["half"].dtype == np.float16 and arrays["empty"].shape == (0, 5)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (make_entry(1, [2048, 2048, 1024], DATA), "a has 24 bytes, which is not the size of its shape"),
        (make_entry(1, [2**40], b"", size_bytes=2**42), "is truncated: a tensor ends at byte"),
        (make_entry(1, [6], DATA, offset=1), "is truncated: a tensor ends at byte 25"),
        (make_entry(1, [6], bytes(24)), "is damaged: the checksum of a tensor is wrong"),
        (make_entry(1, [2**63 - 1, 0], DATA), "not the size of its shape"),
    ],
)
def test_an_entry_that_does_not_fit_its_file_is_an_error(entry: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=message):
        checkpoint.read_tensors(write_checkpoint(tmp_path / "m", {b"a": entry}, DATA))


def make_sliced(*starts: int, rows: int = 2) -> dict[bytes, bytes]:
    """Return the entries of a tensor of two rows, which are stored as slices."""
    tensor = make_entry(1, [rows, 3], b"", size_bytes=0)
    slices = [((start, 1), (0, -1)) for start in starts]
    entries = {b"a": tensor + encode_message((7, make_extent(*row) + encode_message([(1, b"")])) for row, _ in slices)}
    for number, extents in enumerate(slices):
        key = checkpoint.encode_slice_key(b"a", extents)
        entries[key] = make_entry(1, [1, 3], DATA[12 * number : 12 * number + 12], offset=12 * number)
    return entries


def test_slices_are_put_together(tmp_path: Path) -> None:
    arrays = checkpoint.read_tensors(write_checkpoint(tmp_path / "m", make_sliced(1, 0), DATA))
    assert [*arrays] == ["a"] and arrays["a"].tolist() == [[4, 5, 6], [1, 2, 3]]


def test_slices_that_do_not_fit_are_an_error(tmp_path: Path) -> None:
    missing = {key: entry for key, entry in make_sliced(0, 1).items() if key == b"a"}
    for entries in (missing, make_sliced(0, 2), make_sliced(0, -1)):
        with pytest.raises(WeightsError, match="a slice of a is missing or does not fit"):
            checkpoint.read_tensors(write_checkpoint(tmp_path / "m", entries, DATA))
    with pytest.raises(WeightsError, match="not the size of its shape"):
        checkpoint.read_tensors(write_checkpoint(tmp_path / "m", make_sliced(0, 1, rows=10**9), DATA))


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, b"\x80"),
        (63, b"\xbf"),
        (64, b"\xc0\x40"),
        (-1, b"\x7f"),
        (-64, b"\x40"),
        (-65, b"\x3f\xbf"),
        (8192, b"\xe0\x20\x00"),
        (2**62, b"\xff\xc0\x40" + bytes(7)),
    ],
)
def test_numbers_in_keys_are_ordered_codes(number: int, encoded: bytes) -> None:
    assert checkpoint.encode_slice_key(b"", ((number, 0),)) == b"\0\0\1\1\1" + encoded + b"\x80"


def test_zeros_and_ones_in_names_are_escaped() -> None:
    assert checkpoint.encode_slice_key(b"a\0b\xff", ()) == b"\0a\0\xffb\xff\0\0\1\0"


def test_tensors_that_share_very_many_bytes_are_an_error_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = write_checkpoint(tmp_path / "m", {b"%d" % number: make_entry(1, [6], DATA) for number in range(4)}, DATA)
    monkeypatch.setattr(checkpoint, "SHARED_BYTES_MAX", 3 * len(DATA))
    assert len(checkpoint.read_tensors(prefix)) == 4
    monkeypatch.setattr(checkpoint, "SHARED_BYTES_MAX", 3 * len(DATA) - 1)
    with pytest.raises(WeightsError, match="its tensors would share over 71 bytes"):
        checkpoint.read_tensors(prefix)
