"""The signers that a user trusts: keys, certificate authorities, or an identity, as a models file or config.toml has them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import HandleError
from tfimm_resolver.manifest import SignedBy
from tfimm_resolver.trust import keys

KEYS = ("key", "certificate_chain", "identity", "issuer", "trust_config")
FORM = (
    'Write signer = { key = "team.pub" }, { certificate_chain = "ca.pem", identity = "NAME" }, '
    'or { identity = "EMAIL or URI", issuer = "URL" } for a keyless signature.'
)


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose signature is required.

    Attributes:
        keys: files with public keys, PEM, each of which is trusted.
        certificate_chain: a file with certificates of trusted authorities, PEM; empty if there is none.
        identity: the name that the certificate of the signer must have; empty for any that the authority has issued.
        issuer: who has to confirm the identity of a keyless signature.
        trust_config: a file that names another Sigstore instance than the public one; empty for that.
    """

    keys: tuple[str, ...] = ()
    certificate_chain: str = ""
    identity: str = ""
    issuer: str = ""
    trust_config: str = ""

    @property
    def kind(self) -> str:
        """How it is verified: ``key``, ``certificate`` or ``sigstore``."""
        return "key" if self.keys else "certificate" if self.certificate_chain else "sigstore"

    def describe(self) -> str:
        """Return whose signature is required, for a message."""
        if self.keys:
            return f"the key {' or '.join(map(show, self.keys))}"
        if self.certificate_chain:
            return f"{show(self.identity or 'a signer')} with a certificate of {show(self.certificate_chain)}"
        return f"{show(self.identity)} as confirmed by {show(self.issuer)}"

    def is_satisfied_by(self, signed_by: SignedBy) -> bool:
        """Whether a signature that was verified before is one that is required.

        Raises:
            HandleError: if a file with a key or certificates cannot be read.
        """
        if signed_by.kind != self.kind or self.identity not in ("", signed_by.identity):
            return False
        if self.kind == "sigstore":
            return self.issuer == signed_by.issuer
        return any(keys.hash_der(der) == signed_by.trusted_sha256 for der in self.list_trusted())

    def list_trusted(self) -> list[bytes]:
        """Return the public keys or the certificates that are trusted, DER; raises HandleError if they cannot be read."""
        if self.keys:
            return [der for path in self.keys for der in keys.list_public_keys(path)]
        return keys.list_certificates(self.certificate_chain) if self.certificate_chain else []


def parse_signer(value: Any, folder: str) -> Signer:
    """Parse the value of ``signer``; relative paths count from ``folder``.

    Raises:
        HandleError: if it is not valid; without the file's name.
    """
    if not isinstance(value, dict):
        raise HandleError("signer has to be a table", fix=FORM)
    if unknown := [key for key in value if key not in KEYS]:
        raise HandleError(f'signer has an unknown key "{show(unknown[0])}"', fix=FORM)
    names = value.get("key", [])
    names = [names] if isinstance(names, str) else names
    texts = [value.get(key, "") for key in KEYS[1:]]
    if not isinstance(names, list) or not all(isinstance(text, str) for text in (*names, *texts)):
        raise HandleError("the values of signer have to be texts", fix=FORM)
    if not all(names) or any(key in value and not value[key] for key in KEYS):
        raise HandleError("a value of signer is empty", fix=FORM)
    chain, identity, issuer, config = texts
    if bool(names) + bool(chain) > 1 or (names and (identity or issuer)) or (chain and issuer) or (config and not issuer):
        raise HandleError("signer has values of several kinds", fix=FORM)
    if not names and not chain and not (identity and issuer):
        raise HandleError("signer names no key, no certificate_chain and no identity with its issuer", fix=FORM)
    return Signer(tuple(_join_all(folder, names)), _join(folder, chain), identity, issuer, _join(folder, config))


def parse_signature(value: Any, folder: str) -> str:
    """Parse the value of ``signature``, a path or a URL of a bundle; raises HandleError if it is neither."""
    fix = "Write the path of the bundle, or its https:// URL."
    if not isinstance(value, str) or not value or not value.isprintable():
        raise HandleError("signature has to be a path or a URL", fix=fix)
    if "://" in value and not value.startswith(("https://", "http://")):
        raise HandleError(f"the signature {show(value)} has a scheme that is not supported", fix=fix)
    return value if "://" in value else _join(folder, value)


def _join_all(folder: str, paths: Sequence[str]) -> list[str]:
    return [_join(folder, path) for path in paths]


def _join(folder: str, path: str) -> str:
    return os.path.normpath(os.path.join(folder, os.path.expanduser(path))) if path else ""
