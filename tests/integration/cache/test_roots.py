"""The contract of roots, tested for each kind."""

from __future__ import annotations

import os
import threading
import time
import uuid
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes import origin as origins
from tests.fakes.archives import MODEL, tar_gz
from tests.fakes.named_models import put_model
from tfimm_resolver.cache.bucket_root import BucketRoot
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record, hash_tree
from tfimm_resolver.cache.roots import LocalRoot, Root, is_supported_root, open_root
from tfimm_resolver.errors import CacheError
from tfimm_resolver.manifest import Origin

NAME = "0" * 40
TEXT = NAME + DESCRIPTOR_SUFFIX
OTHER = {"saved_model.pb": b"another graph", "assets/words.txt": b"a\nb\n"}


@pytest.fixture(params=["local", "memory", "gs", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """An empty root of each kind."""
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "here"))
    if request.param == "local":
        return open_root(str(tmp_path / "not" / "made" / "yet"))
    if request.param == "memory":
        request.getfixturevalue("patient_leases")
        return open_root(f"memory://{uuid.uuid4().hex}/below/it")
    request.getfixturevalue({"gs": "gcs", "s3": "s3"}[request.param])
    return open_root(f"{request.param}://bucket/below/it")


@pytest.fixture
def local_root(tmp_path: Path) -> Root:
    """An empty root on a local disk."""
    return open_root(str(tmp_path / "not" / "made" / "yet"))


def publish(root: Root, files: dict[str, bytes] = MODEL, known: Record | None = None) -> Record:
    """Publish files and their record; return the record."""
    with root.lock(NAME) as staged:
        assert staged is not None
        put_model(staged, files)
        new = Record("https://h/m", NAME, "", Origin(sha256="ab" * 32), hash_tree(str(staged)))
        record = root.publish(staged, new, known or Record("", NAME))
        root.write(TEXT, record.to_text())
    return record


def damage(root: Root, record: Record, path: str, data: bytes | None) -> None:
    """Overwrite a file of a tree, or remove it."""
    if isinstance(root, LocalRoot):
        file = Path(root.path_of(record.tree), path)
        file.unlink() if data is None else file.write_bytes(data)
    elif isinstance(root, BucketRoot):
        name = f"{record.tree}/{path}"
        root.objects.delete([name]) if data is None else root.objects.write(name, data)


def list_contents(root: Root) -> list[str]:
    """Return the names of all trees and texts in a root."""
    folders = root.objects.list_top_level()[0] if isinstance(root, BucketRoot) else []
    return sorted([*folders, *root.list_names()])


def test_a_root_that_does_not_exist_yet_is_empty(root: Root) -> None:
    assert root.list_names() == [] and root.read(TEXT) is None
    assert root.find_defect(Record("", NAME)) is not None


def test_a_text_is_read_as_it_was_written_and_replaced_completely(root: Root) -> None:
    with root.lock(NAME):
        root.write(TEXT, "one")
        root.write(TEXT, "two é")
        assert root.read(TEXT) == "two é"
    assert root.list_names() == [TEXT]


def test_a_published_model_is_complete_and_alone_in_the_root(root: Root) -> None:
    record = publish(root)
    assert root.find_defect(record) is None and list(root.verify_hashes(record)) == []
    assert list_contents(root) == sorted([record.tree, TEXT])
    assert root.path_of(record.tree).endswith(f"/{record.tree}")


def test_staged_files_that_were_not_published_are_removed(root: Root) -> None:
    with pytest.raises(RuntimeError), root.lock(NAME) as staged:
        assert staged is not None
        put_model(staged)
        raise RuntimeError
    assert list_contents(root) == []


def test_a_tree_that_no_record_names_is_a_model_on_a_disk_and_none_in_a_bucket(root: Root) -> None:
    with root.lock(NAME) as staged:
        assert staged is not None
        put_model(staged)
        root.publish(staged, Record("https://h/m", NAME, files=hash_tree(str(staged))), Record("", NAME))
    assert [entry.name for entry in Cache(root).entries()] == ([] if isinstance(root, BucketRoot) else [NAME])
    assert list_contents(root) != []


def test_publishing_the_same_files_again_keeps_the_tree(root: Root) -> None:
    record = publish(root)
    assert publish(root, known=record).tree == record.tree
    assert list_contents(root) == sorted([record.tree, TEXT])


def test_other_files_are_published_beside_those_that_may_be_being_read(root: Root) -> None:
    old = publish(root)
    new = publish(root, OTHER, old)
    assert new.tree != old.tree
    assert [*root.verify_hashes(old), *root.verify_hashes(new)] == []


@pytest.mark.parametrize("data", [None, b"short", b"b graph"], ids=["missing", "short", "changed"])
def test_a_damaged_tree_is_noticed_and_repaired_by_the_same_model(root: Root, data: bytes | None) -> None:
    assert len(MODEL["saved_model.pb"]) == len(b"b graph")
    record = publish(root)
    damage(root, record, "saved_model.pb", data)
    (message,) = root.verify_hashes(record)
    assert message.startswith("saved_model.pb ")
    healed = publish(root, known=record)
    assert root.find_defect(healed) is None and list(root.verify_hashes(healed)) == []


