"""Tests of ``maintenance.adoption``, ``maintenance.foreign_caches`` and ``maintenance.foreign_files``, and of ``adopt``."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

from tests.fakes.archives import files_in
from tests.fakes.cli import run_cli, run_on_terminal
from tests.fakes.foreign_caches import (
    COMMIT,
    DATA,
    MODEL,
    put_in_huggingface,
    put_in_kagglehub,
    put_in_tfhub,
    read_state,
    write_files,
)
from tests.fakes.signing import make_key, trust_prefix
from tests.fakes.use_locks import give_up_all
from tfimm_resolver import bundles, cached_model_path, errors, maintenance, resolve
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.local_root import LocalRoot
from tfimm_resolver.cache.record import Record
from tfimm_resolver.maintenance import adopt, adoption, foreign_caches, foreign_files
from tfimm_resolver.maintenance.adoption import AdoptResult

HUB = "https://models.example/nnlm/2"
KAGGLE = "google/nnlm/tensorflow2/en-dim50/1"
KAGGLE_HANDLE = "kaggle://google/nnlm/tensorFlow2/en-dim50/1"
HUGGING_FACE = "hf://ada/half"


@dataclass
class Caches:
    """The caches of the four tools, in their usual places."""

    tfhub: Path
    kagglehub: Path
    huggingface: Path
    tfimm: Path

    @property
    def all(self) -> tuple[Path, ...]:
        return (self.tfhub, self.kagglehub, self.huggingface, self.tfimm)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of temporary files, in which tensorflow_hub has its cache; no request can be made."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(path))
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    return path


@pytest.fixture
def caches(temporary: Path) -> Iterator[Caches]:
    """One model in the cache of each tool."""
    home = Path(os.environ["HOME"]) / ".cache"
    found = Caches(temporary / "tfhub_modules", home / "kagglehub", home / "huggingface" / "hub", home / "tfimm")
    put_in_tfhub(found.tfhub, HUB)
    put_in_kagglehub(found.kagglehub, KAGGLE)
    put_in_huggingface(found.huggingface, "ada/half")
    write_files(found.tfimm / "resnet18", MODEL)
    yield found


def remove(caches: Caches) -> None:
    for root in caches.all:
        shutil.rmtree(root)


def list_states(results: list[AdoptResult]) -> dict[str, str]:
    return {result.cache: result.state for result in results}


def get_only(results: list[AdoptResult]) -> AdoptResult:
    (result,) = results
    return result


def test_models_of_all_four_tools_are_resolved_without_them(caches: Caches) -> None:
    before = read_state(*caches.all)
    results = adopt()
    assert list_states(results) == dict.fromkeys(("tfhub", "kagglehub", "huggingface", "tfimm"), "adopted")
    assert read_state(*caches.all) == before
    remove(caches)
    for handle in (HUB, KAGGLE_HANDLE, KAGGLE_HANDLE[:-2], f"{HUGGING_FACE}@{COMMIT}", HUGGING_FACE, "resnet18"):
        assert files_in(resolve(handle)) == MODEL, handle
    assert [result.state for result in maintenance.verify()] == ["ok"] * 4


def test_a_dry_run_tells_what_the_next_run_does_and_the_one_after_does_nothing(caches: Caches, cache_dir: Path) -> None:
    dry = adopt(dry_run=True)
    assert not cache_dir.exists()
    done = adopt()
    facts = [(result.handle, result.state, result.size_bytes) for result in done]
    assert [(result.handle, result.state, result.size_bytes) for result in dry] == facts
    state = read_state(cache_dir)
    assert {result.state for result in adopt()} == {"cached"}
    assert read_state(cache_dir) == state


def test_a_dry_run_prints_what_it_would_adopt(caches: Caches) -> None:
    _, out, _ = run_cli("adopt", "--dry-run")
    assert [line.split("  ")[0] for line in out.splitlines() if HUB in line] == ["would adopt"]
    assert "  adopted" not in f"  {out}" and "\nadopted" not in out
    assert all(len(line) <= 80 for line in run_on_terminal("adopt", "--dry-run")[1].splitlines() if "would adopt  " in line)


def test_the_record_says_where_a_model_is_from_and_when_it_was_downloaded(caches: Caches, cache_dir: Path) -> None:
    marker = Path(f"{caches.kagglehub}/models/{KAGGLE}.complete")
    os.utime(marker, (1e9, 1e9))
    result = get_only(adopt("kagglehub"))
    record = Record.parse(Path(f"{result.path}.descriptor.txt").read_text(), Path(result.path).name)
    assert (record.origin.adopted_from, record.fetched_at) == ("kagglehub", "2001-09-09T01:46:40.000000Z")
    assert record.files is not None and len(record.files) == len(MODEL) and not record.origin.sha256


def test_a_pin_is_not_satisfied_by_an_adopted_model(caches: Caches) -> None:
    adopt("tfhub")
    with pytest.raises(errors.OfflineError):
        resolve(HUB, sha256="0" * 64)


def test_only_the_named_caches_are_read(caches: Caches) -> None:
    assert list_states(adopt(["kagglehub", "tfimm"])) == {"kagglehub": "adopted", "tfimm": "adopted"}


def test_a_directory_is_read_in_each_layout(caches: Caches, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    for root in caches.all:
        shutil.copytree(root, moved, symlinks=True, dirs_exist_ok=True)
    assert len(adopt(str(moved))) == len(adopt([moved, moved])) == 4
    assert [result.state for result in adopt()] == ["cached"] * 4


def test_what_is_not_a_cache_is_refused(caches: Caches, tmp_path: Path) -> None:
    with pytest.raises(errors.HandleError, match="is not a directory"):
        adopt("no_such_tool")
    with pytest.raises(errors.CacheError, match="is a model, not a cache"):
        adopt(caches.tfimm / "resnet18")
    with pytest.raises(errors.HandleError):
        adopt(3)  # type: ignore[arg-type]


def test_a_bucket_is_not_filled(caches: Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    with pytest.raises(errors.CacheError, match="is a bucket"):
        adopt()


def test_models_of_tensorflow_hub_in_our_own_cache_get_hashes(cache_dir: Path) -> None:
    tree = put_in_tfhub(cache_dir, HUB)
    assert [result.state for result in maintenance.verify()] == ["unverified"]
    result = get_only(adopt("tfhub"))
    assert (result.state, result.method, result.path) == ("adopted", "in place", str(tree))
    assert [one.state for one in maintenance.verify()] == ["ok"]
    assert adopt("tfhub") == []


def test_a_handle_in_another_spelling_is_adopted_under_its_own(caches: Caches) -> None:
    handle = "https://Models.example/other/1/?tf-hub-format=compressed&a=b"
    put_in_tfhub(caches.tfhub, handle)
    adopt("tfhub")
    remove(caches)
    assert files_in(resolve("https://models.example/other/1?a=b")) == MODEL


def test_secrets_of_a_handle_are_not_recorded(caches: Caches, cache_dir: Path) -> None:
    put_in_tfhub(caches.tfhub, "https://ada:password1@models.example/m/1?token=abcdefgh")
    adopt("tfhub")
    texts = b"".join(path.read_bytes() for path in cache_dir.glob("*.txt"))
    assert b"models.example/m/1" in texts and b"password1" not in texts and b"abcdefgh" not in texts


@pytest.mark.parametrize("name", ["variables/variables.data-00000-of-00001", "variables/variables.index", "saved_model.pb"])
def test_a_model_without_all_files_is_skipped(name: str, caches: Caches, cache_dir: Path) -> None:
    for tree in (*caches.tfhub.glob("*/"), caches.kagglehub / "models" / KAGGLE, *caches.huggingface.glob("*/snapshots/*")):
        if tree.is_dir():
            (tree / name).unlink()
    results = adopt(["tfhub", "kagglehub", "huggingface"])
    assert {result.state for result in results} <= {"skipped"} and not list(cache_dir.glob("*/"))
    assert all(name in result.reason or "missing" in result.reason for result in results)


@pytest.mark.parametrize("damage", ["cut", "index"])
def test_damaged_variables_are_skipped(damage: str, caches: Caches) -> None:
    broken = {"cut": {"variables/variables.data-00000-of-00001": DATA[:-1]}, "index": {"variables/variables.index": b"no"}}
    files = {**MODEL, **broken[damage]}
    put_in_tfhub(caches.tfhub, HUB, files)
    put_in_kagglehub(caches.kagglehub, KAGGLE, files)
    write_files(caches.tfimm / "resnet18", files)
    results = adopt(["tfhub", "kagglehub", "tfimm"])
    assert [result.state for result in results] == ["skipped"] * 3
    assert all("bytes" in result.reason or "index" in result.reason for result in results)


def test_what_kagglehub_has_not_marked_as_complete_is_skipped(caches: Caches) -> None:
    put_in_kagglehub(caches.kagglehub, "google/nnlm/tensorflow2/en-dim50/2", is_complete=False)
    states = {result.found[-1]: result.state for result in adopt("kagglehub")}
    assert states == {"1": "adopted", "2": "skipped"}


def test_an_unfinished_download_of_huggingface_hub_is_skipped(caches: Caches) -> None:
    (caches.huggingface / "models--ada--half" / "blobs" / "abc.incomplete").touch()
    assert get_only(adopt("huggingface")).state == "skipped"


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.data-00000-of-00001"])
def test_a_damaged_blob_is_skipped(name: str, caches: Caches, cache_dir: Path) -> None:
    blob = (caches.huggingface / "models--ada--half" / "snapshots" / COMMIT / name).resolve()
    data = bytearray(blob.read_bytes())
    data[0] ^= 1
    blob.write_bytes(bytes(data))
    result = get_only(adopt("huggingface"))
    assert result.state == "skipped" and "is damaged" in result.reason
    assert list(cache_dir.iterdir()) == []


@pytest.mark.parametrize("is_damaged", [False, True])
def test_files_that_came_over_xet_are_adopted_and_compared_with_their_names(is_damaged: bool, caches: Caches) -> None:
    snapshot = put_in_huggingface(caches.huggingface, "bob/xet", commit="b" * 40, over_xet=True)
    if is_damaged:
        (snapshot / "saved_model.pb").resolve().write_bytes(b"x" * len(MODEL["saved_model.pb"]))
    result = next(one for one in adopt("huggingface") if "bob/xet" in one.handle)
    assert result.state == ("skipped" if is_damaged else "adopted")
    assert ("is damaged" in (result.reason or "")) == is_damaged


def test_a_model_in_a_folder_of_a_repository_is_adopted_by_that_folder(caches: Caches) -> None:
    files = {f"export/{name}": data for name, data in MODEL.items()}
    put_in_huggingface(caches.huggingface, "bob/deep", {**files, "README.md": b"text"}, commit="b" * 40, branch="v1.0")
    handles = {result.handle for result in adopt("huggingface")}
    assert f"hf://bob/deep@{'b' * 40}/export" in handles
    remove(caches)
    assert files_in(resolve("hf://bob/deep@v1.0/export")) == MODEL


def test_a_branch_that_was_looked_up_here_stays(caches: Caches, cache_dir: Path) -> None:
    cache_dir.mkdir()
    alias = cache_dir / f"{entry_name_for_key(HUGGING_FACE)}.latest.txt"
    alias.write_text(f"{HUGGING_FACE}@{'c' * 40}\n")
    adopt("huggingface")
    assert "c" * 40 in alias.read_text()


def test_what_is_not_a_saved_model_is_left_alone(caches: Caches) -> None:
    put_in_kagglehub(caches.kagglehub, "google/gemma/pyTorch/2b/1", {"model.ckpt": b"weights"})
    put_in_huggingface(caches.huggingface, "ada/bert", {"pytorch_model.bin": b"weights"}, commit="b" * 40)
    write_files(caches.tfimm / "notes", {"a.txt": b"text"})
    assert [result.state for result in adopt()] == ["adopted"] * 4


@pytest.mark.parametrize(
    "descriptor",
    [
        "Module: https://models.example/other/1\n",
        "Module: kaggle://google/nnlm/tensorFlow2/en-dim50\n",
        "Module: https://models.example/a\x1b[31m\n",
    ],
)
def test_a_descriptor_about_another_model_is_not_believed(descriptor: str, caches: Caches) -> None:
    (path,) = caches.tfhub.glob("*.descriptor.txt")
    path.write_text(descriptor)
    result = get_only(adopt("tfhub"))
    assert result.state == "skipped" and "\x1b" not in result.handle


def test_a_name_of_several_versions_is_not_adopted(caches: Caches) -> None:
    put_in_tfhub(caches.tfhub, "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50")
    put_in_tfhub(caches.tfhub, "zoo://models.example/1")
    reasons = [result.reason for result in adopt("tfhub") if result.state == "skipped"]
    assert len(reasons) == 2 and all("one version" in reason for reason in reasons)


def test_a_handle_that_was_not_recorded_in_full_is_skipped(caches: Caches, cache_dir: Path, tmp_path: Path) -> None:
    put_in_tfhub(caches.tfhub, "https://models.example/m/1?a=secret")
    adopt("tfhub")
    shutil.move(cache_dir, tmp_path / "other")
    reasons = [result.reason for result in adopt(tmp_path / "other") if result.state == "skipped"]
    assert len(reasons) == 1 and "full handle was not recorded" in reasons[0]


def test_an_entry_whose_record_has_another_handle_is_not_found_by_a_name(cache_dir: Path) -> None:
    for name, handle in (("resnet50", "other"), ("/a/folder", "/a/folder")):
        tree = write_files(cache_dir / entry_name_for_key(name), MODEL)
        Path(f"{tree}.descriptor.txt").write_text(f"Module: {handle}\n")
    with pytest.raises(errors.UnknownHandleError):
        resolve("resnet50")
    names = [model.name for model in maintenance.list_models()]
    assert sorted(names) == sorted(map(entry_name_for_key, ("resnet50", "/a/folder")))


def test_a_record_that_was_written_meanwhile_is_not_replaced(cache_dir: Path) -> None:
    put_in_tfhub(cache_dir, HUB)
    (model,) = foreign_caches.find_models(str(cache_dir), ("tfhub",))
    adopt("tfhub")
    (record,) = cache_dir.glob("*.descriptor.txt")
    newer = record.read_text().replace("tfhub", "newer")
    record.write_text(newer)
    cache = tiers.open_cache()
    assert isinstance(cache.root, LocalRoot)
    adoption._Adoption(cache, cache.root, dry_run=False)._adopt(model, check_owners=False, is_here=True)
    assert record.read_text() == newer


def plant_link(caches: Caches, secret: Path, name: str) -> None:
    (tree,) = (path for path in caches.tfhub.iterdir() if path.is_dir())
    for folder in (tree, caches.kagglehub / "models" / KAGGLE, caches.huggingface / "models--ada--half/snapshots" / COMMIT):
        (folder / name).symlink_to(secret)


@pytest.mark.parametrize("target", ["secret", "folder", "gone", "../../../../../secret"])
def test_links_out_of_a_model_are_not_followed(target: str, caches: Caches, tmp_path: Path, cache_dir: Path) -> None:
    (tmp_path / "secret").write_text("a key")
    (tmp_path / "folder").mkdir()
    plant_link(caches, Path(target) if target.startswith("..") else tmp_path / target, "notes.txt")
    results = adopt(["tfhub", "kagglehub", "huggingface"])
    assert [result.state for result in results] == ["skipped"] * 3
    assert not list(cache_dir.glob("*/notes.txt"))


def test_links_inside_a_model_become_files(caches: Caches) -> None:
    tree = caches.kagglehub / "models" / KAGGLE
    (tree / "copy.pb").symlink_to("saved_model.pb")
    path = Path(get_only(adopt("kagglehub")).path)
    assert not (path / "copy.pb").is_symlink() and (path / "copy.pb").read_bytes() == MODEL["saved_model.pb"]


def test_a_link_in_place_of_a_model_is_not_followed(caches: Caches, tmp_path: Path) -> None:
    outside = write_files(tmp_path / "outside", MODEL)
    shutil.rmtree(caches.kagglehub / "models" / KAGGLE)
    (caches.kagglehub / "models" / KAGGLE).symlink_to(outside)
    (tree,) = (path for path in caches.tfhub.iterdir() if path.is_dir())
    shutil.rmtree(tree)
    tree.symlink_to(outside)
    for roots in (["kagglehub", "tfhub"], [caches.kagglehub, caches.tfhub]):
        results = adopt(roots)
        assert [result.state for result in results] == ["skipped"] * 2
        assert all("out of the cache" in result.reason for result in results)


@pytest.mark.parametrize("link", ["google", "google/other", "google/other/tensorflow2", "google/other/tensorflow2/en"])
def test_a_link_above_a_model_is_not_followed(link: str, caches: Caches, tmp_path: Path) -> None:
    put_in_kagglehub(tmp_path / "outside", "google/other/tensorflow2/en/1")
    shutil.rmtree(caches.kagglehub / "models")
    (caches.kagglehub / "models" / link).parent.mkdir(parents=True)
    (caches.kagglehub / "models" / link).symlink_to(tmp_path / "outside" / "models" / link)
    assert adopt(["kagglehub"]) == []


def test_links_are_not_searched_for_models(caches: Caches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    write_files(disk / "deep" / "model", MODEL)
    read, scandir, listdir = [], os.scandir, os.listdir
    tree = caches.kagglehub / "models" / KAGGLE
    for path in (caches.kagglehub / "models/disk", tree.with_name("2"), tree.with_name("3") / "all", caches.tfimm / "disk"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(disk)
    snapshots = caches.huggingface / "models--ada--half/snapshots"
    (snapshots / ("d" * 40)).symlink_to(disk)

    def note(call: Callable[[str], Any]) -> Callable[[str], Any]:
        return lambda path=".": (read.append(os.path.realpath(path)), call(path))[1]

    monkeypatch.setattr(os, "scandir", note(scandir))
    monkeypatch.setattr(os, "listdir", note(listdir))
    adopt(caches.all, dry_run=True)
    assert read and not [path for path in read if path.startswith(f"{disk}/")]


def test_a_directory_with_very_many_directories_is_not_searched_to_the_end(
    caches: Caches, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(foreign_caches, "_DIRECTORIES_MAX", 3)
    assert adopt("kagglehub", dry_run=True) == []
    assert "over 3 directories" in caplog.text


def test_a_link_to_a_directory_of_the_same_model_is_not_followed(caches: Caches) -> None:
    (caches.kagglehub / "models" / KAGGLE / "loop").symlink_to("variables")
    assert "is a link to" in get_only(adopt("kagglehub")).reason


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\u202eb", "a\\b", "deep/" * 101 + "x"])
def test_hostile_file_names_are_refused(name: str, caches: Caches) -> None:
    tree = caches.kagglehub / "models" / KAGGLE
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_bytes(b"x")
    result = get_only(adopt("kagglehub"))
    assert result.state == "skipped" and result.reason


def test_hostile_names_of_models_are_ignored(caches: Caches) -> None:
    for name in ("a\nb", "-x", "a b\x1b", "models--x", "\u202e"):
        write_files(caches.tfimm / name, MODEL)
    put_in_kagglehub(caches.kagglehub, "goo gle/x/y/z/1")
    put_in_kagglehub(caches.kagglehub, "google/nnlm/tensorflow2/en-dim50/01")
    put_in_huggingface(caches.huggingface, "ada/..", commit="d" * 40)
    put_in_huggingface(caches.huggingface, "ada/half@v1", commit="e" * 40)
    put_in_huggingface(caches.huggingface, "ada/tip", commit="v1")
    deep = {f"ex?port/{name}": data for name, data in MODEL.items()}
    put_in_huggingface(caches.huggingface, "ada/deep", deep, commit="f" * 40)
    write_files(caches.tfimm / ("1" * 40), MODEL)
    handles = sorted(result.handle for result in adopt())
    kaggle = "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1"
    assert handles == sorted([HUB, kaggle, f"{HUGGING_FACE}@{COMMIT}", "resnet18", *({"models--x"} & {*handles})])


def test_a_pipe_in_a_model_does_not_block(caches: Caches) -> None:
    os.mkfifo(caches.kagglehub / "models" / KAGGLE / "pipe")
    assert "neither a file nor a directory" in get_only(adopt("kagglehub")).reason


def test_what_another_user_can_write_is_used_only_if_its_directory_is_named(caches: Caches) -> None:
    tree = caches.kagglehub / "models" / KAGGLE
    for path in (tree / "saved_model.pb", tree, tree.parent, caches.kagglehub):
        mode = path.stat().st_mode
        path.chmod(mode | 0o002)
        result = get_only(adopt("kagglehub", dry_run=True))
        assert result.state == "skipped" and "another user can change it" in result.reason, path
        assert get_only(adopt(caches.kagglehub, dry_run=True)).state == "adopted"
        path.chmod(mode)
    assert get_only(adopt("kagglehub")).state == "adopted"


def test_a_file_of_another_user_is_copied_not_linked(caches: Caches) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files to other users")
    file = caches.kagglehub / "models" / KAGGLE / "saved_model.pb"
    os.chown(file, 65534, 65534)
    assert get_only(adopt("kagglehub", dry_run=True)).state == "skipped"
    result = get_only(adopt(caches.kagglehub))
    adopted = Path(result.path) / "saved_model.pb"
    assert adopted.stat().st_uid == 0 and not adopted.samefile(file) and result.method == "copy"


@pytest.mark.parametrize("mode", [0o600, 0o666, 0o4755])
def test_a_file_with_permissions_that_ours_would_not_have_is_not_linked(mode: int, caches: Caches) -> None:
    file = caches.kagglehub / "models" / KAGGLE / "saved_model.pb"
    file.chmod(mode)
    result = get_only(adopt(caches.kagglehub))
    adopted = Path(result.path) / "saved_model.pb"
    assert not adopted.samefile(file) and stat.S_IMODE(adopted.stat().st_mode) == 0o644
    assert stat.S_IMODE(file.stat().st_mode) == mode


def test_the_temporary_root_changes_no_permissions_of_a_linked_file(caches: Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    tree = caches.kagglehub / "models" / KAGGLE
    for file, mode in zip((path for path in sorted(tree.rglob("*")) if path.is_file()), (0o664, 0o644, 0o4755), strict=True):
        file.chmod(mode)
    before = read_state(caches.kagglehub)
    result = get_only(adopt(caches.kagglehub))
    assert result.state == "adopted" and read_state(caches.kagglehub) == before
    assert {stat.S_IMODE(path.stat().st_mode) & 0o022 for path in Path(result.path).rglob("*")} == {0}


def test_nothing_that_is_done_to_an_adopted_model_changes_the_other_cache(caches: Caches, tmp_path: Path) -> None:
    before = read_state(*caches.all)
    results = adopt()
    assert {result.method for result in results} <= {"hard link", "reflink"}
    bundles.export([result.path for result in results], tmp_path / "bundle.tar")
    maintenance.keep(HUB)
    maintenance.verify()
    for result in results:
        run_cli("rm", result.path)
    maintenance.prune(max_size="1B")
    assert read_state(*caches.all) == before
    assert {result.state for result in adopt()} == {"adopted"}


def test_a_change_of_the_other_cache_is_noticed(caches: Caches) -> None:
    result = get_only(adopt("kagglehub"))
    if result.method != "hard link":
        pytest.skip(f"this disk does not share files by hard links: {result.method}")
    file = caches.kagglehub / "models" / KAGGLE / "variables" / "variables.data-00000-of-00001"
    with file.open("r+b") as opened:
        opened.write(b"CHANGED!")
    assert [one.state for one in maintenance.verify([result.path])] == ["damaged"]


def test_another_root_of_this_package_is_adopted_with_its_hashes_as_a_claim(caches: Caches, tmp_path: Path) -> None:
    adopt("kagglehub")
    other = tmp_path / "other"
    shutil.move(os.environ["TFHUB_CACHE_DIR"], other)
    (record,) = other.glob("*.descriptor.txt")
    record.write_text(record.read_text().replace('"sha256": ""', f'"sha256": "{"1" * 64}"', 1))
    assert get_only(adopt(other)).state == "adopted"
    shutil.rmtree(caches.kagglehub)
    (model,) = maintenance.list_models()[:1]
    assert model.entry is not None
    origin = model.entry.record.origin
    assert (origin.sha256, origin.claimed_sha256) == ("", "1" * 64)


def test_a_damaged_model_of_another_root_is_skipped(caches: Caches, tmp_path: Path, cache_dir: Path) -> None:
    adopt("kagglehub")
    shutil.rmtree(caches.kagglehub)
    other = tmp_path / "other"
    shutil.move(cache_dir, other)
    (file,) = other.glob("*/saved_model.pb")
    file.write_bytes(b"A GRAPH")
    result = get_only(adopt(other))
    assert (result.state, result.reason) == ("skipped", "its files are not as recorded")
    assert list(cache_dir.glob("*/")) == []


def test_a_name_is_listed_once_as_long_as_tfimm_has_it(caches: Caches) -> None:
    adopt("tfimm")
    names = [model.name for model in maintenance.list_models()]
    assert sorted(names) == sorted([entry_name_for_key("resnet18"), "resnet18"])
    assert resolve("resnet18") == str(caches.tfimm / "resnet18")
    assert cached_model_path("resnet18") == str(caches.tfimm / "resnet18")
    shutil.rmtree(caches.tfimm)
    path = cached_model_path("resnet18")
    assert path is not None and path == resolve("resnet18") and files_in(path) == MODEL
    assert cached_model_path("resnet50") is None
    give_up_all()
    assert [model.name for model in maintenance.list_models()] == ["resnet18"]
    assert run_cli("rm", "resnet18")[0] == 0


def test_the_limit_of_the_cache_holds(caches: Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    old = Path(get_only(adopt("kagglehub")).path)
    for path in (*old.rglob("*"), old):
        os.utime(path, (1, 1))
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", "1kB")
    assert get_only(adopt("huggingface")).state == "adopted" and not old.exists()


def test_a_full_record_of_the_command(caches: Caches) -> None:
    code, out, err = run_cli("adopt", "--dry-run")
    assert code == 0 and len(out.splitlines()) == 4 and "would adopt 4" in err and "nothing was changed" in err
    code, out, _ = run_cli("adopt", "-q")
    assert code == 0 and out.splitlines()[0] == HUB and len(out.splitlines()) == 4
    put_in_kagglehub(caches.kagglehub, "google/nnlm/tensorflow2/en-dim50/2", is_complete=False)
    code, out, _ = run_cli("adopt", "--json")
    facts = json.loads(out)
    assert code == 0 and sorted(model["state"] for model in facts["models"]) == ["cached"] * 4 + ["skipped"]
    assert facts["adopted_bytes"] == 0 and facts["dry_run"] is False
    seen = run_on_terminal("adopt", "--from", "kagglehub")
    lines = [click.unstyle(line) for line in seen.splitlines()]
    assert all(len(line) <= 80 for line in lines if "kagglehub has not" not in line), lines
    assert run_cli("adopt", "--from", "no_such_tool")[0] != 0


def test_nothing_is_found() -> None:
    assert adopt() == [] and "no models were found" in run_cli("adopt")[2]


def test_a_directory_without_models_has_none(tmp_path: Path) -> None:
    assert list(foreign_caches.find_models(str(tmp_path))) == list(foreign_caches.find_models(str(tmp_path / "gone"))) == []


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = write_files(tmp_path / "root" / "tree", {str(number): b"" for number in range(4)})
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_MEMBERS", "4")
    assert len(foreign_files.list_files(str(tree), str(tree.parent), check_owners=True)) == 4
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_MEMBERS", "3")
    with pytest.raises(errors.CacheError, match="over 3 files"):
        foreign_files.list_files(str(tree), str(tree.parent), check_owners=True)


@pytest.mark.parametrize(("cache", "prefix"), [("tfhub", "https://models.example/"), ("kagglehub", "kaggle://google/")])
def test_what_has_to_be_signed_is_not_linked_to_the_other_cache(
    caches: Caches, tmp_path: Path, cache: str, prefix: str
) -> None:
    """Else a program that writes there would change the cached model."""
    signer = f'{{ key = "{make_key(tmp_path).public_path}" }}'
    trust_prefix(tmp_path / "home/.config/tfimm_resolver/config.toml", prefix, signer)
    result = get_only(adopt(getattr(caches, cache)))
    assert result.state == "adopted" and result.method in ("reflink", "copy")
    assert {path.stat().st_nlink for path in Path(result.path).rglob("*") if path.is_file()} == {1}
    with pytest.raises(errors.SignatureError):
        resolve(result.handle)
