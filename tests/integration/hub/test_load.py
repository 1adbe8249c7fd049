"""Tests of ``list``, ``help`` and ``load``: what is downloaded, which code runs, and which files remain."""

from __future__ import annotations

import inspect
import io
import json
import logging
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import pytest

import tfimm_resolver
from tests.fakes.archives import files_in
from tests.fakes.git_host import GitHost, Repo
from tests.fakes.origin import Origin
from tests.fakes.processes import start, wait_until, wait_until_asleep
from tfimm_resolver import hub
from tfimm_resolver.errors import (
    ArchiveError,
    CacheError,
    EntryPointError,
    FetchError,
    HandleError,
    IntegrityError,
    MissingDependencyError,
    NotFoundError,
    OfflineError,
    UnknownRefError,
    UntrustedError,
)

HUBCONF = '''
dependencies = ["json"]
from json import loads
_secret = print
number = 3

def one(x=1, *, y=2):
    """One model.
    x: a number."""
    return {"x": x, "y": y}

class Two:
    def __init__(self, x=1):
        self.x = x
'''


@pytest.fixture
def repo(host: GitHost) -> Repo:
    """A repository whose default branch is called trunk."""
    return host.repo("ada/models", {"hubconf.py": HUBCONF}, branch="trunk")


def get_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the logged warnings."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_functions_have_torch_hubs_signatures() -> None:
    trust = "trust_repo: 'bool | str' = 'check'"
    expected = {
        "list": "github, force_reload=False, skip_validation=False, trust_repo='check', verbose=True",
        "help": "github, model, force_reload=False, skip_validation=False, trust_repo='check'",
        "load": "repo_or_dir, model, *args, source='github', trust_repo='check', force_reload=False, verbose=True, "
        "skip_validation=False, **kwargs",
        "download_url_to_file": "url, dst, hash_prefix=None, progress=True",
        "load_state_dict_from_url": "url, model_dir=None, map_location=None, progress=True, check_hash=False, "
        "file_name=None, weights_only=False",
        "get_dir": "",
        "set_dir": "d",
    }
    for name, text in expected.items():
        signature = inspect.signature(getattr(hub, name))
        plain = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
        assert str(inspect.Signature(plain)) == f"({text})", name
    assert trust in str(inspect.signature(hub.load)) and tfimm_resolver.hub is hub
    assert hub.__all__ == sorted([*expected, "load_saved_model_from_url", "list_trusted", "revoke_trust"])


def test_lists_explains_and_loads_by_one_download(repo: Repo, host: GitHost, hub_dir: Path) -> None:
    assert hub.list("ada/models", trust_repo=True) == ["Two", "loads", "one"]  # as in torch.hub, imported functions, too
    assert (
        inspect.cleandoc(hub.help("ada/models", "one") or "") == "One model.\nx: a number."
    )  # Python 3.13 strips the indentation
    assert hub.help("ada/models", "loads") and hub.help("ada/models", "Two") is None
    assert hub.load("ada/models", "one", 5, y=6) == {"x": 5, "y": 6}
    assert hub.load("ada/models:trunk", "Two", x=7).x == 7
    assert len(host.requests) == 2 and len(host.list_zips()) == 1
    names = sorted(os.listdir(hub_dir))
    assert [name.partition("-")[0] for name in names] == ["ada_models", "ada_models_trunk", "ada_models_trunk", "trusted_list"]


def test_all_says_what_is_listed(host: GitHost) -> None:
    host.repo("ada/models", {"hubconf.py": f"__all__ = ['one', '_secret', 'number', 'gone']\n{HUBCONF}"})
    assert hub.list("ada/models", trust_repo=True) == ["one", "_secret"]
    assert hub.load("ada/models", "Two").x == 1, "an unlisted entry point can be loaded, as in torch.hub"


def test_the_record_says_which_commit_of_which_repository_it_is(repo: Repo, host: GitHost, hub_dir: Path) -> None:
    hub.list("ada/models", trust_repo=True)
    (text,) = (path.read_text() for path in hub_dir.glob("*.descriptor.txt"))
    facts = json.loads(text.partition("\n\n")[2])
    assert facts["handle"] == f"github://{host.name}/ada/models:trunk"
    assert (facts["origin"]["ref"], facts["origin"]["commit"]) == ("refs/heads/trunk", repo.git("rev-parse", "HEAD"))


