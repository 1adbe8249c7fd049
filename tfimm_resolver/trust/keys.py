"""Public and private keys on elliptic curves: read from PEM files, compared by their hash, and used to sign and verify."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import os
import re
from typing import TYPE_CHECKING, Any

from tfimm_resolver._util import clock, fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import HandleError, SignatureError
from tfimm_resolver.errors.os_errors import map_os_errors

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

FILE_BYTES_MAX = 1 << 20

_HASHES = {"secp256r1": "SHA256", "secp384r1": "SHA384", "secp521r1": "SHA512"}
"""The curves that model signing has, with the hash that it signs on each of them."""

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s*([A-Za-z0-9+/=\s]+?)-----END \1-----")
_PUBLIC, _CERTIFICATE = b"PUBLIC KEY", b"CERTIFICATE"
_KEY_FIX = "Write a public key as `openssl pkey -in KEY -pubout` does, on the curve P-256, P-384 or P-521."


def list_public_keys(path: str) -> list[bytes]:
    """Return the public keys in a PEM file, DER; raises HandleError if it has none, or cannot be read."""
    return _read_pem(path, _PUBLIC, "public key", _KEY_FIX)


def list_certificates(path: str) -> list[bytes]:
    """Return the certificates in a PEM file, DER; raises HandleError if it has none, or cannot be read."""
    return _read_pem(path, _CERTIFICATE, "certificate", "Write the certificates of the authorities that you trust, as PEM.")


def hash_der(der: bytes) -> str:
    """Return the hash by which a key or a certificate is recorded and compared."""
    return hashlib.sha256(der).hexdigest()


def verify(public_key: Any, signature: bytes, signed: bytes) -> None:
    """Verify a signature; raises SignatureError if it is not by that key, or the key is of another kind."""
    cryptography = import_cryptography()
    if not isinstance(public_key, cryptography.ec.EllipticCurvePublicKey) or public_key.curve.name not in _HASHES:
        raise SignatureError("the key of the signer is not on the curve P-256, P-384 or P-521")
    try:
        public_key.verify(signature, signed, _choose_algorithm(public_key))
    except cryptography.InvalidSignature as error:
        raise SignatureError("the signature is not by this key, or the signed statement was changed") from error


def load_public_key(der: bytes) -> Any:
    """Return a public key; raises SignatureError if it cannot be parsed."""
    cryptography = import_cryptography()
    try:
        return cryptography.serialization.load_der_public_key(der)
    except (ValueError, TypeError, cryptography.UnsupportedAlgorithm) as error:
        raise SignatureError(f"the public key cannot be parsed: {show(error)}", fix=_KEY_FIX) from error


def load_private_key(path: str, password: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    """Return the private key in a PEM file.

    Raises:
        HandleError: if the file cannot be read, or is not a private key on one of the curves that model signing has.
    """
    cryptography = import_cryptography()
    with map_os_errors(HandleError, f"the key {show(path)} cannot be read", "Correct its path or its permissions."):
        data = fs.read_regular(path, FILE_BYTES_MAX, follow=True)
    fix = "Create one: openssl ecparam -name prime256v1 -genkey -noout -out KEY."
    try:
        key: Any = cryptography.serialization.load_pem_private_key(data, password)
    except (ValueError, TypeError, cryptography.UnsupportedAlgorithm) as error:
        raise HandleError(f"{show(path)} is not a private key that can be read: {show(error)}", fix=fix) from error
    if not isinstance(key, cryptography.ec.EllipticCurvePrivateKey) or key.curve.name not in _HASHES:
        raise HandleError(f"{show(path)} is not a private key on the curve P-256, P-384 or P-521", fix=fix)
    private_key: ec.EllipticCurvePrivateKey = key
    return private_key


def sign(private_key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """Return the signature of bytes."""
    return private_key.sign(data, _choose_algorithm(private_key))


def encode_public_key(private_key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the public key of a private one, DER."""
    return _encode(private_key.public_key())


def extract_public_key(certificate: bytes) -> bytes:
    """Return the public key of a certificate, both DER; raises HandleError if it cannot be parsed."""
    try:
        return _encode(import_cryptography().x509.load_der_x509_certificate(certificate).public_key())
    except ValueError as error:
        raise HandleError(
            f"the certificate cannot be parsed: {show(error)}", fix="Check that it is an X.509 certificate as PEM or DER."
        ) from error


def _encode(public_key: Any) -> bytes:
    serialization = import_cryptography().serialization
    der: bytes = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


def make_hint(der: bytes) -> str:
    """Return how a bundle names the key of its signer: by the hash of its PEM text, with lines of 64 characters."""
    text = base64.b64encode(der).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return hashlib.sha256(
        "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""]).encode()
    ).hexdigest()


class _Cryptography:
    """What is used of ``cryptography``; importing it takes 30 ms."""

    def __init__(self) -> None:
        from cryptography import exceptions, x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        self.x509, self.hashes, self.serialization, self.ec = x509, hashes, serialization, ec
        self.InvalidSignature, self.UnsupportedAlgorithm = exceptions.InvalidSignature, exceptions.UnsupportedAlgorithm


@functools.cache
def import_cryptography() -> _Cryptography:
    """Import ``cryptography``; raises SignatureError if it is not installed."""
    try:
        return _Cryptography()
    except ImportError as error:
        fix = "Install it: pip install 'tfimm_resolver[signing]'."
        raise SignatureError("signatures need the package cryptography, which is not installed", fix=fix) from error


def _choose_algorithm(key: Any) -> ec.ECDSA:
    cryptography = import_cryptography()
    algorithm: ec.ECDSA = cryptography.ec.ECDSA(getattr(cryptography.hashes, _HASHES[key.curve.name])())
    return algorithm


def _read_pem(path: str, label: bytes, description: str, fix: str) -> list[bytes]:
    with map_os_errors(HandleError, f"the {description} {show(path)} cannot be read", "Correct its path."):
        status = os.stat(path)
        read = _read_pem_once if clock.is_settled(status.st_mtime_ns) else _read_pem_once.__wrapped__
        found = read(path, label, fs.get_state(status))
    if not found:
        raise HandleError(f"{show(path)} contains no {description}", fix=fix)
    return list(found)


@functools.lru_cache(maxsize=64)
def _read_pem_once(path: str, label: bytes, _: tuple[int, ...]) -> tuple[bytes, ...]:
    data, found = fs.read_regular(path, FILE_BYTES_MAX, follow=True), list[bytes]()
    for match in _PEM.finditer(data):
        if match[1] == label:
            try:
                found.append(base64.b64decode(b"".join(match[2].split()), validate=True))
            except binascii.Error as error:
                raise HandleError(
                    f"{show(path)} is not PEM: {show(error)}",
                    fix="Give the file of a public key or a certificate, which begins with -----BEGIN.",
                ) from error
    return tuple(filter(None, found))
