"""Repositories by ``github://``, served by real git on loopback."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import files_in, tar_gz, zip_of
from tests.fakes.git_host import ZIPS, GitHost, Repo, make_authorization
from tests.fakes.origin import Origin
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
from tfimm_resolver.sources import git_hosts
from tfimm_resolver.sources.github import Repository
from tfimm_resolver.sources.registry import SCHEMES

FILES = {"hubconf.py": "def one():\n    return 1\n", "models/net.py": "x = 1\n"}
HUBCONF = {name: text.encode() for name, text in FILES.items()}
REFS = ".git/info/refs?service=git-upload-pack"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHost]:
    """An empty host; it is the configured one."""
    with GitHost(tmp_path / "host") as server:
        monkeypatch.setenv("TFIMM_GITHUB_URL", server.url)
        yield server


@pytest.fixture
def repo(host: GitHost) -> Repo:
    """A repository whose default branch is called trunk."""
    return host.repo("ada/models", FILES, branch="trunk")


def read_origin(path: str) -> dict[str, object]:
    """Return the origin in the record of a cached tree."""
    text = Path(f"{path}.descriptor.txt").read_text()
    facts: dict[str, object] = json.loads(text.partition("\n\n")[2])["origin"]
    return facts


def get_refusal(handle: str, kind: type[Exception], cache_dir: Path) -> str:
    """Return the error's text; check that nothing is left in the cache."""
    with pytest.raises(kind) as caught:
        resolve(handle)
    assert type(caught.value) is kind and not (cache_dir.exists() and list(cache_dir.iterdir()))
    return str(caught.value)


def test_resolves_to_the_directory_of_the_default_branch_and_notes_its_commit(repo: Repo, host: GitHost) -> None:
    path = resolve("github://ada/models")
    assert files_in(path) == HUBCONF
    commit = repo.git("rev-parse", "HEAD")
    assert host.requests == [f"/ada/models{REFS}", f"/ada/models/zipball/{commit}"]
    assert (read_origin(path)["ref"], read_origin(path)["commit"]) == ("refs/heads/trunk", commit)
    assert resolve("github://ada/models/") == path == resolve(f"github://{host.name}/ada/models") and len(host.requests) == 2


def test_a_refresh_fetches_the_current_tip(repo: Repo, host: GitHost) -> None:
    path = resolve("github://ada/models:trunk")
    commit = repo.commit({"new.py": ""})
    assert resolve("github://ada/models:trunk") == path
    fresh = resolve("github://ada/models:trunk", refresh=True)
    assert "new.py" in files_in(fresh) and read_origin(path)["commit"] == commit and files_in(path) == HUBCONF


@pytest.mark.parametrize("ref", ["dev/x", "v1", "refs/tags/v1", "refs/heads/dev/x", "dev", "ünïcode"])
def test_a_branch_or_a_tag_can_be_requested(ref: str, repo: Repo, host: GitHost) -> None:
    commit = repo.git("rev-parse", "HEAD")
    repo.git("tag", "-a", "v1", "-m", "the first")  # whose own hash is not the commit's
    for branch in ("dev/x",) if ref != "dev" else ("dev",):
        repo.git("push", "-q", "origin", f"HEAD:refs/heads/{branch}", "refs/tags/v1")
    if not ref.isascii():
        repo.git("push", "-q", "origin", f"HEAD:refs/heads/{ref}")
    repo.commit({"later.py": ""})
    path = resolve(f"github://ada/models:{ref}")
    assert files_in(path) == HUBCONF and read_origin(path)["commit"] == commit
    assert host.list_zips() == [f"/ada/models/zipball/{commit}"]


def test_a_commit_is_accepted_if_it_is_at_a_tip_and_not_from_a_fork(repo: Repo, host: GitHost, cache_dir: Path) -> None:
    first = repo.git("rev-parse", "HEAD")
    foreign = repo.commit({"hubconf.py": "evil = 1\n"}, push=False)
    repo.git("push", "-q", "origin", f"{foreign}:refs/pull/1/head")  # how GitHub shows what a fork proposes
    repo.git("reset", "-q", "--hard", first)
    host.repo("eve/models", {"hubconf.py": "evil = 1\n"})
    for commit in (foreign, foreign[:10], "0" * 40):
        assert "If it's a commit from a forked repo" in get_refusal(
            f"github://ada/models:{commit}", UnknownRefError, cache_dir
        )
    assert host.list_zips() == []
    assert (
        files_in(resolve(f"github://ada/models:{first}")) == HUBCONF == files_in(resolve(f"github://ada/models:{first[:8]}"))
    )
    repo.commit({"a.py": ""})
    assert "Cannot find" in get_unknown_ref_error(f"github://ada/models:{first[:9]}")


