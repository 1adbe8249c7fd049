"""Tests of ``handles.pages``: pages of well-known hosts, and what to use instead."""

from __future__ import annotations

import pytest

from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.handles.pages import find_download_url, find_page
from tfimm_resolver.sources import registry, web_pages
from tfimm_resolver.sources.plan import Fetch, MutableRef

GITHUB, HUGGING_FACE, GITLAB = "https://github.com/ada/models", "https://huggingface.co/ada/m", "https://gitlab.com/ada/zoo/m"

PAGES = [
    (GITHUB, "github://ada/models"),
    (f"{GITHUB}.git", "github://ada/models"),
    (f"{GITHUB}/tree/v1.0", "github://ada/models:v1.0"),
    (f"{GITHUB}/tree/main/zoo/lion", "github://ada/models:main#subdirectory=zoo/lion"),
    (f"{GITHUB}/tree/main/zoo/a%20b%23c", "github://ada/models:main#subdirectory=zoo/a%20b%23c"),
    (f"{GITHUB}/tree/ada%2Ffix/lion", "github://ada/models:ada/fix#subdirectory=lion"),
    (f"{GITHUB}/blob/main/m.tar.gz", "https://github.com/ada/models/raw/main/m.tar.gz"),
    (f"{GITHUB}/blob/main/lion/saved_model.pb", "github://ada/models:main#subdirectory=lion"),
    (f"{GITHUB}/blob/main/saved_model.pb", "github://ada/models:main"),
    (f"{GITHUB}/releases/tag/v2", f"{GITHUB}/releases/download/v2/FILE"),
    (f"{GITHUB}/releases", f"{GITHUB}/releases/download/TAG/FILE"),
    ("https://gist.github.com/ada/0123456789abcdef0123", "https://gist.github.com/ada/0123456789abcdef0123/raw/FILE"),
    (f"{HUGGING_FACE}/blob/main/m.tar.gz", f"{HUGGING_FACE}/resolve/main/m.tar.gz"),
    (f"{HUGGING_FACE}/blob/v1/lion/saved_model.pb", "hf://ada/m@v1/lion"),
    (f"{HUGGING_FACE}/blob/main/saved_model.pb", "hf://ada/m"),
    ("https://www.huggingface.co/ada/m", "hf://ada/m"),
    ("https://huggingface.co/datasets/ada/m/blob/main/m.tar", "https://huggingface.co/datasets/ada/m/resolve/main/m.tar"),
    ("https://huggingface.co/spaces/ada/m/tree/main", "https://huggingface.co/spaces/ada/m/resolve/main/FILE"),
    (GITLAB, f"{GITLAB}/-/archive/HEAD/m-HEAD.tar.gz"),
    (f"{GITLAB}/-/tree/v1/lion", f"{GITLAB}/-/archive/v1/m-v1.tar.gz#subdirectory=lion"),
    (f"{GITLAB}.git", f"{GITLAB}/-/archive/HEAD/m-HEAD.tar.gz"),
    (f"{GITLAB}/-/tree/main/raw/m.zip", f"{GITLAB}/-/archive/main/m-main.tar.gz#subdirectory=raw/m.zip"),
    (f"{GITLAB}/-/blob/main/m.tar.gz", f"{GITLAB}/-/raw/main/m.tar.gz"),
    (f"{GITLAB}/-/blob/main/raw/uploads/m.zip", f"{GITLAB}/-/raw/main/raw/uploads/m.zip"),
    (f"{GITLAB}/blob/main/m.tar.gz", f"{GITLAB}/-/raw/main/m.tar.gz"),
    ("https://bitbucket.org/ada/m/src/main/m.tar.gz", "https://bitbucket.org/ada/m/raw/main/m.tar.gz"),
    ("https://bitbucket.org/ada/m", "https://bitbucket.org/ada/m/get/HEAD.tar.gz"),
    ("https://www.kaggle.com/datasets/ada/m", "kaggle://OWNER/MODEL/FRAMEWORK/VARIATION"),
    ("https://kaggle.com/code/ada/m", "kaggle://"),
    ("https://tfhub.dev/s?q=bert", "https://tfhub.dev/PUBLISHER/MODEL/VERSION"),
    ("https://tfhub.dev/google", "https://tfhub.dev/PUBLISHER/MODEL/VERSION"),
    ("https://tfhub.dev/google/collections/nnlm/1", "https://tfhub.dev/PUBLISHER/MODEL/VERSION"),
    (
        "https://drive.google.com/file/d/1aB-c_D/view?usp=sharing",
        "https://drive.google.com/uc and, without a blank, ?export=download&id=1aB-c_D",
    ),
    (
        "https://drive.google.com/open?id=1aB-c_D",
        "https://drive.google.com/uc and, without a blank, ?export=download&id=1aB-c_D",
    ),
    ("https://www.dropbox.com/scl/fi/x/m.tar.gz?rlkey=y&dl=0", "dl=1"),
    ("https://console.cloud.google.com/storage/browser/zoo/lion;tab=objects", "gs://zoo/lion"),
    ("https://s3.console.aws.amazon.com/s3/buckets/zoo?prefix=lion/&region=eu", "s3://zoo/lion"),
    ("https://s3.console.aws.amazon.com/s3/buckets/zoo?prefix=l\ud800", "s3://zoo/l"),
]

