"""Reads and writes a Sigstore bundle: a signed statement, its signature, and the certificates of the signer."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from tfimm_resolver._util.json_text import parse_json
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import SignatureError

# https://github.com/sigstore/protobuf-specs, Bundle v0.3; the statement is a DSSE envelope.
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

BYTES_MAX = 16 << 20
_KINDS = {dict: "an object", list: "a list", str: "a string", int: "a number"}
"""Limit on the size of a bundle: above that of a model with the most files that are unpacked by default."""

_VALUES_MAX = 2000
_CERTIFICATES_MAX = 10
_CERTIFICATE_BYTES_MAX = 64 << 10
_SIGNATURE_BYTES_MAX = 1024


@dataclass(frozen=True, slots=True)
class Bundle:
    """A signature, not verified yet.

    Attributes:
        payload: the statement that is signed, as JSON.
        signature: of the payload and its type.
        key_hint: the hash of the public key that the signer used, as the bundle says; empty if it does not.
        certificates: of the signer, DER, then those that lead to a certificate authority; empty if a bare key was used.
        is_logged: whether it has entries of a transparency log, as keyless signatures have.
    """

    payload: bytes
    signature: bytes
    key_hint: str = ""
    certificates: tuple[bytes, ...] = ()
    is_logged: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Bundle:
        """Parse a bundle.

        Raises:
            SignatureError: if it is not a bundle of version 0.3 with one signature of an in-toto statement.
        """
        facts = parse_unambiguous_json(data, "the bundle", _VALUES_MAX)
        if expect(facts, "mediaType", str) != MEDIA_TYPE:
            raise SignatureError(f"the media type of the bundle is {show(facts['mediaType'])}, not {MEDIA_TYPE}")
        envelope, material = expect(facts, "dsseEnvelope", dict), expect(facts, "verificationMaterial", dict)
        if expect(envelope, "payloadType", str) != PAYLOAD_TYPE:
            raise SignatureError(f"the payload type is {show(envelope['payloadType'])}, not {PAYLOAD_TYPE}")
        signatures = expect(envelope, "signatures", list)
        if len(signatures) != 1 or not isinstance(signatures[0], dict):
            raise SignatureError(f"the bundle has {len(signatures)} signatures, where exactly one is expected")
        hint = material.get("publicKey")
        return cls(
            payload=decode_base64(envelope, "payload", BYTES_MAX),
            signature=decode_base64(signatures[0], "sig", _SIGNATURE_BYTES_MAX),
            key_hint=str((hint.get("hint") if isinstance(hint, dict) else "") or ""),
            certificates=tuple(_read_certificates(material)),
            is_logged=bool(material.get("tlogEntries")),
        )

    @property
    def signed_bytes(self) -> bytes:
        """What is signed: the payload with its type and both lengths, as DSSE defines it."""
        return encode_signed_bytes(self.payload)

    def to_text(self) -> str:
        """Return the bundle as JSON; with certificates, or else with the hint to the key."""
        material: dict[str, Any] = {"publicKey": {"hint": self.key_hint}}
        if self.certificates:
            chain = [{"rawBytes": base64.b64encode(one).decode()} for one in self.certificates]
            material = {"x509CertificateChain": {"certificates": chain}}
        envelope = {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(self.signature).decode(), "keyid": ""}],
        }
        facts = {"mediaType": MEDIA_TYPE, "verificationMaterial": {**material, "tlogEntries": []}, "dsseEnvelope": envelope}
        return json.dumps(facts) + "\n"


def encode_signed_bytes(payload: bytes) -> bytes:
    """Return what is signed for a payload: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def parse_unambiguous_json(data: bytes, subject: str, max_values: int) -> dict[str, Any]:
    """Return a JSON object; raises SignatureError if it is not one, or has a key twice, which readers take differently."""

    def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key occurs twice")
        return found

    try:
        facts = parse_json(data, max_bytes=BYTES_MAX, max_values=max_values, pairs_hook=make_object)
    except (ValueError, MemoryError) as error:
        raise SignatureError(f"{subject} cannot be parsed: {show(error)}") from error
    if not isinstance(facts, dict):
        raise SignatureError(f"{subject} is not a JSON object")
    return facts


def expect(facts: dict[str, Any], key: str, kind: type[Any]) -> Any:
    """Return the value of a key; raises SignatureError if it is missing or of another kind."""
    value = facts.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise SignatureError(f"{show(key)} is missing, or not {_KINDS.get(kind, kind.__name__)}")
    return value


def decode_base64(facts: dict[str, Any], key: str, max_bytes: int) -> bytes:
    """Return the bytes of a value in base64; raises SignatureError if it is something else, or too long."""
    try:
        data = base64.b64decode(expect(facts, key, str), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureError(f"{show(key)} is not base64") from error
    if len(data) > max_bytes:
        raise SignatureError(f"{show(key)} has over {max_bytes} bytes")
    return data


def _read_certificates(material: dict[str, Any]) -> list[bytes]:
    one, chain = material.get("certificate"), material.get("x509CertificateChain")
    found = [one] if one is not None else chain.get("certificates") if isinstance(chain, dict) else []
    if not isinstance(found, list) or len(found) > _CERTIFICATES_MAX or not all(isinstance(each, dict) for each in found):
        raise SignatureError(f"the certificates are not a list of up to {_CERTIFICATES_MAX}")
    return [decode_base64(each, "rawBytes", _CERTIFICATE_BYTES_MAX) for each in found]