def test_a_cached_branch_is_not_asked_for_again_until_that_is_wanted(repo: Repo, host: GitHost) -> None:
    hub.list("ada/models:trunk", trust_repo=True)
    repo.commit({"hubconf.py": "def new(): pass\n"})
    assert "one" in hub.list("ada/models:trunk") and len(host.requests) == 2
    assert hub.list("ada/models:trunk", force_reload=True) == ["new"] == hub.list("ada/models:trunk")
    assert len(host.list_zips()) == 2


def test_the_old_copy_survives_a_reload_that_fails(repo: Repo, host: GitHost) -> None:
    hub.list("ada/models", trust_repo=True)
    repo.commit({"hubconf.py": "def new(): pass\n"})
    host.answers["zipball"] = lambda _: (500, {}, b"")
    with pytest.raises(FetchError, match="the cached copy is unchanged"):
        hub.list("ada/models", force_reload=True)
    assert "one" in hub.list("ada/models")
    host.stop()
    with pytest.raises(OfflineError, match="the cached copy is unchanged"):
        hub.list("ada/models", force_reload=True)
    assert "one" in hub.list("ada/models")


def test_a_remembered_default_branch_costs_no_request_and_needs_no_network(
    repo: Repo, host: GitHost, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.list("ada/models", trust_repo=True)
    host.stop()
    assert "one" in hub.list("ada/models") and not get_warnings(caplog)
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert hub.load("ada/models", "one")["x"] == 1
    (message,) = get_warnings(caplog)
    assert f"{host.name}/ada/models: offline, so trunk (commit " in message


def age_note(hub_dir: Path) -> None:
    """Make the note of the default branch a day old."""
    (note,) = hub_dir.glob("*.default.json")
    note.write_text(json.dumps({**json.loads(note.read_text()), "asked_s": time.time() - 90_000}))


def test_after_a_day_the_default_branch_is_asked_for_again(repo: Repo, host: GitHost, hub_dir: Path) -> None:
    hub.list("ada/models", trust_repo=True)
    repo.commit({"hubconf.py": "def new(): pass\n"})
    age_note(hub_dir)
    assert "one" in hub.list("ada/models") and len(host.requests) == 3, "the cached copy of the same branch is used"
    assert "one" in hub.list("ada/models") and len(host.requests) == 3
    repo.git("push", "-q", "origin", "HEAD:refs/heads/main")
    repo.git("--git-dir", str(repo.bare), "symbolic-ref", "HEAD", "refs/heads/main")
    age_note(hub_dir)
    assert hub.list("ada/models") == ["new"]


def test_on_a_network_failure_the_remembered_branch_serves_with_a_warning(
    repo: Repo, host: GitHost, hub_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hub.list("ada/models", trust_repo=True)
    age_note(hub_dir)
    host.stop()
    assert "one" in hub.list("ada/models")
    (message,) = get_warnings(caplog)
    assert "cannot be reached" in message and "trunk (commit " in message and "the last known default branch" in message
    assert "one" in hub.list("ada/models") and len(get_warnings(caplog)) == 1, "the warning is logged once a day"


HUGE = json.dumps({"ref": "refs/heads/x", "asked_s": 10**400})  # too large for a float


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"ref": "refs/heads/x"}', '{"ref": "x", "asked_s": "?"}', "\x00", "[" * 100_000, HUGE]
)
def test_a_note_that_says_nothing_is_no_obstacle(text: str, repo: Repo, host: GitHost, hub_dir: Path) -> None:
    hub.list("ada/models", trust_repo=True)
    (note,) = hub_dir.glob("*.default.json")
    note.write_text(text)
    assert "one" in hub.list("ada/models") and len(host.requests) == 3 and len(host.list_zips()) == 1


def test_offline_an_error_says_what_is_missing_or_damaged(repo: Repo, hub_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"cannot be downloaded to .*hub/: TFIMM_RESOLVER_OFFLINE is set") as caught:
        hub.list("ada/models:trunk", trust_repo=True)
    assert 'source="local"' in caught.value.fix and not hub_dir.exists()
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    hub.list("ada/models:trunk", trust_repo=True)
    (hubconf,) = hub_dir.glob("*/hubconf.py")
    hubconf.unlink()
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    with pytest.raises(OfflineError, match=r"the cached copy is damaged \(hubconf\.py is missing\) and"):
        hub.list("ada/models:trunk")
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    assert "one" in hub.list("ada/models:trunk") and hubconf.exists()


