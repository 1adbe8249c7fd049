"""Weights as arrays by name, read from files that hold nothing but numbers; and whole models from a URL."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfimm_resolver import settings
from tfimm_resolver.errors import HandleError, LoadError, ResolverError, WeightsError
from tfimm_resolver.handles.handle import ARCHIVE_SUFFIXES
from tfimm_resolver.hub import downloads
from tfimm_resolver.hub.safetensors import read as read_safetensors
from tfimm_resolver.loading import loader

if TYPE_CHECKING:
    import numpy as np

    Arrays = dict[str, np.ndarray[Any, Any]]

_NUMBERS = "biufc"
_RATIO_FREE_BYTES = 64 << 20


def load_state_dict_from_url(
    url: str,
    model_dir: str | os.PathLike[str] | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> Arrays:
    """Arrays by name from the weights at a URL: .weights.h5, .h5, .npz, .safetensors, or an archive of a TF checkpoint.

    The file is fetched once. Nothing in it is ever run or unpickled.

    Args:
        url: http or https.
        model_dir: where it is kept; else in ``checkpoints`` below ``get_dir()``.
        map_location: not looked at, as arrays are on no device; torch.hub has it.
        progress: show how far it is.
        check_hash: compare its sha256 with the digits before the extension, ``resnet18-5c106cde.weights.h5``.
        file_name: what it is called, if the URL does not say: the ending tells the format.
        weights_only: not looked at: it is always so.

    Raises:
        HandleError: if the name has no ending of these, or no hash where one is to be checked.
        FetchError: if it did not come; HashError if it has another sha256.
        WeightsError: if it cannot be read.
    """
    name = downloads.filename_from_url(url, file_name)
    if not name.lower().endswith((*_READERS, *ARCHIVE_SUFFIXES)):
        raise HandleError(
            f"{name} is of no kind of weights that can be read",
            fix=f"Read are {', '.join(_READERS)}, and TF checkpoints in {', '.join(ARCHIVE_SUFFIXES)}; pickles never.",
        )
    return _read(downloads.fetch_weights(url, model_dir, file_name, check_hash=check_hash, progress=progress))


def load_saved_model_from_url(
    url: str,
    model_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
) -> Any:
    """The model at a URL: an archive of a SavedModel, as ``tfimm_resolver.load`` gives it, or a .keras file.

    Arguments as of ``load_state_dict_from_url``. A .keras file that would run code or read other files is refused:
    a Lambda layer, a vocabulary that is a path, a class that is neither Keras's nor registered with it.

    Raises:
        HandleError: if it is neither by its name.
        FetchError: if it did not come; HashError if it has another sha256.
        LoadError: if it cannot be loaded.
    """
    name = downloads.filename_from_url(url, file_name)
    if not name.lower().endswith((".keras", *ARCHIVE_SUFFIXES)):
        raise HandleError(f"{name} is no model by its name", fix=f"Read are .keras and {', '.join(ARCHIVE_SUFFIXES)}.")
    path = downloads.fetch_weights(url, model_dir, file_name, check_hash=check_hash, progress=progress)
    if os.path.isdir(path):
        return loader.load(path)
    from tfimm_resolver.hub import keras_files  # it needs zipfile, which importing the hub should not load

    tf = loader.import_tensorflow()
    with _translated(path, LoadError):
        registered = tf.keras.utils.get_registered_object
        keras_files.check(path, _SizeBudget(path).take, lambda name: registered(name) is not None)
        return tf.keras.models.load_model(path, safe_mode=True)


def _read(path: str) -> Arrays:
    if os.path.isdir(path):
        return _read(inner) if (inner := _only_weights(Path(path))) in _files(path) else _read_checkpoint(inner)
    reader = next(reader for suffix, reader in _READERS.items() if path.lower().endswith(suffix))
    with _translated(path, WeightsError):
        return reader(path)


def _files(path: str) -> set[str]:
    return {str(file) for file in Path(path).rglob("*") if file.name.lower().endswith(tuple(_READERS))}


def _only_weights(folder: Path) -> str:
    """The one file of weights, or the prefix of the one TF checkpoint, in what an archive unpacked to."""
    found = sorted({*_files(str(folder)), *(str(file.with_suffix("")) for file in folder.rglob("*.index"))})
    if len(found) != 1:
        inside = ", ".join(os.path.relpath(path, folder) for path in found) or "none"
        raise WeightsError(f"{folder} should hold the weights of one model, and holds {inside}")
    return found[0]


def _read_h5(path: str) -> Arrays:
    import h5py
    import numpy as np

    arrays: Arrays = {}
    room = _SizeBudget(path)

    def take(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:  # its bytes would be those of any other file
            raise WeightsError(f"{path}: {name} names other files")
        is_bfloat = item.attrs.get("dtype") == "bfloat16"  # as Keras notes it
        if item.dtype.kind in _NUMBERS or is_bfloat:
            room.take(item.nbytes)
            array = np.asarray(item[()])
            arrays[name] = array.view(_extra_type("bfloat16")) if is_bfloat else array

    with h5py.File(path, "r") as file:
        file.visititems(take)  # which follows no link, least of all to another file
    return arrays


def _read_npz(path: str) -> Arrays:
    import zipfile

    import numpy as np

    room = _SizeBudget(path)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            room.take(info.file_size)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files if arrays[name].dtype.kind in _NUMBERS}


def _read_checkpoint(prefix: str) -> Arrays:
    tf = loader.import_tensorflow()
    with _translated(prefix, WeightsError):
        reader = tf.train.load_checkpoint(prefix)
        types = reader.get_variable_to_dtype_map()
        return {name: reader.get_tensor(name) for name in sorted(types) if types[name] != tf.string}


_READERS: dict[str, Callable[[str], Arrays]] = {".h5": _read_h5, ".npz": _read_npz, ".safetensors": read_safetensors}
"""By the ending of the name; .weights.h5 is one of .h5."""


class _SizeBudget:
    """How much a file may unpack to; the same bounds as those of archives."""

    def __init__(self, path: str) -> None:
        _, self._most_bytes, ratio = settings.unpack_limits()
        self._most_bytes = min(self._most_bytes, max(_RATIO_FREE_BYTES, int(ratio * os.stat(path).st_size)))
        self._path, self._taken_bytes = path, 0

    def take(self, size_bytes: int) -> None:
        self._taken_bytes += size_bytes
        if self._taken_bytes > self._most_bytes:
            fix = "If you trust it, set TFIMM_RESOLVER_MAX_RATIO or TFIMM_RESOLVER_MAX_BYTES."
            raise WeightsError(f"{self._path} unpacks to over {self._most_bytes} bytes", fix=fix)


def _extra_type(name: str) -> Any:
    import ml_dtypes  # comes with TensorFlow

    return getattr(ml_dtypes, name)


@contextlib.contextmanager
def _translated(path: str, kind: type[LoadError]) -> Iterator[None]:
    try:
        yield
    except (ResolverError, MemoryError):
        raise
    except ImportError as error:
        raise kind(f"{path} cannot be read: {error}", fix="pip install tensorflow brings what is missing.") from error
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise kind(f"{path} cannot be read: {type(error).__name__}: {reason}") from error
