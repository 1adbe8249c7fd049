"""Keyless signatures: what can be tested without the network is what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL
from tests.fakes.signing import make_bundle, make_key, make_statement
from tfimm_resolver.errors import HandleError, SignatureError
from tfimm_resolver.trust.bundle import Bundle
from tfimm_resolver.trust.keyless import verify
from tfimm_resolver.trust.signer import Signer

SIGNER = Signer(identity="team@models.example", issuer="https://id.example")


def make_logged(folder: Path) -> bytes:
    """Return a bundle that claims to be in a log."""
    facts = make_bundle(make_key(folder), make_statement(MODEL))
    facts["verificationMaterial"]["tlogEntries"] = [{"logIndex": "1"}]
    return json.dumps(facts).encode()


def test_the_signature_of_a_key_is_not_keyless(tmp_path: Path) -> None:
    data = json.dumps(make_bundle(make_key(tmp_path), make_statement(MODEL))).encode()
    with pytest.raises(SignatureError, match="no entry of a transparency log"):
        verify(data, Bundle.parse(data), SIGNER)


def test_without_sigstore_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigstore", None)
    monkeypatch.setitem(sys.modules, "sigstore.models", None)
    data = make_logged(tmp_path)
    with pytest.raises(SignatureError, match="not installed") as caught:
        verify(data, Bundle.parse(data), SIGNER)
    assert "tfimm_resolver[sigstore]" in caught.value.fix


def test_a_trust_configuration_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    data = make_logged(tmp_path)
    signer = Signer(identity="me", issuer="https://id.example", trust_config=str(tmp_path / "missing.json"))
    with pytest.raises(HandleError, match=r"missing\.json cannot be read"):
        verify(data, Bundle.parse(data), signer)


@pytest.mark.parametrize("has_config", [True, False])
def test_a_bundle_that_sigstore_does_not_accept_is_refused(tmp_path: Path, has_config: bool) -> None:
    pytest.importorskip("sigstore", reason="pip install 'tfimm_resolver[sigstore]'")
    data, config = make_logged(tmp_path), ""
    if has_config:
        config = str(tmp_path / "trust.json")
        Path(config).write_text("{}")
    signer = Signer(identity=SIGNER.identity, issuer=SIGNER.issuer, trust_config=config)
    with pytest.raises(SignatureError, match="the keyless signature is not valid"):
        verify(data, Bundle.parse(data), signer)
