"""Tests of ``transfer.checksums``: which bodies may be put together from several responses."""

from __future__ import annotations

import pytest

from tests.fakes.archives import gzip_tar, member, tar_gz, tar_of, zip_of
from tfimm_resolver.archives.formats import HEAD_BYTES
from tfimm_resolver.transfer.checksums import Checksums

TAR = tar_of(member("saved_model.pb", b"a graph"))


@pytest.mark.parametrize(
    ("archive", "expected"), [(tar_gz(), True), (gzip_tar(TAR), True), (zip_of(), True), (TAR, False), (b"", False)]
)
def test_only_compressed_archives_have_checksums_of_all_bytes(archive: bytes, expected: bool) -> None:
    assert Checksums().cover(archive[:HEAD_BYTES]) is expected


def test_a_single_file_has_no_checksums_even_if_it_looks_like_an_archive() -> None:
    assert not Checksums(is_archive=False).cover(zip_of()[:HEAD_BYTES])
    assert not Checksums(is_archive=False).are_expected("https://host/m.zip")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/m.tar.gz", True),
        ("https://host/m?name=m.tar", True),
        ("https://host/m.tar", False),
        ("https://host/M.TAR?token=x", False),
    ],
)
def test_the_url_tells_whether_checksums_are_expected(url: str, expected: bool) -> None:
    assert Checksums().are_expected(url) is expected
    assert Checksums(is_hash_known=True).are_expected(url), "a known hash covers every body"


def test_a_stated_hash_covers_every_body_and_is_not_forgotten() -> None:
    stated = Checksums(is_archive=False).with_hash(True)
    assert stated.cover(b"any") and stated.with_hash(False).cover(b"any")
    assert not Checksums(is_archive=False).with_hash(False).cover(b"any")
