"""Explains failures of TensorFlow that are known: what in the model causes them, and what to do."""

from __future__ import annotations

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import DamagedModelError, LoadError
from tfimm_resolver.errors.advice import FETCH_AGAIN, Advice
from tfimm_resolver.errors.foreign_formats import LFS_POINTER
from tfimm_resolver.loading import devices
from tfimm_resolver.saved_model import content, recognition

_ADD_SLOT = "'_UserObject' object has no attribute 'add_slot'"
_SHOWN_MAX = 5


def explain(path: str, text: str, reason: str) -> LoadError | None:
    """Return the error for a failure whose cause is known; None for any other.

    Args:
        path: the directory of the model.
        text: the text of TensorFlow's exception.
        reason: its first line, for people.
    """
    if _ADD_SLOT in text:
        return LoadError(
            f"TensorFlow cannot load {show(path)}: {show(reason)}\n"
            "  the model was saved with the state of its optimizer, which only the Keras that wrote it can restore",
            fix=Advice(
                python="pip install tf_keras, then tf_keras.models.load_model(path); for inference alone, "
                'keras.layers.TFSMLayer(path, call_endpoint="serving_default"); or export it again with model.export(path).',
                command="In Python, load it with tf_keras.models.load_model of the package tf_keras, or for inference alone "
                "with keras.layers.TFSMLayer; or export it again with model.export.",
            ),
        )
    if devices.is_local_path(path) and (pointers := sorted(recognition.find_lfs_pointers(path))):
        more = f" and {len(pointers) - _SHOWN_MAX} more" if len(pointers) > _SHOWN_MAX else ""
        return LoadError(
            f"TensorFlow cannot load {show(path)}: {', '.join(map(show, pointers[:_SHOWN_MAX]))}{more}: {LFS_POINTER.title}",
            fix=LFS_POINTER.advice,
        )
    if devices.is_local_path(path) and (missing := content.find_missing_content(path, is_strict=True)):
        more = f" and {len(missing) - _SHOWN_MAX} more" if len(missing) > _SHOWN_MAX else ""
        return DamagedModelError(
            f"TensorFlow cannot load {show(path)}: {show(reason)}\n"
            f"  the model is damaged or incomplete: {', '.join(map(show, missing[:_SHOWN_MAX]))}{more}",
            fix=FETCH_AGAIN,
        )
    return None
