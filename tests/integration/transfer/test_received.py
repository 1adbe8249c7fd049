"""Tests of ``transfer.received``: the origin, the digests and the encoding of a response."""

from __future__ import annotations

import base64
import gzip
import hashlib

import pytest

from tests.fakes.origin import Origin
from tfimm_resolver.errors import ArchiveError, IntegrityError
from tfimm_resolver.http.body import ResponseBody
from tfimm_resolver.http.session import Session, get
from tfimm_resolver.transfer.received import explain_encoding, make_origin, open_hashed

DIGEST = f"sha-256=:{base64.b64encode(hashlib.sha256(b'encoded').digest()).decode()}:"


@pytest.mark.parametrize(
    ("headers", "etag", "modified"),
    [
        ({"ETag": '"1"', "Last-Modified": "Sun, 01 Nov 2026 00:00:00 GMT"}, '"1"', ""),
        ({"ETag": 'W/"1"'}, 'W/"1"', ""),
        ({}, "", ""),
    ],
)
def test_the_origin_has_the_url_without_its_query_and_the_version(
    headers: dict[str, str], etag: str, modified: str, origin: Origin
) -> None:
    url = origin.put("/m.tgz?token=hidden", b"body", headers=headers)
    with Session() as session, get(session, url) as response:
        found = make_origin(response)
    assert (found.etag, found.modified) == (etag, modified)
    assert found.url.startswith(f"{origin.url}/m.tgz") and "hidden" not in found.url


def test_a_body_is_decoded_and_its_digest_is_that_of_the_sent_bytes(origin: Origin) -> None:
    sent = gzip.compress(b"model", mtime=0)
    digest = base64.b64encode(hashlib.sha256(sent).digest()).decode()
    url = origin.put("/w.h5", sent, headers={"Content-Encoding": "gzip", "Repr-Digest": f"sha-256=:{digest}:"})
    with Session() as session, get(session, url) as response:
        reader, size_bytes = open_hashed(ResponseBody(response).read, response, len(sent), is_archive=False)
        received = b"".join(iter(reader.read_chunk, b""))
        reader.check(url)
    assert (received, size_bytes) == (b"model", None), "the size of what is read is not known"
    assert reader.digest.hexdigest() == hashlib.sha256(b"model").hexdigest()


def test_bytes_that_differ_from_the_stated_digest_are_refused(origin: Origin) -> None:
    url = origin.put("/w.h5", b"changed", headers={"Repr-Digest": DIGEST})
    with Session() as session, get(session, url) as response:
        reader, size_bytes = open_hashed(ResponseBody(response).read, response, 7, is_archive=False)
        assert b"".join(iter(reader.read_chunk, b"")) == b"changed" and size_bytes == 7
        with pytest.raises(IntegrityError, match="Repr-Digest"):
            reader.check(url)


def test_the_error_of_an_unreadable_archive_names_the_encoding(origin: Origin) -> None:
    encoded = origin.put("/a", b"", headers={"Content-Encoding": "br"})
    for url, expected in ((encoded, "not an archive\n  the server states Content-Encoding: br"), (origin.put("/b"), None)):
        with Session() as session, get(session, url) as response, pytest.raises(ArchiveError) as caught:  # noqa: SIM117
            with explain_encoding(response):
                raise ArchiveError("not an archive")
        assert caught.value.text == (expected or "not an archive")
