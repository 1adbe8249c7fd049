"""Makes SavedModels by hand whose graphs write, read, connect or call Python: without TensorFlow, and never run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.checkpoints import encode_message
from tests.fakes.graphs import make_function, make_graph, make_map, make_node, make_saved_model, make_texts

ASSET, CONSTANT, VARIABLE = 5, 9, 7
"""Kinds of objects, as fields of SavedObject."""


def make_text(name: str, *texts: str) -> bytes:
    """Encode a node that is a constant of texts."""
    return make_node(name, "Const", attributes={"value": make_texts(*(text.encode() for text in texts))})


def make_call_attribute(function: str) -> bytes:
    """Encode the value of an attribute that names a function."""
    return encode_message([(10, encode_message([(1, function.encode())]))])


def make_string_attribute(*texts: str) -> bytes:
    """Encode the value of an attribute that is a text, or a list of several."""
    if len(texts) == 1:
        return encode_message([(2, texts[0].encode())])
    return encode_message([(1, encode_message((2, text.encode()) for text in texts))])


def make_typed_function(
    name: str, nodes: Iterable[bytes], arguments: Iterable[str] = (), outputs: Mapping[str, str] | None = None
) -> bytes:
    """Encode a function that also declares its outputs, as TensorFlow does."""
    outputs = outputs or {}
    signature = encode_message((3, encode_message([(1, each.encode())])) for each in outputs)
    return make_function(name, nodes, arguments, outputs) + encode_message([(1, signature)])


def make_child(name: str, number: int) -> tuple[int, bytes]:
    """Encode the reference of an object to another one, as a field."""
    return 1, encode_message([(1, number), (2, name.encode())])


def make_function_object(*functions: str) -> bytes:
    """Encode an object that is a function, with its concrete functions."""
    return encode_message([(6, encode_message((1, name.encode()) for name in functions))])


@dataclass
class Model:
    """A SavedModel with one MetaGraph, of encoded parts.

    Attributes:
        captures: for each function the numbers of the objects that are its last arguments.
        main_op: the node that TensorFlow 1 runs when it loads the model.
        collections: more collections of nodes.
        assets: the file of each asset by the tensor that receives its path.
        outputs: the tensors that a signature returns.
        filename: the tensor that receives the path of the checkpoint.
    """

    nodes: list[bytes] = field(default_factory=list)
    functions: list[bytes] = field(default_factory=list)
    objects: list[bytes] = field(default_factory=list)
    captures: dict[str, list[int]] = field(default_factory=dict)
    main_op: str = ""
    collections: dict[str, list[str]] = field(default_factory=dict)
    assets: dict[str, str] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    filename: str = ""
    restore_op: str = ""
    metadata: list[str] = field(default_factory=list)

    def encode(self) -> bytes:
        """Return the file ``saved_model.pb``."""
        fields = [(2, make_graph(self.nodes, self.functions))]
        saver = [(1, self.filename.encode()), (3, self.restore_op.encode())]
        fields.append((3, encode_message(saver)))
        for tensor, name in self.assets.items():
            fields.append((6, encode_message([(1, encode_message([(1, tensor.encode())])), (2, name.encode())])))
        collections = {**self.collections, **({"saved_model_main_op": [self.main_op]} if self.main_op else {})}
        lists = {
            key: encode_message([(1, encode_message((1, name.encode()) for name in names))])
            for key, names in collections.items()
        }
        inputs, outputs = (
            {f"{name}": encode_message([(1, name.encode())]) for name in names} for names in (self.inputs, self.outputs)
        )
        signatures = {"serving_default": make_map(1, inputs) + make_map(2, outputs)} if self.outputs else {}
        if self.objects:
            bound = {name: encode_message((2, number) for number in numbers) for name, numbers in self.captures.items()}
            fields.append((7, encode_message((1, each) for each in self.objects) + make_map(2, bound)))
        return make_saved_model(encode_message(fields) + make_map(4, lists) + make_map(5, signatures))

    def write(self, folder: Path) -> Path:
        """Write the model into a directory, and return that."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "saved_model.pb").write_bytes(self.encode())
        if self.metadata:
            nodes = encode_message((1, encode_message([(5, text.encode())])) for text in self.metadata)
            (folder / "keras_metadata.pb").write_bytes(nodes)
        return folder


def make_writer(name: str = "write", path: str = "path") -> bytes:
    """Encode a node that writes a file whose path is another node."""
    return make_node(name, "WriteFile", [path, "contents"])


def make_loading_model(path: str = "/tmp/planted") -> Model:
    """Return a model that writes a file when it is loaded."""
    return Model(nodes=[make_text("path", path), make_text("contents", "x"), make_writer()], main_op="write")


def make_harmless_model() -> Model:
    """Return a model whose only file is its own vocabulary."""
    nodes = [
        make_text("vocabulary", "/old/vocab.txt"),
        make_node("init", "InitializeTableFromTextFileV2", ["t", "vocabulary"]),
    ]
    return Model(nodes=nodes, main_op="init", assets={"vocabulary:0": "vocab.txt"})
