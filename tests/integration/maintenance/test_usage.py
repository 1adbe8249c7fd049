"""Tests of ``maintenance.usage`` and the command ``du``: all that the caches hold, by name, by kind and in total."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fakes.cli import run_cli, run_on_terminal
from tests.fakes.full_cache import FullCache
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tfimm_resolver import maintenance, settings
from tfimm_resolver.cache import contents
from tfimm_resolver.errors import HandleError
from tfimm_resolver.maintenance import cache_item
from tfimm_resolver.maintenance.cache_item import CacheItem


def measure_files(path: str) -> int:
    return sum(file.stat().st_size for file in Path(path).rglob("*") if file.is_file())


def test_everything_is_counted_once_under_its_name(full: FullCache, origin: Origin) -> None:
    usage = maintenance.measure()
    assert {item.path: item.size_bytes for item in usage.items} == {path: measure_files(path) for path in full.directories}
    counts = {kind: count for kind, (count, _) in usage.kinds().items()}
    assert counts == {"model": 3, "repository": 1, "weights": 1, "partial download": 1, "replaced copy": 1}
    assert usage.total_bytes == sum(size for _, size in usage.kinds().values()) == sum(map(measure_files, full.directories))
    sizes = [item.size_bytes for item in usage.items]
    assert sizes == sorted(sizes, reverse=True)
    names = {item.path: item.name for item in usage.items}
    assert names[full.replaced] == f"{origin.url}/m2.tar.gz" and names[full.parts] == os.path.basename(full.parts)
    assert {names[path] for path in full.models.values()} == set(full.models)


def test_names_are_those_of_the_inventory(full: FullCache) -> None:
    listed = {model.path: model.name for model in maintenance.list()}
    assert listed == {item.path: item.name for item in maintenance.measure().items if item.path in listed}


def test_a_partial_download_is_named_by_what_was_requested(full: FullCache) -> None:
    info = {"place": "https://h.example/m.tar.gz", "boot": "", "validator": "", "size_bytes": 1, "range_bytes": 1}
    Path(full.parts, "of.json").write_text(json.dumps(info))
    (item,) = (item for item in maintenance.measure().items if item.kind == contents.PARTIAL)
    assert item.name == "https://h.example/m.tar.gz"
    for text in ("", "{}", "[]", '{"place": 5'):
        Path(full.parts, "of.json").write_text(text)
        (item,) = (item for item in maintenance.measure().items if item.kind == contents.PARTIAL)
        assert item.name == os.path.basename(full.parts)


def test_the_limit_and_the_free_space(full: FullCache, monkeypatch: pytest.MonkeyPatch) -> None:
    assert maintenance.measure().max_bytes is None and (maintenance.measure().free_bytes or 0) > 0
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", "50GB")
    usage = maintenance.measure()
    assert (usage.max_bytes, usage.max_source) == (50 * 10**9, "TFIMM_RESOLVER_MAX_SIZE")
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", "50 apples")
    with pytest.raises(HandleError):
        maintenance.measure()


@pytest.mark.parametrize(("limit", "max_bytes"), [("50GB", 50 * 10**9), ("20%", None)])
def test_a_limit_on_a_disk_of_unknown_size(
    limit: str, max_bytes: int | None, full: FullCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=0, used=0, free=0))  # as some FUSE mounts do
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", limit)
    usage = maintenance.measure()
    assert (usage.max_bytes, usage.free_bytes) == (max_bytes, None)


def test_models_by_name_are_counted_apart(full: FullCache, tmp_path: Path) -> None:
    before = maintenance.measure()
    settings.set_dir(tmp_path / "names")
    path = put_model(tmp_path / "names/resnet18")
    usage = maintenance.measure()
    assert usage.named_bytes == measure_files(str(path)) > 0 == before.named_bytes
    assert all(item.path != str(path) for item in usage.items)


def test_nothing_is_cached(cache_dir: Path) -> None:
    usage = maintenance.measure()
    assert (usage.items, usage.total_bytes) == ((), 0) and usage.free_bytes and not cache_dir.exists()
    assert list(cache_item.describe_items([], [])) == []


def test_a_prune_measures_the_same(full: FullCache) -> None:
    assert maintenance.prune(dry_run=True).before_bytes == maintenance.measure().total_bytes


def test_the_command(full: FullCache) -> None:
    code, out, err = run_cli("du", TFIMM_RESOLVER_MAX_SIZE="1GB")
    lines = out.splitlines()
    assert code == 0 and err == "" and lines[0] == "   SIZE  MODEL" and len(lines) == 1 + 7 + 5 + 2
    for text in ("3 models", "1 hub repository", "1 weights file", "1 unfinished download", "1 replaced copy"):
        assert any(line.endswith(f"  {text}") for line in lines)
    assert any(line.endswith("(unfinished)") for line in lines) and any(line.endswith("(replaced copy)") for line in lines)
    assert lines[-2].endswith("in total, of 1.0 GB (TFIMM_RESOLVER_MAX_SIZE)") and lines[-1].endswith("free on the disk")
    assert run_cli("du", "-q")[1].splitlines()[-1] == "hub:ada/models:main" or len(run_cli("du", "-q")[1].splitlines()) == 7


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_screen_fits(full: FullCache, columns: int) -> None:
    screen = run_on_terminal("du", columns=columns, NO_COLOR="1")
    assert "\x1b" not in screen and max(map(len, screen.splitlines())) <= columns
    assert ("…" in screen) == (columns < 80)


def test_json(full: FullCache) -> None:
    facts = json.loads(run_cli("du", "--json")[1])
    assert facts["total_bytes"] == sum(item["size_bytes"] for item in facts["items"]) == maintenance.measure().total_bytes
    assert facts["max_bytes"] is None and facts["items"][0]["used_at"].endswith("Z")


def test_a_last_use_that_is_not_known_is_null() -> None:
    assert [CacheItem("m", "model", "/m", 9, used_s).facts()["used_at"] for used_s in (0.0, 1.0)] == [
        None,
        "1970-01-01T00:00:01Z",
    ]
