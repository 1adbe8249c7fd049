"""Tests of the comparison with other packages: its servers, how outcomes are described, and what its page says of us."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.benchmarks import compare
from tests.benchmarks.peers import LARGE, PEERS
from tests.benchmarks.trial import Trial, make_files, run_trial

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "comparison.md"
CELLS = {"works": "right", "error, then works": "error, next call right", "wrong model": "wrong model"}
"""The words on the page, and those of the command."""
OURS = ("tfimm_resolver", "tfimm_resolver, hf://")
LIGHT = ("tfimm_resolver", "tfimm_resolver, hf://", "huggingface_hub", "kagglehub")


def read_table() -> dict[str, list[str]]:
    """Return the rows of the page's table of faults: the outcomes by the name of the fault."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.read_text().splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows if row[0] in compare.CASES}


def run_once(name: str, case: str) -> str:
    """Return the outcome of one trial."""
    if name != "tfimm_resolver":
        pytest.importorskip("huggingface_hub" if "hf" in name else PEERS[name].package)
    return run_trial(name, make_files(1 << 22), compare.CASES[case])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name == "kagglehub" else name for name in LIGHT]
)
def test_each_package_gets_the_model_from_its_server(name: str) -> None:
    if name != "tfimm_resolver":
        pytest.importorskip("huggingface_hub" if "hf" in name else PEERS[name].package)

    def fetch(trial: Trial) -> tuple[bool, bool]:
        result = trial.fetch()
        return trial.is_right(result), trial.served.host.count_sent_bytes() >= trial.served.size_bytes

    assert run_trial(name, make_files(1 << 16), fetch) == (True, True)


def test_a_fault_is_noticed_and_the_next_call_is_without_it() -> None:
    assert run_once("tfimm_resolver", "one bit flipped") == "error, next call right"


def test_outcomes_tell_a_wrong_model_from_an_error() -> None:
    def describe(trial: Trial) -> list[str]:
        right, error = trial.fetch(), {"error": "OSError: x"}
        wrong = {"files": {**right["files"], LARGE: "0" * 64}}
        fewer = {"files": {name: value for name, value in right["files"].items() if name != LARGE}}
        slow = {"error": "waits for over 45 s", "is_slow": True}
        firsts = (right, wrong, fewer, error, slow)
        return [trial.describe(first, lambda: right) for first in firsts] + [trial.describe(error, lambda: wrong)]

    assert run_trial("tfimm_resolver", make_files(1 << 16), describe) == [
        "right",
        "wrong model",
        "wrong model",
        "error, next call right",
        "waits for over 45 s, next call right",
        "error, next call wrong model",
    ]


def test_the_command_prints_a_line_for_each_fault(capsys: pytest.CaptureFixture[str]) -> None:
    compare.main(["faults", "--rounds", "1", "--of", "tfimm_resolver", "--case", "status 503, once"])
    assert re.fullmatch(
        r"(?s).*tfimm_resolver \d.*\nstatus 503, once +tfimm_resolver +1 of 1: right\n", capsys.readouterr().out
    )


def test_the_page_lists_every_fault_with_an_outcome_for_each_package() -> None:
    table = read_table()
    assert list(table) == list(compare.CASES)
    assert {len(row) for row in table.values()} == {len(PEERS)}
    columns = next(line for line in PAGE.read_text().splitlines() if line.startswith("| fault |"))
    assert re.sub("[`* ]", "", columns) == "|fault|here|here,hf://|tensorflow_hub|huggingface_hub|kagglehub|"


@pytest.mark.long
@pytest.mark.parametrize("case", compare.CASES)
@pytest.mark.parametrize("name", OURS)
def test_what_the_page_says_of_this_package_holds(name: str, case: str) -> None:
    cell = read_table()[case][OURS.index(name)]
    if "killed" in case:
        pytest.skip("which part is sent again needs a large file: see the resume benchmark")
    assert run_once(name, case) == CELLS[cell]
