"""Tests of ``loading.loaded_model``: what TensorFlow loads has the attributes that its docstring names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tensorflow import models
from tfimm_resolver import LoadedModel, LoadedSignature, load

tf = pytest.importorskip("tensorflow")


def save_keras(path: Path) -> Path:
    """Save a model of Keras as ``export`` does."""
    model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(2)])
    model.export(str(path)) if hasattr(model, "export") else tf.saved_model.save(model, str(path))
    return path


KINDS: dict[str, Any] = {"TF2": models.save_line, "TF1": models.save_tf1, "Keras": save_keras}


@pytest.mark.parametrize("kind", KINDS)
def test_every_model_has_signatures_that_are_called_by_name(kind: str, tmp_path: Path) -> None:
    model: LoadedModel = load(KINDS[kind](tmp_path / "m"))
    signature: LoadedSignature = model.signatures["serving_default"]
    positional, inputs = signature.structured_input_signature
    results = signature(
        **{name: tf.ones([1 if size is None else size for size in spec.shape]) for name, spec in inputs.items()}
    )
    assert positional == () and set(results) == set(signature.structured_outputs)
    assert len(signature.variables) >= 1 and {*map(type, signature.trainable_variables)} <= {*map(type, signature.variables)}
    assert model.tensorflow_version == tf.__version__


@pytest.mark.parametrize(
    ("kind", "has"),
    [
        ("TF2", {"__call__"}),
        ("TF1", {"variables", "asset_paths"}),
        ("Keras", {"variables", "trainable_variables"}),
    ],
)
def test_the_rest_depends_on_how_it_was_saved(kind: str, has: set[str], tmp_path: Path) -> None:
    model = load(KINDS[kind](tmp_path / "m"))
    optional = {"__call__", "variables", "trainable_variables", "asset_paths"}
    assert {name for name in optional if (callable(model) if name == "__call__" else hasattr(model, name))} == has
