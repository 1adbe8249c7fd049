"""URLs of objects at a store's own hosts: they work as URLs, and what is denied there is also offered as a handle."""

from __future__ import annotations

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.stores.front import Front
from tests.fakes.stores.gcs import Gcs
from tfimm_resolver import resolve
from tfimm_resolver.errors import AccessError, FetchError, NotFoundError

HOST = "https://storage.googleapis.com"


@pytest.fixture
def google(gcs: Gcs, front: Front, monkeypatch: pytest.MonkeyPatch) -> Gcs:
    """Google's own host, with an archive in a public bucket and one in a private one."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("https_proxy", front.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(front.bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(front.bundle))
    for bucket in (gcs.bucket("public"), gcs.bucket("private", token="secret")):
        bucket.put("a/m.tar.gz", tar_gz())
    return gcs


def test_the_url_of_an_archive_is_fetched(google: Gcs) -> None:
    assert files_in(resolve(f"{HOST}/public/a/m.tar.gz")) == MODEL


@pytest.mark.parametrize(
    ("path", "kind", "fix"),
    [
        ("public/models/bert", NotFoundError, "If it is a directory in a bucket, write gs://public/models/bert"),
        ("private/a", AccessError, "If it is a directory in a bucket, write gs://private/a"),
        ("private/a/m.tar.gz", AccessError, "To read it with your credentials, write gs://private/a/m.tar.gz"),
    ],
)
def test_what_is_denied_or_not_found_is_offered_as_a_handle(path: str, kind: type[FetchError], fix: str, google: Gcs) -> None:
    with pytest.raises(kind) as caught:
        resolve(f"{HOST}/{path}")
    assert fix in caught.value.fix and caught.value.status in (403, 404)


def test_a_signed_url_is_left_alone(google: Gcs) -> None:
    with pytest.raises(AccessError) as caught:
        resolve(f"{HOST}/private/a/m.tar.gz?X-Goog-Signature=secret")
    assert "gs://" not in str(caught.value)


def test_the_url_of_a_graph_has_one_advice(google: Gcs) -> None:
    with pytest.raises(NotFoundError) as caught:
        resolve(f"{HOST}/public/m/saved_model.pb")
    assert caught.value.fix == "Use the handle of the model: gs://public/m"
