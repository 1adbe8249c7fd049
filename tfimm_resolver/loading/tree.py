"""Finds the SavedModel in a tree that TensorFlow reads, on disk or at a URL, and explains why none can be chosen."""

from __future__ import annotations

from typing import Any

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import LoadError
from tfimm_resolver.errors.advice import Advice
from tfimm_resolver.loading import devices
from tfimm_resolver.manifest import SAVED_MODEL_FILES
from tfimm_resolver.resolution.unusable_models import make_missing_model_error, make_several_models_error
from tfimm_resolver.saved_model import locate
from tfimm_resolver.saved_model.locate import FoundModels

_NOISE_PREFIXES = ("Graph execution error:", "Detected at node", "<stack traces unavailable>", 'File "')


def find_model(tf: Any, path: str, subdirectory: str) -> tuple[str, set[str]]:
    """Return the directory of the SavedModel at a path, or of the only one below it, and the names that it contains.

    ``subdirectory`` is the one that the handle chooses already, for the advice in errors.

    Raises:
        NotASavedModelError: if it finds none, or several that are not versions of one.
        LoadError: if TensorFlow cannot read the directory.
    """
    _check_file_system(tf, path)
    names = _list_names(tf, path)
    if names.intersection(SAVED_MODEL_FILES):
        return path, names
    models = _find_models(tf, path)  # for a URL, which resolve() does not list
    if (directory := models.newest) is not None:
        path = tf.io.gfile.join(path, directory)
        return path, _list_names(tf, path)
    if models.directories:
        raise make_several_models_error(path, models, subdirectory)
    raise _make_missing_model_error(tf, path, names)


def summarize_error(error: Exception) -> str:
    """Return the first line of TensorFlow's message that says something."""
    lines = (line.strip() for line in str(error).splitlines())
    return f"{type(error).__name__}: {next((line for line in lines if line and not line.startswith(_NOISE_PREFIXES)), '')}"


def _check_file_system(tf: Any, path: str) -> None:
    """Raise LoadError if this TensorFlow has no file system for the scheme of a path; listing it would find nothing."""
    scheme, mark, _ = path.partition("://")
    known = {name for name in tf.io.gfile.get_registered_schemes() if name}
    if mark and scheme not in known:
        raise LoadError(
            f"TensorFlow cannot read {show(path)}: it has no file system for {scheme}://\n"
            f"  it reads: {', '.join(sorted(known))}",
            fix=Advice(
                python=f"Import a package that adds {scheme}:// to TensorFlow, such as tensorflow_io, before loading; "
                "or copy the model to a local directory.",
                command=f"Copy the model to a local directory, or load it in Python after importing a package that adds "
                f"{scheme}:// to TensorFlow, such as tensorflow_io.",
            ),
        )


def _list_names(tf: Any, path: str) -> set[str]:
    return set(tf.io.gfile.listdir(path)) if tf.io.gfile.isdir(path) else set()


def _find_models(tf: Any, path: str) -> FoundModels:
    """Find the SavedModels below a directory; what TensorFlow cannot list counts as empty."""
    if "://" not in path:
        return locate.find_models_on_disk(path)

    def list_directory(directory: str) -> tuple[set[str], list[str]]:
        folder = tf.io.gfile.join(path, directory) if directory else path
        try:
            names = tf.io.gfile.listdir(folder)
            below = [name.rstrip("/") for name in names if _is_directory(tf, folder, name)]
        except tf.errors.OpError:
            return set(), []
        return set(names), below

    return locate.find_models(list_directory)


def _make_missing_model_error(tf: Any, path: str, names: set[str]) -> LoadError:
    if not names and not devices.is_local_path(path):
        try:
            tf.io.gfile.stat(f"{path}/saved_model.pb")  # isdir() returns False, too, if the bucket cannot be reached
        except tf.errors.NotFoundError:
            pass
        except tf.errors.OpError as error:
            return LoadError(
                f"TensorFlow cannot read {show(path)}: {summarize_error(error)}",
                fix="Check the path and the credentials, and that the package with its file system is imported.",
            )
    return make_missing_model_error(path, names)


def _is_directory(tf: Any, folder: str, name: str) -> bool:
    """Whether a name in a listing is a directory; in a bucket, where asking costs a request, it ends in a slash."""
    return name.endswith("/") or (not folder.startswith("gs://") and bool(tf.io.gfile.isdir(tf.io.gfile.join(folder, name))))
