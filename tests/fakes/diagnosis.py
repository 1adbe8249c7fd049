"""Runs ``doctor`` and reads what it finds."""

from __future__ import annotations

import json
import os
from typing import Any
from unittest import mock

from tests.fakes.use_locks import give_up_all
from tfimm_resolver.cli.diagnosis import report

Findings = dict[str, str]
EXIT_PROBLEMS = 11

PLAIN = """
from tfimm_resolver.cli import main
main(["doctor", "--json"])
"""
"""Runs ``doctor`` in a process."""


def read_findings(out: str) -> tuple[Findings, Findings]:
    """Return the problems and the notes that ``doctor --json`` printed, their texts by their codes."""
    facts: dict[str, Any] = json.loads(out)
    return _index(facts["problems"]), _index(facts["notes"])


def diagnose(*, online: bool = False, **environment: str) -> tuple[Findings, Findings]:
    """Return the problems and the notes that ``doctor`` finds in this process with these variables."""
    give_up_all()
    with mock.patch.dict(os.environ, environment):
        found = report.make_report(online=online)
        json.dumps(report.collect_facts(found))
    return _index([one.facts() for one in found.problems]), _index([one.facts() for one in found.notes])


def _index(findings: list[dict[str, str]]) -> Findings:
    for finding in findings:
        assert finding["fix"] and "\n" not in finding["fix"], finding
    return {finding["code"]: finding["text"] for finding in findings}