def get_unknown_ref_error(handle: str) -> str:
    with pytest.raises(UnknownRefError) as caught:
        resolve(handle)
    return str(caught.value)


def test_a_zip_of_another_commit_is_rejected(repo: Repo, host: GitHost, cache_dir: Path) -> None:
    other = repo.commit({"hubconf.py": "evil = 1\n"})
    first = repo.git("rev-parse", "HEAD^")
    host.answers["zipball"] = lambda _: host.zip("ada/models", first)
    text = get_refusal("github://ada/models", IntegrityError, cache_dir)
    assert f"received   {first}" in text and f"requested  {other}" in text


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (zip_of({"a/hubconf.py": b""}), ArchiveError, "did not return a zip that names its commit"),
        (tar_gz({"a/hubconf.py": b""}), ArchiveError, "did not return a zip that names its commit"),
        (zip_of({"a/hubconf.py": b"", "b": b""}), ArchiveError, "exactly one top-level directory"),
        (zip_of({"hubconf.py": b""}), ArchiveError, "exactly one top-level directory"),
        (b"<html>Please log in", ArchiveError, "an HTML page"),
        (zip_of({"a/hubconf.py": b""})[:-3], ArchiveError, "zip"),
    ],
    ids=["a zip without a commit", "a tar", "a file at the top", "no directory", "a page", "a cut zip"],
)
def test_a_body_that_is_not_a_zip_by_git_is_rejected(
    body: bytes, kind: type[Exception], message: str, repo: Repo, host: GitHost, cache_dir: Path
) -> None:
    host.answers["zipball"] = lambda _: (200, {}, body)
    assert message in get_refusal("github://ada/models", kind, cache_dir)


def test_an_empty_or_missing_repository_is_an_error(repo: Repo, host: GitHost, cache_dir: Path) -> None:
    host.repo("ada/empty")
    assert "is empty" in get_refusal("github://ada/empty", UnknownRefError, cache_dir)
    text = get_refusal("github://ada/modles", NotFoundError, cache_dir)
    assert "answered 404" in text and "spelling of OWNER/REPO" in text and "GITHUB_TOKEN" in text


def test_offline_nothing_is_requested_and_the_cache_is_used(
    repo: Repo, host: GitHost, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = resolve("github://ada/models")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve("github://ada/models") == path
    with pytest.raises(OfflineError, match="TFIMM_RESOLVER_OFFLINE"):
        resolve("github://ada/models:other")
    assert len(host.requests) == 2


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
    "github://ada/models?x=secret",
    "github://tok:secret@h.org/ada/models",
)


