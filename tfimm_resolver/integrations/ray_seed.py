"""The seed: an actor of Ray that fetches models for a cluster, and gives their bytes to other nodes in chunks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import ObjectStoreFullError, OutOfDiskError

from tfimm_resolver._util import clock
from tfimm_resolver._util.fs import open_regular_target
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.member_policy import join_safely
from tfimm_resolver.cache.record import Record, hash_tree
from tfimm_resolver.errors import CacheError, NotFoundError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.handles.pin import Pin
from tfimm_resolver.integrations import worker_state
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.resolution import fetching, rules
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.sources.plan import MutableRef

NAME, NAMESPACE = "seed", "tfimm_resolver"
CHUNK_BYTES = 16 << 20

_STORE_FRACTION = 0.25
"""The part of a node's object store that chunks may fill; those that were asked for least recently are dropped first."""

_STORE_WAIT_S, _POLL_S = 20.0, 0.1
"""For how long a chunk waits for space in an object store that cannot spill to its disk: nodes that copy chunks free it."""

_FRESH_S = 60.0
"""For how long the cluster uses what a mutable handle referred to."""

_IDLE_S = 60.0
"""After how long without a request all chunks are dropped."""

_DOWNLOADS_MAX, _READS_MAX = 8, 4
"""How many models are fetched, and how many chunks are read, at the same time."""


@dataclass(frozen=True, slots=True)
class SeedRequest:
    """A model that a node needs: a handle to which the rules were applied there, its pin, its entry in the models file."""

    handle: Handle
    pin: Pin
    model: ModelEntry | None = None
    is_offline: bool = False

    def make_plan(self) -> ResolvedPlan:
        """Return the plan to fetch the model from its source."""
        return replace(rules.match_rule(Request(self.handle, pin=self.pin, upstream=True)), model=self.model)


