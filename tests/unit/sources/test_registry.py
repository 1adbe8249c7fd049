"""Tests of ``sources.registry``: which sources handle a scheme, and in which order."""

from __future__ import annotations

import pytest

from tfimm_resolver import sources
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources import bucket, github, hugging_face, kaggle, local, plugins, registry, tfhub, web

MODULES = (local, bucket, github, kaggle, hugging_face, web, tfhub)


@pytest.mark.parametrize("module", MODULES)
def test_every_source_is_asked_for_each_of_its_schemes(module: registry.SourceModule) -> None:
    assert module.SCHEMES
    for scheme in module.SCHEMES:
        assert module.plan in registry.get_sources(scheme)


def test_specific_sources_are_asked_before_general_ones() -> None:
    assert registry.get_sources("https")[-2:] == [web.plan, tfhub.plan]
    assert registry.get_sources("") == [local.plan]


def test_schemes_are_listed_once_and_without_the_empty_one() -> None:
    assert len(set(registry.SCHEMES)) == len(registry.SCHEMES)
    assert set(registry.SCHEMES) == {scheme for module in MODULES for scheme in module.SCHEMES} - {""}
    assert registry.list_schemes()[: len(registry.SCHEMES)] == list(registry.SCHEMES)


def test_an_unknown_scheme_has_no_source() -> None:
    assert registry.get_sources(Handle.parse("nosuchscheme://m").scheme) == []


def test_the_help_of_the_package_names_the_group_of_entry_points() -> None:
    assert f'[project.entry-points."{plugins.GROUP}"]' in (sources.__doc__ or "")
