"""No way leads around a signature that is required; what is not signed never becomes visible, and what is signed does."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes import models_file
from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.hugging_face import HuggingFace
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.signing import (
    Key,
    make_bundle,
    make_certificate,
    make_key,
    make_statement,
    sign_files,
    trust_prefix,
    with_signature,
    write_certificates,
)
from tests.fakes.stores.gcs import Gcs
from tfimm_resolver import bundles, errors, maintenance, set_model_cache, using
from tfimm_resolver.cache import tiers
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record
from tfimm_resolver.errors import NotFoundError, SignatureError
from tfimm_resolver.manifest import SignedBy
from tfimm_resolver.resolution import signatures
from tfimm_resolver.resolution.request import Request
from tfimm_resolver.resolution.resolver import resolve, resolve_for_hub


class World:
    """A publisher who signs, a user who believes only that key, and what is published."""

    def __init__(self, origin: Origin, folder: Path) -> None:
        self.origin, self.folder = origin, folder
        self.key, self.foreign_key = make_key(folder, "team"), make_key(folder, "foreign")
        self.config = folder / "home/.config/tfimm_resolver/config.toml"
        self.url = f"{origin.url}/team/m/1"
        self.files = MODEL

    def publish(self, files: dict[str, bytes]) -> None:
        """Serve a model."""
        self.files = files
        self.origin.put_model("/team/m/1", tar_gz(files))
        self.origin.put("/team/m.tar.gz", tar_gz(files))

    def require(self, prefix: str = "", key: Key | None = None) -> None:
        """Require signatures of all models with a prefix, by default of everything that the publisher serves."""
        trust_prefix(self.config, prefix or f"{self.origin.url}/team/", f'{{ key = "{(key or self.key).public_path}" }}')


@pytest.fixture
def world(origin: Origin, tmp_path: Path, project: Path) -> World:
    return World(origin, tmp_path)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFace]:
    """A fake of Hugging Face, set as HF_ENDPOINT."""
    with HuggingFace() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


KINDS: dict[str, Callable[[World], dict[str, bytes]]] = {
    "unsigned": lambda world: MODEL,
    "by another key": lambda world: with_signature(world.foreign_key, MODEL),
    "a changed file": lambda world: with_signature(world.key, MODEL) | {"saved_model.pb": b"A graph"},
    "an extra file": lambda world: with_signature(world.key, MODEL) | {"assets/x": b""},
    "a missing file": lambda world: {
        name: data for name, data in with_signature(world.key, MODEL).items() if name != "variables/variables.index"
    },
    "a damaged signature": lambda world: {**MODEL, "model.sig": b"{"},
}

# Each way gets a world whose model is published, and returns a call that gets it once the signature is required.
Way = Callable[[World, pytest.MonkeyPatch], Callable[[], object]]


def get_by_url(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    world.require()
    return lambda: resolve(world.url)


def get_by_another_spelling(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    world.origin.put_model("/x/%2E%2E/%74eam/m/1", tar_gz(world.files))
    world.require()
    return lambda: resolve(world.url.replace("/team/", "/x/%2e%2e/%74eam/").replace("http://", "http://me:pass@"))


def get_by_another_spelling_of_the_port(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    world.require()
    return lambda: resolve(world.url.replace("127.0.0.1:", "127.1:00"))


def get_as_tensorflow_hub(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    world.require()
    return lambda: resolve_for_hub(world.url)


def get_for_an_archive(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    world.require()
    return lambda: resolve(f"{world.origin.url}/team/m.tar.gz#subdirectory=.")


def get_by_name(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    models_file.write(Path(), models_file.make_entry("half", world.url))
    world.require()
    return lambda: resolve("half")


def get_by_an_alias_with_a_signer(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    signer = f'signer = {{ key = "{world.key.public_path}" }}'
    models_file.write(Path(), models_file.make_entry("half", world.url, 'aliases = ["other"]', signer))
    return lambda: resolve("other")


def get_with_a_mirror_in_the_models_file(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    import hashlib

    archive = tar_gz(world.files)
    lines = [f'sha256 = "{hashlib.sha256(archive).hexdigest()}"', f'mirrors = ["{world.origin.url}/other/m.tar.gz"]']
    world.origin.put("/other/m.tar.gz", archive)
    world.origin.pages.pop("/team/m.tar.gz")
    models_file.write(Path(), models_file.make_entry("half", f"{world.origin.url}/team/m.tar.gz", *lines))
    world.require()
    return lambda: resolve("half")


def get_with_a_mirror_of_the_host(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    world.origin.put("/unreachable.example/team/m.tar.gz", tar_gz(world.files))
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", world.origin.url)
    world.require("https://unreachable.example/team/")
    return lambda: resolve("https://unreachable.example/team/m.tar.gz")


def get_with_an_overridden_url(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    set_model_cache(world.url, put_model(world.folder / "copy", world.files))
    world.require()
    return lambda: resolve(world.url)


def get_with_an_override_to_an_archive(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    (world.folder / "copy.tar.gz").write_bytes(tar_gz(world.files))
    set_model_cache(world.url, world.folder / "copy.tar.gz")
    world.require()
    return lambda: resolve(world.url)


def get_with_an_overridden_name(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    signer = f'signer = {{ key = "{world.key.public_path}" }}'
    models_file.write(Path(), models_file.make_entry("half", world.url, signer))
    set_model_cache(world.url, put_model(world.folder / "copy", world.files))
    return lambda: resolve("half")


def get_for_a_directory(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    world.require(f"{world.folder}/models/")
    path = put_model(world.folder / "models" / "half", world.files)
    os.symlink(path, world.folder / "link")
    return lambda: resolve(world.folder / "link")


def get_for_a_directory_by_its_name(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    world.require("~/.cache/tfimm/")
    put_model(world.folder / "home/.cache/tfimm/half", world.files)
    return lambda: resolve("half")


def get_for_what_was_cached_before(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    resolve(world.url)
    world.require()
    return lambda: resolve(world.url)


def get_for_what_was_cached_before_by_its_sha1(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    name = Path(resolve(world.url)).name
    world.require()
    return lambda: resolve(name)


def get_for_what_was_cached_before_by_its_path(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    path = resolve(world.url)
    world.require()
    return lambda: resolve(path)


def get_for_what_was_cached_with_a_query(world: World, _: pytest.MonkeyPatch) -> Callable[[], object]:
    world.origin.put("/team/m.tar.gz?token=secret", tar_gz(world.files))
    resolve(f"{world.origin.url}/team/m.tar.gz?token=secret")
    world.require()
    return lambda: resolve(f"{world.origin.url}/team/m.tar.gz?…")


def get_for_the_copy_of_tensorflow_hub(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    root = Path(os.environ["TFHUB_CACHE_DIR"])
    put_model(root / entry_name_for_key(world.url), world.files)
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    world.require()
    return lambda: resolve(world.url)


def get_for_a_copy_in_an_extra_root(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    root = Path(resolve(world.url)).parent
    root.rename(world.folder / "extra")
    world.require()
    record = world.folder / "extra" / (entry_name_for_key(world.url) + DESCRIPTOR_SUFFIX)
    forged = Record.parse(record.read_text(), record.name)._replace(signed_by=make_record_of(world.key))
    record.write_text(forged.to_text())  # by the owner of that root
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(world.folder / "extra"))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    return lambda: resolve(world.url)


def get_for_what_is_imported(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    bundles.export([world.url], world.folder / "bundle.tar")
    world.require()
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(world.folder / "far"))
    return lambda: bundles.import_(world.folder / "bundle.tar")


def get_for_what_is_imported_for_a_name(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    exported = bundles.export([world.url], world.folder / "bundle.tar")
    signer = f'signer = {{ key = "{world.key.public_path}" }}'
    models_file.write(Path(), models_file.make_entry("half", world.url, signer))
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(world.folder / "far"))
    return lambda: bundles.import_(world.folder / "bundle.tar", sha256=exported.sha256)


def get_uncompressed(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[], object]:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    world.origin.put("/team/m/1?tf-hub-format=uncompressed", b"gs://bucket/m/1", status=303)
    world.require()
    return lambda: resolve(world.url)


def make_record_of(key: Key) -> SignedBy:
    """Return what a record says of a valid signature by a key."""
    from tfimm_resolver.trust.keys import hash_der, list_public_keys

    return SignedBy("key", hash_der(list_public_keys(str(key.public_path))[0]))


WAYS: dict[str, Way] = {name.removeprefix("get_"): way for name, way in sorted(globals().items()) if name.startswith("get_")}


def list_visible(folder: Path) -> set[str]:
    """Return the names in the cache that are visible."""
    return {name for name in os.listdir(folder) if not name.startswith(".")} if folder.is_dir() else set()


@pytest.mark.parametrize("way", WAYS)
def test_no_way_leads_around_a_signature(world: World, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    world.publish(with_signature(world.foreign_key, MODEL))
    call = WAYS[way](world, monkeypatch)
    before = list_visible(cache := Path(os.environ["TFHUB_CACHE_DIR"]))
    for _ in range(2):
        with pytest.raises(SignatureError, match="has to be signed by the key") as caught:
            call()
        assert caught.value.exit_code == 10 and caught.value.fix
    after = {name for name in list_visible(cache) if "descriptor" in name or len(name) == 40}
    assert after <= before, "something became visible"


@pytest.mark.parametrize("way", WAYS)
def test_a_model_with_the_signature_is_returned_by_each_way(world: World, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    world.publish(with_signature(world.key, MODEL))
    call = WAYS[way](world, monkeypatch)
    for _ in range(2):
        found = call()
    path = found if isinstance(found, str) else found[0].path
    assert files_in(path) == world.files


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_signed_does_not_become_visible(world: World, kind: str) -> None:
    world.publish(KINDS[kind](world))
    world.require()
    with pytest.raises(SignatureError) as caught:
        resolve(world.url)
    assert world.url in caught.value.text and str(world.key.public_path) in caught.value.text
    assert str(world.config) in caught.value.text
    assert maintenance.list_models() == []
    world.publish(with_signature(world.key, MODEL))
    assert files_in(resolve(world.url)) == world.files


def test_a_refresh_that_is_not_signed_leaves_the_signed_copy(world: World) -> None:
    world.publish(with_signature(world.key, MODEL))
    world.require()
    path = resolve(world.url)
    world.publish({**MODEL, "saved_model.pb": b"another graph"})
    with pytest.raises(SignatureError, match="the cached copy is unchanged"):
        resolve(world.url, refresh=True)
    assert resolve(world.url) == path and (Path(path) / "saved_model.pb").read_bytes() == b"a graph"


def test_a_hit_is_not_verified_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(with_signature(world.key, MODEL))
    world.require()
    resolve(world.url)
    (model,) = maintenance.list_models()
    assert model.facts()["signed_by"]["kind"] == "key"
    code = """
        import sys, tfimm_resolver
        tfimm_resolver.resolve(sys.argv[1])
        assert not {"cryptography", "tfimm_resolver.trust.verification"} & set(sys.modules), "it was verified again"
    """
    import textwrap

    subprocess.run([sys.executable, "-c", textwrap.dedent(code), world.url], check=True, timeout=60)


def test_another_key_counts_at_once(world: World) -> None:
    world.publish(with_signature(world.key, MODEL))
    world.require()
    resolve(world.url)
    world.require(key=world.foreign_key)
    with pytest.raises(SignatureError):
        resolve(world.url)
    world.require()
    resolve(world.url)
    changed_ns = world.key.public_path.stat().st_mtime_ns
    world.key.public_path.write_bytes(world.foreign_key.public_path.read_bytes())
    os.utime(world.key.public_path, ns=(changed_ns, changed_ns))  # as on a disk whose time stamps are coarse
    with pytest.raises(SignatureError):
        resolve(world.url)


def test_the_models_file_and_the_settings_file_both_count(world: World) -> None:
    world.publish(with_signature(world.key, MODEL))
    world.require(key=world.foreign_key)
    signer = f'signer = {{ key = "{world.key.public_path}" }}'
    models_file.write(Path(), models_file.make_entry("half", world.url, signer))
    with pytest.raises(SignatureError, match="foreign"):
        resolve("half")


def test_verify_says_that_a_signer_in_the_models_file_is_required_for_the_name_only(world: World) -> None:
    world.publish(with_signature(world.key, MODEL))
    signer = f'signer = {{ key = "{world.foreign_key.public_path}" }}'
    models_file.write(Path(), models_file.make_entry("half", world.url, signer))
    assert files_in(resolve(world.url))
    with pytest.raises(SignatureError, match=r"\(half in [^,]*tfimm-models.toml\)"):
        resolve("half")
    (result,) = maintenance.verify()
    assert result.state == "unsigned"
    assert "(for the name half in " in result.faults[0] and result.faults[0].endswith("not for its handle alone)")
    world.require(key=world.foreign_key)  # a prefix counts for the handle as well
    with pytest.raises(SignatureError):
        resolve(world.url)


def test_a_key_that_is_gone_does_not_keep_the_others_from_being_verified(world: World) -> None:
    other = world.origin.put("/other.tar.gz", tar_gz(MODEL))
    resolve(other)
    world.publish(with_signature(world.key, MODEL))
    models_file.write(Path(), models_file.make_entry("half", world.url, f'signer = {{ key = "{world.key.public_path}" }}'))
    resolve("half")
    Path(world.key.public_path).unlink()
    results = {one.model.name: one for one in maintenance.verify()}
    assert sorted(one.state for one in results.values()) == ["ok", "unsigned"]
    (failed,) = [one for one in results.values() if one.state == "unsigned"]
    assert str(world.key.public_path) in failed.faults[0] and "half" in failed.faults[0]


@pytest.mark.parametrize("is_url", [True, False])
def test_a_signature_beside_the_model(world: World, is_url: bool) -> None:
    world.publish(MODEL)
    Path("half.sig").write_bytes(sign_files(world.key, MODEL))
    url = world.origin.put("/half.sig", sign_files(world.key, MODEL))
    lines = [f'signer = {{ key = "{world.key.public_path}" }}', f'signature = "{url if is_url else "half.sig"}"']
    models_file.write(Path(), models_file.make_entry("half", world.url, *lines))
    assert files_in(resolve("half")) == MODEL
    requests = len(world.origin.requests)
    resolve("half")
    assert len(world.origin.requests) == requests
    (result,) = maintenance.verify()
    assert result.state == "ok" and result.signed_by is not None
    world.origin.pages.pop("/half.sig")
    Path("half.sig").unlink()
    assert [one.state for one in maintenance.verify()] == ["unsigned"]
    with pytest.raises(SignatureError, match=r"half\.sig"):
        resolve("half", refresh=True)


def test_a_name_with_a_signature_has_no_path_without_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.publish(MODEL)
    signer = f'signer = {{ key = "{world.key.public_path}" }}'
    models_file.write(Path(), models_file.make_entry("half", world.url, signer))
    resolve(world.url)  # by its URL, which the models file does not rule
    assert tfimm_resolver.cached_model_path("half") is None
    assert "has to be signed" in caplog.text
    path = put_model(world.folder / "copy", MODEL)
    with using(models={"half": path}):
        assert tfimm_resolver.cached_model_path("half") is None
    put_model(world.folder / "copy", with_signature(world.key, MODEL))
    with using(models={"half": path}):
        assert tfimm_resolver.cached_model_path("half") == str(path)


def test_a_directory_that_changes_is_verified_again(world: World) -> None:
    path = put_model(world.folder / "models" / "half", with_signature(world.key, MODEL))
    world.require(f"{world.folder}/models/")
    resolve(path)
    (Path(path) / "saved_model.pb").write_bytes(b"A graph")
    with pytest.raises(SignatureError, match=r"changed: saved_model\.pb"):
        resolve(path)


def test_a_directory_that_is_a_link_is_refused(world: World) -> None:
    path = Path(put_model(world.folder / "models" / "half", with_signature(world.key, MODEL)))
    world.require(f"{world.folder}/models/")
    (world.folder / "elsewhere").mkdir()
    (path / "assets").symlink_to(world.folder / "elsewhere")
    with pytest.raises(SignatureError, match="link to a directory"):
        resolve(path)


def test_a_branch_whose_newest_commit_is_not_signed_is_an_error(world: World, host: HuggingFace) -> None:
    host.push("team/models", with_signature(world.key, MODEL))
    world.require("hf://team/")
    path = resolve("hf://team/models")
    host.push("team/models", {**MODEL, "saved_model.pb": b"another graph"})
    with pytest.raises(SignatureError):
        resolve("hf://team/models")
    assert files_in(path)["saved_model.pb"] == b"a graph" and len(maintenance.list_models()) == 1


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_bucket_as_cache_is_filled_only_with_what_is_signed(
    world: World, gcs: Gcs, monkeypatch: pytest.MonkeyPatch, is_cached: bool
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    world.publish(MODEL)
    if is_cached:
        resolve(world.url)
    world.require()
    with pytest.raises(SignatureError):
        resolve(world.url)
    if not is_cached:
        assert maintenance.list_models() == []
    world.publish(with_signature(world.key, MODEL))
    path = resolve(world.url, refresh=True)
    assert path.startswith("gs://") and resolve(world.url) == path
    assert [one.state for one in maintenance.verify()] == ["ok"]


def test_a_bucket_behind_the_cache_is_not_believed(world: World, gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    monkeypatch.setenv("TFIMM_RESOLVER_LOCAL_COPY", "1")
    world.publish(MODEL)
    resolve(world.url)
    world.require()
    monkeypatch.setenv("TFIMM_HOME", str(world.folder / "other_machine"))
    with pytest.raises(SignatureError):
        resolve(world.url)
    assert [model for model in maintenance.list_models() if not model.other_root] == []


def test_a_host_without_the_model_is_not_replaced_by_another_resolver(world: World) -> None:
    world.require()
    resolved = tfimm_resolver.resolution.rules.match_rule(tfimm_resolver.resolution.request.Request.parse(world.url))
    from tfimm_resolver.resolution.other_resolvers import _is_allowed

    assert not _is_allowed(resolved, NotFoundError("it is not there"))
    world.config.unlink()
    assert _is_allowed(resolved, NotFoundError("it is not there"))


def test_what_a_bundle_says_of_its_signer_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(MODEL)
    resolve(world.url)
    cache = tiers.open_cache()
    record = cache.find_named(entry_name_for_key(world.url))
    assert record is not None
    cache.root.write(record.tree + DESCRIPTOR_SUFFIX, record._replace(signed_by=make_record_of(world.key)).to_text())
    bundles.export([world.url], world.folder / "bundle.tar")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(world.folder / "far"))
    bundles.import_(world.folder / "bundle.tar")
    assert [model.facts()["signed_by"] for model in maintenance.list_models()] == [None]
    world.require()
    with pytest.raises(SignatureError):
        resolve(world.url)


@pytest.mark.parametrize("is_valid", [True, False])
def test_a_pin_is_satisfied_by_a_bundle_only_with_its_hash_or_signature(
    world: World, monkeypatch: pytest.MonkeyPatch, is_valid: bool
) -> None:
    import hashlib

    world.publish(MODEL)
    url = f"{world.origin.url}/team/m.tar.gz"
    pin = hashlib.sha256(tar_gz(MODEL)).hexdigest()
    bundles.export([url], world.folder / "bundle.tar")
    key = world.key if is_valid else world.foreign_key
    result = maintenance.sign(world.folder / "bundle.tar", key.path)
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(world.folder / "far"))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    bundles.import_(world.folder / "bundle.tar")
    with pytest.raises(errors.OfflineError, match="only a claim"):
        resolve(url, sha256=pin)
    signer = {"key": str(world.key.public_path)}
    if is_valid:
        bundles.import_(world.folder / "bundle.tar", signature=result.path, signer=signer)
        assert files_in(resolve(url, sha256=pin)) == MODEL
    else:
        with pytest.raises(SignatureError, match="is not signed by the key"):
            bundles.import_(world.folder / "bundle.tar", signature=result.path, signer=signer, refresh=True)
        with pytest.raises(errors.OfflineError):
            resolve(url, sha256=pin)


def test_a_signature_of_another_bundle_imports_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.publish(MODEL)
    bundles.export([world.url], world.folder / "one.tar")
    world.publish({**MODEL, "saved_model.pb": b"another graph"})
    resolve(world.url, refresh=True)
    bundles.export([world.url], world.folder / "two.tar")
    signature = maintenance.sign(world.folder / "one.tar", world.key.path).path
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(world.folder / "far"))
    with pytest.raises(SignatureError, match="is not signed by the key"):
        bundles.import_(world.folder / "two.tar", signature=signature, signer={"key": str(world.key.public_path)})
    assert maintenance.list_models() == []


def test_settings_that_are_not_valid_are_an_error_for_every_model(world: World) -> None:
    world.publish(MODEL)
    resolve(world.url)
    world.config.parent.mkdir(parents=True)
    world.config.write_text("[[trsut]]\n")
    with pytest.raises(errors.HandleError, match="Did you mean trust"):
        resolve(world.url)


def test_why_names_the_signer_and_what_is_required(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    from tfimm_resolver.cli.app import main

    world.publish(with_signature(world.key, MODEL))
    world.require()
    resolve(world.url)
    assert main(["why", world.url, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["signed_by"]["kind"] == "key" and str(world.key.public_path) in facts["signature_required"][0]
    assert main(["verify"]) == 0 and "signed by key sha256:" in capsys.readouterr().out
    world.require(key=world.foreign_key)
    assert main(["why", world.url]) == 10
    assert "lacks a signature" in capsys.readouterr().out
    assert main(["verify", "--json"]) == 10
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert model["state"] == "unsigned" and model["faults"] and model["signed_by"] is None
    assert main(["verify"]) == 10 and "unsigned" in capsys.readouterr().out


def test_sync_and_verify_have_one_word_for_a_signature_that_is_missing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    from tfimm_resolver.cli.app import main

    world.publish(MODEL)
    resolve(world.url)
    models_file.write(Path(), models_file.make_entry("half", world.url, f'signer = {{ key = "{world.key.public_path}" }}'))
    assert main(["verify"]) == 10
    for arguments in (["sync", "--check"], ["sync"]):
        capsys.readouterr()
        assert main([*arguments, "--json"]) == 10
        found = json.loads(capsys.readouterr().out)
        assert (found["models"][0]["state"], found["error"]["code"]) == ("unsigned", "signature")
    world.publish(with_signature(world.key, MODEL))
    assert main(["sync"]) == 0 and capsys.readouterr().out.startswith("fetched")


def test_a_path_in_the_cache_is_that_of_its_record(world: World) -> None:
    world.publish(MODEL)
    path = resolve(world.url)
    for inner in (path, f"{path}/variables", f"{path}/variables/../variables"):
        assert {record.handle for record in signatures.list_records(inner)} == {world.url}
    assert [*signatures.list_records(str(world.folder))] == [*signatures.list_records("gs://bucket/x")] == []


@pytest.mark.parametrize("inner", ["a" * 40, f"{'a' * 40}.{'b' * 8}", f"assets/{'a' * 40}/{'c' * 40}"])
@pytest.mark.parametrize("is_link", [False, True])
def test_a_record_in_a_model_does_not_hide_that_of_the_model(world: World, inner: str, is_link: bool) -> None:
    forged = {f"{part}{DESCRIPTOR_SUFFIX}": b"Module: https://innocent.example/m/1\n" for part in list_outer(inner)}
    world.publish({**MODEL, **{f"{inner}/{name}": data for name, data in MODEL.items()}, **forged})
    path = f"{resolve(world.url)}/{inner}"
    if is_link:
        os.symlink(path, world.folder / "link")
        path = str(world.folder / "link")
    handles = {handle.text for handle in signatures.list_handles(signatures.plan_path(Request.parse(path), path))}
    assert {world.url, "https://innocent.example/m/1"} <= handles
    world.require()
    with pytest.raises(SignatureError, match="contains no signature"):
        resolve(path)


def list_outer(path: str) -> Iterator[str]:
    """Yield a relative path and those of the directories around it, without what follows a dot in their names."""
    parts = path.split("/")
    for count in range(len(parts)):
        yield "/".join(part.partition(".")[0] for part in parts[: count + 1])


def test_a_link_in_the_place_of_a_cached_model_keeps_its_record(world: World) -> None:
    world.publish(MODEL)
    path = Path(resolve(world.url))
    path.rename(world.folder / "elsewhere")
    path.symlink_to(world.folder / "elsewhere")
    world.require()
    with pytest.raises(SignatureError, match="contains no signature"):
        resolve(path)


EXTRA_CHANGES: dict[str, Callable[[Path], object]] = {
    "a changed file": lambda tree: (tree / "saved_model.pb").write_bytes(b"A graph"),
    "an extra file": lambda tree: (tree / "assets.extra").write_bytes(b"x"),
    "a missing file": lambda tree: (tree / "variables" / "variables.index").unlink(),
}


@pytest.mark.parametrize("is_verified_before", [False, True])
@pytest.mark.parametrize("change", EXTRA_CHANGES)
def test_the_files_of_an_extra_root_are_hashed_whatever_their_record_has(
    world: World, monkeypatch: pytest.MonkeyPatch, change: str, is_verified_before: bool
) -> None:
    world.publish(with_signature(world.key, MODEL))
    call = get_for_a_copy_in_an_extra_root(world, monkeypatch)
    tree = world.folder / "extra" / entry_name_for_key(world.url)
    if is_verified_before:
        assert call() == str(tree)
    record = tree.with_name(tree.name + DESCRIPTOR_SUFFIX)
    known = Record.parse(record.read_text(), tree.name)
    EXTRA_CHANGES[change](tree)
    assert known.files is not None
    present = tuple(file for file in known.files if (tree / file.path).exists())
    record.write_text(known._replace(files=present).to_text())  # the hashes stay those that were signed
    with pytest.raises(SignatureError, match="has to be signed by the key"):
        call()
    assert {one.state for one in maintenance.verify()} <= {"unsigned", "damaged"}


@pytest.mark.parametrize("is_extra", [True, False])
def test_only_an_own_record_keeps_an_expired_certificate_valid(
    world: World, monkeypatch: pytest.MonkeyPatch, is_extra: bool
) -> None:
    root = make_certificate("root", world.key, is_authority=True, days=(-30, 30))
    leaf = make_certificate("team", world.foreign_key, (root, world.key), days=(-20, -10))
    path = write_certificates(world.folder / "ca.pem", root)
    bundle = make_bundle(world.foreign_key, make_statement(MODEL), [leaf, root])
    world.publish({**MODEL, "model.sig": json.dumps(bundle).encode()})
    tree = Path(resolve(world.url))
    record = tree.with_name(tree.name + DESCRIPTOR_SUFFIX)
    known = Record.parse(record.read_text(), tree.name)
    verified_at = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=15)).isoformat()
    signed_by = make_record_of(world.key)._replace(verified_at=verified_at)
    record.write_text(known._replace(signed_by=signed_by).to_text())
    if is_extra:
        tree.parent.rename(world.folder / "extra")
        monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(world.folder / "extra"))
        monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    trust_prefix(world.config, f"{world.origin.url}/team/", f'{{ certificate_chain = "{path}" }}')
    if is_extra:
        with pytest.raises(SignatureError, match="certificate"):
            resolve(world.url)
    else:
        resolve(world.url)
    assert [one.state for one in maintenance.verify()] == ["unsigned" if is_extra else "ok"]