def test_remove_leaves_nothing_of_an_entry_and_may_be_repeated(root: Root) -> None:
    publish(root, OTHER, publish(root))
    for _ in range(2):
        with root.lock(NAME):
            root.remove(NAME, force=True)
    assert list_contents(root) == []


def test_a_replaced_tree_is_removed_after_a_while(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    old = publish(root)
    new = publish(root, OTHER, old)
    root.collect_garbage(lambda name: new.tree)
    assert list_contents(root) == sorted([old.tree, new.tree, TEXT])
    monkeypatch.setattr("tfimm_resolver.cache.local_cleanup.REPLACED_TTL_S", -60)
    monkeypatch.setattr("tfimm_resolver.cache.bucket_root._GC_MIN_AGE_S", -60)
    monkeypatch.setenv("TFIMM_RESOLVER_GRACE_WITHOUT_LOCKS", "0s")
    root.collect_garbage(lambda name: new.tree)
    assert list_contents(root) == sorted([new.tree, TEXT]) and list(root.verify_hashes(new)) == []


def test_the_age_of_a_tree_counts_from_when_it_was_published(local_root: Root) -> None:
    with local_root.lock(NAME) as staged:
        assert staged is not None
        put_model(staged)
        os.utime(staged, (0, 0))  # its download took long
        local_root.publish(staged, Record("", NAME, files=hash_tree(str(staged))), Record("", NAME))
    assert time.time() - os.stat(local_root.path_of(NAME)).st_mtime < 60


def test_a_lock_excludes_other_threads_of_this_process(root: Root) -> None:
    inside, max_inside = 0, 0
    guard = threading.Lock()
    barrier = threading.Barrier(8)

    def work() -> None:
        nonlocal inside, max_inside
        barrier.wait()
        with root.lock(NAME):
            with guard:
                inside += 1
                max_inside = max(max_inside, inside)
            threading.Event().wait(0.01)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max_inside == 1 and list_contents(root) == []


def make_old_parts(root: Root, key: str, *, old_s: float) -> Path:
    """Create a partial download that was not resumed for so long."""
    parts = Path(root.path_of(f"{key}.parts"))
    parts.mkdir(parents=True)
    (parts / "0").write_bytes(b"bytes")
    for path in (parts / "0", parts):
        os.utime(path, (0, time.time() - old_s))
    return parts


def test_a_partial_download_of_another_model_is_removed_after_a_day(local_root: Root) -> None:
    old, new, own = (
        make_old_parts(local_root, key * 40, old_s=old_s) for key, old_s in (("1", 90_000), ("2", 80_000), ("0", 90_000))
    )
    os.utime(new, (0, 0))  # the newest file in it counts
    with local_root.lock(NAME):
        assert not old.exists() and new.exists() and own.exists()
    assert sorted(local_root.list_names()) == [own.name, new.name]


def test_a_partial_download_with_a_dangling_link_is_removed(local_root: Root) -> None:
    old = make_old_parts(local_root, "1" * 40, old_s=90_000)
    (old / "link").symlink_to("nowhere")
    for path in (old / "link", old):
        os.utime(path, (0, 0), follow_symlinks=False)
    with local_root.lock(NAME):
        assert not old.exists()


def test_a_partial_download_whose_lock_is_held_stays(local_root: Root) -> None:
    old = make_old_parts(local_root, "1" * 40, old_s=90_000)
    with local_root.lock("1" * 40), local_root.lock(NAME):
        assert old.exists()


def test_a_claim_on_a_lock_that_no_longer_exists_is_removed(local_root: Root) -> None:
    with local_root.lock(NAME):
        Path(local_root.path_of(f"{NAME}.claim-token")).touch()
    with local_root.lock(NAME):
        pass
    assert local_root.list_names() == []


def test_a_root_with_an_unknown_scheme_is_an_error() -> None:
    assert is_supported_root("/a/b") and not is_supported_root("ftp://host/cache")
    with pytest.raises(CacheError, match="ftp://host/cache cannot hold a cache"):
        open_root("ftp://host/cache")


@pytest.mark.parametrize("left", [20, 70, 130, 160], ids=["lock", "staging", "member", "record"])
def test_a_root_whose_path_is_too_long_is_an_error_that_says_so(left: int, origin: origins.Origin, tmp_path: Path) -> None:
    path = str(tmp_path)
    while len(path) < 4095 - left:
        path += "/" + "d" * min(200, 4095 - left - len(path) - 1)
    os.makedirs(path, exist_ok=True)
    handle = origin.put("/m.tar.gz", tar_gz({**MODEL, f"assets/{'n' * 120}": b"x"}))
    with (
        tfimm_resolver.using(dir=path),
        pytest.raises(CacheError, match="is too long for this file system"),
    ):
        tfimm_resolver.resolve(handle)
    assert os.listdir(path) == []
