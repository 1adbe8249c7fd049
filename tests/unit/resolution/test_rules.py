"""Tests of ``resolution.rules``: the first rule that matches a request makes its plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.models_file import PIN, make_entry, write
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.named_models import put_model
from tfimm_resolver import settings
from tfimm_resolver.errors import HandleError, ModelsFileError, NotFoundError, UnknownHandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.resolution import overrides, rules
from tfimm_resolver.resolution.request import Request
from tfimm_resolver.sources.plan import Fetch, InPlace


def match(text: str, sha256: str | None = None) -> tuple[str, object]:
    """Return the rule and the plan of a handle."""
    found = rules.match_rule(Request.parse(text, sha256=sha256))
    return found.rule, found.plan


def test_each_rule_comes_before_those_added_earlier(project: Path, tmp_path: Path) -> None:
    settings.set_dir(tmp_path / "names")
    here = put_model(project / "m")
    assert match("m") == ("source", InPlace(str(here)))
    named = put_model(tmp_path / "names/m")
    assert match("m") == ("directory of names", InPlace(str(named)))
    write(project, make_entry("m"))
    assert match("m")[0] == "models file"
    own = put_model(tmp_path / "own")
    overrides.set_model_cache("m", own)
    assert match("m") == ("override", InPlace(str(own)))


def test_an_upstream_request_asks_only_the_sources(project: Path) -> None:
    overrides.set_model_cache("https://host/m.tgz", put_model(project / "m"))
    assert match("https://host/m.tgz")[0] == "override"
    found = rules.match_rule(Request(Handle.parse("https://host/m.tgz"), upstream=True))
    assert found.rule == "source" and isinstance(found.plan, Fetch)


def test_a_pin_that_contradicts_the_models_file_and_mirrors_without_a_pin_are_errors(project: Path) -> None:
    pinned = make_entry("m", "https://host/m.tgz", f'sha256 = "{PIN}"')
    write(project, pinned + make_entry("n", "https://host/n.tgz", 'mirrors = ["https://mirror/n.tgz"]'))
    with pytest.raises(HandleError, match="is pinned to a different sha256"):
        match("m", "cd" * 32)
    with pytest.raises(ModelsFileError, match="n has mirrors, but no sha256"):
        match("n")
    assert match("m", PIN)[0] == "models file"


def test_unknown_handles_are_errors_with_a_suggestion(project: Path) -> None:
    write(project, make_entry("resnet18"))
    for text, fix in (("resnet81", "Did you mean resnet18"), ("htps://host/m", "Did you mean https://host/m ?")):
        with pytest.raises(UnknownHandleError) as caught:
            match(text)
        assert fix in str(caught.value)


def test_only_an_archive_is_a_mirror(tmp_path: Path) -> None:
    assert rules.make_mirror_plan(Handle.parse("https://mirror/m.tgz")).key
    for text in (str(put_model(tmp_path / "m")), str(tmp_path / "gone"), "nosuchscheme://m"):
        with pytest.raises(NotFoundError):
            rules.make_mirror_plan(Handle.parse(text))
