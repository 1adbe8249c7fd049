"""Sources from other packages: one that is really installed, and those that do not do what a source should."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, gzip_tar, tar_gz, tar_of
from tests.fakes.cli import run_cli
from tests.fakes.faults import NOTHING, list_kinds
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import ArchiveError, HandleError, IntegrityError, SourceError, UnknownHandleError
from tfimm_resolver.integrations.tensorflow_hub import HubResolver
from tfimm_resolver.maintenance import adopt, list_models, remove, verify
from tfimm_resolver.resolution import cached_names
from tfimm_resolver.sources import plugins
from tfimm_resolver.sources.registry import SCHEMES

EXAMPLE = Path(__file__).parents[2] / "plugin_example"
Install = Callable[..., None]
IN_PLACE = """
    import os, tempfile
    from tfimm_resolver.sources.plan import InPlace
    def plan(handle):
        path = os.path.join(tempfile.gettempdir(), handle.host)
        os.makedirs(path, exist_ok=True)
        return InPlace(path)
"""
"""The source of models that are directories below the one for temporary files."""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example package, installed by pip into a directory of its own, without network."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site"), str(folder / "source")]
    job = subprocess.run(command, capture_output=True, text=True, check=False)
    assert job.returncode == 0, job.stderr
    return folder / "site"


@pytest.fixture
def zoo(installed: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> Origin:
    """A zoo with a lion; the example package is installed for the processes that a test starts."""
    monkeypatch.setenv("PYTHONPATH", str(installed))
    monkeypatch.setenv("ZOO_URL", origin.url)
    origin.put("/lion.tgz", tar_gz())
    return origin


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that lays out a package as pip would, for this process."""
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(plugins, "_warned", set())
    monkeypatch.setattr(cached_names, "_warned", set())

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "animals"))

    def package(name: str, code: str, entry: str = "zoo = {name}:plan") -> None:
        facts = tmp_path / "site" / f"{name}-1.0.dist-info"
        facts.mkdir(parents=True)
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (facts / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{entry.format(name=name)}\n")
        (tmp_path / "site" / f"{name}.py").write_text(textwrap.dedent(code))

    yield package
    for module in [module for module in sys.modules if module.startswith("zoo_")]:
        del sys.modules[module]


def test_an_installed_source_works_for_resolve_and_the_command_line(zoo: Origin, cache_dir: Path) -> None:
    path = f"{cache_dir}/{entry_name_for_key('zoo://lion')}"
    assert run("import tfimm_resolver; print(tfimm_resolver.resolve('zoo://lion'))") == path and files_in(path) == MODEL
    assert run_cli("resolve", "ZOO://lion") == (0, f"{path}\n", "")
    assert json.loads(run_cli("ls", "--json")[1])["models"][0]["handle"] == "zoo://lion"
    assert run_cli("verify", "--repair")[0] == 0 and run_cli("rm", "zoo://lion")[0] == 0
    code, _, err = run_cli("resolve", "zoo://lion/cub")
    assert code == 2 and "zoo://lion/cub names no animal" in err
    code, _, err = run_cli("resolve", "zo://lion")
    assert code == 2 and f"known schemes: {', '.join(SCHEMES)}, zoo" in err and "Did you mean zoo://lion ?" in err
    assert zoo.requests == ["/lion.tgz"]


def test_tensorflow_hub_learns_that_the_scheme_is_supported(zoo: Origin) -> None:
    code = "from tfimm_resolver.integrations.tensorflow_hub import HubResolver as Hub; print(*map(Hub().is_supported, {}))"
    assert run(code.format(["zoo://lion", "zo://lion", "ram://x"])) == "True False False"


def test_a_built_in_scheme_does_not_search_the_installed_packages(zoo: Origin) -> None:
    handle = zoo.put("/m.tar.gz", tar_gz())
    code = """
        import sys, tfimm_resolver
        tfimm_resolver.resolve(sys.argv[1])
        print("importlib.metadata" in sys.modules, "zoo_models" in sys.modules)
        tfimm_resolver.resolve("zoo://lion")
        print("zoo_models" in sys.modules)
    """
    run("import sys, tfimm_resolver; tfimm_resolver.resolve(sys.argv[1])", handle)
    assert run(code, handle).split() == ["False", "False", "True"]


def test_the_working_directory_installs_nothing_but_an_environment_below_it_does(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("zoo_a", IN_PLACE)
    monkeypatch.chdir(tmp_path / "site")
    (tmp_path / "link").symlink_to(tmp_path / "site")
    for spelling in ("", ".", str(tmp_path / "site"), str(tmp_path / "link")):
        monkeypatch.setattr(sys, "path", [spelling, *(path for path in sys.path if path != str(tmp_path / "site"))])
        with pytest.raises(UnknownHandleError):
            resolve("zoo://lion")
        assert "zoo_a" not in sys.modules and "zoo" not in plugins.list_schemes(())
        monkeypatch.undo()
        monkeypatch.chdir(tmp_path / "site")
        monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    assert resolve("zoo://lion") == f"{tempfile.gettempdir()}/lion"


def test_the_first_of_two_packages_of_a_name_counts_as_for_python(install: Install, tmp_path: Path) -> None:
    install("zoo_a", IN_PLACE)
    shutil.copytree(tmp_path / "site" / "zoo_a-1.0.dist-info", tmp_path / "later" / "Zoo.A-1.0.dist-info")
    metadata = tmp_path / "later" / "Zoo.A-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("zoo_a", "Zoo.A"))
    sys.path.append(str(tmp_path / "later"))  # the fixture restores the path
    assert resolve("zoo://lion") == f"{tempfile.gettempdir()}/lion"


def test_a_source_that_was_found_is_not_searched_for_again(install: Install, tmp_path: Path) -> None:
    install("zoo_a", IN_PLACE)
    assert resolve("zoo://lion") == f"{tempfile.gettempdir()}/lion"
    shutil.rmtree(tmp_path / "site" / "zoo_a-1.0.dist-info")
    assert resolve("zoo://tiger") == f"{tempfile.gettempdir()}/tiger"


@pytest.mark.parametrize("is_link", [False, True])
def test_a_path_of_a_source_that_does_not_exist_is_an_error(is_link: bool, install: Install, tmp_path: Path) -> None:
    path = tmp_path / "lion"
    if is_link:
        path.symlink_to(tmp_path / "gone")
    install("zoo_a", f"from tfimm_resolver.sources.plan import InPlace\ndef plan(handle): return InPlace({str(path)!r})")
    with pytest.raises(UnknownHandleError, match=f"the source of zoo:// says that it is {path}"):
        resolve("zoo://lion")
    (tmp_path / ("gone" if is_link else "lion")).mkdir()
    assert resolve("zoo://lion") == str(path)


def test_a_source_that_is_installed_meanwhile_is_found(install: Install) -> None:
    with pytest.raises(UnknownHandleError):
        resolve("zoo://lion")
    install(
        "zoo_a", "from tfimm_resolver.sources.plan import InPlace\ndef plan(handle): return InPlace('gs://b/' + handle.host)"
    )
    assert resolve("zoo://lion") == "gs://b/lion"


def test_a_handle_for_which_a_source_returns_none_is_unknown(install: Install) -> None:
    install("zoo_a", "def plan(handle): return None")
    for handle in ("zoo://lion", "ZOO://lion", f"zoo://lion#sha256={'0' * 64}"):
        with pytest.raises(UnknownHandleError, match='no source handles "zoo://lion') as caught:
            resolve(handle)
        assert caught.value.text.endswith("\n  the source of zoo:// in zoo_a 1.0 does not accept it")
        assert caught.value.fix.startswith("Correct the part after zoo://") and "Did you mean" not in str(caught.value)
    with pytest.raises(UnknownHandleError, match="Did you mean zoo://lion"):
        resolve("zooo://lion")


IMPORT = "from tfimm_resolver.sources.plan import RemoteLocation, Fetch, InPlace, MutableRef\n"
BAD = {
    "import zoo_dependency": "cannot be loaded: ModuleNotFoundError: No module named 'zoo_dependency'",
    "1 / 0": "cannot be loaded: ZeroDivisionError",
    "x = 1": "cannot be loaded: AttributeError",
    "plan = 'no function'": "is not a function, but 'no function'",
    "def plan(handle): raise KeyError('lion')": "failed: KeyError: 'lion'",
    "def plan(): pass": "failed: TypeError",
    "def plan(handle): return '/zoo/lion'": "returned '/zoo/lion' for zoo://lion, which is not a plan",
    "def plan(handle): return InPlace('lion')": "which is not a plan",
    "def plan(handle): return InPlace(None)": "which is not a plan",
    "def plan(handle): return Fetch(b'key', lambda into, transfer: None)": "which is not a plan",
    "def plan(handle): return Fetch('', lambda into, transfer: None)": "which is not a plan",
    "def plan(handle): return Fetch(handle.key, None)": "which is not a plan",
    "def plan(handle): return RemoteLocation(lambda transfer: None, InPlace('/'))": "which is not a plan",
    "def plan(handle): return Fetch(handle.key, lambda into, transfer: 1 / 0)": "failed: ZeroDivisionError",
    "def plan(handle): return Fetch(handle.key, lambda into: None)": "failed: TypeError",
    "def plan(handle): return MutableRef(None)": "which is not a plan",
    "def plan(handle): return MutableRef(lambda transfer: 1 / 0)": "failed: ZeroDivisionError",
    "def plan(handle): return RemoteLocation(lambda transfer: 1 / 0, Fetch(handle.key, print))": "failed: ZeroDivisionError",
    "def plan(handle): return RemoteLocation(lambda fetcher: None, Fetch(handle.key, lambda _: 1 / 0))": "failed: TypeError",
}


@pytest.mark.parametrize("code", BAD)
def test_the_error_for_a_broken_source_names_its_package_and_the_cause(code: str, install: Install, cache_dir: Path) -> None:
    install("zoo_a", IMPORT + code)
    with pytest.raises(SourceError) as caught:
        resolve("zoo://lion")
    text = str(caught.value)
    assert "the source of zoo:// in zoo_a 1.0" in text and BAD[code] in text and "update or uninstall it" in text
    is_by_cause = "failed" in BAD[code] or "cannot" in BAD[code]
    assert (caught.value.__cause__ is not None) == is_by_cause
    assert list_kinds(cache_dir) == NOTHING


def test_a_resolver_error_is_passed_on_unchanged(install: Install) -> None:
    install("zoo_a", "from tfimm_resolver.errors import HandleError\ndef plan(handle): raise HandleError('no such animal')")
    with pytest.raises(HandleError, match="no such animal"):
        resolve("zoo://lion")


def test_a_source_that_writes_no_files_is_an_error(install: Install, cache_dir: Path) -> None:
    install("zoo_a", IMPORT + "def plan(handle): return Fetch(handle.key, lambda into, transfer: None)")
    with pytest.raises(SourceError) as caught:
        resolve("zoo://lion")
    assert caught.value.text == "the source of zoo://lion wrote no files"
    assert "archive" not in str(caught.value) and "report this" in caught.value.fix
    assert list_kinds(cache_dir) == NOTHING


def test_an_archive_without_files_that_a_source_fetches_is_the_fault_of_the_archive(install: Install, origin: Origin) -> None:
    url = origin.put("/empty.tgz", gzip_tar(tar_of()))
    fill = f"lambda into, fetcher: fetcher.archive({url!r}, into)"
    install("zoo_a", IMPORT + f"def plan(handle): return Fetch(handle.key, {fill})")
    with pytest.raises(ArchiveError, match="the archive contains no files"):
        resolve("zoo://lion")


def test_a_plug_in_cannot_take_over_a_built_in_scheme_and_is_warned_of_once(
    install: Install, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    install("zoo_a", "raise SystemExit('it was loaded')", "HTTP = {name}:plan\nfile = {name}:file")
    handle = origin.put("/m.tar.gz", tar_gz())
    assert files_in(resolve(handle)) == MODEL and caplog.text.count("zoo_a") == 0
    for _ in range(2):
        with pytest.raises(UnknownHandleError):
            resolve("zoo://lion")
    assert caplog.text.count("zoo_a 1.0 has a source for HTTP://, which is a built-in scheme: ignored") == 1


def test_two_sources_for_one_scheme_are_an_error(install: Install) -> None:
    for name in ("zoo_b", "zoo_a"):
        install(name, "raise SystemExit('it was loaded')")
    with pytest.raises(SourceError, match=r"zoo_a 1\.0 and zoo_b 1\.0 each have a source for zoo://"):
        resolve("zoo://lion")


def test_a_broken_source_does_not_affect_tensorflow_hub_and_other_handles(install: Install, origin: Origin) -> None:
    install("zoo_a", "1 / 0")
    assert HubResolver().is_supported("zoo://lion")
    assert files_in(resolve(origin.put("/m.tar.gz", tar_gz()))) == MODEL
    assert os.path.isabs(resolve(os.getcwd()))


@pytest.mark.parametrize("code", ["import zoo_dependency", "def plan(handle): return 1 / 0", "def plan(handle): return 1"])
def test_a_source_that_does_not_work_any_more_leaves_the_maintenance_of_the_cache_as_it_is(
    code: str, install: Install, zoo: Origin, cache_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other, name = zoo.put("/m.tar.gz", tar_gz()), entry_name_for_key("zoo://lion")
    assert run_cli("resolve", "zoo://lion", other)[0] == 0
    install("zoo_a", code)
    for _ in range(2):
        assert {model.name for model in list_models()} == {other, name}
    assert [result.state for result in verify()] == ["ok", "ok"]
    assert caplog.text.count("the source of zoo:// in zoo_a 1.0") == 1 and "update or uninstall it" in caplog.text
    assert resolve(name) == f"{cache_dir}/{name}"
    found = adopt(str(shutil.copytree(cache_dir, tmp_path / "other")), dry_run=True)
    assert sorted(item.state for item in found) == ["cached", "skipped"]
    remove([name])
    assert [model.name for model in list_models()] == [other]


def test_the_commands_list_every_model_if_a_plug_in_cannot_be_imported(zoo: Origin, tmp_path: Path) -> None:
    assert run_cli("resolve", "zoo://lion", zoo.put("/m.tar.gz", tar_gz()))[0] == 0
    broken = shutil.copytree(os.environ["PYTHONPATH"], tmp_path / "broken")
    (broken / "zoo_models.py").write_text("import zoo_dependency")
    for command in ("ls", "ls --json", "du", "verify", "rm --all --dry-run", "sbom"):
        code, out, err = run_cli(*command.split(), PYTHONPATH=str(broken))
        assert code == 0 and err.count("zoo_dependency") == 1, (command, err)
        assert "/m.tar.gz" in out or command == "du"


def test_what_a_source_writes_itself_satisfies_no_pin(install: Install, cache_dir: Path) -> None:
    install("zoo_a", IMPORT + "def plan(handle): return Fetch(handle.key, lambda into, _: (into / 'a').write_text('x'))")
    with pytest.raises(IntegrityError, match="zoo://lion is pinned, but its source has no archive"):
        resolve(f"zoo://lion#sha256={'0' * 64}")
    assert list_kinds(cache_dir) == NOTHING
    resolve("zoo://lion")
    with pytest.raises(IntegrityError, match="has no archive"):
        resolve(f"zoo://lion#sha256={'0' * 64}")
