"""A refused model is not loaded, by ``load`` or by tensorflow_hub: what it would write is not written."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import tar_gz
from tests.fakes.origin import Origin
from tests.tensorflow.operation_models import HOSTILE, save_model
from tfimm_resolver.errors import PolicyError

_WRITING = "writes when initialized"


def _load(handle: str) -> object:
    return tfimm_resolver.load(handle)


def _hub_load(handle: str) -> object:
    import tensorflow_hub

    return tensorflow_hub.load(handle)


def _make_layer(handle: str) -> object:
    import tensorflow_hub

    with contextlib.suppress(ValueError):  # after the load: the model has no function that a layer could call
        return tensorflow_hub.KerasLayer(handle)
    return None


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that writes a file when it is loaded."""
    return save_model(HOSTILE[_WRITING][0], tmp_path)


def _pack(model: Path) -> bytes:
    files = (path for path in model.rglob("*") if path.is_file())
    return tar_gz({path.relative_to(model).as_posix(): path.read_bytes() for path in files})


@pytest.mark.parametrize("load", [_load, _hub_load, _make_layer])
def test_a_refused_model_does_not_reach_tensorflow(
    load: object, model: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(load)
    url, written = origin.put("/m.tar.gz", _pack(model)), model.parent / "outside" / "written"
    with monkeypatch.context() as patch:
        patch.setenv("TFIMM_RESOLVER_OPS", "refuse")
        with pytest.raises(PolicyError):
            load(url)
    assert not written.exists()
    load(url)
    assert written.exists()


def test_options_for_a_refused_model_are_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OPS", "refuse")
    with pytest.raises(PolicyError):
        tfimm_resolver.load_options(str(model))


def test_a_model_from_a_url_of_the_hub_is_refused_by_its_prefix(
    model: Path, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = origin.put("/m.tar.gz", _pack(model))
    config = tmp_path / "config" / "tfimm_resolver" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[[ops]]\nprefix = "{origin.url}/"\nrefuse = ["on-load-writes"]')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with pytest.raises(PolicyError):
        tfimm_resolver.hub.load_saved_model_from_url(url, progress=False)
    assert not (model.parent / "outside" / "written").exists()
