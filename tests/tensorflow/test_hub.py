"""A real entry point: it builds a Keras model, downloads its weights from a URL, and predicts."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.fork_server import ForkServer
from tests.fakes.git_host import GitHost
from tests.fakes.origin import Origin

pytest.importorskip("tensorflow")

NETS = '''
import tensorflow as tf
from models.scale import factor


class Scaled(tf.keras.layers.Layer):
    """Has a graph that autograph builds from this file, with the modules of this repository."""

    @tf.function
    def call(self, x):
        from models.scale import factor as again
        if tf.reduce_sum(x) > 0:
            x = x * factor() * again()
        return x


def dense():
    return tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(2, name="dense"), Scaled()])
'''
HUBCONF = '''
dependencies = ["tensorflow", "numpy"]
from models.nets import dense as _dense


def dense(pretrained=False, **kwargs):
    """A dense layer, scaled."""
    model = _dense(**kwargs)
    if pretrained:
        from tfimm_resolver.hub import load_state_dict_from_url
        weights = load_state_dict_from_url("URL", progress=False, check_hash=True)
        model.get_layer("dense").set_weights([weights["dense/kernel"], weights["dense/bias"]])
    return model
'''
CODE = """
    import logging, sys
    import numpy as np
    logging.basicConfig(level=logging.WARNING)
    from tfimm_resolver.cli import app
    from tfimm_resolver import hub
    for name, factor in (("ada/models", 4), ("eve/models", 9)):
        model = hub.load(name, "dense", pretrained=True, trust_repo=True)
        assert np.allclose(model.predict(np.ones((1, 3)), verbose=0), [[12 * factor, 15 * factor]]), name
        assert np.allclose(model(np.ones((1, 3))), [[12 * factor, 15 * factor]]), name
    path = sys.argv[1] + "/m.keras"
    model.save(path)
    import tensorflow as tf
    again = tf.keras.models.load_model(path, custom_objects={"Scaled": type(model.layers[-1])})
    assert np.allclose(again(np.ones((1, 3))), [[108, 135]])
    assert app.main(["hub", "load", "ada/models", "dense", "--arg", "pretrained=true"]) == 0
    assert app.main(["hub", "load", "ada/models", "dense", "--json"]) == 0
"""


def test_an_entry_point_builds_a_model_and_takes_its_weights_from_a_url(
    tmp_path: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch, server: ForkServer
) -> None:
    import hashlib

    out = io.BytesIO()
    np.savez(out, **{"dense/kernel": np.arange(1, 7, dtype="f4").reshape(3, 2), "dense/bias": np.array([3, 3], "f4")})
    url = origin.put(f"/dense-{hashlib.sha256(out.getvalue()).hexdigest()[:8]}.npz", out.getvalue())
    with GitHost(tmp_path / "host") as host:
        for owner, factor in (("ada", 2), ("eve", 3)):
            files = {
                "hubconf.py": HUBCONF.replace("URL", url),
                "models/__init__.py": "",
                "models/nets.py": NETS,
                "models/scale.py": f"def factor():\n    return {factor}\n",
            }
            host.repo(f"{owner}/models", files)
        monkeypatch.setenv("TFIMM_GITHUB_URL", host.url)
        text, as_json = server.run(CODE, str(tmp_path), timeout_s=240).split("\n{", 1)
        assert len(host.list_zips()) == 2 and len(origin.requests) == 1
    assert text.splitlines()[-2].startswith("keras.") and text.splitlines()[-1].startswith("2 variables, 32 B, on ")
    assert '"count": 2' in as_json and '"entry": "dense"' in as_json
