"""The certificate of a signer leads to an authority that is trusted, and each certificate on the way may do what it does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.fakes.archives import MODEL
from tests.fakes.signing import Key, make_bundle, make_certificate, make_key, make_statement, write_certificates
from tfimm_resolver.cache.record import hash_tree
from tfimm_resolver.errors import SignatureError
from tfimm_resolver.manifest import SignedBy
from tfimm_resolver.trust.certificates import follow_chain
from tfimm_resolver.trust.signer import Signer
from tfimm_resolver.trust.verification import verify

EMAIL = "team@models.example"


class Authority:
    """A root, an authority below it, and a signer, whose certificates a test may replace."""

    def __init__(self, folder: Path) -> None:
        self.keys = [make_key(folder, name) for name in ("root", "middle", "signer")]
        self.root = make_certificate("Root", self.keys[0], is_authority=True)
        self.middle = make_certificate("Middle", self.keys[1], (self.root, self.keys[0]), is_authority=True)
        self.signer = make_certificate("Signer", self.keys[2], (self.middle, self.keys[1]), email=EMAIL)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("keys"))


def encode(*certificates: x509.Certificate) -> list[bytes]:
    return [one.public_bytes(serialization.Encoding.DER) for one in certificates]


@pytest.mark.parametrize("trusted", ["root", "middle", "signer"])
@pytest.mark.parametrize("identity", ["", EMAIL, "Signer"])
def test_a_chain_leads_to_whichever_certificate_is_trusted(authority: Authority, trusted: str, identity: str) -> None:
    anchor = getattr(authority, trusted)
    found = follow_chain(encode(authority.signer, authority.middle), encode(anchor), identity)
    assert found.identity == (identity or EMAIL)


def test_the_order_of_the_authorities_in_a_bundle_does_not_matter(authority: Authority) -> None:
    follow_chain(encode(authority.signer, authority.root, authority.middle), encode(authority.root))


def test_a_model_signed_with_a_certificate_is_verified(tmp_path: Path, authority: Authority) -> None:
    for name, data in MODEL.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_bytes(data)
    roots = write_certificates(tmp_path / "roots.pem", authority.root)

    def check(key: Key) -> SignedBy:
        bundle = json.dumps(make_bundle(key, make_statement(MODEL), [authority.signer, authority.middle])).encode()
        tree = str(tmp_path / "model")
        return verify(bundle, Signer(certificate_chain=str(roots), identity=EMAIL), hash_tree(tree), tree)

    signed_by = check(authority.keys[2])
    assert (signed_by.kind, signed_by.identity) == ("certificate", EMAIL)
    assert Signer(certificate_chain=str(roots)).is_satisfied_by(signed_by)
    assert not Signer(certificate_chain=str(roots), identity="other").is_satisfied_by(signed_by)
    other = write_certificates(tmp_path / "other.pem", authority.middle)
    assert not Signer(certificate_chain=str(other)).is_satisfied_by(signed_by)
    with pytest.raises(SignatureError, match="not by this key"):
        check(authority.keys[1])


def test_a_bare_key_is_not_a_certificate(authority: Authority) -> None:
    with pytest.raises(SignatureError, match="has no certificates"):
        follow_chain([], encode(authority.root))


def test_another_identity_is_refused(authority: Authority) -> None:
    with pytest.raises(SignatureError, match=f"the signer is {EMAIL}, Signer, not other@"):
        follow_chain(encode(authority.signer, authority.middle), encode(authority.root), "other@models.example")


def test_a_foreign_chain_is_refused(tmp_path: Path, authority: Authority) -> None:
    other = Authority(tmp_path)  # of the same names
    with pytest.raises(SignatureError, match="not issued by an authority that is trusted"):
        follow_chain(encode(other.signer, other.middle, other.root), encode(authority.root))
    with pytest.raises(SignatureError, match="not issued by an authority that is trusted"):
        follow_chain(encode(authority.signer), encode(authority.root))  # the one between is missing
    itself = make_certificate("Signer", authority.keys[2])
    with pytest.raises(SignatureError, match="not issued by an authority that is trusted"):
        follow_chain(encode(itself), encode(authority.root))


@pytest.mark.parametrize("which", ["root", "middle", "signer"])
@pytest.mark.parametrize(("days", "message"), [((-9, -1), "expired at"), ((1, 9), "valid only from")])
def test_a_certificate_that_has_expired_or_is_not_valid_yet_is_refused(
    authority: Authority, which: str, days: tuple[int, int], message: str
) -> None:
    root, middle, signer = authority.keys
    chosen = {which: days}
    root_certificate = make_certificate("Root", root, is_authority=True, days=chosen.get("root", (-1, 1)))
    issuer = (root_certificate, root)
    middle_certificate = make_certificate("Middle", middle, issuer, is_authority=True, days=chosen.get("middle", (-1, 1)))
    last = make_certificate("Signer", signer, (middle_certificate, middle), days=chosen.get("signer", (-1, 1)))
    with pytest.raises(SignatureError, match=message):
        follow_chain(encode(last, middle_certificate), encode(root_certificate))
    if which == "signer":
        with pytest.raises(SignatureError, match=message):
            follow_chain(encode(last), encode(last))


def test_the_time_of_an_earlier_verification_counts(authority: Authority) -> None:
    import time

    old = make_certificate("Signer", authority.keys[2], (authority.root, authority.keys[0]), days=(-9, -3))
    root = make_certificate("Root", authority.keys[0], is_authority=True, days=(-9, 9))
    with pytest.raises(SignatureError, match="expired at"):
        follow_chain(encode(old), encode(root))
    follow_chain(encode(old), encode(root), time_s=time.time() - 5 * 86400)


def test_a_signer_is_not_an_authority(tmp_path: Path, authority: Authority) -> None:
    key = make_key(tmp_path)
    below = make_certificate("Below", key, (authority.signer, authority.keys[2]))
    with pytest.raises(SignatureError, match="not that of a certificate authority"):
        follow_chain(encode(below, authority.signer, authority.middle), encode(authority.root))
    with pytest.raises(SignatureError, match="not that of a certificate authority"):
        follow_chain(encode(below), encode(authority.signer))  # also not one that is trusted itself


def test_a_chain_is_not_longer_than_its_authority_allows(authority: Authority) -> None:
    root, middle, signer = authority.keys
    short = make_certificate("Root", root, is_authority=True, path_length=0)
    between = make_certificate("Middle", middle, (short, root), is_authority=True)
    last = make_certificate("Signer", signer, (between, middle))
    with pytest.raises(SignatureError, match="does not allow so many"):
        follow_chain(encode(last, between), encode(short))


def test_a_certificate_that_is_not_for_signing_is_refused(authority: Authority) -> None:
    issuer = (authority.root, authority.keys[0])
    other = make_certificate("Server", authority.keys[2], issuer, for_signing=False)
    with pytest.raises(SignatureError, match="is not for signing"):
        follow_chain(encode(other), encode(authority.root))


def test_a_critical_extension_that_is_not_known_is_refused(authority: Authority) -> None:
    def limit_names(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
        limits = x509.NameConstraints([x509.DNSName("other.example")], None)
        return builder.add_extension(limits, critical=True)

    root = make_certificate("Root", authority.keys[0], is_authority=True, edit=limit_names)
    signer = make_certificate("Signer", authority.keys[2], (root, authority.keys[0]))
    with pytest.raises(SignatureError, match="critical extension"):
        follow_chain(encode(signer), encode(root))


def test_certificates_that_issue_each_other_end(authority: Authority) -> None:
    root, middle, _ = authority.keys
    one = make_certificate("Middle", middle, (authority.root, root), is_authority=True)
    two = make_certificate("Root", root, (authority.middle, middle), is_authority=True)
    with pytest.raises(SignatureError):
        follow_chain(encode(authority.signer, one, two), encode(make_certificate("Other", middle, is_authority=True)))


@pytest.mark.parametrize("data", [b"", b"0", b"\x30\x82\xff\xff", bytes(1000)], ids=len)
def test_what_is_not_a_certificate_is_refused(authority: Authority, data: bytes) -> None:
    with pytest.raises(SignatureError, match="cannot be parsed"):
        follow_chain([data], encode(authority.root))
