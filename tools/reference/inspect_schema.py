"""The JSON schema of what ``inspect`` prints."""

from __future__ import annotations

from tfimm_resolver.saved_model.operation_rules import KINDS
from tools.reference.schema import Schema, make_flag, make_list, make_number, make_object, make_text

_STRING: Schema = {"type": "string"}
_SHAPE: Schema = {
    "type": ["array", "null"],
    "items": {"type": ["integer", "null"]},
    "description": "its shape, null for a dimension that is not fixed; null if the rank is not fixed",
}
_TENSOR = make_object(
    "a tensor",
    {
        "name": make_text("its name"),
        "dtype": make_text("its data type", null=True),
        "shape": _SHAPE,
        "kind": make_text("how it is passed", choices=("dense", "sparse", "composite")),
    },
)
_SIGNATURE = make_object(
    "a signature",
    {
        "name": make_text("its name; what TensorFlow runs when it loads the model begins with `__saved_model_`"),
        "method": make_text("the method name for TensorFlow Serving", null=True),
        "inputs": make_list("its inputs", _TENSOR),
        "outputs": make_list("its outputs", _TENSOR),
    },
)
_META_GRAPH = make_object(
    "a graph",
    {
        "tags": make_list("its tags", _STRING),
        "tensorflow_version": make_text("the TensorFlow that wrote it", null=True),
        "signatures": make_list("its signatures", _SIGNATURE),
        "assets": make_list("the files below `assets/` that it reads", _STRING),
        "nodes": make_number("its nodes, with those of functions"),
        "functions": make_number("its functions"),
        "ops": {
            "type": "object",
            "additionalProperties": {"type": "integer", "minimum": 1},
            "description": "how often each operation is used",
        },
    },
)
_WEIGHT = make_object(
    "a tensor",
    {
        "name": make_text("its name in the checkpoint"),
        "dtype": make_text("its data type"),
        "shape": make_list("its shape", {"type": "integer"}),
        "size_bytes": make_number("its size"),
    },
)
_WEIGHTS = make_object(
    "the weights by their index; null if there are none, or it cannot be read",
    {
        "tensors": make_number("how many tensors of numbers there are"),
        "shards": make_number("how many data files there are"),
        "size_bytes": make_number("the size of all tensors"),
        "parameters": make_number("the numbers in all tensors"),
        "duplicate_bytes": make_number("how much of it is stored more than once"),
        "largest": make_list("the ten largest; all with `--weights`", _WEIGHT),
    },
)
_NEED = make_object(
    "a package",
    {
        "package": make_text("its name for pip"),
        "module": make_text("its name for import"),
        "ops": make_list("the operations that need it", _STRING),
    },
)
_FILE = make_object("a file", {"path": make_text("its path in the model"), "size_bytes": make_number("its size", null=True)})
_KERAS = make_object(
    "of a Keras 2 model",
    {"class": make_text("its class", null=True), "version": make_text("the version of Keras", null=True)},
)
_OPERATION = make_object(
    "an operation that touches something outside of the model, or hides a graph",
    {
        "kind": make_text("what it does", choices=KINDS),
        "when": make_text("when it runs", choices=("on load", "on call", "unknown")),
        "op": make_text("its name, or that of a layer of Keras"),
        "path": make_text("the path or address, if it is constant", null=True),
        "node": make_text("its node", null=True),
        "function": make_text("the function that contains the node; null for the main graph", null=True),
        "note": make_text("what else to know of it", null=True),
    },
)
_FINGERPRINT = make_object(
    "TensorFlow's fingerprint; null if there is none. Numbers are texts, since they have 64 bits",
    {
        **{
            name: make_text(f"its `{name}`")
            for name in (
                "saved_model_checksum",
                "graph_def_program_hash",
                "signature_def_hash",
                "saved_object_graph_hash",
                "checkpoint_hash",
            )
        },
        "uuid": make_text("its UUID", null=True),
    },
)
INSPECTION = make_object(
    "what is in the model",
    {
        "handle": make_text("the handle"),
        "path": make_text("the directory of the model"),
        "format": make_text("what wrote the model; null if the graph is not parsed", null=True),
        "graph_file": make_text("the name of the file with the graph"),
        "parsed": make_flag("whether the graph is in the format that is parsed, `saved_model.pb`"),
        "complete": make_flag("whether nothing is missing"),
        "missing": make_list("what is missing", _STRING),
        "needs": make_list("the packages to import before it is loaded", _NEED),
        "keras": _KERAS,
        "parameters": make_number("the numbers in its variables", null=True),
        "trainable_parameters": make_number("the numbers in variables that can be trained", null=True),
        "meta_graphs": make_list("its graphs", _META_GRAPH),
        "weights": {**_WEIGHTS, "type": ["object", "null"]},
        "size_bytes": make_number("the size of all files"),
        "files": make_list("every file", _FILE),
        "operations": {
            **make_list("with `--ops`; null without, and if the graph cannot be searched", _OPERATION),
            "type": ["array", "null"],
        },
        "fingerprint": {**_FINGERPRINT, "type": ["object", "null"]},
    },
)
