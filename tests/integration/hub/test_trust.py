"""Tests of trust: which code runs, when the user is asked, and what is recorded."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.fakes.cli import run_cli
from tests.fakes.git_host import GitHost, Repo
from tests.fakes.processes import read_terminal, run, start
from tfimm_resolver import hub, resolve
from tfimm_resolver.errors import CacheError, FetchError, HandleError, UntrustedError

HUBCONF = "def one():\n    return 'ran'\n"
LOAD = """
    from tfimm_resolver import hub
    try:
        print(hub.load("ada/models", "one", trust_repo={}))
    except Exception as error:
        print(type(error).__name__, error)
"""


@pytest.fixture
def repo(host: GitHost) -> Repo:
    """A repository that is not trusted yet."""
    return host.repo("ada/models", {"hubconf.py": HUBCONF})


def run_on_terminal(answer: str, trust_repo: object = "check") -> str:
    """Load the repository on a terminal and type the answer; return what the terminal shows."""
    controller, terminal = pty.openpty()
    code = textwrap.dedent(LOAD).format(repr(trust_repo))
    job = subprocess.Popen([sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    os.write(controller, answer.encode())
    seen = read_terminal(controller)
    assert job.wait(60) == 0
    return " ".join(seen.split())


def read_list(hub_dir: Path) -> list[str]:
    """Return the lines of the list of trusted repositories."""
    path = hub_dir / "trusted_list"
    return path.read_text().splitlines() if path.exists() else []


def test_without_a_terminal_an_error_names_the_remedy_and_nothing_is_fetched(repo: Repo, host: GitHost, hub_dir: Path) -> None:
    with start(LOAD.format("'check'"), stdin=subprocess.DEVNULL) as job:  # type: ignore[arg-type]
        out, err = job.communicate(timeout=60)
    assert out.startswith("UntrustedError Untrusted repository.") and "Traceback" not in err
    assert "trust_repo=True" in out and repo.git("rev-parse", "HEAD") in out
    assert f"{host.url}/ada/models/tree/" in out and f"{host.name}/ada/models" in out
    assert host.list_zips() == [] and not hub_dir.exists()


@pytest.mark.parametrize("call", [lambda: hub.list("ada/models"), lambda: hub.help("ada/models", "one")])
def test_listing_and_explaining_run_code_too_and_need_trust(call, repo: Repo, host: GitHost) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PermissionError, match=r"^Untrusted repository\."):
        call()
    assert host.list_zips() == []


@pytest.mark.parametrize("answer", ["y\n", "YES\n"])
def test_a_person_is_shown_repository_commit_and_url_and_may_say_yes(
    answer: str, repo: Repo, host: GitHost, hub_dir: Path
) -> None:
    seen = run_on_terminal(answer)
    commit = repo.git("rev-parse", "HEAD")
    assert "does not belong to the list of trusted repositories" in seen and seen.endswith("ran")
    assert f"repository {host.name}/ada/models" in seen and f"commit {commit}" in seen
    assert f"{host.url}/ada/models/tree/{commit}" in seen
    assert read_list(hub_dir) == [f"{host.name}/ada/models"]
    assert hub.load("ada/models", "one") == "ran", "the user is asked once"


@pytest.mark.parametrize("answer", ["n\n", "\n", "no\n", "\x04", "yess\n"])
def test_any_other_answer_is_a_no(answer: str, repo: Repo, host: GitHost, hub_dir: Path) -> None:
    seen = run_on_terminal(answer)
    assert "UntrustedError Untrusted repository." in seen and ("Unrecognized response 'yess'" in seen) == ("yess" in answer)
    assert host.list_zips() == [] and not hub_dir.exists()


def test_false_asks_even_of_a_trusted_repository_and_true_never(repo: Repo, hub_dir: Path) -> None:
    assert hub.load("ada/models", "one", trust_repo=True) == "ran"
    assert "Do you trust this repository" in run_on_terminal("n\n", False) and len(read_list(hub_dir)) == 1
    assert "ran" in run_on_terminal("y\n", False) and len(read_list(hub_dir)) == 1
    assert "Do you trust" not in run_on_terminal("", True)


def test_trust_is_written_down_only_after_success(repo: Repo, host: GitHost, hub_dir: Path) -> None:
    host.repo("ada/good", {"hubconf.py": HUBCONF})
    hub.load("ada/good", "one", trust_repo=True)
    host.answers["zipball"] = lambda _: (200, {}, b"rubbish")
    with pytest.raises(FetchError):
        hub.load("ada/models", "one", trust_repo=True)
    with pytest.raises(FetchError):
        hub.load("ada/models:gone", "one", trust_repo=True)
    assert read_list(hub_dir) == [f"{host.name}/ada/good"]


def test_an_existing_directory_is_not_trusted(repo: Repo, host: GitHost, hub_dir: Path) -> None:
    hub.load("ada/models", "one", trust_repo=True)
    (hub_dir / "trusted_list").unlink()
    with pytest.raises(UntrustedError) as caught:
        hub.load("ada/models", "one")
    assert repo.git("rev-parse", "HEAD") in str(caught.value), "the cached commit is shown"
    resolve("github://ada/models")
    with pytest.raises(UntrustedError):
        hub.load("ada/models", "one")


@pytest.mark.parametrize(
    "line", ["ada_models", "ada/models", "github.com/ada/models", "{host}/Ada/models", "{host}/ada/models2", ""]
)
def test_trust_is_of_one_host_owner_and_repository_exactly(line: str, repo: Repo, host: GitHost, hub_dir: Path) -> None:
    hub_dir.mkdir()
    (hub_dir / "trusted_list").write_text(line.format(host=host.name) + "\n")
    (hub_dir / "ada_models_main").mkdir()  # torch.hub would trust it
    with pytest.raises(UntrustedError):
        hub.load("ada/models", "one")
    (hub_dir / "trusted_list").write_text(f"  {host.name}/ada/models  ")
    assert hub.load("ada/models:main", "one") == "ran", "trust covers every ref"


def test_no_owner_is_trusted_by_default(host: GitHost) -> None:
    for owner in ("tensorflow", "google", "pytorch", "martinsbruveris"):
        host.repo(f"{owner}/models", {"hubconf.py": HUBCONF})
        with pytest.raises(UntrustedError):
            hub.load(f"{owner}/models", "one")


def test_a_list_that_others_may_write_is_ignored(
    repo: Repo, host: GitHost, hub_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.load("ada/models", "one", trust_repo=True)
    path = hub_dir / "trusted_list"
    assert path.stat().st_mode & 0o022 == 0
    path.chmod(0o666)
    with pytest.raises(UntrustedError):
        hub.load("ada/models", "one")
    assert "another user can write to it: the list is ignored" in caplog.text


def test_no_code_is_run_from_a_directory_where_anybody_may_write(repo: Repo, host: GitHost, hub_dir: Path) -> None:
    assert hub.list("ada/models", trust_repo=True)
    hub_dir.chmod(0o777)
    with pytest.raises(CacheError, match="may be another user's"):
        hub.load("ada/models", "one", trust_repo=True)
    hub_dir.chmod(0o775)
    assert hub.list("ada/models", trust_repo=True)


def test_a_list_without_a_line_end_keeps_its_last_line(repo: Repo, host: GitHost, hub_dir: Path) -> None:
    hub_dir.mkdir()
    (hub_dir / "trusted_list").write_text("github.com/a/b")
    hub.load("ada/models", "one", trust_repo=True)
    assert read_list(hub_dir) == ["github.com/a/b", f"{host.name}/ada/models"]


def test_the_commit_that_was_shown_runs_also_if_the_branch_moves_while_the_user_reads(repo: Repo, hub_dir: Path) -> None:
    first = repo.git("rev-parse", "HEAD")
    controller, terminal = pty.openpty()
    code = textwrap.dedent(LOAD).format("False")
    with subprocess.Popen([sys.executable, "-c", code], stdin=terminal, stdout=terminal, stderr=terminal):
        os.close(terminal)
        seen = b""
        while b"(y/N)?" not in seen:
            seen += os.read(controller, 1 << 16)
        repo.commit({"hubconf.py": HUBCONF.replace("ran", "moved")})
        assert run("from tfimm_resolver import hub; print(hub.load('ada/models', 'one', trust_repo=True))") == "moved"
        os.write(controller, b"y\n")
        seen += read_terminal(controller).encode()
    assert first in seen.decode() and seen.decode().split()[-1] == "ran"


@pytest.mark.parametrize("kind", ["commit", "short commit", "pull request"])
def test_what_is_not_a_tip_is_confirmed_each_time_though_the_repository_is_trusted(
    kind: str, repo: Repo, hub_dir: Path
) -> None:
    hub.load("ada/models", "one", trust_repo=True)
    repo.git("checkout", "-q", "-b", "fork")
    commit = repo.commit({"hubconf.py": HUBCONF.replace("ran", "of a fork")}, push=False)
    repo.git("push", "-q", "origin", "HEAD:refs/pull/1/head")
    ref = {"commit": commit, "short commit": commit[:9], "pull request": "refs/pull/1/head"}[kind]
    for _ in range(2):
        with pytest.raises(UntrustedError, match=f"{commit} is not a tip of") as caught:
            hub.load(f"ada/models:{ref}", "one", skip_validation=True)
        assert "not at the tip of a branch or tag" in caught.value.fix and commit in caught.value.fix
    assert hub.load(f"ada/models:{ref}", "one", skip_validation=True, trust_repo=True) == "of a fork"
    for skip_validation in (True, False):
        with pytest.raises(UntrustedError, match="is not a tip of"):
            hub.load(f"ada/models:{ref}", "one", skip_validation=skip_validation)
    assert len(read_list(hub_dir)) == 1


def test_a_confirmed_commit_that_is_not_a_tip_does_not_make_the_repository_trusted(repo: Repo, hub_dir: Path) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.commit({"hubconf.py": HUBCONF.replace("ran", "later")})
    assert hub.load(f"ada/models:{first}", "one", skip_validation=True, trust_repo=True) == "ran"
    assert read_list(hub_dir) == []
    with pytest.raises(UntrustedError, match="is not in"):
        hub.load("ada/models", "one")


def test_without_validation_the_tip_of_a_trusted_repository_needs_no_confirmation(repo: Repo) -> None:
    hub.load("ada/models", "one", trust_repo=True)
    for ref in (repo.git("rev-parse", "HEAD"), "main"):
        assert hub.load(f"ada/models:{ref}", "one", skip_validation=True) == "ran"


def test_trust_is_listed_and_revoked_and_then_asked_for_again(repo: Repo, host: GitHost, hub_dir: Path) -> None:
    assert hub.list_trusted() == []
    assert hub.load("ada/models", "one", trust_repo=True) == "ran"
    path = hub_dir / "trusted_list"
    path.write_text(path.read_text() + "ada_other_main")  # as torch.hub writes, and without an end of line
    name = f"{host.name}/ada/models"
    assert hub.list_trusted() == sorted(["ada_other_main", name])
    assert hub.revoke_trust("ada/models", dry_run=True) == [name] and name in hub.list_trusted()
    assert hub.revoke_trust(["ada/models", name]) == [name]
    assert read_list(hub_dir) == ["ada_other_main"] and path.stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in hub_dir.iterdir() if path.name.startswith("trusted")) == ["trusted_list"]
    with pytest.raises(UntrustedError):
        hub.load("ada/models", "one")
    assert hub.revoke_trust("ada_other_main") == ["ada_other_main"] and hub.list_trusted() == []


def test_trust_that_was_not_given_cannot_be_revoked(repo: Repo, hub_dir: Path) -> None:
    hub.load("ada/models", "one", trust_repo=True)
    before = read_list(hub_dir)
    for names in (["ada/models", "ada/other"], ["no repository"], [""], "ada"):
        with pytest.raises(HandleError, match="is not in the list of trusted repositories"):
            hub.revoke_trust(names)
    with pytest.raises(HandleError):
        hub.revoke_trust([5])  # type: ignore[list-item]
    assert read_list(hub_dir) == before != []


def test_a_list_that_others_can_write_is_not_rewritten(repo: Repo, hub_dir: Path) -> None:
    hub.load("ada/models", "one", trust_repo=True)
    path = hub_dir / "trusted_list"
    path.chmod(0o666)
    assert hub.list_trusted() == []
    with pytest.raises(HandleError):
        hub.revoke_trust("ada/models")
    assert path.stat().st_mode & 0o777 == 0o666 and read_list(hub_dir) != []


def test_the_commands_about_trust(repo: Repo, host: GitHost, hub_dir: Path) -> None:
    name = f"{host.name}/ada/models"
    assert run_cli("hub", "trust", "list")[:2] == (0, "")
    hub.load("ada/models", "one", trust_repo=True)
    assert run_cli("hub", "trust", "list")[1] == f"{name}\n"
    for options, verb in ((["--dry-run"], "Would revoke"), ([], "Revoked")):
        code, out, err = run_cli("hub", "trust", "revoke", "ada/models", *options)
        assert (code, out) == (0, f"{name}\n") and err == f"{verb} the trust in 1 repository.\n"
    assert run_cli("hub", "trust", "revoke", "ada/models")[0] == 2
    for arguments in ([], ["--all", "ada/models"]):
        assert run_cli("hub", "trust", "revoke", *arguments)[0] == 2
    assert run_cli("hub", "trust", "revoke", "--all", "-q") == (0, "", "")
