"""Targets: bundles of signatures, their statements, certificates, rules: nothing that was changed may be accepted."""

from __future__ import annotations

import base64
import datetime
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.fakes.archives import MODEL
from tests.fakes.signing import make_sharded_statement, make_statement
from tests.fuzz.target import Target, ViolationError
from tfimm_resolver.archives.member_policy import safe_parts
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.trust.bundle import Bundle, encode_signed_bytes
from tfimm_resolver.trust.certificates import follow_chain
from tfimm_resolver.trust.digests import compare
from tfimm_resolver.trust.keys import load_public_key, make_hint, verify
from tfimm_resolver.trust.policy import list_rules
from tfimm_resolver.trust.statement import Statement

_DER, _PUBLIC = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
_KEYS = [ec.derive_private_key(number, ec.SECP256R1()) for number in (11, 12, 13)]
_PUBLIC_KEYS = [key.public_key().public_bytes(_DER, _PUBLIC) for key in _KEYS]
_SIGNATURE = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)  # so that a seed makes the same input in every process
_PAYLOADS = [
    json.dumps(make_statement(MODEL)).encode(),
    json.dumps(make_statement(MODEL, ignored=["model.sig", ".git", "notes"]), indent=1).encode(),
    json.dumps(make_sharded_statement(MODEL, 100)).encode(),
    json.dumps(make_statement(MODEL, hash_name="blake2b")).encode(),
]
_FILES = [FileEntry(name, len(data), "0" * 64) for name, data in MODEL.items()]


def _make_certificate(number: int, issuer: int, *, is_authority: bool) -> bytes:
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Name {one}")]) for one in (number, issuer)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(names[0])
        .issuer_name(names[1])
        .public_key(_KEYS[number].public_key())
        .serial_number(number + 1)
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2120, 1, 1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.RFC822Name("team@models.example")]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    )
    return builder.sign(_KEYS[issuer], hashes.SHA256(), ecdsa_deterministic=True).public_bytes(_DER)


def _make_chain() -> list[bytes]:
    """Return the certificates of a signer, of an authority, and of the root that is trusted."""
    return [
        _make_certificate(0, 1, is_authority=False),
        _make_certificate(1, 2, is_authority=True),
        _make_certificate(2, 2, is_authority=True),
    ]


def _make_bundles() -> list[bytes]:
    chain = _make_chain()
    return [
        Bundle(payload, _KEYS[0].sign(encode_signed_bytes(payload), _SIGNATURE), make_hint(_PUBLIC_KEYS[0]), certificates)
        .to_text()
        .encode()
        for payload, certificates in zip(_PAYLOADS, [(), tuple(chain[:2]), (), ()], strict=True)
    ]


def _verify_bundle(data: bytes, _: Path) -> None:
    """Verify a bundle by its key; what is accepted has a payload that was signed."""
    bundle = Bundle.parse(data)
    verify(load_public_key(_PUBLIC_KEYS[0]), bundle.signature, bundle.signed_bytes)
    if bundle.payload not in _PAYLOADS:
        raise ViolationError("a payload that was never signed is accepted")
    if Bundle.parse(bundle.to_text().encode()).payload != bundle.payload:
        raise ViolationError("it cannot be written again")


def _parse_statement(data: bytes, into: Path) -> None:
    """Parse a statement as if it were signed, and compare a model with it."""
    statement = Statement.parse(data)
    for name in statement.digests:
        safe_parts(name.rsplit(":", 2)[0] if statement.shard_bytes else name, is_canonical=True)
    try:
        compare(statement, _FILES, str(into))
    except ResolverError:
        return
    if statement.digests:
        raise ViolationError("a model without its files is accepted")


def _follow_chain(data: bytes, _: Path) -> None:
    """Follow a chain whose first certificate is the input; what is accepted has the key of the one that was issued."""
    chain = _make_chain()
    found = follow_chain([data, chain[1]], [chain[2]])
    if found.public_key.public_bytes(_DER, _PUBLIC) not in _PUBLIC_KEYS:
        raise ViolationError("a certificate that was never issued is accepted")
    if found.identity != "team@models.example":
        raise ViolationError(f"the identity was changed: {found.identity!r}")


def _read_settings(data: bytes, _: Path) -> None:
    """Read a settings file with rules."""
    from tfimm_resolver import settings

    path = Path(settings.config_file())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    list_rules()


_RULES = [
    b'[[trust]]\nprefix = "https://models.example/"\nsigner = { key = ["a.pub", "b.pub"] }\nsignature = "half.sig"\n',
    b'max_size = "5GB"\n[[trust]]\nprefix = "/srv/"\nsigner = { certificate_chain = "ca.pem", identity = "me" }\n',
    b'[[trust]]\nprefix = "hf://a/"\n[trust.signer]\nidentity = "me@x"\nissuer = "https://id.example"\n',
]
_JSON_TOKENS = (b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\u0000", b"null", b"true", b"1e999", b"../", b"/", b"\xff")

TARGETS = [
    Target("signatures", _verify_bundle, _make_bundles, (*_JSON_TOKENS, base64.b64encode(b"{}"))),
    Target("statements", _parse_statement, lambda: _PAYLOADS, (*_JSON_TOKENS, b"ignore_paths", b'"."', b":0:5", b"files")),
    Target("certificates", _follow_chain, lambda: _make_chain()[:2], (b"\x30\x82", b"\x06\x03\x55\x1d", b"\x01\x01\xff")),
    Target(
        "rules", _read_settings, lambda: _RULES, (b"[[trust]]", b"signer", b"prefix", b"=", b'"', b"{", b"}", b"//", b"%2e")
    ),
]
