"""Tests of ``resolution.selection``: a SavedModel deeper inside, by every kind of handle, in every kind of root."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz, zip_of
from tests.fakes.buckets import ROOT, fill_s3
from tests.fakes.cli import run_cli
from tests.fakes.git_host import GitHost
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.stores.gcs import Gcs
from tests.fakes.stores.s3 import S3
from tfimm_resolver import bundles, cached_model_path, maintenance, project, resolve, set_model_cache
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import HandleError, IntegrityError, ModelsFileError, NotFoundError, UnknownHandleError
from tfimm_resolver.integrations.tensorflow_hub import HubResolver
from tfimm_resolver.resolution import selection

SERVO = "export/Servo/1531"


def below(*directories: str, **others: bytes) -> dict[str, bytes]:
    """Return the files of a model in each of the directories, and others."""
    return {f"{directory}/{name}": data for directory in directories for name, data in MODEL.items()} | others


SEVERAL = below("a/1", "b") | {"readme.md": b"x"}


@pytest.fixture
def project_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, in which the models file is written."""
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def get_tree(cache_dir: Path, key: str) -> str:
    """Return the directory of an entry in the cache."""
    return f"{cache_dir}/{entry_name_for_key(key)}"


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
@pytest.mark.parametrize(
    ("files", "directory"),
    [
        (MODEL, ""),
        (below("wrapper"), ""),
        (below(SERVO), SERVO),
        (below("wrapper/saved_model") | {"wrapper/checkpoint/x": b""}, "wrapper/saved_model"),
        (below("1") | {"code/inference.py": b""}, "1"),
        (below("model/0001", "model/0010", "model/0002"), "model/0010"),
        (SEVERAL, ""),
        ({"model.tflite": b"x"}, ""),
    ],
)
def test_an_archive_stays_as_packed_and_its_only_model_is_returned(
    files: dict[str, bytes], directory: str, suffix: str, origin: Origin, cache_dir: Path
) -> None:
    url = origin.put(f"/m{suffix}", zip_of(files) if suffix == ".zip" else tar_gz(files))
    tree = get_tree(cache_dir, url)
    paths = [resolve(url), resolve(url)]
    assert paths == [f"{tree}/{directory}".rstrip("/")] * 2 and len(origin.requests) == 1
    assert files_in(tree) == (MODEL if files == below("wrapper") else files)


def test_a_local_archive_and_a_local_directory_are_searched_too(tmp_path: Path) -> None:
    archive, base = tmp_path / "m.tar.gz", put_model(tmp_path / "base", below("1", "2"))
    archive.write_bytes(tar_gz(below(SERVO)))
    assert resolve(archive).endswith(f"/{SERVO}") and files_in(resolve(archive)) == MODEL
    assert resolve(base) == f"{base}/2" and resolve(f"{base}#subdirectory=1") == f"{base}/1"
    assert resolve(put_model(tmp_path / "several", SEVERAL)) == str(tmp_path / "several")


@pytest.mark.parametrize("name", ["saved_model.pb", "saved_model.pbtxt"])
def test_the_path_of_a_graph_stands_for_its_directory(name: str, tmp_path: Path) -> None:
    folder = put_model(tmp_path / "a b", {name: b"x"})
    for handle in (folder / name, str(folder / name), (folder / name).as_uri()):
        assert resolve(handle) == str(folder)
    with pytest.raises(UnknownHandleError):
        resolve(tmp_path / "gone" / name)


