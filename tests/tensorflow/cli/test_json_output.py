"""What the commands that need TensorFlow print with ``--json`` has the documented schema."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from tests.fakes.cli import run_cli
from tests.fakes.fork_server import ForkServer
from tools.reference.json_output import SCHEMAS

HUBCONF = '''
dependencies = []

def model(units=1):
    """A model."""
    import tensorflow as tf
    module = tf.Module()
    module.variables_of_it = [tf.Variable([1.0] * units)]
    return module
'''


@pytest.mark.parametrize("name", ["load", "hub list", "hub help", "hub load", "demo"])
def test_a_command_prints_its_schema(name: str, half: Path, tmp_path: Path, server: ForkServer) -> None:
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository" / "hubconf.py").write_text(HUBCONF)
    repository = ("--local", "--trust", str(tmp_path / "repository"))
    arguments = {
        "load": [str(half)],
        "hub list": repository,
        "hub help": [*repository, "model"],
        "hub load": [*repository, "model", "--arg", "units=3"],
    }
    code, out, err = run_cli(*name.split(), *arguments.get(name, ()), "--json", server=server)
    assert code == 0, err
    jsonschema.Draft202012Validator(SCHEMAS[name]).validate(json.loads(out))
