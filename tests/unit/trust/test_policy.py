"""The rules of the settings file: parsed, with errors that name it, and found for each spelling of a handle."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.signing import trust_prefix
from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.trust.policy import list_requirements, list_rules


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "home/.config/tfimm_resolver/config.toml"


def test_without_a_file_nothing_is_required(config: Path) -> None:
    assert list_rules() == () and list_requirements([Handle.parse("https://models.example/m/1")]) == []


def test_a_rule_counts_for_its_prefix(config: Path) -> None:
    trust_prefix(config, "https://models.example/", '{ key = "team.pub" }')
    (requirement,) = list_requirements([Handle.parse("https://models.example/m/1")])
    assert requirement.signer.keys == (str(config.parent / "team.pub"),)
    assert requirement.source == f"trust 1 in {config}" and requirement.signature == ""
    assert list_requirements([Handle.parse("https://other.example/m/1")]) == []
    both = [Handle.parse("https://other.example/m/1"), Handle.parse("https://models.example/m/1")]
    assert list_requirements(both) == [requirement]


def test_all_rules_that_fit_count(config: Path) -> None:
    trust_prefix(config, "https://models.example/", '{ key = "team.pub" }')
    text = config.read_text()
    more = '[[trust]]\nprefix = "https://models.example/m/"\nsigner = { key = "b.pub" }\nsignature = "m.sig"\n'
    config.write_text(text + more)
    requirements = list_requirements([Handle.parse("https://models.example/m/1")])
    assert [one.signature for one in requirements] == ["", str(config.parent / "m.sig")]
    assert len(list_requirements([Handle.parse("https://models.example/n/1")])) == 1


RULE = 'prefix = "https://models.example/"\n'
SIGNER = 'signer = { key = "team.pub" }\n'


@pytest.mark.parametrize(
    "text",
    [
        "trust = 5",
        "trust = [5]",
        f"[trust]\n{RULE}{SIGNER}",
        f"[[trust]]\n{RULE}",
        f"[[trust]]\n{SIGNER}",
        f"[[trust]]\n{RULE}{SIGNER}signatures = 'x'",
        f"[[trust]]\n{RULE}signer = 5",
        f"[[trust]]\n{RULE}{SIGNER}signature = ''",
        f"[[trust]]\nprefix = 'models.example'\n{SIGNER}",
        f"[[trust]]\nprefix = ''\n{SIGNER}",
    ],
)
def test_a_rule_that_is_not_valid_is_an_error_that_names_the_file(config: Path, text: str) -> None:
    config.parent.mkdir(parents=True)
    config.write_text(text)
    with pytest.raises(HandleError) as caught:
        list_rules()
    assert str(config) in caught.value.text and caught.value.fix
