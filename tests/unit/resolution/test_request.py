"""Tests of ``resolution.request``: what is asked for, and how its plan is shown and redirected."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.sources.plan import InPlace

PIN = "ab" * 32
URL, MIRROR = "https://host/m.tgz", "https://mirror/m.tgz"


def test_the_pin_of_a_handle_or_an_argument_is_what_the_archive_has_to_be() -> None:
    for request in (Request.parse(f"{URL}#sha256={PIN}"), Request.parse(URL, sha256=PIN)):
        assert request.pin.sha256 == request.handle.sha256 == PIN and not request.refresh
    with pytest.raises(HandleError):
        Request.parse(URL, sha256="ab")


def test_the_label_of_a_plan_has_no_secret_and_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "hidden" not in ResolvedPlan("source", Request.parse(f"{URL}?token=hidden"), InPlace("")).label
    assert ResolvedPlan("source", Request.parse("./m"), InPlace("")).label == f"{tmp_path}/m"


def test_mirrors_belong_to_the_handle_of_the_models_file_only() -> None:
    model = ModelEntry("m", URL, "/models.toml", PIN, None, (), (MIRROR,))
    resolved = ResolvedPlan("models file", Request.parse(URL, sha256=PIN), InPlace(""), model)
    assert [(mirror.key, mirror.sha256) for mirror in resolved.mirrors] == [(Handle.parse(MIRROR).key, PIN)]
    other = resolved.redirect(Handle.parse("https://host/other.tgz"), InPlace("/m"))
    assert other.mirrors == () and other.plan == InPlace("/m") and other.model is model
