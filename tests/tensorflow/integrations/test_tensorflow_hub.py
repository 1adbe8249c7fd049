"""tensorflow_hub tries this package first, gets the caches and errors that it expects, and can be imported again."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, REAL, files_in, tar_gz
from tests.fakes.fork_server import ForkServer
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tests.tensorflow.models import save_line
from tfimm_resolver.errors import HandleError
from tfimm_resolver.integrations.tensorflow_hub import HubResolver


@pytest.fixture
def hub() -> Iterator[Any]:
    """tensorflow_hub with our resolver registered, before and after each test."""
    import tensorflow_hub

    tfimm_resolver.register()
    yield tensorflow_hub
    tfimm_resolver.register()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of a TF2 SavedModel of 2 x + 1."""
    return tar_gz(files_in(save_line(tmp_path_factory.mktemp("models") / "line")))


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that is installed except setuptools, as in a new environment today."""
    import tensorflow

    folder = tmp_path_factory.mktemp("bare")
    for location in Path(tensorflow.__file__).parents[1].iterdir():
        if not re.match(r"pkg_resources|setuptools|_distutils_hack|__editable__|.*\.pth$", location.name):
            (folder / location.name).symlink_to(location)
    return folder


@pytest.fixture(scope="module")
def bare_server(site_packages: Path) -> Iterator[ForkServer]:
    """A process that can import only those packages and this one, and has imported TensorFlow."""
    path = os.pathsep.join(map(str, [site_packages, Path(tfimm_resolver.__file__).parents[1]]))
    with ForkServer("tensorflow", options=["-S"], PYTHONPATH=path) as server:
        yield server


def _run_in(*path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a snippet that can import only from ``path``, and this package."""
    return subprocess.run(
        [sys.executable, "-S", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, Path(tfimm_resolver.__file__).parents[1]]))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _get_positions(hub: Any) -> list[int]:
    """Return the positions of our resolvers in the order in which tensorflow_hub tries them."""
    resolvers = reversed(hub.registry.resolver._impls)
    return [position for position, resolver in enumerate(resolvers) if type(resolver).__name__ == "HubResolver"]


def _read_record(cache_dir: Path, handle: str) -> dict[str, Any]:
    """Read our record in the cache; raises JSONDecodeError if tensorflow_hub itself fetched the model."""
    descriptor = cache_dir / f"{hashlib.sha1(handle.encode()).hexdigest()}.descriptor.txt"
    facts: dict[str, Any] = json.loads(descriptor.read_text().partition("\n\n")[2])
    return facts


@pytest.mark.parametrize("imports", ["import tfimm_resolver, tensorflow_hub", "import tensorflow_hub, tfimm_resolver"])
def test_is_registered_first_and_once_however_often_either_package_is_imported(imports: str, server: ForkServer) -> None:
    output = server.run(f"""
        import importlib, os, sys
        {imports}
        def get_positions():
            names = [type(resolver).__name__ for resolver in reversed(tensorflow_hub.registry.resolver._impls)]
            return [position for position, name in enumerate(names) if name == "HubResolver"]
        print("imported", get_positions())
        importlib.reload(tensorflow_hub)
        print("hub reloaded", get_positions())
        importlib.reload(tfimm_resolver)
        print("package reloaded", get_positions())
        importlib.reload(sys.modules["tfimm_resolver.integrations.tensorflow_hub"])
        importlib.reload(tfimm_resolver)
        print("integration reloaded", get_positions())
        for name in [name for name in sys.modules if name.partition(".")[0] == "tfimm_resolver"]:
            del sys.modules[name]
        import tfimm_resolver
        print("package imported again", get_positions())
        importlib.reload(tensorflow_hub)
        print("hub reloaded", get_positions())
        """)
    steps = ["imported", "hub reloaded", "package reloaded", "integration reloaded", "package imported again", "hub reloaded"]
    assert output.splitlines() == [f"{step} [0]" for step in steps]


def test_does_not_import_tensorflow() -> None:
    output = run("""
        import os, sys
        import tfimm_resolver
        assert not {"tensorflow", "tensorflow_hub", "keras", "absl"} & set(sys.modules)
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        import tensorflow
        assert "tensorflow_hub" not in sys.modules
        print(tensorflow.keras.layers.Layer.__module__.partition(".")[0])
        """)
    assert output == "tf_keras"


