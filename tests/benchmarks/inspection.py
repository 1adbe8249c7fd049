"""``inspect`` of a large model as a whole process: its time, and the most memory that it takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.rows import Row
from tests.benchmarks.stand import Size, Stand
from tests.fakes.checkpoints import encode_message, make_block, make_entry, make_header, make_table
from tests.fakes.graphs import (
    FLOAT,
    make_function,
    make_graph,
    make_meta_graph,
    make_node,
    make_object,
    make_saved_model,
    make_signature,
    make_tensor_info,
    make_variable,
)

WEIGHTS_BYTES = 200_000_000
LIMIT_MS, LIMIT_MB = 150, 40
_LAYERS, _FUNCTIONS, _NODES = 200, 60, 250
_SNIPPET = """
import resource, sys
from pathlib import Path
from tfimm_resolver.cli import main
main(["inspect", sys.argv[1], "--json"])
usage = resource.getrusage(resource.RUSAGE_SELF)
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]  # ru_maxrss counts the process before exec
print((usage.ru_utime + usage.ru_stime) * 1000, int(peak) * 1.024e-3)
"""


def inspection(stand: Stand, size: Size) -> Iterator[Row]:
    """Measure the processor time and the memory of ``tfimm-resolver inspect`` for a model of 200 MB."""
    path = write_large_model(stand.folder / "large model")
    milliseconds, megabytes = list[float](), list[float]()
    for _ in range(size.rounds):
        words = stand.python(_SNIPPET, str(path)).words
        milliseconds.append(float(words[-2]))
        megabytes.append(float(words[-1]))
    yield Row("inspect", "200 MB, processor time of the process", "ms", milliseconds, at_most=LIMIT_MS)
    yield Row("inspect", "200 MB, memory of the process", "MB", megabytes, at_most=LIMIT_MB)


def write_large_model(path: Path) -> Path:
    """Write a SavedModel like that of a large image classifier: 15,000 nodes, 400 variables, 200 MB of weights."""
    (path / "variables").mkdir(parents=True)
    shape = (3, 3, 240, math.ceil(WEIGHTS_BYTES / _LAYERS / 4 / 9 / 240))
    objects = [make_object({"layers": 1, "variables": 2})]
    entries = [(0, b"", make_header())]
    offset = 0
    for number in range(_LAYERS):
        for name, sizes in (("bias", shape[-1:]), ("kernel", shape)):
            size_bytes = 4 * math.prod(sizes)
            key = f"layer_with_weights-{number:03}/{name}/.ATTRIBUTES/VARIABLE_VALUE".encode()
            entries.append((0, key, make_entry(FLOAT, sizes, key, offset=offset, size_bytes=size_bytes)))
            objects += [make_variable(sizes), make_object()]
            offset += size_bytes
    (path / "variables/variables.index").write_bytes(make_table([make_block(entries)]))
    with open(path / "variables/variables.data-00000-of-00001", "wb") as file:
        file.truncate(offset)
    functions = [make_function(f"__inference_call_{number}", _make_nodes(number)) for number in range(_FUNCTIONS)]
    tensors = {"images": make_tensor_info(FLOAT, (-1, 224, 224, 3))}
    signature = make_signature(tensors, {"scores": make_tensor_info(FLOAT, (-1, 1000))})
    graph = make_graph(_make_nodes(0)[:50], functions)
    meta_graph = make_meta_graph(graph, objects=objects, signatures={"serving_default": signature})
    (path / "saved_model.pb").write_bytes(make_saved_model(meta_graph))
    return path


def _make_nodes(number: int) -> list[bytes]:
    attributes = {
        "T": encode_message([(6, FLOAT)]),
        "data_format": encode_message([(2, b"NHWC")]),
        "_output_shapes": bytes(60).replace(b"\0\0", b"\x0a\0"),
        "padding": encode_message([(2, b"SAME")]),
        "strides": encode_message([(1, encode_message([(3, b"\1\2\2\1")]))]),
    }
    inputs = ("resnet/conv5_block3/Relu:activations:0", "resnet/conv5_block3/Conv2D/ReadVariableOp:value:0")
    names = (f"resnet/conv{number}_block{index}/Conv2D" for index in range(_NODES))
    return [make_node(name, ("Conv2D", "Relu", "AddV2")[len(name) % 3], inputs, attributes) for name in names]
