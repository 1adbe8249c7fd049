"""Hugging Face's own cache: which snapshots are used in place, without a request, and which are not."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in
from tests.fakes.foreign_caches import put_shared_blob
from tests.fakes.hugging_face import HuggingFace
from tests.fakes.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.errors import FetchError, NotFoundError, OfflineError
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.resolution.explain import explain
from tfimm_resolver.sources.hugging_face_cache import find_blob, find_commit, find_snapshot

COMMIT, OTHER = "a" * 40, "b" * 40
ASSET = bytes([2 << 3 | 2, 9, 6 << 3 | 2, 7, 2 << 3 | 2, 5]) + b"v.txt"
"""A SavedModel whose graph names the asset v.txt."""


class Cache:
    """A cache laid out as huggingface_hub 2.4 does it, with one repository, o/m."""

    def __init__(self, hub: Path) -> None:
        self.path = hub / "models--o--m"

    def put(
        self, files: dict[str, bytes], commit: str = COMMIT, *, ref: str = "main", is_listed: bool = False, link: bool = True
    ) -> Path:
        """Add a snapshot, and return its directory."""
        snapshot = self.path / "snapshots" / commit
        for name, data in files.items():
            blob = self.path / "blobs" / hashlib.sha256(data).hexdigest()
            file = snapshot / name
            for path in (blob, file):
                path.parent.mkdir(parents=True, exist_ok=True)
            if link:
                blob.write_bytes(data)
                file.symlink_to(os.path.relpath(blob, file.parent))
            else:
                file.write_bytes(data)
        (refs := self.path / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        refs.write_text(commit)
        if is_listed:
            sizes = {name: {"size": len(data), "blob_id": "x"} for name, data in files.items()}
            self.list(commit, {"format_version": 1, "files": sizes})
        return snapshot

    def list(self, commit: str, facts: object) -> None:
        """Note the list of files of a commit."""
        (self.path / "trees").mkdir(exist_ok=True)
        (self.path / "trees" / f"{commit}.json").write_text(json.dumps(facts))


@pytest.fixture
def cache() -> Cache:
    """The cache at its default place; no request is possible."""
    return Cache(Path.home() / ".cache/huggingface/hub")


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")


pytestmark = pytest.mark.usefixtures("_offline")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFace]:
    """A fake of Hugging Face that can be reached."""
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    with HuggingFace() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.mark.parametrize("link", [True, False], ids=["links", "files"])
@pytest.mark.parametrize("is_listed", [True, False], ids=["listed", "not listed"])
def test_a_complete_snapshot_of_the_commit_is_used_in_place(
    is_listed: bool, link: bool, cache: Cache, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = cache.put(MODEL, is_listed=is_listed, link=link)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for handle in (f"hf://o/m@{COMMIT}", f"https://huggingface.co/o/m/tree/{COMMIT}"):
        assert resolve(handle) == str(snapshot) and files_in(snapshot) == MODEL
    assert explain(f"hf://o/m@{COMMIT}").path == str(snapshot) and not cache_dir.exists()
    with pytest.raises(OfflineError):
        resolve(f"hf://o/m@{OTHER}")


@pytest.mark.parametrize(
    "variables",
    [
        {"HF_HUB_CACHE": "{}/hub"},
        {"HUGGINGFACE_HUB_CACHE": "{}/hub"},
        {"HF_HOME": "{}"},
        {"XDG_CACHE_HOME": "{}/xdg"},
        {"HF_HUB_CACHE": "$SOMEWHERE/hub", "SOMEWHERE": "{}", "HF_HOME": "/nowhere"},
        {"HF_HUB_CACHE": ""},
    ],
    ids=["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "expanded", "empty"],
)
def test_the_cache_is_where_huggingface_hub_has_it(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    hub = {"XDG_CACHE_HOME": tmp_path / "xdg/huggingface/hub"}.get(next(iter(variables)), tmp_path / "hub")
    hub = Path.home() / ".cache/huggingface/hub" if "" in variables.values() else hub
    snapshot = Cache(hub).put(MODEL)
    assert resolve(f"hf://o/m@{COMMIT}") == str(snapshot)


def test_a_folder_of_a_snapshot_is_used(cache: Cache) -> None:
    files = {f"saved/{name}": data for name, data in MODEL.items()}
    snapshot = cache.put({**files, "README.md": b"x"}, is_listed=True)
    assert resolve(f"hf://o/m@{COMMIT}/saved") == f"{snapshot}/saved"
    (snapshot / "README.md").unlink()
    assert resolve(f"hf://o/m@{COMMIT}/saved") == f"{snapshot}/saved", "what is beside it does not matter"
    with pytest.raises(OfflineError):
        resolve(f"hf://o/m@{COMMIT}")


def test_a_listed_snapshot_need_not_be_a_saved_model(cache: Cache) -> None:
    snapshot = cache.put({"model.safetensors": b"weights"}, is_listed=True)
    assert resolve(f"hf://o/m@{COMMIT}") == str(snapshot)


def lose_a_file(cache: Cache, snapshot: Path) -> None:
    (snapshot / "variables/variables.index").unlink()


def lose_a_blob(cache: Cache, snapshot: Path) -> None:
    os.unlink(os.path.realpath(snapshot / "variables/variables.index"))


def cut_a_listed_file(cache: Cache, snapshot: Path) -> None:
    cache.list(COMMIT, {"format_version": 1, "files": {name: {"size": len(MODEL[name]) + 1} for name in MODEL}})


def list_one_more(cache: Cache, snapshot: Path) -> None:
    sizes = {name: {"size": len(data)} for name, data in {**MODEL, "assets/v.txt": b"v"}.items()}
    cache.list(COMMIT, {"format_version": 1, "files": sizes})


def leave_a_download_unfinished(cache: Cache, snapshot: Path) -> None:
    (cache.path / "blobs" / "c0ffee.incomplete").touch()


def move_the_snapshot_out(cache: Cache, snapshot: Path) -> None:
    other = snapshot.with_name("elsewhere")  # as deep, so that its links to blobs still lead to them
    snapshot.rename(other)
    snapshot.symlink_to(other)


def name_an_asset(cache: Cache, snapshot: Path) -> None:
    Path(os.path.realpath(snapshot / "saved_model.pb")).write_bytes(ASSET)


def link_to(target: str) -> Callable[[Cache, Path], None]:
    """Return a change that lets a file of the snapshot lead elsewhere."""

    def change(cache: Cache, snapshot: Path) -> None:
        outside = cache.path.parent / "outside"
        outside.mkdir()
        (outside / "file").write_bytes(b"x")
        (cache.path / "blobs" / "deeper").mkdir()
        (cache.path / "blobs" / "deeper" / "file").write_bytes(b"x")
        os.mkfifo(cache.path / "blobs" / "pipe")
        (snapshot / "extra").symlink_to(target.format(outside=outside, blobs=cache.path / "blobs"))

    return change


@pytest.mark.parametrize(
    "change",
    [
        lose_a_file,
        lose_a_blob,
        cut_a_listed_file,
        list_one_more,
        leave_a_download_unfinished,
        name_an_asset,
        link_to("{outside}/file"),
        link_to("{outside}"),
        link_to("/etc/passwd"),
        link_to("{blobs}/deeper/file"),
        link_to("{blobs}/../../outside/file"),
        link_to("{blobs}/pipe"),
        link_to("extra"),
        lambda _, snapshot: os.mkfifo(snapshot / "pipe"),
        move_the_snapshot_out,
    ],
    ids=[
        *("a file is missing", "a blob is missing", "a size differs", "a listed file is missing", "unfinished", "an asset"),
        *(
            "link out",
            "link to a directory",
            "absolute link",
            "link below the blobs",
            "dots",
            "link to a pipe",
            "loop",
            "pipe",
            "a link in place of the snapshot",
        ),
    ],
)
def test_an_incomplete_or_unsafe_snapshot_is_not_used(change: Callable[[Cache, Path], None], cache: Cache) -> None:
    snapshot = cache.put(MODEL)
    assert find_snapshot(HuggingFaceModel("o", "m", COMMIT)) == str(snapshot)
    change(cache, snapshot)
    for handle in (f"hf://o/m@{COMMIT}", "hf://o/m"):
        with pytest.raises(OfflineError):
            resolve(handle)


def test_assets_that_are_there_are_enough(cache: Cache) -> None:
    snapshot = cache.put({"saved_model.pb": ASSET, "assets/v.txt": b"v"})
    assert resolve(f"hf://o/m@{COMMIT}") == str(snapshot)


@pytest.mark.parametrize(
    "facts",
    [{"format_version": 2, "files": {}}, {"format_version": 1}, [], {"format_version": 1, "files": {"a": None}}],
    ids=["newer", "no files", "a list", "no facts"],
)
def test_a_list_that_cannot_be_read_counts_as_none(facts: object, cache: Cache) -> None:
    snapshot = cache.put(MODEL)
    cache.list(COMMIT, facts)
    assert resolve(f"hf://o/m@{COMMIT}") == str(snapshot)
    (snapshot / "saved_model.pb").unlink()
    with pytest.raises(OfflineError):
        resolve(f"hf://o/m@{COMMIT}")


def test_a_list_without_files_in_the_folder_is_not_enough(cache: Cache) -> None:
    snapshot = cache.put(MODEL)
    (snapshot / "empty").mkdir()
    cache.list(COMMIT, {"format_version": 1, "files": {name: {"size": len(data)} for name, data in MODEL.items()}})
    assert find_snapshot(HuggingFaceModel("o", "m", COMMIT, "empty")) is None


# Branches


@pytest.mark.parametrize(
    ("handle", "ref"), [("hf://o/m", "main"), ("hf://o/m@dev%2Fx", "dev/x"), ("hf://o/m@refs/pr/1", "refs/pr/1")]
)
def test_where_hugging_face_fails_the_commit_of_the_branch_in_its_cache_is_used_with_a_warning(
    handle: str, ref: str, cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot = cache.put(MODEL, ref=ref)
    assert resolve(handle) == str(snapshot) == explain(handle).path
    assert f"is served from the cache, as hf://o/m@{COMMIT}" in caplog.text
    with pytest.raises(OfflineError):
        resolve(handle, refresh=True)
    with pytest.raises(OfflineError):
        resolve("hf://o/m@another")


@pytest.mark.parametrize("text", ["", "main", "../../x", COMMIT[:-1], "\xff" * 40, COMMIT * 10])
def test_a_ref_that_is_not_a_commit_counts_as_none(text: str, cache: Cache) -> None:
    cache.put(MODEL)
    (cache.path / "refs/main").write_text(text, encoding="latin-1")
    assert find_commit(HuggingFaceModel("o", "m")) is None
    with pytest.raises(OfflineError):
        resolve("hf://o/m")


def test_a_branch_that_moved_is_fetched_and_one_that_did_not_is_used_in_place(
    host: HuggingFace, cache: Cache, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = cache.put(MODEL, host.push("o/m", MODEL))
    assert resolve("hf://o/m") == str(snapshot)
    assert not [path for path in host.hub.requests if "/resolve/" in path], "one look-up, and no download"
    new = {"saved_model.pb": b"newer"}
    host.push("o/m", new)
    path = resolve("hf://o/m")
    assert files_in(path) == new and path.startswith(str(cache_dir))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve("hf://o/m") == path, "what the last look-up returned comes before the older ref"


def test_what_was_looked_up_last_is_used_although_only_the_other_cache_has_it(
    host: HuggingFace, cache: Cache, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    cache_dir.mkdir()
    commit = host.push("o/m", MODEL)
    snapshot = cache.put(MODEL, commit)
    resolve("hf://o/m")
    cache.put({"saved_model.pb": b"older"}, OTHER)
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve("hf://o/m") == str(snapshot)


def test_an_incomplete_snapshot_is_fetched(host: HuggingFace, cache: Cache, cache_dir: Path) -> None:
    commit = host.push("o/m", MODEL)
    lose_a_file(cache, cache.put(MODEL, commit))
    path = resolve(f"hf://o/m@{commit}")
    assert files_in(path) == MODEL and path.startswith(str(cache_dir))


def test_an_incomplete_snapshot_is_not_fetched_in_place_of_a_branch_that_cannot_be_looked_up(
    host: HuggingFace, cache: Cache
) -> None:
    lose_a_file(cache, cache.put(MODEL, host.push("o/m", MODEL)))
    host.repositories["o/m"].branches.clear()
    with pytest.raises(NotFoundError):
        resolve("hf://o/m")


def test_what_huggingface_hub_itself_downloaded_is_used_and_part_of_it_is_not(
    host: HuggingFace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = host.push("o/m", {**MODEL, "assets/v.txt": b"v"})
    code = "import huggingface_hub as hub; print(hub.snapshot_download('o/m', allow_patterns={patterns!r}))"
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    snapshot = run(code.format(patterns=["saved_model.pb", "variables/*"]))
    assert os.path.islink(f"{snapshot}/saved_model.pb")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    with pytest.raises(FetchError):
        resolve(f"hf://o/m@{commit}")
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    assert run(code.format(patterns=None)) == snapshot
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve(f"hf://o/m@{commit}") == resolve("hf://o/m") == snapshot


def test_files_that_came_over_xet_are_links_to_a_store_of_all_repositories(cache: Cache, _offline: None) -> None:
    snapshot = cache.put(MODEL)
    for blob in list((cache.path / "blobs").iterdir()):
        data = blob.read_bytes()
        blob.unlink()
        put_shared_blob(blob, data)
    assert resolve(f"hf://o/m@{COMMIT}") == str(snapshot)


@pytest.mark.parametrize(
    ("target", "is_blob"),
    [
        ("../../blobs/ab/ab{rest}", True),
        ("../../blobs/cd/ab{rest}", False),
        ("../../blobs/ab/ab", False),
        ("../../other/ab/ab{rest}", False),
        ("../../../outside", False),
        ("../../blobs/ef/ef{rest}", False),
        ("/etc/passwd", False),
        ("ab", False),
    ],
)
def test_a_blob_may_be_a_link_to_that_store_only(target: str, is_blob: bool, tmp_path: Path) -> None:
    rest, blobs = "0" * 62, tmp_path / "hub" / "models--o--m" / "blobs"
    for folder in (blobs, *(tmp_path / "hub" / name for name in ("blobs/ab", "blobs/cd", "blobs/ef", "other/ab"))):
        folder.mkdir(parents=True)
    for path in ("hub/blobs/ab/ab", f"hub/blobs/ab/ab{rest}", f"hub/blobs/cd/ab{rest}", f"hub/other/ab/ab{rest}", "outside"):
        (tmp_path / path).write_bytes(b"x")
    (blobs / "ab").write_bytes(b"x")
    (tmp_path / "hub" / "blobs" / "ef" / f"ef{rest}").symlink_to(tmp_path / "outside")
    (blobs / "c0ffee").symlink_to(target.format(rest=rest))
    (blobs.parent / "file").symlink_to("blobs/c0ffee")
    found = find_blob(str(blobs.parent / "file"), str(blobs))
    assert found == ((str(tmp_path / "hub" / "blobs" / "ab" / f"ab{rest}"), "c0ffee") if is_blob else None)