def test_registers_and_unregisters_on_request(hub: Any, origin: Origin, cache_dir: Path) -> None:
    url = origin.put_model("/model/1", REAL.read_bytes())
    for _ in range(2):
        tfimm_resolver.unregister()
        assert _get_positions(hub) == []
    assert len(hub.registry.resolver._impls) >= 4, "tensorflow_hub's own resolvers are gone as well"
    hub.resolve(url)
    with pytest.raises(json.JSONDecodeError):
        _read_record(cache_dir, url)
    for _ in range(2):
        tfimm_resolver.register()
        assert _get_positions(hub) == [0]


def test_stays_unregistered_if_unregistered_before_tensorflow_hub_is_imported(server: ForkServer) -> None:
    output = server.run("""
        import tfimm_resolver
        tfimm_resolver.unregister()
        import tensorflow_hub
        print([type(resolver).__module__ for resolver in tensorflow_hub.registry.resolver._impls].count(
            "tfimm_resolver.integrations.tensorflow_hub"))
        """)
    assert output == "0"


def test_survives_handles_that_fail_when_looked_at() -> None:
    class Hostile:
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError(name)

    class HostileText(str):
        __slots__ = ()

        def strip(self, *_: object) -> str:
            raise RuntimeError("strip")

    for handle in (Hostile(), HostileText("https://tfhub.dev/m/1")):
        assert HubResolver().is_supported(handle) is False


@pytest.mark.parametrize(
    "handle",
    [
        *(None, b"https://tfhub.dev/m/1", 7, 2.5, ["https://tfhub.dev/m/1"], {}, Path("/tmp"), object()),
        "",
        " ",
        "\0",
        "https://tfhub.dev/\0",
        "\ud800",
        "/tmp/\udcff.tar.gz",
        "x" * 1_000_000,
        "/x" * 500_000 + ".tar.gz",
        "https://",
        "https://[::1",
        "https://[",
        "://",
        "file://",
        "file://host/path.tar",
        "unknown://model/1",
        "model#sha256=xyz",
        "~no_such_user/m.tar.gz",
        ".",
        "..",
        "\\",
    ],
    ids=lambda handle: repr(handle[:24]) if isinstance(handle, str) else type(handle).__name__,
)
def test_does_not_support_invalid_handles(handle: object) -> None:
    assert HubResolver().is_supported(handle) is False


@pytest.mark.parametrize("fragment", ["#sha256=0123", "#sha256=", "#sha256=" + "g" * 64, "#subdirectory=", "#sha256=x&y=z"])
def test_a_misspelt_pin_is_an_error_and_not_ignored(fragment: str, hub: Any, origin: Origin) -> None:
    url = origin.put("/m.tar.gz", tar_gz()) + fragment
    assert HubResolver().is_supported(url) is True
    with pytest.raises(HandleError):
        hub.resolve(url)
    assert origin.requests == []


def test_supports_urls_overrides_archives_and_existing_names(tmp_path: Path) -> None:
    is_supported = HubResolver().is_supported
    for url in ("https://tfhub.dev/google/model/1", "http://host/m.tar.gz", "gs://bucket/model", "gs://bucket/m.tgz"):
        assert is_supported(url) is True
    archive = tmp_path / "model.tar.gz"
    assert is_supported(str(archive)) is False
    archive.write_bytes(tar_gz())
    assert is_supported(str(archive)) is True
    assert is_supported(archive) is False, "hub.load accepts strings only"
    assert is_supported(archive.as_uri()) is True
    assert is_supported("mapped") is is_supported("resnet18") is is_supported("half_written") is False
    tfimm_resolver.set_model_cache("mapped", tmp_path / "anywhere")
    for name, file in (("resnet18", "saved_model.pb"), ("half_written", "keras_metadata.pb")):
        (Path(tfimm_resolver.get_dir()) / name).mkdir(parents=True)
        (Path(tfimm_resolver.get_dir()) / name / file).write_bytes(b"a graph")
    assert is_supported("mapped") is is_supported("resnet18") is True
    assert is_supported("half_written") is False


def test_leaves_urls_to_tensorflow_hub_if_we_cannot_use_its_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    assert HubResolver().is_supported("https://tfhub.dev/google/model/1") is True
    monkeypatch.setitem(sys.modules, "obstore", None)  # as if the extra were not installed
    assert HubResolver().is_supported("https://tfhub.dev/google/model/1") is False
    tfimm_resolver.set_model_cache("mapped", tmp_path)
    assert HubResolver().is_supported("mapped") is True


