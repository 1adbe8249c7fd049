"""Rules for URLs: confusing hosts, signatures, and the keys of signed URLs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.fakes.archives import files_in, tar_gz
from tests.fakes.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver._util.urls import has_signature, strip_signature
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.http import credentials, mirrors

CONFUSING = {
    "a backslash before @": "127.0.0.1:1\\@tfhub.dev",
    "a backslash": "tfhub.dev\\.example.org",
    "a blank": "tfhub.dev .example.org",
    "a no-break space": "tfhub.dev\xa0.example.org",
    "an ideographic space": "tfhub.dev\u3000",
    "a C1 control character": "tfhub.dev\x85",
    "a right-to-left override": "tfhub.dev\u202e",
    "a right-to-left mark": "\u200ftfhub.dev",
    "a zero-width joiner": "tfhub\u200d.dev",
    "a byte order mark": "\ufefftfhub.dev",
    "a blank in the password": "ada:pass word@tfhub.dev",
}


@pytest.mark.parametrize("scheme", ["http", "https", "gs", "s3", "hf", "github", "kaggle", "zoo"])
@pytest.mark.parametrize("name", CONFUSING)
def test_an_authority_that_two_readers_may_read_differently_is_refused(name: str, scheme: str) -> None:
    with pytest.raises(HandleError):
        Handle.parse(f"{scheme}://{CONFUSING[name]}/google/nnlm/2")


@pytest.mark.parametrize("authority", CONFUSING.values())
def test_the_same_holds_for_mirrors_and_base_urls(authority: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HandleError):
        mirrors.parse(f"https://{authority}/hub")
    monkeypatch.setenv("TFIMM_GITHUB_URL", f"https://{authority}")
    with pytest.raises(HandleError):
        credentials.base_url_from_env("TFIMM_GITHUB_URL", "")


@pytest.mark.parametrize(
    "authority", ["tfhub.dev", "bücher.example", "[::1]:8080", "ada:p%20w@h", "xn--bcher-kva.example", "h_1.x"]
)
def test_others_are_accepted(authority: str) -> None:
    assert Handle.parse(f"https://{authority}/google/nnlm/2").host == authority


AMAZON = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIA%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20260101T00000{n}Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature={n}&X-Amz-Security-Token=t{n}"
)
SIGNED = {
    "Amazon, version 4": AMAZON,
    "Amazon, version 2": "AWSAccessKeyId=AKIA&Signature=s{n}%3D&Expires=170000000{n}",
    "Google, version 4": AMAZON.replace("X-Amz-", "X-Goog-"),
    "Google, version 2": "GoogleAccessId=a@b.iam&Expires=170000000{n}&Signature=s{n}",
    "CloudFront, with a canned policy": "Expires=170000000{n}&Signature=s{n}&Key-Pair-Id=K{n}",
    "CloudFront, with a custom policy": "Policy=p{n}&Signature=s{n}&Key-Pair-Id=K{n}",
    "Azure": "sv=2024-11-04&st=2026-01-0{n}T00%3A00%3A00Z&se=2026-02-0{n}&sr=b&sp=r&sig=s{n}%3D",
    "Azure, for an account": "sv=2024-11-04&ss=b&srt=o&sp=r&se=2026-02-0{n}&sig=s{n}",
    "Azure, delegated by a user": "skoid=i{n}&sktid=t&skt=2&ske=3&sks=b&skv=4&sv=2024-11-04&se=2026-0{n}&sr=b&sp=r&sig=s{n}",
}


@pytest.mark.parametrize("name", SIGNED)
def test_a_new_signature_for_the_same_object_is_the_same_key(name: str) -> None:
    url = "https://bucket.example/models/8f3a"
    first, second = (Handle.parse(f"{url}?{SIGNED[name].format(n=n)}") for n in (1, 2))
    assert first.key == second.key == url and first.url() != second.url()
    version = Handle.parse(f"{url}?versionId=7&{SIGNED[name].format(n=1)}&response-content-type=x")
    assert version.key == f"{url}?versionId=7&response-content-type=x"


@pytest.mark.parametrize(
    "query",
    [
        "sig=abc",
        "Signature=abc",
        "Expires=5&Signature=abc",
        "sv=1&sig=2",
        "token=1",
        "X-Amz-Signature=1",
        "hdnts=exp=1~hmac=2",
    ],
)
def test_a_parameter_of_an_unknown_scheme_stays_part_of_the_key(query: str) -> None:
    assert Handle.parse(f"https://h/m.tar.gz?{query}").key == f"https://h/m.tar.gz?{query}"
    assert strip_signature(query) == query


@pytest.mark.parametrize("query", [*SIGNED.values(), "sig=abc", "Signature=abc", "x-amz-signature=1", "hdnts=exp=1~hmac=2"])
def test_nothing_is_added_to_a_query_that_holds_a_signature(query: str) -> None:
    assert has_signature(query)
    handle = Handle.parse(f"https://h/models/8f3a?{query}")
    assert handle.url(tf_hub_format="compressed") == f"https://h/models/8f3a?{query}"


@pytest.mark.parametrize("query", ["", "a=1", "signature_id=3", "config=sig", "design=1"])
def test_other_queries_get_the_format(query: str) -> None:
    assert not has_signature(query)
    assert Handle.parse(f"https://h/m?{query}").url(tf_hub_format="compressed").endswith("tf-hub-format=compressed")


def test_names_on_disk_of_unsigned_urls_are_those_of_tensorflow_hub() -> None:
    url = "https://tfhub.dev/google/nnlm/2?a=1"
    assert entry_name_for_key(Handle.parse(url).key) == hashlib.sha1(url.encode()).hexdigest()


def test_a_model_behind_a_signed_url_is_downloaded_once(origin: Origin, cache_dir: Path) -> None:
    paths = set()
    for n in (1, 2):
        handle = origin.put(f"/models/8f3a?{AMAZON.format(n=n)}", tar_gz())
        paths.add(resolve(handle))
    assert len(paths) == len(origin.requests) == 1 and files_in(paths.pop())
    assert all("Signature" not in path.read_text() for path in cache_dir.glob("*.txt"))