def test_a_subdirectory_is_chosen_and_is_not_part_of_the_key(origin: Origin, cache_dir: Path) -> None:
    archive = tar_gz(SEVERAL | below("c d/é&%"))
    url, pin = origin.put("/m.tar.gz", archive), hashlib.sha256(archive).hexdigest()
    tree = get_tree(cache_dir, url)
    for fragment, directory in {
        "#subdirectory=b": "b",
        "#subdirectory=a/1": "a/1",
        "#subdirectory=a": "a",
        "#subdirectory=./a//1/": "a/1",
        "#subdirectory=a/1/saved_model.pb": "a/1",
        "#subdirectory=a/1/variables": "a/1/variables",
        "#subdirectory=.": "",
        "#subdirectory=c%20d/%C3%A9%26%25": "c d/é&%",
        f"#sha256={pin}&subdirectory=b": "b",
        f"#subdirectory=b&sha256={pin}": "b",
    }.items():
        assert resolve(url + fragment) == f"{tree}/{directory}".rstrip("/"), fragment
    assert resolve(f"{url}#subdirectory=b", refresh=True) == f"{tree}/b"
    assert len(origin.requests) == 2 and len([name for name in os.listdir(cache_dir) if "." not in name]) == 1
    with pytest.raises(IntegrityError):
        resolve(f"{url}#subdirectory=b&sha256={'ab' * 32}")


@pytest.mark.parametrize("directory", ["..", "a/../../b", "/etc", "%2e%2e/x", "a\\b", "c:/x", "%00", "a%0ab", "x/" * 200])
def test_a_subdirectory_outside_of_the_model_is_refused_before_a_download(
    directory: str, origin: Origin, project_dir: Path
) -> None:
    url = f"{origin.put('/m.tar.gz', tar_gz(SEVERAL))}#subdirectory={directory}"
    for call in (resolve, HubResolver(), lambda handle: project.add("m", handle), lambda h: bundles.export([h], "b.tar")):
        with pytest.raises(HandleError, match="does not name a directory of the model"):
            call(url)
    for remove in (maintenance.remove, maintenance.verify):
        with pytest.raises(HandleError, match="does not name a directory of the model"):
            remove([url])
    assert origin.requests == [] and os.listdir(project_dir) == []


def test_a_missing_subdirectory_is_an_error_that_lists_what_is_there(origin: Origin, tmp_path: Path) -> None:
    url = origin.put("/m.tar.gz", tar_gz(SEVERAL))
    folder = put_model(tmp_path / "m", SEVERAL)
    for handle in (url, str(folder)):
        for missing in ("c", "readme.md", "a/2", "b/saved_model.pb/x"):
            with pytest.raises(NotFoundError, match=f"has no directory {missing}") as caught:
                resolve(f"{handle}#subdirectory={missing}")
            assert "SavedModels are in: a/1, b" in str(caught.value) and "#subdirectory=a/1" in caught.value.fix
    with pytest.raises(NotFoundError, match=r"it contains: x\.txt, y"):
        resolve(f"{origin.put('/n.zip', zip_of({'x.txt': b'', 'y/z': b''}))}#subdirectory=c")
    with pytest.raises(NotFoundError, match="at its top") as caught:
        resolve(f"{origin.put('/w.zip', zip_of(below('wrapper')))}#subdirectory=wrapper")
    assert "Leave the #subdirectory out" in caught.value.fix


def test_many_models_are_not_all_listed(tmp_path: Path) -> None:
    folder = put_model(tmp_path / "m", below(*(f"model{number:02}" for number in range(30))))
    with pytest.raises(NotFoundError, match="model09 and 20 more"):
        resolve(f"{folder}#subdirectory=c")


