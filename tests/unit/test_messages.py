"""The messages of the package as they are printed: the filter that hides secrets changes none of its own sentences."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import tfimm_resolver
from tfimm_resolver._util.outgoing import mask_secrets

PACKAGE = Path(tfimm_resolver.__file__).parent
_START = re.compile(r"[A-Z][a-z]* ")


def list_sentences(source: str) -> Iterator[str]:
    """Yield the texts in code that begin with a word as sentences do, without docstrings; values that are filled in are X."""
    tree = ast.parse(source)
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    skipped |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in parts)
        if isinstance(node, (ast.JoinedStr, ast.Constant)) and id(node) not in skipped and _START.match(text):
            yield text


def list_changed(sentences: Iterable[str]) -> list[str]:
    """Return the sentences that the filter changes."""
    return [text for text in sentences if mask_secrets(text) != text]


def test_the_filter_of_secrets_leaves_each_sentence_of_the_package() -> None:
    sentences = [text for path in PACKAGE.rglob("*.py") for text in list_sentences(path.read_text(encoding="utf-8"))]
    assert len(sentences) > 300 and list_changed(sentences) == []


def test_a_sentence_that_the_filter_takes_for_a_secret_is_found() -> None:
    assert list_changed(list_sentences("FIX = 'Write http://HOST:PORT; a login is USER:PASSWORD@ before HOST.'"))
    assert list_changed(list_sentences("def f(name): return f'Open https://h.example/x?id={name}'"))
    assert not list_changed(list_sentences("def f(): 'Open https://h.example/x?id=1'"))