def test_leaves_paths_to_tensorflow_hub(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    missing = (f"{tmp_path}/x", "./foo/", "foo/bar", "no_such_name", "./missing.tar.gz")
    for handle in missing:
        assert HubResolver().is_supported(handle) is False
        with pytest.raises(OSError, match=rf"^{re.escape(handle)} does not exist\.$"):
            hub.resolve(handle)
    (tmp_path / "foo" / "bar").mkdir(parents=True)
    for handle in (f"{tmp_path}/foo", "./foo/", "foo/bar", "foo"):
        assert hub.resolve(handle) == handle


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>no model here</html>", tar_gz()[:150], tar_gz()[:-40] + b"\0" * 40],
    ids=["empty", "a page", "truncated", "corrupt"],
)
def test_reports_a_corrupt_archive_as_tensorflow_hub_does(body: bytes, hub: Any, origin: Origin, tmp_path: Path) -> None:
    archive = tmp_path / "model.tar.gz"
    archive.write_bytes(body)
    for handle in (origin.put_model("/broken/1", body), str(archive)):
        with pytest.raises(OSError, match=f"^{re.escape(handle)} does not appear to be a valid module\\.$") as caught:
            hub.resolve(handle)
        assert isinstance(caught.value.__cause__, tfimm_resolver.errors.ArchiveError)
        assert str(caught.value.__cause__) in "".join(traceback.format_exception(caught.value))
    assert not list((tmp_path / "cache").iterdir())


def test_shows_no_secret_of_a_handle_with_a_corrupt_archive(hub: Any, origin: Origin) -> None:
    secret = "s".join(["3cr3t"] * 4)
    origin.put(f"/broken.tar.gz?signature={secret}", b"junk")
    with pytest.raises(OSError, match=r"/broken\.tar\.gz\?… does not appear to be a valid module\.$") as caught:
        hub.resolve(f"{origin.url}/broken.tar.gz?signature={secret}")
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_raises_other_errors_unchanged(hub: Any, origin: Origin) -> None:
    with pytest.raises(tfimm_resolver.errors.NotFoundError, match="404") as caught:
        hub.resolve(f"{origin.url}/missing/1")
    assert "valid module" not in str(caught.value)


def test_resolves_archives_that_are_not_saved_models(hub: Any, origin: Origin) -> None:
    """tensorflow_hub accepts them too: some publishers distribute vocabularies that way."""
    path = hub.resolve(origin.put_model("/words/1", tar_gz({"vocabulary.txt": b"a\nb\n"})))
    assert files_in(path) == {"vocabulary.txt": b"a\nb\n"}


def test_resolves_overrides_and_names_for_tensorflow_hub(hub: Any, origin: Origin, tmp_path: Path) -> None:
    by_name = Path(tfimm_resolver.get_dir()) / "resnet18"
    by_name.mkdir(parents=True)
    (by_name / "saved_model.pb").write_bytes(b"a graph")
    assert hub.resolve("resnet18") == str(by_name)
    tfimm_resolver.set_model_cache(f"{origin.url}/m/1", by_name)
    assert hub.resolve(f"{origin.url}/m/1/") == str(by_name)
    assert origin.requests == []


def test_serves_resolve_load_and_keras_layer(hub: Any, origin: Origin, cache_dir: Path, line: bytes) -> None:
    import tensorflow as tf
    import tf_keras

    url = origin.put_model("/line/1", line)
    path = hub.resolve(url)
    assert path == str(cache_dir / hashlib.sha1(url.encode()).hexdigest())
    assert {file["path"] for file in _read_record(cache_dir, url)["files"]} == set(files_in(path))

    url = origin.put_model("/line/2", line)
    assert hub.load(url)(tf.constant([1.0, 2.0])).numpy().tolist() == [3.0, 5.0]
    assert _read_record(cache_dir, url)["handle"] == url

    url = origin.put_model("/line/3", line)
    model = tf_keras.Sequential([hub.KerasLayer(url, load_options=tfimm_resolver.load_options(url))])
    assert model(tf.constant([1.0, 2.0])).numpy().tolist() == [3.0, 5.0]
    assert _read_record(cache_dir, url)["handle"] == url


