"""Apache Beam: a model handler for RunInference that resolves a handle in the worker, and loads the SavedModel there."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from tfimm_resolver._util.outgoing import show
from tfimm_resolver.errors import LoadError
from tfimm_resolver.integrations import worker_state
from tfimm_resolver.loading import loader
from tfimm_resolver.resolution.request import Request

__all__ = ["SavedModelHandler"]

_DEFAULT_SIGNATURE = "serving_default"


class SavedModelHandler(ModelHandler):  # type: ignore[misc]  # Any where apache_beam is not installed
    """Runs a SavedModel on examples that are arrays, or dicts of arrays by the names of inputs.

    The handle is resolved where the model is loaded. All workers of a host use one cache, so that one of them downloads the
    model, and the others wait for it. Beam's ``TFModelHandlerNumpy`` loads models with Keras, which since version 3 cannot
    load a SavedModel.

    Workers have the models file, the overrides, and the variables ``TFIMM_RESOLVER_*`` of the process that created the
    handler, except for those that name directories of its machine; what a worker's own environment sets has precedence.

    Args:
        handle: as for ``resolve``; a pin is part of it, ``#sha256=...``.
        signature: the signature to call; by default the model itself if it can be called, else ``serving_default``, else the
            only signature.
        tags: as for ``load``.
        options: those of ``ModelHandler``, such as ``max_batch_size``, ``large_model`` or ``model_copies``.

    Raises:
        HandleError: if the handle cannot be parsed.

    Example:
        >>> from apache_beam.ml.inference.base import RunInference
        >>> results = examples | RunInference(SavedModelHandler("https://tfhub.dev/google/nnlm-en-dim50/2"))
    """

    def __init__(
        self,
        handle: str | os.PathLike[str],
        signature: str | None = None,
        *,
        tags: Collection[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._handle, self._signature, self._tags = _check(handle), signature, tags
        self._state = worker_state.capture_for_other_host()

    def load_model(self) -> LoadedModel:
        """Resolve the handle and load the model; raises as ``load`` does, and LoadError if it has no such signature."""
        worker_state.receive(self._state)
        return LoadedModel(loader.load(self._handle, tags=self._tags), self._signature, self._handle)

    def run_inference(
        self, batch: Sequence[Any], model: LoadedModel, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """Return the result for each example of a batch; ``inference_args`` are further arguments of the model."""
        rows = model(list(batch), inference_args or {})
        return [PredictionResult(example, row, self._handle) for example, row in zip(batch, rows, strict=True)]

    def update_model_path(self, model_path: str | None = None) -> None:
        """Use another handle from the next load on: that of a side input, ``ModelMetadata(model_id=handle, ...)``."""
        if model_path:
            self._handle = _check(model_path)

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """Return the size of the arrays of a batch."""
        import numpy as np

        arrays = (value for example in batch for value in (example.values() if isinstance(example, Mapping) else [example]))
        return sum(int(np.asarray(array).nbytes) for array in arrays)

    def get_metrics_namespace(self) -> str:
        """Return the namespace of the metrics of RunInference."""
        return "TfimmResolver"


class LoadedModel:
    """A SavedModel whose arguments and results are arrays, so that it can be called from another process (``large_model``)."""

    def __init__(self, model: Any, signature: str | None, handle: str) -> None:
        self._tf = loader.import_tensorflow()
        self._model = model  # which has to be kept while its signature is used, says TensorFlow's documentation
        self._function, self._inputs = _choose_function(model, signature, handle)

    def __call__(self, batch: Sequence[Any], arguments: Mapping[str, Any]) -> list[Any]:
        """Return one result for each example: arrays, or the structure of arrays that the model returns."""
        if not batch:
            return []
        inputs = self._stack(batch)
        if self._inputs is None:
            results = self._function(inputs, **arguments)
        else:
            results = self._function(**(inputs if isinstance(inputs, dict) else {self._get_only_input(): inputs}), **arguments)
        arrays = self._tf.nest.map_structure(lambda tensor: tensor.numpy(), results)
        flat = self._tf.nest.flatten(arrays)
        return [self._tf.nest.pack_sequence_as(arrays, row) for row in zip(*flat, strict=True)]

    def _stack(self, batch: Sequence[Any]) -> Any:
        if isinstance(batch[0], Mapping):
            return {name: self._make_tensor([example[name] for example in batch], name) for name in batch[0]}
        return self._make_tensor(batch, self._get_only_input() if self._inputs is not None else "")

    def _make_tensor(self, arrays: Sequence[Any], name: str) -> Any:
        import numpy as np

        spec = (self._inputs or {}).get(name)
        # Of numbers of Python, TensorFlow makes float32, NumPy float64.
        values = np.stack(arrays) if isinstance(arrays[0], (np.ndarray, np.generic)) else [*arrays]
        return self._tf.constant(values, dtype=spec.dtype if spec is not None else None)

    def _get_only_input(self) -> str:
        names = sorted(self._inputs or {})
        if len(names) != 1:
            raise LoadError(
                f"the signature has the inputs {', '.join(map(show, names))}, and an example is one array",
                fix="Let each example be a dict of arrays by these names.",
            )
        return names[0]


def _check(handle: str | os.PathLike[str]) -> str:
    """Return the handle as text; raises HandleError if it cannot be parsed."""
    Request.parse(handle)
    return os.fspath(handle)


def _choose_function(model: Any, signature: str | None, handle: str) -> tuple[Any, dict[str, Any] | None]:
    """Return what to call, and the inputs by name of a signature; None for a model that is called as it is."""
    signatures = getattr(model, "signatures", {})
    if signature is None and callable(model):
        return model, None
    only = next(iter(signatures)) if len(signatures) == 1 else _DEFAULT_SIGNATURE
    name = signature or (_DEFAULT_SIGNATURE if _DEFAULT_SIGNATURE in signatures else only)
    if name not in signatures:
        known = ", ".join(map(show, sorted(signatures))) or "none"
        raise LoadError(f"{show(handle)} has no signature {show(name)}; its signatures: {known}", fix="Choose one of these.")
    return signatures[name], dict(signatures[name].structured_input_signature[1])
