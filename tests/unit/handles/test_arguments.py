"""Arguments that take one name or several."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfimm_resolver.errors import HandleError
from tfimm_resolver.handles.arguments import list_names


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("ab", ["ab"]),
        (["a", "b"], ["a", "b"]),
        ((), []),
        ((name for name in "ab"), ["a", "b"]),
        (Path("a"), ["a"]),
        ("", [""]),
    ],
)
def test_one_name_or_several_are_listed(value: object, names: list[str]) -> None:
    assert list_names(value, "names") == names


@pytest.mark.parametrize("value", [3, None, b"a", ["a", 3], [b"a"], 1.5])
def test_anything_else_is_an_error_that_names_the_argument(value: object) -> None:
    with pytest.raises(HandleError, match="models"):
        list_names(value, "models")


def test_another_type_may_be_allowed() -> None:
    assert list_names(3, "numbers", also=(int,)) == [3] and list_names(["a", 3], "numbers", also=(int,)) == ["a", 3]
