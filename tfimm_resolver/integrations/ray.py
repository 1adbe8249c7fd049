"""Ray: one download for a cluster, from whose node the other nodes copy the model through the object store."""

from __future__ import annotations

import io
import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tfimm_resolver import settings
from tfimm_resolver._util import fs
from tfimm_resolver._util.cancellation import get_current_token
from tfimm_resolver._util.outgoing import show
from tfimm_resolver.archives.budget import Limits
from tfimm_resolver.archives.extractor import ArchiveInput, Extractor
from tfimm_resolver.cache import tiers
from tfimm_resolver.handles.handle import get_key
from tfimm_resolver.integrations import worker_state
from tfimm_resolver.integrations.ray_seed import NAME, NAMESPACE, Offer, Seed, SeedRequest
from tfimm_resolver.manifest import FetchResult
from tfimm_resolver.resolution import fetching, rules
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.resolution.resolver import resolve_plan, run_request
from tfimm_resolver.resolution.upstream import Upstream
from tfimm_resolver.sources.plan import InPlace, MutableRef

if TYPE_CHECKING:
    from tfimm_resolver.resolution.limits import CancelEvent

__all__ = ["make_runtime_env", "resolve", "spread"]

log = logging.getLogger("tfimm_resolver")

_ATTEMPTS_MAX = 2
"""How many seeds are asked for one model: after the first one has died, another one is started."""

_CHUNKS_REQUESTED = 3
"""How many chunks are requested from the seed before they are needed."""

_CHUNK_TIMEOUT_S, _POLL_S = 120.0, 0.2


class _SeedError(Exception):
    """The seed cannot give the model; the text says why."""


class _SeedDiedError(_SeedError):
    """The seed or its node has died, or a chunk was lost: another seed may be able to give the model."""


def resolve(
    handle: str | os.PathLike[str],
    *,
    sha256: str | None = None,
    timeout_s: float | None = None,
    cancel: CancelEvent | None = None,
) -> str:
    """Return the path of a model on this node, as ``tfimm_resolver.resolve`` does, with one download for the cluster.

    Call it in tasks and actors. If the model is not in the cache of this node, an actor (the seed) downloads it on one node.
    The others copy it from there through the object store, and compare each file with its recorded hash. Whenever Ray or the
    seed fails, or outside Ray, the model is downloaded as usual.

    Arguments and errors are those of ``tfimm_resolver.resolve``.
    """
    request = Request.parse(handle, sha256=sha256)
    return run_request(_resolve, request, timeout_s, cancel)


def spread(handle: str | os.PathLike[str], *, sha256: str | None = None) -> dict[str, str]:
    """Put a model into the cache of each node that is alive, with one download; return the paths by the ids of the nodes.

    A node that dies meanwhile is left out, with a warning in the log.

    Raises:
        ResolverError: as ``resolve`` does, the first error of any node, after all nodes have ended.
    """
    request = Request.parse(handle, sha256=sha256)
    state, text, pin = worker_state.capture_for_other_host(), os.fspath(handle), request.pin.sha256
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    tasks = {
        node: _resolve_task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            text, pin, state
        )
        for node in nodes
    }
    paths, failures = dict[str, str](), list[RayTaskError]()
    for node, task in tasks.items():
        try:
            paths[node] = ray.get(task)
        except RayTaskError as error:
            failures.append(error)
        except RayError as error:
            log.warning("%s is not on node %s: %s", request.handle, node, show(_summarize(error)))
    if failures:
        raise failures[0].cause from failures[0]
    return paths


def make_runtime_env() -> dict[str, Any]:
    """Return what to pass to ``ray.init(runtime_env=...)``, so that all workers resolve handles as this process does.

    Workers then import this package, so that tensorflow_hub uses it, and have the models file, the overrides, and the
    variables ``TFIMM_RESOLVER_*`` of this process that name no directory of its machine. What a node sets has precedence.

    Example:
        >>> ray.init(runtime_env={**make_runtime_env(), "env_vars": {"OMP_NUM_THREADS": "1"}})
    """
    state = worker_state.capture_for_other_host()

    def set_up_worker() -> None:
        from tfimm_resolver.integrations import worker_state

        worker_state.receive(state)

    return {"worker_process_setup_hook": set_up_worker}


class ClusterUpstream(Upstream):
    """The seed of the cluster in place of the source: gives the model that it has offered."""

    def __init__(self, resolved: ResolvedPlan, seed: Any, offer: Offer, key: str) -> None:
        super().__init__(resolved)
        self._seed, self._offer, self._key = seed, offer, key

    def look_up(self) -> str:
        """Return the immutable handle that a mutable one referred to when the seed looked it up."""
        return self._offer.record.handle

    def fill(self, into: Path, parts: Path) -> FetchResult | None:
        """Copy the files of the model into an empty directory; download them if a copy is damaged, or it is another model.

        Raises:
            _SeedDiedError: if the seed died meanwhile; also what ``Upstream.fill`` raises.
        """
        download, record = self._resolved.plan.download, self._offer.record
        if download is None or download.key != self._key:
            return super().fill(into, parts)
        settings.validate()
        tiers.make_room(record.size_bytes)
        try:
            _write_files(into, self._offer, _iterate_chunks(self._seed, self._offer))
        except _SeedDiedError:
            raise
        except _SeedError as error:
            log.warning("%s: %s; downloading it on this node", self._resolved.label, show(error))
            fs.clear_dir(into)
            return super().fill(into, parts)
        log.info("%s was copied from the cluster", self._resolved.label)
        return self._verify(into, FetchResult(record.origin, record.files, record.fetched_at))


