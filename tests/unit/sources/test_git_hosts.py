"""Addresses of zips at git hosts: their forms, their order, and which errors let the next one be tried."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tfimm_resolver.errors import AccessError, ArchiveError, FetchError, NotFoundError, OfflineError
from tfimm_resolver.sources import git_hosts
from tfimm_resolver.sources.git_hosts import ADDRESSES, is_missing_address, list_archive_urls, remember_kind


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(git_hosts, "_known", {})
    yield


def test_each_kind_has_its_address() -> None:
    assert list_archive_urls("https://git.example/a/b", "c0ffee") == [
        ("GitHub", "https://git.example/a/b/zipball/c0ffee"),
        ("GitLab", "https://git.example/a/b/-/archive/c0ffee/b-c0ffee.zip"),
        ("Gitea or Forgejo", "https://git.example/a/b/archive/c0ffee.zip"),
        ("Bitbucket", "https://git.example/a/b/get/c0ffee.zip"),
    ]
    urls = dict(list_archive_urls("https://git.example/a/b", "dev/x y"))
    assert urls["GitLab"] == "https://git.example/a/b/-/archive/dev/x%20y/b-dev-x%20y.zip"


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("gitlab.com", "GitLab"),
        ("GitLab.example.org:8443", "GitLab"),
        ("bitbucket.org", "Bitbucket"),
        ("codeberg.org", "Gitea or Forgejo"),
        ("gitea.example.org", "Gitea or Forgejo"),
        ("forgejo.example.org", "Gitea or Forgejo"),
        ("git.example.org", "GitHub"),
    ],
)
def test_the_likeliest_kind_is_first_and_the_others_follow(host: str, kind: str) -> None:
    kinds = [kind for kind, _ in list_archive_urls(f"https://{host}/a/b", "c0ffee")]
    assert kinds[0] == kind and sorted(kinds) == sorted(ADDRESSES)


def test_github_has_one_address() -> None:
    assert list_archive_urls("https://github.com/a/b", "c0ffee") == [("GitHub", "https://github.com/a/b/zipball/c0ffee")]


def test_what_worked_is_remembered_per_host_and_port() -> None:
    remember_kind("https://gitlab.example/a/b", "Bitbucket")
    assert list_archive_urls("https://GitLab.example/c/d/e", "c0ffee")[0][0] == "Bitbucket"
    assert list_archive_urls("https://gitlab.example:444/c/d", "c0ffee")[0][0] == "GitLab"


@pytest.mark.parametrize(
    ("error", "is_missing"),
    [
        (NotFoundError("", status=404), True),
        (AccessError("", status=403), True),
        (FetchError("", status=406), True),
        (ArchiveError("", is_page=True), True),
        (ArchiveError("member 'an HTML page' is a device"), False),
        (ArchiveError("a file is damaged"), False),
        (FetchError("", status=429, is_passing=True), False),
        (FetchError("", status=503, is_passing=True), False),
        (NotFoundError("a mirror does not have it"), False),
        (OfflineError(""), False),
    ],
    ids=["404", "403", "406", "page", "named as a page", "damaged", "429", "503", "no status", "offline"],
)
def test_only_a_refused_address_lets_the_next_one_be_tried(error: FetchError, is_missing: bool) -> None:
    assert is_missing_address(error) is is_missing
