"""Tests of ``integrations.worker_state``: workers, however they are started, resolve as the process that starts them."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL
from tests.fakes.processes import run
from tfimm_resolver import errors, settings
from tfimm_resolver.cache.cache import Entry
from tfimm_resolver.cache.record import Record
from tfimm_resolver.cache.tier import ModelLocation
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.handles.pin import Pin
from tfimm_resolver.integrations import worker_state
from tfimm_resolver.manifest import FetchResult, FileEntry, Origin
from tfimm_resolver.models_file import discovery
from tfimm_resolver.models_file.schema import ModelEntry
from tfimm_resolver.resolution.request import Request
from tfimm_resolver.sources.plan import InPlace
from tools.reference import variables

OF_THIS_MACHINE = {
    *("TFIMM_HOME", "TFIMM_HUB_DIR", "TFIMM_MODELS_FILE", "TFHUB_CACHE_DIR"),
    *("TFIMM_RESOLVER_EXTRA_ROOTS", "TFIMM_RESOLVER_HOSTS_FILE"),
    "TFHUB_DOWNLOAD_PROGRESS",  # what a person sees of the process that the person looks at
}
"""Our variables that a worker on another machine does not get."""

REPORT = """
def report():
    import os, sys
    is_imported = "tfimm_resolver" in sys.modules
    import tfimm_resolver
    from tfimm_resolver.settings import cache_limits
    names = ["TFIMM_RESOLVER_OFFLINE", "TFIMM_RESOLVER_MIRRORS", "TFIMM_RESOLVER_GRACE"]
    path = tfimm_resolver.resolve("lion")
    limit = cache_limits().max_size
    return path, limit and limit.size_bytes, [os.environ.get(name) for name in names], is_imported
"""
POOL = """
import json, os, sys
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
import tfimm_resolver
from report import report

if __name__ == "__main__":
    method = sys.argv[1]
    context = multiprocessing.get_context(method)
    if method == "forkserver":  # the server has the environment of now
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            pool.submit(len, "").result(timeout=60)
    os.environ.pop("TFIMM_RESOLVER_GRACE", None)
    os.environ.update(json.loads(sys.argv[2]))
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        print(json.dumps(pool.submit(report).result(timeout=60)))
"""
SET = {
    "TFIMM_RESOLVER_OFFLINE": "1",
    "TFIMM_RESOLVER_MIRRORS": "https://models.example=https://mirror.example",
    "TFIMM_RESOLVER_MAX_SIZE": "7GB",
}
EXPECTED = [7_000_000_000, ["1", SET["TFIMM_RESOLVER_MIRRORS"], None], True]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a models file, whose model is a directory, and a program."""
    folder = tmp_path / "project"
    for name, data in MODEL.items():
        (folder / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "models" / name).write_bytes(data)
    (folder / "tfimm-models.toml").write_text('[models.lion]\nhandle = "./models"\n')
    (folder / "main.py").write_text(POOL)
    (folder / "report.py").write_text(REPORT)
    return folder


