"""Models load as TensorFlow loads them, or the error says what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tfimm_resolver
from tests.fakes.archives import REAL, files_in, tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.fork_server import ForkServer
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tfimm_resolver import load, load_options
from tfimm_resolver.errors import LoadError, MissingOpError, NotASavedModelError, TensorFlowMissingError, UnknownHandleError
from tfimm_resolver.loading.loader import count_variables_by_device, describe

tf = pytest.importorskip("tensorflow")


def _run_on_1_and_2(model: Any) -> list[float]:
    values: list[float] = model(tf.constant([1.0, 2.0])).numpy().tolist()
    return values


def _replace_multiplication(op: str) -> Callable[[Any], None]:
    """Return a function that replaces every multiplication in a SavedModel by another op."""

    def change(saved: Any) -> None:
        for graph in (meta.graph_def for meta in saved.meta_graphs):
            for node in [*graph.node, *(node for function in graph.library.function for node in function.node_def)]:
                node.op = op if node.op == "Mul" else node.op

    return change


def _add_training_graph(saved: Any) -> None:
    """Add a second graph, tagged for training, as most TF1 Hub modules have."""
    saved.meta_graphs.add().CopyFrom(saved.meta_graphs[0])
    saved.meta_graphs[1].meta_info_def.tags.append("train")


def test_loads_a_tf2_saved_model_from_a_directory(line: Path) -> None:
    for handle in (line, str(line), f"{line}/", line.as_uri()):
        model = load(handle)
        assert _run_on_1_and_2(model) == [3.0, 5.0]
        assert model._is_hub_module_v1 is False
    signature = model.signatures["serving_default"]
    assert signature(x=tf.constant([3.0]))["output_0"].numpy().tolist() == [7.0]


def test_loads_what_has_to_be_fetched_or_unpacked_first(line: Path, origin: Origin, tmp_path: Path, cache_dir: Path) -> None:
    archive = tmp_path / "line.tar.gz"
    archive.write_bytes(tar_gz(files_in(line)))
    url = origin.put_model("/line/1", archive.read_bytes())
    for handle in (archive, url, url):
        assert _run_on_1_and_2(load(handle)) == [3.0, 5.0]
    assert len(origin.requests) == 1
    assert len(list(cache_dir.glob("*/saved_model.pb"))) == 2


def test_loads_a_model_by_its_name(line: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownHandleError):
        load("line")
    tfimm_resolver.set_model_cache("line", line)
    assert _run_on_1_and_2(load("line")) == [3.0, 5.0]
    tfimm_resolver.clear_model_cache("line")
    named = tmp_path / "home" / ".cache" / "tfimm" / "line"
    named.parent.mkdir(parents=True)
    named.symlink_to(line)
    assert _run_on_1_and_2(load("line")) == [3.0, 5.0]


def test_loads_a_url_that_is_overridden_without_requesting_it(line: Path, origin: Origin) -> None:
    tfimm_resolver.set_model_cache(f"{origin.url}/line/1", line)
    assert _run_on_1_and_2(load(f"{origin.url}/line/1")) == [3.0, 5.0]
    assert origin.requests == []


def test_loads_a_tf1_hub_module_without_its_tags(half: Path, rewritten: Callable[..., Path]) -> None:
    for handle in (half, REAL, rewritten(half, _add_training_graph)):
        model = load(handle)
        assert model.signatures["default"](tf.constant([1.0, 2.0, 3.0]))["default"].numpy().tolist() == [2.5, 3.0, 3.5]
        assert model._is_hub_module_v1 is True


def test_loads_the_graph_with_the_given_tags(line: Path, half: Path) -> None:
    assert _run_on_1_and_2(load(line, tags=["serve"])) == [3.0, 5.0]
    assert load(half, tags=[]).signatures.keys() == {"default"}
    for path in (line, half):
        with pytest.raises(LoadError, match="nonsense"):
            load(path, tags={"nonsense"})


def test_loads_a_model_in_text_form(line: Path, rewritten: Callable[..., Path]) -> None:
    path = rewritten(line, text=True)
    assert not (path / "saved_model.pb").exists()
    assert _run_on_1_and_2(load(path)) == [3.0, 5.0]


def test_loads_in_a_graph_of_tf1_too(line: Path) -> None:
    with tf.Graph().as_default():
        result = load(line)(tf.constant([1.0, 2.0]))
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            assert session.run(result).tolist() == [3.0, 5.0]


def test_loads_where_eager_execution_is_off(line: Path, server: ForkServer) -> None:
    output = server.run(
        """
        import sys
        import tensorflow as tf
        import tfimm_resolver
        tf.compat.v1.disable_eager_execution()
        result = tfimm_resolver.load(sys.argv[1])(tf.constant([1.0, 2.0]))
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            print(session.run(result).tolist(), tfimm_resolver.load_options().experimental_io_device)
        """,
        str(line),
    )
    assert output == "[3.0, 5.0] None"


def test_lists_the_files_of_a_directory_that_is_not_a_saved_model(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    for number in range(12):
        (tmp_path / f"{number:02}.txt").touch()
    with pytest.raises(NotASavedModelError) as caught:
        load(tmp_path)
    assert isinstance(caught.value, ValueError)
    first, second, fix = str(caught.value).splitlines()
    assert first == f"{tmp_path} is not a SavedModel: it contains neither saved_model.pb nor saved_model.pbtxt"
    assert second.startswith("  it contains: 00.txt, 01.txt") and fix.strip() == caught.value.fix
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotASavedModelError, match=r"it contains: nothing\n"):
        load(tmp_path / "empty")


def test_lists_the_files_of_an_archive_without_a_saved_model(origin: Origin) -> None:
    url = origin.put_model("/words/1", tar_gz({"vocabulary.txt": b"a\nb\n"}))
    with pytest.raises(NotASavedModelError, match=r"it contains: vocabulary\.txt"):
        load(url)


@pytest.mark.parametrize("kind", ["line", "half"])
@pytest.mark.parametrize(
    ("op", "package"),
    [
        ("CaseFoldUTF8", "tensorflow_text"),
        ("Addons>SpmLookalike", "tensorflow_addons"),
        ("IO>BigtableClient", "tensorflow_io"),
        ("SimpleMLInferenceOpWithHandle", "tensorflow_decision_forests"),
    ],
)
def test_names_the_package_that_provides_a_missing_op(
    op: str, package: str, kind: str, rewritten: Callable[..., Path], request: pytest.FixtureRequest
) -> None:
    path = rewritten(request.getfixturevalue(kind), _replace_multiplication(op))
    with pytest.raises(MissingOpError) as caught:
        load(path)
    assert isinstance(caught.value, NotImplementedError)
    assert op in caught.value.text
    assert f"import {package} before loading" in caught.value.fix
    assert f"pip install {package.replace('_', '-')}" in caught.value.fix
    assert "Op type not registered" in str(caught.value.__cause__)


def test_names_a_missing_op_of_an_unknown_package(line: Path, rewritten: Callable[..., Path]) -> None:
    path = rewritten(line, _replace_multiplication("UnknownOp"))
    with pytest.raises(MissingOpError, match="'UnknownOp'") as caught:
        load(path)
    assert "pip install" not in caught.value.fix


def test_reports_any_other_failure_of_tensorflow_and_what_is_damaged(line: Path, rewritten: Callable[..., Path]) -> None:
    path = rewritten(line)
    (path / "saved_model.pb").write_bytes(b"no protocol buffer")
    with pytest.raises(LoadError, match="OSError: Cannot parse file") as caught:
        load(path)
    assert isinstance(caught.value, LoadError)
    assert caught.value.text.startswith(f"TensorFlow cannot load {path}: ")
    first, second = caught.value.text.splitlines()
    assert "Cannot parse file" in first and "saved_model.pb is damaged" in second
    assert isinstance(caught.value.__cause__, OSError)


def test_says_how_to_install_tensorflow_if_it_is_missing(line: Path) -> None:
    output = run(
        """
        import sys
        sys.modules["tensorflow"] = None
        import tfimm_resolver
        from tfimm_resolver.errors import TensorFlowMissingError
        print(tfimm_resolver.resolve(sys.argv[1]))
        for call in (tfimm_resolver.load, tfimm_resolver.load_options):
            try:
                call(sys.argv[1])
            except TensorFlowMissingError as error:
                assert isinstance(error, ImportError)
                print(error.fix, error.exit_code)
        """,
        str(line),
    )
    assert output.splitlines() == [str(line)] + [f"pip install tensorflow {TensorFlowMissingError.exit_code}"] * 2


def test_the_callers_options_are_kept_and_not_changed(line: Path) -> None:
    policy = tf.saved_model.experimental.VariablePolicy.SAVE_VARIABLE_DEVICES
    options = tf.saved_model.LoadOptions(
        allow_partial_checkpoint=True,
        experimental_io_device="/job:localhost",
        experimental_skip_checkpoint=True,
        experimental_variable_policy=policy,
    )
    before = {name: getattr(options, name) for name in type(options).__slots__}
    copy = load_options(line, options=options, io_device="/job:elsewhere")
    assert copy is not options
    assert {name: getattr(copy, name) for name in type(copy).__slots__} == before
    bare = tf.saved_model.LoadOptions(experimental_skip_checkpoint=True)
    copy = load_options(options=bare, io_device="/job:elsewhere")
    assert copy.experimental_io_device == "/job:elsewhere"
    assert copy.experimental_skip_checkpoint is True
    assert bare.experimental_io_device is None


def test_load_follows_the_options(line: Path, rewritten: Callable[..., Path]) -> None:
    skipped = load(line, options=tf.saved_model.LoadOptions(experimental_skip_checkpoint=True))
    assert skipped.slope.numpy().size == 0, "the checkpoint was read anyway"
    with pytest.raises(LoadError, match="nowhere"):
        load(line, io_device="/job:nowhere")


def test_options_are_the_defaults_without_remote_workers(line: Path, origin: Origin) -> None:
    url = origin.put_model("/line/1", tar_gz(files_in(line)))
    for options in (load_options(), load_options(line), load_options(url), load_options("gs://bucket/model")):
        assert isinstance(options, tf.saved_model.LoadOptions)
        assert options.experimental_io_device is None
    assert len(origin.requests) == 1
    assert _run_on_1_and_2(tf.saved_model.load(str(line), options=load_options(line))) == [3.0, 5.0]
    with pytest.raises(UnknownHandleError):
        load_options("no such model")


def test_describes_signatures_and_variables(line: Path, half: Path) -> None:
    described = describe(load(line))
    assert described["signatures"] == {
        "serving_default": {
            "inputs": [{"name": "x", "dtype": "float32", "shape": [None]}],
            "outputs": [{"name": "output_0", "dtype": "float32", "shape": [None]}],
        }
    }
    (entry,) = described["variables"]
    assert entry == {"device": tf.constant(0).device, "count": 2, "size_bytes": 8}
    described = describe(load(half))
    assert list(described["signatures"]) == ["default"]
    assert described["signatures"]["default"]["outputs"] == [{"name": "default", "dtype": "float32", "shape": None}]
    (entry,) = described["variables"]
    assert (entry["count"], entry["size_bytes"]) == (2, 8)


def test_describes_a_model_of_unknown_shapes_and_one_without_signatures(tmp_path: Path) -> None:
    class Odd(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.unknown = tf.Variable([1.0, 2.0], shape=tf.TensorShape(None))
            self.words = tf.Variable(["a", "b"])

        @tf.function(input_signature=[tf.TensorSpec([], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def serve(self, x: Any) -> Any:
            return {"sum": self.unknown + x, "words": self.words}

    odd = Odd()
    tf.saved_model.save(odd, str(tmp_path / "odd"), signatures=odd.serve)
    described = describe(load(tmp_path / "odd"))
    assert [entry["count"] for entry in described["variables"]] == [2]
    assert [output["name"] for output in described["signatures"]["serving_default"]["outputs"]] == ["sum", "words"]
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    assert describe(load(tmp_path / "bare")) == {"signatures": {}, "variables": []}


def test_counts_the_variables_of_a_model_without_signatures_once(tmp_path: Path, server: ForkServer) -> None:
    class Layered(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.scale = tf.Variable([1.0, 2.0])
            self.same, self.step = self.scale, tf.Variable(3, dtype=tf.int64, trainable=False)
            self.layers = [{"kernel": tf.Variable([[1.0]])}, (tf.Module(), tf.Variable("a"))]
            self.layers[1][0].bias = tf.Variable([0.0])

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32)])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return x * self.scale

        @tf.function(input_signature=[tf.TensorSpec([], tf.string)])  # type: ignore[untyped-decorator]
        def split(self, text: Any) -> Any:
            return tf.strings.split(text)

    tf.saved_model.save(Layered(), str(tmp_path / "m"))
    (entry,) = describe(load(tmp_path / "m"))["variables"]
    assert entry["count"] == 5 and entry["size_bytes"] == 8 + 8 + 4 + 4 + tf.string.size
    code, out, err = run_cli("load", str(tmp_path / "m"), server=server)
    assert code == 0 and "5 variables" in out and "no signatures" in err


@pytest.mark.parametrize("model", [object(), 1, "text", None, []])
def test_what_is_not_a_model_of_tensorflow_has_no_variables(model: object) -> None:
    """An entry point of a repository may return anything."""
    assert count_variables_by_device(model) == []