MIXED_UP = ("o/r:dev/x", "o/r:dev_x", "o/r:dev.x", "o/r:dev-x", "o/r_dev:x", "o_r/dev:x", "O/r:dev-x")


def test_refs_that_torch_hub_mixes_up_have_a_directory_each(host: GitHost, hub_dir: Path) -> None:
    repos = {name: host.repo(name) for name in sorted({text.partition(":")[0] for text in MIXED_UP})}
    for text in MIXED_UP:
        name, _, branch = text.partition(":")
        repos[name].commit({"hubconf.py": f"def who(): return {text!r}\n"}, push=False)
        repos[name].git("push", "-q", "--force", "origin", f"HEAD:refs/heads/{branch}")
    assert [hub.load(text, "who", trust_repo=True) for text in MIXED_UP] == [*MIXED_UP]
    assert [hub.load(text, "who") for text in MIXED_UP] == [*MIXED_UP]
    assert len(list(hub_dir.glob("*/hubconf.py"))) == len(MIXED_UP)


def test_directories_are_readable_and_no_two_repositories_can_share_one() -> None:
    from tfimm_resolver.cache.hub_stores import _make_repository_name as name

    assert name("github://github.com/ada/models:main") == "ada_models_main"
    others = ("v1.0", "dev/x", "dev_x", "Main", "main-0123456789ab", "x" * 200, "main")
    made = [name(f"github://{host}/ada/models:{ref}") for host in ("github.com", "h.org", "h.org/b") for ref in others]
    made += [name(f"github://github.com/{other}:main") for other in ("ada_x/models", "ada/x_models", "Ada/models")]
    assert len({text.casefold() for text in made}) == len(made) and not any("." in text or len(text) > 200 for text in made)
    hashed = name("github://github.com/ada_x/models:main")
    assert name(f"github://github.com/ada-x/models:{hashed.rpartition('_')[2]}") != hashed, "a branch may have that name"
    assert made[0].startswith("ada_models_v1-0-") and made[1].startswith("ada_models_dev-x-")


def test_another_repository_in_ones_directory_is_not_run(repo: Repo, host: GitHost, hub_dir: Path) -> None:
    hub.list("ada/models:trunk", trust_repo=True)
    (record,) = hub_dir.glob("*.descriptor.txt")
    record.write_text(record.read_text().replace("ada/models", "eve/models"))
    with pytest.raises(CacheError, match=r"holds github://.*/eve/models:trunk, not"):
        hub.list("ada/models:trunk")


def test_a_repository_without_hubconf_is_told_and_leaves_nothing(host: GitHost, hub_dir: Path) -> None:
    host.repo("ada/plain", {"README": "hello"})
    with pytest.raises(NotFoundError, match=r"has no hubconf\.py at commit [0-9a-f]{40}"):
        hub.load("ada/plain", "one", trust_repo=True)
    assert not hub_dir.exists() or os.listdir(hub_dir) == []


@pytest.mark.parametrize(
    "text", ["__all__ = 5\ndef one(): pass", "def __getattr__(name): raise ValueError(name)", "def __dir__(): raise KeyError"]
)
def test_what_goes_wrong_in_a_hubconf_when_it_is_looked_at_is_told(text: str, host: GitHost) -> None:
    host.repo("ada/odd", {"hubconf.py": text})
    with pytest.raises(EntryPointError) as caught:
        hub.list("ada/odd", trust_repo=True)
    assert caught.value.__cause__ is not None


def test_dependencies_that_are_no_list_are_none(host: GitHost) -> None:
    host.repo("ada/odd", {"hubconf.py": "dependencies = 'numpy'\ndef one(): return 1"})
    assert hub.load("ada/odd", "one", trust_repo=True) == 1


