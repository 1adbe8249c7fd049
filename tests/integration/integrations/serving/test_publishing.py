"""``fetch``, ``resolve --output`` and ``sync --layout``: models in directories of the user."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.cli import run_cli, run_on_terminal
from tests.fakes.models_file import make_entry, project, write
from tests.fakes.origin import Origin
from tests.fakes.serving import list_staging, make_files, read_published, take_snapshot
from tests.fakes.signing import make_key, trust_prefix, with_signature
from tests.fakes.use_locks import give_up_all
from tfimm_resolver.errors import HandleError, NotASavedModelError
from tfimm_resolver.integrations import serving
from tfimm_resolver.integrations.serving.outcome import Published

__all__ = ["project"]


@pytest.fixture
def url(origin: Origin) -> str:
    """The URL of a model."""
    return origin.put("/half/3.tar.gz", tar_gz())


def test_a_model_is_published_once_and_no_byte_is_downloaded_or_written_again(
    url: str, origin: Origin, tmp_path: Path
) -> None:
    target = tmp_path / "models" / "half"
    assert serving.publish(url, target) == Published(url, str(target), None, "published", 815, 3, linked=3)
    before = take_snapshot(target)
    assert serving.publish(url, target).state == "unchanged"
    assert take_snapshot(target) == before and origin.requests == ["/half/3.tar.gz"]


def test_the_links_are_those_of_the_cache_and_a_server_keeps_them_when_it_is_pruned(url: str, tmp_path: Path) -> None:
    assert run_cli("fetch", url, str(tmp_path / "half"), "--layout", "tf-serving")[0] == 0
    published, cached = tmp_path / "half" / "3", Path(tfimm_resolver.resolve(url))
    assert (published / "saved_model.pb").samefile(cached / "saved_model.pb")
    with open(published / "variables" / "variables.index", "rb") as served:
        give_up_all()
        for path in (cached / "saved_model.pb", cached):
            os.utime(path, (1, 1))
        code, _, err = run_cli("prune", "--max-size", "0", "--yes")
        assert code == 0 and not cached.exists(), err
        assert served.read() == MODEL["variables/variables.index"]
    assert read_published(published) == MODEL


def test_publishing_is_reported_with_the_path_of_the_model(url: str, tmp_path: Path) -> None:
    seen: list[Mapping[str, Any]] = []
    with tfimm_resolver.on_event(seen.append):
        serving.publish(url, tmp_path / "half")
    assert tfimm_resolver.resolve(url) in {event.get("path") for event in seen}


SIGNED_LAYOUTS = {"flat": "half", "tf-serving": "half/1"}


@pytest.mark.parametrize("way", ["rule", "rule for a name", "signer in the record"])
@pytest.mark.parametrize("layout", SIGNED_LAYOUTS)
def test_a_signed_model_is_copied_so_that_no_program_changes_the_cached_files(
    layout: str, way: str, origin: Origin, tmp_path: Path, project: Path
) -> None:
    key, config = make_key(tmp_path), tmp_path / "home/.config/tfimm_resolver/config.toml"
    signer = f'{{ key = "{key.public_path}" }}'
    url, handle = origin.put("/m.tar.gz", tar_gz(with_signature(key, MODEL))), "half"
    write(project, make_entry("half", url, *([f"signer = {signer}"] if way == "rule for a name" else [])))
    if way != "rule for a name":
        trust_prefix(config, f"{origin.url}/", signer)
    published = serving.publish(handle, tmp_path / "half", layout=layout)
    if way == "signer in the record":
        config.unlink()
        published = serving.publish(handle, tmp_path / "other", layout=layout)
    cached = Path(tfimm_resolver.resolve(handle))
    assert published.linked == 0
    for path in ("saved_model.pb", "variables/variables.index"):
        (Path(published.path) / path).write_bytes(b"changed")
        assert (cached / path).read_bytes() == MODEL[path] and (cached / path).stat().st_nlink == 1


@pytest.mark.parametrize("layout", SIGNED_LAYOUTS)
def test_links_from_before_a_rule_are_replaced(layout: str, origin: Origin, tmp_path: Path) -> None:
    key = make_key(tmp_path)
    url = origin.put("/m.tar.gz", tar_gz(with_signature(key, MODEL)))
    target = tmp_path / SIGNED_LAYOUTS[layout]
    assert serving.publish(url, tmp_path / "half", layout=layout).linked == 4
    trust_prefix(tmp_path / "home/.config/tfimm_resolver/config.toml", url, f'{{ key = "{key.public_path}" }}')
    cached = Path(tfimm_resolver.resolve(url))
    assert (cached / "saved_model.pb").samefile(target / "saved_model.pb")
    assert serving.publish(url, tmp_path / "half", layout=layout).state == "published"
    assert not (cached / "saved_model.pb").samefile(target / "saved_model.pb")
    assert read_published(target) == files_in(cached)
    assert serving.publish(url, tmp_path / "half", layout=layout).state == "unchanged"


def test_a_directory_of_the_user_is_copied_since_it_may_be_edited(tmp_path: Path) -> None:
    for path, data in MODEL.items():
        (tmp_path / "mine" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / path).write_bytes(data)
    assert serving.publish(tmp_path / "mine", tmp_path / "half").linked == 0
    (tmp_path / "mine" / "saved_model.pb").write_bytes(b"edited")
    assert read_published(tmp_path / "half") == MODEL
    assert serving.publish(tmp_path / "mine", tmp_path / "half").state == "published"
    assert (tmp_path / "half" / "saved_model.pb").read_bytes() == b"edited"


@pytest.mark.parametrize(
    ("path", "version"), [("/half/3.tar.gz", 3), ("/half/7", 7), ("/half/7/", 7), ("/half_5.tar.gz", 1), ("/v5/m.tar.gz", 1)]
)
def test_the_version_is_the_number_at_the_end_of_the_handle(path: str, version: int, origin: Origin, tmp_path: Path) -> None:
    is_archive = path.endswith(".gz")
    handle = origin.put(path, tar_gz()) if is_archive else origin.put_model(path, tar_gz())
    assert serving.publish(handle, tmp_path / "served", layout="tf-serving").version == version
    assert read_published(tmp_path / "served" / str(version)) == MODEL


def test_a_chosen_subdirectory_is_the_model(origin: Origin, tmp_path: Path) -> None:
    files = {f"export/{number}/{name}": data for number in (2, 4) for name, data in make_files(number).items()}
    handle = origin.put("/m.tar.gz", tar_gz(files)) + "#subdirectory=export/2"
    assert serving.publish(handle, tmp_path / "served", layout="tf-serving").version == 2
    assert read_published(tmp_path / "served" / "2") == make_files(2)


def test_versions_in_an_archive_keep_their_number(origin: Origin, tmp_path: Path) -> None:
    files = {f"{number}/{name}": data for number in (4, 6) for name, data in make_files(number).items()}
    handle = origin.put("/m.tar.gz", tar_gz(files))
    assert serving.publish(handle, tmp_path / "served", layout="tf-serving").version == 6
    assert read_published(tmp_path / "served" / "6") == make_files(6)


def test_a_refreshed_model_becomes_a_version_that_a_server_loads(url: str, origin: Origin, tmp_path: Path) -> None:
    base = tmp_path / "served"
    serving.publish(url, base, layout="tf-serving")
    origin.put("/half/3.tar.gz", tar_gz(make_files(2)))
    assert serving.publish(url, base, layout="tf-serving").state == "unchanged"
    assert serving.publish(url, base, layout="tf-serving", refresh=True).version == 4
    assert read_published(base / "4") == make_files(2) and read_published(base / "3") == MODEL


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layout": "triton"}, "layout 'triton' is not known"),
        ({"version": 3}, "flat has no versions"),
        ({"layout": "tf-serving", "version": -1}, "not the number of a version"),
        ({"layout": "tf-serving", "version": 1 << 63}, "not the number of a version"),
        ({"layout": "tf-serving", "keep": 0}, "cannot stay"),
    ],
)
def test_wrong_arguments_are_an_error_before_anything_is_fetched(
    arguments: dict[str, object], words: str, url: str, origin: Origin, tmp_path: Path
) -> None:
    with pytest.raises(HandleError, match=words):
        serving.publish(url, tmp_path / "half", **arguments)  # type: ignore[arg-type]
    assert origin.requests == [] and not (tmp_path / "half").exists()


def test_a_url_is_not_a_directory(url: str) -> None:
    with pytest.raises(HandleError, match="not a directory of this machine"):
        serving.publish(url, "gs://bucket/models")


def test_what_tensorflow_serving_cannot_load_is_refused(origin: Origin, tmp_path: Path) -> None:
    files = {f"{name}/saved_model.pb": b"a graph" for name in ("lion", "tiger")}
    handle = origin.put("/m.tar.gz", tar_gz(files))
    with pytest.raises(NotASavedModelError) as caught:
        serving.publish(handle, tmp_path / "served", layout="tf-serving")
    assert "#subdirectory=lion" in caught.value.fix and not (tmp_path / "served").exists()
    assert serving.publish(handle, tmp_path / "flat").files == 2


def test_the_command_prints_a_path_for_each_and_reports_on_stderr(url: str, tmp_path: Path) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    code, out, err = run_cli("fetch", url, one, f"tfimm+{url}", other)
    assert (code, out) == (0, f"{one}\n{other}\n")
    assert f"{one} is {url} now: 3 files, 815 B, 3 of them linked to the cache." in err
    code, out, err = run_cli("-q", "fetch", url, one, url, other)
    assert (code, out, err) == (0, f"{one}\n{other}\n", "")


def test_a_failure_is_the_last_line_on_stderr_and_does_not_stop_the_others(url: str, origin: Origin, tmp_path: Path) -> None:
    gone = f"{origin.url}/gone.tar.gz"
    code, out, err = run_cli("fetch", gone, str(tmp_path / "gone"), url, str(tmp_path / "half"))
    assert (code, out) == (3, f"{tmp_path}/half\n") and not (tmp_path / "gone").exists()
    last = err.splitlines()[-1]
    assert last.startswith(f"error: 1 of 2 models could not be published: {gone} answered 404") and last.endswith(".")
    code, out, err = run_cli("fetch", gone, str(tmp_path / "gone"), "--json")
    assert code == 3 and json.loads(out)["error"]["code"] == "not-found"
    assert err.splitlines()[-1].startswith(f"error: {gone} answered 404")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["HANDLE"], "needs a DIR"),
        (["HANDLE", "a", "HANDLE", "./a/"], "is given for two models"),
        (["HANDLE", "a", "--version", "1"], "--version can only be used"),
        (["HANDLE", "a", "--keep", "0", "--layout", "tf-serving"], "--keep"),
        (["HANDLE", "a", "--layout", "other"], "--layout"),
    ],
)
def test_wrong_options_are_an_error(arguments: list[str], words: str) -> None:
    code, _, err = run_cli("fetch", *arguments)
    assert code == 2 and words in err


def test_resolve_can_put_a_model_into_a_directory(url: str, tmp_path: Path) -> None:
    target = str(tmp_path / "half")
    assert run_cli("resolve", url, "--output", target)[:2] == (0, f"{target}\n")
    assert read_published(target) == MODEL
    code, _, err = run_cli("resolve", url, url, "-o", target)
    assert code == 2 and "only be used with one HANDLE" in err


def sync_tree(*arguments: str) -> tuple[int, str, str]:
    return run_cli("sync", "--layout", "tf-serving", "served", *arguments)


def test_sync_publishes_all_models_of_the_models_file(project: Path, url: str, origin: Origin) -> None:
    other = origin.put("/other.tar.gz", tar_gz(make_files(2)))
    write(project, make_entry("half", url) + make_entry("other", other))
    code, out, err = sync_tree()
    assert code == 0 and "fetched  half" in out, err
    assert read_published(project / "served" / "half" / "3") == MODEL
    assert read_published(project / "served" / "other" / "1") == make_files(2)
    config = (project / "served" / "models.config").read_text()
    assert f'base_path: "{project}/served/half"' in config and 'name: "other"' in config
    before = take_snapshot(project / "served")
    assert sync_tree()[0] == 0 and take_snapshot(project / "served") == before
    facts = json.loads(sync_tree("half", "--json", "--base-path", "/models")[1])
    assert facts["models"][0]["published"]["state"] == "unchanged" and len(facts["models"]) == 1
    config = (project / "served" / "models.config").read_text()
    assert 'base_path: "/models/half"' in config and 'base_path: "/models/other"' in config


def test_a_model_that_fails_stays_served_and_does_not_stop_the_others(project: Path, url: str, origin: Origin) -> None:
    other = origin.put("/other.tar.gz", tar_gz(make_files(2)))
    write(project, make_entry("other", other))
    assert sync_tree()[0] == 0
    write(project, make_entry("half", url) + make_entry("other", f"{origin.url}/gone.tar.gz"))
    code, _, err = sync_tree()
    assert code == 3 and "answered 404" in err
    config = (project / "served" / "models.config").read_text()
    assert 'name: "half"' in config and 'name: "other"' in config


def test_a_version_that_another_program_wrote_is_an_error_of_that_model_alone(project: Path, url: str) -> None:
    write(project, make_entry("half", url) + make_entry("other", url))
    (project / "served" / "half").mkdir(parents=True)
    (project / "served" / "half" / "3").write_text("mine")
    code, _, err = sync_tree()
    assert code == 4 and "did not write what is there" in err and (project / "served" / "half" / "3").read_text() == "mine"
    assert read_published(project / "served" / "other" / "3") == MODEL
    facts = json.loads(sync_tree("--json")[1])
    assert [model.get("error", {}).get("code") for model in facts["models"]] == ["cache", None]


def test_a_foreign_models_config_is_an_error_before_anything_is_fetched(project: Path, url: str, origin: Origin) -> None:
    write(project, make_entry("half", url))
    (project / "served").mkdir()
    (project / "served" / "models.config").write_text("model_config_list {}")
    code, _, err = sync_tree()
    assert code == 4 and "was not written by tfimm_resolver" in err and origin.requests == []
    assert (project / "served" / "models.config").read_text() == "model_config_list {}"


def test_sync_without_a_layout_publishes_nothing(project: Path, url: str) -> None:
    write(project, make_entry("half", url))
    assert run_cli("sync")[0] == 0
    assert os.listdir(project) == ["tfimm-models.toml"] and list_staging(project) == []
    code, _, err = sync_tree("--check")
    assert code == 2 and "cannot be used together" in err


def test_on_a_terminal_a_failure_has_the_lines_that_resolve_prints_and_elsewhere_one(url: str, tmp_path: Path) -> None:
    shown = run_on_terminal("resolve", "./nosuch", NO_COLOR="1")
    assert "\n  looked at: " in shown.replace("\r", "")
    assert run_on_terminal("fetch", "./nosuch", str(tmp_path / "m"), NO_COLOR="1") == shown
    both = run_on_terminal("fetch", "./nosuch", str(tmp_path / "m"), url, str(tmp_path / "n"), NO_COLOR="1")
    assert shown in both and both.rstrip().endswith("1 of 2 models could not be published.")
    code, _, err = run_cli("fetch", "./nosuch", str(tmp_path / "m"))
    assert code == 2 and len(err.splitlines()) == 1
