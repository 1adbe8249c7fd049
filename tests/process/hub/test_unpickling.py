"""Tests of ``hub.unpickling``: objects of a repository's classes in processes that have not loaded the repository."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.git_host import GitHost, Repo
from tests.fakes.processes import run

FILES = {
    "hubconf.py": "import os, sys\nsys.path.append(os.path.join(os.path.dirname(__file__), 'src'))\n"
    "from ops.prep import Prep\ndef prep():\n    return Prep(2)\n",
    "src/ops/prep.py": "class Prep:\n    def __init__(self, k):\n        self.k = k\n    def __call__(self, x):\n"
    "        from ops import late\n        return late.multiply(x, self.k)\n",
    "src/ops/late.py": "def multiply(x, y):\n    return x * y\n",
}
DUMP = """
    import pickle, sys
    from tfimm_resolver import hub
    for _ in range({times}):
        made = hub.load({repo!r}, "prep", verbose=False, **{options!r})
    with open(sys.argv[1], "wb") as file:
        pickle.dump(made, file)
"""
READ = """
    import pickle, sys
    import tfimm_resolver
    try:
        with open(sys.argv[1], "rb") as file:
            print(pickle.load(file)(21))
    except ModuleNotFoundError as error:
        print(error)
    print(*sorted(name for name in sys.modules if name == "ops"))
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHost]:
    """A git host, and a directory of the hub."""
    with GitHost(tmp_path / "host") as server:
        monkeypatch.setenv("TFIMM_GITHUB_URL", server.url)
        monkeypatch.setenv("TFIMM_HUB_DIR", str(tmp_path / "hub"))
        yield server


@pytest.fixture
def repo(host: GitHost) -> Repo:
    """A repository whose class is in a directory that its hubconf.py puts into sys.path."""
    return host.repo("ada/models", FILES)


@pytest.fixture
def pickled(tmp_path: Path) -> str:
    """The file for the object."""
    return str(tmp_path / "prep.pkl")


def dump(pickled: str, repo: str = "ada/models", times: int = 1, **options: object) -> None:
    """Load a repository in another process, and pickle an object there."""
    run(DUMP.format(repo=repo, options=options, times=times), pickled)


def test_a_new_process_reads_it_without_a_request(repo: Repo, host: GitHost, pickled: str) -> None:
    dump(pickled, trust_repo=True)
    count = len(host.requests)
    assert run(READ, pickled) == "42" and len(host.requests) == count


def test_it_is_read_after_the_same_commit_was_downloaded_again_and_from_a_copy_elsewhere(
    repo: Repo, pickled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump(pickled, trust_repo=True)
    dump(f"{pickled}.2", trust_repo=True, force_reload=True, times=2)
    assert run(READ, pickled) == run(READ, f"{pickled}.2") == "42"
    os.rename(tmp_path / "hub", tmp_path / "moved")
    monkeypatch.setenv("TFIMM_HUB_DIR", str(tmp_path / "moved"))
    assert run(READ, pickled) == "42"


def test_a_repository_that_is_not_trusted_or_of_another_commit_or_absent_is_named(
    repo: Repo, host: GitHost, pickled: str, tmp_path: Path
) -> None:
    dump(pickled, trust_repo=True)
    trusted = tmp_path / "hub/trusted_list"
    lines = trusted.read_text()
    trusted.write_text("other/models\n")
    output = run(READ, pickled)
    assert "not trusted" in output and f'hub.load("{host.name}/ada/models:main", ..., trust_repo=True) first' in output
    trusted.write_text(lines)
    assert run(READ, pickled) == "42"
    repo.commit({"src/ops/late.py": "def multiply(x, y):\n    return 'other'\n"})
    dump(f"{pickled}.2", trust_repo=True, force_reload=True)
    output = run(READ, pickled)
    assert "of another commit" in output and "ada/models:main" in output
    os.rename(tmp_path / "hub", tmp_path / "moved")
    output = run(READ, pickled)
    assert "no repository of that name is in" in output and "tfimm_resolver.hub.load(REPOSITORY" in output


def test_a_commit_that_is_not_a_tip_and_a_local_directory_have_to_be_loaded_first(
    repo: Repo, pickled: str, tmp_path: Path
) -> None:
    dump(pickled, trust_repo=True)
    first = repo.git("rev-parse", "HEAD")
    repo.commit({"README": ""})
    dump(pickled, f"ada/models:{first}", trust_repo=True, skip_validation=True)
    assert "not at the tip" in run(READ, pickled)
    for name, text in FILES.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(text)
    dump(pickled, str(tmp_path / "own"), source="local")
    assert 'source="local") first' in run(READ, pickled)
    first_load = f"from tfimm_resolver import hub; hub.load({str(tmp_path / 'own')!r}, 'prep', source='local')\n    try:"
    assert run(READ.replace("try:", first_load, 1), pickled) == "42"


def test_files_that_another_user_can_have_written_are_not_run(repo: Repo, pickled: str, tmp_path: Path) -> None:
    dump(pickled, trust_repo=True)
    late = next((tmp_path / "hub").glob("*/src/ops/late.py"))
    late.chmod(0o666)
    output = run(READ, pickled)
    assert "cannot be imported" in output and late.name in output
    late.chmod(0o644)
    assert run(READ, pickled) == "42"


def test_a_missing_dependency_is_named(repo: Repo, pickled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "needed.py").touch()
    repo.commit({"hubconf.py": f"dependencies = ['needed']\n{FILES['hubconf.py']}"})
    monkeypatch.setenv("PYTHONPATH", str(site))
    dump(pickled, trust_repo=True)
    monkeypatch.delenv("PYTHONPATH")
    assert "Missing dependencies: needed" in run(READ, pickled)