@pytest.mark.parametrize("body", [b"PK\x03\x04 rubbish", b"", b"<html>Log in"])
def test_a_bad_zip_leaves_nothing_and_the_next_call_succeeds(body: bytes, repo: Repo, host: GitHost, hub_dir: Path) -> None:
    host.answers["zipball"] = lambda _: (200, {}, body)
    with pytest.raises(ArchiveError):
        hub.list("ada/models", trust_repo=True)
    assert os.listdir(hub_dir) == []
    host.answers.clear()
    assert "one" in hub.list("ada/models", trust_repo=True)


def test_weights_may_lie_in_the_repository(host: GitHost) -> None:
    text = (
        "from pathlib import Path\ndef one():\n    return Path(__file__).with_name('weights').joinpath('w.txt').read_text()\n"
    )
    host.repo("ada/models", {"hubconf.py": text, "weights/w.txt": "1 2 3"})
    assert hub.load("ada/models", "one", trust_repo=True) == "1 2 3"


def test_what_is_no_tip_is_refused_before_any_question_unless_validation_is_skipped(
    repo: Repo, host: GitHost, hub_dir: Path
) -> None:
    first = repo.git("rev-parse", "HEAD")
    repo.commit({"hubconf.py": "def new(): pass\n"})
    with pytest.raises(UnknownRefError, match="If it's a commit from a forked repo"):
        hub.list(f"ada/models:{first}")
    assert not hub_dir.exists()
    assert "one" in hub.list(f"ada/models:{first}", skip_validation=True, trust_repo=True)
    assert "one" in hub.list(f"ada/models:{first[:9]}", skip_validation=True, trust_repo=True)
    with pytest.raises(UntrustedError, match=f"{first} is not a tip of"):
        hub.list(f"ada/models:{first}")  # it is cached, and still has to be confirmed
    count = len(host.requests)
    assert "one" in hub.list(f"ada/models:{first}", trust_repo=True) and len(host.requests) == count
    host.answers["zipball"] = lambda _: host.zip("ada/models", "trunk")
    with pytest.raises(IntegrityError, match="arrived as another commit"):
        hub.list(f"ada/models:{'0' * 40}", skip_validation=True, trust_repo=True)


def test_a_missing_entry_point_is_told_in_torch_hubs_words(repo: Repo) -> None:
    for call in (hub.help, hub.load):
        with pytest.raises(RuntimeError, match=r"^Cannot find callable three in hubconf") as caught:
            call("ada/models", "three", trust_repo=True)
        assert type(caught.value) is EntryPointError and caught.value.fix == "Its entry points are: Two, loads, one."
        with pytest.raises(EntryPointError, match="Cannot find callable number"):
            call("ada/models", "number")
        with pytest.raises(HandleError, match="Invalid input: model should be a string of function name"):
            call("ada/models", 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "stated", ["dependencies = ['json', 'no_such_a', 'no.such_b']", "dependencies: list = ('no_such_a', 'no.such_b', 3)"]
)
def test_missing_dependencies_are_told_before_any_code_runs(stated: str, host: GitHost, tmp_path: Path) -> None:
    host.repo("ada/models", {"hubconf.py": f"import no_such_a\nopen({str(tmp_path / 'ran')!r}, 'w')\n{stated}\n"})
    for call in (lambda: hub.list("ada/models"), lambda: hub.help("ada/models", "x"), lambda: hub.load("ada/models", "x")):
        with pytest.raises(RuntimeError, match=r"^Missing dependencies: no_such_a, no\.such_b\n") as caught:
            hub.list("ada/models", trust_repo=True)
        with pytest.raises(MissingDependencyError):
            call()
    assert caught.value.exit_code == 5 and not (tmp_path / "ran").exists()  # type: ignore[attr-defined]


def test_dependencies_that_are_computed_are_looked_at_when_they_have_been(host: GitHost) -> None:
    host.repo("ada/models", {"hubconf.py": "dependencies = ['no_such_' + letter for letter in 'ab']\ndef one(): pass\n"})
    with pytest.raises(MissingDependencyError, match="Missing dependencies: no_such_a, no_such_b"):
        hub.list("ada/models", trust_repo=True)


def test_a_dependency_may_be_the_repositorys_own(host: GitHost) -> None:
    host.repo("ada/models", {"hubconf.py": "dependencies = ['nets']\ndef one(): pass\n", "nets/__init__.py": ""})
    assert hub.list("ada/models", trust_repo=True) == ["one"]


