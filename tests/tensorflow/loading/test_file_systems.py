"""File systems that only TensorFlow reads: models there are loaded in place, or the error says that it cannot read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import files_in
from tests.fakes.cli import run_cli
from tests.fakes.fork_server import ForkServer
from tests.fakes.processes import run
from tfimm_resolver import load, load_options, resolve, set_model_cache
from tfimm_resolver.errors import LoadError, NotASavedModelError, UnknownHandleError
from tfimm_resolver.sources import tensorflow_files

tf = pytest.importorskip("tensorflow")


@pytest.fixture
def memory(line: Path) -> Iterator[str]:
    """A model in TensorFlow's file system in memory, which lasts as long as this process."""
    for name, data in files_in(line).items():
        path = f"ram://models/line/{name}"
        tf.io.gfile.makedirs(path.rpartition("/")[0])
        with tf.io.gfile.GFile(path, "wb") as file:
            file.write(data)
    yield "ram://models/line"
    tf.io.gfile.rmtree("ram://models")


def test_a_model_in_memory_is_loaded_in_place(memory: str, cache_dir: Path) -> None:
    set_model_cache("line", memory)
    for handle in (memory, f"{memory}/", memory.replace("ram:", "RAM:"), "line", "ram://models#subdirectory=line"):
        assert load(handle)(tf.constant([1.0, 2.0])).numpy().tolist() == [3.0, 5.0]
        assert load_options(handle).experimental_io_device is None
    assert resolve(memory) == memory and not cache_dir.exists()


def test_tensorflow_hub_loads_it_as_before(memory: str) -> None:
    hub = pytest.importorskip("tensorflow_hub")
    assert hub.resolve(memory) == memory
    assert hub.load(memory)(tf.constant([1.0, 2.0])).numpy().tolist() == [3.0, 5.0]


@pytest.mark.parametrize("handle", ["hdfs://nn:9000/m", "hdfs:///user/m", "viewfs://c/m"])
def test_what_this_tensorflow_cannot_read_is_said_when_it_is_loaded(handle: str) -> None:
    assert resolve(handle) == handle
    with pytest.raises(LoadError, match="has no file system for") as caught:
        load(handle)
    assert "ram" in caught.value.text and "tensorflow_io" in caught.value.fix


def test_the_command_says_how_to_load_what_this_tensorflow_cannot_read(server: ForkServer) -> None:
    code, _, err = run_cli("load", "hdfs:///user/m", server=server)
    assert code == 5 and "has no file system for" in err and "Copy the model to a local directory" in err


def test_what_is_not_there_is_not_a_model() -> None:
    with pytest.raises(NotASavedModelError, match="it contains: nothing"):
        load("ram://nothing/here")


def test_a_file_system_that_a_library_adds_is_known_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorflow_files, "_added", set())
    with pytest.raises(UnknownHandleError):
        load("myfs://a/m")
    monkeypatch.setattr(tf.io.gfile, "get_registered_schemes", lambda: ["", "file", "gs", "ram", "myfs"])
    with pytest.raises(NotASavedModelError, match="myfs://a/m"):  # TensorFlow lists it, and finds nothing
        monkeypatch.setattr(tf.io.gfile, "stat", lambda path: (_ for _ in ()).throw(tf.errors.NotFoundError(None, None, "")))
        load("myfs://a/m")
    assert load_options("myfs://a/m").experimental_io_device is None


def test_resolve_asks_no_tensorflow() -> None:
    code = "import sys, tfimm_resolver as r; print(r.resolve('ram://models/a'), r.resolve('hdfs:///m'))"
    assert run(f"{code}; print('tensorflow' in sys.modules)").replace("\n", " ") == "ram://models/a hdfs:///m False"
