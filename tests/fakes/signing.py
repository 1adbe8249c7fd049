"""Keys, certificates and signatures of models, made with cryptography, apart from the code that the package signs with."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_HASHES: dict[str, hashes.HashAlgorithm] = {"P-256": hashes.SHA256(), "P-384": hashes.SHA384(), "P-521": hashes.SHA512()}
_DAY = datetime.timedelta(days=1)


@dataclass
class Key:
    """A private key, and the files of it and of its public key."""

    private: ec.EllipticCurvePrivateKey
    curve: str
    path: Path
    public_path: Path

    def sign(self, payload: bytes, payload_type: str = "application/vnd.in-toto+json") -> bytes:
        """Sign a payload as DSSE does."""
        signed = b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)
        return self.private.sign(signed, ec.ECDSA(_HASHES[self.curve]))

    @property
    def hint(self) -> str:
        """What a bundle names the key by."""
        return hashlib.sha256(self.public_path.read_bytes()).hexdigest()


def make_key(folder: Path, name: str = "team", curve: str = "P-256") -> Key:
    """Create a key and write its files."""
    private = ec.generate_private_key(CURVES[curve])
    path, public_path = folder / f"{name}.pem", folder / f"{name}.pub"
    form = serialization.PrivateFormat.TraditionalOpenSSL
    path.write_bytes(private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    public_path.write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, public))
    return Key(private, curve, path, public_path)


def make_statement(
    files: dict[str, bytes], *, hash_name: str = "sha256", ignored: Iterable[str] = ("model.sig",)
) -> dict[str, Any]:
    """Build the statement about files, with one hash for each."""
    resources = [
        {"name": name, "algorithm": hash_name, "digest": hashlib.new(hash_name, data).hexdigest()}
        for name, data in sorted(files.items())
    ]
    root = hashlib.sha256(b"".join(bytes.fromhex(one["digest"]) for one in resources)).hexdigest()
    method = {"method": "files", "hash_type": hash_name, "allow_symlinks": False, "ignore_paths": [*ignored]}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "half", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": method, "resources": resources},
    }


def make_sharded_statement(files: dict[str, bytes], shard_bytes: int) -> dict[str, Any]:
    """Build the statement about files, with a hash for each part."""
    parts = {
        f"{name}:{start}:{min(start + shard_bytes, len(data))}": data[start : start + shard_bytes]
        for name, data in files.items()
        for start in range(0, len(data), shard_bytes)
    }
    statement = make_statement(parts)
    for resource in statement["predicate"]["resources"]:
        resource["algorithm"] = f"sha256-sharded-{shard_bytes}"
    statement["predicate"]["serialization"] |= {"method": "shards", "shard_size": float(shard_bytes)}
    return statement


def make_bundle(key: Key, payload: bytes | dict[str, Any], chain: Iterable[x509.Certificate] = ()) -> dict[str, Any]:
    """Build a bundle with a valid signature of any payload."""
    payload = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    encoding = serialization.Encoding.DER
    certificates = [{"rawBytes": base64.b64encode(one.public_bytes(encoding)).decode()} for one in chain]
    material: dict[str, Any] = {"x509CertificateChain": {"certificates": certificates}}
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {**(material if certificates else {"publicKey": {"hint": key.hint}}), "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": base64.b64encode(key.sign(payload)).decode(), "keyid": ""}],
        },
    }


def sign_files(key: Key, files: dict[str, bytes]) -> bytes:
    """Return the bundle with the signature of files."""
    return json.dumps(make_bundle(key, make_statement(files))).encode()


def with_signature(key: Key, files: dict[str, bytes]) -> dict[str, bytes]:
    """Return files with their signature among them."""
    return {**files, "model.sig": sign_files(key, files)}


Edit = Callable[[x509.CertificateBuilder], x509.CertificateBuilder]


def make_certificate(
    name: str,
    key: Key,
    issuer: tuple[x509.Certificate, Key] | None = None,
    *,
    is_authority: bool = False,
    days: tuple[int, int] = (-1, 1),
    email: str = "",
    path_length: int | None = None,
    for_signing: bool = True,
    edit: Edit = lambda builder: builder,
) -> x509.Certificate:
    """Create a certificate, self-signed without an issuer; ``days`` are those from and until which it is valid, from now."""
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * _DAY)
        .not_valid_after(now + days[1] * _DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=path_length), critical=True)
    )
    if for_signing and not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    if email:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.RFC822Name(email)]), critical=False)
    signing_key = issuer[1] if issuer else key
    return edit(builder).sign(signing_key.private, _HASHES[signing_key.curve])


def write_certificates(path: Path, *certificates: x509.Certificate) -> Path:
    """Write certificates into a PEM file."""
    path.write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates))
    return path


def trust_prefix(config: Path, prefix: str, signer: str) -> None:
    """Write a settings file that requires signatures of all models whose handles begin with a prefix."""
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f'[[trust]]\nprefix = "{prefix}"\nsigner = {signer}\n')