def test_an_entry_point_that_raises_is_told_and_its_traceback_kept(host: GitHost, hub_dir: Path) -> None:
    text = "def inner():\n    return 1 / 0\ndef one():\n    return inner()\n"
    host.repo("ada/models", {"hubconf.py": text})
    with pytest.raises(
        RuntimeError, match=r"the entry point one of .*hubconf\.py failed: ZeroDivisionError: division"
    ) as caught:
        hub.load("ada/models", "one", trust_repo=True)
    cause = caught.value.__cause__
    assert type(caught.value) is EntryPointError and isinstance(cause, ZeroDivisionError)
    frames = [(Path(frame.filename).name, frame.name, frame.lineno) for frame in traceback.extract_tb(cause.__traceback__)]
    assert frames[-2:] == [("hubconf.py", "one", 4), ("hubconf.py", "inner", 2)]
    with pytest.raises(EntryPointError, match=r"failed: TypeError: one\(\) takes 0 positional arguments"):
        hub.load("ada/models", "one", 1)


def test_errors_of_this_package_come_out_of_an_entry_point_as_they_are(host: GitHost) -> None:
    text = "def one():\n    import tfimm_resolver\n    return tfimm_resolver.resolve('no_such_model')\n"
    host.repo("ada/models", {"hubconf.py": text})
    with pytest.raises(HandleError, match="no model named"):
        hub.load("ada/models", "one", trust_repo=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def one(:\n", r"hubconf\.py cannot be read: .*line 1"),
        ("import no_such_module\n", r"hubconf\.py cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\nraise KeyError('why')\n", r"hubconf\.py cannot be imported: KeyError: 'why'"),
        ("\0", r"hubconf\.py cannot be read"),
    ],
)
def test_a_hubconf_that_cannot_be_imported_is_told(text: str, message: str, host: GitHost) -> None:
    host.repo("ada/models", {"hubconf.py": text})
    before = {*sys.modules}
    for _ in range(2):
        with pytest.raises(EntryPointError, match=message):
            hub.list("ada/models", trust_repo=True)
    assert not [name for name in {*sys.modules} - before if name.endswith(".hubconf")]


def test_a_local_directory_is_loaded_without_a_question(
    tmp_path: Path, hub_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/hubconf.py").write_text(HUBCONF)
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "mine", "mine", "./mine/"):
        assert hub.load(folder, "one", source="LOCAL")["x"] == 1
    with pytest.raises(FileNotFoundError, match=r"hubconf\.py not found in") as caught:
        hub.load(tmp_path, "one", source="local")
    assert type(caught.value) is NotFoundError and not hub_dir.exists()
    (tmp_path / "mine/hubconf.py").write_text("def one():\n    return 'another'\n")
    assert hub.load("mine", "one", source="local") == "another"


def test_what_is_no_source_or_no_repository_is_told_before_anything_is_done(repo: Repo, host: GitHost) -> None:
    with pytest.raises(ValueError, match=r'^Unknown source: "gitlab"\. Allowed values: "github" \| "local"\.$'):
        hub.load("ada/models", "one", source="gitlab")
    with pytest.raises(HandleError, match="does not name a repository"):
        hub.load("https://github.com/ada/models", "one")
    with pytest.raises(HandleError, match='source="local"'):
        hub.load(Path("ada/models"), "one")
    for choice in (None, "yes", 1.5, []):
        with pytest.raises(HandleError, match="trust_repo is"):
            hub.load("ada/models", "one", trust_repo=choice)  # type: ignore[arg-type]
    assert host.requests == []


