"""The functions behind the commands, as a program calls them: typed results, errors in results, nothing printed."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.models_file import project as project_dir  # noqa: F401  # a fixture
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.pins import OTHER, PIN, SIZE_BYTES
from tfimm_resolver import bundles, maintenance, project, resolve
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import (
    CacheError,
    FetchError,
    HandleError,
    IntegrityError,
    LockTimeoutError,
    ModelsFileError,
    NotFoundError,
    UnknownHandleError,
)
from tfimm_resolver.models_file import discovery
from tfimm_resolver.models_file.discovery import FILE_NAME

RESULTS = (
    bundles.ExportResult,
    bundles.ImportedModel,
    maintenance.CachedModel,
    maintenance.RemoveResult,
    maintenance.VerifyResult,
    project.AddResult,
    project.LockResult,
    project.SyncResult,
)


@pytest.fixture
def folder(project_dir: Path) -> Path:  # noqa: F811  # the fixture
    """An empty project, which is the working directory."""
    return project_dir


def write(folder: Path, text: str) -> Path:
    """Write the models file of the project."""
    (folder / FILE_NAME).write_text(text)
    return folder / FILE_NAME


@pytest.mark.parametrize("result", RESULTS)
def test_results_are_frozen_and_have_no_dict(result: type) -> None:
    assert result.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(result) and dataclasses.is_dataclass(result)


def test_nothing_is_printed(
    folder: Path, origin: Origin, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_QUIET", "1")
    handle = origin.put("/m.tgz", tar_gz())
    project.add("m", handle)
    project.lock(check=True)
    project.sync()
    bundles.export(["m"], "b.tar")
    bundles.import_("b.tar")
    assert maintenance.list() == maintenance.list_models() == maintenance.select()
    maintenance.verify()
    maintenance.remove(handle)
    assert capfd.readouterr() == ("", "")


def test_one_text_is_one_name(folder: Path, origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    project.add("half", handle)
    assert [one.model.name for one in (*project.lock("half"), *project.sync("half"))] == ["half", "half"]
    assert [one.state for one in maintenance.verify(handle)] == ["ok"]
    assert [one.model.name for one in maintenance.remove(handle)] == [handle]


def test_lock_and_sync_continue_after_a_failure_whose_error_is_in_the_result(folder: Path, origin: Origin) -> None:
    good, gone = origin.put("/good.tgz", tar_gz()), f"{origin.url}/gone.tgz"
    write(folder, f'[models.gone]\nhandle = "{gone}"\n[models.good]\nhandle = "{good}"\n')
    failed, pinned = project.lock()
    assert (failed.state, pinned.state, pinned.error) == ("failed", "pinned", None) and isinstance(failed.error, NotFoundError)
    assert (pinned.origin.sha256, pinned.origin.size_bytes) == (PIN, SIZE_BYTES)
    failed, cached = project.sync()
    assert (failed.state, cached.state, cached.path) == ("failed", "cached", resolve(good))
    assert isinstance(failed.error, NotFoundError)
    with pytest.raises(HandleError, match="use one of them"):
        project.lock(update=True, check=True)
    with pytest.raises(UnknownHandleError):
        project.sync(["nothing"])


def test_remove_is_decided_before_and_continues_after_a_failure(
    folder: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = [origin.put(f"/{number}.tgz", tar_gz()) for number in range(2)]
    paths = [resolve(handle) for handle in handles]
    put_model(Path.home() / ".cache/tfimm/resnet18")
    for names, kind in (([*handles, "nothing"], UnknownHandleError), ([*handles, "resnet18"], CacheError)):
        with pytest.raises(kind):
            maintenance.remove(names)
        assert len(maintenance.select(handles)) == 2
    locked, _ = maintenance.select(handles)
    assert locked.entry is not None
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "1")
    with tiers.open_cache().root.lock(locked.entry.name, "a test"):
        failed, removed = maintenance.remove([locked, handles[1]])
        assert (failed.state, removed.state, removed.error) == ("failed", "removed", None)
        assert isinstance(failed.error, LockTimeoutError) and run_cli("rm", handles[0])[0] == 4
    assert [Path(path).exists() for path in paths] == [True, False]


def test_verify_reports_faults_and_why_a_repair_failed(origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    graph = Path(resolve(handle)) / "saved_model.pb"
    graph.write_bytes(b"a grapH")
    (damaged,) = maintenance.verify([handle])
    assert (damaged.state, damaged.is_repaired) == ("damaged", None) and "does not match" in damaged.faults[0]
    origin.put("/m.tgz", status=404)
    (failed,) = maintenance.verify(repair=True)
    assert (failed.state, failed.is_repaired) == ("damaged", False) and isinstance(failed.error, FetchError)
    origin.put("/m.tgz", tar_gz(OTHER))
    (repaired,) = maintenance.verify(repair=True)
    assert (repaired.state, repaired.is_repaired, repaired.is_changed, repaired.error) == ("ok", True, True, None)
    assert files_in(repaired.model.path) == OTHER


def test_add_raises_before_it_writes(folder: Path, origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    for arguments, kind in (
        (("a/b", handle), HandleError),
        (("m", f"{origin.url}/gone.tgz"), NotFoundError),
        (("m", f"{handle}#sha256={'0' * 64}"), IntegrityError),
    ):
        with pytest.raises(kind):
            project.add(*arguments)
    assert not (folder / FILE_NAME).exists()
    assert project.add("m", handle).state == "pinned"
    with pytest.raises(ModelsFileError, match="already exists"):
        project.add("m", handle)
    assert project.add("m", handle, replace=True).model.sha256 == PIN


def test_a_short_tf_hub_name_is_added_as_its_handle(
    folder: Path, cache_dir: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", origin.url)
    origin.put("/tfhub.dev/google/nnlm/2?tf-hub-format=compressed", tar_gz())
    tree = put_model(cache_dir / entry_name_for_key("https://tfhub.dev/google/nnlm/2"))
    tree.with_name(f"{tree.name}.descriptor.txt").write_text("Module: https://tfhub.dev/google/nnlm/2\nDownload Time: t\n")
    added = project.add("nnlm", "google/nnlm/2")
    assert (added.model.handle, added.state) == ("https://tfhub.dev/google/nnlm/2", "pinned")


def test_a_mirror_is_compared_with_the_pin(folder: Path, origin: Origin, caplog: pytest.LogCaptureFixture) -> None:
    handle, same = origin.put("/m.tgz", tar_gz()), origin.put("/same.tgz", tar_gz())
    other = origin.put("/other.tgz", tar_gz(OTHER))
    with pytest.raises(IntegrityError, match="is not a mirror of") as caught:
        project.add("m", handle, mirrors=[same, other])
    assert PIN in str(caught.value) and other in str(caught.value) and not (folder / FILE_NAME).exists()
    (folder / "copy.tgz").write_bytes(tar_gz())
    put_model(folder / "directory")
    for mirror in ("./directory", "gs://bucket/model", "./missing.tgz", "nosuch://host/m.tgz", "kaggle://a/b/c/d"):
        requests = len(origin.requests)
        with pytest.raises(HandleError):
            project.add("m", handle, mirrors=[mirror])
        assert len(origin.requests) == requests, "the mirror is rejected before anything is fetched"
    assert not (folder / FILE_NAME).exists()
    gone = f"{origin.url}/gone.tgz"
    added = project.add("m", handle, mirrors=[same, "./copy.tgz", gone])
    assert added.model.mirrors == (same, "./copy.tgz", gone)
    assert [record.getMessage().startswith(f"the mirror {gone} was added without") for record in caplog.records] == [True]
    assert len(maintenance.list()) == 1, "what is only compared is not cached"


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("size_bytes = 3", "a size alone is not a pin"),
        ('sha256 = "abc"', "a sha256 has 64"),
        ('sha256 = "abc"\nsize_bytes = 3', "a sha256 has 64"),
    ],
)
def test_the_advice_for_a_bad_pin_works(folder: Path, origin: Origin, keys: str, text: str) -> None:
    entry = f'[models.m]\nhandle = "{origin.put("/m.tgz", tar_gz())}"\n'
    write(folder, entry + keys + "\n")
    with pytest.raises(ModelsFileError, match=text) as caught:
        project.lock("m")
    advice = caught.value.advice.command
    assert ("emove" in advice and "then run" in advice) or "and run" in advice
    write(folder, entry)  # without both keys
    command = advice.partition("`tfimm-resolver ")[2].partition("`")[0].split()
    assert run_cli(*command)[0] == 0
    model = discovery.find_entry("m")
    assert model is not None and (model.sha256, model.size_bytes) == (PIN, SIZE_BYTES)


def test_lock_check_counts_only_what_can_be_pinned(folder: Path, origin: Origin) -> None:
    put_model(folder / "here")
    handles = {
        "bucket": "gs://bucket/model",
        "here": "./here",
        "hf": "hf://owner/model",
        "hf_commit": f"hf://owner/model@{'a' * 40}",
        "objects": "s3://bucket/model",
    }
    write(folder, "".join(f'[models.{name}]\nhandle = "{handle}"\n' for name, handle in handles.items()))
    assert {result.model.name: result.state for result in project.lock(check=True)} == dict.fromkeys(handles, "unverified")
    assert run_cli("lock", "--check")[0] == 0
    handles = {"m": origin.put("/m.tgz", tar_gz()), "kaggle": "kaggle://a/b/c/d", "packed": "s3://bucket/m.tgz"}
    write(folder, "".join(f'[models.{name}]\nhandle = "{handle}"\n' for name, handle in handles.items()))
    assert {result.model.name: result.state for result in project.lock(check=True)} == dict.fromkeys(handles, "unpinned")
    assert run_cli("lock", "--check")[0] == 8 and origin.requests == []


def test_add_writes_a_relative_path_relative_to_the_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = folder / "below"
    below.mkdir()
    write(folder, "")
    (folder.parent / "x.tgz").write_bytes(tar_gz())
    (folder / "y.tgz").write_bytes(tar_gz())
    monkeypatch.chdir(below)
    monkeypatch.setenv("OUT", str(folder.parent))
    for name, handle, written in (
        ("a", "../../x.tgz", "../x.tgz"),
        ("b", "../y.tgz", "./y.tgz"),
        ("c", str(folder.parent / "x.tgz"), str(folder.parent / "x.tgz")),
        ("d", "$OUT/x.tgz", str(folder.parent / "x.tgz")),
        ("e", (folder.parent / "x.tgz").as_uri(), str(folder.parent / "x.tgz")),
    ):
        project.add(name, handle)
        assert f'[models.{name}]\nhandle = "{written}"\n' in (folder / FILE_NAME).read_text(), name
        assert files_in(resolve(name)) == MODEL


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "it is empty"),
        (b"hello world", "it begins with 'hello world'"),
        (b"<!doctype html><html><body>Sign in</body></html>", "an HTML page: 'Sign in'"),
        (tar_gz(), "it is gzip data"),
        (b"PK\x03\x04" + bytes(90), "it is a zip archive"),
        (bytes(1024), "it is empty, apart from zeros"),
    ],
    ids=["empty", "text", "html", "gzip", "zip", "zeros"],
)
def test_a_file_that_is_not_a_bundle_is_explained(folder: Path, data: bytes, text: str) -> None:
    (folder / "m.tar").write_bytes(data)
    code, _, err = run_cli("import", "m.tar")
    assert code == 2 and "m.tar is not a bundle" in err and text in err and "truncated" not in err
    assert "`tfimm-resolver export` wrote" in err and "Nothing was imported" in err


def test_an_archive_of_a_model_is_not_a_bundle(folder: Path) -> None:
    (folder / "m.tar").write_bytes(gzip.decompress(tar_gz()))
    code, _, err = run_cli("import", "m.tar")
    assert code == 2 and "it is a tar archive of something else" in err and "resolve the archive itself" in err


@pytest.mark.parametrize("name", ["nope", "no/such/model", "nope.tar.gz", "0" * 40])
def test_export_of_an_unknown_name_says_where_it_looked(folder: Path, name: str) -> None:
    code, _, err = run_cli("export", name, "-o", "b.tar")
    assert code == 2 and f'"{name}" is not cached: no model' in err and f"{folder}/{name}" in err
    assert "Nothing was exported" in err and "`tfimm-resolver ls`" in err and not (folder / "b.tar").exists()
