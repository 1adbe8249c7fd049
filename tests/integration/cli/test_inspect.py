"""``tfimm-resolver inspect``, and what else uses its readers: the warning after a fetch, ``ls`` and ``verify``."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.cli import run_cli, run_on_terminal
from tests.fakes.graphs import make_graph, make_meta_graph, make_node, make_signature, make_tensor_info, write_saved_model
from tests.fakes.light_start import HEAVY
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tfimm_resolver import inspect, maintenance, resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import UnknownHandleError

DATA = "variables/variables.data-00000-of-00001"


def pack(folder: Path, cut: int = 0) -> bytes:
    """Return the archive of a model, whose weights lack some bytes."""
    signature = make_signature({"text": make_tensor_info(7, (-1,))}, {"label": make_tensor_info(1, None)})
    graph = make_graph([make_node("a", "CaseFoldUTF8")])
    path = write_saved_model(
        folder / "m", make_meta_graph(graph, signatures={"serving_default": signature}), weights={"v": (4,)}
    )
    files = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    files[DATA] = files[DATA][: len(files[DATA]) - cut]
    return tar_gz(files)


@pytest.fixture
def handle(origin: Origin, tmp_path: Path) -> str:
    """The handle of a model that can be fetched."""
    return origin.put("/m.tar.gz", pack(tmp_path))


def test_a_model_is_fetched_once_and_described(handle: str, origin: Origin) -> None:
    code, out, _ = run_cli("inspect", handle)
    lines = out.splitlines()
    assert code == 0 and lines[0].startswith("/")
    assert "  needs      tensorflow-text (import tensorflow_text): CaseFoldUTF8" in lines
    assert "    in   text   string   (?)" in lines and "    out  label  float32  (any shape)" in lines
    code, out, err = run_cli("inspect", handle, "--json", "--cached")
    facts = json.loads(out)
    assert (code, err, facts["handle"], facts["complete"], facts["parameters"]) == (0, "", handle, True, 4)
    assert len(origin.requests) == 1


def test_nothing_is_fetched_if_only_cached_models_may_be_used(handle: str, origin: Origin) -> None:
    code, out, err = run_cli("inspect", handle, "--cached")
    assert code == UnknownHandleError.exit_code and not out and "is not cached" in err and "Leave --cached out" in err
    with pytest.raises(UnknownHandleError, match="is not cached"):
        inspect(handle, cached=True)
    assert origin.requests == []


def test_neither_tensorflow_nor_the_network_is_imported(handle: str) -> None:
    resolve(handle)
    code = "import sys; from tfimm_resolver.cli import main; main(sys.argv[1:]); print(*sys.modules)"
    loaded = set(run(code, "inspect", handle).split())
    assert loaded.isdisjoint(HEAVY - {"click", "socket"} | {"numpy", "google.protobuf"}), loaded & HEAVY


def test_a_narrow_terminal_cuts_names_in_the_middle(tmp_path: Path) -> None:
    path = write_saved_model(tmp_path / "m", weights={"layer/" * 30 + "kernel": (3,)})
    shown = run_on_terminal("inspect", str(path), "--weights", columns=80)
    (line,) = (line for line in shown.splitlines() if "kernel" in line)
    assert len(line) <= 80 and "…" in line
    assert "layer/" * 30 + "kernel" in run_cli("inspect", str(path), "--weights")[1]


def test_text_from_a_model_cannot_move_the_cursor(tmp_path: Path) -> None:
    signature = make_signature({}, {})
    path = write_saved_model(tmp_path / "m", make_meta_graph(signatures={"a\x1b[2J\nb": signature}, tags=["\u202e"]))
    code, out, _ = run_cli("inspect", str(path))
    assert code == 0 and "\x1b" not in out and "\u202e" not in out and "a\\x1b[2J\\nb" in out


def test_errors_have_an_exit_code(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, out, err = run_cli("inspect", str(tmp_path / "empty"))
    assert (code, out) == (5, "") and "is not a SavedModel" in err
    path = write_saved_model(tmp_path / "m")
    (path / "saved_model.pb").write_bytes(b"a graph")
    code, out, _ = run_cli("inspect", str(path), "--json")
    assert code == 5 and json.loads(out)["error"]["code"] == "damaged-model"


def test_an_incomplete_model_is_warned_of_once(origin: Origin, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    handle = origin.put("/m.tar.gz", pack(tmp_path, cut=1))
    for _ in range(2):
        with caplog.at_level(logging.WARNING, "tfimm_resolver"):
            path = resolve(handle)
    (message,) = (record.getMessage() for record in caplog.records)
    assert message == f"the model of {handle} is incomplete: {DATA} has 15 bytes, but its last tensor ends at byte 16"
    assert Path(path, DATA).exists() and inspect(handle).missing == (message.partition("incomplete: ")[2],)
    assert maintenance.list_models()[0].state == "ok"  # as it was recorded


def test_a_complete_model_is_not_warned_of(handle: str, caplog: pytest.LogCaptureFixture) -> None:
    resolve(handle)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_an_incomplete_tree_without_a_record_is_damaged(cache_dir: Path) -> None:
    key = "https://models.example/m/1"
    path = write_saved_model(cache_dir / entry_name_for_key(key), weights={"v": (4,)})
    assert [model.state for model in maintenance.list_models()] == ["unverified"]
    (path / DATA).write_bytes(bytes(15))
    (model,) = maintenance.list_models()
    assert (model.state, model.facts()["fault"]) == ("damaged", f"{DATA} has 15 bytes, but its last tensor ends at byte 16")
    (result,) = maintenance.verify()
    assert result.state == "damaged" and result.faults == (model.facts()["fault"],)
    assert run_cli("verify")[0] == 6


def test_an_incomplete_model_under_its_name_is_damaged_and_cannot_be_repaired(tmp_path: Path) -> None:
    from tfimm_resolver import get_dir

    path = write_saved_model(Path(get_dir()) / "half", weights={"v": (4,)})
    (path / DATA).write_bytes(bytes(15))
    (result,) = maintenance.verify(["half"], repair=True)
    assert (result.model.state, result.state, result.is_repaired) == ("damaged", "damaged", False)
    assert result.error is not None and "where it came from is not recorded" in result.error.text