def test_fetches_and_runs_a_module_of_2019(hub: Any, origin: Origin, cache_dir: Path) -> None:
    import tensorflow as tf

    packed = REAL.read_bytes()
    for handle in (origin.put_model("/half_plus_two/1", packed), origin.put("/half.tar.gz", packed), str(REAL)):
        path = hub.resolve(handle)
        assert Path(path).parent == cache_dir
        assert set(files_in(path)) >= {"saved_model.pb", "tfhub_module.pb", "variables/variables.index"}
        model = hub.load(handle)
        assert model._is_hub_module_v1
        assert model.signatures["default"](tf.constant([1.0, 2.0, 3.0]))["default"].numpy().tolist() == [2.5, 3.0, 3.5]
    assert origin.requests == ["/half_plus_two/1?tf-hub-format=compressed", "/half.tar.gz"]


@pytest.mark.parametrize("path", ["/half_plus_two/1", "/half_plus_two.tar.gz"])
def test_uses_models_cached_by_plain_tensorflow_hub(path: str, hub: Any, origin: Origin, cache_dir: Path) -> None:
    url = origin.put_model(path, REAL.read_bytes())
    origin.put(path, REAL.read_bytes())
    tfimm_resolver.unregister()
    original = hub.resolve(url)
    assert len(origin.requests) == 1
    tfimm_resolver.register()
    assert hub.resolve(url) == tfimm_resolver.resolve(url) == tfimm_resolver.resolve(f"{url}/") == original
    assert len(origin.requests) == 1
    assert len(list(cache_dir.glob("*/saved_model.pb"))) == 1


@pytest.mark.parametrize("path", ["/half_plus_two/1", "/half_plus_two.tar.gz"])
def test_plain_tensorflow_hub_uses_models_that_we_cached(path: str, hub: Any, origin: Origin, cache_dir: Path) -> None:
    url = origin.put_model(path, REAL.read_bytes())
    origin.put(path, REAL.read_bytes())
    cached = hub.resolve(url)
    assert _read_record(cache_dir, url)["handle"] == url
    assert len(origin.requests) == 1
    tfimm_resolver.unregister()
    assert hub.resolve(url) == cached
    assert len(origin.requests) == 1


@pytest.fixture
def uncompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the load format in which models are read from their bucket."""
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")


@pytest.mark.usefixtures("uncompressed")
@pytest.mark.parametrize("space", ["", "\n", " \r\n\t"])
def test_returns_a_location_in_a_bucket_unchanged(
    space: str, hub: Any, origin: Origin, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    location = "gs://bucket/google/model/1"
    origin.put("/model/1?tf-hub-format=uncompressed", (space + location + space).encode(), status=303)
    assert hub.resolve(f"{origin.url}/model/1") == location
    assert origin.requests == ["/model/1?tf-hub-format=uncompressed"]
    assert not cache_dir.exists()
    assert caplog.records == []


@pytest.mark.usefixtures("uncompressed")
@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (200, b"gs://bucket/google/model/1", {}),
        (303, b"", {}),
        (303, b"https://elsewhere/model", {}),
        (303, b"", {"Location": "gs://bucket/google/model/1"}),
        (301, b"gs://bucket/google/model/1", {}),
        (404, b"no such format", {}),
        (500, b"", {}),
    ],
)
def test_downloads_with_one_warning_if_the_response_names_no_bucket(
    status: int,
    body: bytes,
    headers: dict[str, str],
    hub: Any,
    origin: Origin,
    cache_dir: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = origin.put_model("/model/1", tar_gz())
    origin.put("/model/1?tf-hub-format=uncompressed", body, status=status, headers=headers)
    path = hub.resolve(url)
    assert files_in(path) == MODEL
    assert Path(path).parent == cache_dir
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert url in warning.getMessage()
    assert warning.name == "tfimm_resolver"


def test_tensorflow_hub_gets_the_real_pkg_resources_if_it_is_installed(server: ForkServer) -> None:
    server.run("""
        import sys
        import tfimm_resolver
        assert "pkg_resources" not in sys.modules
        import tensorflow_hub
        original = sys.modules["pkg_resources"]
        import pkg_resources
        assert pkg_resources is original
        assert pkg_resources.__file__ and pkg_resources.working_set
        """)


_IMPORT_BOTH = """
import importlib.util, sys
assert importlib.util.find_spec("pkg_resources") is None
import tfimm_resolver, tensorflow_hub

def get_position():
    return [type(resolver).__name__ for resolver in tensorflow_hub.registry.resolver._impls].index("HubResolver") + 1

def assert_nothing_is_left():
    assert "pkg_resources" not in sys.modules
    try:
        import pkg_resources
    except ModuleNotFoundError:
        return
    raise AssertionError("the substitute can still be imported")