DOWNLOADS = [
    f"{GITHUB}/raw/main/m.tar.gz",
    f"{GITHUB}/releases/download/v1/m.tar.gz",
    f"{GITHUB}/releases/latest/download/m.tar.gz",
    f"{GITHUB}/archive/refs/heads/main.zip",
    f"{GITHUB}/zipball/main",
    f"{GITHUB}/blob/main/m.tar.gz?raw=true",
    f"{HUGGING_FACE}/resolve/main/m.tar.gz",
    f"{GITLAB}/-/raw/main/m.tar.gz",
    f"{GITLAB}/-/archive/main/m-main.tar.gz",
    f"{GITLAB}/-/package_files/1/download",
    "https://bitbucket.org/ada/m/get/main.tar.gz",
    "https://bitbucket.org/ada/m/downloads/m.tar.gz",
    "https://tfhub.dev/google/nnlm/2",
    "https://drive.google.com/uc?export=download&id=1aB-c_D",
    "https://www.dropbox.com/scl/fi/x/m.tar.gz?rlkey=y&dl=1",
    "https://www.dropbox.com/scl/fi/x/m.tar.gz?dl=0&raw=1",
    "https://github.com/ada/m.tar.gz",
    "https://github.com/ada/m.TAR.XZ",
    "https://huggingface.co/ada/m.zip",
    "https://huggingface.co/datasets/ada/m.tgz",
    "https://gitlab.com/api/v4/projects/1/packages/generic/m/1/m.tar.gz",
    "https://gitlab.com/api/v4/projects/1/packages/generic/m/1/m",
    "https://gitlab.com/api/v4/projects/1/packages/generic/blob/1/m.tar.gz",
    "https://gitlab.com/api/v4/projects/1/repository/archive.tar.gz?sha=x",
    "https://gitlab.com/ada/m/repository/archive?ref=x",
    "https://gitlab.com/ada/m/raw/main/m.tar.gz",
    "https://gitlab.com/ada/m/raw/main/m",
    f"{GITLAB}/-/raw/main/blob/m.tar.gz",
    "https://gitlab.com/ada/m/uploads/0123456789abcdef/m.zip",
    "https://gitlab.com/ada/m/uploads/0123456789abcdef/m",
    "https://gitlab.com/ada/m.tar.zst",
    "https://gitlab.com/ada/m.git/gitlab-lfs/objects/0123",
    "https://bitbucket.org/ada/m.tar.gz",
    "https://www.kaggle.com/datasets/ada/m/download?datasetVersionNumber=1",
    "https://tfhub.dev/ada/s",
    "https://tfhub.dev/ada/s/1",
    "https://tfhub.dev/m.tar.gz",
    "https://models.example/ada/m/blob/main/m.tar.gz",
    "https://models.example",
]


@pytest.mark.parametrize(("url", "handle"), PAGES, ids=[url for url, _ in PAGES])
def test_a_page_is_known_and_what_to_use_instead(url: str, handle: str) -> None:
    page = find_page(url)
    assert page is not None and handle in page.advice


@pytest.mark.parametrize("url", DOWNLOADS)
def test_a_download_is_not_a_page(url: str) -> None:
    assert find_page(url) is None


def test_suggested_handles_are_valid_and_have_a_source() -> None:
    for text in ("github://ada/models:v1.0", "hf://ada/m@v1/lion", f"{GITHUB}/raw/main/m.tar.gz", "s3://zoo/lion"):
        handle = Handle.parse(text)
        plans = [source(handle) for source in registry.get_sources(handle.scheme)]
        assert any(isinstance(plan, (Fetch, MutableRef)) for plan in plans), text


def test_every_host_with_pages_is_in_the_list_of_the_source() -> None:
    from tfimm_resolver.handles import pages

    assert set(pages._FINDERS) == set(web_pages.HOSTS)


@pytest.mark.parametrize(
    ("url", "download"),
    [
        ("https://raw.githubusercontent.com/ada/m/refs/heads/main/m.tar.gz", "https://github.com/ada/m/raw/main/m.tar.gz"),
        ("https://huggingface.co/ada/m/raw/main/m.tar.gz", "https://huggingface.co/ada/m/resolve/main/m.tar.gz"),
        ("https://git.example/a/b/-/blob/main/m.tar.gz", "https://git.example/a/b/-/raw/main/m.tar.gz"),
        ("http://git.example:3000/a/b/src/branch/main/m.tgz", "http://git.example:3000/a/b/raw/branch/main/m.tgz"),
        ("https://github.example/a/b/blob/main/m.tgz", "https://github.example/a/b/raw/main/m.tgz"),
        ("https://user:secret@git.example/a/b/-/blob/main/m.tgz", "https://git.example/a/b/-/raw/main/m.tgz"),
        ("https://models.example/m.tgz", None),
        ("/data/a/b/-/blob/main/m.tgz", None),
    ],
)
def test_the_download_of_a_page_or_pointer_is_derived(url: str, download: str | None) -> None:
    assert find_download_url(url) == download


@pytest.mark.parametrize("url", ["https://a[b/c", "kaggle://goog]e/x", "s3://bucket[[[[/a b", "https://[::1"])
def test_a_url_that_is_not_valid_is_not_a_known_page(url: str) -> None:
    assert find_page(url) is None and find_download_url(url) is None
