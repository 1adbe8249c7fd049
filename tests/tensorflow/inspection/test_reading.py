"""What ``inspect`` reads without TensorFlow is what TensorFlow reads, for a model of each kind."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.tensorflow.zoo import ZOO
from tfimm_resolver.inspection.reading import inspect
from tfimm_resolver.inspection.report import Inspection
from tfimm_resolver.saved_model.graph import iterate_graphs
from tfimm_resolver.saved_model.messages import MessageSource, open_source
from tfimm_resolver.saved_model.meta_graphs import MetaGraph, SignatureTensor, read_meta_graphs
from tfimm_resolver.saved_model.needs import find_need
from tfimm_resolver.saved_model.shapes import get_dtype_name
from tfimm_resolver.saved_model.wire import WireError

tf = pytest.importorskip("tensorflow")
DecodeError = pytest.importorskip("google.protobuf.message").DecodeError

FORMATS = {
    "hub module": "TF1 Hub module",
    "Keras 2, trained": "Keras 2",
    "Keras 2, functional": "Keras 2",
    "Keras 3 export": "Keras 3 export",
    "Keras 3 object": "Keras 3",
    "text graph": "",
}
VERSION_1 = {"version 1", "several graphs", "sparse signature", "partitioned variable", "like an estimator"}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the models, each saved when it is asked for."""
    return tmp_path_factory.mktemp("zoo")


def save(name: str, zoo: Path) -> Path:
    """Return the directory of a model, which is saved first."""
    path = zoo / name.replace(" ", "_")
    if not path.exists():
        ZOO[name](path)
    return path


def read_protos(path: Path) -> Any:
    """Return a SavedModel as TensorFlow parses it."""
    from tensorflow.python.saved_model import loader_impl

    return loader_impl.parse_saved_model(str(path))


def list_nodes(graph: Any) -> list[Any]:
    """Return the nodes of a graph and of its functions, in the order of the file."""
    return [*graph.node, *(node for function in graph.library.function for node in function.node_def)]


def check_tensor(found: SignatureTensor, expected: Any) -> None:
    """Compare an input or output of a signature with its TensorInfo."""
    shape = expected.tensor_shape
    sizes = None if shape.unknown_rank else tuple(None if each.size < 0 else each.size for each in shape.dim)
    dtype = tf.dtypes.as_dtype(expected.dtype).name if expected.dtype else ""
    kinds = {"coo_sparse": "sparse", "composite_tensor": "composite"}
    assert (found.shape, found.dtype) == (sizes, dtype)
    assert found.kind == kinds.get(expected.WhichOneof("encoding"), "dense")


def check_graph(found: MetaGraph, expected: Any) -> None:
    """Compare a MetaGraph with the proto."""
    assert found.tags == tuple(sorted(expected.meta_info_def.tags))
    assert found.tensorflow_version == expected.meta_info_def.tensorflow_version
    assert found.assets == tuple(asset.filename for asset in expected.asset_file_def)
    assert [signature.name for signature in found.signatures] == sorted(expected.signature_def)
    for signature in found.signatures:
        proto = expected.signature_def[signature.name]
        assert signature.method == proto.method_name
        for tensors, protos in ((signature.inputs, proto.inputs), (signature.outputs, proto.outputs)):
            assert [tensor.name for tensor in tensors] == sorted(protos)
            for tensor in tensors:
                check_tensor(tensor, protos[tensor.name])
    names = {function.signature.name for function in expected.graph_def.library.function}
    ops = Counter(node.op for node in list_nodes(expected.graph_def))
    assert (found.nodes, found.functions) == (sum(ops.values()), len(names))
    assert found.ops == {op: count for op, count in ops.items() if op not in names}
    check_objects(found, expected)