assert get_position() == len(tensorflow_hub.registry.resolver._impls)
assert_nothing_is_left()
importlib.reload(tensorflow_hub)
assert get_position() == len(tensorflow_hub.registry.resolver._impls)
assert_nothing_is_left()
importlib.reload(tfimm_resolver)
assert_nothing_is_left()
"""


def test_tensorflow_hub_can_be_imported_if_pkg_resources_is_missing(bare_server: ForkServer) -> None:
    with bare_server.start("import tensorflow_hub") as alone:
        assert "ModuleNotFoundError: No module named 'pkg_resources'" in alone.communicate(timeout=60)[1], (
            "pkg_resources is not missing in this environment"
        )
    assert alone.returncode == 1
    bare_server.run(_IMPORT_BOTH)


def test_tensorflow_hub_can_be_imported_beside_a_setuptools_without_pkg_resources(bare_server: ForkServer) -> None:
    setuptools = Path(sys.prefix) / "setuptools-84"
    if not setuptools.is_dir():
        pytest.skip(f"setuptools is not installed at {setuptools}: pip install --target {setuptools} 'setuptools>=84'")
    code = f"import setuptools\n{_IMPORT_BOTH}\nassert setuptools.__version__ >= '84'"
    bare_server.run(code, PYTHONPATH=str(setuptools))


def test_packages_that_work_without_pkg_resources_do_not_get_the_substitute(site_packages: Path, tmp_path: Path) -> None:
    """TensorFlow, too, is imported while tensorflow_hub is; google-auth before 2.17 looked for pkg_resources like this."""
    (tmp_path / "google").mkdir()
    (tmp_path / "google" / "__init__.py").write_text(
        textwrap.dedent("""
            try:
                import pkg_resources
                pkg_resources.declare_namespace(__name__)
            except ImportError:
                import pkgutil
                __path__ = pkgutil.extend_path(__path__, __name__)
            fell_back = True
            """)
    )
    both = _run_in(tmp_path, site_packages, code=f"{_IMPORT_BOTH}\nimport google\nassert google.fell_back")
    assert both.returncode == 0, both.stderr


def test_keeps_the_substitute_of_another_package(bare_server: ForkServer) -> None:
    bare_server.run("""
        import sys, types
        original = types.ModuleType("pkg_resources")
        original.parse_version = lambda text: [int(part) for part in text.split(".")]
        sys.modules["pkg_resources"] = original
        import warnings
        warnings.simplefilter("error", RuntimeWarning)
        import tfimm_resolver, tensorflow_hub
        assert sys.modules["pkg_resources"] is original
        assert type(tensorflow_hub.registry.resolver._impls[-1]).__name__ == "HubResolver"
        """)


def test_a_missing_tensorflow_is_reported_as_by_tensorflow_hub(site_packages: Path, tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no TensorFlow here')")
    alone = _run_in(tmp_path, site_packages, code="import tfimm_resolver, tensorflow_hub")
    assert alone.returncode == 1
    assert alone.stderr.splitlines()[-1] == "ImportError: no TensorFlow here"
    assert "could not attach" not in alone.stderr


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_another_resolver_answers_for_what_cannot_be_reached(
    is_first: bool, hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    path = str(save_line(tmp_path / "attached"))

    class Attached:
        def is_supported(self, handle: str) -> bool:
            return handle.startswith("http://127.0.0.1:1/")

        def __call__(self, handle: str) -> str:
            return path

    resolvers = list(hub.registry.resolver._impls)
    try:
        hub.registry.resolver.add_implementation(Attached())
        if is_first:
            tfimm_resolver.unregister()
            tfimm_resolver.register()
        handle = "http://127.0.0.1:1/line/1"
        assert hub.resolve(handle) == tfimm_resolver.resolve(handle) == path
        assert hub.load(handle)([3.0]).numpy().tolist() == [7.0]
        with pytest.raises(OSError, match="Connection refused"):
            tfimm_resolver.resolve("http://localhost:1/line/1")
    finally:
        hub.registry.resolver._impls[:] = resolvers


def test_a_quoted_cache_directory_is_reported_and_not_created_by_tensorflow_hub(
    hub: Any, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFHUB_CACHE_DIR", f'"{tmp_path}/quoted"')
    before = sorted(tmp_path.iterdir())
    with pytest.raises(HandleError, match="TFHUB_CACHE_DIR is"):
        hub.resolve(origin.put("/m.tar.gz", tar_gz()))
    assert sorted(tmp_path.iterdir()) == before and origin.requests == []
