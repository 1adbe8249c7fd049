"""The first bytes of files that are not SavedModels, as the programs that write them do; and the members of such zips."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 12345\n"
TORCH_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")

STARTS: dict[str, tuple[bytes, str]] = {
    "h5": (b"\x89HDF\r\n\x1a\n" + bytes(500), "HDF5"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(500), "TensorFlow Lite"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x1a\x051.9.0:\xd6\x1c\n" + bytes(400), "ONNX"),
    "onnx without a producer": (b"\x08\x08\x3a\xd6\x1c\n\x10node" + bytes(400), "ONNX"),
    "safetensors": (
        (64).to_bytes(8, "little") + b'{"weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        "safetensors",
    ),
    "legacy torch": (b"\x80\x02\x8a\n" + TORCH_MAGIC + b".\x80\x02M\xe9\x03.", "PyTorch"),
    "pickle": (pickle.dumps({"weight": [1.0, 2.0]}, protocol=4), "pickle"),
    "pickle of protocol 2": (pickle.dumps({"weight": [1.0, 2.0]}, protocol=2), "pickle"),
    "frozen graph": (b"\n\x38\n\x05input\x12\x0bPlaceholder*\x0b\n\x05dtype" + bytes(400), "frozen graph"),
    "saved_model.pb": (b"\x08\x01\x12\xa6\x9b\x01\n\x97\x01\x12" + bytes(400), "saved_model.pb alone"),
    "tfjs": (json.dumps({"format": "graph-model", "generatedBy": "2.15"}).encode(), "TensorFlow.js"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(400), "GGUF"),
    "pointer": (POINTER, "Git LFS pointer"),
    "npy": (b"\x93NUMPY\x01\0v\0{'descr': '<f8'" + bytes(400), "NumPy"),
    "page": (b"<!DOCTYPE html><html><title>Sign in</title></html>", "HTML page"),
    "page after a comment": (b"<!-- v2 -->\n<html><body>no</body></html>", "HTML page"),
    "page behind an XML declaration": (b"<?xml version='1.0'?>\n<!-- login --><head><title>Sign in</title>", "HTML page"),
    "json": (b'{"error": "no such model"}', "JSON"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
    "xml without a declaration": (b"<Error><Code>NoSuchKey</Code></Error>", "XML"),
    "text": (b"404: Not Found\n", "plain text"),
    "rar": (b"Rar!\x1a\x07\x01\0" + bytes(100), "RAR"),
    "7z": (b"7z\xbc\xaf'\x1c\0\x04" + bytes(100), "7z"),
}
"""By kind: the first bytes, and a word of the title that the format has."""

ZIPS: dict[str, tuple[tuple[str, ...], str]] = {
    "keras": (("metadata.json", "config.json", "model.weights.h5"), "Keras file"),
    "torch": (("archive/data.pkl", "archive/byteorder", "archive/data/0", "archive/version"), "PyTorch"),
    "torchscript": (("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl", "m/version"), "PyTorch"),
    "wheel": (("zoo/__init__.py", "zoo-1.0.dist-info/WHEEL", "zoo-1.0.dist-info/RECORD"), "wheel"),
    "docx": (("[Content_Types].xml", "_rels/.rels", "word/document.xml"), "office"),
    "odt": (("mimetype", "content.xml", "META-INF/manifest.xml"), "document"),
    "jar": (("META-INF/MANIFEST.MF", "zoo/Lion.class"), "Java"),
    "apk": (("AndroidManifest.xml", "classes.dex"), "Java or Android"),
    "npz": (("a.npy", "b.npy"), "NumPy"),
    "mar": (("MAR-INF/MANIFEST.json", "model.pt"), "TorchServe"),
    "conda": (("metadata.json", "pkg-zoo-1.0.tar.zst", "info-zoo-1.0.tar.zst"), "conda"),
    "mlpackage": (("Manifest.json", "Data/com.apple.CoreML/model.mlmodel"), "Core ML"),
}
"""By kind: the members of a zip, and a word of the title that the format has."""

GENERAL: dict[str, tuple[str, ...]] = {
    "text": ("README.md",),
    "weights": ("config.json", "tf_model.h5"),
    "checkpoint": ("checkpoint", "model.ckpt.index", "model.ckpt.data-00000-of-00001"),
    "data": ("dataset/data.pkl", "dataset/labels.txt"),
    "metadata": ("config.json", "metadata.json", "weights.bin"),
    "mimetype": ("mimetype", "a.txt"),
    "arrays and more": ("a.npy", "notes.txt"),
    "wheel with a model": ("zoo-1.0.dist-info/WHEEL", "zoo/model/saved_model.pb"),
    "jar with a model": ("META-INF/MANIFEST.MF", "model/saved_model.pbtxt"),
}
"""Members of zips that are archives like any other."""


def make_zip(names: tuple[str, ...]) -> bytes:
    """Build a zip of members with these names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), name.encode())
    return out.getvalue()
