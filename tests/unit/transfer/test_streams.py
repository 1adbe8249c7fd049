"""Tests of ``transfer.streams``: local files, chunk readers, hashing readers."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from pathlib import Path

import pytest

from tfimm_resolver.errors import FetchError, IntegrityError, NotFoundError
from tfimm_resolver.http.digest_headers import ServerDigests
from tfimm_resolver.progress.renderers import LogDisplay
from tfimm_resolver.progress.stats import TransferStats
from tfimm_resolver.transfer.streams import ChunkReader, HashingReader, LocalFile, report_chunks


def state_digest(data: bytes) -> ServerDigests:
    """Return the digests of a server that states the sha256 of ``data``."""
    value = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return ServerDigests({"Repr-Digest": f"sha-256=:{value}:"}, is_complete=True)


def test_a_local_file_is_read_in_parts_and_has_a_size(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"abcde")
    with LocalFile(str(tmp_path / "m")) as file:
        assert file.size_bytes == 5
        assert [file.read(3), file.read(3), file.read(3)] == [b"abc", b"de", b""]


def test_a_missing_file_and_a_pipe_are_errors_that_name_the_path(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"{tmp_path}/gone cannot be read"):
        LocalFile(str(tmp_path / "gone"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FetchError, match=f"{tmp_path}/pipe cannot be read"):
        LocalFile(str(tmp_path / "pipe"))


def test_chunks_are_counted_as_progress_once_each() -> None:
    stats = TransferStats("m", None)
    assert list(report_chunks(iter([b"abc", b"de"]), LogDisplay(stats))) == [b"abc", b"de"]
    assert stats.done_bytes == 5


def test_a_chunk_reader_splits_chunks_and_does_not_join_them() -> None:
    stats = TransferStats("m", None)
    reader = ChunkReader(iter([b"abcde", b"f"]), LogDisplay(stats))
    assert [reader.read(2), reader.read(2), reader.read(2), reader.read(2), reader.read(2)] == [b"ab", b"cd", b"e", b"f", b""]
    assert stats.done_bytes == 6


def test_a_hashing_reader_hashes_what_it_reads_and_compares_it_with_the_server() -> None:
    reader = HashingReader(io.BytesIO(b"abc").read, state_digest(b"abc"))
    assert [reader.read_chunk(), reader.read_chunk()] == [b"abc", b""]
    assert (reader.digest.hexdigest(), reader.size_bytes) == (hashlib.sha256(b"abc").hexdigest(), 3)
    reader.check("https://host/m")

    other = HashingReader(io.BytesIO(b"abd").read, state_digest(b"abc"))
    other.read_chunk()
    with pytest.raises(IntegrityError, match="https://host/m sent bytes that do not match its Repr-Digest header"):
        other.check("https://host/m")


def test_digests_of_encoded_bytes_are_updated_by_the_caller() -> None:
    expected = state_digest(b"encoded")
    expected.update(b"encoded")
    reader = HashingReader(io.BytesIO(b"decoded").read, expected, is_updated=True)
    reader.read_chunk()
    reader.check("https://host/m")
