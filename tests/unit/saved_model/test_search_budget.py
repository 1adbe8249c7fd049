"""Tests of what a search may cost: hidden graphs are searched once each, within one budget, and until it is cancelled."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.graphs import make_graph, make_node, make_texts
from tests.fakes.operations import Model, make_text, make_writer
from tfimm_resolver._util.cancellation import CancellationToken, CancelledError
from tfimm_resolver.saved_model import graph_index, operations
from tfimm_resolver.saved_model.operations import find_operations
from tfimm_resolver.saved_model.search_budget import SearchBudget

WRITER = [make_text("path", "/x"), make_text("contents", "x"), make_writer()]


def hide(*graphs: bytes, uses: int = 1) -> list[bytes]:
    """Return nodes that run graphs in constants, each graph several times."""
    nodes = []
    for number, graph in enumerate(graphs):
        nodes.append(make_node(f"graph{number}", "Const", attributes={"value": make_texts(graph)}))
        nodes += [make_node(f"run{number}_{use}", "DatasetFromGraph", [f"graph{number}"]) for use in range(uses)]
    return nodes


def count_indexed_nodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many nodes each graph has that is indexed."""
    counts = list[int]()

    class CountedIndex(graph_index.GraphIndex):
        def __init__(self, graphs: object) -> None:
            super().__init__(graphs)  # type: ignore[arg-type]
            counts.append(self.count)

    monkeypatch.setattr(operations, "GraphIndex", CountedIndex)
    return counts


def test_a_hidden_graph_is_searched_once_for_all_its_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = count_indexed_nodes(monkeypatch)
    found = find_operations(str(Model(nodes=hide(make_graph(WRITER), uses=50)).write(tmp_path)))
    assert counts == [51, 3]
    assert [one.path for one in found if one.kind == "write"] == ["/x"]


def test_levels_of_hidden_graphs_do_not_multiply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = count_indexed_nodes(monkeypatch)
    graph = make_graph(WRITER)
    for _ in range(5):
        graph = make_graph(hide(graph, uses=10))
    find_operations(str(Model(nodes=hide(graph, uses=10)).write(tmp_path)))
    assert counts == [11] * 6 + [3]


def test_a_hidden_graph_runs_as_early_as_any_of_its_uses(tmp_path: Path) -> None:
    model = Model(nodes=hide(make_graph(WRITER), uses=3), outputs=["run0_0:0"], main_op="run0_2")
    assert "on load" in [one.when for one in find_operations(str(model.write(tmp_path))) if one.kind == "write"]


def test_hidden_graphs_have_one_budget_of_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(nodes=hide(*(make_graph([*WRITER, make_text(f"{number}", "")]) for number in range(5))))
    monkeypatch.setattr(operations, "INNER_NODES_MAX", 20)
    assert len(find_operations(str(model.write(tmp_path)))) == 10
    monkeypatch.setattr(operations, "INNER_NODES_MAX", 19)
    with pytest.raises(ValueError, match="too many nodes"):
        find_operations(str(model.write(tmp_path)))


@pytest.mark.parametrize(
    "graph",
    [
        make_graph([*WRITER[:2], make_writer("w" * (2 << 20))]),
        make_graph(WRITER) + b"\xa3\x06\xa4\x06",
        b"\x0a\xff",
    ],
    ids=["a long name", "a group", "cut"],
)
def test_a_hidden_graph_that_is_not_read_is_not_skipped(graph: bytes, tmp_path: Path) -> None:
    try:
        found = find_operations(str(Model(nodes=hide(graph)).write(tmp_path)))
    except ValueError:
        return
    assert "write" in [one.kind for one in found]


def test_many_texts_for_many_nodes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = make_node("path", "Const", attributes={"value": make_texts(*[b"x"] * 900)})
    path = Model(nodes=[texts, *(make_writer(f"w{number}") for number in range(30))]).write(tmp_path)
    find_operations(str(path))
    monkeypatch.setattr(operations, "STEPS_MAX", 20_000)
    with pytest.raises(ValueError, match="too long"):
        find_operations(str(path))


def make_cancelled_token() -> CancellationToken:
    token = CancellationToken()
    token.cancel()
    return token


def test_a_search_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    path = Model(nodes=[make_node(f"n{number}", "Foo") for number in range(20_000)]).write(tmp_path)
    with make_cancelled_token().activate(), pytest.raises(CancelledError):
        find_operations(str(path))


def test_following_values_ends_when_it_is_cancelled() -> None:
    with make_cancelled_token().activate(), pytest.raises(CancelledError):
        for _ in range(10_000):
            SearchBudget().take_steps(5000)
