"""Every kind of Google's credentials opens a private bucket, and none is used to look up the name of a project."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.stores.front import Front
from tests.fakes.stores.gcs import Gcs
from tfimm_resolver import resolve
from tfimm_resolver.errors import AccessError
from tfimm_resolver.object_store.google_credentials import load_credentials

PRIVATE = "gs://private/m.tar.gz"
ACCOUNT = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/x@p.iam.gserviceaccount.com:generateAccessToken"
USER = {"type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"}
EXTERNAL: dict[str, Any] = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
}
AWS = {
    "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
    "credential_source": {
        "environment_id": "aws1",
        "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
    },
}
IMPERSONATED = {"type": "impersonated_service_account", "service_account_impersonation_url": ACCOUNT}
EXTERNAL_USER = {
    "type": "external_account_authorized_user",
    "audience": "//iam.googleapis.com/locations/global/workforcePools/p/providers/q",
    "refresh_token": "r",
    "token_url": "https://sts.googleapis.com/v1/token",
    "client_id": "i",
    "client_secret": "s",
}


@pytest.fixture
def google(gcs: Gcs, front: Front, monkeypatch: pytest.MonkeyPatch) -> Gcs:
    """Google's own hosts, of which only those that are needed are let through, with an archive in a private bucket."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    monkeypatch.setenv("https_proxy", front.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(front.bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(front.bundle))
    monkeypatch.setenv("GOOGLE_API_USE_CLIENT_CERTIFICATE", "false")
    gcs.bucket("private", token=gcs.token).put("m.tar.gz", tar_gz())
    return gcs


def write(folder: Path, monkeypatch: pytest.MonkeyPatch, facts: object) -> None:
    """Write a file of credentials and name it in the environment."""
    (folder / "adc.json").write_text(facts if isinstance(facts, str) else json.dumps(facts))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(folder / "adc.json"))


def make_external(folder: Path, **other: object) -> dict[str, object]:
    """Return the credentials of a workload whose token of another provider is in a file."""
    (folder / "jwt").write_text("subject")
    return {**EXTERNAL, "credential_source": {"file": str(folder / "jwt")}, **other}


def make_kinds(folder: Path) -> dict[str, object]:
    """Return credentials of every kind that a test without Google's keys can have."""
    external = make_external(folder)
    return {
        "user": USER,
        "external, file": external,
        "external, impersonating": {**external, "service_account_impersonation_url": ACCOUNT},
        "external, AWS": {**EXTERNAL, **AWS},
        "external user": EXTERNAL_USER,
        "impersonated by a user": {**IMPERSONATED, "source_credentials": USER, "delegates": []},
        "impersonated by a workload": {**IMPERSONATED, "source_credentials": external},
    }


@pytest.mark.parametrize(
    "kind",
    [
        "user",
        "external, file",
        "external, impersonating",
        "external, AWS",
        "external user",
        "impersonated by a user",
        "impersonated by a workload",
    ],
)
def test_every_kind_opens_a_private_bucket(
    kind: str, google: Gcs, front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("REGION", "eu-west-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    write(tmp_path, monkeypatch, make_kinds(tmp_path)[kind])
    assert files_in(resolve(PRIVATE)) == MODEL
    assert google.log[-1].authorization == "Bearer granted" and front.rejected_hosts == []
    is_impersonated = "imperson" in kind
    assert bool(google.find_operations("impersonate")) == is_impersonated


def test_an_executable_is_run_only_if_the_user_allows_it(google: Gcs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"version": 1, "success": True, "token_type": EXTERNAL["subject_token_type"], "id_token": "subject"}
    script = tmp_path / "token.py"
    script.write_text(f"print({json.dumps(json.dumps({**answer, 'expiration_time': 4_000_000_000}))})")
    source = {"executable": {"command": f"{sys.executable} {script}", "timeout_millis": 30_000}}
    write(tmp_path, monkeypatch, {**EXTERNAL, "credential_source": source})
    with pytest.raises(AccessError, match="Executables"):
        resolve(PRIVATE)
    monkeypatch.setenv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")
    assert files_in(resolve(PRIVATE)) == MODEL


def test_credentials_from_a_pipe_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(json.dumps(USER),))
    writer.start()
    assert load_credentials(str(tmp_path / "pipe")).refresh_token == "r"
    writer.join()


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ("{", "it is not JSON"),
        ('["refresh-secret"]', "its type is None"),
        ({"type": "gdch_service_account"}, "not one of authorized_user, service_account, external_account"),
        ({"type": ["x"]}, "its type is"),
        ({"type": "authorized_user"}, "was not in the expected format"),
        ({"type": "service_account", "private_key": "refresh-secret"}, ""),
        ({**EXTERNAL, "credential_source": None}, ""),
        (IMPERSONATED, "it is not complete for its type impersonated_service_account: KeyError 'source_credentials'"),
        ({**IMPERSONATED, "service_account_impersonation_url": "https://h/x"}, "names no service account"),
        ({**IMPERSONATED, "source_credentials": {"type": "x"}}, "its type is 'x'"),
    ],
    ids=["cut", "list", "other", "odd", "empty-user", "bad-key", "no-source", "no-origin", "no-account", "odd-origin"],
)
def test_a_file_that_cannot_be_used_is_an_error_without_a_secret(
    facts: object, words: str, google: Gcs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, monkeypatch, facts)
    with pytest.raises(AccessError) as caught:
        resolve(PRIVATE)
    assert words in str(caught.value) and "$GOOGLE_APPLICATION_CREDENTIALS" in str(caught.value)
    assert "adc.json" in str(caught.value) and "refresh-secret" not in str(caught.value) and caught.value.fix


def test_a_missing_file_is_an_error(google: Gcs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(AccessError, match=r"none\.json cannot be read: .*No such file"):
        resolve(PRIVATE)
