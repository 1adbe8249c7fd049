"""Demonstration: builds a SavedModel, serves it on loopback, resolves, names, loads and runs it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tfimm_resolver import settings
from tfimm_resolver._util.text import format_size
from tfimm_resolver.errors import TensorFlowMissingError
from tfimm_resolver.loading.loader import import_tensorflow, load
from tfimm_resolver.maintenance.verification import iterate_results
from tfimm_resolver.resolution import overrides
from tfimm_resolver.resolution.resolver import resolve

_PAGE, _GRAPH = "/demo/half_plus_two/1", "saved_model.pb"
_EMPTY_MODEL = bytes.fromhex("080112090a072205") + b"serve"
"""The smallest SavedModel: a MetaGraph with the tag ``serve`` and nothing in it."""

_SETTINGS = ("TFIMM_", "TFHUB_", "XDG_", "NETRC")
"""How the names of variables begin that are settings; those of services on the network are not read."""

_DISPLAY = {"TFIMM_RESOLVER_QUIET": ("1",), "TFIMM_RESOLVER_PROGRESS": settings.PROGRESS_FORMATS}
"""The variables that are kept, with their values."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the demonstration; ``size_bytes`` is what it downloaded."""

    name: str
    result: str
    size_bytes: int
    seconds: float

    def facts(self) -> dict[str, Any]:
        """Return the fields that ``--json`` prints."""
        return asdict(self)

    def format_download(self) -> str:
        """Return the downloaded size for a table."""
        return format_size(self.size_bytes) if self.size_bytes else "-"


def run() -> list[Step]:
    """Run the demonstration in a temporary cache, which is removed afterwards; without TensorFlow, nothing is loaded.

    The user's settings do not count, so that mirrors, proxies, rules and limits cannot make it fail.

    Raises:
        ResolverError: as ``resolve`` and ``load`` do.
    """
    with tempfile.TemporaryDirectory() as folder, use_own_settings(Path(folder)), serve_example() as origin:
        return [Step("handle", origin.handle, 0, 0.0), *_resolve(origin), *(_load(origin) if origin.is_loadable else ())]


@contextlib.contextmanager
def use_own_settings(folder: Path) -> Iterator[None]:
    """Ignore the user's variables, settings files and models files in this process, and keep everything in a directory.

    How progress is shown does not change: the options of the command line set it through variables.
    """
    previous = dict(os.environ)
    (folder / "empty").touch()
    display = {name: previous[name] for name, values in _DISPLAY.items() if previous.get(name) in values}
    try:
        for name in [name for name in os.environ if name.startswith(_SETTINGS) or name.lower().endswith("_proxy")]:
            del os.environ[name]
        os.environ.update(dict.fromkeys(("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"), str(folder / "settings")))
        os.environ.update(dict.fromkeys((settings.MODELS_FILE, "NETRC"), str(folder / "empty")))
        # Without no_proxy the settings of a desktop count; without a format, an absl flag.
        os.environ.update({"no_proxy": "*", "TFHUB_MODEL_LOAD_FORMAT": "COMPRESSED", **display})
        with overrides.using(dir=folder / "models"):
            yield
    finally:
        for name in os.environ.keys() - previous.keys():
            del os.environ[name]
        os.environ.update(previous)


def _resolve(origin: Origin) -> Iterator[Step]:
    """Show the half that needs no TensorFlow: a download, a hit, a damaged copy that is found and repaired, a name."""
    path = ""

    def resolve_handle() -> str:
        nonlocal path
        path = resolve(origin.handle)
        return path

    yield _step("resolve, cold", origin, resolve_handle)
    yield _step("resolve, warm", origin, resolve_handle)
    yield _step("verify", origin, _verify)
    yield _step("damage the copy", origin, lambda: _cut_file(path))
    yield _step("verify", origin, _verify)
    yield _step("resolve, repairs", origin, resolve_handle)
    yield _step("verify", origin, _verify)
    overrides.set_model_cache("half_plus_two", path)
    yield _step("resolve by name", origin, lambda: resolve("half_plus_two"))


def _load(origin: Origin) -> Iterator[Step]:
    yield _step("load by URL, run", origin, lambda: _load_and_run(origin.handle))
    yield _step("load by name, run", origin, lambda: _load_and_run("half_plus_two"))


def _verify() -> str:
    results = iterate_results((), repair=False)
    return "; ".join(f"{one.state}{''.join(f': {fault}' for fault in one.faults[:1])}" for one in results)


def _cut_file(path: str) -> str:
    size_bytes = Path(path, _GRAPH).stat().st_size
    os.truncate(f"{path}/{_GRAPH}", size_bytes // 2)
    return f"{_GRAPH} cut to {size_bytes // 2} of {size_bytes} bytes"


@contextlib.contextmanager
def serve_example() -> Iterator[Origin]:
    """Serve one small SavedModel on loopback, which maps x to x / 2 + 2; ``handle`` of the yielded server is its URL."""
    with tempfile.TemporaryDirectory() as folder, Origin(_build_archive(Path(folder))) as origin:
        threading.Thread(target=origin.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield origin
        finally:
            origin.shutdown()


def _step(name: str, origin: Origin, action: Callable[[], str]) -> Step:
    before, started_s = origin.sent_bytes, time.perf_counter()
    result = action()
    return Step(name, result, origin.sent_bytes - before, time.perf_counter() - started_s)


def _load_and_run(handle: str) -> str:
    outputs = load(handle).signatures["serving_default"](x=[1.0, 2.0, 3.0])
    return f"half of 1, 2, 3 plus two: {', '.join(f'{number:g}' for number in outputs['y'].numpy())}"


def _build_archive(folder: Path) -> Path:
    """Save a model and pack it as TF Hub does; return the archive. Without TensorFlow it is a model without a graph."""
    try:
        _save_model(folder / "model")
    except TensorFlowMissingError:
        (folder / "model").mkdir()
        (folder / "model" / _GRAPH).write_bytes(_EMPTY_MODEL)
    with tarfile.open(folder / "model.tar.gz", "w:gz") as archive:
        archive.add(folder / "model", arcname=".")
    return folder / "model.tar.gz"


def _save_model(path: Path) -> None:
    """Save a model with two variables; raises TensorFlowMissingError."""
    tf = import_tensorflow()

    class HalfPlusTwo(tf.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.a, self.b = tf.Variable(0.5), tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return {"y": self.a * x + self.b}

    model = HalfPlusTwo()
    tf.get_logger().addFilter(_is_relevant)
    tf.saved_model.save(model, str(path), signatures=model.__call__)


def _is_relevant(record: logging.LogRecord) -> bool:
    """Return False for the message that says where TensorFlow saved the model: the directory is temporary."""
    return not record.getMessage().startswith("Assets written to:")


class Origin(ThreadingHTTPServer):
    """A server of the tfhub.dev protocol for one model."""

    def __init__(self, archive: Path) -> None:
        super().__init__(("127.0.0.1", 0), _RequestHandler)
        self.body = archive.read_bytes()
        self.sent_bytes = 0
        self.is_loadable = sys.modules.get("tensorflow") is not None
        self.handle = f"http://127.0.0.1:{self.server_port}{_PAGE}"


class _RequestHandler(BaseHTTPRequestHandler):
    server: Origin

    def do_GET(self) -> None:
        if self.path != f"{_PAGE}?tf-hub-format=compressed":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)
        self.server.sent_bytes += len(self.server.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the parameter's name in the base class
        pass
