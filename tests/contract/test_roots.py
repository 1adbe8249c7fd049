"""What every kind of root promises, asked of each."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.archives import MODEL, files_in
from tests.test_names import put_model
from tfimm_resolver.errors import CacheError
from tfimm_resolver.record import Record
from tfimm_resolver.roots import Root, open_root, serves

NAME = "0" * 40
TEXT = f"{NAME}.descriptor.txt"


@pytest.fixture(params=["local"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Root:
    """An empty root of each kind."""
    return open_root(str(tmp_path / "not" / "made" / "yet"))


def test_a_root_that_is_not_made_yet_is_empty(root: Root) -> None:
    assert root.names() == [] and root.read(TEXT) is None
    assert root.fault(Record("", NAME)) is not None


def test_a_text_is_read_as_it_was_written_and_replaced_whole(root: Root) -> None:
    with root.lock(NAME):
        root.write(TEXT, "one")
        root.write(TEXT, "two é")
        assert root.read(TEXT) == "two é"
    assert root.names() == [TEXT]


def test_what_was_staged_is_seen_only_once_it_is_adopted(root: Root) -> None:
    with root.lock(NAME) as staged:
        put_model(staged)
        assert root.fault(Record("", NAME)) is not None
        assert root.adopt(staged, NAME)
    assert files_in(root.locate(NAME)) == MODEL and root.names() == [NAME]


def test_what_was_staged_and_not_adopted_is_gone(root: Root) -> None:
    with pytest.raises(RuntimeError), root.lock(NAME) as staged:
        put_model(staged)
        raise RuntimeError
    assert root.names() == []


def test_a_tree_that_stands_is_not_replaced(root: Root) -> None:
    for expected in (True, False):
        with root.lock(NAME) as staged:
            put_model(staged)
            assert root.adopt(staged, NAME) is expected
    assert root.names() == [NAME]


def test_what_is_removed_is_gone_and_nothing_is_no_error(root: Root) -> None:
    with root.lock(NAME) as staged:
        root.write(TEXT, "x")
        put_model(staged)
        root.adopt(staged, NAME)
        for name in (TEXT, NAME, NAME):
            root.remove(name)
    assert root.names() == []


def test_the_age_of_a_tree_counts_from_when_it_was_adopted(root: Root) -> None:
    with root.lock(NAME) as staged:
        put_model(staged)
        os.utime(staged, (0, 0))  # its download took long
        root.adopt(staged, NAME)
    assert root.retired_for_s(NAME) < 60


def test_a_retired_tree_tells_since_when(root: Root) -> None:
    with root.lock(NAME) as staged:
        put_model(staged)
        root.adopt(staged, NAME)
    root.retire(NAME)
    assert 0 <= root.retired_for_s(NAME) < 60


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
    assert most == 1 and root.names() == []


def old_parts(root: Root, key: str, *, old_s: float) -> Path:
    """An unfinished download that nobody continued for so long."""
    parts = Path(root.locate(f"{key}.parts"))
    parts.mkdir(parents=True)
    (parts / "0").write_bytes(b"bytes")
    for path in (parts / "0", parts):
        os.utime(path, (0, time.time() - old_s))
    return parts


def test_an_unfinished_download_of_another_model_goes_a_day_after_anybody_continued_it(root: Root) -> None:
    old, new, own = (old_parts(root, key * 40, old_s=old_s) for key, old_s in (("1", 90_000), ("2", 80_000), ("0", 90_000)))
    os.utime(new, (0, 0))  # the newest of what is in it counts
    with root.lock(NAME):
        assert not old.exists() and new.exists() and own.exists()
    assert sorted(root.names()) == [own.name, new.name]


def test_an_unfinished_download_that_somebody_is_about_to_continue_stays(root: Root) -> None:
    old = old_parts(root, "1" * 40, old_s=90_000)
    with root.lock("1" * 40), root.lock(NAME):
        assert old.exists()


def test_a_claim_on_a_lock_that_is_long_gone_goes(root: Root) -> None:
    with root.lock(NAME):
        Path(root.locate(f"{NAME}.claim-word")).touch()
    with root.lock(NAME):
        pass
    assert root.names() == []


def test_no_root_serves_an_unknown_scheme() -> None:
    assert serves("/a/b") and not serves("ftp://host/cache")
    with pytest.raises(CacheError, match="cannot live at ftp://host/cache"):
        open_root("ftp://host/cache")
