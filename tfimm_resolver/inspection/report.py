"""What is known about a SavedModel from its files: a value for programs, for JSON, and for notebooks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tfimm_resolver._util.outgoing import repr_fields
from tfimm_resolver.errors import LoadError
from tfimm_resolver.saved_model.fingerprint import Fingerprint
from tfimm_resolver.saved_model.meta_graphs import MetaGraph, Signature, SignatureTensor
from tfimm_resolver.saved_model.needs import Need
from tfimm_resolver.saved_model.weights import Weights

if TYPE_CHECKING:
    from tfimm_resolver.saved_model.operations import Operation

LARGEST = 10
"""How many of the largest weights are listed unless all are asked for."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model; ``path`` is relative to its directory, with ``/``. The size is None if it cannot be read."""

    path: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Inspection:
    """What ``inspect`` found in a SavedModel.

    Attributes:
        handle: the handle that was given.
        path: the directory of the model.
        format: ``TensorFlow 2``, ``TensorFlow 1``, ``TF1 Hub module``, ``Keras 2``, ``Keras 3`` or ``Keras 3 export``; empty
            if the graph is in a format that is not parsed.
        graph_file: the name of the file with the graph; ``saved_model.pbtxt`` and ``saved_model.cpb`` are not parsed.
        meta_graphs: the graphs, of which most models have one; empty if the graph is not parsed.
        needs: the packages to import before the model is loaded.
        missing: what the model lacks, such as ``variables/variables.index is missing``; empty if it is complete.
        weights: what the index of the weights lists; None if there is none, or it cannot be read.
        files: every file, sorted by path.
        fingerprint: the hashes and the UUID that TensorFlow gave the model; None if it has none.
        keras_class: the class of a Keras 2 model, such as ``Functional``; empty for any other.
        keras_version: the version of Keras that wrote it; empty if that is not known.

    Example:
        >>> with open("saved_model.pb", "wb") as file:
        ...     _ = file.write(bytes.fromhex("080112090a072205") + b"serve")  # the smallest SavedModel
        >>> model = tfimm_resolver.inspect(".")
        >>> model.format, model.is_complete, model.signatures, [graph.tags for graph in model.meta_graphs]
        ('TensorFlow 1', True, (), [('serve',)])
    """

    handle: str
    path: str
    format: str
    graph_file: str
    meta_graphs: tuple[MetaGraph, ...]
    needs: tuple[Need, ...]
    missing: tuple[str, ...]
    weights: Weights | None
    files: tuple[ModelFile, ...]
    fingerprint: Fingerprint | None = None
    keras_class: str = ""
    keras_version: str = ""

    __repr__ = repr_fields

    @property
    def is_parsed(self) -> bool:
        """Whether the graph is in a format that is parsed, ``saved_model.pb``."""
        return bool(self.meta_graphs)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing, as far as the files tell without reading the weights."""
        return not self.missing

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """The signatures of all graphs that a caller may use; not those that TensorFlow itself runs when it loads a model."""
        found = (signature for graph in self.meta_graphs for signature in graph.signatures)
        return tuple(signature for signature in found if not signature.is_internal)

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(file.size_bytes or 0 for file in self.files)

    @property
    def parameters(self) -> int | None:
        """The numbers in the variables of the first graph, else in all weights; None without weights."""
        objects = self.meta_graphs[0].objects if self.meta_graphs else None
        if objects is not None:
            return objects.parameters
        return None if self.weights is None else self.weights.parameters

    @property
    def trainable_parameters(self) -> int | None:
        """The numbers in variables that can be trained; None if the model does not say which."""
        objects = self.meta_graphs[0].objects if self.meta_graphs else None
        return None if objects is None else objects.trainable_parameters

    @property
    def operations(self) -> tuple[Operation, ...] | None:
        """The operations that touch files, the network or Python, or hide a graph; None if it cannot be searched completely.

        The graph is searched when they are asked for. The guide "Inspect a model" says what the search cannot see.
        """
        from tfimm_resolver.resolution import scan_memory  # imported for those who ask

        try:
            return scan_memory.find_operations(self.path)
        except (ValueError, LoadError):
            return None

    def facts(self, *, all_weights: bool = False, operations: bool = False) -> dict[str, Any]:
        """Return the fields that ``--json`` prints; a value that is not known, or not asked for, is None."""
        found = self.operations if operations else None
        return {
            "handle": self.handle,
            "path": self.path,
            "format": self.format or None,
            "graph_file": self.graph_file,
            "parsed": self.is_parsed,
            "complete": self.is_complete,
            "missing": [*self.missing],
            "needs": [{"package": need.package, "module": need.module, "ops": [*need.ops]} for need in self.needs],
            "keras": {"class": self.keras_class or None, "version": self.keras_version or None},
            "parameters": self.parameters,
            "trainable_parameters": self.trainable_parameters,
            "meta_graphs": [_describe_graph(graph) for graph in self.meta_graphs],
            "weights": None if self.weights is None else _describe_weights(self.weights, all_weights),
            "size_bytes": self.size_bytes,
            "files": [{"path": file.path, "size_bytes": file.size_bytes} for file in self.files],
            "operations": None if found is None else [*map(_describe_operation, found)],
            "fingerprint": None if self.fingerprint is None else self.fingerprint.facts(),
        }

    def _repr_html_(self) -> str:
        from tfimm_resolver.inspection.html_view import format_html

        return format_html(self)


def _describe_graph(graph: MetaGraph) -> dict[str, Any]:
    return {
        "tags": [*graph.tags],
        "tensorflow_version": graph.tensorflow_version or None,
        "signatures": [_describe_signature(signature) for signature in graph.signatures],
        "assets": [*graph.assets],
        "nodes": graph.nodes,
        "functions": graph.functions,
        "ops": graph.ops,
    }


def _describe_operation(operation: Operation) -> dict[str, Any]:
    facts = asdict(operation)
    return {**facts, "node": facts["node"] or None, "function": facts["function"] or None, "note": facts["note"] or None}


def _describe_signature(signature: Signature) -> dict[str, Any]:
    return {
        "name": signature.name,
        "method": signature.method or None,
        "inputs": [*map(_describe_tensor, signature.inputs)],
        "outputs": [*map(_describe_tensor, signature.outputs)],
    }


def _describe_tensor(tensor: SignatureTensor) -> dict[str, Any]:
    shape = None if tensor.shape is None else [*tensor.shape]
    return {"name": tensor.name, "dtype": tensor.dtype or None, "shape": shape, "kind": tensor.kind}


def _describe_weights(weights: Weights, all_weights: bool) -> dict[str, Any]:
    listed = weights.tensors if all_weights else weights.tensors[:LARGEST]
    return {
        "tensors": len(weights.tensors),
        "shards": weights.shards,
        "size_bytes": weights.size_bytes,
        "parameters": weights.parameters,
        "duplicate_bytes": weights.duplicate_bytes,
        "largest": [
            {"name": tensor.name, "dtype": tensor.dtype, "shape": [*tensor.shape], "size_bytes": tensor.size_bytes}
            for tensor in listed
        ],
    }
