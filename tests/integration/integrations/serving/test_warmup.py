"""A server replays warm-up requests when it loads a model: what runs on a call counts as on load where one is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.graphs import make_node
from tests.fakes.operations import Model, make_text, make_writer
from tfimm_resolver.errors import PolicyError
from tfimm_resolver.integrations import serving
from tfimm_resolver.resolution.resolver import resolve_to_load

CONTENTS = make_text("contents", "x")
WRITING = {
    "a constant": Model(nodes=[make_text("path", "/x"), CONTENTS, make_writer()], outputs=["write:0"]),
    "an argument of the requests": Model(
        nodes=[make_node("path", "Placeholder"), CONTENTS, make_writer()], inputs=["path:0"], outputs=["write:0"]
    ),
}


@pytest.fixture(autouse=True)
def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse what is written on load."""
    monkeypatch.setenv("TFIMM_RESOLVER_OPS", "refuse")


def add_requests(model: Path) -> None:
    (model / "assets.extra").mkdir()
    (model / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"x")


@pytest.mark.parametrize("name", WRITING)
def test_a_model_that_its_warmup_requests_make_write_is_not_published(name: str, tmp_path: Path) -> None:
    model = WRITING[name].write(tmp_path / "model")
    serving.publish(model, tmp_path / "before")
    add_requests(model)
    with pytest.raises(PolicyError, match="warm-up requests"):
        serving.publish(model, tmp_path / "after")
    assert not (tmp_path / "after").exists()


@pytest.mark.parametrize("name", WRITING)
def test_tensorflow_itself_replays_no_requests(name: str, tmp_path: Path) -> None:
    model = WRITING[name].write(tmp_path / "model")
    add_requests(model)
    resolved = resolve_to_load(str(model))
    resolved.check.run(resolved.path)


def test_a_harmless_model_with_warmup_requests_is_published(tmp_path: Path) -> None:
    model = Model(nodes=[make_node("y", "Identity", ["x"]), make_node("x", "Placeholder")], inputs=["x:0"], outputs=["y:0"])
    path = model.write(tmp_path / "model")
    add_requests(path)
    assert serving.publish(path, tmp_path / "published").state == "published"
