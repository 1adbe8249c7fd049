"""Repositories by ``github://``, from real git on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archives import files_in, tar_gz, zip_of
from tests.git_host import GitHost, Repo, basic
from tests.origin import Origin
from tfimm_resolver import resolve
from tfimm_resolver.errors import (
    AccessError,
    ArchiveError,
    FetchError,
    HandleError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    UnknownRefError,
)
from tfimm_resolver.sources.github import Repository
from tfimm_resolver.sources.registry import SCHEMES

FILES = {"hubconf.py": "def one():\n    return 1\n", "models/net.py": "x = 1\n"}
HUBCONF = {name: text.encode() for name, text in FILES.items()}
REFS = ".git/info/refs?service=git-upload-pack"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHost]:
    """An empty host, which is the configured one."""
    with GitHost(tmp_path / "host") as server:
        monkeypatch.setenv("TFIMM_GITHUB_URL", server.url)
        yield server


@pytest.fixture
def repo(host: GitHost) -> Repo:
    """A repository whose default branch is called trunk."""
    return host.repo("ada/models", FILES, branch="trunk")


def record_of(path: str) -> dict[str, object]:
    """What the record says of where a tree came from."""
    text = Path(f"{path}.descriptor.txt").read_text()
    facts: dict[str, object] = json.loads(text.partition("\n\n")[2])["origin"]
    return facts


def refused(handle: str, kind: type[Exception], cache_dir: Path) -> str:
    """The error's text; nothing is left."""
    with pytest.raises(kind) as caught:
        resolve(handle)
    assert type(caught.value) is kind and not (cache_dir.exists() and list(cache_dir.iterdir()))
    return str(caught.value)


def test_resolves_to_the_directory_of_the_default_branch_and_notes_its_commit(repo: Repo, host: GitHost) -> None:
    path = resolve("github://ada/models")
    assert files_in(path) == HUBCONF
    commit = repo.git("rev-parse", "HEAD")
    assert host.asked == [f"/ada/models{REFS}", f"/ada/models/zipball/{commit}"]
    assert (record_of(path)["ref"], record_of(path)["commit"]) == ("refs/heads/trunk", commit)
    assert resolve("github://ada/models/") == path == resolve(f"github://{host.name}/ada/models") and len(host.asked) == 2


def test_a_refresh_brings_what_is_at_the_tip_by_now(repo: Repo, host: GitHost) -> None:
    path = resolve("github://ada/models:trunk")
    commit = repo.commit({"new.py": ""})
    assert resolve("github://ada/models:trunk") == path
    fresh = resolve("github://ada/models:trunk", refresh=True)
    assert "new.py" in files_in(fresh) and record_of(path)["commit"] == commit and files_in(path) == HUBCONF


@pytest.mark.parametrize("ref", ["dev/x", "v1", "refs/tags/v1", "refs/heads/dev/x", "dev", "ünïcode"])
def test_a_branch_or_a_tag_may_be_asked_for(ref: str, repo: Repo, host: GitHost) -> None:
    commit = repo.git("rev-parse", "HEAD")
    repo.git("tag", "-a", "v1", "-m", "the first")  # whose own hash is not the commit's
    for branch in ("dev/x",) if ref != "dev" else ("dev",):
        repo.git("push", "-q", "origin", f"HEAD:refs/heads/{branch}", "refs/tags/v1")
    if not ref.isascii():
        repo.git("push", "-q", "origin", f"HEAD:refs/heads/{ref}")
    repo.commit({"later.py": ""})
    path = resolve(f"github://ada/models:{ref}")
    assert files_in(path) == HUBCONF and record_of(path)["commit"] == commit
    assert host.zips() == [f"/ada/models/zipball/{commit}"]


def test_a_commit_is_taken_if_it_is_at_a_tip_and_not_from_a_fork(repo: Repo, host: GitHost, cache_dir: Path) -> None:
    first = repo.git("rev-parse", "HEAD")
    foreign = repo.commit({"hubconf.py": "evil = 1\n"}, push=False)
    repo.git("push", "-q", "origin", f"{foreign}:refs/pull/1/head")  # how GitHub shows what a fork proposes
    repo.git("reset", "-q", "--hard", first)
    host.repo("eve/models", {"hubconf.py": "evil = 1\n"})
    for commit in (foreign, foreign[:10], "0" * 40):
        assert "If it's a commit from a forked repo" in refused(f"github://ada/models:{commit}", UnknownRefError, cache_dir)
    assert host.zips() == []
    assert (
        files_in(resolve(f"github://ada/models:{first}")) == HUBCONF == files_in(resolve(f"github://ada/models:{first[:8]}"))
    )
    repo.commit({"a.py": ""})
    assert "Cannot find" in refused_beside(f"github://ada/models:{first[:9]}")


