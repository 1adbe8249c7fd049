"""The line of a key in a TOML file is found, for whichever form it is written in."""

from __future__ import annotations

import pytest

from tfimm_resolver._util.toml_lines import LineFinder

TEXT = """# models
[models.half]
handle = "x"
text = '''
handle = "y"
'''
[models.other]
handle = "z"
"""


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("models",), 2),
        (("models", "half"), 2),
        (("models", "half", "handle"), 3),
        (("models", "half", "text"), 4),
        (("models", "other", "handle"), 8),
        (("missing",), 1),
        ((), 1),
    ],
)
def test_the_line_of_a_key(keys: tuple[str, ...], line: int) -> None:
    assert LineFinder(TEXT).find(keys) == line
