"""Tests of ``_util.toml``: nesting is limited before the parser sees it, and nothing valid that people write is refused."""

from __future__ import annotations

import pytest

from tfimm_resolver._util.toml import DEPTH_MAX, parse_toml

DEEP = DEPTH_MAX + 1


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a." * 14_000 + "a = 1", id="a dotted key of 28 kB"),
        pytest.param('"a" . ' * DEEP + "a = 1", id="quoted parts with blanks"),
        pytest.param("[" + "a." * DEEP + "a]", id="a header"),
        pytest.param("[[" + "a." * DEEP + "a]]", id="a header of an array"),
        pytest.param("x = {" + "a." * DEEP + "a = 1}", id="in an inline table"),
        pytest.param("x = [\n# a comment: '''\n{" + "a." * DEEP + "a = 1}]", id="after a comment with quotes"),
        pytest.param("x = '''\n'''\n" + "a." * DEEP + "a = 1", id="after a long string"),
        pytest.param('x = """a \\""" """\n' + "a." * DEEP + "a = 1", id="after an escaped quote"),
        pytest.param("x = " + "[" * DEEP + "]" * DEEP, id="arrays"),
        pytest.param("x = " + "{a = " * DEEP + "1" + "}" * DEEP, id="inline tables"),
    ],
)
def test_deep_nesting_is_an_error_with_its_line_before_it_is_parsed(text: str) -> None:
    with pytest.raises(ValueError, match=rf"^Nested {DEPTH_MAX} deep or more \(at line {text.count(chr(10)) + 1}, "):
        parse_toml(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x = '" + "a." * 99 + "'", id="dots in a string"),
        pytest.param('x = "' + "[{a." * 99 + '"', id="brackets in a string"),
        pytest.param("x = '''\n" + "a." * 99 + "\n'''", id="dots in a long string"),
        pytest.param('x = """' + '\\"[' * 99 + '"""""', id="quotes at the end of a long string"),
        pytest.param("# " + "a." * 99 + '"\nx = 1', id="a comment"),
        pytest.param("x = [" + "1.5, " * 99 + "]", id="numbers"),
        pytest.param("\n".join(f"a{number}.b.c = 1.5" for number in range(99)), id="many keys"),
        pytest.param("x = " + "[" * (DEPTH_MAX - 1) + "]" * (DEPTH_MAX - 1), id="the deepest arrays"),
        pytest.param("[" + "a." * (DEPTH_MAX - 2) + "a]", id="the deepest header"),
    ],
)
def test_what_is_not_nested_deeply_is_read(text: str) -> None:
    assert parse_toml(text)


@pytest.mark.parametrize("text", ["x = '", 'x = """', "x = '''a", 'x = "\\', "[", "x = ["])
def test_what_does_not_end_is_the_parser_s_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"at line 1|at end of document"):
        parse_toml(text)
