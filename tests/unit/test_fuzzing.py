"""The fuzz targets: a short run of each finds no violation and reaches both outcomes, and each rule is checked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz import driver, random_edits, target
from tests.fuzz.mutation import mutate
from tests.fuzz.target import Target, ViolationError, check
from tfimm_resolver.errors import FetchError

REPOSITORY = Path(__file__).parents[2]
CASES, CASES_LONG = 40, 3000
WITHOUT_REFUSAL = {"missing", "small files", "netrc"}
"""Targets that ignore invalid input."""

SHALLOW_BEFORE = {"records", "owners", "repositories"}


@pytest.mark.parametrize("name", driver.TARGETS)
def test_a_short_run_has_no_violation_and_reaches_both_outcomes(name: str) -> None:
    report = driver.run(driver.TARGETS[name], 0, cases=CASES)
    assert report.violations == []
    assert {*report.outcomes} == {"accepted", "refused"} - ({"refused"} if name in WITHOUT_REFUSAL else set())


@pytest.mark.long
@pytest.mark.parametrize("name", driver.TARGETS)
def test_a_long_run_has_no_violation(name: str) -> None:
    assert driver.run(driver.TARGETS[name], 10_000, cases=CASES_LONG).violations == []


@pytest.mark.parametrize("name", driver.TARGETS)
def test_every_target_has_a_seed_that_it_accepts(name: str) -> None:
    """Most inputs are made from these: without one, no input gets beyond the first check."""
    one = driver.TARGETS[name]
    with driver.private_environment():
        outcomes = [check(one, data) for data in one.make_seeds()]
    assert outcomes.count("accepted") >= (2 if name in SHALLOW_BEFORE else 1), outcomes


def test_a_seed_always_makes_the_same_input() -> None:
    for one in driver.TARGETS.values():
        seeds = one.make_seeds()
        assert [mutate(seed, seeds, one.tokens) for seed in range(20)] == [
            mutate(seed, seeds, one.tokens) for seed in range(20)
        ]


def make_target(run: Callable[[bytes, Path], object]) -> Target:
    """Return a target for the tests of the rules."""
    return Target("x", run, lambda: [b"x"])


def raise_refusal(text: str) -> None:
    """Refuse an input with a text."""
    error = FetchError("x")
    error.text = text
    raise error


def write_outside(_: bytes, into: Path) -> None:
    """Write beside the directory."""
    (into.parent / "y").write_bytes(b"")


def write_over(_: bytes, into: Path) -> None:
    """Change another file."""
    (into.parent / "victim").write_bytes(b"harm")


HARMS: dict[str, Callable[[bytes, Path], object]] = {
    "KeyError": lambda *_: {}["x"],
    "would change a terminal": lambda *_: raise_refusal("\x1b[2J"),
    "the message is long": lambda *_: raise_refusal("a" * 50_000),
    "something outside": write_outside,
    "outside of the directory": write_over,
}


@pytest.mark.parametrize("words", HARMS)
def test_a_violation_is_detected(words: str) -> None:
    with pytest.raises(ViolationError, match=words):
        check(make_target(HARMS[words]), b"x")


def test_an_input_that_takes_long_or_much_memory_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "HANG_S", 1)

    def wait(*_: object) -> None:
        while True:
            os.getpid()

    with pytest.raises(ViolationError, match="no result within 1 s"):
        check(make_target(wait), b"x")
    monkeypatch.setattr(target, "HANG_S", 60)
    monkeypatch.setattr(target, "MEMORY_BYTES_MAX", -1)
    with pytest.raises(ViolationError, match="the process grew"):
        check(make_target(lambda *_: None), b"x")


def test_harmless_behaviour_is_not_a_violation() -> None:
    assert check(make_target(lambda data, into: (into / "y").write_bytes(data)), b"x") == "accepted"
    assert check(make_target(lambda *_: raise_refusal("no\n  because")), b"x") == "refused"


def test_hypothesis_reports_the_input_of_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Target("x", lambda data, _: {}["x"] if b"bad" in data else None, lambda: [b"good"], (b"bad",))
    monkeypatch.setitem(random_edits.TARGETS, "x", one)
    line, violations = random_edits.run("x", 20, 0)
    assert "cases" in line and "KeyError" in violations[0]


def test_the_command_line_repeats_a_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seed", "11", "--cases", "1", "owners"]) == 0
    assert capsys.readouterr().out.startswith("owners: {")
    with pytest.raises(SystemExit):
        command.main(["nonsense"])
    assert "no target is called nonsense" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_fuzz_passes_on_its_time_and_targets() -> None:
    arguments = ["make", "--dry-run", "fuzz", "FUZZ_SECONDS=7", "FUZZ_TARGETS=zip tar"]
    job = subprocess.run(arguments, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)
    assert "-m tests.fuzz --seconds 7 zip tar" in job.stdout
