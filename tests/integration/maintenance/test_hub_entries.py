"""Repositories and weights that the hub has fetched are listed, verified, removed and evicted like models."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.full_cache import HOUR_S, FullCache, make_old
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.processes import start
from tests.fakes.use_locks import give_up_all
from tfimm_resolver import bundles, hub, maintenance, resolve, settings
from tfimm_resolver.errors import CacheError, HandleError, UnknownHandleError
from tfimm_resolver.hub import downloads
from tfimm_resolver.maintenance import hub_entries

LOAD = """
    import sys
    from tfimm_resolver import hub
    hub.list("ada/models", trust_repo=True, verbose=False)
    hub.load_state_dict_from_url(sys.argv[1], progress=False)
    print("loaded", flush=True)
    sys.stdin.read()
"""


def list_hub() -> dict[str, str]:
    """Return the kinds of what the hub has fetched, by name."""
    return {model.name: model.kind for model in maintenance.list() if model.kind != "model"}


@pytest.fixture
def names(full: FullCache) -> tuple[str, str]:
    """The names of the repository and of the weights."""
    repository, weights = sorted(list_hub(), key=lambda name: name == "hub:w.npz")
    return repository, weights


def test_they_are_listed_under_names_that_are_accepted(full: FullCache, names: tuple[str, str]) -> None:
    repository, weights = names
    assert repository.startswith("hub:") and repository.endswith("/ada/models:main") and weights == "hub:w.npz"
    assert list_hub() == {repository: "repository", weights: "weights"}
    for name, path in ((repository, full.repository), (weights, os.path.dirname(full.weights))):
        (model,) = maintenance.select(name)
        assert (model.path, model.state, model.is_read_only) == (path, "ok", False) and model.size_bytes > 0
        assert maintenance.select(path) == [model]
    assert len(maintenance.list()) == 5


def test_a_handle_of_the_hub_is_accepted_if_no_model_has_it(full: FullCache, origin: Origin) -> None:
    (weights,) = maintenance.select(f"{origin.url}/w.npz")
    (repository,) = maintenance.select("ada/models:main")
    assert (weights.kind, repository.kind) == ("weights", "repository")
    assert maintenance.select("w.npz") == [weights]
    for text in ("ada/models", "ada/models:other", "w.np", "ada_models", "w-npz-"):
        with pytest.raises(UnknownHandleError):
            maintenance.select(text)


def test_files_of_one_name_have_different_names(full: FullCache, origin: Origin) -> None:
    other = origin.put("/other/w.npz", Path(full.weights).read_bytes())
    hub.load_state_dict_from_url(other, progress=False)
    weights = [name for name, kind in list_hub().items() if kind == "weights"]
    assert len(weights) == 2 and all(name.startswith("hub:w-npz-") for name in weights)
    assert [maintenance.select(name)[0].name for name in weights] == weights


def test_they_are_verified_and_a_damaged_one_is_removed_to_be_fetched_again(
    full: FullCache, names: tuple[str, str], origin: Origin
) -> None:
    assert {result.state for result in maintenance.verify()} == {"ok"}
    data = Path(full.weights).read_bytes()
    Path(full.weights).write_bytes(data[:-1] + b"x")
    (result,) = maintenance.verify([names[1]], repair=True)
    assert (result.state, result.is_repaired) == ("damaged", False)
    assert result.error is not None and "rm hub:w.npz" in result.error.advice.command
    maintenance.remove(names[1])
    hub.load_state_dict_from_url(f"{origin.url}/w.npz", progress=False)
    assert Path(full.weights).read_bytes() == data and maintenance.verify([names[1]])[0].state == "ok"


def test_they_are_removed_with_their_records(full: FullCache, names: tuple[str, str]) -> None:
    results = maintenance.remove(names)
    assert [result.state for result in results] == ["removed"] * 2 and all(result.freed_bytes for result in results)
    assert list_hub() == {} and not os.path.exists(full.repository) and not os.path.exists(full.weights)
    left = {path.name for path in Path(hub.get_dir()).rglob("*") if path.is_file()}
    assert "trusted_list" in left and not any(name.endswith(".descriptor.txt") for name in left)
    assert len(maintenance.list()) == len(full.models)


def test_they_are_not_removed_while_a_process_uses_them(full: FullCache, names: tuple[str, str], origin: Origin) -> None:
    with start(LOAD, f"{origin.url}/w.npz", stdin=subprocess.PIPE) as process:  # type: ignore[arg-type]
        try:
            assert process.stdout is not None and process.stdout.readline() == "loaded\n"
            for result in maintenance.remove(names):
                assert result.state == "failed" and f"in use by process {process.pid}" in str(result.error)
            for path in (full.repository, os.path.dirname(full.weights)):
                make_old(path, 30 * HOUR_S)
            result = maintenance.prune(max_size="1B")
            assert result.spared == {"in use": 2} and os.path.exists(full.repository) and os.path.exists(full.weights)
        finally:
            process.kill()
    give_up_all()
    assert {item.kind for item in maintenance.prune(max_size="1B").removed} == {"repository", "weights"}


def test_they_count_and_are_evicted_the_least_recently_used_first(
    full: FullCache, names: tuple[str, str], origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_old(os.path.dirname(full.weights), 90 * HOUR_S)
    dry = maintenance.prune(max_age="60h", dry_run=True)
    assert ("hub:w.npz", "weights") in [(item.name, item.kind) for item in dry.removed]
    used = maintenance.measure().total_bytes
    assert dry.before_bytes == used
    maintenance.keep("hub:w.npz")
    assert [model.name for model in maintenance.list(filters="kept")] == ["hub:w.npz"]
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", "1kB")
    resolve(f"{origin.url}/m0.tar.gz", refresh=True)
    assert list_hub() == {"hub:w.npz": "weights"}
    maintenance.unkeep("hub:w.npz")
    maintenance.prune()
    assert list_hub() == {}


def test_a_fetch_of_the_hub_evicts_models(full: FullCache, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", "150kB")
    data = Path(full.weights).read_bytes()
    hub.load_state_dict_from_url(origin.put("/new.npz", data), progress=False)
    assert not os.path.exists(next(iter(full.models.values()))) and "hub:new.npz" in list_hub()
    assert maintenance.measure().total_bytes < 150_000


@pytest.mark.parametrize("kind", ["repository", "weights"])
def test_what_is_larger_than_its_download_evicts_afterwards(
    kind: str, full: FullCache, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = "0" * 300_000
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", "600kB")
    if kind == "weights":
        url = origin.put("/w.tar.gz", tar_gz({"large": large.encode()}))
        downloads.fetch_weights(url, None, None, check_hash=False, progress=False)
    else:
        full.host.repo("ada/large", {"hubconf.py": "", "large": large})
        hub.list("ada/large", trust_repo=True, verbose=False)
    assert 300_000 < maintenance.measure().total_bytes <= 600_000 * 0.9


def test_a_wrong_limit_is_an_error_before_the_hub_downloads(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", "50 apples")
    with pytest.raises(HandleError, match="TFIMM_RESOLVER_MAX_SIZE"):
        hub.load_state_dict_from_url(origin.put("/w.npz", b"x"), progress=False)
    assert origin.requests == []


def test_directories_of_a_user_are_left_alone(full: FullCache, names: tuple[str, str]) -> None:
    mine = [put_model(Path(hub.get_dir()) / name) for name in ("my_own_code", "my_own_code.0123abcd")]
    for path in mine:
        make_old(str(path), 900 * HOUR_S)
    assert set(list_hub()) == {*names}
    maintenance.prune(max_size="1B")
    assert all(path.exists() for path in mine) and list_hub() == {}


def test_a_hub_that_others_can_write_is_skipped(full: FullCache, caplog: pytest.LogCaptureFixture) -> None:
    Path(hub.get_dir()).chmod(0o777)
    assert list_hub() == {} and len(maintenance.list()) == len(full.models) and "skipped: " in caplog.text
    maintenance.prune(max_size="1B")
    assert os.path.exists(full.repository) and os.path.exists(full.weights)


def test_an_entry_of_a_hub_that_is_gone_is_an_error(full: FullCache, names: tuple[str, str]) -> None:
    (model,) = maintenance.select(names[0])
    hub.set_dir("/nonexistent/hub")
    try:
        with pytest.raises(CacheError, match="can no longer be used"):
            hub_entries.open_owner(model)
        with pytest.raises(CacheError):
            maintenance.remove(model)
    finally:
        hub.set_dir(None)


def test_they_are_not_models(full: FullCache, names: tuple[str, str], tmp_path: Path) -> None:
    for name in names:
        with pytest.raises(UnknownHandleError) as caught:
            resolve(name)
        assert "repositories and weights" in caught.value.advice.command
        with pytest.raises(UnknownHandleError):
            bundles.export([name], tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


def test_a_bucket_as_the_root_of_names_has_no_hub(monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    monkeypatch.delenv("TFIMM_HUB_DIR", raising=False)
    monkeypatch.setenv("TFIMM_HOME", "gs://bucket/names")
    assert settings.is_bucket(hub.get_dir()) and [*hub_entries.list_hub_entries()] == []


def test_the_commands(full: FullCache, names: tuple[str, str]) -> None:
    repository, weights = names
    assert {repository, weights} <= {*run_cli("ls", "-q")[1].split()}
    assert run_cli("ls", "-q", "--filter", "kind=weights")[1] == "hub:w.npz\n"
    assert run_cli("verify", weights)[0] == 0
    code, out, err = run_cli("rm", weights)
    assert code == 0 and weights in out and "Removed 1 weights file" in err
    assert run_cli("rm", weights)[0] == 2
