"""What the caller of an import gives: a hash, or a signature with its signer, and never one of these alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfimm_resolver.bundles.checks import BundleChecks
from tfimm_resolver.errors import HandleError


def test_a_bundle_is_known_by_its_hash_or_its_signer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not BundleChecks.parse(None, None, None).is_pinned
    assert BundleChecks.parse("ab" * 32, None, None).is_pinned
    checks = BundleChecks.parse(None, Path("b.sig"), {"key": "team.pub"})
    assert checks.is_pinned and checks.signer is not None
    assert (checks.signature, checks.signer.keys) == ("b.sig", (os.path.join(os.getcwd(), "team.pub"),))


def test_a_signature_and_a_signer_need_each_other() -> None:
    with pytest.raises(HandleError, match="a signature needs a signer"):
        BundleChecks.parse(None, "b.sig", None)
    with pytest.raises(HandleError, match="a signer needs a signature"):
        BundleChecks.parse(None, None, {"key": "team.pub"})
    with pytest.raises(HandleError, match="signer"):
        BundleChecks.parse(None, "b.sig", {"keys": "team.pub"})