@dataclass(frozen=True, slots=True)
class Offer:
    """A model that the seed has: its record, with all files, and its directory on the seed's node."""

    record: Record
    path: str

    @property
    def files(self) -> tuple[FileEntry, ...]:
        return self.record.files or ()

    @property
    def chunk_count(self) -> int:
        """The number of chunks into which the files are divided, one after the other as if they were one."""
        return -(-self.record.size_bytes // CHUNK_BYTES)


class SeedActor:
    """Fetches models, each once, and hands out chunks of them; one actor for a cluster, which nodes find by its name.

    It is asynchronous, so that any number of nodes can wait for a download.
    """

    def __init__(self, state: worker_state.WorkerState) -> None:
        worker_state.receive(state)
        self._downloads, self._reads = ThreadPoolExecutor(_DOWNLOADS_MAX), ThreadPoolExecutor(_READS_MAX)
        self._lookups: dict[SeedRequest, tuple[float, asyncio.Future[Offer]]] = {}
        self._offers: dict[str, Offer] = {}
        self._chunks: dict[tuple[str, int], asyncio.Future[Any]] = {}
        self._put_lock = threading.Lock()
        self._chunks_max = max(1, int(_get_store_bytes() * _STORE_FRACTION) // CHUNK_BYTES)
        self._timer: asyncio.TimerHandle | None = None

    async def get_offer(self, request: SeedRequest) -> Offer:
        """Return the model, fetched if it is not in the cache of the seed's node; raises as ``resolve`` does."""
        begun_s, future = self._lookups.get(request, (0.0, None))
        if future is None or (future.done() and not _is_current(request, begun_s, future)):
            future = _run(self._downloads, lambda: _fetch(request))
            self._lookups[request] = (clock.get_monotonic_s(), future)
        offer = await asyncio.shield(future)
        self._offers[offer.path] = offer
        return offer

    async def get_chunk(self, path: str, number: int) -> list[Any]:
        """Return a reference to a chunk in the object store, in a list, since Ray would return the chunk itself.

        ``path`` is that of an offer; raises CacheError if its files no longer exist.
        """
        self._restart_timer()
        key, offer = (path, number), self._offers[path]
        future = self._chunks.pop(key, None) or _run(self._reads, lambda: self._put_chunk(offer, number))
        self._chunks[key] = future  # the last one to be dropped
        while len(self._chunks) > self._chunks_max:
            self._chunks.pop(next(iter(self._chunks)))
        try:
            return [await asyncio.shield(future)]
        except Exception:  # the model was removed or damaged: the next request looks for it again
            self._chunks.pop(key, None)
            self._lookups.clear()
            raise

    def _put_chunk(self, offer: Offer, number: int) -> Any:
        chunk = _read_chunk(offer, number)
        with self._put_lock:  # one after the other: those that fill the store are then those that nodes need first
            return _put(chunk)

    def _restart_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_IDLE_S, self._chunks.clear)


def _run(executor: Executor, call: Callable[[], Any]) -> asyncio.Future[Any]:
    return asyncio.get_running_loop().run_in_executor(executor, call)


def _is_current(request: SeedRequest, begun_s: float, future: asyncio.Future[Offer]) -> bool:
    """Whether a look-up that has ended can be used for another request."""
    if future.exception() is not None:
        return False
    is_mutable = isinstance(request.make_plan().plan, MutableRef)
    return not is_mutable or clock.get_monotonic_s() - begun_s < _FRESH_S


def _fetch(request: SeedRequest) -> Offer:
    """Fetch a model into the cache of this node, if it is not there; raises NotFoundError for one without a local copy."""
    resolved = request.make_plan()
    found = fetching.find_cached(resolved) if request.is_offline else fetching.fetch(resolved)
    if found is None or found.record is None or "://" in found.path:
        raise NotFoundError(
            f"{request.handle} is not in the cache of the seed's node",
            fix="Fetch it there first, or let each node fetch it itself.",
        )
    record = found.record
    return Offer(record if record.files is not None else record._replace(files=hash_tree(found.path)), found.path)


def _read_chunk(offer: Offer, number: int) -> Any:
    """Return the bytes of a chunk, as an array, which readers in other processes need not copy."""
    import numpy as np

    chunk: Any = np.empty(min(CHUNK_BYTES, offer.record.size_bytes - number * CHUNK_BYTES), np.uint8)
    view, begin = memoryview(chunk), 0
    for file, offset, size_bytes in _list_parts(offer.files, number * CHUNK_BYTES, len(chunk)):
        with open(join_safely(offer.path, file.path), "rb", buffering=0, opener=open_regular_target) as stream:
            stream.seek(offset)
            if stream.readinto(view[begin : begin + size_bytes]) != size_bytes:
                raise CacheError(
                    f"{show(file.path)} in {show(offer.path)} is shorter than its record says",
                    fix="Verify the model on the seed's node, and repair it there.",
                )
        begin += size_bytes
    return chunk


def _put(chunk: Any) -> Any:
    """Put a chunk into the object store, as soon as there is space; return its reference."""
    until_s = clock.get_monotonic_s() + _STORE_WAIT_S
    while True:
        try:
            return ray.put(chunk)
        except (ObjectStoreFullError, OutOfDiskError):
            if clock.get_monotonic_s() > until_s:
                raise
        time.sleep(_POLL_S)


def _list_parts(files: tuple[FileEntry, ...], start: int, size_bytes: int) -> Iterator[tuple[FileEntry, int, int]]:
    """Yield the parts of files that a range of all their bytes consists of: the file, the offset in it, the size."""
    begin = 0
    for file in files:
        first, last = max(start, begin), min(start + size_bytes, begin + file.size_bytes)
        if first < last:
            yield file, first - begin, last - first
        begin += file.size_bytes


def _get_store_bytes() -> float:
    """Return the capacity of the object store of this node."""
    node = ray.get_runtime_context().get_node_id()
    return next((float(one["Resources"].get("object_store_memory", 0)) for one in ray.nodes() if one["NodeID"] == node), 0.0)


Seed = ray.remote(num_cpus=0, max_concurrency=1000)(SeedActor)
"""The actor's class, for Ray."""