def test_a_warm_hit_lists_no_directory(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    url, deep = origin.put("/m.tar.gz", tar_gz()), origin.put("/deep.tar.gz", tar_gz(below("a/1", "a/2")))
    paths = [resolve(url), resolve(deep), resolve(f"{deep}#subdirectory=a/1")]

    def forbid(path: object = ".") -> Iterator[object]:
        raise AssertionError(f"{path} was listed")

    monkeypatch.setattr(os, "scandir", forbid)
    monkeypatch.setattr(os, "listdir", forbid)
    assert [resolve(url), resolve(deep), resolve(f"{deep}#subdirectory=a/1")] == paths


# Trees without a record


def test_a_tree_of_plain_tensorflow_hub_whose_model_lies_deeper_is_a_hit(origin: Origin, cache_dir: Path) -> None:
    url = origin.put("/m.tar.gz", tar_gz())
    tree = put_model(cache_dir / entry_name_for_key(url), below("model/1", "model/2"))
    assert resolve(url) == f"{tree}/model/2" and resolve(f"{url}#subdirectory=model/1") == f"{tree}/model/1"
    assert HubResolver()(url) == str(tree) and origin.requests == []
    assert [(model.state, model.path) for model in maintenance.list_models()] == [("unverified", str(tree))]


@pytest.mark.parametrize("removed", ["model/1/saved_model.pb", "model/1/variables/variables.index", ""])
def test_a_damaged_one_is_fetched_again(removed: str, origin: Origin, cache_dir: Path) -> None:
    url = origin.put("/m.tar.gz", tar_gz())
    tree = put_model(cache_dir / entry_name_for_key(url), below("model/1", "model/2"))
    for path in [tree / removed] if removed else tree.glob("*/*/saved_model.pb"):
        path.unlink()
    assert resolve(url) == str(tree) and files_in(tree) == MODEL and len(origin.requests) == 1


def test_a_recorded_tree_is_verified_and_repaired_as_any_other(origin: Origin) -> None:
    url = origin.put("/m.tar.gz", tar_gz(below("model/1")))
    Path(resolve(url), "saved_model.pb").write_bytes(b"b graph")
    name = f"{url}#subdirectory=model/1"
    assert [result.state for result in maintenance.verify([name])] == ["damaged"]
    assert [result.state for result in maintenance.verify([name], repair=True)] == ["ok"]
    Path(resolve(url), "variables/variables.index").unlink()
    assert files_in(resolve(name)) == MODEL and len(origin.requests) == 3


# Through tensorflow_hub's registry


@pytest.mark.parametrize(
    ("files", "directory"), [(MODEL, ""), (below(SERVO), SERVO), (below("1", "2"), ""), (SEVERAL, ""), ({"x.txt": b""}, "")]
)
def test_tensorflow_hub_gets_the_top_unless_it_could_not_load_it(
    files: dict[str, bytes], directory: str, origin: Origin, cache_dir: Path
) -> None:
    url, hub = origin.put("/m.tar.gz", tar_gz(files)), HubResolver()
    assert hub.is_supported(url) and hub(url) == f"{get_tree(cache_dir, url)}/{directory}".rstrip("/")


def test_tensorflow_hub_gets_a_subdirectory(origin: Origin, cache_dir: Path, tmp_path: Path) -> None:
    url, hub = origin.put("/m.tar.gz", tar_gz(below("1", "2"))), HubResolver()
    folder = put_model(tmp_path / "base", below("1", "2"))
    assert hub.is_supported(f"{url}#subdirectory=1") and hub(f"{url}#subdirectory=1") == f"{get_tree(cache_dir, url)}/1"
    assert hub.is_supported(f"{folder}#subdirectory=1") and hub(f"{folder}#subdirectory=1") == f"{folder}/1"
    for other in (str(folder), f"{folder}/gone#subdirectory=1", f"{folder}/1/saved_model.pb"):
        assert not hub.is_supported(other)  # tensorflow_hub's own


# Kinds of handles


def test_an_override_and_a_handle_may_each_choose_a_subdirectory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder, url = put_model(tmp_path / "base", below("x/a/1", "x/a/2", "x/b")), "https://models.example/m/1"
    set_model_cache("m", f"{folder}#subdirectory=x/a")
    set_model_cache(url, f"{folder}#subdirectory=x")
    set_model_cache("b", f"{folder}/x/b")
    set_model_cache("gone", f"{folder}#subdirectory=gone")
    assert (resolve("m"), resolve("m#subdirectory=1")) == (f"{folder}/x/a", f"{folder}/x/a/1")
    assert resolve(f"{url}#subdirectory=b") == f"{folder}/x/b" and resolve(f"{url}#subdirectory=a") == f"{folder}/x/a"
    assert cached_model_path("m") == resolve("m") and cached_model_path("b") == resolve("b")
    with pytest.raises(NotFoundError, match="has no directory gone"):
        resolve("gone")
    with caplog.at_level(logging.WARNING):
        set_model_cache("other", f"{tmp_path}/other#subdirectory=x")
        assert cached_model_path("other") is None and "does not exist" in caplog.text
    for name in (f"{url}#subdirectory=a", "m#subdirectory=a"):
        with pytest.raises(HandleError, match="is a part of a model"):
            set_model_cache(name, folder)


@pytest.mark.parametrize("directory", ["..", "a/../..", "%2e%2e"])
def test_an_override_cannot_choose_what_is_outside(directory: str, tmp_path: Path) -> None:
    set_model_cache("m", f"{put_model(tmp_path / 'base', below('a'))}#subdirectory={directory}")
    for call in (resolve, HubResolver(), cached_model_path):
        with pytest.raises(HandleError, match="does not name a directory of the model"):
            call("m")


def test_an_archive_may_be_an_override(tmp_path: Path) -> None:
    archive = tmp_path / "m.tar.gz"
    archive.write_bytes(tar_gz(SEVERAL))
    set_model_cache("m", f"{archive}#subdirectory=b")
    assert files_in(resolve("m")) == MODEL and resolve("m").endswith("/b")
    assert cached_model_path("m") == f"{archive}#subdirectory=b"


def test_a_folder_of_a_repository_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with GitHost(tmp_path / "host") as host:
        monkeypatch.setenv("TFIMM_GITHUB_URL", host.url)
        repo = host.repo("ada/models", {"README.md": "", "zoo/lion/saved_model.pb": "graph", "zoo/cat/saved_model.pb": "c"})
        repo.git("tag", "v1")
        repo.push()
        paths = [resolve(f"github://ada/models{ref}#subdirectory=zoo/lion") for ref in (":v1", "@v1", "")]
        assert [Path(path, "saved_model.pb").read_text() for path in paths] == ["graph"] * 3
        assert paths[0] == paths[1] != paths[2] and len(host.list_zips()) == 2
        assert resolve("github://ada/models:v1") == str(Path(paths[0]).parents[1])


def test_a_directory_of_s3_is_fetched_once_for_all_of_its_subdirectories(s3: S3) -> None:
    fill_s3({f"m/{name}": data for name, data in below("1", "2").items()})
    assert resolve("s3://bucket/m").endswith("/2") and files_in(resolve("s3://bucket/m")) == MODEL
    requests = len(s3.list_requests())
    assert resolve("s3://bucket/m#subdirectory=1").endswith("/1") and len(s3.list_requests()) == requests
    assert resolve("s3://bucket/m/1/saved_model.pb") == resolve("s3://bucket/m/1")


def test_a_directory_of_gs_is_not_listed(gcs: Gcs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_model(tmp_path / "gs:/bucket/m/export", below("1"))  # a path is not a URL
    monkeypatch.chdir(tmp_path)
    assert resolve("gs://bucket/m#subdirectory=export/1") == "gs://bucket/m/export/1"
    for text in (
        "gs://bucket/m/1/saved_model.pb",
        "GS://bucket/m/1/saved_model.pb",
        "gs://bucket/m#subdirectory=1/saved_model.pb",
    ):
        assert resolve(text) == "gs://bucket/m/1"
    assert resolve("gs://bucket/m") == "gs://bucket/m" and gcs.log == []


def test_in_a_bucket_root_the_record_says_where_the_model_is(
    gcs: Gcs, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", ROOT)
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "here"))
    url = origin.put("/m.tar.gz", tar_gz(SEVERAL | below("a/2")))
    path = resolve(f"{url}#subdirectory=a")
    assert path.startswith(f"{ROOT}/") and path.endswith("/a")
    before = len(gcs.log)
    assert resolve(f"{url}#subdirectory=b").endswith("/b") and len(gcs.log) == before + 1  # for the record
    with pytest.raises(NotFoundError, match="SavedModels are in: a/1, a/2, b"):
        resolve(f"{url}#subdirectory=c")
    assert len(gcs.log) == before + 2


def test_a_read_only_root_serves_a_subdirectory(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = origin.put("/m.tar.gz", tar_gz(SEVERAL))
    shared = Path(resolve(url)).parent.rename(tmp_path / "shared")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(shared))
    name = entry_name_for_key(url)
    assert resolve(f"{url}#subdirectory=b") == f"{shared}/{name}/b"
    (shared / f"{name}.descriptor.txt").unlink()
    assert resolve(f"{url}#subdirectory=a") == f"{shared}/{name}/a" and len(origin.requests) == 1


def test_a_model_that_is_read_where_a_server_says_has_subdirectories(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{origin.url}/m/1"
    origin.put("/m/1?tf-hub-format=uncompressed", b"gs://bucket/m/", status=303, headers={"Location": "gs://bucket/m/"})
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    assert resolve(url) == "gs://bucket/m/" and resolve(f"{url}#subdirectory=export/1") == "gs://bucket/m/export/1"


def test_names_that_ls_prints_may_be_followed_by_a_subdirectory(origin: Origin, cache_dir: Path) -> None:
    url = origin.put("/m.tar.gz?token=hidden", tar_gz(SEVERAL))
    tree = Path(resolve(url))
    assert tree.parent == cache_dir
    for name in (tree.name, f"{origin.url}/m.tar.gz?…", url):
        assert resolve(f"{name}#subdirectory=a/1") == f"{tree}/a/1", name
        assert [model.path for model in maintenance.select(f"{name}#subdirectory=a/1")] == [str(tree)], name
        for call in (resolve, maintenance.select):
            with pytest.raises(NotFoundError, match="has no directory c") as caught:
                call(f"{name}#subdirectory=c")
            assert "hidden" not in str(caught.value)


# Projects, bundles, commands


def test_a_models_file_names_a_subdirectory(origin: Origin, project_dir: Path, cache_dir: Path) -> None:
    url = origin.put("/m.tar.gz", tar_gz(SEVERAL | below("a/2")))
    tree, file = get_tree(cache_dir, url), project_dir / "tfimm-models.toml"
    added = project.add("m", f"{url}#subdirectory=a%2F1", aliases=["alias"])
    assert (added.path, added.model.subdirectory, added.model.handle) == (f"{tree}/a/1", "a/1", url)
    assert f'handle = "{url}"\nsubdirectory = "a/1"\nsha256 = ' in file.read_text()
    assert resolve("m") == resolve("alias") == cached_model_path("m") == f"{tree}/a/1"
    assert [result.path for result in project.sync()] == [f"{tree}/a/1"]
    assert [result.state for result in project.lock(check=True)] == ["ok"]
    project.add("m", f"{url}#subdirectory=a", replace=True)
    assert resolve("m") == f"{tree}/a" and resolve("m#subdirectory=1") == f"{tree}/a/1"
    maintenance.remove("m")
    assert [(result.state, result.path) for result in project.sync()] == [("fetched", f"{tree}/a")]
    project.add("m", url, replace=True)
    assert "subdirectory" not in file.read_text()


def test_nothing_is_added_with_a_subdirectory_that_does_not_exist(origin: Origin, project_dir: Path) -> None:
    url = origin.put("/m.tar.gz", tar_gz(SEVERAL))
    with pytest.raises(NotFoundError, match="has no directory c"):
        project.add("m", f"{url}#subdirectory=c")
    with pytest.raises(HandleError, match="has a subdirectory"):
        project.add("m", url, mirrors=[f"{url}#subdirectory=a"])
    assert not (project_dir / "tfimm-models.toml").exists()


def test_a_new_version_without_the_subdirectory_is_not_pinned(origin: Origin, project_dir: Path) -> None:
    added = project.add("m", f"{origin.put('/m.tar.gz', tar_gz(SEVERAL))}#subdirectory=b")
    origin.put("/m.tar.gz", tar_gz(below("a/1")))
    (result,) = project.lock(update=True)
    assert result.state == "failed" and "has no directory b" in str(result.error)
    assert (added.model.sha256 or "?") in (project_dir / "tfimm-models.toml").read_text()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('subdirectory = "../x"', "does not name a directory of the model"),
        ("subdirectory = 1", "has to be a text"),
        ('handle = "https://h/m.zip#subdirectory=a"', "ends in a subdirectory"),
        ('subdirectry = "a"', "Did you mean subdirectory"),
    ],
)
def test_a_models_file_with_a_bad_subdirectory_is_an_error(line: str, reason: str, project_dir: Path) -> None:
    handle = "" if line.startswith("handle") else 'handle = "https://h/m.zip"\n'
    (project_dir / "tfimm-models.toml").write_text(f"[models.m]\n{handle}{line}\n")
    with pytest.raises(ModelsFileError, match=reason):
        resolve("m")