@pytest.mark.parametrize("handle", MALFORMED)
def test_the_error_for_a_malformed_handle_shows_the_right_form(handle: str, cache_dir: Path) -> None:
    text = get_refusal(handle, HandleError, cache_dir)
    assert "OWNER/REPO:REF" in text and "secret" not in text


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ada/models", "github.com/ada/models"),
        ("ada/models.git:v1", "github.com/ada/models"),
        ("GitHub.com/Ada/models", "github.com/Ada/models"),
        ("git.example.org:8443/ada/models", "git.example.org:8443/ada/models"),
        ("git.example.org/below/it/ada/models:v1", "git.example.org/below/it/ada/models"),
        ("gitlab.com/group/sub/models.git", "gitlab.com/group/sub/models"),
    ],
)
def test_parses_host_owner_and_repository(text: str, name: str) -> None:
    repository = Repository.parse(text)
    assert repository.full_name == name
    assert Repository.parse(repository.handle.removeprefix("github://")) == repository


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
def test_a_base_that_is_not_the_url_of_a_host_is_rejected(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_GITHUB_URL", url)
    with pytest.raises(HandleError, match="TFIMM_GITHUB_URL is") as caught:
        resolve("github://ada/models")
    assert "s3cret" not in str(caught.value)


def test_the_token_is_sent_to_the_configured_host_and_to_no_other(
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
    assert host.authorizations == [make_authorization("s3cret")] * 2 and "Authorization" not in origin.headers[0]
    assert "s3cret" not in Path(f"{path}.descriptor.txt").read_text() and "signed" not in str(read_origin(path))


def test_another_host_is_requested_without_the_token(
    tmp_path: Path, repo: Repo, host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    monkeypatch.setenv("TFIMM_GITHUB_URL", "https://github.com")
    with pytest.raises(FetchError):  # it does not speak TLS; that it is contacted is enough
        resolve(f"github://{host.name}/ada/models")
    assert host.authorizations == []
    from tfimm_resolver.sources import github

    assert github._make_authorization(Repository.parse(f"{host.name}/ada/models")) == ""
    assert github._make_authorization(Repository.parse("ada/models")) != ""


def test_the_token_takes_precedence_over_netrc(
    repo: Repo, host: GitHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home/.netrc").write_text("machine 127.0.0.1 login ada password other\n")
    host.token = "s3cret"
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    resolve("github://ada/models")
    assert host.authorizations == [make_authorization("s3cret")] * 2


def test_a_mirror_serves_refs_and_zips_and_gets_its_own_credentials_and_not_the_token(
    repo: Repo, host: GitHost, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = tmp_path / "hosts.toml"
    hosts.write_text(f'["{origin.url}"]\ntoken = "mirrors-token"\n')
    hosts.chmod(0o600)
    monkeypatch.setenv("TFIMM_RESOLVER_HOSTS_FILE", str(hosts))
    commit = repo.git("rev-parse", "HEAD")
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    for path in (f"/ada/models{REFS}", f"/ada/models/zipball/{commit}"):
        origin.put(f"/{host.name}{path}", host.answer(path, None)[2])
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", f"file:///nowhere,{origin.url}")
    assert files_in(resolve("github://ada/models")) == HUBCONF
    assert host.requests == [] and len(origin.requests) == 2
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", f"{origin.url}/empty,direct")
    assert (
        files_in(resolve("github://ada/models", refresh=True)) == HUBCONF
        and host.authorizations == [make_authorization("s3cret")] * 2
    )
    assert [headers.get("Authorization") for headers in origin.headers] == ["Bearer mirrors-token"] * 4


def test_where_the_list_of_mirrors_says_off_the_host_gets_no_request(
    repo: Repo, host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", "off")
    with pytest.raises(OfflineError, match="TFIMM_RESOLVER_MIRRORS ends in off"):
        resolve("github://ada/models")
    assert host.requests == []


def test_after_a_rejected_token_the_request_is_repeated_without_it(
    repo: Repo, host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "run0ut")

    def reject_token(path: str) -> tuple[int, dict[str, str], bytes] | None:
        return (401, {}, b"Bad credentials") if host.authorizations[-1] else None

    host.answers["."] = reject_token
    assert files_in(resolve("github://ada/models")) == HUBCONF
    assert host.authorizations == [make_authorization("run0ut"), None] * 2


def test_where_access_is_denied_with_and_without_the_token_both_errors_are_reported(
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
    assert not any("/api/" in path for path in host.requests), "without a token it is hardly ever answered"
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    for ref, full in (("", "refs/heads/trunk"), (":v1", "refs/tags/v1"), (":refs/tags/v1", "refs/tags/v1")):
        path = resolve(f"github://ada/models{ref}")
        assert (read_origin(path)["ref"], read_origin(path)["commit"]) == (full, commit)
    with pytest.raises(UnknownRefError):
        resolve("github://ada/models:v")
    host.answers["/api/"] = lambda _: (200, {}, b"<html>")
    with pytest.raises(NotFoundError, match="info/refs"):
        resolve("github://ada/models:v1-beta")


@pytest.fixture
def _forget_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_hosts, "_known", {})


LOGIN = (200, {"Content-Type": "text/html"}, b"<!doctype html><title>Sign in</title>")


@pytest.mark.usefixtures("_forget_kinds")
@pytest.mark.parametrize(
    "refusal", [(404, {}, b""), (403, {}, b"no"), (406, {}, b"no"), LOGIN], ids=["404", "403", "406", "page"]
)
@pytest.mark.parametrize("kind", ZIPS)
def test_a_host_of_another_kind_is_asked_at_its_own_address_which_is_remembered(
    kind: str, refusal: tuple[int, dict[str, str], bytes], repo: Repo, host: GitHost
) -> None:
    host.kind, host.refusal = kind, refusal
    path = resolve("github://ada/models")
    assert files_in(path) == HUBCONF and read_origin(path)["commit"] == repo.git("rev-parse", "HEAD")
    assert len(host.list_zips()) == [*ZIPS].index(kind) + 1
    host.requests.clear()
    resolve("github://ada/models", refresh=True)
    assert len(host.list_zips()) == 1


@pytest.mark.usefixtures("_forget_kinds")
def test_where_no_address_has_a_zip_the_error_names_each(repo: Repo, host: GitHost, cache_dir: Path) -> None:
    host.answers["zipball|archive|/get/"] = lambda _: (404, {}, b"")
    text = get_refusal("github://ada/models", NotFoundError, cache_dir)
    assert "this was the address of a zip at GitHub" in text
    assert all(f"as from {kind}: " in text for kind in [*ZIPS][1:])


@pytest.mark.usefixtures("_forget_kinds")
@pytest.mark.parametrize("kind", ["GitLab", "Gitea or Forgejo"])
def test_a_zip_of_another_commit_is_rejected_at_once_whatever_the_address(
    kind: str, repo: Repo, host: GitHost, cache_dir: Path
) -> None:
    repo.commit({"hubconf.py": "evil = 1\n"})
    first = repo.git("rev-parse", "HEAD^")
    host.kind = kind
    host.answers["archive"] = lambda path: host.zip("ada/models", first) if re.fullmatch(ZIPS[kind], path) else None
    get_refusal("github://ada/models", IntegrityError, cache_dir)
    assert re.fullmatch(ZIPS[kind], host.list_zips()[-1])


@pytest.mark.usefixtures("_forget_kinds")
def test_the_token_goes_to_every_address_of_the_configured_host(
    repo: Repo, host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.kind = "Gitea or Forgejo"
    host.token = "s3cret"
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    assert files_in(resolve("github://ada/models")) == HUBCONF
    assert set(host.authorizations) == {make_authorization("s3cret")}


@pytest.mark.usefixtures("_forget_kinds")
@pytest.mark.parametrize("is_named", [False, True], ids=["configured", "named"])
def test_a_repository_in_a_group_of_a_group_is_found_with_the_token(
    is_named: bool, host: GitHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.repo("group/sub/models", FILES)
    host.kind, host.token = "GitLab", "s3cret"
    monkeypatch.setenv("GITHUB_TOKEN", "s3cret")
    path = resolve(f"github://{host.name + '/' if is_named else ''}group/sub/models")
    assert files_in(path) == HUBCONF and set(host.authorizations) == {make_authorization("s3cret")}
    assert resolve(f"github://{host.name}/group/sub/models:main") != path


def test_github_itself_has_no_groups() -> None:
    for text in ("a/b/c", "github.com/a/b/c", "git.example/a/../b", "git.example/./a/b", "git.example//a/b"):
        with pytest.raises(HandleError, match="does not name a repository"):
            Repository.parse(text)


def test_importing_the_source_is_light() -> None:
    from tests.fakes.processes import run

    code = "import sys, tfimm_resolver; print('tfimm_resolver.sources.github_refs' in sys.modules, 'base64' in sys.modules)"
    assert run(code).startswith("False")
    assert SCHEMES.count("github") == 1


@pytest.mark.parametrize(
    "text", ["github://ada@host/models", "github://ada/models@", "github://ada/models@a..b", "github://ada/m:a@b@{"]
)
def test_an_at_sign_is_a_colon_only_where_a_ref_follows(text: str, host: GitHost) -> None:
    with pytest.raises(HandleError):
        resolve(text)
    assert host.requests == []


def test_a_ref_that_contains_an_at_sign_is_written_after_a_colon(repo: Repo) -> None:
    repo.git("tag", "release@1")
    repo.push()
    assert resolve("github://ada/models:release@1") == resolve("github://ada/models@release@1")


def test_what_cannot_be_held_is_left_out_of_a_repository(host: GitHost, caplog: pytest.LogCaptureFixture) -> None:
    names = ("docs/What is new?.md", "models/aux.py", "logs/run 10:30.csv", "README.md", "readme.md")
    files = {**FILES, **dict.fromkeys(names, "text")}
    unheld = {"a\\b": "x", "net\u200b.py": "x"}
    links = {
        "LICENSE": "docs/What is new?.md",
        "again": "LICENSE",
        "up": "../x",
        "passwd": "/etc/passwd",
        "d": "docs",
        "l": "no",
    }
    repo = host.repo("ada/odd")
    repo.commit({**files, **unheld}, links=links)
    tree = files_in(resolve("github://ada/odd"))
    assert tree == {**{name: text.encode() for name, text in files.items()}, "LICENSE": b"text", "again": b"text"}
    (record,) = caplog.records
    assert record.getMessage().startswith("github://ada/odd: left out 6 members: ")
