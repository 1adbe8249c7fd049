"""Tests of the programs in tools/ whose results are pictures."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from tests.fakes.pages import REPOSITORY
from tools import screenshots, terminal


def read_words(picture: Path) -> list[str]:
    """Return the words that a picture shows."""
    return html.unescape(re.sub(r"<style.*?</style>|<[^>]*>", " ", picture.read_text(), flags=re.DOTALL)).split()


def test_the_terminal_is_recorded_from_the_current_commands(tmp_path: Path) -> None:
    terminal.main(tmp_path / "terminal.svg")
    recorded, committed = (
        [re.sub(r"\d+(?:\.\d+)?", "0", word) for word in read_words(path)]
        for path in (tmp_path / "terminal.svg", REPOSITORY / "docs" / "images" / "terminal.svg")
    )
    assert "damaged" in recorded and "/home/ada/.cache/tfhub_modules" in recorded
    assert str(Path.home()) not in " ".join(recorded)
    assert recorded == committed, "run `make pictures`"


def test_screenshots_without_chromium_say_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(screenshots, "SITE", tmp_path)
    assert screenshots.main() == 1 and "Chromium is not installed" in capsys.readouterr().err
    monkeypatch.setattr(screenshots, "SITE", tmp_path / "site")
    assert screenshots.main() == 1 and "make docs" in capsys.readouterr().err
