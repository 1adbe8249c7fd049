"""Which operations of TensorFlow touch files, the network or Python, or contain a graph, and where each one has its path.

The operations are those of TensorFlow 2.21 and of earlier versions; the numbers are those of their inputs, from 0.
"""

from __future__ import annotations

import re
from typing import NamedTuple

WRITE, READ, NETWORK, PYTHON, HIDDEN_GRAPH = "write", "read", "network", "python", "hidden-graph"
KINDS = (WRITE, READ, NETWORK, PYTHON, HIDDEN_GRAPH)
"""What an operation does."""


class Rule(NamedTuple):
    """What an operation does, and where its path or address is.

    Attributes:
        kind: one of ``KINDS``.
        inputs: the numbers of the inputs that are a path or an address; several are asked in this order.
        attributes: the names of the attributes that contain one.
        is_always: whether it is reported even if its path comes from the caller, or it has none.
    """

    kind: str
    inputs: tuple[int, ...] = ()
    attributes: tuple[str, ...] = ()
    is_always: bool = False


_BY_INPUT = (
    (WRITE, (0,), "WriteFile Save SaveSlices SaveV2"),
    (WRITE, (0, 1), "MergeV2Checkpoints"),
    (
        WRITE,
        (1,),
        "SaveDataset SaveDatasetV2 DatasetToTFRecord ExperimentalDatasetToTFRecord CreateSummaryFileWriter "
        "CreateSummaryDbWriter CacheDataset CacheDatasetV2 SnapshotDataset SnapshotDatasetV2 DistributedSave "
        "SerializeTRTResource",
    ),
    (
        READ,
        (0,),
        "ReadFile MatchingFiles MatchingFilesDataset ExperimentalMatchingFilesDataset TextLineDataset TFRecordDataset "
        "TFRecordDatasetV2 FixedLengthRecordDataset FixedLengthRecordDatasetV2 CSVDataset CSVDatasetV2 ExperimentalCSVDataset "
        "LMDBDataset ExperimentalLMDBDataset LoadDataset SnapshotDatasetReader SnapshotChunkDataset ListSnapshotChunksDataset "
        "LoadAndRemapMatrix Restore RestoreSlice RestoreV2 DTensorRestoreV2",
    ),
    (READ, (0, 1), "GenerateVocabRemapping"),
    (
        READ,
        (1,),
        "InitializeTableFromTextFile InitializeTableFromTextFileV2 InitializeTRTResource "
        "ReaderRead ReaderReadV2 ReaderReadUpTo ReaderReadUpToV2",
    ),
    (NETWORK, (0,), "RpcServer RpcClient RemoteCall Rpc TryRpc"),
    (NETWORK, (1,), "RegisterDataset RegisterDatasetV2"),
    (NETWORK, (2,), "DataServiceDataset DataServiceDatasetV2 DataServiceDatasetV3 DataServiceDatasetV4"),
)

_BY_ATTRIBUTE = (
    (WRITE, ("output_file_path",), "CalibrationStatisticsSaver"),
    (WRITE, ("log_dir_path",), "DumpTensor"),
    (WRITE, ("output_stream",), "PrintV2"),
    (
        WRITE,
        ("debug_urls",),
        "DebugIdentity DebugIdentityV2 DebugIdentityV3 DebugNanCount DebugNumericSummary DebugNumericSummaryV2",
    ),
    (WRITE, ("debug_ops_spec",), "Copy CopyHost"),
    (READ, ("memory_region_name",), "ImmutableConst"),
    (READ, ("vocab_file",), "FixedUnigramCandidateSampler"),
    (READ, ("filename",), "Skipgram"),
    (READ, ("file_pattern",), "RecordInput"),
    (READ, ("descriptor_source",), "DecodeProtoV2 EncodeProto"),
)

_ALWAYS = (
    (PYTHON, "PyFunc PyFuncStateless EagerPyFunc"),
    (NETWORK, "RpcCall RpcServerStart RpcServerRegister BigQueryReader FileSystemSetConfiguration"),
    (HIDDEN_GRAPH, "RemoteFusedGraphExecute MlirPassthroughOp _XlaHostComputeMlir TPUCompileMlirAndExecute _TPUCompileMlir"),
)

_DATABASE = (Rule(WRITE, (1,), is_always=True), Rule(READ, (1,)))
"""SQLite opens a database to be written and creates it; a query, which is not read, may write to this and other files."""

