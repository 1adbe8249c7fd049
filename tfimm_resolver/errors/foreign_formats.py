"""Formats that are not SavedModels: what to call a file of each, and what to do with it."""

from __future__ import annotations

from typing import NamedTuple

_LOAD_KERAS = (
    "In Python, tfimm_resolver.hub.load_saved_model_from_url loads a .keras file from a URL, "
    "and keras.saving.load_model one from a path."
)
_LOAD_HDF5 = (
    "In Python, download it with tfimm_resolver.hub.download_url_to_file; keras.saving.load_model reads a complete model "
    "(tf_keras.models.load_model one of Keras 2), and tfimm_resolver.hub.load_state_dict_from_url the arrays of .weights.h5."
)
_EXPORT = "ask its publisher for a SavedModel"
_PACK = "Give a .tar.gz or .zip of the whole directory that holds saved_model.pb and variables, or the directory itself."


class ForeignFormat(NamedTuple):
    """A format of files that TensorFlow does not load as a SavedModel.

    Attributes:
        title: what a file of it is, as in "it is not a SavedModel, but TITLE".
        advice: what to do with such a file; for callers in Python and for users of the command line alike.
        is_text: whether an excerpt of it helps to see what it is.
    """

    title: str
    advice: str
    is_text: bool = False


KERAS = ForeignFormat("a Keras file (.keras)", _LOAD_KERAS)
UNPACKED_KERAS = ForeignFormat(
    "part of an unpacked Keras file", f"Pack the files as a zip whose name ends in .keras. {_LOAD_KERAS}"
)
HDF5 = ForeignFormat("an HDF5 file, in which Keras stores models (.h5) and weights (.weights.h5)", _LOAD_HDF5)
TFLITE = ForeignFormat(
    "a TensorFlow Lite model (.tflite)",
    f"In Python, download it with tfimm_resolver.hub.download_url_to_file and load it with "
    f"ai_edge_litert.interpreter.Interpreter or tf.lite.Interpreter; to load it as a SavedModel, {_EXPORT}.",
)
ONNX = ForeignFormat("an ONNX model (.onnx)", f"Load it with onnxruntime, or convert it with onnx2tf; otherwise {_EXPORT}.")
SAFETENSORS = ForeignFormat(
    "a safetensors file, which holds weights without a model",
    "In Python, tfimm_resolver.hub.load_state_dict_from_url reads it from a URL as arrays by name.",
)
PYTORCH = ForeignFormat(
    "a PyTorch file (.pt, .pth or .bin)",
    f"Only PyTorch reads it, with torch.load or torch.jit.load; otherwise {_EXPORT}, or for .safetensors.",
)
PICKLE = ForeignFormat(
    "a Python pickle, which can run any code when it is read",
    "It is never read here: ask its publisher for a SavedModel, or for .safetensors or .npz.",
)
CHECKPOINT = ForeignFormat(
    "a TensorFlow checkpoint, which holds weights without a model",
    "In Python, build the model and restore it with tf.train.Checkpoint; "
    "tfimm_resolver.hub.load_state_dict_from_url reads an archive of a checkpoint from a URL as arrays.",
)
FROZEN_GRAPH = ForeignFormat(
    "a frozen graph of TensorFlow 1 (.pb), a GraphDef without signatures",
    "In Python, read it with tf.compat.v1.GraphDef.FromString and import it with tf.compat.v1.import_graph_def, "
    f"or {_EXPORT}.",
)
SAVED_MODEL_FILE = ForeignFormat("the file saved_model.pb alone, without the directory that it belongs to", _PACK)
TFJS = ForeignFormat(
    "a TensorFlow.js model (model.json)",
    f"Convert a layers model to Keras with tensorflowjs_converter of the package tensorflowjs; otherwise {_EXPORT}.",
)
COREML = ForeignFormat("a Core ML model (.mlmodel or .mlpackage)", f"Load it with coremltools on a Mac; otherwise {_EXPORT}.")
GGUF = ForeignFormat("a GGUF file of llama.cpp", f"Load it with llama.cpp or a program built on it; otherwise {_EXPORT}.")
NUMPY = ForeignFormat(
    "a file of NumPy arrays (.npy or .npz)",
    "In Python, tfimm_resolver.hub.load_state_dict_from_url reads an .npz file from a URL as arrays by name.",
)
OTHER_WEIGHTS = ForeignFormat("a file of another framework", f"Load it with the framework that wrote it; otherwise {_EXPORT}.")
LFS_POINTER = ForeignFormat(
    "a Git LFS pointer, which stands for a file that was not downloaded",
    "Fetch it with git lfs pull, or use hf://OWNER/MODEL, or the URL that downloads the file itself.",
)
HTML = ForeignFormat(
    "an HTML page",
    "Open it in a browser: it may ask for a login, say that there is no such file, or have a link to the file itself.",
    is_text=True,
)
JSON = ForeignFormat(
    "a JSON document",
    "If it is the error of a server, it says what is wrong; otherwise give the URL of the archive itself.",
    is_text=True,
)
XML = ForeignFormat(
    "an XML document",
    "If it is the error of an object store, it says what is wrong; otherwise give the URL of the archive itself.",
    is_text=True,
)
TEXT = ForeignFormat("plain text", "Give the URL or path of the archive itself.", is_text=True)
WHEEL = ForeignFormat("a Python wheel", "Install it with pip install; its documentation says where its models are.")
OFFICE = ForeignFormat("a document of an office suite", "Give the URL or path of an archive of a SavedModel.")
JAVA = ForeignFormat("a Java or Android package", "Give the URL or path of an archive of a SavedModel.")
EBOOK = ForeignFormat("a document or e-book packed as a zip", "Give the URL or path of an archive of a SavedModel.")
CONDA = ForeignFormat("a conda package", "Install it with conda install; its documentation says where its models are.")
TORCHSERVE = ForeignFormat("a model archive of TorchServe (.mar)", f"Serve it with TorchServe; otherwise {_EXPORT}.")
RAR = ForeignFormat("a RAR archive", "Unpack it, and pack the model as .tar.gz or .zip.")
SEVEN_ZIP = ForeignFormat("a 7z archive", "Unpack it, and pack the model as .tar.gz or .zip.")
