"""Loads weights from a URL as arrays by name, and models from a URL."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import HandleError, LoadError, ResolverError, WeightsError
from tfimm_resolver.errors.os_errors import map_resource_errors
from tfimm_resolver.handles.handle import ARCHIVE_SUFFIXES
from tfimm_resolver.hub import downloads, h5_weights, npz_weights, safetensors
from tfimm_resolver.hub.size_budget import SizeBudget
from tfimm_resolver.loading import loader
from tfimm_resolver.resolution.resolver import resolve_to_load
from tfimm_resolver.saved_model import checkpoint

if TYPE_CHECKING:
    import numpy as np

    Arrays = dict[str, np.ndarray[Any, Any]]


def load_state_dict_from_url(
    url: str,
    model_dir: str | os.PathLike[str] | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> Arrays:
    """Download weights and return them as arrays by name.

    The formats are .weights.h5, .h5, .npz, .safetensors, and an archive of a TensorFlow checkpoint. The file is downloaded
    once and then cached. No code in it is run, and nothing is unpickled.

    Args:
        url: an http or https URL.
        model_dir: the directory of the cached file; by default ``checkpoints`` in ``get_dir()``.
        map_location: ignored, as arrays are not on a device; for compatibility with torch.hub.
        progress: show progress.
        check_hash: compare the sha256 with the digits before the extension, as in ``resnet18-5c106cde.weights.h5``.
        file_name: the file name, if it is not the last part of the URL; its extension determines the format.
        weights_only: ignored, as only weights are ever read; for compatibility with torch.hub.

    Raises:
        HandleError: if the extension is unknown, or ``check_hash`` is set and the file name contains no hash.
        FetchError: if the download fails; HashError if the sha256 does not match.
        WeightsError: if the file cannot be read.

    Example:
        >>> import numpy, os
        >>> numpy.savez("resnet18.npz", bias=numpy.zeros(2))
        >>> os.environ["TFIMM_RESOLVER_MIRRORS"] = f"file://{os.getcwd()}"  # stands in for a server
        >>> os.makedirs("models.example")
        >>> os.rename("resnet18.npz", "models.example/resnet18.npz")
        >>> tfimm_resolver.hub.load_state_dict_from_url("https://models.example/resnet18.npz", progress=False)
        {'bias': array([0., 0.])}
    """
    name = downloads.filename_from_url(url, file_name)
    if not name.lower().endswith((*_READERS, *ARCHIVE_SUFFIXES)):
        raise HandleError(
            f"{show(name)} is not in a supported format of weights",
            fix=f"Supported are {', '.join(_READERS)}, and TF checkpoints in {', '.join(ARCHIVE_SUFFIXES)}, but not pickles.",
        )
    return _read(downloads.fetch_weights(url, model_dir, file_name, check_hash=check_hash, progress=progress))


def load_saved_model_from_url(
    url: str,
    model_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
) -> Any:
    """Download and load a model: an archive of a SavedModel, loaded as by ``tfimm_resolver.load``, or a .keras file.

    The arguments are those of ``load_state_dict_from_url``. A .keras file that would run code or read other files is
    rejected: one with a Lambda layer, with the path of a vocabulary, or with a class that is not part of Keras and not
    registered with it.

    Raises:
        HandleError: if the file name has neither extension.
        FetchError: if the download fails; HashError if the sha256 does not match.
        LoadError: if the model cannot be loaded.

    Example:
        >>> url = "https://models.example/half_plus_two/1.tar.gz"
        >>> tfimm_resolver.hub.load_saved_model_from_url(url, progress=False)  # its saved_model.pb is not valid
        Traceback (most recent call last):
        tfimm_resolver.errors.DamagedModelError: ...
    """
    name = downloads.filename_from_url(url, file_name)
    if not name.lower().endswith((".keras", *ARCHIVE_SUFFIXES)):
        raise HandleError(
            f"{show(name)} is not in a supported format of models",
            fix=f"Supported are .keras and {', '.join(ARCHIVE_SUFFIXES)}.",
        )
    path = downloads.fetch_weights(url, model_dir, file_name, check_hash=check_hash, progress=progress)
    if os.path.isdir(path):
        loader.import_tensorflow()
        return loader.load_resolved(resolve_to_load(path, former=url))
    from tfimm_resolver.hub import keras_files  # imports zipfile, which `import tfimm_resolver.hub` should not

    tf = loader.import_tensorflow()
    with _map_errors(path, LoadError):
        registered = tf.keras.utils.get_registered_object
        with keras_files.name_for_keras(path) as keras_path:
            keras_files.check(keras_path, SizeBudget(path).add, lambda name: registered(name) is not None)
            return tf.keras.models.load_model(keras_path, safe_mode=True)


def _read(path: str) -> Arrays:
    if os.path.isdir(path):
        return _read(inner) if (inner := _find_only_weights(Path(path))) in _find_weights(path) else _read_checkpoint(inner)
    reader = next(reader for suffix, reader in _READERS.items() if path.lower().endswith(suffix))
    with _map_errors(path, WeightsError):
        return reader(path)


def _find_weights(path: str) -> set[str]:
    return {str(file) for file in Path(path).rglob("*") if file.name.lower().endswith(tuple(_READERS))}


def _find_only_weights(folder: Path) -> str:
    """Return the path of the only file of weights, or the prefix of the only TF checkpoint, in an unpacked archive."""
    found = sorted({*_find_weights(str(folder)), *(str(file.with_suffix("")) for file in folder.rglob("*.index"))})
    if len(found) != 1:
        inside = ", ".join(os.path.relpath(path, folder) for path in found) or "none"
        raise WeightsError(
            f"{show(folder)} should contain one file of weights or one TF checkpoint, but contains {show(inside)}"
        )
    return found[0]


def _read_checkpoint(prefix: str) -> Arrays:
    with _map_errors(prefix, WeightsError):
        return checkpoint.read_tensors(prefix)


_READERS: dict[str, Callable[[str], Arrays]] = {
    ".h5": h5_weights.read,
    ".npz": npz_weights.read,
    ".safetensors": safetensors.read,
}
"""The reader for each file extension; .weights.h5 is read as .h5."""


@contextlib.contextmanager
def _map_errors(path: str, kind: type[LoadError]) -> Iterator[None]:
    try:
        with map_resource_errors(kind, f"{path} cannot be read"):
            yield
    except ResolverError:
        raise
    except ImportError as error:
        raise kind(f"{show(path)} cannot be read: {show(error)}", fix="Run: pip install tensorflow.") from error
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise kind(f"{show(path)} cannot be read: {type(error).__name__}: {show(reason)}") from error
