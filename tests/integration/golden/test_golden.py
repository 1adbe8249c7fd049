"""The golden records themselves: what differs is found, what does not is not, and no mistake of the tool passes silently."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.golden import compare, trees
from tests.golden.__main__ import BASE, main, run
from tests.golden.compare import Accepted, Difference, Recording, find_differences
from tests.golden.normalise import Normaliser
from tests.golden.registry import SCENARIOS, scenario
from tests.golden.scenarios import THEMES, load_all
from tests.golden.stage import Stage, WrongTreeError

load_all()

PACKAGE = '''
"""Stands in for the package: fetches nothing, and leaves a record and a tree."""
import datetime, hashlib, os, socket, sys, urllib.request

def main():
    handle = sys.argv[-1]
    urllib.request.urlopen(handle).read()
    tree = os.path.join(os.environ["TFHUB_CACHE_DIR"], hashlib.sha1(handle.encode()).hexdigest())
    os.makedirs(tree, exist_ok=True)
    with open(tree + "/saved_model.pb", "wb") as file:
        file.write(b"a graph")
    os.chmod(tree + "/saved_model.pb", 0o644)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    with open(tree + ".descriptor.txt", "w") as file:
        file.write(f"Module: {handle}\\nDownload Time: {now}\\n")
        file.write(f"Downloader Hostname: {socket.gethostname()} (PID:{os.getpid()})\\n\\nsize 7\\n")
    print(tree)
    print(f"{handle}  184 B in {os.getpid() / 1000:.1f} s", file=sys.stderr)
    print("a warning", file=sys.stderr)
    sys.exit(0)
'''
CHANGES = {
    "exit code": ("sys.exit(0)", "sys.exit(3)", "tfimm-resolver"),
    "line of stdout": ("print(tree)", "print(tree + '/')", "tfimm-resolver"),
    "another line": ("sys.exit(0)", "print('more')", "tfimm-resolver"),
    "log line": ('"a warning"', '"a warninG"', "tfimm-resolver"),
    "size in a line with a time": ("184 B", "185 B", "tfimm-resolver"),
    "missing end of line": ("print(tree)", "print(tree, end='')", "tfimm-resolver"),
    "byte of a record": ("size 7", "size 8", "descriptor.txt"),
    "byte of a tree": ('b"a graph"', 'b"a grapH"', "files"),
    "rights in a tree": ("0o644", "0o600", "files"),
    "another file": ("os.makedirs(tree,", "os.makedirs(tree + '/assets',", "files"),
    "name of a tree": ("handle.encode()", "(handle + '/x').encode()", "files"),
    "one more request": (
        "hashlib.sha1(handle",
        "urllib.request.urlopen(handle) and hashlib.sha1(handle",
        "requests to origin",
    ),
}
CHEAP = "resolve_cold_and_warm"
PLAIN = "resolve_quietly"
"""A scenario whose handle the stand-in can fetch, too."""


def write_tree(folder: Path, package: str = PACKAGE) -> Path:
    """Write a source tree that has such a package; return its directory."""
    # Python would take the bytecode of an older text of the same second and length.
    shutil.rmtree(folder / "tfimm_resolver", ignore_errors=True)
    (folder / "tfimm_resolver").mkdir(parents=True)
    (folder / "tfimm_resolver/__init__.py").write_text(package)
    (folder / "tfimm_resolver/__main__.py").write_text("from tfimm_resolver import main\nmain()\n")
    return folder


def record(folder: Path, tree: Path) -> Recording:
    """Record one command of the package in that tree."""
    with Stage(folder, tree) as stage:
        stage.cli("resolve", stage.origin.put("/m.tar.gz", b"an archive"))
    return stage.recording


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, without user settings."""
    names = {f"GIT_{role}_{what}": "ada@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = {**os.environ, **names, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    done = subprocess.run(["git", "-C", str(folder), *arguments], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose only commit has the package, and whose working tree does not differ from it."""
    folder = write_tree(tmp_path / "clone")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "base")
    return folder


