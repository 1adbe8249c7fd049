"""tensorflow_hub loads models by their names in the project's models file, and checks the pins."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import files_in, tar_gz
from tests.fakes.fork_server import ForkServer
from tests.fakes.origin import Origin
from tfimm_resolver.models_file.discovery import FILE_NAME

pytest.importorskip("tensorflow_hub")


def test_hub_load_and_our_load_take_a_name_and_keep_its_pin(
    line: Path, origin: Origin, tmp_path: Path, server: ForkServer
) -> None:
    archive = tar_gz(files_in(line))
    pin = hashlib.sha256(archive).hexdigest()
    good, bad = origin.put_model("/line/1", archive), origin.put("/line.tgz", archive)
    (tmp_path / FILE_NAME).write_text(
        f'[models.line]\nhandle = "{good}"\nsha256 = "{pin}"\naliases = ["l"]\n'
        f'[models.other]\nhandle = "{bad}"\nsha256 = "{"0" * 64}"\n'
    )
    output = server.run(
        """
        import os, sys
        import tensorflow_hub as hub
        import tfimm_resolver
        from tfimm_resolver.errors import IntegrityError, ModelsFileError

        os.chdir(sys.argv[1])
        os.mkdir("here")
        for load in (hub.load, tfimm_resolver.load):
            print(load("line")([1.0, 2.0]).numpy().tolist(), load("l")([3.0]).numpy().tolist())
        print(hub.resolve("l") == tfimm_resolver.resolve("line") == tfimm_resolver.cached_model_path("l"))
        try:
            hub.load("other")
        except IntegrityError as error:
            print("pinned", "0" * 64 in str(error))
        print(hub.resolve("here"))
        open("tfimm-models.toml", "a").write("nonsense")
        try:
            hub.load("line")
        except ModelsFileError as error:
            print("tfimm-models.toml:8: " in str(error))
        """,
        str(tmp_path),
        PYTHONPATH=str(Path(tfimm_resolver.__file__).parents[1]),
    )
    loaded = ["[3.0, 5.0] [7.0]"] * 2
    assert output.splitlines() == [*loaded, "True", "pinned True", "here", "True"]
    assert origin.requests.count("/line/1?tf-hub-format=compressed") == 1
