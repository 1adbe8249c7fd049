"""What is signed is accepted by the verifier of this package, and names the key and the certificates."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.fakes.archives import MODEL
from tests.fakes.named_models import put_model
from tests.fakes.signing import make_certificate, make_key, write_certificates
from tfimm_resolver.cache.record import hash_tree
from tfimm_resolver.errors import HandleError
from tfimm_resolver.trust.signer import Signer
from tfimm_resolver.trust.signing import make_bundle
from tfimm_resolver.trust.verification import verify


def test_a_bundle_names_the_key_and_is_valid(tmp_path: Path) -> None:
    key, tree = make_key(tmp_path), str(put_model(tmp_path / "model"))
    bundle = make_bundle(key.private, "half", hash_tree(tree), [".git"])
    assert bundle.key_hint == key.hint and bundle.certificates == ()
    verify(bundle.to_text().encode(), Signer(keys=(str(key.public_path),)), hash_tree(tree), tree)


def test_a_certificate_has_to_be_that_of_the_key(tmp_path: Path) -> None:
    key, tree = make_key(tmp_path), str(put_model(tmp_path / "model", MODEL))
    certificate = make_certificate("Signer", key)
    der = certificate.public_bytes(serialization.Encoding.DER)
    bundle = make_bundle(key.private, "half", hash_tree(tree), [], [der])
    trusted = Signer(certificate_chain=str(write_certificates(tmp_path / "ca.pem", certificate)))
    assert verify(bundle.to_text().encode(), trusted, hash_tree(tree), tree).identity == "Signer"
    with pytest.raises(HandleError, match="not that of the key"):
        make_bundle(make_key(tmp_path, "other").private, "half", hash_tree(tree), [], [der])