IN_MEMORY = ("CacheDataset", "CacheDatasetV2")
"""Operations that write no file if their path is empty; others write into the working directory then."""

GRAPH_INPUTS = {"DatasetFromGraph": 0}
"""Operations that run a graph which they receive as a text, and the number of that input."""

RULES: dict[str, tuple[Rule, ...]] = {
    **{name: (Rule(kind, inputs),) for kind, inputs, names in _BY_INPUT for name in names.split()},
    **{name: (Rule(kind, (), attributes),) for kind, attributes, names in _BY_ATTRIBUTE for name in names.split()},
    **{name: (Rule(kind, is_always=True),) for kind, names in _ALWAYS for name in names.split()},
    **{name: (Rule(HIDDEN_GRAPH, is_always=True),) for name in GRAPH_INPUTS},
    **dict.fromkeys(("SqlDataset", "ExperimentalSqlDataset"), _DATABASE),
    "DistributedSave": (Rule(WRITE, (1,)), Rule(NETWORK, (2,))),
    "SnapshotDataset": (Rule(WRITE, (1,), ("reader_path_prefix", "writer_path_prefix")),),
    "SnapshotDatasetV2": (Rule(WRITE, (1,), ("reader_prefix", "writer_prefix")),),
}
"""The rules for each operation that is looked at."""

_CUSTOM_NETWORK = re.compile(
    r"(?:IO>)?(?:Kafka|Kinesis|PubSub|GRPC|BigQuery|Bigtable|Elasticsearch|MongoDB|SqlIterable|Prometheus|HTTP)[A-Z]?\w*"
)
"""Operations of tensorflow-io, and of TensorFlow 1's contrib, which the package that registers them connects with a server."""

_PLAIN = (
    "Add AddV2 All Any ArgMax Assert Assign AssignVariableOp AvgPool BatchMatMulV2 BiasAdd Cast Concat ConcatV2 Const "
    "Conv2D DepthwiseConv2dNative Einsum Enter Equal Erf Exit Exp ExpandDims Fill FloorDiv FloorMod FusedBatchNorm "
    "FusedBatchNormV3 Gather GatherV2 Greater GreaterEqual Identity IdentityN Less LessEqual Log LogicalAnd LogicalNot "
    "LogicalOr LookupTableFindV2 LoopCond MatMul Max MaxPool Maximum Mean Merge Min Minimum Mul Neg NextIteration NoOp "
    "NotEqual OnesLike Pack Pad PadV2 Placeholder PlaceholderWithDefault Pow Prod RandomUniform Range Rank ReadVariableOp "
    "RealDiv Relu Relu6 Reshape RestoreV2 Rsqrt SaveV2 Select SelectV2 Shape ShardedFilename Sigmoid Size Slice Softmax "
    "Softplus Split SplitV Sqrt Square SquaredDifference Squeeze StopGradient StridedSlice StringJoin Sub Sum Switch Tanh "
    "Tile TopKV2 Transpose TruncatedNormal Unpack VarHandleOp VariableV2 Where ZerosLike"
)
PLAIN_OPERATIONS = frozenset(_PLAIN.split())  # a list would take 120 lines
"""Frequent operations that call no function: their attributes need not be read."""

TEXT_ATTRIBUTES = ("rewrite", "template", "separator")
"""Attributes of operations on texts which become a part of their result, such as those of StaticRegexReplace."""


def find_rules(op: str) -> tuple[Rule, ...]:
    """Return the rules for an operation; empty if it is not looked at."""
    found = RULES.get(op)
    if found is None:
        return (Rule(NETWORK, is_always=True),) if _CUSTOM_NETWORK.fullmatch(op) else ()
    return found


def is_foreign(path: str, *, is_first: bool = True) -> bool:
    """Whether a path leads out of the working directory, or is an address: absolute, ``~``, ``..`` or ``scheme://``.

    ``is_first`` is False for a text that follows another one in a path, which is not absolute.
    """
    if ".." in path.replace("\\", "/").split("/") or "://" in path:
        return True
    return is_first and (path[:1] in ("/", "\\", "~") or re.match(r"[A-Za-z]:[/\\]", path) is not None)


def is_remote(path: str) -> bool:
    """Whether a path names another machine: it begins with a scheme which is not that of files."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", path)
    return found is not None and found[1].lower() not in ("file", "ram", "local", "bytes")
