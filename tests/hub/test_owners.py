"""Directories of the hub in which another user can have put code: none of it is run, and the error says what to do."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.archives import files_in
from tests.git_host import GitHost, Repo
from tests.origin import Origin
from tests.processes import run
from tfimm_resolver import hub
from tfimm_resolver.errors import CacheError, UntrustedError

ANOTHER = 54321
HUBCONF = "def one():\n    return 'ran'\n"
EVIL = "def one():\n    return 'EVL'\n"
assert len(HUBCONF) == len(EVIL), "so that a record that knows only sizes takes one for the other"

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users"), pytest.mark.timeout(60)]


@pytest.fixture
def repo(host: GitHost) -> Repo:
    """A repository on a host."""
    return host.repo("ada/models", {"hubconf.py": HUBCONF, "more/deep.py": "x = 1\n"})


@pytest.fixture
def hub_with_evil(repo: Repo, host: GitHost, hub_dir: Path) -> Path:
    """A directory of the hub in which all is in order but for the code, which another user wrote."""
    (load_tree(hub_dir) / "hubconf.py").write_text(EVIL)
    host.asked.clear()
    return hub_dir


def load_tree(hub_dir: Path) -> Path:
    """Trust and load the repository; where it lies."""
    assert hub.load("ada/models:main", "one", trust_repo=True) == "ran"
    (record,) = hub_dir.glob("*.descriptor.txt")
    return hub_dir / record.name.partition(".")[0]


def give(place: Path, user: int = ANOTHER) -> None:
    """Make all of it another user's."""
    for path in (place, *place.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)


def linked(place: Path) -> None:
    """Put a link in the place of a directory."""
    place.rename(place.with_name("elsewhere"))
    place.symlink_to("elsewhere")


def in_a_foreign_group(place: Path, mode: int) -> None:
    """Let a group write that is not this user's own."""
    os.chown(place, 0, ANOTHER)
    place.chmod(mode)


PLANTED: dict[str, Callable[[Path], object]] = {
    "another user's": give,
    "another user's alone": lambda place: os.chown(place, ANOTHER, 0),
    "open to all": lambda place: place.chmod(0o757),
    "open to all, sticky": lambda place: place.chmod(0o1777),
    "open to a group": lambda place: in_a_foreign_group(place, 0o775),
    "a link": linked,
}


@pytest.mark.parametrize("what", PLANTED)
@pytest.mark.parametrize("trust_repo", [True, "check"])
def test_from_a_directory_that_another_user_can_write_no_code_is_run(
    what: str, trust_repo: bool | str, hub_with_evil: Path, host: GitHost
) -> None:
    PLANTED[what](hub_with_evil)
    for call in (hub.list, lambda name, **how: hub.load(name, "one", **how), lambda name, **how: hub.help(name, "one", **how)):
        for name, is_anew in (("ada/models:main", False), ("ada/models:main", True), ("ada/models", False), ("ada/new", True)):
            with pytest.raises(CacheError) as caught:
                call(name, trust_repo=trust_repo, force_reload=is_anew)
            assert caught.value.text.startswith(f"{hub_with_evil} ") and "TFIMM_HUB_DIR" in caught.value.fix
            mode = stat.S_IMODE(os.lstat(hub_with_evil).st_mode)
            assert what == "a link" or f"has the mode {mode:04o}" in caught.value.text
            assert not what.startswith("another") or f"belongs to uid {ANOTHER}" in caught.value.text
    assert host.asked == []


@pytest.mark.parametrize("below", [".", "more", "hubconf.py", "more/deep.py"])
@pytest.mark.parametrize("what", PLANTED)
def test_from_a_tree_that_another_user_can_write_no_code_is_run(what: str, below: str, repo: Repo, hub_dir: Path) -> None:
    tree = load_tree(hub_dir)
    PLANTED[what](tree / below)
    with pytest.raises(CacheError) as caught:
        hub.load("ada/models:main", "one", trust_repo=True)
    assert caught.value.text.startswith(os.path.normpath(tree / below)) and f"Remove {tree}" in caught.value.fix
    for path in (tree, hub_dir / "elsewhere", hub_dir / f"{tree.name}.descriptor.txt"):
        path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path, ignore_errors=True)
    assert hub.load("ada/models:main", "one") == "ran", "what the error says helps"


def as_pipe(path: Path) -> None:
    """Put a pipe in its place, at whose other end there is nobody."""
    path.unlink()
    os.mkfifo(path)


def as_link(path: Path) -> None:
    """Put a link in its place, to a text of this user's that happens to hold the line."""
    path.rename(path.with_name("notes"))
    path.symlink_to("notes")


