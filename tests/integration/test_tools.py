"""Tests of the programs in tools/ whose results are pictures.

The sessions with TensorFlow are compared by ``tests/tensorflow/test_sessions.py``.
"""

from __future__ import annotations

import dataclasses
import html
import re
from pathlib import Path

import pytest

from tests.fakes.pictures import check_picture
from tools import screenshots
from tools.terminal.__main__ import IMAGES
from tools.terminal.sessions import SESSIONS, get_picture

LIGHT = [name for name, session in SESSIONS.items() if not session.needs_tensorflow]


@pytest.mark.parametrize("name", LIGHT)
def test_a_picture_shows_what_the_commands_print_now(name: str, tmp_path: Path) -> None:
    check_picture(name, tmp_path)


def test_a_picture_has_a_title_and_is_small_and_about_nothing_of_this_machine() -> None:
    for name, session in SESSIONS.items():
        picture = (IMAGES / get_picture(name)).read_text()
        assert f"<title>{html.escape(session.title, quote=False)}</title>" in picture and "prefers-color-scheme" in picture
        assert len(picture) < 8_000 and not re.search(r"/root|/work|/home/(?!ada)", picture), name


def test_a_session_that_fails_to_end_as_recorded_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = SESSIONS["errors"]
    changed = dataclasses.replace(session, commands=(*session.commands[:-1], "tfimm-resolver path"))
    monkeypatch.setitem(SESSIONS, "errors", changed)  # type: ignore[arg-type]  # a dict, typed as what nobody changes
    with pytest.raises(AssertionError, match="make pictures"):
        check_picture("errors", tmp_path)


def test_screenshots_without_chromium_say_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(screenshots, "SITE", tmp_path)
    assert screenshots.main() == 1 and "Chromium is not installed" in capsys.readouterr().err
    monkeypatch.setattr(screenshots, "SITE", tmp_path / "site")
    assert screenshots.main() == 1 and "make docs" in capsys.readouterr().err