def run_program(project: Path, *command: str, **environment: str) -> list[object]:
    """Run a command in the project; return the report that it prints."""
    done = subprocess.run(
        command, cwd=project, capture_output=True, text=True, timeout=100, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    path, *others = json.loads(done.stdout)
    assert path == str(project / "models")
    return others


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_process_has_the_settings_of_now(method: str, project: Path) -> None:
    command = (sys.executable, "main.py", method, json.dumps(SET))
    assert run_program(project, *command, TFIMM_RESOLVER_GRACE="9h") == EXPECTED


def test_a_program_that_run_starts_has_the_settings(project: Path) -> None:
    program = "import json; from report import report; print(json.dumps(report()))"
    command = (sys.executable, "-m", "tfimm_resolver", "run", "--", sys.executable, "-c", program)
    assert run_program(project, *command, **SET) == EXPECTED


def capture(code: str = "", **environment: str) -> worker_state.WorkerState:
    """Return what a process with a setting passes on to workers on other machines."""
    program = f"""
import json
import tfimm_resolver
from tfimm_resolver.integrations import worker_state
{code}
print(json.dumps(worker_state.capture_for_other_host()))
"""
    state: worker_state.WorkerState = json.loads(run(program, **environment))
    return state


def test_each_variable_is_one_of_this_machine_or_is_passed_on() -> None:
    documented = {name for rows in variables.TOPICS.values() for names, _, _ in rows for name in names.split()}
    own = {name for name in documented if name.startswith(("TFIMM_", "TFHUB_"))}
    assert len(own) > 25 and own >= OF_THIS_MACHINE
    values = {name: "1" for name in own if name not in ("TFIMM_MODELS_FILE", "TFHUB_CACHE_DIR")}
    assert set(capture(**values)["variables"]) >= own - OF_THIS_MACHINE
    assert set(capture(**values)["variables"]).isdisjoint(OF_THIS_MACHINE)


@pytest.mark.parametrize("value", ["gs://bucket/models", "s3://bucket/models"])
def test_a_cache_in_a_bucket_is_that_of_all_machines(value: str) -> None:
    assert capture(TFHUB_CACHE_DIR=value)["variables"]["TFHUB_CACHE_DIR"] == value
    assert capture(f"tfimm_resolver.set_dir({value!r})")["directory"] == [value, "set_dir()"]


def test_a_directory_is_not_passed_on_to_other_machines(tmp_path: Path) -> None:
    state = capture(f"tfimm_resolver.set_dir({str(tmp_path)!r})", TFIMM_HOME=str(tmp_path))
    assert state["directory"] is None and "TFIMM_HOME" not in state["variables"]


def receive(state: worker_state.WorkerState, code: str, folder: Path, **environment: str) -> str:
    """Let a process in another directory receive a state and run code; return what it prints."""
    program = f"""
import os
os.chdir({str(folder)!r})
import tfimm_resolver
from tfimm_resolver.integrations import worker_state
worker_state.receive({state!r})
worker_state.receive({state!r})
{code}
"""
    return run(program, **environment)


def test_a_name_of_the_models_file_is_known_where_the_file_is_not(project: Path, tmp_path: Path) -> None:
    state = capture(TFIMM_MODELS_FILE=str(project / "tfimm-models.toml"))
    (project / "tfimm-models.toml").unlink()
    assert receive(state, "print(tfimm_resolver.resolve('lion'))", tmp_path) == str(project / "models")
    again = "print(*worker_state.capture_for_other_host()['models_files'])"
    assert receive(state, again, tmp_path) == f"{project / 'tfimm-models.toml'} (received)"


def test_a_models_file_that_the_worker_names_comes_first(project: Path, tmp_path: Path) -> None:
    state = capture(TFIMM_MODELS_FILE=str(project / "tfimm-models.toml"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "saved_model.pb").touch()
    (project / "tfimm-models.toml").write_text(f'[models.lion]\nhandle = "{tmp_path}/own"\n')  # another file at the same path
    found = receive(
        state, "print(tfimm_resolver.resolve('lion'))", tmp_path, TFIMM_MODELS_FILE=str(project / "tfimm-models.toml")
    )
    assert found == str(tmp_path / "own")


def test_what_the_worker_sets_is_not_changed(tmp_path: Path) -> None:
    state = capture(
        "tfimm_resolver.set_model_cache('lion', '/of/driver'); tfimm_resolver.set_dir('gs://driver/models')",
        TFIMM_RESOLVER_RETRIES="7",
        TFIMM_RESOLVER_CONNECTIONS="3",
    )
    code = "print(os.environ['TFIMM_RESOLVER_RETRIES'], os.environ['TFIMM_RESOLVER_CONNECTIONS'], tfimm_resolver.get_dir())"
    assert receive(state, code, tmp_path, TFIMM_RESOLVER_RETRIES="2") == "2 3 gs://driver/models"
    own = "tfimm_resolver.set_dir('own')\n"
    assert run(f"import tfimm_resolver\n{own}" + receive_code(state)).endswith("/own")


def receive_code(state: worker_state.WorkerState) -> str:
    """Return code that receives a state, and prints the directory."""
    return (
        f"from tfimm_resolver.integrations import worker_state\nworker_state.receive({state!r})\n"
        "print(tfimm_resolver.get_dir())"
    )


def test_an_override_whose_path_is_missing_on_the_worker_is_an_error_there(tmp_path: Path) -> None:
    state = capture("tfimm_resolver.set_model_cache('https://models.example/m.tar', '/missing/model')")
    code = "tfimm_resolver.resolve('https://models.example/m.tar')"
    with pytest.raises(AssertionError, match=r"MissingOverrideError.*/missing/model"):
        receive(state, code, tmp_path)


def test_a_models_file_that_cannot_be_read_is_reported_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(settings.MODELS_FILE, str(tmp_path / "missing.toml"))
    with pytest.raises(errors.ModelsFileError, match=r"missing\.toml"):
        discovery.read_texts()


FILE, ORIGIN = FileEntry("saved_model.pb", 2, "0" * 64), Origin("https://h/m.tar", '"1"', 9, "1" * 64)
RECORD = Record("https://h/m.tar", "2" * 40, "2026-11-30T00:00:00.000000Z", ORIGIN, (FILE,))


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "value",
    [
        *(FILE, ORIGIN, RECORD, FetchResult(ORIGIN, (FILE,)), Entry("2" * 40, "/c/m", RECORD, "saved_model.pb is missing")),
        *(Handle.parse(f"https://h/m.tar#sha256={'1' * 64}"), Pin("1" * 64, 9), Request.parse("lion", refresh=True)),
        *(ModelEntry("lion", "https://h/m.tar", "/p/tfimm-models.toml"), InPlace("/m"), settings.CacheLimits(max_age_s=1.0)),
        *(settings.Setting("/c", "set_dir()"),),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_can_be_sent_to_a_worker(value: object, protocol: int) -> None:
    assert pickle.loads(pickle.dumps(value, protocol)) == value


def test_the_location_of_a_model_can_be_sent_to_a_worker() -> None:
    found = pickle.loads(pickle.dumps(ModelLocation("/c/m", RECORD, "1", is_read_only=True)))
    assert (found.path, found.record, found.subdirectory, found.is_read_only) == ("/c/m", RECORD, "1", True)