def test_the_directory_is_chosen_by_set_dir_then_the_variable_then_tfimms(
    tmp_path: Path, hub_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert hub.get_dir() == str(hub_dir)
    hub.set_dir(tmp_path / "chosen")
    assert hub.get_dir() == f"{tmp_path}/chosen"
    hub.set_dir(None)
    monkeypatch.setenv("TFIMM_HUB_DIR", "~/hub")
    assert hub.get_dir() == f"{tmp_path}/home/hub"
    monkeypatch.setenv("TFIMM_HUB_DIR", "")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "tfimm"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert hub.get_dir() == f"{tmp_path}/tfimm/.hub"
    with tfimm_resolver.using(dir=tmp_path / "while"):
        assert hub.get_dir() == f"{tmp_path}/while/.hub"
    assert not any((tmp_path / name).exists() for name in ("chosen", "tfimm", "hub", "while"))


def test_code_is_not_run_from_a_bucket(repo: Repo) -> None:
    hub.set_dir("gs://bucket/hub")
    with pytest.raises(CacheError, match="cannot run code from a bucket: gs://bucket/hub"):
        hub.load("ada/models", "one", trust_repo=True)


LOADER = """
    import sys, time
    from tfimm_resolver import hub
    sys.stdin.readline()
    print(hub.load("ada/models", "one", trust_repo=True, force_reload=len(sys.argv) > 1))
"""


@pytest.mark.parametrize("arguments", [(), ("force",)])
def test_eight_processes_at_once_make_one_download(
    arguments: tuple[str, ...], repo: Repo, host: GitHost, hub_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "100")  # the response waits for all processes
    if arguments:
        hub.list("ada/models", trust_repo=True)
        repo.commit({"hubconf.py": "def one():\n    return 'fresh'\n"})
    zips, requested = len(host.list_zips()), len(host.requests)

    jobs = [start(LOADER, *arguments, stdin=subprocess.PIPE) for _ in range(8)]

    def hold(_: str) -> None:
        """Send no response until all processes have asked for the commit, and wait for the one that downloads it."""
        wait_until(lambda: sum("info/refs" in path for path in host.requests[requested:]) >= 8)
        wait_until_asleep(*jobs)

    host.answers["zipball"] = hold
    for job in jobs:
        assert job.stdin is not None
        job.stdin.write("\n")
        job.stdin.flush()
    message = [job.communicate(timeout=120) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 8, message
    assert {out.strip() for out, _ in message} == {"fresh" if arguments else "{'x': 1, 'y': 2}"}
    assert len(host.list_zips()) - zips == 1
    assert (hub_dir / "trusted_list").read_text() == f"{host.name}/ada/models\n"
    assert not list(hub_dir.glob("*.lock")) and not list(hub_dir.glob("*.tmp"))


def test_bytecode_is_not_written_beside_what_was_published(repo: Repo, hub_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    repo.commit({"nets/__init__.py": "", "hubconf.py": f"import nets\n{HUBCONF}"})
    hub.list("ada/models", trust_repo=True)
    (tree,) = (path.parent for path in hub_dir.glob("*/hubconf.py"))
    assert sorted(files_in(tree)) == ["hubconf.py", "nets/__init__.py"]


def test_reading_from_a_directory_that_cannot_be_written_works(
    repo: Repo, hub_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub.list("ada/models", trust_repo=True)
    (hub_dir / "trusted_list").unlink()

    def raise_permission_error(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tfimm_resolver.hub.trust.locks.acquire", raise_permission_error)
    assert "one" in hub.list("ada/models", trust_repo=True)
    assert "you will be asked again" in get_warnings(caplog)[-1]
    with pytest.raises(UntrustedError):
        hub.list("ada/models")


def test_force_reload_downloads_files_of_the_entry_point_again(host: GitHost, origin: Origin, tmp_path: Path) -> None:
    def make_weights(value: int) -> bytes:
        out = io.BytesIO()
        np.savez(out, w=np.array([value]))
        return out.getvalue()

    url = origin.put("/w.npz", make_weights(1))
    text = f"""
def one():
    from tfimm_resolver.hub import load_state_dict_from_url as load
    return [int(load({url!r}, progress=False)["w"][0]) for _ in range(3)]
"""
    host.repo("ada/models", {"hubconf.py": text})
    assert hub.load("ada/models", "one", trust_repo=True) == [1, 1, 1]
    origin.put("/w.npz", make_weights(2))
    assert hub.load("ada/models", "one") == [1, 1, 1] and len(origin.requests) == 1
    assert hub.load("ada/models", "one", force_reload=True) == [2, 2, 2] and len(origin.requests) == 2
    origin.put("/w.npz", b"", status=404)
    with pytest.raises(NotFoundError, match="the cached copy is unchanged"):
        hub.load("ada/models", "one", force_reload=True)
    assert hub.load("ada/models", "one") == [2, 2, 2]