def test_two_runs_of_the_same_tree_are_equal(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    first, second = record(tmp_path / "one", tree), record(tmp_path / "two", tree)
    assert first == second and find_differences("s", first, second) == []
    lines = [line for section in first.values() for line in section]
    assert "exit 0" in lines and "stdout| <root>/cache/<sha1 http://<origin>/m.tar.gz>" in lines and "size 7" in lines


@pytest.mark.parametrize("change", CHANGES)
def test_each_kind_of_change_is_found_in_its_section(change: str, tmp_path: Path) -> None:
    old, new, section = CHANGES[change]
    assert old in PACKAGE
    before = record(tmp_path / "one", write_tree(tmp_path / "old"))
    after = record(tmp_path / "two", write_tree(tmp_path / "new", PACKAGE.replace(old, new, 1)))
    found = find_differences("s", before, after)
    assert any(section in one.section and one.diff and one.context for one in found), found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/run/1/cache", "/run/2/cache"),
        ("http://127.0.0.1:40001/m", "http://127.0.0.1:40002/m"),
        ("in 0.0 s", "in 12.3 s"),
        ("2026-11-30T02:00:00.123456Z", "2025-01-01T23:59:59Z"),
        ("process 12 on ada", "process 345 on eve"),
        ("flock-1-ab12-0123456789abcdef.tmp", "flock-22-cd34-fedcba9876543210.tmp"),
        ("object at 0x7f01", "object at 0x7f02"),
        ('"free_bytes": 1', '"free_bytes": 22'),
    ],
)
def test_what_changes_with_the_run_is_replaced(one: str, other: str) -> None:
    texts = [
        Normaliser({"<root>": Path(f"/run/{number}")}, {"<origin>": f"127.0.0.1:4000{number}"}).replace(text)
        for number, text in ((1, one), (2, other))
    ]
    assert texts[0] == texts[1] != one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("exit 0", "exit 1"),
        ("/run/1/cache", "/run/1/cachE"),
        ("http://127.0.0.1:40001/m", "http://127.0.0.1:40001/n"),
        ("http://127.0.0.1:40001/m", "http://127.0.0.1:400011/m"),
        ("http://127.0.0.1:40001/m", "http://127.0.0.1:9/m"),
        ("184 B in 0.0 s", "185 B in 0.0 s"),
        ("a" * 40, "b" * 40),
        ("a" * 64, "b" * 64),
        ('"size_bytes": 7', '"size_bytes": 8'),
        ("trying again (1 of 1)", "trying again (1 of 2)"),
        ("HTTP 404", "HTTP 410"),
        ("-rw-r--r--", "-rw-------"),
    ],
)
def test_what_does_not_change_with_the_run_stays(one: str, other: str) -> None:
    normaliser = Normaliser({"<root>": Path("/run/1")}, {"<origin>": "127.0.0.1:40001"})
    normaliser.learn([one, other])
    assert normaliser.replace(one) != normaliser.replace(other)


def test_a_longer_port_is_that_of_another_server() -> None:
    assert Normaliser({}, {"<origin>": "127.0.0.1:4000"}).replace("127.0.0.1:40001") == "127.0.0.1:40001"


def test_a_section_that_one_side_lacks_is_a_difference() -> None:
    for before, after in (({}, {"a": []}), ({"a": []}, {}), ({}, {"a": ["x"]}), ({"a": ["x"]}, {})):
        assert [one.section for one in find_differences("s", before, after)] == ["a"]


def test_a_process_that_imports_another_tree_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(WrongTreeError, match="was imported"):
        record(tmp_path / "one", tmp_path / "empty")


def test_a_scenario_cannot_change_files_beside_its_root_and_the_recording_says_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree")
    (tmp_path / "mine").write_text("mine")
    monkeypatch.chdir(tmp_path)
    for number, path in enumerate(("", "mine", f"{tmp_path}/mine", f"{tmp_path}/stage3/root/../../mine")):
        with Stage(tmp_path / f"stage{number}", tree) as stage:
            stage.write(path, b"changed")  # never remove(), which would do harm if this test failed
        assert any("stopped" in section for section in stage.recording), path
    assert (tmp_path / "mine").read_text() == "mine"


def test_names_of_scenarios_are_unique_and_each_says_what_it_does() -> None:
    with pytest.raises(ValueError, match=f"two scenarios are called {CHEAP}"):
        scenario(SCENARIOS[CHEAP])
    assert len(SCENARIOS) >= 80 and all(function.__doc__ for function in SCENARIOS.values())
    folder = Path(trees.__file__).parent / "scenarios"
    assert {path.stem for path in folder.glob("*.py")} == {*THEMES, "__init__"}, "a theme is not loaded"


