"""The result of publishing a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Published:
    """A model in a directory of the user.

    Attributes:
        handle: of the model, without secrets.
        path: the directory with its ``saved_model.pb``.
        version: the number of the version, with ``tf-serving``; None with ``flat``.
        state: ``published``; ``unchanged`` if the directory held the model already.
        size_bytes: the size of all files.
        files: how many files there are.
        linked: how many of them are hard links to files of the cache now, so that they take no room.
        removed: the numbers of older versions that were removed.

    Example:
        >>> from tfimm_resolver.integrations import serving
        >>> published = serving.publish("https://models.example/half_plus_two/1.tar.gz", "half")
        >>> published.state, published.files > 1, published.removed
        ('published', True, ())
    """

    handle: str
    path: str
    version: int | None
    state: str
    size_bytes: int
    files: int
    linked: int = 0
    removed: tuple[int, ...] = ()
