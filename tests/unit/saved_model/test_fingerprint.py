"""Tests of ``saved_model.fingerprint``; tests/tensorflow/inspection compares it with TensorFlow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.checkpoints import encode_message
from tfimm_resolver.saved_model.fingerprint import Fingerprint, read_fingerprint


def test_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "fingerprint.pb").write_bytes(encode_message([(1, 2**64 - 1), (5, 7), (6, b""), (7, b"1234")]))
    found = read_fingerprint(str(tmp_path))
    assert found == Fingerprint(saved_model_checksum=2**64 - 1, checkpoint_hash=7, uuid="1234")
    assert found is not None and found.facts()["saved_model_checksum"] == "18446744073709551615"


@pytest.mark.parametrize("data", [None, b"a fingerprint", b"\x08"], ids=repr)
def test_what_cannot_be_read_is_none(data: bytes | None, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "fingerprint.pb").write_bytes(data)
    assert read_fingerprint(str(tmp_path)) is None
