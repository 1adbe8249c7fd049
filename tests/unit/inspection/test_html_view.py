"""Tests of ``inspection.html_view``: nothing from a model becomes HTML."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from tests.fakes.graphs import make_meta_graph, make_signature, make_tensor_info, write_saved_model
from tfimm_resolver.inspection.reading import inspect
from tfimm_resolver.inspection.report import Inspection

EVIL = "<script>alert('x')</script>\" onload=\"x&amp;\u202e\x1b[31m"


class Reader(HTMLParser):
    """Collects the elements, the attributes and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements, self.attributes, self.text, self.open = set[str](), set[str](), "", 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.open += 1

    def handle_endtag(self, tag: str) -> None:
        del tag
        self.open -= 1

    def handle_data(self, data: str) -> None:
        self.text += data


def inspect_evil(folder: Path) -> Inspection:
    """Return a model in which every text from outside is hostile."""
    signature = make_signature({EVIL: make_tensor_info(1, (-1,))}, {EVIL: make_tensor_info(7, None)})
    graph = make_meta_graph(tags=[EVIL], signatures={EVIL: signature}, assets=[EVIL], version=EVIL)
    model = inspect(write_saved_model(folder / "m", graph, weights={EVIL: (3,)}))
    assert model.signatures[0].name == EVIL
    return model


def test_every_text_is_escaped(tmp_path: Path) -> None:
    text = inspect_evil(tmp_path)._repr_html_()
    page = Reader(text)
    assert page.elements == {"div", "b", "table", "tr", "td", "span", "details", "summary"} and page.open == 0
    assert page.attributes == {"style", "open"}
    assert page.text.count("<script>alert('x')</script>") >= 7
    assert "\u202e" not in text and "\x1b" not in text


def test_long_lists_and_long_names_are_cut(tmp_path: Path) -> None:
    tensors = {f"input {number}": make_tensor_info() for number in range(60)}
    graph = make_meta_graph(signatures={f"{number:02}" + "x" * 5000: make_signature(tensors, {}) for number in range(25)})
    text = inspect(write_saved_model(tmp_path / "m", graph))._repr_html_()
    assert "and 5 more signatures" in text and text.count("and 10 more") == 20
    assert "x" * 200 not in text and "input 49" in text and "input 9<" not in text
