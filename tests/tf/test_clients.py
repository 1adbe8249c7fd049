"""tfimm and Keras 3 read what this package resolves, each with the Keras that it wants."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from tests.processes import run

pytest.importorskip("tensorflow")


def test_tfimm_creates_a_model_with_every_weight_of_what_we_resolve(tmp_path: Path) -> None:
    pytest.importorskip("tfimm", reason="pip install --no-deps --ignore-requires-python tfimm==0.2.14")
    said = run(
        """
        import os, sys, tarfile
        import tfimm_resolver
        os.environ["TF_USE_LEGACY_KERAS"] = "1"  # after us, and it still counts
        import tensorflow as tf
        import tfimm

        name, ours = "resnet18", sys.argv[1]
        tfimm_resolver.set_dir(ours)  # tfimm looks elsewhere, and has to be told
        saved = tfimm.create_model(name, pretrained=False)
        saved.save(f"{tfimm_resolver.get_dir()}/{name}")
        assert os.path.exists(f"{ours}/{name}/keras_metadata.pb"), "this was not Keras 2"
        with tarfile.open(f"{ours}/archive.tar", "w") as archive:
            archive.add(f"{ours}/{name}", ".")

        def same(model):
            pairs = list(zip(saved.weights, model.weights, strict=True))
            assert len(pairs) > 100
            return all(mine.name == theirs.name and (mine.numpy() == theirs.numpy()).all() for mine, theirs in pairs)

        assert tfimm.cached_model_path(name) is None
        assert not same(tfimm.create_model(name, pretrained=False)), "any model would do"
        for place in (name, f"{ours}/archive.tar"):
            path = tfimm_resolver.resolve(place)
            tfimm.set_model_cache(name, path)
            assert tfimm.cached_model_path(name) == path
            print(path, same(tfimm.create_model(name, pretrained=True)))
        """,
        str(tmp_path / "ours"),
    )
    by_name, unpacked = (line.split() for line in said.splitlines())
    assert by_name == [str(tmp_path / "ours" / "resnet18"), "True"]
    assert Path(unpacked[0]).parent == tmp_path / "ours"
    assert len(Path(unpacked[0]).name) == 40
    assert unpacked[1] == "True"


def test_tfimm_and_we_agree_on_where_a_named_model_lies(line: Path, tmp_path: Path) -> None:
    pytest.importorskip("tfimm", reason="pip install --no-deps --ignore-requires-python tfimm==0.2.14")
    run(
        """
        import os, sys
        import tfimm_resolver
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        import tfimm

        line, place = sys.argv[1:]
        def agree():
            assert tfimm.get_dir() == tfimm_resolver.get_dir()
            assert tfimm.cached_model_path("line") == tfimm_resolver.cached_model_path("line")
            return tfimm_resolver.cached_model_path("line")

        for variable, folder in (("HOME", ".cache/tfimm"), ("XDG_CACHE_HOME", "tfimm"), ("TFIMM_HOME", "")):
            os.environ[variable] = f"{place}/{variable}"
            assert agree() is None
            os.makedirs(f"{place}/{variable}/{folder}")
            os.symlink(line, os.path.join(f"{place}/{variable}", folder, "line"))
            assert agree() == os.path.join(f"{place}/{variable}", folder, "line"), agree()
        for package in (tfimm, tfimm_resolver):
            package.set_dir(f"{place}/chosen")
            package.set_model_cache("mapped", line)
        assert agree() is None
        assert tfimm.list_cached_models() == tfimm_resolver.list_cached_models() == ["mapped"]
        for package in (tfimm, tfimm_resolver):
            assert package.cached_model_path("mapped") == line
            package.clear_model_cache("mapped")
            package.clear_model_cache("never mapped")
            assert package.cached_model_path("mapped") is None
        """,
        str(line),
        str(tmp_path),
    )


def test_keras_3_predicts_with_a_layer_made_of_a_resolved_path(line: Path) -> None:
    if version("keras") < "3":
        pytest.skip("TensorFlow 2.15 comes with Keras 2")
    said = run(
        """
        import sys
        import keras
        import numpy as np
        import tfimm_resolver

        assert keras.version().startswith("3.")
        layer = keras.layers.TFSMLayer(tfimm_resolver.resolve(sys.argv[1]), call_endpoint="serving_default")
        (numbers,) = keras.Sequential([layer]).predict(np.array([1.0, 2.0], "float32"), verbose=0).values()
        assert layer(np.array([1.0, 2.0], "float32"))["output_0"].numpy().tolist() == numbers.tolist()
        print(numbers.tolist())
        """,
        str(line),
    )
    assert said == "[3.0, 5.0]"
