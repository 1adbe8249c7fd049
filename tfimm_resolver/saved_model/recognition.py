"""Recognizes files that are not SavedModels, by their first bytes and their names."""

from __future__ import annotations

import itertools
import os
import re
import zlib
from collections.abc import Iterable, Iterator

from tfimm_resolver._util import fs
from tfimm_resolver._util.text import is_html
from tfimm_resolver.errors import foreign_formats as formats
from tfimm_resolver.errors.foreign_formats import ForeignFormat
from tfimm_resolver.manifest import SAVED_MODEL_FILES

START_BYTES = 512
"""How many of the first bytes of a file are looked at."""

_FILES_MAX = 100_000
_MAGIC: tuple[tuple[bytes, ForeignFormat], ...] = (
    (b"\x89HDF\r\n\x1a\n", formats.HDF5),
    (b"\x93NUMPY", formats.NUMPY),
    (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", formats.PYTORCH),
    (b"Rar!\x1a\x07", formats.RAR),
    (b"7z\xbc\xaf\x27\x1c", formats.SEVEN_ZIP),
)
# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_LFS_POINTER = re.compile(rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v\d+\r?\n")
_TFLITE = re.compile(rb"..\0\0TFL3", re.DOTALL)
_GGUF = re.compile(rb"GGUF(?:[\x01-\x0f]\0\0\0|\0\0\0[\x01-\x0f])", re.DOTALL)
_SAFETENSORS = re.compile(rb".{3}[\0-\x05]\0{4}\{\s*\"", re.DOTALL)
_PICKLE = re.compile(rb"\x80[\x02-\x05](?:[}\]()\x8a\x8cKcXq]|\x95.{8})", re.DOTALL)
_PATTERNS = (
    (_TFLITE, formats.TFLITE),
    (_GGUF, formats.GGUF),
    (_SAFETENSORS, formats.SAFETENSORS),
    (_LFS_POINTER, formats.LFS_POINTER),
    (_PICKLE, formats.PICKLE),
)
_SAVED_MODEL = re.compile(rb"\x08\x01\x12[\x80-\xff]*[\0-\x7f]\x0a", re.DOTALL)
_ONNX = re.compile(rb"\x08[\x01-\x1f](?:\x12[\x01-\x3f][ -~]+[\x1a\x22\x28\x32\x3a\x42]|\x3a[\x80-\xff]+.\x0a)", re.DOTALL)
"""A ModelProto: ir_version, then the name of the program that wrote it, or the graph."""
_GRAPH_NODE = re.compile(rb"\x0a[\x80-\xff]*[\0-\x7f]\x0a[\x01-\x7f][!-~]+\x12[\x01-\x7f][A-Z_][A-Za-z0-9_>]*")
"""A GraphDef: its first node has a name and an op."""
_TFJS = re.compile(rb'"(?:format"\s*:\s*"(?:graph|layers)-model"|modelTopology"|weightsManifest")')
_BY_SUFFIX: tuple[tuple[tuple[str, ...], ForeignFormat], ...] = (
    ((".keras",), formats.KERAS),
    ((".h5", ".hdf5"), formats.HDF5),
    ((".tflite", ".lite"), formats.TFLITE),
    ((".onnx", ".ort"), formats.ONNX),
    ((".safetensors",), formats.SAFETENSORS),
    ((".pt", ".pth", ".pt2", ".ptl", "pytorch_model.bin"), formats.PYTORCH),
    ((".pkl", ".pickle", ".joblib"), formats.PICKLE),
    ((".ckpt", ".ckpt.index", ".ckpt.meta", ".data-00000-of-00001"), formats.CHECKPOINT),
    ((".mlmodel", ".mlpackage", ".mlmodelc"), formats.COREML),
    ((".gguf", ".ggml"), formats.GGUF),
    ((".npz", ".npy"), formats.NUMPY),
    ((".mar",), formats.TORCHSERVE),
    ((".caffemodel", ".params", ".pdparams", ".pdmodel", ".msgpack", ".engine", ".plan"), formats.OTHER_WEIGHTS),
)
_CONTAINERS: tuple[tuple[tuple[str, ...], ForeignFormat], ...] = (
    (("config.json", "metadata.json", r"model\.weights\.(?:h5|json)"), formats.KERAS),
    ((r"[^/]+\.dist-info/WHEEL",), formats.WHEEL),
    ((r"(?:[^/]+/)?data\.pkl", r"(?:[^/]+/)?version"), formats.PYTORCH),
    ((r"(?:[^/]+/)?constants\.pkl", r"(?:[^/]+/)?version"), formats.PYTORCH),
    ((r"\[Content_Types\]\.xml", r"_rels/\.rels"), formats.OFFICE),
    (("mimetype", r"META-INF/(?:container|manifest)\.xml"), formats.EBOOK),
    ((r"META-INF/MANIFEST\.MF",), formats.JAVA),
    ((r"AndroidManifest\.xml", r"classes\.dex"), formats.JAVA),
    ((r"MAR-INF/MANIFEST\.json",), formats.TORCHSERVE),
    ((r"metadata\.json", r"pkg-.+\.tar\.(?:zst|bz2)"), formats.CONDA),
    ((r"Manifest\.json", r"Data/com\.apple\.CoreML/.+"), formats.COREML),
)
"""Members by which a zip of each kind is known: it has one for each pattern."""
_KERAS_MEMBERS = {"config.json", "metadata.json", "model.weights.h5"}


def recognize(start: bytes, name: str = "") -> ForeignFormat | None:
    """Return the format of a file by its first bytes, else by its name; None if neither is known.

    A zip, and what may be an archive of another kind, is only known by its name: ``recognize_members`` tells zips apart.
    """
    found = recognize_binary(start) or (formats.HTML if is_html(start) else None) or _recognize_protobuf(start, name)
    if found is not None:
        return found
    found = _recognize_text(start)
    if found is formats.TEXT:  # which is not a graph, even if its name is saved_model.pb
        return _recognize_name(name) or found
    if found is None or not _is_text(start):
        return _recognize_name(name) or _recognize_protobuf_name(name) or found
    return found


def recognize_binary(start: bytes) -> ForeignFormat | None:
    """Return the format that the first bytes prove: no archive of a model begins with them, whatever its first name."""
    for magic, found in _MAGIC:
        if start.startswith(magic):
            return found
    return next((found for pattern, found in _PATTERNS if pattern.match(start)), None)


def recognize_compressed(start: bytes) -> ForeignFormat | None:
    """Return the format of what a gzip contains, by its first bytes; None if it may be an archive."""
    try:
        return recognize_binary(zlib.decompressobj(wbits=31).decompress(start, START_BYTES))
    except zlib.error:
        return None


def recognize_members(names: Iterable[str]) -> ForeignFormat | None:
    """Return the format that is a zip and has members of these names; None if it is an archive like any other."""
    names = set(names)
    if any(name.rpartition("/")[2] in SAVED_MODEL_FILES for name in names):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return formats.NUMPY
    for patterns, found in _CONTAINERS:
        if all(any(re.fullmatch(pattern, name) for name in names) for pattern in patterns):
            return found
    return None


def recognize_names(names: Iterable[str]) -> tuple[str, ForeignFormat] | None:
    """Return the most telling name in a directory, and the format of that file; None if no name is known."""
    names = sorted(names)
    if "model.json" in names and any(re.fullmatch(r"group\d+-shard.*\.bin|.*weights.*\.bin", name) for name in names):
        return "model.json", formats.TFJS
    if {*names} >= _KERAS_MEMBERS:
        return "model.weights.h5", formats.UNPACKED_KERAS
    for suffixes, found in _BY_SUFFIX:
        for name in names:
            if name.lower().endswith(suffixes):
                return name, found
    for name in names:
        if name == "checkpoint" or name.endswith(".index"):
            return name, formats.CHECKPOINT
    graph = next((name for name in names if name.endswith(".pb") and name not in SAVED_MODEL_FILES), None)
    return None if graph is None or graph == "keras_metadata.pb" else (graph, formats.FROZEN_GRAPH)


def recognize_folder(path: str) -> tuple[str, ForeignFormat] | None:
    """Return the most telling name in a local directory, and the format of that file; a Git LFS pointer comes first."""
    try:
        names = os.listdir(path)
    except OSError:
        return None
    for name in sorted(names):
        if name in SAVED_MODEL_FILES and _LFS_POINTER.match(read_start(f"{path}/{name}")):
            return name, formats.LFS_POINTER
    return recognize_names(names)


def read_start(path: str) -> bytes:
    """Return the first bytes of a regular file; empty if it cannot be read."""
    try:
        with open(path, "rb", buffering=0, opener=fs.open_regular_target) as file:
            return file.read(START_BYTES) or b""
    except OSError:
        return b""


def find_lfs_pointers(path: str) -> Iterator[str]:
    """Yield the path, relative to a directory, of each file in it that is a Git LFS pointer."""
    for file in itertools.islice(fs.walk(path), _FILES_MAX):
        if _LFS_POINTER.match(read_start(f"{path}/{file}")):
            yield file


def _recognize_text(start: bytes) -> ForeignFormat | None:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        return formats.TFJS if _TFJS.search(text) else formats.JSON
    if text.startswith(b"<?xml") or re.match(rb"<[A-Za-z][\w:.-]*[\s>/]", text):
        return formats.XML
    return formats.TEXT if start.strip() and _is_text(start) else None


def _is_text(start: bytes) -> bool:
    decoded = start.decode("utf-8", "ignore")
    return (
        len(decoded.encode()) >= len(start) - 3
        and "\0" not in decoded
        and decoded.replace("\n", " ").replace("\r", " ").replace("\t", " ").isprintable()
    )


def _recognize_name(name: str) -> ForeignFormat | None:
    name = name.lower()
    return next((found for suffixes, found in _BY_SUFFIX if name.endswith(suffixes)), None)


def _recognize_protobuf(start: bytes, name: str) -> ForeignFormat | None:
    """Return the format of a protocol buffer, which begins with no number of its own; a name may say that it is another."""
    if name.lower().endswith((".onnx", ".mlmodel")):
        return None
    if _SAVED_MODEL.match(start) and not _ONNX.match(start):
        return formats.SAVED_MODEL_FILE
    if _ONNX.match(start):
        return formats.ONNX
    return formats.FROZEN_GRAPH if _GRAPH_NODE.match(start) else None


def _recognize_protobuf_name(name: str) -> ForeignFormat | None:
    if name.rpartition("/")[2] == "saved_model.pb":
        return formats.SAVED_MODEL_FILE
    return formats.FROZEN_GRAPH if name.lower().endswith(".pb") else None
