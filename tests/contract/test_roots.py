"""What every kind of root promises, asked of each."""

from __future__ import annotations

import os
import threading
import time
import uuid
from pathlib import Path

import pytest

from tests.archives import MODEL
from tests.test_names import put_model
from tfimm_resolver.cache.bucket_root import BucketRoot
from tfimm_resolver.cache.cache import Cache
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record, hash_tree
from tfimm_resolver.cache.roots import LocalRoot, Root, open_root, serves
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
        return open_root(f"memory://{uuid.uuid4().hex}/below/it")
    request.getfixturevalue({"gs": "gcs", "s3": "s3"}[request.param])
    return open_root(f"{request.param}://bucket/below/it")


@pytest.fixture
def here(tmp_path: Path) -> Root:
    """An empty root on this machine's disk."""
    return open_root(str(tmp_path / "not" / "made" / "yet"))


def published(root: Root, files: dict[str, bytes] = MODEL, known: Record | None = None) -> Record:
    """A record of files that were put there, in force."""
    with root.lock(NAME) as staged:
        assert staged is not None
        put_model(staged, files)
        new = Record("https://h/m", NAME, "", Origin(sha256="ab" * 32), hash_tree(str(staged)))
        record = root.publish(staged, new, known or Record("", NAME))
        root.write(TEXT, record.to_text())
    return record


def damage(root: Root, record: Record, path: str, data: bytes | None) -> None:
    """Give a file of a tree other bytes, or none at all."""
    if isinstance(root, LocalRoot):
        file = Path(root.locate(record.tree), path)
        file.unlink() if data is None else file.write_bytes(data)
    elif isinstance(root, BucketRoot):
        name = f"{record.tree}/{path}"
        root.objects.delete([name]) if data is None else root.objects.write(name, data)


def lying(root: Root) -> list[str]:
    """All that lies in a root, trees and texts."""
    folders = root.objects.top()[0] if isinstance(root, BucketRoot) else []
    return sorted([*folders, *root.names()])


def test_a_root_that_is_not_made_yet_is_empty(root: Root) -> None:
    assert root.names() == [] and root.read(TEXT) is None
    assert root.fault(Record("", NAME)) is not None


def test_a_text_is_read_as_it_was_written_and_replaced_whole(root: Root) -> None:
    with root.lock(NAME):
        root.write(TEXT, "one")
        root.write(TEXT, "two é")
        assert root.read(TEXT) == "two é"
    assert root.names() == [TEXT]


def test_what_was_published_is_whole_and_nothing_else_is_there(root: Root) -> None:
    record = published(root)
    assert root.fault(record) is None and list(root.hash_faults(record)) == []
    assert lying(root) == sorted([record.tree, TEXT])
    assert root.locate(record.tree).endswith(f"/{record.tree}")


def test_what_was_staged_and_not_published_is_gone(root: Root) -> None:
    with pytest.raises(RuntimeError), root.lock(NAME) as staged:
        assert staged is not None
        put_model(staged)
        raise RuntimeError
    assert lying(root) == []


def test_a_tree_that_no_record_names_is_a_model_on_a_disk_and_none_in_a_bucket(root: Root) -> None:
    with root.lock(NAME) as staged:
        assert staged is not None
        put_model(staged)
        root.publish(staged, Record("https://h/m", NAME, files=hash_tree(str(staged))), Record("", NAME))
    assert [entry.name for entry in Cache(root).entries()] == ([] if isinstance(root, BucketRoot) else [NAME])
    assert lying(root) != []


def test_the_same_published_again_stays_where_it_is(root: Root) -> None:
    record = published(root)
    assert published(root, known=record).tree == record.tree
    assert lying(root) == sorted([record.tree, TEXT])


def test_another_model_is_published_beside_the_one_that_may_be_being_read(root: Root) -> None:
    old = published(root)
    new = published(root, OTHER, old)
    assert new.tree != old.tree
    assert [*root.hash_faults(old), *root.hash_faults(new)] == []


