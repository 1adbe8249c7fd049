"""Tests of ``resolution.upstream``: fetches files from the source of a model, or from a mirror."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.origin import Origin
from tfimm_resolver.errors import FetchError, IntegrityError, NotFoundError
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.resolution.upstream import Upstream, make_mirrors_error

PIN = hashlib.sha256(tar_gz()).hexdigest()


def plan_with_mirror(url: str, mirror: str) -> ResolvedPlan:
    """Return the plan of a pinned model that has a mirror."""
    model = ModelEntry("m", url, "/models.toml", PIN, None, (), (mirror,))
    return replace(rules.match_rule(Request.parse(url, sha256=PIN)), model=model)


@pytest.fixture
def into(tmp_path: Path) -> Path:
    """An empty directory."""
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


def test_a_mirror_is_used_if_the_source_fails(origin: Origin, into: Path, tmp_path: Path) -> None:
    mirror = origin.put("/mirror.tgz", tar_gz())
    result = Upstream(plan_with_mirror(f"{origin.url}/gone.tgz", mirror)).fill(into, tmp_path / "parts")
    assert files_in(into) == MODEL and result is not None
    assert (result.origin.url, result.origin.sha256) == (mirror, PIN)


def test_an_archive_that_does_not_match_the_pin_is_reported_and_no_mirror_tried(
    origin: Origin, into: Path, tmp_path: Path
) -> None:
    url = origin.put("/m.tgz", tar_gz({"saved_model.pb": b"another"}))
    with pytest.raises(IntegrityError):
        Upstream(plan_with_mirror(url, origin.put("/mirror.tgz", tar_gz()))).fill(into, tmp_path / "parts")
    assert "/mirror.tgz" not in origin.requests


def test_if_all_fail_the_error_lists_every_mirror(origin: Origin, into: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="all mirrors failed") as caught:
        Upstream(plan_with_mirror(f"{origin.url}/a.tgz", f"{origin.url}/b.tgz")).fill(into, tmp_path / "parts")
    assert "/a.tgz" in caught.value.text and "/b.tgz" in caught.value.text and files_in(into) == {}


def test_the_first_error_is_the_main_one() -> None:
    error = make_mirrors_error([NotFoundError("first"), FetchError("second")])
    assert isinstance(error, NotFoundError) and error.text == "first\n  all mirrors failed:\n  second"
