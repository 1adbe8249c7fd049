"""Resolvers that other packages added to tensorflow_hub: when they are asked, and what they cannot break."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tfimm_resolver import resolve, set_model_cache
from tfimm_resolver.errors import (
    AccessError,
    ArchiveError,
    FetchError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    SourceError,
)
from tfimm_resolver.integrations.tensorflow_hub import HubResolver
from tfimm_resolver.models_file.discovery import FILE_NAME
from tfimm_resolver.resolution.other_resolvers import resolve_elsewhere
from tfimm_resolver.resolution.request import Request
from tfimm_resolver.resolution.rules import match_rule


class Other:
    """A resolver of another package."""

    def __init__(self, call: Callable[[str], Any], supports: Callable[[str], Any] = lambda _: True) -> None:
        self.handles: list[str] = []
        self._call, self._supports = call, supports

    def is_supported(self, handle: str) -> Any:
        self.handles.append(handle)
        return self._supports(handle)

    def __call__(self, handle: str) -> Any:
        return self._call(handle)


class Registry:
    """What is used of tensorflow_hub's registry."""

    def __init__(self) -> None:
        self._impls: list[Any] = []

    def add(self, call: Callable[[str], Any], supports: Callable[[str], Any] = lambda _: True) -> Other:
        """Add a resolver, and return it."""
        self._impls.append(other := Other(call, supports))
        return other

    def add_implementation(self, resolver: Any) -> None:
        self._impls.append(resolver)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry, with our resolver in it, as if tensorflow_hub was imported."""
    module = ModuleType("tensorflow_hub.registry")
    module.resolver = Registry()  # type: ignore[attr-defined]
    module.resolver.add_implementation(HubResolver())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    found: Registry = module.resolver  # type: ignore[attr-defined]
    return found


@pytest.fixture
def attached(tmp_path: Path) -> str:
    """A model that another resolver has."""
    return str(put_model(tmp_path / "attached"))


def fail(error: BaseException) -> Callable[[str], Any]:
    """Return a resolver's function that raises."""

    def call(_: str) -> str:
        raise error

    return call


UNREACHABLE = "http://127.0.0.1:1/model/1"


