"""Tests of ``object_store.network``: certificates and proxies for buckets."""

from __future__ import annotations

from pathlib import Path

import certifi
import pytest

from tfimm_resolver.object_store import network


def test_without_a_proxy_obstore_is_kept_from_reading_the_variables_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://ada:s3cret@proxy.example:3128")
    monkeypatch.setenv("no_proxy", "s3.example")
    assert network.make_client_options("s3", "https://other.example")["proxy_url"] == "http://ada:s3cret@proxy.example:3128"
    direct = network.make_client_options("s3", "https://s3.example")
    assert direct["proxy_excludes"] and "proxy.example" not in direct["proxy_url"]


def test_amazons_own_variable_names_the_certificates_of_its_buckets_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes())
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))
    assert str(bundle) in map(str, network.choose_ca_sources("s3").paths)
    assert str(bundle) not in map(str, network.choose_ca_sources("gs").paths)