def check_objects(found: MetaGraph, expected: Any) -> None:
    """Compare the variables of TensorFlow 2 with the proto."""
    assert (found.objects is not None) == expected.HasField("object_graph_def")
    if found.objects is None:
        return
    nodes = expected.object_graph_def.nodes
    slots = {slot.slot_variable_node_id for node in nodes for slot in node.slot_variables}
    variables = [node.variable for number, node in enumerate(nodes) if node.HasField("variable") and number not in slots]
    sizes = [tf.TensorShape(variable.shape).num_elements() or 0 for variable in variables]
    trained = [size for size, variable in zip(sizes, variables, strict=True) if variable.trainable]
    assert (found.objects.count, found.objects.variables) == (len(nodes), len(variables))
    assert (found.objects.parameters, found.objects.trainable_parameters) == (sum(sizes), sum(trained))
    assert found.objects.trainable_variables == len(trained)


def check_weights(found: Inspection, path: Path) -> None:
    """Compare the weights with TensorFlow's reader of checkpoints."""
    if not (path / "variables" / "variables.index").exists():
        assert found.weights is None
        return
    assert found.weights is not None
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    types = reader.get_variable_to_dtype_map()
    shapes = {name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items() if types[name] != tf.string}
    assert {tensor.name: tensor.shape for tensor in found.weights.tensors} == shapes
    assert all(tensor.dtype == types[tensor.name].name for tensor in found.weights.tensors)
    sizes = {name: math.prod(shape) * types[name].size for name, shape in shapes.items()}
    assert {tensor.name: tensor.size_bytes for tensor in found.weights.tensors} == sizes
    assert found.weights.shards == len([*path.glob("variables/variables.data-*")])


def check_fingerprint(found: Inspection, path: Path) -> None:
    """Compare the fingerprint with TensorFlow's."""
    if not (path / "fingerprint.pb").exists():
        assert found.fingerprint is None
        return
    expected = tf.saved_model.experimental.read_fingerprint(str(path))
    assert found.fingerprint is not None
    for name in found.fingerprint.__dataclass_fields__:
        assert getattr(found.fingerprint, name) == getattr(expected, name, found.fingerprint.uuid)


@pytest.mark.parametrize("name", ZOO)
def test_it_reads_what_tensorflow_reads(name: str, zoo: Path) -> None:
    path = save(name, zoo)
    found, expected = inspect(path), read_protos(path)
    default = "TensorFlow 1" if name in VERSION_1 or name.startswith("version 1") else "TensorFlow 2"
    assert found.format == FORMATS.get(name, default)
    assert found.missing == () and found.needs == ()
    assert found.is_parsed == (name != "text graph")
    if found.is_parsed:
        assert len(found.meta_graphs) == len(expected.meta_graphs)
        for graph, proto in zip(found.meta_graphs, expected.meta_graphs, strict=True):
            check_graph(graph, proto)
    check_weights(found, path)
    check_fingerprint(found, path)
    files = {str(each.relative_to(path)): each.stat().st_size for each in path.rglob("*") if each.is_file()}
    assert {file.path: file.size_bytes for file in found.files} == files


@pytest.mark.parametrize("name", ["object", "tables and assets", "control flow and a dataset", "several graphs"])
def test_the_nodes_are_those_that_tensorflow_reads(name: str, zoo: Path) -> None:
    path = save(name, zoo)
    expected = [node for graph in read_protos(path).meta_graphs for node in list_nodes(graph.graph_def)]
    with open_source(f"{path}/saved_model.pb") as source:
        nodes = [node for graph in iterate_graphs(source) for node in graph.iterate_nodes()]
        assert len(nodes) == len(expected)
        for node, proto in zip(nodes, expected, strict=True):
            assert (node.name, node.op, node.inputs) == (proto.name, proto.op, [*proto.input])
            assert {key: value.kind for key, value in node.attributes.items()} == {
                key: value.WhichOneof("value") or "" for key, value in proto.attr.items()
            }
            for key, value in node.attributes.items():
                assert [*value.iterate_functions()] == ([proto.attr[key].func.name] if value.kind == "func" else [])
                if value.kind in ("s", "tensor"):
                    texts = [source.read(span) for span in value.iterate_texts()]
                    assert texts == [*proto.attr[key].tensor.string_val] or texts == [proto.attr[key].s]
                if value.kind in ("i", "type", "b"):
                    assert value.number == getattr(proto.attr[key], value.kind)


