"""The types of what ``load`` returns, for type checkers and editors: TensorFlow has no types of its own for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import tensorflow as tf


class LoadedSignature(Protocol):
    """A signature of a loaded model: a function that takes tensors by name, and returns tensors by name.

    Attributes:
        structured_input_signature: no positional arguments, and the ``tf.TensorSpec`` of each input by its name.
        structured_outputs: the ``tf.TensorSpec``, or in a TensorFlow 1 model the tensor, of each output by its name.
        variables: the variables that it reads.
        trainable_variables: those of them that can be trained.

    Example:
        >>> def list_outputs(signature: tfimm_resolver.LoadedSignature) -> list[str]:
        ...     return sorted(signature.structured_outputs)
    """

    @property
    def structured_input_signature(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]: ...

    @property
    def structured_outputs(self) -> Mapping[str, Any]: ...

    @property
    def variables(self) -> Sequence[tf.Variable]: ...

    @property
    def trainable_variables(self) -> Sequence[tf.Variable]: ...

    def __call__(self, *args: Any, **kwargs: Any) -> dict[str, tf.Tensor]: ...


class LoadedModel(Protocol):
    """A model that ``load`` returns: TensorFlow's object, unchanged.

    Every model has signatures, perhaps none. Which of the rest it has depends on how it was saved: what it lacks raises
    ``AttributeError``, and calling a model that is not callable ``TypeError``. Whatever else it has is of the type Any.

    Attributes:
        signatures: its signatures by name, such as ``serving_default``.
        variables: its variables: of a Keras model, a module of TF Hub, and every TensorFlow 1 model.
        trainable_variables: those of them that can be trained: of a Keras model and a module of TF Hub.
        asset_paths: the files that a TensorFlow 1 model reads, such as vocabularies.
        tensorflow_version: the version of TensorFlow that saved it.

    Example:
        >>> def count_signatures(model: tfimm_resolver.LoadedModel) -> int:
        ...     return len(model.signatures)
    """

    @property
    def signatures(self) -> Mapping[str, LoadedSignature]: ...

    @property
    def variables(self) -> Sequence[tf.Variable]: ...

    @property
    def trainable_variables(self) -> Sequence[tf.Variable]: ...

    @property
    def asset_paths(self) -> Sequence[tf.Tensor]: ...

    @property
    def tensorflow_version(self) -> str: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    def __getattr__(self, name: str, /) -> Any: ...
