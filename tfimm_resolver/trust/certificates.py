"""Follows the certificates of a signer to an authority that the user trusts."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tfimm_resolver._util import clock
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import SignatureError
from tfimm_resolver.trust.keys import hash_der, import_cryptography

_DEPTH_MAX = 8


@dataclass(frozen=True, slots=True)
class TrustedSigner:
    """A signer whose certificate leads to a trusted one.

    Attributes:
        public_key: of the signer.
        identity: the name in the certificate that was required, else the first one.
        root_sha256: the hash of the trusted certificate.
    """

    public_key: Any
    identity: str
    root_sha256: str


def follow_chain(chain: Sequence[bytes], trusted: Sequence[bytes], identity: str = "", time_s: float = 0) -> TrustedSigner:
    """Return the signer, the first certificate of a chain, which has to lead to a trusted certificate.

    Every certificate, also the trusted one, has to be valid at that time, by default now: nothing else in a bundle proves when
    it was signed.

    Args:
        chain: those in the bundle, DER: the signer's first.
        trusted: of authorities, DER.
        identity: the email address, URI, DNS name or common name that the signer's certificate must have; empty for any.
        time_s: when the signature has to be valid, in seconds since 1970.

    Raises:
        SignatureError: if a certificate has expired, is not that of an authority, or does not lead to a trusted one.
    """
    if not chain:
        raise SignatureError("the bundle has no certificates, but only the signature of a key")
    now = datetime.datetime.fromtimestamp(time_s or clock.get_time_s(), datetime.timezone.utc)
    signer, *others = [_load(der) for der in chain]
    roots = {hash_der(der): _load(der) for der in trusted}
    _check_signer(signer)
    names = _list_names(signer)
    if identity and identity not in names:
        raise SignatureError(f"the signer is {show(', '.join(names) or 'not named')}, not {show(identity)}")
    _check_dates(signer, now)
    own_sha256 = hash_der(chain[0])
    root_sha256 = own_sha256 if own_sha256 in roots else _find_root(signer, others, roots, now)
    return TrustedSigner(signer.public_key(), identity or next(iter(names), ""), root_sha256)


def _find_root(signer: Any, others: list[Any], roots: dict[str, Any], now: datetime.datetime) -> str:
    """Return the hash of the trusted certificate that a signer's leads to, through those in the bundle."""
    current = signer
    for depth in range(_DEPTH_MAX):
        for sha256, root in roots.items():
            if _is_issued_by(current, root):
                _check_dates(root, now)
                _check_authority(root, depth)
                return sha256
        issuer = next((one for one in others if one is not current and _is_issued_by(current, one)), None)
        if issuer is None:
            break
        _check_dates(issuer, now)
        _check_authority(issuer, depth)
        others = [one for one in others if one is not issuer]
        current = issuer
    raise SignatureError(f"the certificate of {show(_name(current))} was not issued by an authority that is trusted")


def _load(der: bytes) -> Any:
    """Parse a certificate with everything in it that is used; raises SignatureError."""
    cryptography = import_cryptography()
    try:
        found = cryptography.x509.load_der_x509_certificate(der)
        _ = found.extensions, found.subject, found.issuer, found.not_valid_after_utc, found.public_key()
    except Exception as error:  # of several kinds, for each part that may be malformed
        raise SignatureError(f"a certificate cannot be parsed: {show(error)}") from error
    return found


def _name(certificate: Any) -> str:
    return str(certificate.subject.rfc4514_string())


def _check_dates(certificate: Any, now: datetime.datetime) -> None:
    if now < certificate.not_valid_before_utc:
        begin = certificate.not_valid_before_utc.isoformat()
        raise SignatureError(f"the certificate of {show(_name(certificate))} is valid only from {begin}")
    if now > certificate.not_valid_after_utc:
        end = certificate.not_valid_after_utc.isoformat()
        raise SignatureError(f"the certificate of {show(_name(certificate))} expired at {end}")


def _is_issued_by(certificate: Any, issuer: Any) -> bool:
    """Whether the names fit, and the signature of a certificate is by the key of its issuer."""
    if certificate.issuer != issuer.subject:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # a wrong signature, or a key of a kind that is not supported
        return False
    return True


def _check_authority(certificate: Any, depth: int) -> None:
    """Check that a certificate may issue others, with so many certificates of authorities below it."""
    x509 = import_cryptography().x509
    constraints, usage = _find_extension(certificate, x509.BasicConstraints), _find_extension(certificate, x509.KeyUsage)
    subject = show(_name(certificate))
    if constraints is None or not constraints.ca or (usage is not None and not usage.key_cert_sign):
        raise SignatureError(f"the certificate of {subject} is not that of a certificate authority")
    if constraints.path_length is not None and depth > constraints.path_length:
        raise SignatureError(f"the certificate of {subject} does not allow so many certificates below it")
    _check_critical(certificate)


def _check_signer(certificate: Any) -> None:
    """Check that a certificate is for signing, as the reference implementation of model signing does."""
    cryptography = import_cryptography()
    usage = _find_extension(certificate, cryptography.x509.KeyUsage)
    extended = _find_extension(certificate, cryptography.x509.ExtendedKeyUsage)
    is_for_code = extended is not None and cryptography.x509.oid.ExtendedKeyUsageOID.CODE_SIGNING in extended
    if not (usage is not None and usage.digital_signature) and not is_for_code:
        raise SignatureError(f"the certificate of {show(_name(certificate))} is not for signing")
    _check_critical(certificate)


def _check_critical(certificate: Any) -> None:
    """Refuse what a verifier has to understand, and this one does not, such as limits on the names of signers."""
    oid = import_cryptography().x509.oid.ExtensionOID
    known = {oid.BASIC_CONSTRAINTS, oid.KEY_USAGE, oid.EXTENDED_KEY_USAGE, oid.SUBJECT_ALTERNATIVE_NAME}
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in known:
            raise SignatureError(
                f"the certificate of {show(_name(certificate))} has a critical extension that is not supported: "
                f"{show(extension.oid.dotted_string)}"
            )


def _find_extension(certificate: Any, kind: Any) -> Any:
    x509 = import_cryptography().x509
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _list_names(certificate: Any) -> list[str]:
    """Return the names of a signer: email addresses, URIs and DNS names, then common names."""
    cryptography = import_cryptography()
    x509, found = cryptography.x509, list[str]()
    if (names := _find_extension(certificate, x509.SubjectAlternativeName)) is not None:
        for kind in (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName):
            found += map(str, names.get_values_for_type(kind))
    return [*found, *_list_common_names(certificate)]


def _list_common_names(certificate: Any) -> Iterator[str]:
    for attribute in certificate.subject.get_attributes_for_oid(import_cryptography().x509.oid.NameOID.COMMON_NAME):
        yield str(attribute.value)
