"""Tests of ``cli.diagnosis.network``: ``doctor`` finds wrong proxies and certificates; hosts are asked on request."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.diagnosis import diagnose
from tests.fakes.origin import Origin


@pytest.mark.parametrize("variable", ["https_proxy", "HTTP_PROXY", "all_proxy"])
def test_a_proxy_with_a_user_and_no_password(variable: str) -> None:
    problems, _ = diagnose(**{variable: "http://ada@proxy.example:3128"})
    assert list(problems) == ["proxy-password"] and variable in problems["proxy-password"]


@pytest.mark.parametrize("value", ["http://proxy.example:3128", "http://ada:secret@proxy.example:3128", "proxy.example:3128"])
def test_a_proxy_with_or_without_a_login(value: str) -> None:
    assert diagnose(https_proxy=value) == ({}, {})


def test_a_proxy_that_is_not_one() -> None:
    problems, _ = diagnose(https_proxy="ftp://proxy.example")
    assert "https_proxy" in "".join(problems.values())


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_file_of_certificates_that_does_not_exist(variable: str, tmp_path: Path) -> None:
    problems, _ = diagnose(**{variable: str(tmp_path / "gone.pem")})
    assert list(problems) == ["ca-missing"] and variable in problems["ca-missing"]


def test_a_file_without_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    problems, _ = diagnose(SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    assert "SSL_CERT_FILE" in "".join(problems.values())


def test_switches_are_notes() -> None:
    problems, notes = diagnose(TFIMM_RESOLVER_OFFLINE="1", TFHUB_DISABLE_CERT_VALIDATION="true")
    assert problems == {} and {*notes} == {"offline", "tls-not-verified"}


def list_hosts(url: str) -> dict[str, str]:
    return dict.fromkeys(("TFIMM_KAGGLE_URL", "TFIMM_GITHUB_URL", "HF_ENDPOINT"), url)


def test_no_request_is_made_unless_asked_for(origin: Origin) -> None:
    assert diagnose(**list_hosts(origin.url)) == ({}, {})
    assert origin.requests == []
    assert diagnose(online=True, **list_hosts(origin.url)) == ({}, {})
    assert len(origin.requests) == 3
    _, notes = diagnose(online=True, TFIMM_RESOLVER_OFFLINE="1", **list_hosts(origin.url))
    assert len(origin.requests) == 3 and "offline" in notes


def test_hosts_that_cannot_be_reached() -> None:
    problems, _ = diagnose(online=True, **list_hosts("http://127.0.0.1:1"))
    assert list(problems) == ["unreachable"] and "127.0.0.1:1" in problems["unreachable"]
