"""Tests of the policies for operations: the variable, the settings file, and what a models file has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tfimm_resolver.errors import HandleError, ModelsFileError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.models_file.schema import parse
from tfimm_resolver.trust.operation_policy import DEFAULT_KINDS, Policy, list_policies, parse_policy

URL = "https://models.example/a/1.tar.gz"


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A function that writes the settings file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def write(text: str) -> None:
        path = tmp_path / "config" / "tfimm_resolver" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, ns=(10**18, 10**18 + len(text)))

    return write


def list_refused(*handles: str) -> set[str]:
    return {kind for policy in list_policies(map(Handle.parse, handles)) for kind in policy.refuse}


def test_without_settings_nothing_is_refused() -> None:
    assert list_policies([Handle.parse(URL)]) == []


@pytest.mark.parametrize(("value", "refused"), [("", set()), ("report", set()), ("refuse", {*DEFAULT_KINDS})])
def test_the_variable_refuses_for_all_models(value: str, refused: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OPS", value)
    assert list_refused(URL) == list_refused("lion") == refused


def test_a_misspelt_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OPS", "Refuse")
    with pytest.raises(HandleError, match="TFIMM_RESOLVER_OPS is 'Refuse'"):
        list_policies([])


RULES = """
[[ops]]
refuse = ["python"]
[[ops]]
prefix = "https://models.example/b/"
refuse = ["network"]
at = "resolve"
[[ops]]
prefix = "https://trusted.example/"
allow = ["python"]
"""


@pytest.mark.parametrize(
    ("handles", "refused"),
    [
        ([URL], ["python"]),
        (["https://models.example/b/1"], ["network", "python"]),
        (["HTTP://MODELS.example:80//c/..//%62/1"], ["network", "python"]),
        ([URL, "https://models.example/b/1"], ["network", "python"]),
        (["https://trusted.example/1"], []),
        (["lion", "https://trusted.example/1"], []),
        (["https://trusted.example/1", "/tmp/model"], ["python"]),
        (["https://trusted.example/../../x", URL], ["python"]),
        (["https://trusted.example.evil.example/1"], ["python"]),
        (["lion"], ["python"]),
    ],
    ids=str,
)
def test_rules_by_prefix_add_up_and_an_exception_needs_all_handles(handles: list[str], refused: list[str], configure) -> None:  # type: ignore[no-untyped-def]
    configure(RULES)
    assert sorted(list_refused(*handles)) == refused


def test_an_exception_does_not_lift_what_the_variable_refuses(configure, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    configure(RULES)
    monkeypatch.setenv("TFIMM_RESOLVER_OPS", "refuse")
    assert list_refused("https://trusted.example/1") == {*DEFAULT_KINDS}


def test_a_link_out_of_an_allowed_directory_is_not_allowed(configure, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    configure(f'[[ops]]\nrefuse = ["python"]\n[[ops]]\nprefix = "{tmp_path}/allowed/"\nallow = ["python"]')
    for name in ("allowed/m", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "other")
    assert list_refused(str(tmp_path / "allowed" / "m")) == set()
    assert list_refused(str(tmp_path / "allowed" / "link")) == {"python"}


def test_one_table_is_for_all_models(configure) -> None:  # type: ignore[no-untyped-def]
    configure('ops = { refuse = ["writes", "reads"], at = "resolve" }')
    policy = list_policies([Handle.parse(URL)])[0]
    assert (policy.refuse, policy.at) == (("writes", "reads"), "resolve") and policy.source.startswith("ops 1 in /")


WRONG = {
    'ops = "refuse"': "has to be a table",
    "ops = {}": "refuses nothing",
    'ops = { refuse = ["pyhton"] }': 'unknown kind "pyhton"',
    'ops = { refuse = "python" }': "list of texts",
    'ops = { refuse = ["python"], at = "start" }': "at of ops is 'start'",
    'ops = { refuses = ["python"] }': 'unknown key "refuses"',
    'ops = { allow = ["python"] }': "no prefix",
    '[[ops]]\nprefix = "x"\nrefuse = ["python"]': "prefix",
    "[[ops]]\n[[ops]]": "refuses nothing",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_in_the_settings_file_is_an_error_that_names_it(text: str, configure) -> None:  # type: ignore[no-untyped-def]
    configure(text)
    with pytest.raises(HandleError, match=WRONG[text]) as caught:
        list_policies([])
    assert "config.toml" in caught.value.text


def test_a_models_file_has_a_policy_for_a_model() -> None:
    entry = parse(f'[models.lion]\nhandle = "{URL}"\nops = {{ refuse = ["python"], at = "resolve" }}', "/p/m.toml")["lion"]
    assert entry.ops == Policy(("python",), "resolve", "lion in /p/m.toml")


@pytest.mark.parametrize("value", ["1", "{}", '{ refuse = ["x"] }', '{ refuse = ["python"], allow = ["python"] }'])
def test_a_mistake_in_a_models_file_names_its_line(value: str) -> None:
    with pytest.raises(ModelsFileError, match=r"m\.toml:3: .*ops"):
        parse(f'[models.lion]\nhandle = "{URL}"\nops = {value}', "/p/m.toml")


def test_a_policy_that_refuses_nothing_is_an_error() -> None:
    with pytest.raises(HandleError, match="refuses nothing"):
        parse_policy({"at": "resolve"}, "here")