def test_a_bundle_holds_the_whole_archive(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = origin.put("/m.tar.gz", tar_gz(SEVERAL))
    with pytest.raises(NotFoundError, match="has no directory c"):
        bundles.export([f"{url}#subdirectory=c"], tmp_path / "b.tar")
    exported = bundles.export([f"{url}#subdirectory=b", f"{url}#subdirectory=a/1"], tmp_path / "b.tar")
    assert len(exported.models) == 1
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "other"))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    bundles.import_(tmp_path / "b.tar", sha256=exported.sha256)
    assert files_in(resolve(f"{url}#subdirectory=b")) == files_in(resolve(f"{url}#subdirectory=a/1")) == MODEL


def test_the_commands_take_a_subdirectory(origin: Origin, project_dir: Path, cache_dir: Path) -> None:
    url = origin.put("/m.tar.gz", tar_gz(SEVERAL))
    tree, handle = get_tree(cache_dir, url), f"{url}#subdirectory=b"
    assert run_cli("resolve", handle)[:2] == (0, f"{tree}/b\n")
    code, out, _ = run_cli("why", handle)
    assert code == 0 and out.startswith(f"{tree}/b\n") and "directory  b" in out
    assert json.loads(run_cli("why", "--json", handle)[1])["subdirectory"] == "b"
    assert run_cli("verify", handle)[0] == 0
    code, out, _ = run_cli("add", "m", handle)
    assert code == 0 and "subdirectory b" in out
    assert run_cli("lock", "--check")[0] == 0 and f"{tree}/b" in run_cli("sync")[1]
    for command in ("resolve", "why", "verify", "rm"):
        code, out, err = run_cli(command, f"{url}#subdirectory=typo")
        assert code == 3 and "has no directory typo" in err and "a/1, b" in err, command
    assert run_cli("rm", handle)[0] == 0 and not os.path.exists(tree)


def test_what_resolve_prints_is_a_name_of_the_model(origin: Origin, cache_dir: Path) -> None:
    url = origin.put("/m.tar.gz", tar_gz(SEVERAL))
    path = resolve(f"{url}#subdirectory=a/1")
    for other in (f"{path}/variables", f"{path}/saved_model.pb", f"{path}/..", f"{cache_dir}/x"):
        with pytest.raises(UnknownHandleError):
            maintenance.remove([other])
    assert [result.state for result in maintenance.verify([path])] == ["ok"]
    assert [result.state for result in maintenance.remove([path])] == ["removed"]


def test_the_path_of_a_model_that_is_not_cached_is_searched_as_well(tmp_path: Path) -> None:
    base = put_model(tmp_path / "base", below("1", "2"))
    assert selection.select_path(str(base)) == f"{base}/2"
    assert selection.select_path(f"{base}#subdirectory=1") == f"{base}/1"
    for other in ("gs://bucket/m", str(tmp_path / "gone"), f"{tmp_path}/gone#subdirectory=1"):
        assert selection.select_path(other) == other
