"""Tests of ``cli.removals``, and of ``rm``, ``prune`` and ``ls``: dry runs that tell exactly what happens, and the screens."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.cli import run_cli, run_on_terminal
from tests.fakes.full_cache import FullCache, fill_cache
from tests.fakes.git_host import GitHost
from tests.fakes.origin import Origin
from tests.fakes.processes import start
from tfimm_resolver import maintenance, resolve
from tfimm_resolver.cli import removals
from tfimm_resolver.locking import use_lock

USE = """
    import sys, tfimm_resolver
    print(tfimm_resolver.resolve(sys.argv[1]), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def full(origin: Origin, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FullCache]:
    """Models, a repository and weights of the hub, a replaced copy and a partial download; nothing is in use."""
    monkeypatch.setenv("TFIMM_HUB_DIR", str(cache_dir / "hub"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with GitHost(tmp_path / "host") as host:
        monkeypatch.setenv("TFIMM_GITHUB_URL", host.url)
        yield fill_cache(origin, host, cache_dir)


def list_tree(path: Path) -> dict[str, int]:
    """Return every file and its size."""
    return {str(file.relative_to(path)): file.stat().st_size for file in path.rglob("*") if file.is_file()}


def copy_cache(cache_dir: Path) -> dict[str, str]:
    """Copy a cache with its times and the hub in it; return the variables that make it the one in use."""
    copy = cache_dir.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(cache_dir, copy, copy_function=shutil.copy2)
    return {"TFHUB_CACHE_DIR": str(copy), "TFIMM_HUB_DIR": str(copy / "hub")}


COMMANDS = {
    "all": ["rm", "--all", "-y"],
    "some": ["rm", "-y", "MODEL0", "MODEL2", "hub:w.npz"],
    "limit": ["prune", "-y", "--max-size", "150kB"],
    "age": ["prune", "-y", "--max-age", "18.5h"],
    "leftovers": ["prune", "-y"],
    "spared": ["prune", "-y", "--max-size", "1B", "--keep", "MODEL1"],
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("options", [[], ["--json"], ["-q"]], ids=" ".join)
def test_a_dry_run_prints_what_the_real_run_does_on_a_copy(
    name: str, options: list[str], full: FullCache, cache_dir: Path
) -> None:
    handles = [*full.models]
    command = [handles[int(word[-1])] if word.startswith("MODEL") else word for word in COMMANDS[name]]
    before, copy = list_tree(cache_dir), copy_cache(cache_dir)
    dry = run_cli(*command, *options, "--dry-run", **copy)
    assert list_tree(Path(copy["TFHUB_CACHE_DIR"])) == before, "a dry run changes nothing"
    real = run_cli(*command, *options, **copy)
    after = list_tree(Path(copy["TFHUB_CACHE_DIR"]))
    assert dry[0] == real[0] == 0 and after != before
    if options == ["--json"]:
        expected = {**json.loads(dry[1]), "dry_run": False}
        assert json.loads(dry[1])["dry_run"] is True and json.loads(real[1]) == expected
        model_files = {path: size for path, size in before.items() if path not in after and not path.endswith(".txt")}
        assert expected["freed_bytes"] == sum(model_files.values())
    else:
        assert real[1] == dry[1] != ""
    if not options:
        screen = dry[2].replace("Would remove", "Removed").replace("Nothing was removed (dry run).", "")
        assert [line.rstrip() for line in screen.splitlines() if line.strip()] == real[2].splitlines()


def test_rm_frees_replaced_copies_and_partial_downloads_of_a_model(full: FullCache, cache_dir: Path) -> None:
    handle = [*full.models][2]
    facts = json.loads(run_cli("rm", handle, "--json", "--dry-run")[1])
    assert facts["freed_bytes"] == facts["removed"][0]["freed_bytes"] > 200_000 > facts["removed"][0]["size_bytes"]


def test_a_dry_run_says_what_is_in_use(full: FullCache) -> None:
    handle, other = [*full.models][:2]
    with start(USE, handle, stdin=subprocess.PIPE) as process:  # type: ignore[arg-type]
        try:
            assert process.stdout is not None and process.stdout.readline().strip() == full.models[handle]
            for options in (["--dry-run"], []):
                code, out, err = run_cli("rm", handle, other, *options)
                assert code == 4 and other in out and handle not in out
                assert f"is in use by process {process.pid}: nothing was removed" in err
            assert os.path.exists(full.models[handle]) and not os.path.exists(full.models[other])
        finally:
            process.kill()


def test_the_use_by_this_process_does_not_count_in_a_dry_run_and_stays(full: FullCache) -> None:
    handle = next(iter(full.models))
    resolve(handle)
    assert [result.state for result in maintenance.remove(handle, dry_run=True)] == ["removable"]
    assert use_lock.is_locked_here(full.models[handle])
    with start(USE, handle, stdin=subprocess.PIPE) as process:  # type: ignore[arg-type]
        try:
            assert process.stdout is not None and process.stdout.readline().strip() == full.models[handle]
            assert [result.state for result in maintenance.remove(handle, dry_run=True)] == ["failed"]
        finally:
            process.kill()
    assert [result.state for result in maintenance.remove(handle)] == ["removed"]


def test_rm_needs_names_or_all(full: FullCache) -> None:
    for arguments in ([], ["--all", "x"]):
        code, _, err = run_cli("rm", *arguments)
        assert code == 2 and "give the names of models, or --all" in err
    for options in ([], ["--json"], ["-q"]):
        code, out, err = run_cli("rm", "--all", *options)
        assert code == 2 and "--all needs -y" in out + err
    assert all(map(os.path.exists, full.directories))


def test_rm_asks_on_a_terminal_and_does_what_is_answered(full: FullCache) -> None:
    handle = next(iter(full.models))
    screen = run_on_terminal("rm", handle, answer="n\n", NO_COLOR="1")
    assert "Would remove 1 model, 101 kB:" in screen and handle in screen and "Remove this? [y/N]" in screen
    assert "dry run" not in screen
    assert os.path.exists(full.models[handle])
    screen = run_on_terminal("rm", handle, answer="y\n", NO_COLOR="1")
    assert "Removed 1 model, 101 kB:" in screen and not os.path.exists(full.models[handle])
    other = [*full.models][1]
    assert "Remove this?" not in run_on_terminal("rm", "-y", other, answer="n\n") and not os.path.exists(full.models[other])


def test_prune_asks_on_a_terminal_only_if_there_is_something(full: FullCache) -> None:
    screen = run_on_terminal("prune", answer="n\n", NO_COLOR="1")
    assert "Would remove 1 unfinished download and 1 replaced copy, 103 kB:" in screen and os.path.exists(full.parts)
    assert "dry run" not in screen
    assert "Removed 1 unfinished" in run_on_terminal("prune", answer="y\n", NO_COLOR="1") and not os.path.exists(full.parts)
    screen = run_on_terminal("prune", answer="n\n", NO_COLOR="1")
    assert "Remove this?" not in screen and "Removed nothing." in screen


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("command", ["prune --max-size 1B --dry-run", "rm --all --dry-run", "ls", "ls --sort used"])
def test_screens_fit(full: FullCache, command: str, columns: int) -> None:
    screen = run_on_terminal(*command.split(), columns=columns)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", screen)
    rows = [line for line in plain.splitlines() if " ago" in line or line.endswith("  ok")]
    assert len(rows) >= 5 and all(len(line) <= columns for line in rows), plain
    assert "m0.tar.gz" in plain or columns < 80
    assert "\x1b" not in run_on_terminal(*command.split(), columns=columns, NO_COLOR="1")


def test_ls_sorts_and_filters(full: FullCache) -> None:
    handles = [*full.models]
    assert run_cli("ls", "-q", "--sort", "used")[1].split()[:3] == handles
    assert run_cli("ls", "-q", "--filter", "used>18.5h size>1kB")[1].split() == handles[:2]
    assert run_cli("ls", "-q", "--filter", "used>18.5h", "--filter", "!name=*m0*")[1].split() == [handles[1]]
    run_cli("keep", handles[0])
    assert run_cli("ls", "-q", "--filter", "kept")[1].split() == [handles[0]]
    assert "ok (kept)" in run_cli("ls")[1]
    code, out, err = run_cli("ls", "--filter", "used")
    assert code == 2 and out == "" and "Quote them" in err
    assert run_cli("ls", "--sort", "age")[0] == 2


def test_counts() -> None:
    assert removals.format_kind("repository", 2) == "2 hub repositories" and removals.format_kind("model", 1) == "1 model"
