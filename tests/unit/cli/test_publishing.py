"""The sentence about a failure, which Kubernetes shows as the reason why a container ended."""

from __future__ import annotations

import pytest

from tfimm_resolver.cli.output import Output
from tfimm_resolver.cli.publishing import print_failures
from tfimm_resolver.errors import CacheError, NotFoundError


def test_one_failure_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    error = NotFoundError("https://host.example/m answered 404\n  the cached copy is unchanged", fix="Check the spelling.")
    print_failures(Output(), [error], 1)
    line = "error: https://host.example/m answered 404; the cached copy is unchanged. Check the spelling.\n"
    assert capsys.readouterr().err == line


def test_a_question_ends_as_one_and_each_line_of_advice_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    error = NotFoundError('no model named "hlf"\n  looked at: /m', fix="Did you mean half?\n  A path begins with ./")
    print_failures(Output(), [error], 1)
    line = 'error: no model named "hlf"; looked at: /m. Did you mean half? A path begins with ./.\n'
    assert capsys.readouterr().err == line


def test_of_several_failures_the_last_line_counts_them_and_says_why_the_first_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_failures(Output(), [CacheError("one is full"), CacheError("two is full.")], 3)
    assert capsys.readouterr().err.splitlines() == [
        "error: one is full.",
        "error: two is full.",
        "error: 2 of 3 models could not be published: one is full.",
    ]


def test_a_long_failure_is_cut_to_what_kubernetes_shows(capsys: pytest.CaptureFixture[str]) -> None:
    print_failures(Output(), [CacheError("x" * 9000)], 1)
    assert len(capsys.readouterr().err) < 2048
