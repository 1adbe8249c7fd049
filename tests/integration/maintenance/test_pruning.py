"""Tests of ``maintenance.pruning``, and of the commands ``prune``, ``keep`` and ``unkeep``."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, tar_gz
from tests.fakes.cli import run_cli, run_on_terminal
from tests.fakes.origin import Origin
from tests.fakes.processes import start
from tests.fakes.use_locks import give_up_all
from tfimm_resolver import project, resolve
from tfimm_resolver.errors import CacheError, HandleError, UnknownHandleError
from tfimm_resolver.maintenance import pruning

COUNT, SIZE_BYTES, HOUR_S = 4, 100_000, 3600
FILES = {**MODEL, "assets/large": os.urandom(SIZE_BYTES)}
USE = """
    import sys, tfimm_resolver
    print(tfimm_resolver.resolve(sys.argv[1]), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def models(origin: Origin) -> dict[str, str]:
    """Handles and paths of cached models that no process uses, the least recently used first."""
    handles = [origin.put(f"/m{number}.tar.gz", tar_gz(FILES)) for number in range(COUNT)]
    paths = {handle: resolve(handle) for handle in handles}
    give_up_all()
    for hours, path in zip(range(10, 0, -1), paths.values(), strict=False):
        make_old(path, hours * HOUR_S)
    return paths


def make_old(path: str, age_s: float) -> None:
    used_s = time.time() - age_s
    for other in (*map(str, Path(path).rglob("*")), path):
        os.utime(other, (used_s, used_s))


def list_present(models: dict[str, str]) -> list[int]:
    return [number for number, path in enumerate(models.values()) if os.path.exists(path)]


def test_a_dry_run_tells_exactly_what_the_next_run_does(models: dict[str, str]) -> None:
    dry = pruning.prune(max_size="250kB", dry_run=True)
    assert dry.is_dry_run and list_present(models) == [0, 1, 2, 3]
    done = pruning.prune(max_size="250kB")
    assert (done.removed, done.before_bytes, done.after_bytes) == (dry.removed, dry.before_bytes, dry.after_bytes)
    assert [item.name for item in done.removed] == list(models)[:2] and list_present(models) == [2, 3]
    assert done.freed_bytes == sum(item.size_bytes for item in done.removed)


def test_models_that_were_not_used_for_long_go(models: dict[str, str]) -> None:
    assert [item.path for item in pruning.prune(max_age="8.5h").removed] == list(models.values())[:2]


def test_without_a_limit_only_what_is_unfinished_goes(models: dict[str, str], cache_dir: Path) -> None:
    parts = cache_dir / f"{'1' * 40}.parts"
    parts.mkdir()
    (parts / "part").write_bytes(bytes(1000))
    make_old(str(parts), 2 * HOUR_S)
    (removed,) = pruning.prune().removed
    assert (removed.kind, removed.size_bytes, removed.path) == ("partial download", 1000, str(parts))
    assert not parts.exists() and list_present(models) == [0, 1, 2, 3]


def test_models_to_keep_are_spared_this_time(models: dict[str, str]) -> None:
    result = pruning.prune(max_size="1kB", keep=next(iter(models)))
    assert list_present(models) == [0] and result.spared == {"protected": 1}
    assert pruning.prune(max_size="1kB", dry_run=True).removed != ()


def test_kept_models_stay_until_that_is_undone(models: dict[str, str]) -> None:
    first = next(iter(models))
    assert [model.name for model in pruning.keep(first)] == [first]
    assert list_present(models) == [0, 1, 2, 3] and pruning.prune(max_size="1kB").spared == {"protected": 1}
    assert list_present(models) == [0]
    assert [model.path for model in pruning.unkeep([first])] == [models[first]]
    pruning.prune(max_size="1kB")
    assert list_present(models) == []


def test_models_of_a_project_go_last_and_only_by_command(
    models: dict[str, str], origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, last = next(iter(models)), list(models)[-1]
    project.add("first", first)
    give_up_all()
    for handle, hours in ((first, 20), (last, 10)):
        make_old(models[handle], hours * HOUR_S)
    assert [item.name for item in pruning.prune(max_size="1kB", dry_run=True).removed][-1] == first
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", "1kB")
    resolve(origin.put("/new.tar.gz", tar_gz()))
    assert list_present(models) == [0]
    assert [item.name for item in pruning.prune().removed] == [first]


@pytest.mark.parametrize("command", ["keep", "unkeep"])
def test_a_model_that_is_only_in_an_extra_root_cannot_be_kept(
    command: str, models: dict[str, str], cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = next(iter(models))
    cache_dir.rename(tmp_path / "extra")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "extra"))
    code, _, err = run_cli(command, handle)
    assert code == CacheError.exit_code and f"{tmp_path}/extra, an extra root, which is read-only" in err
    resolve(handle, refresh=True)
    assert run_cli(command, handle)[0] == 0


def test_wrong_arguments(models: dict[str, str]) -> None:
    for arguments, kind in (
        ({"max_size": "big"}, HandleError),
        ({"max_age": "old"}, HandleError),
        ({"keep": ["no_such_model"]}, UnknownHandleError),
    ):
        with pytest.raises(kind):
            pruning.prune(**arguments)  # type: ignore[arg-type]
    assert list_present(models) == [0, 1, 2, 3]


def test_nothing_is_cached(cache_dir: Path) -> None:
    assert pruning.prune(max_size="1kB").removed == () and not cache_dir.exists()


def test_a_bucket_is_not_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    with pytest.raises(CacheError, match="is a bucket, in which models are not removed by size or age"):
        pruning.prune(max_size="1kB")


def test_the_command_spares_what_another_process_uses(models: dict[str, str]) -> None:
    handle = next(iter(models))
    with start(USE, handle, stdin=subprocess.PIPE) as process:  # type: ignore[arg-type]
        try:
            assert process.stdout is not None and process.stdout.readline().strip() == models[handle]
            make_old(models[handle], 10 * HOUR_S)
            code, out, err = run_cli("prune", "--max-size", "1kB")
            assert code == 0 and list_present(models) == [0] and "Kept: 1 in use." in err, err
            assert len(out.splitlines()) == 3 and "Removed 3 models, 302 kB:" in err and "used 9 h ago" in out
            code, _, err = run_cli("rm", handle)
            assert code == 4 and f"is in use by process {process.pid}" in err and list_present(models) == [0]
        finally:
            process.kill()


def test_the_command_prints_json(models: dict[str, str]) -> None:
    facts = json.loads(run_cli("--json", "prune", "--max-size", "250kB", "--dry-run")[1])
    assert [item["name"] for item in facts["removed"]] == list(models)[:2] and facts["dry_run"] is True
    assert facts["freed_bytes"] == facts["before_bytes"] - facts["after_bytes"] > 0 and facts["spared"] == {}
    assert set(facts["removed"][0]) == {"name", "kind", "path", "size_bytes", "used_at"}
    again = json.loads(run_cli("--json", "prune", "--max-size", "250kB")[1])
    assert {**again, "dry_run": True} == facts and list_present(models) == [2, 3]


def test_the_command_shows_what_would_go(models: dict[str, str]) -> None:
    shown = run_on_terminal("prune", "--max-size", "250kB", "--dry-run")
    assert "Would remove 2 models, 202 kB:" in shown and "403 kB -> 202 kB.  Nothing was removed (dry run)." in shown
    assert next(iter(models)) in shown and "used 10 h ago" in shown and list_present(models) == [0, 1, 2, 3]


def test_the_commands_keep_and_unkeep(models: dict[str, str]) -> None:
    first = next(iter(models))
    assert run_cli("keep", first)[0] == 0
    run_cli("prune", "--max-size", "1kB", "-y")
    assert list_present(models) == [0]
    code, out, _ = run_cli("--json", "unkeep", first)
    assert code == 0 and json.loads(out)["models"][0]["name"] == first
    assert run_cli("keep", "no_such_model")[0] != 0
    run_cli("prune", "--max-size", "1kB", "-y")
    assert list_present(models) == []