def refused_beside(handle: str) -> str:
    with pytest.raises(UnknownRefError) as caught:
        resolve(handle)
    return str(caught.value)


def test_a_zip_of_another_commit_is_refused(repo: Repo, host: GitHost, cache_dir: Path) -> None:
    other = repo.commit({"hubconf.py": "evil = 1\n"})
    first = repo.git("rev-parse", "HEAD^")
    host.answers["zipball"] = lambda _: host.zip("ada/models", first)
    text = refused("github://ada/models", IntegrityError, cache_dir)
    assert f"came  {first}" in text and f"asked {other}" in text


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (zip_of({"a/hubconf.py": b""}), ArchiveError, "no zip that says of which commit"),
        (tar_gz({"a/hubconf.py": b""}), ArchiveError, "no zip that says of which commit"),
        (zip_of({"a/hubconf.py": b"", "b": b""}), ArchiveError, "not one directory"),
        (zip_of({"hubconf.py": b""}), ArchiveError, "not one directory"),
        (b"<html>Please log in", ArchiveError, "an HTML page"),
        (zip_of({"a/hubconf.py": b""})[:-3], ArchiveError, "zip"),
    ],
)
def test_what_is_no_zip_of_gits_is_refused(
    body: bytes, kind: type[Exception], told: str, repo: Repo, host: GitHost, cache_dir: Path
) -> None:
    host.answers["zipball"] = lambda _: (200, {}, body)
    assert told in refused("github://ada/models", kind, cache_dir)


def test_a_link_in_a_repository_is_refused(repo: Repo, cache_dir: Path) -> None:
    repo.commit({}, links={"passwords": "/etc/passwd"})
    assert "is a link" in refused("github://ada/models", ArchiveError, cache_dir)


def test_an_empty_or_missing_repository_is_told(repo: Repo, host: GitHost, cache_dir: Path) -> None:
    host.repo("ada/empty")
    assert "is empty" in refused("github://ada/empty", UnknownRefError, cache_dir)
    text = refused("github://ada/modles", NotFoundError, cache_dir)
    assert "answered 404" in text and "spelling of OWNER/REPO" in text and "GITHUB_TOKEN" in text


def test_offline_nothing_is_asked_and_what_is_cached_serves(
    repo: Repo, host: GitHost, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = resolve("github://ada/models")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve("github://ada/models") == path
    with pytest.raises(OfflineError, match="TFIMM_RESOLVER_OFFLINE"):
        resolve("github://ada/models:other")
    assert len(host.asked) == 2


MALFORMED = (
    "github://ada",
    "github://ada/a/b/c",
    "github://ada/..",
    "github://ada/.git",
    "github://ada/...git",
    "github://ad%20a/models",
    "github://ada/models:",
    "github://ada/models:a..b",
    "github://ada/models:a b",
    "github://ada/models:a:b",
    "github://ada/models:-x",
    "github://ada/models:a//b",
    "github://ada/models:a.",
    "github://ada/models:a~1",
    "github://ada/models:@{u}",
    "github://ada/models:\u202ex",
    "github://ada/models?x=secret",
    "github://tok:secret@h.org/ada/models",
)


@pytest.mark.parametrize("handle", MALFORMED)
def test_a_malformed_handle_is_told_the_right_form(handle: str, cache_dir: Path) -> None:
    text = refused(handle, HandleError, cache_dir)
    assert "OWNER/REPO:REF" in text and "secret" not in text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ada/models", "github.com/ada/models"),
        ("ada/models.git:v1", "github.com/ada/models"),
        ("GitHub.com/Ada/models", "github.com/Ada/models"),
        ("git.example.org:8443/ada/models", "git.example.org:8443/ada/models"),
        ("git.example.org/below/it/ada/models:v1", "git.example.org/below/it/ada/models"),
    ],
)
def test_reads_host_owner_and_repository(text: str, name: str) -> None:
    repository = Repository.parse(text)
    assert repository.name == name
    assert Repository.parse(repository.identity.removeprefix("github://")) == repository


@pytest.mark.parametrize(
    "url",
    [
        "github.example.org",
        "ftp://h",
        "https://tok:s3cret@h",
        "https://h?x=s3cret",
        "https://h#s3cret",
        "https://h:0",
        "https://",
    ],
)
def test_a_base_that_is_no_url_of_a_host_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_GITHUB_URL", url)
    with pytest.raises(HandleError, match="TFIMM_GITHUB_URL is") as caught:
        resolve("github://ada/models")
    assert "s3cret" not in str(caught.value)


