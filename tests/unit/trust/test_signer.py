"""Whom a user believes, as it is written in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.signing import make_key
from tfimm_resolver.errors import HandleError
from tfimm_resolver.manifest import SignedBy
from tfimm_resolver.trust.signer import Signer, parse_signature, parse_signer

VALID: list[tuple[dict[str, Any], Signer]] = [
    ({"key": "team.pub"}, Signer(keys=("/etc/x/team.pub",))),
    ({"key": ["a.pub", "../b.pub"]}, Signer(keys=("/etc/x/a.pub", "/etc/b.pub"))),
    ({"key": "/keys/team.pub"}, Signer(keys=("/keys/team.pub",))),
    ({"certificate_chain": "ca.pem"}, Signer(certificate_chain="/etc/x/ca.pem")),
    ({"certificate_chain": "ca.pem", "identity": "me"}, Signer(certificate_chain="/etc/x/ca.pem", identity="me")),
    ({"identity": "me@x", "issuer": "https://id.example"}, Signer(identity="me@x", issuer="https://id.example")),
    (
        {"identity": "me@x", "issuer": "https://id.example", "trust_config": "own.json"},
        Signer(identity="me@x", issuer="https://id.example", trust_config="/etc/x/own.json"),
    ),
]
INVALID: list[Any] = [
    *("team.pub", [], {}, 5, {"key": ""}, {"key": []}, {"key": [""]}, {"key": 5}, {"key": [5]}, {"keys": "team.pub"}),
    *({"identity": "me"}, {"issuer": "https://id.example"}, {"certificate_chain": ""}, {"identity": "me", "issuer": ""}),
    *({"key": "a", "certificate_chain": "b"}, {"key": "a", "identity": "me"}, {"key": "a", "issuer": "x"}),
    *({"certificate_chain": "a", "issuer": "x"}, {"key": "a", "trust_config": "c"}, {"certificate_chain": ["a"]}),
]


@pytest.mark.parametrize(("table", "signer"), VALID, ids=map(str, range(len(VALID))))
def test_a_signer_is_parsed(table: dict[str, Any], signer: Signer) -> None:
    assert parse_signer(table, "/etc/x") == signer


@pytest.mark.parametrize("value", INVALID, ids=map(str, range(len(INVALID))))
def test_what_is_not_a_signer_is_an_error(value: Any) -> None:
    with pytest.raises(HandleError, match="signer") as caught:
        parse_signer(value, "/etc/x")
    assert caught.value.fix


def test_the_home_directory_is_expanded(tmp_path: Path) -> None:
    assert parse_signer({"key": "~/team.pub"}, "/etc").keys == (str(tmp_path / "home/team.pub"),)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("half.sig", "/etc/x/half.sig"), ("/a/half.sig", "/a/half.sig"), ("https://h/half.sig", "https://h/half.sig")],
)
def test_a_signature_is_a_path_or_a_url(value: str, expected: str) -> None:
    assert parse_signature(value, "/etc/x") == expected


@pytest.mark.parametrize("value", ["", 5, ["half.sig"], "ftp://h/half.sig", "file:///half.sig", "a\nb"])
def test_what_is_not_a_signature_is_an_error(value: Any) -> None:
    with pytest.raises(HandleError):
        parse_signature(value, "/etc/x")


def test_a_recorded_signature_satisfies_only_the_same_kind_of_signer(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    signer = Signer(keys=(str(key.public_path),))
    (der,) = signer.list_trusted()
    import hashlib

    recorded = SignedBy("key", hashlib.sha256(der).hexdigest())
    assert signer.is_satisfied_by(recorded)
    assert not signer.is_satisfied_by(SignedBy("certificate", recorded.trusted_sha256))
    assert not signer.is_satisfied_by(SignedBy("key", "0" * 64))
    keyless = Signer(identity="me", issuer="https://id.example")
    assert keyless.is_satisfied_by(SignedBy("sigstore", "", "me", "https://id.example"))
    assert not keyless.is_satisfied_by(SignedBy("sigstore", "", "me", "https://other.example"))
    assert not keyless.is_satisfied_by(SignedBy("sigstore", "", "other", "https://id.example"))
    for one in (signer, keyless, Signer(certificate_chain="ca.pem")):
        assert one.describe()
