"""The cancellation token: what asks it ends soon, and leaves what it should; the progress meters only observe."""

from __future__ import annotations

import ast
import concurrent.futures
import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import files_in, gzip_tar, member, tar_gz, tar_of, zip_of
from tests.fakes.buckets import wait_until
from tests.fakes.faults import COMPLETE, NOTHING, PARTS, archive, files, list_kinds
from tests.fakes.faults.origin import Fault, Gate, Host, Response, answer_with, hold_at, never_answer, on_request
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tests.fakes.hugging_face import Handler, HuggingFace
from tests.fakes.stores.gcs import Gcs
from tfimm_resolver import resolve
from tfimm_resolver._util.cancellation import NEVER, CancellationToken, CancelledError, get_current_token
from tfimm_resolver._util.thread_pool import DaemonThreadPool
from tfimm_resolver._util.threads import PrefetchReader, call_cancellably
from tfimm_resolver.archives.unpacking import ArchiveLayout, unpack
from tfimm_resolver.cache import bucket_lease
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.http.retry import RetryPolicy
from tfimm_resolver.locking import lock as locks
from tfimm_resolver.object_store.client import ObjectStoreClient
from tfimm_resolver.transfer import download
from tfimm_resolver.transfer.downloader import Downloader
from tfimm_resolver.transfer.partial_store import PartStore

PACKAGE = Path(tfimm_resolver.__file__).parent
MAX_S = 15  # far less than any time limit that applies: servers hold their answers for a minute
HALF = len(archive()) // 2

pytestmark = pytest.mark.timeout(100)


def cancel_when(is_reached: Callable[[], object], work: Callable[[], object]) -> None:
    """Run work in a thread under a token, cancel that once a condition holds, and check that the work ends soon."""
    token, ended = CancellationToken(), list[BaseException]()

    def run() -> None:
        with token.activate():
            try:
                work()
            except BaseException as error:  # compared below
                ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_until(lambda: is_reached() or not thread.is_alive())
    assert thread.is_alive(), f"the work ended before the condition held: {ended}"
    token.cancel()
    thread.join(MAX_S)
    assert not thread.is_alive(), "the work did not end"
    assert [type(error) for error in ended] == [CancelledError]


# The token


def test_a_token_is_cancelled_for_all_threads_and_its_children_but_not_for_its_parent() -> None:
    token = CancellationToken()
    child, other = CancellationToken(token), CancellationToken(token)
    child.raise_if_cancelled()
    child.cancel()
    assert child.is_cancelled and not token.is_cancelled and not other.is_cancelled
    threading.Thread(target=token.cancel).start()
    wait_until(lambda: token.is_cancelled)
    with pytest.raises(CancelledError):
        other.raise_if_cancelled()


@pytest.mark.parametrize("is_child", [False, True])
def test_a_sleep_ends_when_the_token_or_its_parent_is_cancelled(is_child: bool) -> None:
    sleeping = threading.Event()

    def work() -> None:
        token = CancellationToken(get_current_token()) if is_child else get_current_token()
        sleeping.set()
        token.sleep(60)

    cancel_when(sleeping.is_set, work)


def test_a_sleep_lasts_as_long_as_it_should() -> None:
    started_s = time.monotonic()
    CancellationToken().sleep(0.5)
    assert time.monotonic() - started_s >= 0.5


def test_a_token_is_the_current_one_in_its_block_and_thread_only() -> None:
    token, seen = CancellationToken(), list[CancellationToken]()
    with token.activate():
        other = threading.Thread(target=lambda: seen.append(get_current_token()))
        other.start()
        other.join()
        assert get_current_token() is token
    assert seen == [NEVER] and get_current_token() is NEVER


def test_the_token_of_work_that_is_never_cancelled_cannot_be_cancelled() -> None:
    with pytest.raises(ValueError, match="never cancelled"):
        get_current_token().cancel()
    assert not NEVER.is_cancelled


def test_no_plugin_takes_a_cancellation_for_a_failure() -> None:
    assert not issubclass(CancelledError, Exception)


# Threads


def test_a_read_ends_though_its_thread_is_blocked() -> None:
    gate, waiting = threading.Event(), threading.Event()

    def work() -> None:
        reader = PrefetchReader(lambda: bytes(gate.wait(60)), on_wait=waiting.set, interrupt=gate.set)
        with contextlib.closing(reader):
            reader.read(1)

    cancel_when(waiting.is_set, work)


def test_a_read_ends_though_chunks_are_ready() -> None:
    count = [0]

    def work() -> None:
        with contextlib.closing(PrefetchReader(lambda: b"x")) as reader:
            while reader.read(1):
                count[0] += 1

    cancel_when(lambda: count[0] > 100, work)


