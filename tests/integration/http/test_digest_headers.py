"""Digests that a server states, and bytes that do not match them."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from pathlib import Path

import pytest

from tests.fakes.archives import files_in
from tests.fakes.faults import COMPLETE, NOTHING, RANGE_BYTES, RANGES, Row, archive, check, files, list_kinds, rows
from tests.fakes.faults.origin import Fault, Host, Response, set_header
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tfimm_resolver import resolve
from tfimm_resolver.errors import IntegrityError

STREAM: dict[str, object] = {"ranges": False}


def compute_crc32c(body: bytes) -> bytes:
    """Compute CRC-32C (RFC 3720, appendix B.4) with a table, independently of the library that the package uses."""
    table = []
    for index in range(256):
        entry = index
        for _ in range(8):
            entry = entry >> 1 ^ 0x82F63B78 * (entry & 1)
        table.append(entry)
    crc = 0xFFFFFFFF
    for byte in body:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return (crc ^ 0xFFFFFFFF).to_bytes(4, "big")


def compute_hashes(body: bytes) -> dict[str, str]:
    """Compute every hash of a body, in base64."""
    raw = {name: hashlib.new(name, body).digest() for name in ("md5", "sha1", "sha256", "sha512")}
    raw |= {"crc32c": compute_crc32c(body), "crc32": zlib.crc32(body).to_bytes(4, "big")}
    texts = {name: base64.b64encode(value).decode() for name, value in raw.items()}
    return texts | {f"{name}_hex": value.hex() for name, value in raw.items()}


RIGHT, WRONG = compute_hashes(archive()), compute_hashes(b"123456789")
FORMS = {
    "x-goog-hash crc32c": ("x-goog-hash", "crc32c={crc32c}"),
    "x-goog-hash md5": ("x-goog-hash", "md5={md5}"),
    "x-goog-hash both": ("x-goog-hash", "crc32c={crc32c},md5={md5}"),
    "x-goog-hash both, spaced": ("x-goog-hash", "crc32c={crc32c} , md5={md5}"),
    "Repr-Digest sha-256": ("Repr-Digest", "sha-256=:{sha256}:"),
    "Repr-Digest sha-512": ("Repr-Digest", "sha-512=:{sha512}:"),
    "Repr-Digest both": ("Repr-Digest", "sha-512=:{sha512}:, sha-256=:{sha256}:"),
    "Repr-Digest with a parameter": ("Repr-Digest", "sha-256=:{sha256}:;now;by=host , md5=:{md5}: ; a=1"),
    "Repr-Digest among unknown ones": ("Repr-Digest", "id-sha=:AAAA:, sha-256=:{sha256}:, unixsum=:AAA=:"),
    "Digest sha-256": ("Digest", "SHA-256={sha256}"),
    "Digest sha-512 and md5": ("Digest", "sha-512={sha512},MD5={md5}"),
    "Digest crc32c": ("Digest", "crc32c={crc32c}"),
    "Artifactory sha256": ("X-Checksum-Sha256", "{sha256_hex}"),
    "Artifactory sha1": ("X-Checksum-Sha1", "{sha1_hex}"),
    "Artifactory sha512": ("X-Checksum-Sha512", "{sha512_hex}"),
    "Artifactory md5": ("X-Checksum-Md5", "{md5_hex}"),
    "Amazon sha256": ("x-amz-checksum-sha256", "{sha256}"),
    "Amazon sha1": ("x-amz-checksum-sha1", "{sha1}"),
    "Amazon crc32c": ("x-amz-checksum-crc32c", "{crc32c}"),
    "Amazon crc32": ("x-amz-checksum-crc32", "{crc32}"),
    "Azure": ("x-ms-blob-content-md5", "{md5}"),
}
OF_A_RANGE = ("Digest", "x-amz-checksum-sha256", "x-amz-checksum-sha1", "x-amz-checksum-crc32c", "x-amz-checksum-crc32")
"""Headers that some servers compute for the range that they send, or for a part."""

MIXED = {
    "x-goog-hash, wrong md5": ("x-goog-hash", f"crc32c={RIGHT['crc32c']},md5={WRONG['md5']}"),
    "x-goog-hash, wrong crc32c": ("x-goog-hash", f"crc32c={WRONG['crc32c']},md5={RIGHT['md5']}"),
    "Repr-Digest, wrong sha-512": ("Repr-Digest", f"sha-256=:{RIGHT['sha256']}:, sha-512=:{WRONG['sha512']}:"),
}
MALFORMED = {
    "no base64": ("Repr-Digest", "sha-256=:!!!!:"),
    "too short": ("Repr-Digest", "sha-256=:AAAA:"),
    "too long": ("Repr-Digest", f"sha-256=:{WRONG['sha512']}:"),
    "no colons": ("Repr-Digest", f"sha-256={WRONG['sha256']}"),
    "one colon": ("Repr-Digest", f"sha-256=:{WRONG['sha256']}"),
    "a string": ("Repr-Digest", f'sha-256="{WRONG["sha256"]}"'),
    "unknown hash": ("Repr-Digest", f"sha-257=:{WRONG['sha256']}:"),
    "empty": ("Repr-Digest", ""),
    "only commas": ("Digest", ",,,"),
    "no value": ("Digest", "sha-256"),
    "nothing behind it": ("Digest", "sha-256="),
    "not ASCII": ("Digest", "sha-256=\xff\xfe"),
    "hexadecimal": ("x-goog-hash", f"md5={hashlib.md5(b'123456789').hexdigest()}"),
    "crc32c as a number": ("x-goog-hash", "crc32c=3808858755"),
    "Content-MD5 in hexadecimal": ("Content-MD5", hashlib.md5(b"123456789").hexdigest()),
    "Artifactory in base64": ("X-Checksum-Sha256", WRONG["sha256"]),
    "Artifactory, too short": ("X-Checksum-Md5", "0123"),
    "Amazon, a checksum of checksums": ("x-amz-checksum-sha256", WRONG["sha256"] + "-5"),
    "of a part": ("Content-Digest", f"sha-256=:{WRONG['sha256']}:"),
}

# An endless loop has to fail soon.
pytestmark = pytest.mark.timeout(60)


def make_rows(name: str, fault: Fault, **expected: object) -> list[Row]:
    """Return a row for a download in ranges, and one for a stream."""
    return [
        Row(f"{name}, in ranges", (fault,), requests=(RANGES, RANGES), **expected),  # type: ignore[arg-type]
        Row(f"{name}, as a stream", (fault,), page=STREAM, **expected),  # type: ignore[arg-type]
    ]


def test_the_tests_own_crc32c_is_right() -> None:
    assert compute_crc32c(b"123456789").hex() == "e3069283"


@rows(*(row for name, (field, form) in FORMS.items() for row in make_rows(name, set_header(field, form.format(**RIGHT)))))
def test_a_correct_digest_is_accepted(row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(row, host, cache_dir, monkeypatch)


@rows(
    *(
        row
        for name, (field, value) in {**{n: (f, v.format(**WRONG)) for n, (f, v) in FORMS.items()}, **MIXED}.items()
        for row in make_rows(name, set_header(field, value), error=IntegrityError, words=("/m.tar.gz", field), left=NOTHING)
        if field not in OF_A_RANGE or row.page
    )
)
def test_a_wrong_digest_is_an_error_that_shows_both(
    row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = check(row, host, cache_dir, monkeypatch)
    pairs = [(RIGHT[name], WRONG[name]) for name in RIGHT if name.endswith("_hex")]
    lower = text.lower()
    assert any(actual in lower and expected in lower for actual, expected in pairs), text


@rows(*(row for name, (field, value) in MALFORMED.items() for row in make_rows(name, set_header(field, value))))
def test_a_malformed_digest_is_ignored(row: Row, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(row, host, cache_dir, monkeypatch)


def test_x_goog_hash_may_have_two_lines(host: Host, cache_dir: Path) -> None:
    lines = (set_header("x-goog-hash", f"crc32c={RIGHT['crc32c']}"), set_header("x-goog-hash", f"md5={WRONG['md5']}"))
    with pytest.raises(IntegrityError, match="md5"):
        resolve(host.put("/m.tar.gz", archive(), *lines))
    assert list_kinds(cache_dir) == NOTHING


def test_the_hash_of_a_transcoded_object_is_ignored(host: Host, cache_dir: Path) -> None:
    """Decompressive transcoding: the hash is that of the stored object, and the server sends it decompressed."""
    stored = (set_header("x-goog-hash", f"md5={WRONG['md5']}"), set_header("x-goog-stored-content-encoding", "gzip"))
    assert files_in(resolve(host.put("/m.tar.gz", archive(), *stored, ranges=False))) == files()
    assert list_kinds(cache_dir) == COMPLETE


@pytest.mark.parametrize("value", [RIGHT["md5"], WRONG["md5"]], ids=["right", "wrong"])
def test_content_md5_of_a_complete_body_is_compared(
    value: str, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong: dict[str, object] = {"error": IntegrityError, "words": ("Content-MD5",), "left": NOTHING}
    row = Row("", (set_header("Content-MD5", value),), page=STREAM, **(wrong if value == WRONG["md5"] else {}))  # type: ignore[arg-type]
    check(row, host, cache_dir, monkeypatch)


def test_content_md5_of_a_range_is_ignored(host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Row("", (set_header("Content-MD5", compute_hashes(archive()[:RANGE_BYTES])["md5"]),), requests=(RANGES, RANGES))
    check(row, host, cache_dir, monkeypatch)


@pytest.mark.parametrize("field", OF_A_RANGE)
def test_a_digest_of_the_range_that_was_sent_is_ignored(
    field: str, host: Host, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 3230 means the complete body, which some servers do not know."""

    def add_digest(response: Response) -> None:
        name = field.rpartition("-")[2] if "-" in field else "sha256"
        value = compute_hashes(bytes(response.body))[name]
        response.headers[field] = f"sha-256={value}" if field == "Digest" else value

    check(Row("", (add_digest,), requests=(RANGES, RANGES)), host, cache_dir, monkeypatch)


def test_the_checksum_of_the_parts_checksums_is_ignored(host: Host) -> None:
    wrong = set_header("x-amz-checksum-crc32", WRONG["crc32"])
    handle = host.put("/m.tar.gz", archive(), wrong, set_header("x-amz-checksum-type", "COMPOSITE"), ranges=False)
    assert files_in(resolve(handle)) == files()


def test_a_pin_and_a_digest_are_both_compared(host: Host) -> None:
    pin = hashlib.sha256(archive()).hexdigest()
    handle = host.put("/m.tar.gz", archive(), set_header("x-goog-hash", f"md5={WRONG['md5']}"))
    with pytest.raises(IntegrityError, match=re.compile("x-goog-hash", re.IGNORECASE)):
        resolve(handle, sha256=pin)
    host.put("/m.tar.gz", archive(), set_header("x-goog-hash", f"md5={RIGHT['md5']}"))
    assert files_in(resolve(handle, sha256=pin)) == files()
