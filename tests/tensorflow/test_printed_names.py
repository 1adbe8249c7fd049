"""The name that ``ls`` prints for a cached model loads that model, in Python and on the command line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import files_in, tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.fork_server import ForkServer
from tests.fakes.origin import Origin
from tfimm_resolver import load, maintenance, resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.loading import loader

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def names(line: Path, origin: Origin, cache_dir: Path, tmp_path: Path) -> list[str]:
    """The printed names of a signed URL, a TF Hub model, an entry without a record, and two versions of a removed archive."""
    packed, other = tar_gz(files_in(line)), tar_gz({**files_in(line), "assets/vocabulary.txt": b"word"})
    resolve(origin.put("/m.tar.gz?signature=secret", packed))
    for key, record in (("https://tfhub.dev/google/line/1", "Module: https://tfhub.dev/google/line/1\n"), ("unknown", "")):
        shutil.copytree(line, cache_dir / entry_name_for_key(key))
        (cache_dir / f"{entry_name_for_key(key)}.descriptor.txt").write_text(record)
    archive = tmp_path / "m.tar.gz"
    for data in (packed, other):
        archive.write_bytes(data)
        resolve(archive)
    archive.unlink()
    return [model.name for model in maintenance.list()]


def test_each_printed_name_loads(names: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert len(names) == 5
    for name in names:
        model: Any = load(name)
        assert model(tf.constant([1.0, 2.0])).numpy().tolist() == [3.0, 5.0], name
        assert loader.load_options(name) is not None


def test_the_command_loads_a_printed_name(names: list[str], server: ForkServer) -> None:
    (name,) = (name for name in names if name.endswith("?…"))
    code, out, err = run_cli("load", name, server=server, TFIMM_RESOLVER_OFFLINE="1")
    assert code == 0 and "serving_default" in out, err