def test_accepted_differences_are_read_as_they_were_written(tmp_path: Path) -> None:
    reasons = {
        Difference("s", "1. resolve 'x'", "-it's \"\"\" '''\n+\\x1b[1m \\ \t…"): "a reason",
        Difference("s", "files", "-a\n\n-b"): 'another "reason"',
    }
    for accepted in (Accepted("base", reasons), Accepted("base", {})):
        compare.write_accepted(accepted, tmp_path / "accepted.toml")
        assert compare.read_accepted(tmp_path / "accepted.toml", "base") == accepted
        assert compare.read_accepted(tmp_path / "accepted.toml", "another") == Accepted("another", {})
    assert compare.read_accepted(tmp_path / "missing.toml", "base") == Accepted("base", {})


def test_the_accepted_list_is_for_the_base_and_names_scenarios_that_exist() -> None:
    assert re.fullmatch("[0-9a-f]{40}", BASE)
    reasons = compare.read_accepted(compare.ACCEPTED_FILE, BASE).reasons
    assert {one.scenario for one in reasons} <= {*SCENARIOS} and all(reasons.values())


def test_a_new_base_begins_an_empty_list(clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    accepted = tmp_path / "accepted.toml"
    compare.write_accepted(Accepted("old", {Difference("s", "files", "-a"): "a reason"}), accepted)
    assert main(["--set-base", "HEAD"], repository=clone, accepted_file=accepted) == 0
    head = git(clone, "rev-parse", "HEAD")
    assert compare.read_base(accepted) == head and compare.read_accepted(accepted, head).reasons == {}
    assert main(["--set-base", "nonsense"], repository=clone, accepted_file=accepted) == 2
    assert "nonsense" in capsys.readouterr().err and compare.read_base(accepted) == head


def test_a_difference_is_shown_accepted_and_missed_when_it_is_gone(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def compare_trees(*arguments: str) -> tuple[int, str]:
        base = git(clone, "rev-parse", "HEAD")
        code = main(["--only", PLAIN, *arguments], repository=clone, base=base, accepted_file=tmp_path / "accepted.toml")
        return code, capsys.readouterr().out

    assert compare_trees()[0] == 0
    write_tree(clone, PACKAGE.replace("sys.exit(0)", "sys.exit(3)"))
    code, out = compare_trees()
    assert code == 1 and "-exit 0\n+exit 3" in out and f"=== {PLAIN}: 1. tfimm-resolver resolve" in out
    assert compare_trees("--accept", "it fails by now")[0] == 0 == compare_trees()[0]
    write_tree(clone, PACKAGE.replace("sys.exit(0)", "sys.exit(3)").replace("a warning", "a hint"))
    code, out = compare_trees()
    assert code == 1 and "+stderr| a hint" in out, "an accepted difference hid another one"
    write_tree(clone)
    code, out = compare_trees()
    assert code == 1 and "accepted, but not there any more (it fails by now)" in out
    assert compare_trees("--accept", "none is left")[0] == 0 == compare_trees()[0]
    assert compare_trees("--accept", "x", "--against", "HEAD")[0] == 2


def test_a_commit_that_a_shallow_clone_does_not_have_is_told(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = git(clone, "rev-parse", "HEAD")
    git(clone, "commit", "-q", "--allow-empty", "-m", "later")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{clone}", "shallow")
    assert main(["--only", CHEAP], repository=tmp_path / "shallow", base=base) == 2
    err = capsys.readouterr().err
    assert f"the commit {base} is not in the clone at" in err and "shallow" in err and "git fetch --unshallow" in err
    assert main(["--only", CHEAP], repository=clone, base="0" * 40) == 2
    assert "git fetch" not in capsys.readouterr().err


def test_no_scenario_of_a_name_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "nonsense"]) == 2 and "no scenario matches nonsense" in capsys.readouterr().err


def test_a_scenario_at_fault_is_no_difference(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(SCENARIOS, "broken", lambda stage: stage.cli(stage.nothing))  # type: ignore[attr-defined]
    assert main(["--only", "broken"], base="HEAD") == 2
    err = capfd.readouterr().err
    assert "the scenario broken is at fault" in err and "has no attribute 'nothing'" in err


def test_scenarios_of_the_working_tree_show_what_they_are_for() -> None:
    sections = run(CHEAP, trees.REPOSITORY)
    assert sections["requests to origin"] == ["/google/model/1?tf-hub-format=compressed"]
    first, second = (lines for title, lines in sections.items() if "tfimm-resolver" in title)
    assert first[1] == second[1] == "exit 0" and first[2] == second[2] and len(second) == 3, "a warm resolve says more"
    assert any(line.startswith('   "sha256": "') for lines in sections.values() for line in lines), "the record is not shown"
    assert "exit 6" in [line for lines in run("verify_and_repair", trees.REPOSITORY).values() for line in lines]