@pytest.mark.parametrize("timeout_s", [None, 60])
def test_a_wait_for_a_pool_ends(timeout_s: float | None) -> None:
    gate, running = threading.Event(), threading.Event()

    def block() -> None:
        running.set()
        gate.wait(60)

    def work() -> None:
        with DaemonThreadPool(1) as pool:
            pool.submit(block).result(timeout_s)

    cancel_when(running.is_set, work)
    gate.set()


def test_a_wait_for_a_pool_still_times_out() -> None:
    gate = threading.Event()
    with DaemonThreadPool(1) as pool:
        pending = pool.submit(gate.wait, 60)
        for timeout_s in (0, 0.3):
            started_s = time.monotonic()
            with pytest.raises(concurrent.futures.TimeoutError):
                pending.result(timeout_s)
            assert timeout_s <= time.monotonic() - started_s < MAX_S
        gate.set()
        assert pending.result(60)


def test_what_an_abandoned_call_returns_later_is_discarded() -> None:
    gate, running, discarded = threading.Event(), threading.Event(), list[str]()

    def call() -> str:
        running.set()
        gate.wait(60)
        return "a response"

    cancel_when(running.is_set, lambda: call_cancellably(call, discarded.append))
    assert discarded == []
    gate.set()
    wait_until(lambda: discarded == ["a response"])


# Downloads


@pytest.mark.parametrize(("page", "left"), [({"ranges": False}, NOTHING), ({}, PARTS)], ids=["one stream", "ranges"])
def test_a_download_ends_in_the_middle(page: dict[str, bool], left: set[str], host: Host, cache_dir: Path) -> None:
    gate = Gate(HALF)
    handle = host.put("/m.tar.gz", archive(), hold_at(gate), **page)
    cancel_when(gate.reached.is_set, lambda: resolve(handle))
    assert list_kinds(cache_dir) == left
    gate.go.set()
    host.put("/m.tar.gz", archive(), **page)
    assert files_in(resolve(handle)) == files() and list_kinds(cache_dir) == COMPLETE
    assert left != PARTS or host.count_resent_bytes() < HALF, "the second download did not resume"


@pytest.mark.parametrize("method", ["resolve", "get_bytes", "get_redirect_target"])
def test_a_request_without_an_answer_ends(method: str, host: Host, cache_dir: Path) -> None:
    url = host.put("/m.tar.gz", archive(), never_answer)
    downloader = Downloader(Handle.parse(url))
    calls: dict[str, Callable[[], object]] = {
        "resolve": lambda: resolve(url),
        "get_bytes": lambda: downloader.get_bytes(url),
        "get_redirect_target": lambda: downloader.get_redirect_target(url),
    }
    cancel_when(lambda: host.counts["/m.tar.gz"], calls[method])
    assert list_kinds(cache_dir) == NOTHING


def open_ranges(host: Host, tmp_path: Path, *faults: Fault) -> download.OpenDownload:
    """Open a download in ranges that is read in this thread, as where no thread for reading ahead can be started."""
    url = host.put("/m.tar.gz", archive(), *faults)
    return download.open_download("m", url, PartStore(tmp_path / "parts"), RetryPolicy())


def read_all(body: download.OpenDownload) -> None:
    """Read a download to its end, and close it."""
    with contextlib.closing(body):
        while body.read(1 << 16):
            pass


def test_ranges_that_are_read_without_another_thread_end(host: Host, tmp_path: Path) -> None:
    gate = Gate(HALF)
    cancel_when(gate.reached.is_set, lambda: read_all(open_ranges(host, tmp_path, hold_at(gate))))
    wait_until(lambda: not any(thread.name.startswith("tfimm_resolver range") for thread in threading.enumerate()))


@pytest.fixture
def _no_range_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread of a download in ranges start, as at a limit of threads."""
    real_start = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name.startswith("tfimm_resolver range"):
            raise RuntimeError("can't start new thread")
        real_start(thread)

    monkeypatch.setattr(threading.Thread, "start", start)


@pytest.mark.usefixtures("_no_range_threads")
def test_ranges_end_where_no_thread_at_all_can_be_started(host: Host, tmp_path: Path) -> None:
    """The token is cancelled by a request of the download itself, which otherwise would loop without end."""
    token = CancellationToken()

    def cancel_at_the_fourth(response: Response) -> None:
        if response.number == 4:
            token.cancel()

    with token.activate(), pytest.raises(CancelledError):
        read_all(open_ranges(host, tmp_path, cancel_at_the_fourth))
    assert len(host.requests) == 4


class Signal(logging.Handler):
    """Sets ``is_set`` once a text is logged."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.is_set = text, False

    def emit(self, record: logging.LogRecord) -> None:
        self.is_set = self.is_set or self.text in record.getMessage()


