"""Tests of ``resolution.explain``: which rule decides, and why other candidates were rejected."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.models_file import make_entry, write
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tfimm_resolver import resolve, settings
from tfimm_resolver.errors import UnknownHandleError
from tfimm_resolver.resolution.explain import explain


def test_the_file_that_decides_and_the_directory_that_does_not_are_named(
    project: Path, origin: Origin, tmp_path: Path
) -> None:
    settings.set_dir(tmp_path / "names")
    named = put_model(tmp_path / "names/m")
    assert explain("m").path == str(named)
    file = write(project, make_entry("m", origin.put("/m.tgz", tar_gz())))
    found = explain("m")
    assert (found.resolved.rule, found.path, found.decided_by) == ("models file", None, f"{file}:1")
    assert (str(named), "exists, lower priority") in found.rejected and origin.requests == []
    path = resolve("m")
    assert explain("m").path == path


def test_a_cached_model_that_does_not_match_its_pin_is_explained_and_not_raised(origin: Origin) -> None:
    url = origin.put("/m.tgz", tar_gz())
    resolve(url)
    found = explain(f"{url}#sha256={'ab' * 32}")
    assert found.path is None and found.error is not None and found.decided_by == "http"


def test_each_extra_root_has_its_own_reason(
    origin: Origin, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = origin.put("/m.tgz", tar_gz())
    name = Path(resolve(url)).name
    roots = {kind: tmp_path / kind for kind in ("missing", "empty", "damaged", "first", "second")}
    for kind in ("damaged", "first", "second"):
        shutil.copytree(cache_dir, roots[kind])
    (roots["damaged"] / name / "saved_model.pb").write_bytes(b"x")
    roots["empty"].mkdir()
    monkeypatch.setenv(settings.EXTRA_ROOTS, os.pathsep.join(map(str, roots.values())))
    found = explain(url)
    assert found.path == f"{roots['first']}/{name}"
    assert {path: reason for path, reason in found.rejected if path in map(str, roots.values())} == {
        str(roots["missing"]): "an extra root that does not exist",
        str(roots["empty"]): "an extra root without a copy",
        str(roots["damaged"]): "an extra root with a damaged copy",
        str(roots["second"]): "an extra root with a complete copy, lower priority",
    }
    resolve(url, refresh=True)
    assert (str(roots["first"]), "an extra root with a complete copy, fetched earlier") in explain(url).rejected
    pinned = explain(f"{url}#sha256={'ab' * 32}")
    assert (str(roots["first"]), "an extra root with a copy that is not known to match the pin") in pinned.rejected


def test_a_name_that_no_rule_matches_is_an_error() -> None:
    with pytest.raises(UnknownHandleError):
        explain("no_such_model")
