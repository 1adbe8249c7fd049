"""Tests of ``cli.diagnosis.configuration``: settings without effect, and files of signatures that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.diagnosis import diagnose
from tests.fakes.signing import make_key
from tfimm_resolver.cli.diagnosis.configuration import NAMES, PREFIX
from tools.reference.variables import find_variables


def test_the_known_variables_are_those_of_the_code() -> None:
    assert {f"{PREFIX}{name}" for name in NAMES} == {name for name in find_variables() if name.startswith(PREFIX)}


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("MAX_SIZ", "MAX_SIZE"),
        ("MAXSIZE", "MAX_SIZE"),
        ("CONECTIONS", "CONNECTIONS"),
        ("READ_TIMEOUT", "READ_TIMEOUT_S"),
        ("max_size", "MAX_SIZE"),
    ],
)
def test_a_misspelt_variable_is_a_problem(name: str, suggestion: str) -> None:
    problems, notes = diagnose(**{f"{PREFIX}{name}": "10GB"})
    assert [*problems] == ["unknown-variable"] and f"{PREFIX}{name} is set" in problems["unknown-variable"] and not notes
    assert suggestion in NAMES


def test_a_variable_like_no_other_is_a_note_and_an_empty_one_is_unset() -> None:
    problems, notes = diagnose(TFIMM_RESOLVER_ZZZ="1", TFIMM_RESOLVER_MAX_SIZ="", TFIMM_RESOLVERS="1")
    assert not problems and [*notes] == ["unknown-variable"] and "ZZZ" in notes["unknown-variable"]


def test_known_variables_are_no_problem() -> None:
    assert diagnose(TFIMM_RESOLVER_MAX_SIZE="10GB", TFIMM_RESOLVER_RETRIES="2") == ({}, {})


@pytest.mark.parametrize("is_in_settings", [False, True])
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('signer = { key = "nosuch.pem" }', "handle"),
        ('signer = { certificate_chain = "nosuch.pem" }', "handle"),
        ('signer = { key = "key.pub" }\nsignature = "nosuch.sig"', "signature-missing"),
        ('signer = { key = "key.pub" }\nsignature = "https://h.example/nosuch.sig"', ""),
        ('signer = { key = "key.pub" }', ""),
    ],
)
def test_a_file_that_a_required_signature_needs(
    line: str, code: str, is_in_settings: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = tmp_path / ("tfimm_resolver/config.toml" if is_in_settings else "tfimm-models.toml")
    file.parent.mkdir(exist_ok=True)
    make_key(tmp_path).public_path.rename(file.parent / "key.pub")
    heading = (
        '[[trust]]\nprefix = "https://h.example/"' if is_in_settings else '[models.half]\nhandle = "https://h.example/a.tgz"'
    )
    file.write_text(f"{heading}\n{line}\n")
    problems, _ = diagnose(**({} if is_in_settings else {"TFIMM_MODELS_FILE": str(file)}))
    assert [*problems] == [code] * bool(code)
    if code:
        assert str(file.parent / "nosuch") in problems[code] and str(file) in problems[code]
