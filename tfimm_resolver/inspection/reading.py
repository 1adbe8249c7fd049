"""Finds the SavedModel of a handle, and reads its files into an ``Inspection``."""

from __future__ import annotations

import errno
import itertools
import os

from tfimm_resolver._util import fs
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import DamagedModelError, LoadError, UnknownHandleError, WeightsError
from tfimm_resolver.errors.advice import FETCH_AGAIN, Advice
from tfimm_resolver.errors.os_errors import map_os_errors
from tfimm_resolver.inspection.report import Inspection, ModelFile
from tfimm_resolver.manifest import SAVED_MODEL_FILES
from tfimm_resolver.resolution import rules, unusable_models
from tfimm_resolver.resolution.request import Request
from tfimm_resolver.resolution.resolver import resolve
from tfimm_resolver.saved_model import content, locate, needs
from tfimm_resolver.saved_model.checkpoint_index import CheckpointIndex, read_index
from tfimm_resolver.saved_model.fingerprint import read_fingerprint
from tfimm_resolver.saved_model.keras_metadata import read_keras_metadata
from tfimm_resolver.saved_model.messages import open_source
from tfimm_resolver.saved_model.meta_graphs import MetaGraph, read_meta_graphs
from tfimm_resolver.saved_model.weights import describe_weights
from tfimm_resolver.saved_model.wire import WireError

_HUB_MODULE_FILE = "tfhub_module.pb"
_FILES_MAX = 100_000


def inspect(handle: str | os.PathLike[str], *, cached: bool = False) -> Inspection:
    """Return what a SavedModel contains, needs and lacks, without TensorFlow; it is fetched first if it is not cached.

    Args:
        handle: see ``resolve``.
        cached: fetch nothing.

    Raises:
        NotASavedModelError: if the path is not a SavedModel, and contains none, or several that are not versions of one.
        DamagedModelError: if its graph cannot be read. Damaged weights are listed as ``missing``.
        UnknownHandleError: if it is not cached, with ``cached``.
        LoadError: if it is in a bucket, or its files cannot be read for any other reason.
        ResolverError: as ``resolve`` does.

    Example:
        >>> with open("saved_model.pb", "wb") as file:
        ...     _ = file.write(bytes.fromhex("080112090a072205") + b"serve")  # the smallest SavedModel
        >>> model = tfimm_resolver.inspect(".")
        >>> model.parameters, model.missing, model.needs
        (None, (), ())
    """
    request = Request.parse(handle)
    path = _find_cached(request) if cached else resolve(handle)
    return inspect_directory(path, str(request.handle), request.subdirectory)


def inspect_directory(path: str, handle: str, subdirectory: str = "") -> Inspection:
    """Return what the SavedModel at the path that ``resolve`` returned contains; raises as ``inspect`` does."""
    with map_os_errors(LoadError, f"{show(path)} cannot be read", show_path=True):
        graph_file = _find_graph(path, subdirectory)
        files = tuple(_list_files(path))
    meta_graphs = _read_graphs(path) if graph_file == SAVED_MODEL_FILES[0] else ()
    with map_os_errors(LoadError, f"the weights in {show(path)} cannot be read", show_path=True):
        index = _read_index(path)
    kind = _choose_format(path, meta_graphs)
    keras_class, keras_version = read_keras_metadata(path) if kind == "Keras 2" else ("", "")
    return Inspection(
        handle=handle,
        path=path,
        format=kind,
        graph_file=graph_file,
        meta_graphs=meta_graphs,
        needs=needs.find_needs(op for graph in meta_graphs for op in graph.ops),
        missing=tuple(content.find_missing_content(path, is_strict=True, index=index)),
        weights=None if index is None else describe_weights(index),
        files=files,
        fingerprint=read_fingerprint(path),
        keras_class=keras_class,
        keras_version=keras_version,
    )


def _find_cached(request: Request) -> str:
    """Return the path of a model that is on this machine already."""
    from tfimm_resolver.resolution.fetching import find_cached
    from tfimm_resolver.resolution.selection import select_model

    found = find_cached(rules.match_rule(request))
    if found is None:
        raise UnknownHandleError(
            f"{request.handle} is not cached, and nothing may be fetched",
            fix=Advice(python="Call inspect() without cached=True.", command="Leave --cached out."),
        )
    return select_model(found)


def _find_graph(path: str, subdirectory: str) -> str:
    """Return the name of the file with the graph; the first that TensorFlow looks for counts."""
    if "://" in path:
        raise LoadError(
            f"{show(path)} is in a bucket, and only local files can be inspected",
            fix="Set TFHUB_MODEL_LOAD_FORMAT to COMPRESSED to download the model, or copy it to a local directory.",
        )
    names = set(os.listdir(path)) if os.path.isdir(path) else set[str]()
    for name in SAVED_MODEL_FILES:
        if name in names:
            return name
    models = locate.find_models_on_disk(path)
    if models.directories:
        raise unusable_models.make_several_models_error(path, models, subdirectory)
    raise unusable_models.make_missing_model_error(path, names)


def _list_files(path: str) -> list[ModelFile]:
    names = sorted(itertools.islice(fs.walk(path), _FILES_MAX))
    return [ModelFile(name, _measure(f"{path}/{name}")) for name in names]


def _measure(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:  # a broken link
        return None


def _read_graphs(path: str) -> tuple[MetaGraph, ...]:
    file = f"{path}/{SAVED_MODEL_FILES[0]}"
    try:
        with map_os_errors(LoadError, f"{show(file)} cannot be read"), open_source(file) as source:
            return tuple(read_meta_graphs(source))
    except WireError as error:
        raise DamagedModelError(
            f"{show(file)} is damaged, or is not the graph of a SavedModel: {show(error)}",
            fix=FETCH_AGAIN,
        ) from error


def _read_index(path: str) -> CheckpointIndex | None:
    file = f"{path}/variables/variables.index"
    if not os.path.lexists(file):
        return None
    try:
        return read_index(file)
    except WeightsError:  # which is among what is missing
        return None
    except OSError as error:
        if error.errno == errno.EFBIG:  # too large for this reader, not for TensorFlow
            return None
        raise


def _choose_format(path: str, meta_graphs: tuple[MetaGraph, ...]) -> str:
    if not meta_graphs:
        return ""
    if (objects := meta_graphs[0].objects) is not None:
        is_keras_2 = objects.format == "TensorFlow 2" and os.path.lexists(f"{path}/keras_metadata.pb")
        return "Keras 2" if is_keras_2 else objects.format
    return "TF1 Hub module" if os.path.lexists(f"{path}/{_HUB_MODULE_FILE}") else "TensorFlow 1"
