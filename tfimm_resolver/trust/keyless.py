"""Verifies keyless signatures of Sigstore, by an identity that a provider confirmed; with the package sigstore, offline."""

from __future__ import annotations

import logging
from typing import Any

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import HandleError, SignatureError
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.trust.bundle import PAYLOAD_TYPE, Bundle
from tfimm_resolver.trust.signer import Signer

_CONFIG_BYTES_MAX = 4 << 20
_OFFLINE_LOGGER = "sigstore._internal.tuf"
"""The logger that warns, at each verification, that nothing is downloaded."""


def verify(data: bytes, bundle: Bundle, signer: Signer) -> None:
    """Verify that a bundle was signed by an identity, while its certificate was valid, as the transparency log proves.

    Nothing is downloaded: the keys of the log and of the authority are those that the installed package sigstore contains, or
    has cached, or those of the signer's ``trust_config``.

    Raises:
        SignatureError: if the signature is not valid, or by another identity, or sigstore is not installed.
        HandleError: if the trust configuration cannot be read.
    """
    if not bundle.is_logged:
        raise SignatureError("the bundle has no entry of a transparency log, so it is not a keyless signature")
    config = _read_config(signer.trust_config) if signer.trust_config else ""
    try:
        from sigstore.models import Bundle as SigstoreBundle
        from sigstore.models import ClientTrustConfig
        from sigstore.verify import Verifier, policy
    except ImportError as error:
        fix = "Install it: pip install 'tfimm_resolver[sigstore]'."
        raise SignatureError("keyless signatures need the package sigstore, which is not installed", fix=fix) from error
    logging.getLogger(_OFFLINE_LOGGER).setLevel(logging.ERROR)
    try:
        trusted: Any = ClientTrustConfig.from_json(config) if config else ClientTrustConfig.production(offline=True)
        identity = policy.Identity(identity=signer.identity, issuer=signer.issuer)
        verifier = Verifier(trusted_root=trusted.trusted_root)
        payload_type, payload = verifier.verify_dsse(SigstoreBundle.from_json(data), identity)
    except Exception as error:  # of the package, and of those that it uses
        raise SignatureError(f"the keyless signature is not valid: {show(error)}") from error
    if payload_type != PAYLOAD_TYPE or payload != bundle.payload:  # two parsers could differ
        raise SignatureError("the keyless signature is one of another statement")


def _read_config(path: str) -> str:
    with map_os_errors(HandleError, f"the trust_config {show(path)} cannot be read", "Correct its path."):
        return fs.read_regular(path, _CONFIG_BYTES_MAX, follow=True).decode("utf-8", "replace")
