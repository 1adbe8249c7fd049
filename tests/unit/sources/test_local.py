"""Tests of ``sources.local``: plans for paths on this machine."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.named_models import put_model
from tfimm_resolver.errors import HandleError, IntegrityError
from tfimm_resolver.handles.handle import ARCHIVE_SUFFIXES, Handle
from tfimm_resolver.sources import local
from tfimm_resolver.sources.plan import Fetch, InPlace
from tfimm_resolver.transfer.downloader import Downloader


def test_a_directory_is_used_in_place_and_a_missing_path_is_left_to_other_rules(tmp_path: Path) -> None:
    path = put_model(tmp_path / "m")
    assert local.plan(Handle.parse(str(path))) == local.plan(Handle.parse(f"file://{path}")) == InPlace(str(path))
    assert local.plan(Handle.parse(str(tmp_path / "gone"))) is None


def test_an_archive_is_keyed_by_its_content(tmp_path: Path) -> None:
    for name in ("a.tgz", "b.tgz"):
        (tmp_path / name).write_bytes(tar_gz())
    plans = [local.plan(Handle.parse(str(tmp_path / name))) for name in ("a.tgz", "b.tgz")]
    assert [plan.key for plan in plans if isinstance(plan, Fetch)] == [f"sha256:{hashlib.sha256(tar_gz()).hexdigest()}"] * 2


def test_an_archive_that_changed_after_it_was_planned_is_refused(tmp_path: Path) -> None:
    handle = Handle.parse(str(tmp_path / "m.tgz"))
    (tmp_path / "m.tgz").write_bytes(tar_gz())
    plan = local.plan(handle)
    assert isinstance(plan, Fetch)
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
    plan.fill(tmp_path / "before", Downloader(handle))
    assert files_in(tmp_path / "before") == MODEL
    (tmp_path / "m.tgz").write_bytes(tar_gz({"saved_model.pb": b"another"}))
    with pytest.raises(IntegrityError, match="changed while it was read"):
        plan.fill(tmp_path / "after", Downloader(handle))


def test_a_file_without_the_suffix_of_an_archive_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.h5").touch()
    with pytest.raises(HandleError, match=f"{tmp_path}/m.h5 is a file, but its name does not end in") as caught:
        local.plan(Handle.parse(str(tmp_path / "m.h5")))
    assert all(suffix in re.split(r"[,:]? ", caught.value.text) for suffix in ARCHIVE_SUFFIXES)


def test_a_text_file_is_not_taken_for_what_a_server_sent(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(HandleError, match="it is plain text") as caught:
        local.plan(Handle.parse(str(tmp_path / "notes.txt")))
    assert caught.value.fix == "Give the URL or path of the archive itself."


def test_a_literal_name_comes_before_an_expanded_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELS", "/mnt")
    assert local.find_path(Handle.parse("$MODELS/m")) == "/mnt/m"
    assert local.find_path(Handle.parse("~/m")) == f"{Path.home()}/m"
    (tmp_path / "$MODELS").mkdir()
    (tmp_path / "$MODELS/m").mkdir()
    assert local.find_path(Handle.parse("$MODELS/m")) == f"{tmp_path}/$MODELS/m"