@pytest.fixture
def waiting_for_retry() -> Iterator[Signal]:
    """A handler that says when a pause before a retry begins."""
    handler, log = Signal("trying again in 500.0 s"), logging.getLogger("tfimm_resolver")
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


@pytest.mark.parametrize("is_small", [False, True], ids=["archive", "page"])
def test_the_pause_before_a_retry_ends(is_small: bool, host: Host, waiting_for_retry: Signal, cache_dir: Path) -> None:
    url = host.put("/m.tar.gz", archive(), answer_with(503, Retry_After="500"))
    downloader = Downloader(Handle.parse(url))
    work: Callable[[], object] = (lambda: downloader.get_bytes(url)) if is_small else (lambda: resolve(url))
    cancel_when(lambda: waiting_for_retry.is_set, work)
    assert len(host.requests) == 1 and list_kinds(cache_dir) == NOTHING


@pytest.mark.usefixtures("_no_range_threads")
def test_the_pause_before_the_retry_of_a_range_ends(host: Host, tmp_path: Path, waiting_for_retry: Signal) -> None:
    throttled = on_request(4, answer_with(503, Retry_After="500"))
    cancel_when(lambda: waiting_for_retry.is_set, lambda: read_all(open_ranges(host, tmp_path, throttled)))


# Locks


def test_the_wait_for_a_lock_ends_and_the_lock_is_unchanged(tmp_path: Path) -> None:
    root, polled = tmp_path / "root", threading.Event()
    root.mkdir()
    path = str(root / "m.lock")
    held = locks.acquire(path)
    assert held is not None
    cancel_when(polled.is_set, lambda: locks.acquire(path, "m", lambda: bool(polled.set())))
    assert os.listdir(root) == ["m.lock"] and locks.try_acquire(path) is None
    held.release()
    assert os.listdir(root) == []
    again = locks.try_acquire(path)
    assert again is not None
    again.release()


def test_the_wait_for_a_lease_ends_and_the_lease_is_unchanged(gcs: Gcs) -> None:  # which is not renewed so soon
    objects, polled, name = ObjectStoreClient("gs://bucket/below"), threading.Event(), "0" * 40
    path = name + bucket_lease.LEASE_SUFFIX

    def wait() -> None:
        with bucket_lease.hold_lease(objects, name, "m", lambda: False, polled.set):
            raise AssertionError("two hold the lease")

    with bucket_lease.hold_lease(objects, name, "m", lambda: False):
        text = objects.read(path)
        cancel_when(polled.is_set, wait)
        assert objects.read(path) == text
    assert objects.list_objects() == []


# Unpacking


class CancellingStream(io.BytesIO):
    """An archive that cancels the current token after that part of its bytes."""

    def __init__(self, data: bytes, part: float) -> None:
        super().__init__(data)
        self._at_bytes, self._token = int(len(data) * part), get_current_token()

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        if self.tell() > self._at_bytes:
            self._token.cancel()
        return chunk


EMPTY_FILES = {f"f{number}": b"" for number in range(1000)}
LARGE = {"large": bytes(50_000_000)}  # one packed chunk of it is a hundred unpacked ones


@pytest.mark.parametrize("members", [EMPTY_FILES, LARGE], ids=["members without bytes", "one large member"])
def test_a_zip_ends_between_its_members_and_inside_one(members: dict[str, bytes], tmp_path: Path) -> None:
    token = CancellationToken()
    layout = ArchiveLayout(on_comment=lambda _: token.cancel())  # called when all is read and nothing is unpacked
    with token.activate(), pytest.raises(CancelledError):
        unpack(io.BytesIO(zip_of(members)), tmp_path, layout=layout)
    assert files_in(tmp_path) in ({}, {"large": b""})


def test_a_tar_ends_inside_a_packed_chunk(tmp_path: Path) -> None:
    data = gzip_tar(tar_of(*(member(name, content) for name, content in LARGE.items())))
    with CancellationToken().activate(), pytest.raises(CancelledError):
        unpack(CancellingStream(data, 0.1), tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 1 << 20
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("tfimm_resolver writer")]


# Buckets and Hugging Face


