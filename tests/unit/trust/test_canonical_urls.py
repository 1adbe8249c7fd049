"""One spelling for all URLs that mean the same; how prefixes use it is in ``test_prefixes.py``."""

from __future__ import annotations

import pytest

from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.trust.canonical_urls import canonicalize_url, list_repository_forms, simplify_url
from tfimm_resolver.trust.prefixes import list_forms


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("HTTP://user:pass@LOCALHOST.:08733//a/./b/../c?x#y", "https://localhost:8733/a/c"),
        ("http://localhost:0/m", "https://localhost:0/m"),
        ("http://localhost:/m", "https://localhost/m"),
        (f"http://localhost:{'0' * 99}80/m", "https://localhost/m"),
        ("http://[::ffff:127.0.0.1]:0080/m", "https://[::ffff:127.0.0.1]/m"),
        ("http://[zone%25eth0]:80/m", "https://[zone%eth0]/m"),
        ("http://1.2.3.4.5/m", "https://1.2.3.4.5/m"),
        ("http://999.1/m", "https://999.1/m"),
        ("https://-\u00fc-.example/m", "https://-\u00fc-.example/m"),
        ("gs://Bucket:080/m", "gs://Bucket:080/m"),
        ("https://storage.googleapis.com/storage/v1/b/bucket", "gs://bucket/"),
        (
            "https://kaggle.com/models/Google/BERT/Tensor_Flow2/Base/1/",
            "https://www.kaggle.com/models/google/bert/tensorflow2/base/1/",
        ),
        ("https://github.com/Owner/Repo.git/Folder", "github://owner/repo/Folder"),
        ("https://api.github.com/Other", "https://api.github.com/Other"),
    ],
)
def test_a_url_has_one_spelling(text: str, canonical: str) -> None:
    assert canonicalize_url(text) == canonical


def test_rules_for_hosts_can_be_left_out() -> None:
    assert simplify_url("https://GitHub.com:0443/Owner/Repo") == "https://github.com/Owner/Repo"


def test_a_handle_with_a_revision_is_in_its_repository() -> None:
    assert list_repository_forms("github://owner/repo:v1") == ["github://owner/repo", "github://owner/repo/"]
    assert list_repository_forms("hf://owner/repo@v1/a/b") == ["hf://owner/repo", "hf://owner/repo/a/b"]
    assert list_repository_forms("hf://owner/repo/a") == list_repository_forms("https://models.example/m@v1") == []


def test_another_revision_is_another_handle() -> None:
    one, other = (list_forms(Handle.parse(f"github://owner/repo:{revision}")) for revision in ("v1", "v2"))
    assert one.isdisjoint(other)