def test_the_token_is_told_to_the_configured_host_and_to_no_other(
    repo: Repo, host: GitHost, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.token = "s3cret"
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    elsewhere = origin.url.replace("127.0.0.1", "localhost")  # another host, as codeload.github.com is
    _, _, body = host.zip("ada/models", "trunk")
    host.answers["zipball"] = lambda _: (302, {"Location": f"{elsewhere}/codeload?token=signed"}, b"")
    origin.put("/codeload?token=signed", body)
    path = resolve("github://ada/models")
    assert files_in(path) == HUBCONF
    assert host.said == [basic("s3cret")] * 2 and "Authorization" not in origin.headers[0]
    assert "s3cret" not in Path(f"{path}.descriptor.txt").read_text() and "signed" not in str(record_of(path))


def test_another_host_is_asked_without_the_token(
    tmp_path: Path, repo: Repo, host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    monkeypatch.setenv("TFIMM_GITHUB_URL", "https://github.com")
    with pytest.raises(FetchError):  # it speaks no TLS; that it is asked at all is enough
        resolve(f"github://{host.name}/ada/models")
    assert host.said == []
    from tfimm_resolver.sources import github

    assert github._authorization(Repository.parse(f"{host.name}/ada/models")) == ""
    assert github._authorization(Repository.parse("ada/models")) != ""


def test_the_token_comes_before_what_netrc_says(
    repo: Repo, host: GitHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home/.netrc").write_text("machine 127.0.0.1 login ada password other\n")
    host.token = "s3cret"
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    resolve("github://ada/models")
    assert host.said == [basic("s3cret")] * 2


def test_a_mirror_is_asked_for_refs_and_zips_and_is_told_what_netrc_says_and_not_the_token(
    repo: Repo, host: GitHost, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home/.netrc").write_text("machine 127.0.0.1 login x-access-token password mirrors\n")
    commit = repo.git("rev-parse", "HEAD")
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    for path in (f"/ada/models{REFS}", f"/ada/models/zipball/{commit}"):
        origin.put(f"/{host.name}{path}", host.answer(path, None)[2])
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", f"file:///nowhere,{origin.url}")
    assert files_in(resolve("github://ada/models")) == HUBCONF
    assert host.asked == [] and len(origin.asked) == 2
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", f"{origin.url}/empty,direct")
    assert files_in(resolve("github://ada/models", refresh=True)) == HUBCONF and host.said == [basic("s3cret")] * 2
    assert [headers.get("Authorization") for headers in origin.headers] == [basic("mirrors")] * 4


def test_where_the_list_of_mirrors_says_off_the_host_is_asked_nothing(
    repo: Repo, host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", "off")
    with pytest.raises(OfflineError, match="TFIMM_RESOLVER_MIRRORS says off"):
        resolve("github://ada/models")
    assert host.asked == []


def test_a_token_that_is_refused_is_left_out_once(repo: Repo, host: GitHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "run0ut")

    def refuse(path: str) -> tuple[int, dict[str, str], bytes] | None:
        return (401, {}, b"Bad credentials") if host.said[-1] else None

    host.answers["."] = refuse
    assert files_in(resolve("github://ada/models")) == HUBCONF
    assert host.said == [basic("run0ut"), None] * 2


def test_where_nobody_is_let_in_both_refusals_are_told(
    repo: Repo, host: GitHost, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "run0ut")
    host.token = "another"
    with pytest.raises(AccessError) as caught:
        resolve("github://ada/models")
    assert "and with GITHUB_TOKEN" in caught.value.text and "run0ut" not in str(caught.value)
    assert isinstance(caught.value.__cause__, AccessError)


def test_with_a_token_the_rest_api_answers_where_git_does_not(
    repo: Repo, host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repo.git("rev-parse", "HEAD")
    repo.git("tag", "-a", "v1", "-m", "the first")
    repo.git("push", "-q", "origin", "refs/tags/v1", "HEAD:refs/heads/v1-beta")
    host.answers["info/refs"] = lambda _: (404, {}, b"")
    with pytest.raises(NotFoundError):
        resolve("github://ada/models")
    assert not any("/api/" in path for path in host.asked), "without a token it is hardly ever answered"
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    for ref, full in (("", "refs/heads/trunk"), (":v1", "refs/tags/v1"), (":refs/tags/v1", "refs/tags/v1")):
        path = resolve(f"github://ada/models{ref}")
        assert (record_of(path)["ref"], record_of(path)["commit"]) == (full, commit)
    with pytest.raises(UnknownRefError):
        resolve("github://ada/models:v")
    host.answers["/api/"] = lambda _: (200, {}, b"<html>")
    with pytest.raises(NotFoundError, match="info/refs"):
        resolve("github://ada/models:v1-beta")


def test_importing_the_source_is_light() -> None:
    from tests.processes import run

    code = "import sys, tfimm_resolver; print('tfimm_resolver.sources.github_refs' in sys.modules, 'base64' in sys.modules)"
    assert run(code).startswith("False")
    assert SCHEMES.count("github") == 1
