"""Bundles: read within limits, and written in the form of the specification."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.signing import make_bundle, make_key
from tfimm_resolver.errors import SignatureError
from tfimm_resolver.trust.bundle import BYTES_MAX, Bundle, decode_base64, expect, parse_unambiguous_json


def test_a_bundle_that_is_written_is_read_again(tmp_path: Path) -> None:
    for bundle in (Bundle(b"payload", b"signature", "ab" * 32), Bundle(b"payload", b"signature", "", (b"one", b"two"))):
        assert Bundle.parse(bundle.to_text().encode()) == bundle
    key = make_key(tmp_path)
    parsed = Bundle.parse(json.dumps(make_bundle(key, b"payload")).encode())
    assert (parsed.payload, parsed.key_hint, parsed.is_logged) == (b"payload", key.hint, False)
    assert parsed.signed_bytes == b"DSSEv1 28 application/vnd.in-toto+json 7 payload"


def test_one_certificate_and_entries_of_a_log_are_read(tmp_path: Path) -> None:
    facts = make_bundle(make_key(tmp_path), b"payload")
    material = {"certificate": {"rawBytes": base64.b64encode(b"one").decode()}, "tlogEntries": [{}]}
    facts["verificationMaterial"] = material
    parsed = Bundle.parse(json.dumps(facts).encode())
    assert parsed.certificates == (b"one",) and parsed.is_logged


@pytest.mark.parametrize(
    "material",
    [
        {"x509CertificateChain": {"certificates": [{"rawBytes": "AAAA"}] * 11}},
        {"x509CertificateChain": {"certificates": "AAAA"}},
        {"x509CertificateChain": {"certificates": ["AAAA"]}},
        {"x509CertificateChain": {"certificates": [{}]}},
        {"certificate": "AAAA"},
        {"certificate": {"rawBytes": "A" * (1 << 17)}},
    ],
    ids=["many", "a text", "texts", "nothing", "one text", "long"],
)
def test_certificates_that_are_none_are_refused(tmp_path: Path, material: dict[str, Any]) -> None:
    facts = make_bundle(make_key(tmp_path), b"payload")
    facts["verificationMaterial"] = material
    with pytest.raises(SignatureError):
        Bundle.parse(json.dumps(facts).encode())


def test_sizes_are_limited() -> None:
    with pytest.raises(SignatureError, match="over"):
        parse_unambiguous_json(b'{"a": "' + b"x" * BYTES_MAX + b'"}', "the bundle", 10)
    with pytest.raises(SignatureError, match="values"):
        parse_unambiguous_json(b'{"a": [1, 2, 3, 4]}', "the bundle", 3)
    with pytest.raises(SignatureError, match="over 2 bytes"):
        decode_base64({"a": "AAAA"}, "a", 2)
    assert decode_base64({"a": "AAAA"}, "a", 3) == bytes(3)


def test_a_value_of_another_kind_is_refused() -> None:
    assert expect({"a": 1}, "a", int) == 1
    for facts in ({}, {"a": True}, {"a": "1"}, {"a": None}):
        with pytest.raises(SignatureError, match="a is missing"):
            expect(facts, "a", int)
