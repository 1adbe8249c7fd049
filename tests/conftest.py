"""Fixtures for all tests: a private home and cache, a block on connections that leave this machine, loopback servers."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.origin import Origin
from tfimm_resolver import settings
from tfimm_resolver._util import outgoing
from tfimm_resolver.http import retry
from tfimm_resolver.resolution import overrides

pytest_plugins = ("tests.fakes.stores.fixtures", "tests.fakes.faults.fixtures")

_OWN_PREFIXES = ("TFIMM_", "TFHUB_", "XDG_", "STORAGE_EMULATOR", "KAGGLE", "HF_", "HUGGING", "TRANSFORMERS_", "GITHUB_")
_CLOUD_PREFIXES = ("GOOGLE_", "SERVICE_ACCOUNT", "GCE_", "GCS_", "NO_GCE", "CLOUDSDK_", "AWS_")
_TENSORFLOW_PATHS = {"tensorflow"}
_ENGINES = Path(__file__).parent / "engines"
ENGINES = ("beam", "ray", "others")
"""Engines whose tests run in environments of their own, and are named test_ENGINE."""
_SHARED_FIXTURES = {"cluster": "cluster", "server": "cluster"}
"""The group of tests that use a fixture."""

_CLOSED_PORT = "127.0.0.1:1"
_NETWORK_VARIABLES = (
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "requests_ca_bundle",
    "curl_ca_bundle",
    "ssl_cert_file",
    "ssl_cert_dir",
)


def pytest_configure() -> None:
    """Let tests interrupt processes also where a shell has started pytest in the background, which then ignores SIGINT."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _private_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide the user's caches, proxies, certificates and credentials from a test and the processes that it starts."""
    for variable in list(os.environ):
        if variable.startswith(_OWN_PREFIXES + _CLOUD_PREFIXES) or variable.lower() in _NETWORK_VARIABLES:
            monkeypatch.delenv(variable)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "1")  # a permanent failure is tried twice
    # Metadata servers, which give credentials to cloud machines; the guard below does not see obstore's sockets.
    for variable, scheme in (("GCE_METADATA_HOST", ""), ("GCE_METADATA_IP", ""), ("AWS_METADATA_ENDPOINT", "http://")):
        monkeypatch.setenv(variable, scheme + _CLOSED_PORT)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # botocore's name for it
    monkeypatch.setattr(outgoing, "_secrets", set())  # else a secret of an earlier test is masked in the messages of this one
    logger = logging.getLogger("tfimm_resolver")
    level = logger.level
    yield
    logger.setLevel(level)  # options such as -q set it until a command ends, which a test may only parse
    settings.set_dir(None)
    for name in overrides.list_cached_models():
        overrides.clear_model_cache(name)


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail on any Python connection that leaves this machine."""
    connect = socket.socket.connect

    def connect_to_loopback(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0] if isinstance(address, tuple) else address
            assert host in ("127.0.0.1", "::1", "localhost"), f"a test tried to connect to {address}"
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect_to_loopback)


@pytest.fixture(autouse=True)
def _short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry after a twentieth of the time, in this process; ``tests/unit/http/test_retry.py`` replaces this fixture."""
    monkeypatch.setattr(retry, "_BACKOFF_INITIAL_S", 0.025)


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    """The root for URL handles, which does not exist yet."""
    return tmp_path / "cache"


@pytest.fixture
def origin() -> Iterator[Origin]:
    """A loopback server for what a test puts there."""
    with Origin() as server:
        yield server


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Return one process more than there are processors: many tests wait for a disk, for another process or for a time-out."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import files that need TensorFlow, an engine, or their dependencies if their tests are deselected."""
    if _ENGINES in (collection_path, *collection_path.parents):
        return True if is_engine_skipped(collection_path, config.args, config.getoption("markexpr")) else None
    is_deselected = "not tensorflow" in config.getoption("markexpr")
    return True if is_deselected and _needs_tensorflow(collection_path) else None


def is_engine_skipped(path: Path, arguments: Sequence[str | os.PathLike[str]], markexpr: str) -> bool:
    """Whether a file or folder of tests for engines is not for this run, whose environment need not have an engine.

    The command has to name their folder, or something in it; its expression of markers may name some of the engines.
    """
    named = [Path(os.path.abspath(os.fspath(argument).partition("::")[0])) for argument in arguments]
    if not any(_ENGINES in (one, *one.parents) for one in named):
        return True
    words = set(re.findall(r"\w+", markexpr)).intersection(ENGINES)
    engine = _find_engine(path)
    return bool(words and engine) and engine not in words


def _find_engine(path: Path) -> str:
    """Return the engine that a file of tests needs, by its name; empty if it is not for one engine."""
    return next((name for name in ENGINES if re.match(rf"test_{name}(_|\.)", path.name)), "")


def _needs_tensorflow(path: Path) -> bool:
    return not _TENSORFLOW_PATHS.isdisjoint(os.path.relpath(path, Path(__file__).parent).split(os.sep))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the files of tests for TensorFlow, and let one process of pytest-xdist run those that share a cluster."""
    for item in items:
        if _needs_tensorflow(item.path):
            item.add_marker("tensorflow")
        if _ENGINES in item.path.parents and (engine := _find_engine(item.path)):
            item.add_marker(engine)
        for group in {_SHARED_FIXTURES[name] for name in getattr(item, "fixturenames", ()) if name in _SHARED_FIXTURES}:
            item.add_marker(pytest.mark.xdist_group(group))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Turn skips into failures if CI=true, where everything that tests need has to be installed."""
    return _forbid_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """Turn the skip of a whole file into a failure if CI=true."""
    return _forbid_skip((yield))


def _forbid_skip(report: Any) -> Any:
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI=true forbids: {report.longrepr}"
    return report
