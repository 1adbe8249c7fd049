"""Explanations of errors in a terminal: found by every name, current, and as wide as the terminal."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.cli import run_cli
from tfimm_resolver import errors
from tfimm_resolver._util.toml import parse_toml
from tfimm_resolver.cli import diagnosis, exit_codes, explanations
from tfimm_resolver.cli.diagnosis.codes import CODES, find_meaning

DOCTOR_PAGE = Path(__file__).parents[3] / "docs" / "guides" / "doctor.md"


def test_every_code_of_doctor_can_be_explained() -> None:
    used = set[str]()
    for path in Path(diagnosis.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("make_problem", "make_note")
            ):
                used |= {str(node.args[0].value)} if isinstance(node.args[0], ast.Constant) else set()
    assert len(used) > 10 and {code for code in used if find_meaning(code) is None} == set()
    assert used <= {*explanations.list_names()}


def test_the_page_on_doctor_has_the_same_codes() -> None:
    rows = re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+) \| (.*) \|$", DOCTOR_PAGE.read_text(), re.MULTILINE)
    assert {tuple(re.findall(r"`(.+?)`", codes)): text for codes, text in rows} == CODES


def test_a_code_of_doctor_is_explained() -> None:
    code, out, _ = run_cli("explain", "not-writable")
    assert code == 0 and out.startswith("not-writable (of doctor)\nA cache directory that cannot be written")
    code, out, _ = run_cli("explain", "offline")
    assert code == 0 and "OfflineError (offline)" in out and "\n\noffline (of doctor)\n" in out
    code, _, err = run_cli("explain", "not-writeable")
    assert code == 2 and "Did you mean not-writable" in err


def test_the_code_of_a_wrong_command_line_is_explained() -> None:
    for name in ("usage", "UsageError"):
        code, out, _ = run_cli("explain", name)
        assert code == 0 and out.startswith("UsageError (usage)\nThe command line is not valid") and "--help" in out
    assert "usage" in explanations.list_names()


ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("NotFoundError", ["NotFoundError"]),
        ("notfound", ["NotFoundError"]),
        ("not-found", ["NotFoundError"]),
        ("tfimm_resolver.errors.CacheError", ["CacheError"]),
        ("unknown-handle", ["UnknownHandleError"]),
        ("tensor-flow-missing", ["TensorFlowMissingError"]),
        ("4", ["CacheError", "LockTimeoutError"]),
        ("99", []),
        ("", []),
        ("error", []),
        ("-", []),
    ],
)
def test_an_error_is_found_by_its_name_its_code_and_its_exit_code(text: str, names: list[str]) -> None:
    assert [kind.__name__ for kind in explanations.find_classes(text)] == names


@pytest.mark.parametrize("kind", exit_codes.list_classes())
def test_each_error_has_a_text_that_a_terminal_can_show(kind: type[errors.ResolverError]) -> None:
    assert kind in explanations.find_classes(exit_codes.get_code(kind)) or kind is errors.MissingOverrideError
    text = explanations.make_plain(explanations.get_text(kind))
    assert text.startswith(f"Exit code {kind.exit_code}") and "](" not in text and "**" not in text
    for columns in (40, 80, 200, None):
        lines = [*explanations.wrap(text, columns)]
        assert " ".join(" ".join(lines).split()) == " ".join(text.split()), "no word is lost"
        assert all(len(line) < max(columns or 80, 20) or " " not in line.strip() for line in lines)


def test_every_exit_code_of_an_error_has_a_meaning() -> None:
    assert {kind.exit_code for kind in exit_codes.list_classes()} <= {*exit_codes.MEANINGS}
    assert {*map(str, exit_codes.MEANINGS)} <= {*explanations.list_names()}


def test_a_signature_is_required_by_the_lines_that_are_shown() -> None:
    lines = [*explanations.wrap(explanations.get_text(errors.SignatureError), 80)]
    code = [line for line in lines if line.startswith("  ") and "`" not in line and (line[2] == "[" or " = " in line)]
    tables = parse_toml("\n".join(code))
    signer = {"key": "team.pub"}
    assert tables["models"]["half"]["signer"] == signer and tables["trust"][0]["signer"] == signer


PAGES = sorted(
    {
        page
        for kind in exit_codes.list_classes()
        for page in re.findall(r"docs/[\w./-]+", explanations.make_plain(explanations.get_text(kind)))
    }
)


@pytest.mark.parametrize("page", PAGES)
def test_a_reference_names_a_page_of_the_repository(page: str) -> None:
    assert page.endswith(".md") and (ROOT / page).is_file()


def test_a_link_has_its_page_unless_it_is_the_same_page() -> None:
    text = "See [limits](../limits.md), [pins](pins.md#why), [below](#x), [this](troubleshooting.md#x), [web](https://a.example/b)."
    expected = "See limits (docs/limits.md), pins (docs/guides/pins.md), below, this, web (https://a.example/b)."
    assert explanations.make_plain(text) == expected
    assert {"docs/limits.md", "docs/guides/sources-and-credentials.md"} <= {*PAGES}


def raise_os_error(*_: object) -> None:
    raise OSError


@pytest.mark.parametrize("get_data", [raise_os_error, lambda *_: None], ids=["error", "None"])
def test_a_frozen_program_has_the_docstrings(get_data: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkgutil, "get_data", get_data)
    text = explanations.get_text(errors.NotFoundError)
    assert text == "The server, bucket or directory was reached and does not have the model."
