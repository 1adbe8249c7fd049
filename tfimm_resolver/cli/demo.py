"""The main job in half a minute: a SavedModel is built, served on loopback, resolved, named, loaded and run."""

from __future__ import annotations

import contextlib
import logging
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tfimm_resolver._util.text import format_size
from tfimm_resolver.loading.loader import import_tensorflow, load
from tfimm_resolver.resolution import overrides
from tfimm_resolver.resolution.resolver import resolve

_PAGE = "/demo/half_plus_two/1"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the demonstration; ``size_bytes`` came over the network in it."""

    name: str
    result: str
    size_bytes: int
    seconds: float

    def facts(self) -> dict[str, Any]:
        """The words of ``--json``."""
        return asdict(self)

    def bytes_in_words(self) -> str:
        """How much came, for people."""
        return format_size(self.size_bytes) if self.size_bytes else "-"


def run() -> list[Step]:
    """Run the demonstration in a cache of its own, which is gone afterwards.

    Raises:
        ResolverError: as ``resolve`` and ``load`` do.
    """
    with tempfile.TemporaryDirectory() as folder, served() as origin, overrides.using(dir=folder):
        steps = [
            _step("resolve, cold", origin, lambda: resolve(origin.handle)),
            _step("resolve, warm", origin, lambda: resolve(origin.handle)),
        ]
        overrides.set_model_cache("half_plus_two", steps[-1].result)
        steps.append(_step("resolve by name", origin, lambda: resolve("half_plus_two")))
        steps.append(_step("load by URL, run", origin, lambda: _ran(origin.handle)))
        steps.append(_step("load by name, run", origin, lambda: _ran("half_plus_two")))
        return [Step("handle", origin.handle, 0, 0.0), *steps]


@contextlib.contextmanager
def served() -> Iterator[Origin]:
    """A host on loopback with one small SavedModel, which maps x to half of x plus two; ``handle`` is its URL."""
    with tempfile.TemporaryDirectory() as folder, Origin(_built(Path(folder))) as origin:
        threading.Thread(target=origin.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield origin
        finally:
            origin.shutdown()


def _step(name: str, origin: Origin, deed: Callable[[], str]) -> Step:
    before, started_s = origin.sent_bytes, time.perf_counter()
    result = deed()
    return Step(name, result, origin.sent_bytes - before, time.perf_counter() - started_s)


def _ran(handle: str) -> str:
    outputs = load(handle).signatures["serving_default"](x=[1.0, 2.0, 3.0])
    return f"half of 1, 2, 3 plus two: {', '.join(f'{number:g}' for number in outputs['y'].numpy())}"


def _built(folder: Path) -> Path:
    """A SavedModel with two variables, packed as TF Hub packs them."""
    tf = import_tensorflow()

    class HalfPlusTwo(tf.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.a, self.b = tf.Variable(0.5), tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return {"y": self.a * x + self.b}

    model = HalfPlusTwo()
    tf.get_logger().addFilter(_is_no_chatter)
    tf.saved_model.save(model, str(folder / "model"), signatures=model.__call__)
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        archive.add(folder / "model", arcname=".")
    return folder / "model.tar.gz"


def _is_no_chatter(record: logging.LogRecord) -> bool:
    """TensorFlow tells where it put a model; this one's place is gone in a moment."""
    return not record.getMessage().startswith("Assets written to:")


class Origin(ThreadingHTTPServer):
    """A host that speaks tfhub.dev's protocol for one model."""

    def __init__(self, archive: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Reply)
        self.body = archive.read_bytes()
        self.sent_bytes = 0
        self.handle = f"http://127.0.0.1:{self.server_port}{_PAGE}"


class _Reply(BaseHTTPRequestHandler):
    server: Origin

    def do_GET(self) -> None:
        if self.path != f"{_PAGE}?tf-hub-format=compressed":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)
        self.server.sent_bytes += len(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's word
        pass