@pytest.mark.parametrize("data", [None, b"short", b"b graph"], ids=["missing", "short", "changed"])
def test_a_damaged_tree_is_told_and_healed_by_the_same_model(root: Root, data: bytes | None) -> None:
    assert len(MODEL["saved_model.pb"]) == len(b"b graph")
    record = published(root)
    damage(root, record, "saved_model.pb", data)
    (fault,) = root.hash_faults(record)
    assert fault.startswith("saved_model.pb ")
    healed = published(root, known=record)
    assert root.fault(healed) is None and list(root.hash_faults(healed)) == []


def test_all_that_belongs_to_a_name_is_removed_and_nothing_is_no_error(root: Root) -> None:
    published(root, OTHER, published(root))
    for _ in range(2):
        with root.lock(NAME):
            root.remove(NAME)
    assert lying(root) == []


def test_a_replaced_tree_stays_for_a_while_and_then_goes(root: Root, monkeypatch: pytest.MonkeyPatch) -> None:
    old = published(root)
    new = published(root, OTHER, old)
    root.tidy(lambda name: new.tree)
    assert lying(root) == sorted([old.tree, new.tree, TEXT])
    monkeypatch.setattr("tfimm_resolver.cache.local_root.REPLACED_TTL_S", -60)
    monkeypatch.setattr("tfimm_resolver.cache.bucket_root._GC_MIN_AGE_S", -60)
    root.tidy(lambda name: new.tree)
    assert lying(root) == sorted([new.tree, TEXT]) and list(root.hash_faults(new)) == []


def test_the_age_of_a_tree_counts_from_when_it_was_published(here: Root) -> None:
    with here.lock(NAME) as staged:
        assert staged is not None
        put_model(staged)
        os.utime(staged, (0, 0))  # its download took long
        here.publish(staged, Record("", NAME, files=hash_tree(str(staged))), Record("", NAME))
    assert time.time() - os.stat(here.locate(NAME)).st_mtime < 60


def test_a_lock_excludes_other_threads_of_this_process(root: Root) -> None:
    inside, most = 0, 0
    guard = threading.Lock()
    together = threading.Barrier(8)

    def work() -> None:
        nonlocal inside, most
        together.wait()
        with root.lock(NAME):
            with guard:
                inside += 1
                most = max(most, inside)
            threading.Event().wait(0.01)
            with guard:
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and lying(root) == []


def old_parts(root: Root, key: str, *, old_s: float) -> Path:
    """An unfinished download that nobody continued for so long."""
    parts = Path(root.locate(f"{key}.parts"))
    parts.mkdir(parents=True)
    (parts / "0").write_bytes(b"bytes")
    for path in (parts / "0", parts):
        os.utime(path, (0, time.time() - old_s))
    return parts


def test_an_unfinished_download_of_another_model_goes_a_day_after_anybody_continued_it(here: Root) -> None:
    old, new, own = (old_parts(here, key * 40, old_s=old_s) for key, old_s in (("1", 90_000), ("2", 80_000), ("0", 90_000)))
    os.utime(new, (0, 0))  # the newest of what is in it counts
    with here.lock(NAME):
        assert not old.exists() and new.exists() and own.exists()
    assert sorted(here.names()) == [own.name, new.name]


def test_an_unfinished_download_goes_although_it_holds_a_link_to_nowhere(here: Root) -> None:
    old = old_parts(here, "1" * 40, old_s=90_000)
    (old / "link").symlink_to("nowhere")
    for path in (old / "link", old):
        os.utime(path, (0, 0), follow_symlinks=False)
    with here.lock(NAME):
        assert not old.exists()


def test_an_unfinished_download_that_somebody_is_about_to_continue_stays(here: Root) -> None:
    old = old_parts(here, "1" * 40, old_s=90_000)
    with here.lock("1" * 40), here.lock(NAME):
        assert old.exists()


def test_a_claim_on_a_lock_that_is_long_gone_goes(here: Root) -> None:
    with here.lock(NAME):
        Path(here.locate(f"{NAME}.claim-word")).touch()
    with here.lock(NAME):
        pass
    assert here.names() == []


def test_no_root_serves_an_unknown_scheme() -> None:
    assert serves("/a/b") and not serves("ftp://host/cache")
    with pytest.raises(CacheError, match="cannot live at ftp://host/cache"):
        open_root("ftp://host/cache")