@pytest.mark.parametrize(
    ("kind", "handle"), [("get", "s3://bucket/m"), ("list", "s3://bucket/m"), ("get", "gs://bucket/m.tar.gz")]
)
def test_a_bucket_that_stalls_is_not_waited_for(
    kind: str, handle: str, gcs: Gcs, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ENDPOINT_URL": gcs.url, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    gcs.buckets["bucket"].put("m/saved_model.pb", b"a graph")
    gcs.buckets["bucket"].put("m.tar.gz", tar_gz())
    gate = gcs.on(kind, times=None).hold()
    cancel_when(gate.reached.is_set, lambda: resolve(handle))
    assert list_kinds(cache_dir) == NOTHING


@pytest.mark.parametrize("stalls", ["hub", "storage"])
def test_hugging_face_is_not_waited_for(stalls: str, cache_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, over = threading.Event(), threading.Event()

    def wait(_: Handler) -> bool:
        reached.set()
        over.wait(60)
        return False

    with HuggingFace() as hugging_face:
        monkeypatch.setenv("HF_ENDPOINT", hugging_face.url)
        commit = hugging_face.push("o/m", {"saved_model.pb": b"a graph", "weights": bytes(800)})
        (hugging_face.hub if stalls == "hub" else hugging_face.storage).faults["/"] = wait
        cancel_when(reached.is_set, lambda: resolve(f"hf://o/m@{commit}"))
        assert list_kinds(cache_dir) <= PARTS
        over.set()  # what arrives now ends the thread that receives it
        wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "tfimm_resolver worker"])
        assert [*cache_dir.rglob("weights")] == []


# Several models


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sync_does_not_wait_for_answers_and_leaves_nothing(
    number: signal.Signals, host: Host, cache_dir: Path, tmp_path: Path
) -> None:
    for name in "ab":
        host.put(f"/{name}.tgz", archive(), never_answer)
    (tmp_path / "tfimm-models.toml").write_text(
        "".join(f'[models.{name}]\nhandle = "{host.url}/{name}.tgz"\n' for name in "ab")
    )
    code = """
import signal, sys
from tfimm_resolver.cli.app import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # not inherited by a background job of a shell
sys.exit(main(["sync"]))
"""
    job = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: all(host.counts[f"/{name}.tgz"] for name in "ab") or job.poll() is not None)
        job.send_signal(number)
        started_s = time.monotonic()
        _, err = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 128 + number and "Traceback" not in err
    assert time.monotonic() - started_s < MAX_S and list_kinds(cache_dir) == NOTHING


# Progress meters


def find_raises(source: str) -> list[str]:
    """Return the functions of a module that raise, or ask a token to, except for those of batches, which are not meters."""

    def walk(node: ast.AST, name: str) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            is_call = isinstance(child, ast.Attribute) and child.attr in ("raise_if_cancelled", "sleep", "result")
            if (isinstance(child, ast.Raise) and child.exc is not None) or is_call:  # a bare one passes on what was raised
                yield name
            is_scope = isinstance(child, (ast.FunctionDef, ast.ClassDef))
            yield from walk(child, f"{name}.{child.name}".lstrip(".") if is_scope else name)

    return [name for name in walk(ast.parse(source), "") if name.partition(".")[0] not in NOT_METERS]


NOT_METERS = {"map_parallel", "_wait_for_first_failure", "on_event"}
VIOLATIONS = (
    "class Meter:\n def advance(self, size_bytes):\n  if self.is_stopped:\n   raise KeyboardInterrupt",
    "class Meter:\n def finish(self, succeeded):\n  self.token.raise_if_cancelled()",
    "class Meter:\n def advance(self, size_bytes):\n  def stop():\n   raise FetchError('stopped')\n  stop()",
    "class Meter:\n advance = stop\ndef stop(_, size_bytes):\n raise FetchError('stopped')",
    "class Meter:\n def advance(self, size_bytes):\n  stop = self.token.raise_if_cancelled\n  stop()",
)


def test_progress_meters_only_observe() -> None:
    found = {path.name: find_raises(path.read_text()) for path in (PACKAGE / "progress").glob("*.py")}
    assert {name: raises for name, raises in found.items() if raises} == {}


@pytest.mark.parametrize("source", VIOLATIONS)
def test_a_meter_that_raises_is_found(source: str) -> None:
    assert find_raises(source)


def find_raising_meters(source: str) -> list[str]:
    """Return the meters of a module, by their method ``advance``, in which that method raises."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        for method in node.body
        if isinstance(method, ast.FunctionDef) and method.name == "advance" and find_raises(ast.unparse(method))
    ]


def test_meters_elsewhere_only_observe_too() -> None:
    found = {str(path): find_raising_meters(path.read_text()) for path in PACKAGE.rglob("*.py")}
    assert {name: meters for name, meters in found.items() if meters} == {}
    assert [find_raising_meters(source) for source in VIOLATIONS[:1]] == [["Meter"]]
