"""The bytes of a bundle: hashed, counted, and described if they are something else."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import IO, Any

import pytest

from tests.fakes.archives import tar_gz, tar_of, zip_of
from tfimm_resolver.bundles.stream import BundleStream, find_path
from tfimm_resolver.errors import HandleError, IntegrityError
from tfimm_resolver.progress.renderers import SilentDisplay


def open_stream(source: IO[Any]) -> BundleStream:
    """Return a stream that shows no progress."""
    return BundleStream(source, "zoo.tar", SilentDisplay())


def read(data: bytes) -> BundleStream:
    """Return a stream that was read to its end."""
    stream = open_stream(io.BytesIO(data))
    assert b"".join(stream.iterate_chunks()) == data
    return stream


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "it is empty"),
        (tar_gz(), "it is gzip data"),
        (zip_of(), "it is a zip archive"),
        (b"BZh91AY", "it is bzip2 data"),
        (b"\xfd7zXZ\0", "it is xz data"),
        (tar_of(), "it is empty, apart from zeros"),
        (b"a text", "it begins with 'a text'"),
    ],
    ids=["empty", "gzip", "zip", "bzip2", "xz", "zeros", "text"],
)
def test_describes_what_is_not_a_bundle(data: bytes, text: str) -> None:
    stream = read(data)
    assert not stream.is_bundle() and stream.describe_start().startswith(text)


def test_a_bundle_begins_with_the_name_of_a_record() -> None:
    assert read(b"0" * 40 + b".descriptor.txt\0" + bytes(500)).is_bundle()
    assert not read(b"x" * 40 + b".descriptor.txt\0").is_bundle()


def test_compares_the_hash_in_any_case() -> None:
    sha256 = hashlib.sha256(b"data").hexdigest()
    read(b"data").check(sha256.upper())
    read(b"data").check(None)
    with pytest.raises(IntegrityError, match=f"received {sha256}\n  pinned   {'a' * 64}") as caught:
        read(b"data").check("A" * 64)
    assert "zoo.tar" in caught.value.text and caught.value.fix.startswith("Nothing was imported. Copy ")


def test_a_pipe_is_read_without_waiting_for_its_end() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as source, open(writing, "wb", buffering=0) as sink:
        sink.write(b"abc")
        assert next(open_stream(source).iterate_chunks()) == b"abc"


def test_a_stream_of_text_is_an_error() -> None:
    with pytest.raises(HandleError, match=r"zoo\.tar is a stream of str, not of bytes"):
        list(open_stream(io.StringIO("text")).iterate_chunks())


def test_a_bundle_is_a_path_or_a_stream() -> None:
    assert find_path("zoo.tar", "read") == find_path(Path("zoo.tar"), "read") == "zoo.tar"
    assert find_path(io.BytesIO(), "read") is None


@pytest.mark.parametrize(("bundle", "text"), [(7, "not int: 7"), (b"zoo.tar", "not bytes"), ("zoo\0.tar", "NUL")])
def test_anything_else_is_an_error(bundle: object, text: str) -> None:
    with pytest.raises(HandleError, match=text):
        find_path(bundle, "read")
