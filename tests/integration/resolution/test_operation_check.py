"""Models that are refused by their operations: every way to one, and what is said of it. TensorFlow is not needed."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.models_file import project, write  # noqa: F401
from tests.fakes.operations import make_harmless_model, make_loading_model
from tests.fakes.origin import Origin
from tfimm_resolver import bundles, maintenance
from tfimm_resolver.cache.record import Record
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.errors import PolicyError, ResolverError
from tfimm_resolver.integrations.tensorflow_hub import HubResolver
from tfimm_resolver.resolution import operation_check
from tfimm_resolver.resolution.request import Request, ResolvedPlan
from tfimm_resolver.resolution.resolver import resolve_to_load
from tfimm_resolver.saved_model import locate
from tfimm_resolver.saved_model.operations import Operation
from tfimm_resolver.settings.config_file import config_file
from tfimm_resolver.sources.plan import InPlace
from tfimm_resolver.trust.operation_policy import KINDS

WRITING, HARMLESS = make_loading_model().encode(), make_harmless_model().encode()
ARCHIVE, HARMLESS_ARCHIVE = (tar_gz({"saved_model.pb": graph}) for graph in (WRITING, HARMLESS))
TREE = tar_gz({"a/saved_model.pb": HARMLESS, "b/saved_model.pb": WRITING})
OPS = 'ops = { refuse = ["on-load-writes"] }'
AT_RESOLVE = 'ops = { refuse = ["on-load-writes"], at = "resolve" }'


def configure(text: str) -> None:
    """Write the settings file."""
    path = Path(config_file())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def load(handle: str) -> str:
    """Do what ``load`` does until TensorFlow would read the model."""
    model = resolve_to_load(handle)
    model.check.run(model.path)
    return model.path


def hub_load(handle: str) -> str:
    """Do what tensorflow_hub does: ask our resolver, if it is ours."""
    assert HubResolver().is_supported(handle)
    return HubResolver()(handle)


WAYS: dict[str, Callable[[str], object]] = {"load": load, "hub": hub_load}


@pytest.fixture
def url(origin: Origin) -> str:
    return origin.put("/models/m.tar.gz", ARCHIVE)


@pytest.mark.parametrize("way", WAYS)
def test_the_variable_refuses_a_model_that_writes_on_load(way: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OPS", "refuse")
    with pytest.raises(PolicyError, match="TFIMM_RESOLVER_OPS refuses on-load-writes") as caught:
        WAYS[way](url)
    assert "write on load: WriteFile /tmp/planted" in caught.value.text and caught.value.exit_code == 9
    assert isinstance(caught.value, PermissionError)


def test_all_kinds_that_are_refused_are_named_with_a_command_that_lists_the_operations(url: str) -> None:
    configure('ops = { refuse = ["reads", "on-load-writes", "network", "writes"] }')
    with pytest.raises(PolicyError, match="refuses on-load-writes, writes, and ") as caught:
        load(url)
    assert caught.value.text.count("WriteFile") == 1
    assert f"`tfimm-resolver inspect --ops {url}`" in caught.value.advice.command
    assert f"inspect('{url}')" in caught.value.advice.python


@pytest.mark.parametrize("way", WAYS)
def test_a_harmless_model_is_not_refused(way: str, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OPS", "refuse")
    assert WAYS[way](origin.put("/m.tar.gz", HARMLESS_ARCHIVE))


def test_only_a_policy_at_resolve_refuses_the_path(url: str) -> None:
    configure(OPS)
    assert os.path.isdir(tfimm_resolver.resolve(url))
    configure(AT_RESOLVE)
    with pytest.raises(PolicyError):
        tfimm_resolver.resolve(url)


def test_a_rule_counts_from_the_next_hit_on_and_during_a_download(url: str) -> None:
    with (
        tfimm_resolver.on_event(lambda event: configure(AT_RESOLVE) if event["event"] != "resolve.start" else None),
        pytest.raises(PolicyError),
    ):
        tfimm_resolver.resolve(url)
    for _ in range(3):
        configure(OPS)
        assert os.path.isdir(tfimm_resolver.resolve(url)) and os.path.isdir(tfimm_resolver.resolve(url))
        configure(AT_RESOLVE)
        with pytest.raises(PolicyError):
            tfimm_resolver.resolve(url)


@pytest.fixture
def _policy(project: Path, url: str) -> None:  # noqa: F811
    """A project whose models file refuses what the model does."""
    write(project, f'[models.lion]\nhandle = "{url}"\naliases = ["leo"]\n{OPS}\n')


@pytest.mark.usefixtures("_policy")
@pytest.mark.parametrize("way", WAYS)
class TestEachWayToTheModel:
    """A policy of a models file counts whichever way leads to the model."""

    def check(self, way: str, handle: str) -> None:
        with pytest.raises(PolicyError):
            WAYS[way](handle)

    @pytest.mark.parametrize("name", ["lion", "leo"])
    def test_by_its_name_and_its_alias(self, name: str, way: str) -> None:
        self.check(way, name)

    def test_by_its_handle_and_other_spellings_of_it(self, way: str, url: str) -> None:
        self.check(way, url)
        self.check(way, url.replace("/models/", "/other/../models/"))
        self.check(way, url.replace("http://", "HTTP://"))

    def test_from_the_cache(self, way: str, url: str, origin: Origin) -> None:
        tfimm_resolver.resolve(url)
        origin.pages.clear()
        self.check(way, url)
        self.check(way, "lion")

    def test_by_the_name_that_ls_prints(self, way: str, url: str) -> None:
        path = tfimm_resolver.resolve(url)
        sha1 = Path(path).name.partition(".")[0]
        with pytest.raises(PolicyError):
            load(sha1)

    def test_by_the_path_in_the_cache(self, way: str, url: str, tmp_path: Path) -> None:
        path = tfimm_resolver.resolve(url)
        with pytest.raises(PolicyError):
            load(path)
        (tmp_path / "link").symlink_to(path)
        with pytest.raises(PolicyError):
            load(str(tmp_path / "link"))

    def test_with_an_override_of_its_name_and_of_its_handle(self, way: str, url: str, tmp_path: Path) -> None:
        other = make_loading_model("/tmp/other").write(tmp_path / "other")
        with tfimm_resolver.using(models={"lion": str(other)}):
            self.check(way, "lion")
        with tfimm_resolver.using(models={url: str(other)}):
            self.check(way, url)
            self.check(way, "lion")

    def test_from_a_mirror(self, way: str, url: str, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
        mirror = origin.put(f"/mirror/{url.partition('://')[2]}", ARCHIVE)
        monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", f"{origin.url}/mirror")
        del origin.pages["/models/m.tar.gz"]
        assert mirror
        self.check(way, "lion")

    def test_from_a_bundle(self, way: str, url: str, tmp_path: Path, origin: Origin) -> None:
        tfimm_resolver.resolve(url)
        bundles.export([url], str(tmp_path / "m.bundle"))
        maintenance.remove([url])
        bundles.import_(str(tmp_path / "m.bundle"))
        origin.pages.clear()
        self.check(way, url)


@pytest.mark.parametrize("way", WAYS)
def test_a_mirror_in_the_models_file_is_the_same_model(way: str, origin: Origin, project: Path) -> None:  # noqa: F811
    import hashlib

    mirror, url = origin.put("/mirror.tar.gz", ARCHIVE), f"{origin.url}/gone.tar.gz"
    pin = hashlib.sha256(ARCHIVE).hexdigest()
    write(project, f'[models.lion]\nhandle = "{url}"\nsha256 = "{pin}"\nmirrors = ["{mirror}"]\n{OPS}\n')
    for handle in ("lion", mirror):
        with pytest.raises(PolicyError):
            WAYS[way](handle)


@pytest.mark.parametrize("way", WAYS)
def test_a_subdirectory_is_searched_and_the_top_with_all_models_in_it(way: str, origin: Origin) -> None:
    configure(OPS)
    url = origin.put("/tree.tar.gz", TREE)
    assert WAYS[way](f"{url}#subdirectory=a")
    for handle in (f"{url}#subdirectory=b", f"{url}#subdirectory=.", url):
        with pytest.raises(PolicyError):
            WAYS[way](handle)


@pytest.mark.parametrize("way", WAYS)
def test_a_prefix_refuses_what_was_fetched_from_there(way: str, url: str, origin: Origin, tmp_path: Path) -> None:
    configure(f'[[ops]]\nprefix = "{origin.url}/models/"\nrefuse = ["on-load-writes"]')
    with pytest.raises(PolicyError, match=r"ops 1 in .*config\.toml"):
        WAYS[way](url)
    with pytest.raises(PolicyError):
        load(tfimm_resolver.resolve(url))
    assert WAYS[way](origin.put("/elsewhere.tar.gz", ARCHIVE))


def test_a_prefix_that_is_allowed_is_not_refused(url: str, origin: Origin, tmp_path: Path) -> None:
    configure(f'[[ops]]\nrefuse = ["on-load-writes"]\n[[ops]]\nprefix = "{origin.url}/models/"\nallow = ["on-load-writes"]')
    assert load(url)
    other = make_loading_model("/tmp/other").write(tmp_path / "other")
    with tfimm_resolver.using(models={url: str(other)}), pytest.raises(PolicyError):
        load(url)


def test_cached_model_path_refuses_at_resolve(project: Path, url: str, tmp_path: Path) -> None:  # noqa: F811
    write(project, f'[models.lion]\nhandle = "{url}"\n{AT_RESOLVE}\n')
    assert tfimm_resolver.cached_model_path("lion") is None  # it is not cached
    configure("")
    with pytest.raises(PolicyError):
        tfimm_resolver.resolve("lion")
    with pytest.raises(PolicyError):
        tfimm_resolver.cached_model_path("lion")
    other = make_loading_model("/tmp/other").write(tmp_path / "other")
    with tfimm_resolver.using(models={"lion": str(other)}), pytest.raises(PolicyError):
        tfimm_resolver.cached_model_path("lion")


UNSEARCHED = {
    "damaged": {"saved_model.pb": b"\x12\xff"},
    "text": {"saved_model.pbtxt": b"meta_graphs {}"},
    "chunks": {"saved_model.cpb": b"x"},
    "metadata": {"saved_model.pb": HARMLESS, "keras_metadata.pb": b"\x0a\xff"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", UNSEARCHED)
def test_what_cannot_be_searched_is_refused_only_if_anything_is(name: str, way: str, origin: Origin) -> None:
    url = origin.put("/m.tar.gz", tar_gz(UNSEARCHED[name]))
    assert WAYS[way](url)
    configure(OPS)
    with pytest.raises(PolicyError, match="cannot be searched for operations"):
        WAYS[way](url)


def test_a_tree_that_is_too_deep_to_be_searched_is_refused(tmp_path: Path) -> None:
    make_loading_model().write(tmp_path / "tree" / "/".join(["d"] * (locate.MAX_DEPTH + 2)))
    assert load(str(tmp_path / "tree"))
    configure(OPS)
    with pytest.raises(PolicyError, match="too many directories"):
        load(str(tmp_path / "tree"))


def test_a_model_that_is_not_on_this_machine_is_refused() -> None:
    configure(OPS)
    with pytest.raises(PolicyError, match="not on this machine"):
        load("gs://bucket/model")


@pytest.mark.parametrize("way", WAYS)
def test_by_default_one_warning_says_what_is_written_on_load(way: str, url: str, caplog: pytest.LogCaptureFixture) -> None:
    operation_check._warned.clear()
    with caplog.at_level(logging.WARNING, "tfimm_resolver"):
        WAYS[way](url)
        WAYS[way](url)
        tfimm_resolver.resolve(url)
    assert [record.getMessage() for record in caplog.records] == [
        f"{url} writes files or uses the network when it is loaded:\n  write on load: WriteFile /tmp/planted (write)"
    ]


def test_resolve_alone_says_nothing(url: str, caplog: pytest.LogCaptureFixture) -> None:
    operation_check._warned.clear()
    with caplog.at_level(logging.WARNING, "tfimm_resolver"):
        tfimm_resolver.resolve(url)
    assert caplog.records == []


def test_a_wrong_setting_is_an_error_before_anything_is_fetched_twice(url: str) -> None:
    configure('ops = { refuse = ["everything"] }')
    with pytest.raises(ResolverError, match="unknown kind"):
        tfimm_resolver.resolve(url)


def test_the_names_of_a_hostile_model_are_escaped(tmp_path: Path) -> None:
    configure(OPS)
    path = make_loading_model("/tmp/\x1b[31m\n\u202e").write(tmp_path / "m")
    with pytest.raises(PolicyError) as caught:
        load(str(path))
    assert "\x1b" not in caught.value.text and "\u202e" not in caught.value.text


def test_the_command_line_has_an_exit_code_of_its_own(url: str, tmp_path: Path) -> None:
    configure(AT_RESOLVE)
    code, out, err = run_cli("resolve", "--json", url)
    assert code == 9 and json.loads(out)["models"][0]["error"]["code"] == "policy", err


@pytest.mark.parametrize(
    ("operation", "kinds"),
    [
        (Operation("write", "on load", "WriteFile", "x"), {"on-load-writes", "writes"}),
        (Operation("write", "unknown", "WriteFile", "x"), {"on-load-writes", "writes"}),
        (Operation("write", "on call", "WriteFile", "gs://b/x"), {"writes", "network"}),
        (Operation("read", "on load", "ReadFile", "x"), {"reads"}),
        (Operation("network", "on call", "RpcClient"), {"network"}),
        (Operation("python", "unknown", "Lambda"), {"python"}),
        (Operation("hidden-graph", "on call", "DatasetFromGraph"), {"hidden-graph"}),
    ],
    ids=lambda value: value.op + value.when.replace(" ", "") if isinstance(value, Operation) else "",
)
def test_an_operation_is_of_these_kinds(operation: Operation, kinds: set[str]) -> None:
    assert {kind for kind in KINDS if operation_check.matches(operation, kind)} == kinds


def test_the_handle_in_the_record_counts_too(tmp_path: Path) -> None:
    configure('[[ops]]\nprefix = "https://fixed.example/"\nrefuse = ["on-load-writes"]')
    path = str(make_loading_model().write(tmp_path / "m"))
    resolved = ResolvedPlan("source", Request.parse("https://moving.example/m"), InPlace(path))
    check = operation_check.make_check(resolved, ModelLocation(path, Record("https://fixed.example/m", "tree")))
    with pytest.raises(PolicyError):
        check.run(path)


def test_why_shows_what_is_refused_and_when(url: str) -> None:
    path = tfimm_resolver.resolve(url)
    assert "refuses" not in run_cli("why", url)[1]
    configure(OPS)
    code, out, _ = run_cli("why", url)
    assert code == 0 and out.startswith(f"{path}\n") and "refuses    on-load-writes at load (ops 1 in " in out
    assert "not loaded" in out and "is refused" in json.loads(run_cli("why", url, "--json")[1])["load_refused"]
    configure(AT_RESOLVE)
    code, out, err = run_cli("why", url)
    assert code == PolicyError.exit_code and out.startswith("no path: the model has operations that are refused")
    assert "refuses    on-load-writes at resolve (ops 1 in " in out and "is refused" in err and "not loaded" not in out
    code, out, _ = run_cli("why", url, "--json")
    facts = json.loads(out)
    assert code == PolicyError.exit_code and facts["path"] is None and facts["error"]["code"] == "policy"
    assert facts["load_refused"] is None and len(facts["operations_refused"]) == 1


def test_why_names_the_rule_for_a_model_that_it_does_not_refuse(origin: Origin) -> None:
    configure(AT_RESOLVE)
    url = origin.put("/m.tar.gz", HARMLESS_ARCHIVE)
    assert "refuses    on-load-writes at resolve" in run_cli("why", url)[1], "not cached"
    path = tfimm_resolver.resolve(url)
    code, out, _ = run_cli("why", url)
    assert code == 0 and out.startswith(f"{path}\n") and "refuses    on-load-writes at resolve" in out
