"""Tests of the pictures of recorded sessions whose commands need TensorFlow."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.pictures import check_picture
from tools.terminal.sessions import SESSIONS


@pytest.mark.parametrize("name", [name for name, session in SESSIONS.items() if session.needs_tensorflow])
def test_a_picture_shows_what_the_commands_print_now(name: str, tmp_path: Path) -> None:
    check_picture(name, tmp_path)
