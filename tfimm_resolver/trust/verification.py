"""Verifies the signature of a model: who signed, what was signed, and that the files are those."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from tfimm_resolver._util import clock
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import SignatureError
from tfimm_resolver.manifest import FileEntry, SignedBy
from tfimm_resolver.trust import keys
from tfimm_resolver.trust.bundle import Bundle
from tfimm_resolver.trust.certificates import follow_chain
from tfimm_resolver.trust.digests import compare
from tfimm_resolver.trust.signer import Signer
from tfimm_resolver.trust.statement import Statement


def verify(data: bytes, signer: Signer, files: Iterable[FileEntry], tree: str, *, time_s: float = 0) -> SignedBy:
    """Verify a bundle, and that a model has exactly the files that it signs; return who signed.

    Args:
        data: the bundle.
        signer: whose signature is required.
        files: those of the model, with their sha256.
        tree: the directory that they are in.
        time_s: when certificates have to be valid, in seconds since 1970; by default now.

    Raises:
        SignatureError: if the signature is not valid, is by another signer, or the files are not those that were signed.
        HandleError: if a key or certificates of the signer cannot be read.
    """
    bundle = Bundle.parse(data)
    signed_by = _verify_signer(bundle, data, signer, time_s)
    compare(Statement.parse(bundle.payload), files, tree)
    return signed_by


def _verify_signer(bundle: Bundle, data: bytes, signer: Signer, time_s: float) -> SignedBy:
    """Verify the signature of a statement, before anything in the statement is looked at."""
    verified_at, bundle_sha256 = clock.format_now(), hashlib.sha256(data).hexdigest()
    if signer.kind == "sigstore":
        from tfimm_resolver.trust import keyless

        keyless.verify(data, bundle, signer)
        return SignedBy("sigstore", "", signer.identity, signer.issuer, verified_at, bundle_sha256)
    if signer.kind == "certificate":
        found = follow_chain(bundle.certificates, signer.list_trusted(), signer.identity, time_s)
        keys.verify(found.public_key, bundle.signature, bundle.signed_bytes)
        return SignedBy("certificate", found.root_sha256, found.identity, "", verified_at, bundle_sha256)
    candidates, error = signer.list_trusted(), SignatureError("")
    for der in sorted(candidates, key=lambda one: keys.make_hint(one) != bundle.key_hint):
        try:
            keys.verify(keys.load_public_key(der), bundle.signature, bundle.signed_bytes)
        except SignatureError as mismatch:
            error = mismatch
        else:
            return SignedBy("key", keys.hash_der(der), "", "", verified_at, bundle_sha256)
    hint = f"; the bundle names the key {show(bundle.key_hint[:16])}" if bundle.key_hint else ""
    raise SignatureError(f"{error.text}{hint}", fix=error.advice)
