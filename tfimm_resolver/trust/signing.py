"""Signs the files of a model, in a bundle that the reference implementation of OpenSSF Model Signing accepts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tfimm_resolver.errors import HandleError
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.trust import keys
from tfimm_resolver.trust.bundle import Bundle, encode_signed_bytes
from tfimm_resolver.trust.statement import write_statement

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec


def make_bundle(
    private_key: ec.EllipticCurvePrivateKey,
    subject: str,
    files: Iterable[FileEntry],
    ignored: Iterable[str] = (),
    certificates: Sequence[bytes] = (),
) -> Bundle:
    """Return the signature of files, with the signer's certificate and those that lead to its authority, if any.

    Raises:
        HandleError: if the first certificate is not that of the key.
    """
    der = keys.encode_public_key(private_key)
    if certificates and keys.extract_public_key(certificates[0]) != der:
        raise HandleError("the certificate is not that of the key", fix="Give the certificate that was issued for this key.")
    payload = write_statement(subject, files, ignored)
    return Bundle(payload, keys.sign(private_key, encode_signed_bytes(payload)), keys.make_hint(der), tuple(certificates))
