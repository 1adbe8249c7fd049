"""What a source answers: the vocabulary between sources and the resolver."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

from tfimm_resolver.handle import Handle

if TYPE_CHECKING:
    from pathlib import Path

    from tfimm_resolver.transfer import Transfer


@dataclass(frozen=True, slots=True)
class InPlace:
    """The model can be read where it lies: a local directory, ``gs://...``."""

    path: str


@dataclass(frozen=True, slots=True)
class Fetch:
    """The model must be brought into the cache, under ``key``: one key is one model.

    ``fill`` is called at most once, with an empty local directory.
    """

    key: str
    fill: Callable[[Path, Transfer], None]


@dataclass(frozen=True, slots=True)
class Ask:
    """The place itself says where the model can be read, if it can: asked at each call, over the network."""

    where: Callable[[Transfer], str | None]
    otherwise: Fetch


@dataclass(frozen=True, slots=True)
class Latest:
    """The handle is of another model from time to time: the place says at each call which one it is now.

    Where it does not say, or what it says does not come, a cached model serves, with a warning.

    Attributes:
        now: gives the handle of the model that stays the same; asks over the network.
        newest: picks of such handles, those of the whole models that are cached, the one to serve; None for none.
            Where handles cannot tell it, the resolver remembers what ``now`` said last.
    """

    now: Callable[[Transfer], str]
    newest: Callable[[Iterable[str]], str | None] | None = None


Plan = Union[InPlace, Fetch, Ask, Latest]
Source = Callable[[Handle], Union[Plan, None]]
"""Answers with a plan, or with None for a handle that is not its own. Knows no cache, no lock, no network."""
