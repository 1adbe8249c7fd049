"""Makes SavedModels by hand, without TensorFlow: nodes, functions, signatures, objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.fakes.checkpoints import Fields, encode_message, make_entry, write_checkpoint

FLOAT, INT32, STRING = 1, 3, 7


def make_map(field: int, values: Mapping[str, bytes]) -> bytes:
    """Encode a map from texts to messages or texts as a field of a message."""
    return encode_message((field, encode_message([(1, key.encode()), (2, value)])) for key, value in values.items())


def make_shape(sizes: Iterable[int] | None) -> bytes:
    """Encode a shape; -1 is a size that is not known, None a rank that is not known."""
    return encode_message([(3, 1)] if sizes is None else ((2, encode_message([(1, size)])) for size in sizes))


def make_texts(*texts: bytes) -> bytes:
    """Encode the value of an attribute that is a tensor of texts."""
    return encode_message([(8, encode_message([(1, STRING), (2, make_shape([len(texts)])), *((8, text) for text in texts)]))])


def make_node(name: str, op: str, inputs: Iterable[str] = (), attributes: Mapping[str, bytes] | None = None) -> bytes:
    """Encode a node."""
    fields: Fields = [(1, name.encode()), (2, op.encode()), *((3, each.encode()) for each in inputs)]
    return encode_message(fields) + make_map(5, attributes or {})


def make_function(
    name: str, nodes: Iterable[bytes], arguments: Iterable[str] = (), returns: Mapping[str, str] | None = None
) -> bytes:
    """Encode a function."""
    signature = encode_message([(1, name.encode()), *((2, encode_message([(1, each.encode())])) for each in arguments)])
    content = encode_message([(1, signature), *((3, node) for node in nodes)])
    return content + make_map(4, {key: value.encode() for key, value in (returns or {}).items()})


def make_graph(nodes: Iterable[bytes] = (), functions: Iterable[bytes] = ()) -> bytes:
    """Encode a graph with its library of functions."""
    return encode_message([*((1, node) for node in nodes), (2, encode_message((1, each) for each in functions))])


def make_tensor_info(dtype: int = FLOAT, shape: Iterable[int] | None = (), name: str = "x:0") -> bytes:
    """Encode an input or an output of a signature."""
    return encode_message([(1, name.encode()), (2, dtype), (3, make_shape(shape))])


def make_signature(
    inputs: Mapping[str, bytes], outputs: Mapping[str, bytes], method: str = "tensorflow/serving/predict"
) -> bytes:
    """Encode a signature of ``make_tensor_info``."""
    return make_map(1, inputs) + make_map(2, outputs) + encode_message([(3, method.encode())])


def make_meta_graph(
    graph: bytes = b"",
    *,
    tags: Iterable[str] = ("serve",),
    signatures: Mapping[str, bytes] | None = None,
    assets: Iterable[str] = (),
    objects: Iterable[bytes] = (),
    version: str = "2.21.0",
) -> bytes:
    """Encode a MetaGraph; ``objects`` are those of ``make_object`` and ``make_variable``."""
    info = encode_message([*((4, tag.encode()) for tag in tags), (5, version.encode())])
    files = ((6, encode_message([(1, b""), (2, name.encode())])) for name in assets)
    nodes = encode_message((1, each) for each in objects)
    content = encode_message([(1, info), (2, graph), *files, *([(7, nodes)] if nodes else [])])
    return content + make_map(5, signatures or {})


def make_object(children: Mapping[str, int] | None = None, identifier: str = "_generic_user_object") -> bytes:
    """Encode an object of TensorFlow 2; ``children`` are the numbers of others by their names."""
    references = [(1, encode_message([(1, number), (2, name.encode())])) for name, number in (children or {}).items()]
    return encode_message([*references, (4, encode_message([(1, identifier.encode())]))])


def make_variable(shape: Iterable[int] = (), *, is_trainable: bool = True, dtype: int = FLOAT) -> bytes:
    """Encode a variable of TensorFlow 2."""
    return encode_message([(7, encode_message([(1, dtype), (2, make_shape(shape)), (3, int(is_trainable))]))])


def make_saved_model(*meta_graphs: bytes) -> bytes:
    """Encode a SavedModel."""
    return encode_message([(1, 1), *((2, each) for each in meta_graphs)])


def write_saved_model(folder: Path, *meta_graphs: bytes, weights: Mapping[str, tuple[int, ...]] | None = None) -> Path:
    """Write a SavedModel with weights of these names and shapes, all different numbers; returns its directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(make_saved_model(*(meta_graphs or [make_meta_graph()])))
    if weights is not None:
        (folder / "variables").mkdir()
        entries, data = {}, b""
        for number, (name, shape) in enumerate(weights.items(), 1):
            size = 4
            for dimension in shape:
                size *= dimension
            content = bytes([number]) * size
            entries[name.encode()] = make_entry(FLOAT, shape, content, offset=len(data))
            data += content
        write_checkpoint(folder / "variables" / "variables", entries, data)
    return folder
