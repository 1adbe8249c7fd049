"""tfimm and Keras 3 read what this package resolves, each with its own version of Keras."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from tests.fakes.fork_server import ForkServer

pytest.importorskip("tensorflow")


def test_tfimm_creates_a_model_with_every_weight_of_a_resolved_one(tmp_path: Path, server: ForkServer) -> None:
    pytest.importorskip("tfimm", reason="pip install --no-deps --ignore-requires-python tfimm==0.2.14")
    output = server.run(
        """
        import os, sys, tarfile
        import tfimm_resolver
        os.environ["TF_USE_LEGACY_KERAS"] = "1"  # set after our import, and still in effect
        import tensorflow as tf
        import tfimm

        name, folder = "resnet18", sys.argv[1]
        tfimm_resolver.set_dir(folder)  # tfimm has its own setting, so the path is passed to it below
        saved = tfimm.create_model(name, pretrained=False)
        saved.save(f"{tfimm_resolver.get_dir()}/{name}")
        assert os.path.exists(f"{folder}/{name}/keras_metadata.pb"), "this was not Keras 2"
        with tarfile.open(f"{folder}/archive.tar", "w") as archive:
            archive.add(f"{folder}/{name}", ".")

        def same(model):
            pairs = list(zip(saved.weights, model.weights, strict=True))
            assert len(pairs) > 100
            return all(mine.name == other.name and (mine.numpy() == other.numpy()).all() for mine, other in pairs)

        assert tfimm.cached_model_path(name) is None
        assert not same(tfimm.create_model(name, pretrained=False)), "a new model has the same weights"
        for location in (name, f"{folder}/archive.tar"):
            path = tfimm_resolver.resolve(location)
            tfimm.set_model_cache(name, path)
            assert tfimm.cached_model_path(name) == path
            print(path, same(tfimm.create_model(name, pretrained=True)))
        """,
        str(tmp_path / "folder"),
    )
    by_name, unpacked = (line.split() for line in output.splitlines())
    assert by_name == [str(tmp_path / "folder" / "resnet18"), "True"]
    assert Path(unpacked[0]).parent == tmp_path / "folder"
    assert len(Path(unpacked[0]).name) == 40
    assert unpacked[1] == "True"


def test_tfimm_and_we_agree_on_the_path_of_a_named_model(line: Path, tmp_path: Path, server: ForkServer) -> None:
    pytest.importorskip("tfimm", reason="pip install --no-deps --ignore-requires-python tfimm==0.2.14")
    server.run(
        """
        import os, sys
        import tfimm_resolver
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        import tfimm

        line, location = sys.argv[1:]
        def agree():
            assert tfimm.get_dir() == tfimm_resolver.get_dir()
            assert tfimm.cached_model_path("line") == tfimm_resolver.cached_model_path("line")
            return tfimm_resolver.cached_model_path("line")

        for variable, folder in (("HOME", ".cache/tfimm"), ("XDG_CACHE_HOME", "tfimm"), ("TFIMM_HOME", "")):
            os.environ[variable] = f"{location}/{variable}"
            assert agree() is None
            os.makedirs(f"{location}/{variable}/{folder}")
            os.symlink(line, os.path.join(f"{location}/{variable}", folder, "line"))
            assert agree() == os.path.join(f"{location}/{variable}", folder, "line"), agree()
        for package in (tfimm, tfimm_resolver):
            package.set_dir(f"{location}/chosen")
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


def test_keras_3_predicts_with_a_layer_made_of_a_resolved_path(line: Path, server: ForkServer) -> None:
    if version("keras") < "3":
        pytest.skip("TensorFlow 2.15 comes with Keras 2")
    output = server.run(
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
    assert output == "[3.0, 5.0]"