LISTS: dict[str, Callable[[Path], object]] = {
    "another user's": lambda path: os.chown(path, ANOTHER, ANOTHER),
    "open to a group": lambda path: in_a_foreign_group(path, 0o664),
    "open to all": lambda path: path.chmod(0o646),
    "a link": as_link,
    "a link to nowhere": lambda path: (as_link(path), path.with_name("notes").unlink()),
    "a pipe": as_pipe,
}


@pytest.mark.parametrize("what", LISTS)
def test_a_list_that_another_user_can_have_written_is_neither_believed_nor_written(
    what: str, repo: Repo, host: GitHost, hub_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_tree(hub_dir)
    LISTS[what](hub_dir / "trusted_list")
    with pytest.raises(UntrustedError):
        hub.load("ada/models:main", "one")
    assert "no repository is trusted for it" in caplog.text
    before = files_in(hub_dir)
    host.repo("ada/more", {"hubconf.py": HUBCONF})
    assert hub.load("ada/more:main", "one", trust_repo=True) == "ran"
    assert "so you will be asked again" in caplog.text
    assert {name: data for name, data in files_in(hub_dir).items() if name in before} == before
    assert not (hub_dir / "notes").exists() or (hub_dir / "notes").read_text().count("\n") == 1


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_what_is_made_under_any_umask_is_not_refused_afterwards(
    umask: int, repo: Repo, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below a directory of several users: each has a hub of their own only if they say so, but one of them may have it."""
    shared, out = tmp_path / "shared", io.BytesIO()
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.delenv("TFIMM_HUB_DIR")
    monkeypatch.setenv("TFIMM_HOME", str(shared))
    np.savez(out, w=np.array([1]))
    url, before = origin.put("/w.npz", out.getvalue()), os.umask(umask)
    try:
        for how in ({"trust_repo": True}, {}, {"force_reload": True}, {}):
            hub.load_state_dict_from_url(url)
            assert hub.load("ada/models", "one", **how) == "ran"
    finally:
        os.umask(before)
    assert {path.name for path in shared.iterdir()} == {".hub"}
    open_ones = [path for path in shared.rglob("*") if path.stat().st_mode & 0o022]
    assert open_ones == [] and len([*shared.rglob("*")]) > 8


def test_weights_that_another_user_put_there_are_not_read(origin: Origin, hub_dir: Path, tmp_path: Path) -> None:
    out = io.BytesIO()
    np.savez(out, w=np.array([1]))
    url = origin.put("/w.npz", out.getvalue())
    hub.load_state_dict_from_url(url)
    give(hub_dir / "checkpoints")
    with pytest.raises(CacheError, match=rf"checkpoints belongs to uid {ANOTHER}") as caught:
        hub.load_state_dict_from_url(url)
    assert "TFIMM_HUB_DIR" in caught.value.fix
    for path in (tmp_path / "theirs", hub_dir / "checkpoints"):
        path.mkdir(exist_ok=True)
    hub.load_state_dict_from_url(url, model_dir=tmp_path / "theirs")
    give(tmp_path / "theirs")
    (tmp_path / "theirs").chmod(0o1777)
    assert hub.load_state_dict_from_url(url, model_dir=tmp_path / "theirs")["w"] == [1], "a directory that the caller names"
    assert len(origin.asked) == 2


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory to which every user has a way."""
    with tempfile.TemporaryDirectory(prefix="tfimm_resolver-") as place:
        os.chmod(place, 0o755)
        monkeypatch.setenv("TFIMM_HUB_DIR", f"{place}/hub")
        yield Path(place)


AS_USER = """
    import os, sys
    from tfimm_resolver import hub
    hub_dir, user, *owner = sys.argv[1:]
    hub.load("ada/models:main", "one")  # loads what this user may not read of Python
    for folder, below, names in os.walk(hub_dir) if owner else ():
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            os.chown(path, int(owner[0]), int(owner[0]))
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
    try:
        print(hub.load("ada/models:main", "one"))
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_what_root_has_put_there_serves_every_user(repo: Repo, host: GitHost, reachable: Path) -> None:
    load_tree(reachable / "hub")
    host.asked.clear()
    assert run(AS_USER, str(reachable / "hub"), str(ANOTHER)) == "ran" and host.asked == []
    assert run(AS_USER, str(reachable / "hub"), str(ANOTHER), str(ANOTHER)) == "ran", "their own"
    give(reachable / "hub", 0)
    assert run(AS_USER, str(reachable / "hub"), str(ANOTHER), str(ANOTHER + 1)).startswith("CacheError"), "a third one's"
    assert host.asked == []
    with pytest.raises(CacheError, match=f"belongs to uid {ANOTHER + 1}"):
        hub.load("ada/models:main", "one")
