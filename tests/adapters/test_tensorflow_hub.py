"""tensorflow_hub asks this package first, gets its caches and errors as it knows them, and can be imported again."""

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
from tests.archives import MODEL, REAL, files_in, tar_gz
from tests.origin import Origin
from tests.processes import run
from tests.tf.models import save_line
from tfimm_resolver.integrations.tensorflow_hub import HubResolver


@pytest.fixture
def hub() -> Iterator[Any]:
    """tensorflow_hub with our resolver, as every test finds and leaves it."""
    import tensorflow_hub

    tfimm_resolver.register()
    yield tensorflow_hub
    tfimm_resolver.register()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The archive of a TF2 SavedModel of 2 x + 1."""
    return tar_gz(files_in(save_line(tmp_path_factory.mktemp("models") / "line")))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is installed but setuptools, as in a fresh environment of these days."""
    import tensorflow

    folder = tmp_path_factory.mktemp("bare")
    for place in Path(tensorflow.__file__).parents[1].iterdir():
        if not re.match(r"pkg_resources|setuptools|_distutils_hack|__editable__|.*\.pth$", place.name):
            (folder / place.name).symlink_to(place)
    return folder


def _run_in(*path: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a snippet that finds only what lies below ``path``, and this package."""
    return subprocess.run(
        [sys.executable, "-S", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, [*path, Path(tfimm_resolver.__file__).parents[1]]))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _ours(hub: Any) -> list[int]:
    """Where in the order of being asked our resolvers stand."""
    asked = reversed(hub.registry.resolver._impls)
    return [place for place, resolver in enumerate(asked) if type(resolver).__name__ == "HubResolver"]


def _facts(cache_dir: Path, handle: str) -> dict[str, Any]:
    """What our record in the cache says; there is none if somebody else brought the model."""
    descriptor = cache_dir / f"{hashlib.sha1(handle.encode()).hexdigest()}.descriptor.txt"
    facts: dict[str, Any] = json.loads(descriptor.read_text().partition("\n\n")[2])
    return facts


@pytest.mark.parametrize("imports", ["import tfimm_resolver, tensorflow_hub", "import tensorflow_hub, tfimm_resolver"])
def test_is_asked_first_and_once_however_often_either_package_is_imported(imports: str) -> None:
    said = run(f"""
        import importlib, os, sys
        {imports}
        def ours():
            asked = [type(resolver).__name__ for resolver in reversed(tensorflow_hub.registry.resolver._impls)]
            return [place for place, name in enumerate(asked) if name == "HubResolver"]
        print("imported", ours())
        importlib.reload(tensorflow_hub)
        print("hub reloaded", ours())
        importlib.reload(tfimm_resolver)
        print("ours reloaded", ours())
        importlib.reload(sys.modules["tfimm_resolver.integrations.tensorflow_hub"])
        importlib.reload(tfimm_resolver)
        print("adapter reloaded", ours())
        for name in [name for name in sys.modules if name.partition(".")[0] == "tfimm_resolver"]:
            del sys.modules[name]
        import tfimm_resolver
        print("ours imported anew", ours())
        importlib.reload(tensorflow_hub)
        print("hub reloaded", ours())
        """)
    steps = ["imported", "hub reloaded", "ours reloaded", "adapter reloaded", "ours imported anew", "hub reloaded"]
    assert said.splitlines() == [f"{step} [0]" for step in steps]


def test_leaves_to_its_user_when_and_how_tensorflow_is_imported() -> None:
    said = run("""
        import os, sys
        import tfimm_resolver
        assert not {"tensorflow", "tensorflow_hub", "keras", "absl"} & set(sys.modules)
        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        import tensorflow
        assert "tensorflow_hub" not in sys.modules
        print(tensorflow.keras.layers.Layer.__module__.partition(".")[0])
        """)
    assert said == "tf_keras"


def test_registers_and_leaves_on_request(hub: Any, origin: Origin, cache_dir: Path) -> None:
    url = origin.put_model("/model/1", REAL.read_bytes())
    for _ in range(2):
        tfimm_resolver.unregister()
        assert _ours(hub) == []
    assert len(hub.registry.resolver._impls) >= 4, "tensorflow_hub's own resolvers are gone, too"
    hub.resolve(url)
    with pytest.raises(json.JSONDecodeError):
        _facts(cache_dir, url)
    for _ in range(2):
        tfimm_resolver.register()
        assert _ours(hub) == [0]


def test_stays_away_if_told_so_before_tensorflow_hub_is_imported() -> None:
    said = run("""
        import tfimm_resolver
        tfimm_resolver.unregister()
        import tensorflow_hub
        print([type(resolver).__module__ for resolver in tensorflow_hub.registry.resolver._impls].count(
            "tfimm_resolver.integrations.tensorflow_hub"))
        """)
    assert said == "0"


@pytest.mark.parametrize(
    "handle",
    [None, b"https://tfhub.dev/m/1", 7, 2.5, ["https://tfhub.dev/m/1"], {}, Path("/tmp"), object()],
    ids=lambda handle: type(handle).__name__,
)
def test_does_not_support_what_is_no_text(handle: object) -> None:
    assert HubResolver().is_supported(handle) is False


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
        "nobody://knows/this",
        "model#sha256=xyz",
        "~nobody_of_that_name/m.tar.gz",
        ".",
        "..",
        "\\",
    ],
    ids=lambda handle: repr(handle[:24]),
)
def test_does_not_support_what_cannot_be_read(handle: str) -> None:
    assert HubResolver().is_supported(handle) is False


def test_supports_urls_overrides_archives_and_names_that_are_there(tmp_path: Path) -> None:
    asked = HubResolver().is_supported
    for url in ("https://tfhub.dev/google/model/1", "http://host/m.tar.gz", "gs://bucket/model", "gs://bucket/m.tgz"):
        assert asked(url) is True
    archive = tmp_path / "model.tar.gz"
    assert asked(str(archive)) is False
    archive.write_bytes(tar_gz())
    assert asked(str(archive)) is True
    assert asked(archive) is False, "hub.load takes texts alone"
    assert asked(archive.as_uri()) is True
    assert asked("mapped") is asked("resnet18") is asked("half_written") is False
    tfimm_resolver.set_model_cache("mapped", tmp_path / "anywhere")
    for name, file in (("resnet18", "saved_model.pb"), ("half_written", "keras_metadata.pb")):
        (Path(tfimm_resolver.get_dir()) / name).mkdir(parents=True)
        (Path(tfimm_resolver.get_dir()) / name / file).write_bytes(b"a graph")
    assert asked("mapped") is asked("resnet18") is True
    assert asked("half_written") is False


def test_leaves_urls_to_tensorflow_hub_where_its_cache_is_in_a_bucket_that_we_cannot_reach(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    assert HubResolver().is_supported("https://tfhub.dev/google/model/1") is True
    monkeypatch.setitem(sys.modules, "obstore", None)  # as if the extra were not installed
    assert HubResolver().is_supported("https://tfhub.dev/google/model/1") is False
    tfimm_resolver.set_model_cache("mapped", tmp_path)
    assert HubResolver().is_supported("mapped") is True


def test_paths_stay_tensorflow_hubs_own(hub: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    ids=["empty", "a page", "cut short", "spoilt"],
)
def test_names_a_corrupt_archive_as_tensorflow_hub_does(body: bytes, hub: Any, origin: Origin, tmp_path: Path) -> None:
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


def test_lets_other_errors_through_as_they_are(hub: Any, origin: Origin) -> None:
    with pytest.raises(tfimm_resolver.errors.NotFoundError, match="404") as caught:
        hub.resolve(f"{origin.url}/missing/1")
    assert "valid module" not in str(caught.value)


def test_resolves_what_is_no_saved_model(hub: Any, origin: Origin) -> None:
    """tensorflow_hub never insisted on one: some people ship vocabularies that way."""
    path = hub.resolve(origin.put_model("/words/1", tar_gz({"vocabulary.txt": b"a\nb\n"})))
    assert files_in(path) == {"vocabulary.txt": b"a\nb\n"}


def test_resolves_overrides_and_names_for_tensorflow_hub(hub: Any, origin: Origin, tmp_path: Path) -> None:
    by_name = Path(tfimm_resolver.get_dir()) / "resnet18"
    by_name.mkdir(parents=True)
    (by_name / "saved_model.pb").write_bytes(b"a graph")
    assert hub.resolve("resnet18") == str(by_name)
    tfimm_resolver.set_model_cache(f"{origin.url}/m/1", by_name)
    assert hub.resolve(f"{origin.url}/m/1/") == str(by_name)
    assert origin.asked == []


def test_serves_resolve_load_and_keras_layer(hub: Any, origin: Origin, cache_dir: Path, line: bytes) -> None:
    import tensorflow as tf
    import tf_keras

    url = origin.put_model("/line/1", line)
    path = hub.resolve(url)
    assert path == str(cache_dir / hashlib.sha1(url.encode()).hexdigest())
    assert {file["path"] for file in _facts(cache_dir, url)["files"]} == set(files_in(path))

    url = origin.put_model("/line/2", line)
    assert hub.load(url)(tf.constant([1.0, 2.0])).numpy().tolist() == [3.0, 5.0]
    assert _facts(cache_dir, url)["handle"] == url

    url = origin.put_model("/line/3", line)
    model = tf_keras.Sequential([hub.KerasLayer(url, load_options=tfimm_resolver.load_options(url))])
    assert model(tf.constant([1.0, 2.0])).numpy().tolist() == [3.0, 5.0]
    assert _facts(cache_dir, url)["handle"] == url


def test_brings_a_module_of_2019_and_runs_it(hub: Any, origin: Origin, cache_dir: Path) -> None:
    import tensorflow as tf

    packed = REAL.read_bytes()
    for handle in (origin.put_model("/half_plus_two/1", packed), origin.put("/half.tar.gz", packed), str(REAL)):
        path = hub.resolve(handle)
        assert Path(path).parent == cache_dir
        assert set(files_in(path)) >= {"saved_model.pb", "tfhub_module.pb", "variables/variables.index"}
        model = hub.load(handle)
        assert model._is_hub_module_v1
        assert model.signatures["default"](tf.constant([1.0, 2.0, 3.0]))["default"].numpy().tolist() == [2.5, 3.0, 3.5]
    assert origin.asked == ["/half_plus_two/1?tf-hub-format=compressed", "/half.tar.gz"]


@pytest.mark.parametrize("path", ["/half_plus_two/1", "/half_plus_two.tar.gz"])
def test_finds_warm_what_plain_tensorflow_hub_has_cached(path: str, hub: Any, origin: Origin, cache_dir: Path) -> None:
    url = origin.put_model(path, REAL.read_bytes())
    origin.put(path, REAL.read_bytes())
    tfimm_resolver.unregister()
    theirs = hub.resolve(url)
    assert len(origin.asked) == 1
    tfimm_resolver.register()
    assert hub.resolve(url) == tfimm_resolver.resolve(url) == tfimm_resolver.resolve(f"{url}/") == theirs
    assert len(origin.asked) == 1
    assert len(list(cache_dir.glob("*/saved_model.pb"))) == 1


@pytest.mark.parametrize("path", ["/half_plus_two/1", "/half_plus_two.tar.gz"])
def test_plain_tensorflow_hub_finds_warm_what_we_have_cached(path: str, hub: Any, origin: Origin, cache_dir: Path) -> None:
    url = origin.put_model(path, REAL.read_bytes())
    origin.put(path, REAL.read_bytes())
    ours = hub.resolve(url)
    assert _facts(cache_dir, url)["handle"] == url
    assert len(origin.asked) == 1
    tfimm_resolver.unregister()
    assert hub.resolve(url) == ours
    assert len(origin.asked) == 1


@pytest.fixture
def uncompressed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user sets to read models from their bucket."""
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")


@pytest.mark.usefixtures("uncompressed")
@pytest.mark.parametrize("space", ["", "\n", " \r\n\t"])
def test_takes_a_place_in_a_bucket_as_it_is(
    space: str, hub: Any, origin: Origin, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = "gs://bucket/google/model/1"
    origin.put("/model/1?tf-hub-format=uncompressed", (space + place + space).encode(), status=303)
    assert hub.resolve(f"{origin.url}/model/1") == place
    assert origin.asked == ["/model/1?tf-hub-format=uncompressed"]
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
def test_downloads_with_one_warning_where_no_bucket_is_named(
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


def test_the_real_pkg_resources_is_the_one_that_tensorflow_hub_gets() -> None:
    run("""
        import sys
        import tfimm_resolver
        assert "pkg_resources" not in sys.modules
        import tensorflow_hub
        theirs = sys.modules["pkg_resources"]
        import pkg_resources
        assert pkg_resources is theirs
        assert pkg_resources.__file__ and pkg_resources.working_set
        """)


_IMPORT_BOTH = """
import importlib.util, sys
assert importlib.util.find_spec("pkg_resources") is None
import tfimm_resolver, tensorflow_hub

def ours():
    return [type(resolver).__name__ for resolver in tensorflow_hub.registry.resolver._impls].index("HubResolver") + 1

def nothing_is_left():
    assert "pkg_resources" not in sys.modules
    try:
        import pkg_resources
    except ModuleNotFoundError:
        return
    raise AssertionError("the stand-in can still be imported")

assert ours() == len(tensorflow_hub.registry.resolver._impls)
nothing_is_left()
importlib.reload(tensorflow_hub)
assert ours() == len(tensorflow_hub.registry.resolver._impls)
nothing_is_left()
importlib.reload(tfimm_resolver)
nothing_is_left()
"""


def test_tensorflow_hub_can_be_imported_where_pkg_resources_is_missing(bare: Path) -> None:
    alone = _run_in(bare, code="import tensorflow_hub")
    assert alone.returncode == 1
    assert "ModuleNotFoundError: No module named 'pkg_resources'" in alone.stderr, "this environment proves nothing"
    both = _run_in(bare, code=_IMPORT_BOTH)
    assert both.returncode == 0, both.stderr


def test_tensorflow_hub_can_be_imported_beside_a_setuptools_without_pkg_resources(bare: Path) -> None:
    setuptools = Path(sys.prefix) / "setuptools-84"
    if not setuptools.is_dir():
        pytest.skip(f"there is no setuptools at {setuptools}: pip install --target {setuptools} 'setuptools>=84'")
    both = _run_in(bare, setuptools, code=f"import setuptools\n{_IMPORT_BOTH}\nassert setuptools.__version__ >= '84'")
    assert both.returncode == 0, both.stderr


def test_who_can_do_without_pkg_resources_is_not_misled_by_the_stand_in(bare: Path, tmp_path: Path) -> None:
    """TensorFlow's imports run inside tensorflow_hub's, and google-auth before 2.17 asked in this way."""
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
    both = _run_in(tmp_path, bare, code=f"{_IMPORT_BOTH}\nimport google\nassert google.fell_back")
    assert both.returncode == 0, both.stderr


def test_respects_the_stand_in_of_somebody_else(bare: Path) -> None:
    both = _run_in(
        bare,
        code="""
        import sys, types
        theirs = types.ModuleType("pkg_resources")
        theirs.parse_version = lambda text: [int(part) for part in text.split(".")]
        sys.modules["pkg_resources"] = theirs
        import warnings
        warnings.simplefilter("error", RuntimeWarning)
        import tfimm_resolver, tensorflow_hub
        assert sys.modules["pkg_resources"] is theirs
        assert type(tensorflow_hub.registry.resolver._impls[-1]).__name__ == "HubResolver"
        """,
    )
    assert both.returncode == 0, both.stderr


def test_a_missing_tensorflow_is_told_as_tensorflow_hub_tells_it(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no TensorFlow here')")
    alone = _run_in(tmp_path, bare, code="import tfimm_resolver, tensorflow_hub")
    assert alone.returncode == 1
    assert alone.stderr.splitlines()[-1] == "ImportError: no TensorFlow here"
    assert "could not attach" not in alone.stderr
