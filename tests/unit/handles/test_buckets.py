"""Tests of ``handles.buckets``: other spellings of objects in buckets, and of stores that are read in another way."""

from __future__ import annotations

import pytest

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.buckets import find_bucket_handle, is_store_host, may_be_bucket, suggest_other_store
from tfimm_resolver.handles.handle import ARCHIVE_SUFFIXES, Handle

HANDLES = {
    "https://storage.googleapis.com/my-bucket/a/m.tar.gz": "gs://my-bucket/a/m.tar.gz",
    "https://storage.googleapis.com:443/my-bucket/a/": "gs://my-bucket/a",
    "http://storage.googleapis.com/my-bucket/a?alt=media": "gs://my-bucket/a",
    "//storage.googleapis.com/my-bucket": "gs://my-bucket",
    "storage.googleapis.com/my-bucket/a%20b": "gs://my-bucket/a b",
    "https://storage.cloud.google.com/my-bucket/a": "gs://my-bucket/a",
    "https://my.bucket.storage.googleapis.com/a": "gs://my.bucket/a",
    "https://commondatastorage.googleapis.com/my-bucket/a": "gs://my-bucket/a",
    "https://s3.amazonaws.com/my-bucket/a": "s3://my-bucket/a",
    "https://s3.eu-west-1.amazonaws.com/my-bucket/a/m.zip": "s3://my-bucket/a/m.zip",
    "https://s3-us-west-2.amazonaws.com/my-bucket/a": "s3://my-bucket/a",
    "https://s3.dualstack.eu-west-1.amazonaws.com/my-bucket/a": "s3://my-bucket/a",
    "https://s3.us-gov-west-1.amazonaws.com/my-bucket/a": "s3://my-bucket/a",
    "https://s3.cn-north-1.amazonaws.com.cn/my-bucket/a": "s3://my-bucket/a",
    "https://my-bucket.s3.amazonaws.com/a": "s3://my-bucket/a",
    "my.bucket.s3.eu-west-1.amazonaws.com/a": "s3://my.bucket/a",
    "HTTPS://my-bucket.S3.EU-West-1.amazonaws.com/a": "s3://my-bucket/a",
    "my-bucket.s3-accelerate.amazonaws.com/a": "s3://my-bucket/a",
    "arn:aws:s3:::my-bucket/a": "s3://my-bucket/a",
    "arn:aws-cn:s3:::my-bucket": "s3://my-bucket",
    "https://storage.googleapis.com/": None,
    "https://fonts.googleapis.com/my-bucket/a": None,
    "https://s3.example.com/my-bucket/a": None,
    "https://s3.amazonaws.com.example/my-bucket/a": None,
    "https://example/s3.amazonaws.com/my-bucket": None,
    "https://ec2.eu-west-1.amazonaws.com/my-bucket": None,
    "my-bucket/a": None,
    "": None,
}


@pytest.mark.parametrize("text", HANDLES)
def test_a_url_of_a_store_is_a_handle_of_its_bucket(text: str) -> None:
    assert find_bucket_handle(text) == HANDLES[text]


def test_a_long_text_is_read_in_linear_time() -> None:
    for text in ("a." * 500_000, "s3-eu" + "-a" * 500_000, "my-bucket/" + "a/" * 500_000 + "\\"):
        assert find_bucket_handle(text) is None and not is_store_host(text)
        assert not may_be_bucket(text, is_likely=True)


@pytest.mark.parametrize("host", ["s3.amazonaws.com", "my-bucket.s3.eu-west-1.amazonaws.com", "storage.googleapis.com"])
def test_a_host_of_a_store_is_not_the_name_of_a_bucket(host: str) -> None:
    assert is_store_host(host)
    assert not is_store_host("my-bucket") and not is_store_host("my.s3.bucket") and not is_store_host(f"{host}.example")


@pytest.mark.parametrize(
    ("text", "is_likely", "expected"),
    [
        ("my-bucket/models/bert", False, True),
        ("my-bucket/bert", False, False),
        ("my-bucket/bert", True, True),
        ("my-bucket", True, False),
        ("./models/bert", True, False),
        ("/models/bert/1", True, False),
        ("Models/bert/1", True, False),
        ("my-bucket\\models\\bert", True, False),
    ],
)
def test_a_path_may_be_one_in_a_bucket(text: str, is_likely: bool, expected: bool) -> None:
    assert may_be_bucket(text, is_likely=is_likely) == expected


@pytest.mark.parametrize(
    ("handle", "words"),
    [
        ("abfss://c@acc.dfs.core.windows.net/p/m.tar.gz", "https://acc.blob.core.windows.net/c/p/m.tar.gz,"),
        ("wasbs://c@acc.blob.core.windows.net/p", "https://acc.blob.core.windows.net/c/p.tar.gz,"),
        ("az://acc.blob.core.windows.net/c/p", "https://acc.blob.core.windows.net/c/p.tar.gz,"),
        ("az://c/p", "https://ACCOUNT.blob.core.windows.net/c/p.tar.gz,"),
        *(
            (f"abfs://c/p{suffix}", f"https://ACCOUNT.blob.core.windows.net/c/p{suffix},")
            for suffix in (*ARCHIVE_SUFFIXES, ".TGZ")
        ),
        ("abfs://c/p.csv.gz", "https://ACCOUNT.blob.core.windows.net/c/p.csv.gz.tar.gz,"),
        ("abfs://c/p.zip", "https://ACCOUNT.blob.core.windows.net/c/p.zip,"),
        ("minio://b/m", "write s3://b/m and set AWS_ENDPOINT_URL"),
        ("dbfs:///models/m", "/dbfs/models/m"),
    ],
)
def test_another_store_is_explained(handle: str, words: str) -> None:
    advice = suggest_other_store(handle.partition("://")[0], handle)
    assert advice is not None and words in advice


def test_the_advice_has_no_secret() -> None:
    for handle in (
        "az://user:secret@host/p?sig=secret",
        "abfss://u:secret@acc.dfs.core.windows.net/p",
        "r2://k:secret@b/m?t=secret",
    ):
        advice = suggest_other_store(handle.partition("://")[0], handle)
        assert advice is not None and "secret" not in advice


def test_an_unknown_store_has_no_advice() -> None:
    assert suggest_other_store("ftp", "ftp://host/m") is None


@pytest.mark.parametrize(("scheme", "canonical"), [("s3a", "s3"), ("S3N", "s3"), ("gcs", "gs"), ("GCS", "gs")])
def test_schemes_of_other_programs_name_the_same_model(scheme: str, canonical: str) -> None:
    parsed, meant = Handle.parse(f"{scheme}://my-bucket/M/1/"), Handle.parse(f"{canonical}://my-bucket/M/1/")
    assert parsed == meant and parsed.text.startswith(f"{canonical}://my-bucket")


@pytest.mark.parametrize("text", ["hdfs:///user/m", "ram:///m", "ram://models/a", "viewfs:///m"])
def test_file_systems_of_tensorflow_may_have_no_host(text: str) -> None:
    assert Handle.parse(text).text == text == Handle.parse(f"{text}/").key


@pytest.mark.parametrize("text", ["hdfs://", "ram:///", "gs:///m", "https:///m", "foo:///m"])
def test_others_have_one(text: str) -> None:
    with pytest.raises(HandleError, match="has a scheme but no host"):
        Handle.parse(text)
