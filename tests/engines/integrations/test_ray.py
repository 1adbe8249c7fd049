"""Tests of ``integrations.ray``: a cluster of a head and four nodes on this machine, each with a cache of its own."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import tfimm_resolver
from tests.fakes.archives import files_in, member, tar_gz, tar_of
from tests.fakes.kaggle import Kaggle
from tests.fakes.origin import Origin
from tests.fakes.processes import run, wait_until
from tests.fakes.signing import make_key, trust_prefix
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import IntegrityError, NotFoundError, OfflineError, ResolveTimeoutError, SignatureError
from tfimm_resolver.integrations import ray as on_ray
from tfimm_resolver.integrations.ray_seed import CHUNK_BYTES, NAME, NAMESPACE, _list_parts
from tfimm_resolver.manifest import FileEntry

FAST_HEALTH_CHECKS = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
NO_SPILLING = {"local_fs_capacity_threshold": 0.001}
"""How full a disk may be for the object store to use it: a full disk, whatever the one of this machine has left."""
NODES, STORE_BYTES = 4, 80_000_000
LARGE_BYTES = 100 << 20
"""More than the object store of a node."""


@dataclass
class Nodes:
    """The cluster, with the cache of each node by its id."""

    cluster: Cluster
    folder: Path
    caches: dict[str, Path] = field(default_factory=dict)
    added: dict[str, Any] = field(default_factory=dict)

    def add(self) -> str:
        """Start a node with an empty cache; return its id."""
        cache = self.folder / f"cache{len(self.caches)}"
        settings = {
            "HOME": str(self.folder),
            "TFHUB_CACHE_DIR": str(cache),
            "TFIMM_RESOLVER_RETRIES": "0",
            "PYTHONPATH": str(Path(tfimm_resolver.__file__).parents[1]),
        }
        options = {} if self.caches else {"_system_config": FAST_HEALTH_CHECKS | NO_SPILLING}  # those of the head
        node = self.cluster.add_node(
            num_cpus=1, object_store_memory=STORE_BYTES, include_dashboard=False, env_vars=settings, **options
        )
        self.caches[node.node_id], self.added[node.node_id] = cache, node
        return str(node.node_id)

    def remove(self, node: str) -> None:
        """Kill a node."""
        self.cluster.remove_node(self.added.pop(node), allow_graceful=False)
        wait_until(lambda: not any(one["Alive"] and one["NodeID"] == node for one in ray.nodes()))
        del self.caches[node]

    def start(self, node: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Start a function on a node; return the reference of its result."""
        strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        return ray.remote(num_cpus=0)(function).options(scheduling_strategy=strategy).remote(*arguments)

    def run(self, node: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function on a node; return its result."""
        return ray.get(self.start(node, function, *arguments), timeout=120)

    @property
    def ids(self) -> list[str]:
        """The ids of the nodes, the head first."""
        return [*self.caches]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """A head and four nodes, without a model."""
    nodes = Nodes(Cluster(), tmp_path_factory.mktemp("cluster"))
    try:
        for _ in range(NODES + 1):
            nodes.add()
        nodes.cluster.wait_for_nodes()
        ray.init(address=nodes.cluster.address, logging_level="ERROR", log_to_driver=False)
        yield nodes
    finally:
        ray.shutdown()
        nodes.cluster.shutdown()


@pytest.fixture
def nodes(cluster: Nodes) -> Nodes:
    """The cluster, without a seed."""
    kill_seed()
    return cluster


def find_seed() -> Any:
    """Return the seed, or None."""
    try:
        return ray.get_actor(NAME, namespace=NAMESPACE)
    except ValueError:
        return None


def kill_seed() -> None:
    """Kill the seed, if there is one; return when its process has ended, which comes after its name is free."""
    if (seed := find_seed()) is not None:
        killed = find_seed_processes()
        ray.kill(seed)
        wait_until(lambda: killed.isdisjoint(find_seed_processes()))


def find_seed_processes() -> set[str]:
    """Return the ids of the processes of seeds: a killed one may still run when the next one has its name."""
    found = set[str]()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended
            if path.read_bytes().startswith(b"ray::SeedActor"):
                found.add(path.parent.name)
    return found


def resolve(handle: str, **options: Any) -> str:
    """Resolve a handle on a node."""
    from tfimm_resolver.integrations import ray as on_ray

    return on_ray.resolve(handle, **options)


def make_archive(size_bytes: int) -> bytes:
    """Make the archive of a model with files of several sizes, one of them empty."""
    sizes = {"variables/variables.data-00000-of-00001": size_bytes, "assets/empty": 0, "assets/words": 1000}
    files = [member("saved_model.pb", b"\x08\x01"), *(member(name, os.urandom(size)) for name, size in sizes.items())]
    return tar_of(*files)


def check_trees(paths: list[str]) -> None:
    """Check that models have the same files with the same bytes, and that no node has anything left of a download."""
    trees = [files_in(path) for path in paths]
    assert trees[0] and all(tree == trees[0] for tree in trees)
    for path in paths:
        assert [name.name for name in Path(path).parent.glob("*.tmp")] == []


def test_all_nodes_get_a_model_with_one_request(nodes: Nodes, origin: Origin) -> None:
    handle = origin.put("/m.tar", make_archive(2 * CHUNK_BYTES + 5))
    paths = on_ray.spread(handle)
    assert {node: Path(path).parent for node, path in paths.items()} == nodes.caches
    assert origin.requests == ["/m.tar"]
    check_trees([*paths.values()])


def test_two_tasks_on_each_node_make_one_request(nodes: Nodes, origin: Origin) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    paths = ray.get([nodes.start(node, resolve, handle) for node in nodes.ids * 2], timeout=120)
    assert len(origin.requests) == 1 and {Path(path).parent for path in paths} == {*nodes.caches.values()}


def test_a_node_that_comes_later_makes_no_request(nodes: Nodes, origin: Origin) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    on_ray.spread(handle)
    late = nodes.add()
    path = nodes.run(late, resolve, handle)
    assert Path(path).parent == nodes.caches[late] and len(origin.requests) == 1
    check_trees([path, nodes.run(nodes.ids[0], resolve, handle)])


def test_after_the_seed_was_killed_one_more_request_serves_all(nodes: Nodes, origin: Origin) -> None:
    first, *others = nodes.ids
    handle = origin.put("/m.tar.gz", tar_gz())
    nodes.run(first, resolve, handle)
    kill_seed()
    paths = ray.get([nodes.start(node, resolve, handle) for node in others], timeout=120)
    assert len(origin.requests) == 2
    check_trees(paths)


def test_a_seed_that_dies_with_its_node_is_replaced(nodes: Nodes, origin: Origin) -> None:
    doomed = nodes.add()
    handle = origin.put("/m.tar", make_archive(CHUNK_BYTES))
    nodes.run(doomed, resolve, handle)
    nodes.remove(doomed)
    paths = ray.get([nodes.start(node, resolve, handle) for node in nodes.ids], timeout=200)
    assert len(origin.requests) == 2
    check_trees(paths)


def test_a_seed_that_is_killed_during_the_copy_is_replaced(nodes: Nodes, origin: Origin) -> None:
    first, second, third, *_ = nodes.ids
    handle = origin.put("/m.tar", make_archive(LARGE_BYTES))
    nodes.run(first, resolve, handle)
    copies = [nodes.start(node, resolve, handle) for node in (second, third)]
    for node in (second, third):
        wait_until(lambda node=node: has_begun(nodes.caches[node]), poll_s=0.001)
    kill_seed()
    paths = ray.get(copies, timeout=200)
    assert len(origin.requests) == 2
    check_trees(paths)


def has_begun(cache: Path) -> bool:
    """Whether a model is being written, or was written, to a cache."""
    return any(path.stat().st_size > CHUNK_BYTES for path in cache.glob("*/variables/*.data*"))


def test_a_seed_that_is_killed_during_the_download_is_replaced(nodes: Nodes, origin: Origin) -> None:
    gate = threading.Event()
    handle = origin.put("/m.tar.gz", tar_gz(), gate=gate)
    copy = nodes.start(nodes.ids[0], resolve, handle)
    assert origin.started.wait(60)
    kill_seed()
    gate.set()
    check_trees([ray.get(copy, timeout=120)])
    assert len(origin.requests) == 2


def test_a_copy_that_is_damaged_on_the_seed_is_not_taken_over(nodes: Nodes, origin: Origin) -> None:
    first, second, *_ = nodes.ids
    handle = origin.put("/m.tar", make_archive(CHUNK_BYTES))
    seeded = Path(nodes.run(first, resolve, handle))
    before = files_in(seeded)
    damaged = bytearray((seeded / "assets/words").read_bytes())
    damaged[7] ^= 1
    (seeded / "assets/words").write_bytes(damaged)
    path = nodes.run(second, resolve, handle)
    assert files_in(path) == before and len(origin.requests) == 2
    check_trees([path])


def test_a_file_that_is_missing_on_the_seed_costs_a_download(nodes: Nodes, origin: Origin) -> None:
    first, second, third, fourth, *_ = nodes.ids
    handle = origin.put("/m.tar", make_archive(CHUNK_BYTES))
    seeded = Path(nodes.run(first, resolve, handle))
    before = files_in(seeded)
    (seeded / "assets/words").unlink()
    assert files_in(nodes.run(second, resolve, handle)) == before and len(origin.requests) == 2
    # The seed has noticed it: it fetches the model again for the others.
    assert files_in(nodes.run(third, resolve, handle)) == before and len(origin.requests) == 3
    assert files_in(nodes.run(fourth, resolve, handle)) == before and len(origin.requests) == 3


def test_a_model_that_is_larger_than_the_object_store_is_copied(nodes: Nodes, origin: Origin) -> None:
    handle = origin.put("/m.tar", make_archive(LARGE_BYTES))
    paths = on_ray.spread(handle)
    assert origin.requests == ["/m.tar"]
    check_trees([*paths.values()])


def test_the_reason_why_nothing_can_be_fetched_is_the_usual_error(nodes: Nodes, origin: Origin) -> None:
    with pytest.raises(NotFoundError, match=r"/missing\.tar"):
        on_ray.spread(f"{origin.url}/missing.tar")
    with pytest.raises(NotFoundError):
        nodes.run(nodes.ids[0], resolve, f"{origin.url}/missing.tar")
    origin.put("/missing.tar", make_archive(5))
    before = len(origin.requests)
    on_ray.spread(f"{origin.url}/missing.tar")
    assert len(origin.requests) == before + 1  # a failure is not remembered


def test_where_another_actor_has_the_name_of_the_seed_a_model_is_downloaded_as_usual(nodes: Nodes, origin: Origin) -> None:
    class Other:
        pass

    handle = origin.put("/m.tar.gz", tar_gz())
    other = ray.remote(num_cpus=0)(Other).options(name=NAME, namespace=NAMESPACE, lifetime="detached").remote()
    check_trees([nodes.run(nodes.ids[0], resolve, handle)])
    assert len(origin.requests) == 1
    ray.kill(other)


def test_a_pin_is_compared_with_what_the_seed_gives(nodes: Nodes, origin: Origin) -> None:
    first, second, *_ = nodes.ids
    handle = origin.put("/m.tar.gz", tar_gz())
    nodes.run(first, resolve, handle)
    with pytest.raises(IntegrityError):
        nodes.run(second, resolve, f"{handle}#sha256={'0' * 64}")
    assert not (nodes.caches[second] / entry_name_for_key(handle)).exists()


def test_a_copy_without_the_signature_that_the_node_requires_is_not_published(
    nodes: Nodes, origin: Origin, tmp_path: Path
) -> None:
    first, second, *_ = nodes.ids
    handle = origin.put("/m.tar.gz", tar_gz())
    nodes.run(first, resolve, handle)  # which requires none
    key = make_key(tmp_path)
    trust_prefix(tmp_path / "config/tfimm_resolver/config.toml", f"{origin.url}/", f'{{ key = "{key.public_path}" }}')

    def resolve_with_rules(handle: str, config: str) -> str:
        import os

        from tfimm_resolver.integrations import ray as on_ray

        os.environ["XDG_CONFIG_HOME"] = config
        try:
            return on_ray.resolve(handle)
        finally:
            del os.environ["XDG_CONFIG_HOME"]

    with pytest.raises(SignatureError):
        nodes.run(second, resolve_with_rules, handle, str(tmp_path / "config"))
    assert not (nodes.caches[second] / entry_name_for_key(handle)).exists()


def test_an_offline_node_gets_what_the_seed_has(nodes: Nodes, origin: Origin) -> None:
    first, second, *_ = nodes.ids

    def resolve_offline(handle: str) -> str:
        import os

        from tfimm_resolver.integrations import ray as on_ray

        os.environ["TFIMM_RESOLVER_OFFLINE"] = "1"
        try:
            return on_ray.resolve(handle)
        finally:
            del os.environ["TFIMM_RESOLVER_OFFLINE"]

    handle, other = origin.put("/m.tar.gz", tar_gz()), origin.put("/other.tar.gz", tar_gz())
    check_trees([nodes.run(first, resolve, handle), nodes.run(second, resolve_offline, handle)])
    with pytest.raises(OfflineError):
        nodes.run(second, resolve_offline, other)
    assert origin.requests == ["/m.tar.gz"]


def test_a_deadline_ends_the_wait_for_the_seed(nodes: Nodes, origin: Origin) -> None:
    gate = threading.Event()
    handle = origin.put("/m.tar.gz", tar_gz(), gate=gate)

    def resolve_in_time(handle: str) -> str:
        from tfimm_resolver.integrations import ray as on_ray

        return on_ray.resolve(handle, timeout_s=1)

    begun_s = time.monotonic()
    with pytest.raises(ResolveTimeoutError):
        nodes.run(nodes.ids[0], resolve_in_time, handle)
    gate.set()
    assert time.monotonic() - begun_s < 20  # before the seed gives up the download


def test_the_newest_version_is_looked_up_once_for_the_cluster(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    with Kaggle() as kaggle:
        kaggle.publish("ada/zoo/tensorFlow2/lion", 2, tar_gz())
        monkeypatch.setenv("TFIMM_KAGGLE_URL", kaggle.url)
        paths = on_ray.spread("kaggle://ada/zoo/tensorFlow2/lion")
        check_trees([*paths.values()])
        requests = len(kaggle.api.requests)
        late = nodes.add()
        paths = on_ray.spread("kaggle://ada/zoo/tensorFlow2/lion")
        assert late in paths and len(kaggle.api.requests) == requests


def test_workers_resolve_as_the_driver_does(
    nodes: Nodes, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    (tmp_path / "models.toml").write_text(f'[models.lion]\nhandle = "{handle}"\n')
    monkeypatch.setenv("TFIMM_MODELS_FILE", str(tmp_path / "models.toml"))
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", "12345MB")
    names = on_ray.spread("lion")
    assert len(origin.requests) == 1 and len({*names.values()}) == len(nodes.caches)

    @ray.remote(num_cpus=0, runtime_env={})
    def report() -> tuple[bool, str, str | None, str]:
        import sys

        import tfimm_resolver

        limit = os.environ.get("TFIMM_RESOLVER_MAX_SIZE")
        return "tfimm_resolver" in sys.modules, tfimm_resolver.resolve("lion"), limit, os.environ["TFIMM_RESOLVER_RETRIES"]

    ray.shutdown()
    ray.init(address=nodes.cluster.address, logging_level="ERROR", runtime_env=on_ray.make_runtime_env())
    assert ray.get(report.remote())[1:] == (names[nodes.ids[0]], "12345MB", "0")


def test_outside_ray_a_model_is_downloaded_as_usual(origin: Origin, tmp_path: Path) -> None:
    code = (
        "import sys, ray; from tfimm_resolver.integrations.ray import resolve; print(resolve(sys.argv[1]));"
        "assert not ray.is_initialized()  # no cluster was started for it"
    )
    assert files_in(run(code, origin.put("/m.tar.gz", tar_gz()))) and len(origin.requests) == 1


def test_the_parts_of_a_range_are_those_of_the_files_in_it() -> None:
    files = tuple(FileEntry(name, size, "") for name, size in (("a", 3), ("b", 0), ("c", 5), ("d", 1)))
    found = [[(file.path, offset, size) for file, offset, size in _list_parts(files, start, 4)] for start in (0, 4, 8)]
    assert found == [[("a", 0, 3), ("c", 0, 1)], [("c", 1, 4)], [("d", 0, 1)]]
