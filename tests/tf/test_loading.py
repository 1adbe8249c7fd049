"""What a handle names is loaded as TensorFlow loads it, or it is said what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tfimm_resolver
from tests.archives import REAL, files_in, tar_gz
from tests.origin import Origin
from tests.processes import run
from tfimm_resolver import load, load_options
from tfimm_resolver.errors import LoadError, MissingOpError, NotASavedModelError, TensorFlowMissingError, UnknownHandleError
from tfimm_resolver.loading.loader import describe

tf = pytest.importorskip("tensorflow")


def _of_1_and_2(model: Any) -> list[float]:
    values: list[float] = model(tf.constant([1.0, 2.0])).numpy().tolist()
    return values


def _without_multiplication(op: str) -> Callable[[Any], None]:
    """Makes every multiplication of a SavedModel another op."""

    def change(saved: Any) -> None:
        for graph in (meta.graph_def for meta in saved.meta_graphs):
            for node in [*graph.node, *(node for function in graph.library.function for node in function.node_def)]:
                node.op = op if node.op == "Mul" else node.op

    return change


def _with_a_graph_for_training(saved: Any) -> None:
    """As most TF1 Hub modules have it, beside the one without tags."""
    saved.meta_graphs.add().CopyFrom(saved.meta_graphs[0])
    saved.meta_graphs[1].meta_info_def.tags.append("train")


def test_loads_a_tf2_saved_model_from_a_directory(line: Path) -> None:
    for handle in (line, str(line), f"{line}/", line.as_uri()):
        model = load(handle)
        assert _of_1_and_2(model) == [3.0, 5.0]
        assert model._is_hub_module_v1 is False
    signature = model.signatures["serving_default"]
    assert signature(x=tf.constant([3.0]))["output_0"].numpy().tolist() == [7.0]


def test_loads_what_has_to_be_fetched_or_unpacked_first(line: Path, origin: Origin, tmp_path: Path, cache_dir: Path) -> None:
    archive = tmp_path / "line.tar.gz"
    archive.write_bytes(tar_gz(files_in(line)))
    url = origin.put_model("/line/1", archive.read_bytes())
    for handle in (archive, url, url):
        assert _of_1_and_2(load(handle)) == [3.0, 5.0]
    assert len(origin.asked) == 1
    assert len(list(cache_dir.glob("*/saved_model.pb"))) == 2


def test_loads_a_model_by_its_name(line: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownHandleError):
        load("line")
    tfimm_resolver.set_model_cache("line", line)
    assert _of_1_and_2(load("line")) == [3.0, 5.0]
    tfimm_resolver.clear_model_cache("line")
    named = tmp_path / "home" / ".cache" / "tfimm" / "line"
    named.parent.mkdir(parents=True)
    named.symlink_to(line)
    assert _of_1_and_2(load("line")) == [3.0, 5.0]


def test_loads_a_url_that_is_overridden_without_asking_it(line: Path, origin: Origin) -> None:
    tfimm_resolver.set_model_cache(f"{origin.url}/line/1", line)
    assert _of_1_and_2(load(f"{origin.url}/line/1")) == [3.0, 5.0]
    assert origin.asked == []


def test_loads_a_tf1_hub_module_without_being_told_its_tags(half: Path, rewritten: Callable[..., Path]) -> None:
    for handle in (half, REAL, rewritten(half, _with_a_graph_for_training)):
        model = load(handle)
        assert model.signatures["default"](tf.constant([1.0, 2.0, 3.0]))["default"].numpy().tolist() == [2.5, 3.0, 3.5]
        assert model._is_hub_module_v1 is True


def test_takes_the_tags_it_is_given(line: Path, half: Path) -> None:
    assert _of_1_and_2(load(line, tags=["serve"])) == [3.0, 5.0]
    assert load(half, tags=[]).signatures.keys() == {"default"}
    for path in (line, half):
        with pytest.raises(LoadError, match="nonsense"):
            load(path, tags={"nonsense"})


def test_loads_a_model_in_text_form(line: Path, rewritten: Callable[..., Path]) -> None:
    path = rewritten(line, text=True)
    assert not (path / "saved_model.pb").exists()
    assert _of_1_and_2(load(path)) == [3.0, 5.0]


def test_loads_in_a_graph_of_tf1_too(line: Path) -> None:
    with tf.Graph().as_default():
        result = load(line)(tf.constant([1.0, 2.0]))
        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            assert session.run(result).tolist() == [3.0, 5.0]


def test_loads_where_eager_execution_is_off(line: Path) -> None:
    said = run(
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
    assert said == "[3.0, 5.0] None"


def test_says_what_lies_where_no_saved_model_is(tmp_path: Path) -> None:
    (tmp_path / "variables").mkdir()
    for number in range(12):
        (tmp_path / f"{number:02}.txt").touch()
    with pytest.raises(NotASavedModelError) as caught:
        load(tmp_path)
    assert isinstance(caught.value, ValueError)
    first, second = str(caught.value).splitlines()
    assert first == f"{tmp_path} is no SavedModel: it has neither saved_model.pb nor saved_model.pbtxt"
    assert second.startswith("  it has: 00.txt, 01.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotASavedModelError, match=r"it has: nothing$"):
        load(tmp_path / "empty")


def test_says_so_if_an_archive_holds_no_saved_model(origin: Origin) -> None:
    url = origin.put_model("/words/1", tar_gz({"vocabulary.txt": b"a\nb\n"}))
    with pytest.raises(NotASavedModelError, match=r"it has: vocabulary\.txt"):
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
def test_names_the_package_that_brings_a_missing_op(
    op: str, package: str, kind: str, rewritten: Callable[..., Path], request: pytest.FixtureRequest
) -> None:
    path = rewritten(request.getfixturevalue(kind), _without_multiplication(op))
    with pytest.raises(MissingOpError) as caught:
        load(path)
    assert isinstance(caught.value, NotImplementedError)
    assert op in caught.value.text
    assert f"import {package} before loading" in caught.value.fix
    assert f"pip install {package.replace('_', '-')}" in caught.value.fix
    assert "Op type not registered" in str(caught.value.__cause__)


def test_names_a_missing_op_of_an_unknown_package(line: Path, rewritten: Callable[..., Path]) -> None:
    path = rewritten(line, _without_multiplication("NobodyKnowsThisOp"))
    with pytest.raises(MissingOpError, match="'NobodyKnowsThisOp'") as caught:
        load(path)
    assert "pip install" not in caught.value.fix


def test_tells_any_other_failure_of_tensorflow_in_one_line(line: Path, rewritten: Callable[..., Path]) -> None:
    path = rewritten(line)
    (path / "saved_model.pb").write_bytes(b"no protocol buffer")
    with pytest.raises(LoadError, match="OSError: Cannot parse file") as caught:
        load(path)
    assert type(caught.value) is LoadError
    assert caught.value.text.startswith(f"TensorFlow cannot load {path}: ")
    assert "\n" not in caught.value.text
    assert isinstance(caught.value.__cause__, OSError)


def test_says_how_to_get_tensorflow_where_it_is_missing(line: Path) -> None:
    said = run(
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
    assert said.splitlines() == [str(line)] + [f"pip install tensorflow {TensorFlowMissingError.exit_code}"] * 2


def test_the_callers_options_are_kept_and_not_changed(line: Path) -> None:
    policy = tf.saved_model.experimental.VariablePolicy.SAVE_VARIABLE_DEVICES
    theirs = tf.saved_model.LoadOptions(
        allow_partial_checkpoint=True,
        experimental_io_device="/job:localhost",
        experimental_skip_checkpoint=True,
        experimental_variable_policy=policy,
    )
    before = {name: getattr(theirs, name) for name in type(theirs).__slots__}
    ours = load_options(line, options=theirs, io_device="/job:elsewhere")
    assert ours is not theirs
    assert {name: getattr(ours, name) for name in type(ours).__slots__} == before
    bare = tf.saved_model.LoadOptions(experimental_skip_checkpoint=True)
    ours = load_options(options=bare, io_device="/job:elsewhere")
    assert ours.experimental_io_device == "/job:elsewhere"
    assert ours.experimental_skip_checkpoint is True
    assert bare.experimental_io_device is None


def test_load_does_what_the_options_say(line: Path, rewritten: Callable[..., Path]) -> None:
    skipped = load(line, options=tf.saved_model.LoadOptions(experimental_skip_checkpoint=True))
    assert skipped.slope.numpy().size == 0, "the checkpoint was read all the same"
    with pytest.raises(LoadError, match="nowhere"):
        load(line, io_device="/job:nowhere")


def test_options_are_those_of_tensorflow_where_nothing_is_remote(line: Path, origin: Origin) -> None:
    url = origin.put_model("/line/1", tar_gz(files_in(line)))
    for options in (load_options(), load_options(line), load_options(url), load_options("gs://bucket/model")):
        assert isinstance(options, tf.saved_model.LoadOptions)
        assert options.experimental_io_device is None
    assert len(origin.asked) == 1
    assert _of_1_and_2(tf.saved_model.load(str(line), options=load_options(line))) == [3.0, 5.0]
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
    (place,) = described["variables"]
    assert place == {"device": tf.constant(0).device, "count": 2, "size_bytes": 8}
    described = describe(load(half))
    assert list(described["signatures"]) == ["default"]
    assert described["signatures"]["default"]["outputs"] == [{"name": "default", "dtype": "float32", "shape": None}]
    (place,) = described["variables"]
    assert (place["count"], place["size_bytes"]) == (2, 8)


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
    assert [place["count"] for place in described["variables"]] == [2]
    assert [output["name"] for output in described["signatures"]["serving_default"]["outputs"]] == ["sum", "words"]
    tf.saved_model.save(tf.Module(), str(tmp_path / "bare"))
    assert describe(load(tmp_path / "bare")) == {"signatures": {}, "variables": []}