def _resolve(request: Request) -> str:
    resolved = rules.match_rule(request)
    for _ in range(_ATTEMPTS_MAX):
        if not _needs_seed(resolved):
            break
        try:
            return _resolve_from_seed(resolved)
        except _SeedDiedError as error:
            log.warning("%s: %s", resolved.label, show(error))
        except _SeedError as error:
            log.warning("%s: %s; downloading it on this node", resolved.label, show(error))
            break
    return resolve_plan(resolved)


def _resolve_from_seed(resolved: ResolvedPlan) -> str:
    """Return the path of a model that the seed gives; asks it before this process takes the lock of the model.

    A seed on the same host waits for that lock.
    """
    seed, offer = _request_offer(resolved)
    download = resolved.plan.download
    key = download.key if download is not None else get_key(offer.record.handle)
    return resolve_plan(resolved, lambda one: ClusterUpstream(one, seed, offer, key))


def _needs_seed(resolved: ResolvedPlan) -> bool:
    """Whether the seed is to be asked: in Ray, for a model that has to be fetched into a cache on this node."""
    if not ray.is_initialized() or isinstance(resolved.plan, InPlace) or settings.is_bucket(settings.cache_root().value):
        return False
    return isinstance(resolved.plan, MutableRef) or fetching.find_cached(resolved) is None


def _request_offer(resolved: ResolvedPlan) -> tuple[Any, Offer]:
    """Return the seed, which is started if need be, and the model that it has, fetched if need be."""
    request = SeedRequest(resolved.handle, resolved.request.pin, resolved.model, settings.is_offline())
    try:
        node = ray.get_runtime_context().get_node_id()
        seed = Seed.options(
            name=NAME,
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),  # with soft=True, Ray takes another node
        ).remote(worker_state.capture_for_other_host())
        offer = seed.get_offer.remote(request)
    except RayError as error:
        raise _SeedDiedError(f"the seed of the cluster cannot be reached ({_summarize(error)})") from error
    except Exception as error:  # whatever Ray raises: the model can be downloaded without it
        raise _SeedError(f"the seed of the cluster cannot be used ({_summarize(error)})") from error
    return seed, _get(offer)


def _iterate_chunks(seed: Any, offer: Offer) -> Iterator[memoryview]:
    """Yield the bytes of all files, chunk by chunk; meanwhile the seed reads the next ones."""
    calls = deque[Any]()
    for number in range(offer.chunk_count):
        for later in range(number + len(calls), min(number + _CHUNKS_REQUESTED, offer.chunk_count)):
            calls.append(seed.get_chunk.remote(offer.path, later))
        (reference,) = _get(calls.popleft(), _CHUNK_TIMEOUT_S)
        yield memoryview(_get(reference, _CHUNK_TIMEOUT_S))


def _write_files(into: Path, offer: Offer, chunks: Iterable[memoryview]) -> None:
    """Write the files of a model from their bytes; raises _SeedError if one does not match its hash."""
    size_bytes, source = offer.record.size_bytes, _ByteSource(chunks)
    with Extractor(into, ArchiveInput(io.BytesIO(), size_bytes), Limits(*settings.unpack_limits())) as extractor:
        extractor.check_size(size_bytes, len(offer.files))
        for file in offer.files:
            extractor.write_file(file.path, source.take(file.size_bytes), file.size_bytes)
        extractor.finish()
    damaged = sorted({*offer.files} - {*extractor.files}, key=lambda file: file.path)
    if damaged:
        raise _SeedError(f"the copy of {damaged[0].path} from the cluster does not match its sha256")


class _ByteSource:
    """Bytes in chunks, taken file by file."""

    def __init__(self, chunks: Iterable[memoryview]) -> None:
        self._chunks, self._rest = iter(chunks), memoryview(b"")

    def take(self, size_bytes: int) -> Iterator[memoryview]:
        """Yield the next bytes, so many in all."""
        while size_bytes:
            self._rest = self._rest or next(self._chunks)
            part, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
            size_bytes -= len(part)
            yield part


def _get(reference: Any, timeout_s: float = float("inf")) -> Any:
    """Return the object of a reference; raises CancelledError soon after the work of this thread has to stop.

    Raises:
        _SeedError: if the call that makes it has failed.
        _SeedDiedError: if it does not arrive, or the actor that makes it has died.
    """
    token, waited_s = get_current_token(), 0.0
    try:
        # Not fetched while it is waited for: the end of each wait would cancel the transfer, which Ray repeats after 10 s.
        while not ray.wait([reference], timeout=_POLL_S, fetch_local=False)[0]:
            token.raise_if_cancelled()
            waited_s += _POLL_S
            if waited_s >= timeout_s:
                raise GetTimeoutError(f"nothing arrived for {timeout_s:g} s")
        return ray.get(reference, timeout=_CHUNK_TIMEOUT_S)
    except RayTaskError as error:
        raise _SeedError(f"the seed of the cluster failed ({_summarize(error)})") from error
    except RayError as error:
        raise _SeedDiedError(f"the seed of the cluster is lost ({_summarize(error)})") from error


def _summarize(error: Exception) -> str:
    cause = error.cause if isinstance(error, RayTaskError) else error
    return ": ".join([type(cause).__name__, *str(cause).strip().splitlines()[:1]])


def _resolve_here(handle: str, sha256: str | None, state: worker_state.WorkerState) -> str:
    worker_state.receive(state)
    return resolve(handle, sha256=sha256)


_resolve_task: Any = ray.remote(num_cpus=0)(_resolve_here)