def test_each_type_has_tensorflows_name() -> None:
    from tensorflow.core.framework import types_pb2

    numbers = [number for number in types_pb2.DataType.values() if number and number % 100 <= 30]
    assert {number: get_dtype_name(number) for number in numbers} == {
        number: tf.dtypes.as_dtype(number).name for number in numbers
    }


def test_no_operation_of_tensorflow_needs_a_package() -> None:
    from tensorflow.python.framework import op_def_registry

    ops = [*op_def_registry.get_registered_ops()] if hasattr(op_def_registry, "get_registered_ops") else dir(tf.raw_ops)
    assert len(ops) > 1000 and [op for op in ops if find_need(op)] == []


def test_keras_2_tells_its_class_and_version(zoo: Path) -> None:
    import tf_keras

    for name, kind in (("Keras 2, trained", "Sequential"), ("Keras 2, functional", "Functional")):
        found = inspect(save(name, zoo))
        assert (found.keras_class, found.keras_version) == (kind, tf_keras.__version__)


def test_the_export_of_keras_3_stores_weights_twice(zoo: Path) -> None:
    weights = inspect(save("Keras 3 export", zoo)).weights
    assert weights is not None
    reader = tf.train.load_checkpoint(str(save("Keras 3 export", zoo) / "variables" / "variables"))
    seen, twice = set(), 0
    for tensor in weights.tensors:
        content = reader.get_tensor(tensor.name).tobytes()
        twice += len(content) if content in seen and len(content) >= 4096 else 0
        seen.add(content)
    assert weights.duplicate_bytes == twice


@pytest.mark.parametrize("name", ["tables and assets", "several signatures", "several graphs"])
def test_what_tensorflow_accepts_of_a_damaged_graph_is_read_equally(name: str, zoo: Path) -> None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    random, data = Random(name), (save(name, zoo) / "saved_model.pb").read_bytes()
    equal = 0
    for _ in range(150):
        edited = bytearray(data)
        for _ in range(random.randint(1, 3)):
            start = random.randrange(len(edited))
            size = random.choice((0, 1, 1, 2, 20))
            edited[start : start + size] = random.choice(
                (b"", b"\x0a", b"\x12", random.randbytes(1), edited[:30], edited[-40:])
            )
        try:
            expected = SavedModel.FromString(bytes(edited))
        except DecodeError:
            continue
        try:
            found = read_meta_graphs(MessageSource(None, bytes(edited)))
        except WireError as error:
            assert "wire type" in str(error) or "no graph" in str(error) or "dimensions" in str(error), error  # groups
            continue
        for graph, proto in zip(found, expected.meta_graphs, strict=True):
            if is_comparable(proto):
                check_graph(graph, proto)
                equal += 1
    assert equal >= 3


def is_comparable(proto: Any) -> bool:
    """Whether TensorFlow itself can say what the types of a damaged graph are."""
    tensors = [
        each
        for signature in proto.signature_def.values()
        for each in (*signature.inputs.values(), *signature.outputs.values())
    ]
    nodes = proto.object_graph_def.nodes
    shapes = [node.variable.shape for node in nodes if node.HasField("variable")]
    try:
        for tensor in tensors:
            tf.dtypes.as_dtype(tensor.dtype or 1)
        for shape in shapes:
            tf.TensorShape(shape)
    except (TypeError, ValueError):
        return False
    names = [function.signature.name for function in proto.graph_def.library.function]
    return len(names) == len({*names}) and not any(dim.size < -1 for shape in shapes for dim in shape.dim)
