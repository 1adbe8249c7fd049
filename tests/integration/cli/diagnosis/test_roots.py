"""Tests of ``cli.diagnosis.roots``, ``cli.diagnosis.disk`` and ``locking.stale_locks``: what is wrong with directories."""

from __future__ import annotations

import json
import os
import pwd
import shutil
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.diagnosis import PLAIN, diagnose, read_findings
from tests.fakes.foreign_caches import read_state
from tests.fakes.lock_processes import make_dead_pid
from tests.fakes.origin import Origin
from tests.fakes.other_users import let_others_enter
from tests.fakes.other_users import tmp_path as tmp_path  # noqa: PLC0414  # a fixture
from tests.fakes.processes import run
from tests.fakes.traced import NO_FLOCK, start_traced
from tests.fakes.use_locks import give_up_all
from tfimm_resolver import maintenance, resolve
from tfimm_resolver.cli.diagnosis import disk, report
from tfimm_resolver.cli.diagnosis.findings import Finding
from tfimm_resolver.locking import stale_locks
from tfimm_resolver.locking.lock import acquire
from tfimm_resolver.locking.lock_file import LockFile
from tfimm_resolver.locking.owner import get_hostname

OTHER_USER = 65534
CLOCK = """
import time
real_ns = time.clock_gettime_ns
time.clock_gettime_ns = lambda clock: real_ns(clock) + {} * 10**9
"""
"""Sets the clock of a process."""

AS_OTHER_USER = f"""
import contextlib, io, os
from tfimm_resolver.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    main(["doctor", "--json"])  # imports modules that the other user may not be able to read
os.setgroups([])
os.setgid({OTHER_USER})
os.setuid({OTHER_USER})
"""
"""Goes on as another user."""


@pytest.fixture
def root(cache_dir: Path) -> Path:
    cache_dir.mkdir()
    return cache_dir


@pytest.fixture
def cached(origin: Origin) -> Path:
    """A cached model."""
    path = Path(resolve(origin.put("/m.tar.gz", tar_gz())))
    give_up_all()
    return path


def test_a_filled_cache_has_no_problem_and_is_not_changed(cached: Path) -> None:
    before = read_state(cached.parent)
    assert diagnose() == ({}, {})
    after = read_state(cached.parent)
    assert {name: state[0::3] for name, state in before.items()} == {name: state[0::3] for name, state in after.items()}


def test_a_root_without_kernel_locks(root: Path) -> None:
    job = start_traced([NO_FLOCK], PLAIN)
    problems, _ = read_findings(job.communicate(timeout=60)[0])
    assert list(problems) == ["no-locks"] and str(root) in problems["no-locks"]


def test_a_root_whose_disk_cannot_rename_directories(root: Path) -> None:
    job = start_traced(["/rename:error=EXDEV"], PLAIN)
    problems, _ = read_findings(job.communicate(timeout=60)[0])
    assert list(problems) == ["no-rename"] and list(root.iterdir()) == []


@pytest.mark.parametrize("ahead_s", [3600, -3600])
def test_a_clock_that_is_not_that_of_the_disk(ahead_s: int, root: Path) -> None:
    problems, _ = read_findings(run(CLOCK.format(ahead_s) + PLAIN))
    assert list(problems) == ["clock"] and "60 min" in problems["clock"]
    assert ("ahead" if ahead_s > 0 else "behind") in problems["clock"]


def test_a_clock_that_is_nearly_that_of_the_disk(root: Path) -> None:
    assert read_findings(run(CLOCK.format(200) + PLAIN)) == ({}, {})


@pytest.mark.parametrize("mode", [0o777, 0o1777])
def test_a_root_that_every_user_can_write(mode: int, root: Path) -> None:
    root.chmod(mode)
    problems, notes = diagnose()
    is_sticky = bool(mode & 0o1000)
    assert [*problems] == ["world-writable"] * (not is_sticky) and [*notes] == ["world-writable"] * is_sticky


def test_a_root_of_a_group_is_not_a_problem(root: Path) -> None:
    root.chmod(0o2775)
    assert diagnose() == ({}, {})