def test_is_asked_for_what_cannot_be_reached_and_what_the_host_does_not_have(
    registry: Registry, attached: str, origin: Origin, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = registry.add(lambda _: attached)
    denied = origin.put("/denied.tar.gz", b"", status=403)
    broken = origin.put("/broken.tar.gz", b"", status=500)
    handles = [UNREACHABLE, f"{origin.url}/missing.tar.gz", denied, broken]
    assert {resolve(handle) for handle in handles} == {attached} and other.handles == handles
    assert "http://127.0.0.1:1/model/1 comes from Other, a resolver of tensorflow_hub: " in caplog.text
    assert not any(cache_dir.glob("*"))


def test_is_asked_offline(registry: Registry, attached: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.add(lambda _: attached)
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve(UNREACHABLE) == attached


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_the_order_of_registration_does_not_matter(is_first: bool, registry: Registry, attached: str) -> None:
    registry.add(lambda _: attached)
    if is_first:
        registry._impls.reverse()
    assert resolve(UNREACHABLE) == HubResolver()(UNREACHABLE) == attached


def test_the_newest_is_asked_first(registry: Registry, attached: str, tmp_path: Path) -> None:
    older = registry.add(lambda _: attached)
    registry.add(lambda _: str(put_model(tmp_path / "newer")))
    assert resolve(UNREACHABLE) == f"{tmp_path}/newer" and older.handles == []


def test_is_not_asked_for_a_cached_model_or_an_override(registry: Registry, attached: str, origin: Origin) -> None:
    other = registry.add(lambda _: attached)
    handle = origin.put("/m.tar.gz", tar_gz())
    assert files_in(resolve(handle)) == MODEL and files_in(resolve(handle)) == MODEL
    set_model_cache(UNREACHABLE, resolve(handle))
    assert resolve(UNREACHABLE) == resolve(handle)
    set_model_cache(UNREACHABLE, "http://127.0.0.1:1/elsewhere.tar.gz")
    with pytest.raises(OfflineError):
        resolve(UNREACHABLE)
    assert other.handles == []


def test_a_mutable_handle_is_served_from_the_cache_first(
    registry: Registry, attached: str, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_KAGGLE_URL", origin.url)
    other = registry.add(lambda _: attached)
    assert resolve("kaggle://o/m/tensorFlow2/v") == attached
    origin.put("/api/v1/models/o/m/tensorFlow2/v/3/download", tar_gz())
    cached = resolve("kaggle://o/m/tensorFlow2/v/3")
    other.handles.clear()
    assert resolve("kaggle://o/m/tensorFlow2/v") == cached and other.handles == []


def test_is_not_asked_in_place_of_wrong_bytes(registry: Registry, attached: str, origin: Origin) -> None:
    other = registry.add(lambda _: attached)
    with pytest.raises(ArchiveError):
        resolve(origin.put("/m.tar.gz", b"not an archive"))
    resolved = match_rule(Request.parse(UNREACHABLE))
    for kind in (IntegrityError, ArchiveError, SourceError):
        with pytest.raises(kind):
            resolve_elsewhere(resolved, kind("wrong bytes"))
    assert other.handles == [] and resolve_elsewhere(resolved, AccessError("denied")) == attached


@pytest.mark.parametrize(
    "handle",
    [
        f"{UNREACHABLE}?X-Goog-Signature=abc",
        f"{UNREACHABLE}?sig=abc",
        f"{UNREACHABLE}#sha256={'0' * 64}",
        "https://www.kaggle.com/models/o/m/tensorFlow2/v/1?X-Goog-Signature=abc",
    ],
)
def test_is_not_asked_for_a_handle_with_a_pin_or_a_signature(
    handle: str, registry: Registry, attached: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_KAGGLE_URL", "http://127.0.0.1:1")
    other = registry.add(lambda _: attached)
    with pytest.raises(FetchError):
        resolve(handle)
    assert other.handles == []


def test_is_not_asked_if_the_caller_pins_or_refreshes(registry: Registry, attached: str) -> None:
    other = registry.add(lambda _: attached)
    for options in ({"sha256": "0" * 64}, {"refresh": True}):
        with pytest.raises(FetchError):
            resolve(UNREACHABLE, **options)  # type: ignore[arg-type]
    assert other.handles == []


def test_a_name_in_the_models_file_is_asked_for_by_its_handle_unless_it_is_pinned(
    registry: Registry, attached: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    other = registry.add(lambda _: attached)
    Path(FILE_NAME).write_text(
        f'[models.free]\nhandle = "{UNREACHABLE}"\n[models.pinned]\nhandle = "{UNREACHABLE}"\nsha256 = "{"0" * 64}"\n'
    )
    assert resolve("free") == attached and other.handles == [UNREACHABLE]
    with pytest.raises(OfflineError):
        resolve("pinned")
    assert other.handles == [UNREACHABLE]


class _NotSupportedError(Exception):
    pass


@pytest.mark.parametrize(
    ("call", "supports", "message"),
    [
        (fail(RuntimeError("no\nmodel")), lambda _: True, "Other: RuntimeError: no"),
        (fail(OSError("https://u:hunter2@h/m?token=hunter2")), lambda _: True, "Other: OSError: https://"),
        (lambda _: "/missing/model", lambda _: True, "it returned '/missing/model', which does not exist"),
        (lambda _: None, lambda _: True, "Other: TypeError"),
        (lambda _: b"/bytes", lambda _: True, "it returned b'/bytes'"),
        (lambda _: "", lambda _: True, "it returned ''"),
        (lambda _: "/", fail(_NotSupportedError("cannot say")), "_NotSupportedError: cannot say"),
    ],
    ids=["raises", "raises with a secret", "missing", "None", "bytes", "empty", "is_supported raises"],
)
def test_a_resolver_that_fails_does_not_hide_our_error_or_another_resolver(
    call: Any, supports: Any, message: str, registry: Registry, attached: str
) -> None:
    registry.add(call, supports)
    with pytest.raises(OfflineError) as caught:
        resolve(UNREACHABLE)
    text = "".join(traceback.format_exception(caught.value))
    assert "127.0.0.1" in caught.value.text and message in caught.value.text and "hunter2" not in text
    assert "\nmodel" not in caught.value.text
    registry._impls.insert(0, Other(lambda _: attached))
    assert resolve(UNREACHABLE) == attached


def test_an_empty_directory_is_not_a_model(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    registry.add(lambda _: str(tmp_path / "empty"))
    with pytest.raises(OfflineError, match="does not exist or is empty"):
        resolve(UNREACHABLE)


def test_one_that_does_not_support_the_handle_is_not_called(registry: Registry) -> None:
    registry.add(fail(AssertionError("called")), lambda _: False)
    with pytest.raises(OfflineError) as caught:
        resolve(UNREACHABLE)
    assert "resolvers" not in caught.value.text


def test_a_remote_path_is_returned_as_it_is_and_a_relative_one_absolute(
    registry: Registry, attached: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["gs://bucket/model", "attached", Path(attached)]
    registry.add(lambda _: answers.pop(0))
    monkeypatch.chdir(Path(attached).parent)
    assert [resolve(UNREACHABLE) for _ in range(3)] == ["gs://bucket/model", attached, attached]


@pytest.mark.parametrize("change", ["", "/deeper"])
def test_one_that_calls_this_package_again_gets_our_error(change: str, registry: Registry) -> None:
    other = registry.add(lambda handle: resolve(handle + change))
    with pytest.raises(OfflineError):
        resolve(UNREACHABLE)
    assert len(other.handles) == 1
    with pytest.raises(OfflineError):  # the next call asks again
        resolve(UNREACHABLE)
    assert len(other.handles) == 2


def test_neither_our_own_nor_those_of_tensorflow_hub_are_asked(registry: Registry) -> None:
    class OfHub(Other):
        pass

    OfHub.__module__ = "tensorflow_hub.compressed_module_resolver"
    own = OfHub(lambda _: "/")
    registry.add_implementation(own)
    with pytest.raises(OfflineError):
        resolve(UNREACHABLE)
    assert own.handles == []


def test_nothing_is_asked_without_tensorflow_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    monkeypatch.setitem(sys.modules, "tensorflow_hub.registry", None)
    with pytest.raises(OfflineError):
        resolve(UNREACHABLE)


def test_an_interrupt_is_not_swallowed(registry: Registry) -> None:
    registry.add(fail(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        resolve(UNREACHABLE)


def test_not_found_is_raised_as_before(registry: Registry, origin: Origin) -> None:
    registry.add(fail(ValueError("no")))
    with pytest.raises(NotFoundError) as caught:
        resolve(f"{origin.url}/missing.tar.gz")
    assert caught.value.status == 404 and caught.value.fix
