"""Keys in PEM files: read within limits, with errors that name the file."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.fakes.signing import CURVES, make_key
from tfimm_resolver.errors import HandleError, SignatureError
from tfimm_resolver.trust import keys

PEM, PUBLIC = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.mark.parametrize("curve", CURVES)
def test_a_key_signs_and_its_public_key_verifies(tmp_path: Path, curve: str) -> None:
    key = make_key(tmp_path, curve=curve)
    private = keys.load_private_key(str(key.path))
    (der,) = keys.list_public_keys(str(key.public_path))
    assert keys.encode_public_key(private) == der
    assert keys.make_hint(der) == key.hint == hashlib.sha256(key.public_path.read_bytes()).hexdigest()
    keys.verify(keys.load_public_key(der), keys.sign(private, b"text"), b"text")
    with pytest.raises(SignatureError, match="not by this key"):
        keys.verify(keys.load_public_key(der), keys.sign(private, b"text"), b"test")


OTHER_KEYS = {
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
}


@pytest.mark.parametrize("kind", OTHER_KEYS)
def test_a_key_of_another_kind_is_refused(tmp_path: Path, kind: str) -> None:
    private = OTHER_KEYS[kind]()
    (tmp_path / "x.pub").write_bytes(private.public_key().public_bytes(PEM, PUBLIC))
    (tmp_path / "x.pem").write_bytes(
        private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    with pytest.raises(SignatureError, match="not on the curve"):
        keys.verify(keys.load_public_key(keys.list_public_keys(str(tmp_path / "x.pub"))[0]), b"", b"")
    with pytest.raises(HandleError, match="not a private key on the curve"):
        keys.load_private_key(str(tmp_path / "x.pem"))


def test_an_encrypted_key_needs_its_password(tmp_path: Path) -> None:
    private = make_key(tmp_path).private
    encryption = serialization.BestAvailableEncryption(b"secret")
    (tmp_path / "x.pem").write_bytes(private.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption))
    assert keys.load_private_key(str(tmp_path / "x.pem"), b"secret").private_numbers() == private.private_numbers()
    for password in (None, b"wrong"):
        with pytest.raises(HandleError, match=r"x\.pem is not a private key that can be read"):
            keys.load_private_key(str(tmp_path / "x.pem"), password)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no PEM",
        b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN PUBLIC KEY-----\nAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\n" + b"A" * (1 << 20),
    ],
    ids=["empty", "text", "no key", "a certificate", "no base64", "long"],
)
def test_a_file_without_a_public_key_is_an_error_that_names_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.pub").write_bytes(data)
    with pytest.raises(HandleError, match=r"x\.pub"):
        keys.list_public_keys(str(tmp_path / "x.pub"))


def test_a_private_key_is_not_taken_for_a_public_one(tmp_path: Path) -> None:
    key = make_key(tmp_path)
    with pytest.raises(HandleError, match="contains no public key"):
        keys.list_public_keys(str(key.path))
    with pytest.raises(HandleError, match=r"cannot be read: .*\n  Correct its path"):
        keys.load_private_key(str(tmp_path / "missing.pem"))
    with pytest.raises(HandleError, match="cannot be read"):
        keys.list_public_keys(str(tmp_path))
    with pytest.raises(SignatureError, match="cannot be parsed"):
        keys.load_public_key(b"0")
    with pytest.raises(HandleError, match="cannot be parsed"):
        keys.extract_public_key(b"0")


def test_without_cryptography_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from tfimm_resolver.trust.keys import import_cryptography\n"
        "import_cryptography()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "SignatureError" in done.stderr and "tfimm_resolver[signing]" in done.stderr