def test_a_root_of_another_user(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives directories to other users")
    os.chown(root, OTHER_USER, OTHER_USER)
    problems, notes = diagnose()
    assert problems == {} and [*notes] == ["foreign-owner"]
    assert pwd.getpwuid(OTHER_USER).pw_name in notes["foreign-owner"]


def test_models_of_another_user_that_this_one_cannot_change(cached: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root runs processes as another user")
    for path in (*cached.rglob("*"), cached, *cached.parent.glob("*.txt")):
        os.chown(path, 54321, 54321)
    cached.parent.chmod(0o777)
    let_others_enter(cached.parent)
    _, notes = read_findings(run(AS_OTHER_USER + PLAIN))
    assert "1 model of another user" in notes["foreign-owner"]


def test_a_root_that_cannot_be_written(root: Path) -> None:
    if os.geteuid() == 0:
        job = start_traced(["mkdir:error=EROFS"], PLAIN)
        problems, _ = read_findings(job.communicate(timeout=60)[0])
    else:
        root.chmod(0o500)
        problems, _ = diagnose()
    assert list(problems) == ["not-writable"]


@pytest.mark.parametrize(("hub", "count"), [("cache/.hub", 1), ("hub", 2)])
def test_a_directory_inside_another_that_cannot_be_created_is_not_reported_again(hub: str, count: int, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root runs processes as another user")
    let_others_enter(tmp_path)
    cache = str(tmp_path / "cache")
    out = run(AS_OTHER_USER + PLAIN, TFHUB_CACHE_DIR=cache, TFIMM_HOME=cache, TFIMM_HUB_DIR=f"{tmp_path}/{hub}")
    codes = [problem["code"] for problem in json.loads(out)["problems"] if str(tmp_path) in problem["text"]]
    assert codes == ["not-writable"] * count


@pytest.mark.parametrize("hub", ["cache/.hub", "other"])
def test_a_full_disk_is_reported_once(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cache", hub):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1 << 40, used=1 << 40, free=0))
    problems = make_problems(TFHUB_CACHE_DIR=f"{tmp_path}/cache", TFIMM_HUB_DIR=f"{tmp_path}/{hub}")
    assert [finding.code for finding in problems] == ["disk-full"] and f"{tmp_path}/cache is full" in problems[0].text


def make_problems(**environment: str) -> list[Finding]:
    """Return the problems that ``doctor`` finds in this process with these variables, each as often as it is printed."""
    with mock.patch.dict(os.environ, environment):
        return report.make_report().problems


def test_a_file_in_place_of_a_root(cache_dir: Path) -> None:
    cache_dir.write_text("")
    problems, _ = diagnose()
    assert "not-a-directory" in problems


def test_damaged_models(cached: Path) -> None:
    (cached / "saved_model.pb").write_bytes(b"x")
    problems, _ = diagnose()
    assert list(problems) == ["damaged"] and "/m.tar.gz" in problems["damaged"]


def test_a_damaged_model_in_an_extra_root(cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = tmp_path / "extra"
    shutil.copytree(cached.parent, extra)
    (extra / cached.name / "saved_model.pb").write_bytes(b"x")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(extra))
    problems, notes = diagnose()
    assert problems == {} and str(extra) in notes["extra-root-damaged"] and "/m.tar.gz" in notes["extra-root-damaged"]
    problems, notes = diagnose(TFHUB_CACHE_DIR=str(tmp_path / "empty"))
    assert list(problems) == ["extra-root-damaged"] and notes == {}


@pytest.mark.parametrize(
    ("chosen", "fixes"),
    [
        ({"TFHUB_CACHE_DIR": "file"}, {"TFHUB_CACHE_DIR"}),
        ({"TFIMM_HOME": "file"}, {"TFIMM_HOME"}),
        ({"TFIMM_HUB_DIR": "file"}, {"TFIMM_HUB_DIR"}),
        ({"HOME": "home"}, {"TFIMM_HOME"}),
        ({"XDG_CACHE_HOME": "home/.cache", "TFHUB_CACHE_DIR": ""}, {"TFIMM_HOME"}),
        ({"TFIMM_HOME": "file", "TFHUB_CACHE_DIR": ""}, {"TFIMM_HOME"}),
        ({"TFIMM_HOME": "file", "TFHUB_CACHE_DIR": "file"}, {"TFHUB_CACHE_DIR", "TFIMM_HOME"}),
    ],
)
def test_the_fix_names_the_variable_that_sets_the_directory(
    chosen: dict[str, str], fixes: set[str], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home" / ".cache").mkdir(exist_ok=True)
    path = "home/.cache/tfimm" if any("home" in value for value in chosen.values()) else "file"
    (tmp_path / path).write_text("")
    for name, value in chosen.items():
        monkeypatch.setenv(name, value and str(tmp_path / value))
    problems = [one for one in report.make_report().problems if one.code == "not-a-directory"]
    named = {name for one in problems for name in ("TFHUB_CACHE_DIR", "TFIMM_HOME", "TFIMM_HUB_DIR") if name in one.fix}
    assert named == fixes
    assert diagnose(**{name: str(tmp_path / "new") for name in named})[0] == {}


def test_the_fix_names_the_option_that_chose_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    _, out, _ = run_cli("doctor", "--cache-dir", str(tmp_path / "file"))
    assert "remove it, or pass another directory as --cache-dir" in out


def test_stale_locks(root: Path) -> None:
    (root / f"{'1' * 40}.lock").write_text(f"somewhere.{make_dead_pid()}.flock-1-00000000-0123456789abcdef")
    (root / f"{'2' * 40}.lock").mkdir()
    (found,) = stale_locks.find_stale_locks(str(root))
    assert found.is_removable and found.path.endswith(f"{'1' * 40}.lock") and Path(found.path).exists()
    problems, notes = diagnose()
    assert problems == {} and [*notes] == ["stale-lock"] and "1 stale lock" in notes["stale-lock"]


def test_a_stale_lock_that_only_another_user_can_remove(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files to other users")
    lock = root / f"{'1' * 40}.lock"
    lock.write_text(f"somewhere.{make_dead_pid()}.flock-1-00000000-0123456789abcdef")
    os.chown(lock, 54321, 54321)
    os.chown(root, 54321, 54321)
    root.chmod(0o1777)
    let_others_enter(root)
    problems, _ = read_findings(run(AS_OTHER_USER + PLAIN))
    assert "another user" in problems["stale-lock"]


def test_a_lock_in_use_is_not_stale(root: Path) -> None:
    lock = acquire(str(root / f"{'1' * 40}.lock"), "a model")
    assert lock is not None
    try:
        assert diagnose() == ({}, {})
    finally:
        lock.release()


def test_a_lock_that_was_taken_over_without_a_new_name_is_not_stale(root: Path) -> None:
    path = root / f"{'1' * 40}.lock"
    path.write_text(f"somewhere.{make_dead_pid()}.flock-1-00000000-0123456789abcdef")
    assert len(stale_locks.find_stale_locks(str(root))) == 1
    path.write_text(f"{get_hostname()}.{make_dead_pid()}.soft-1-00000000-0123456789abcdef")
    holder = LockFile.open(str(path))
    try:
        assert holder.try_flock() and stale_locks.find_stale_locks(str(root)) == []
    finally:
        holder.close()
    assert len(stale_locks.find_stale_locks(str(root))) == 1


def test_a_limit_below_what_is_kept(cached: Path) -> None:
    maintenance.keep(str(cached))
    problems, _ = diagnose(TFIMM_RESOLVER_MAX_SIZE="100B")
    assert list(problems) == ["limit-below-kept"] and "TFIMM_RESOLVER_MAX_SIZE" in problems["limit-below-kept"]
    assert diagnose(TFIMM_RESOLVER_MAX_SIZE="1GB") == ({}, {})
    maintenance.unkeep(str(cached))
    assert diagnose(TFIMM_RESOLVER_MAX_SIZE="100B") == ({}, {})


def test_a_part_of_a_disk_of_unknown_size_is_not_a_limit(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maintenance.keep(str(cached))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=0, used=0, free=0))  # as some FUSE mounts do
    assert diagnose(TFIMM_RESOLVER_MAX_SIZE="20%")[0] == {}
    assert [*diagnose(TFIMM_RESOLVER_MAX_SIZE="100B")[0]] == ["limit-below-kept"]


def test_an_extra_root_that_does_not_exist(root: Path) -> None:
    problems, notes = diagnose(TFIMM_RESOLVER_EXTRA_ROOTS=str(root / "gone"))
    assert problems == {} and [*notes] == ["extra-root-missing"]


def test_facts_about_a_disk(root: Path) -> None:
    facts = disk.probe(str(root))
    assert facts.is_writable and facts.has_locks and facts.renames_directories and facts.free_bytes
    assert facts.has_hard_links in (True, False) and facts.is_case_sensitive in (True, False)
    assert facts.clock_offset_s is not None and abs(facts.clock_offset_s) < 60 and list(root.iterdir()) == []


def test_no_model_is_moved_when_its_layer_is_looked_for(cached: Path, tmp_path: Path) -> None:
    before, renamed_ns = read_state(cached), cached.parent.stat().st_mtime_ns
    assert not disk._is_in_lower_layer(str(cached), str(tmp_path))
    assert read_state(cached) == before and cached.parent.stat().st_mtime_ns == renamed_ns


def test_a_cache_at_a_url_that_can_hold_none_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "ftp://host/cache")
    code, out, _ = run_cli("doctor", "-q")
    assert code == 11 and out.count("ftp://host/cache cannot hold a cache") == 1 and "gs:// or s3:// URL" in out
