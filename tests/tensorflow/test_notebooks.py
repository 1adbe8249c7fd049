"""Every notebook, run from top to bottom against hosts and workers on loopback; and the outputs saved in it.

``python -m tests.tensorflow.test_notebooks`` runs them and saves their outputs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.fakes.archives import files_in
from tests.fakes.origin import Origin
from tests.fakes.saved_models import make_half_plus_two
from tests.tensorflow.cluster import workers

pytestmark = pytest.mark.xdist_group("notebooks")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
REPOSITORY = str(Path(__file__).parents[2])
CELL_TIMEOUT_S = 120
ANSWERS = {"first_steps": "[2.5, 3.0, 3.5]", "colab_tpu": "[10.0, 20.0]"}
DEFAULT_HOST = {"first_steps": "loopback", "colab_tpu": "its own"}
"""Where each notebook gets its model in a run without long tests."""

HARMLESS = "INFO:tensorflow:Assets written to:"  # logged by TensorFlow for every model that it saves


def execute(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Return the notebook as executed by a kernel in ``folder`` with the environment of this process."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    # With that variable a kernel hides output of native code, which it shows to users.
    client.execute(env={name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"})
    return notebook


def iterate_outputs(notebook: nbformat.NotebookNode) -> Iterator[tuple[nbformat.NotebookNode, list[nbformat.NotebookNode]]]:
    """Return every code cell with its outputs."""
    return ((cell, cell.outputs) for cell in notebook.cells if cell.cell_type == "code")


def find_faults(notebook: nbformat.NotebookNode) -> list[str]:
    """Return a message for each cell without output, with an error, or with unexpected text on stderr."""
    bad = []
    for cell, results in iterate_outputs(notebook):
        messages = [output.text for output in results if output.get("name") == "stderr"]
        bad += [f"{cell.id} has no output"] * (not results)
        bad += [f"{cell.id} failed: {output.evalue}" for output in results if output.output_type == "error"]
        bad += [f"{cell.id} wrote to stderr: {words}" for words in messages if not words.startswith(HARMLESS)]
    return bad


def get_text(notebook: nbformat.NotebookNode) -> str:
    """Return the outputs of all cells as plain text."""
    results = (output for _, cell in iterate_outputs(notebook) for output in cell)
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in results)


@pytest.mark.parametrize(
    ("host", "path"),
    [
        pytest.param(host, path, id=f"{host}-{path.stem}", marks=[] if DEFAULT_HOST[path.stem] == host else pytest.mark.long)
        for host in ("loopback", "its own")
        for path in NOTEBOOKS
    ],
)
@pytest.mark.timeout(300)
def test_runs_from_top_to_bottom(
    path: Path, host: str, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLAB_TPU_ADDR", raising=False)
    if host == "loopback":
        monkeypatch.setenv("FIRST_STEPS_HANDLE", origin.put_model("/google/half_plus_two/1", make_half_plus_two(tmp_path)))
    models = tmp_path / "home" / ".cache" / "tfhub_modules"
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(models))
    (models / "other").mkdir(parents=True)
    (models / "other" / "saved_model.pb").write_text("the reader's")
    before, changed_ns = files_in(models), models.stat().st_mtime_ns
    notebook = execute(path, tmp_path / "home")
    assert find_faults(notebook) == []
    assert ANSWERS[path.stem] in get_text(notebook)
    assert bool(origin.requests) == (host == "loopback")
    assert files_in(models) == before and models.stat().st_mtime_ns == changed_ns, "it changes the reader's cache"


def test_the_one_on_tpus_runs_with_a_worker_that_does_not_see_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    with start_remote_worker(home) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        notebook = execute(Path(__file__).parents[2] / "notebooks" / "colab_tpu.ipynb", home)
    assert find_faults(notebook) == []
    result = get_text(notebook)
    for part in ("/job:worker", "'/job:localhost'", "[2.5, 3.0, 3.5]", "[10.0, 20.0]", "Load it with tfimm_resolver.load()"):
        assert part in result


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_saved_with_clean_outputs(path: Path) -> None:
    saved = nbformat.read(path, as_version=4)
    assert find_faults(saved) == []
    assert ANSWERS[path.stem] in get_text(saved)
    counts = [cell.execution_count for cell, _ in iterate_outputs(saved)]
    assert counts == list(range(1, len(counts) + 1))
    assert REPOSITORY not in path.read_text(), "it contains the path of the repository"


@contextlib.contextmanager
def start_remote_worker(home: Path) -> Iterator[dict[str, str]]:
    """Start a worker in place of a TPU, which sees neither the home nor temporary files; yield the environment to use it."""
    with workers(home, number=1) as cluster:
        if not cluster.hidden:
            pytest.skip("the worker sees the files: this kernel has no user namespaces")
        (home / "tmp").mkdir()
        yield {"COLAB_TPU_ADDR": cluster.addresses[0], "TMPDIR": str(home / "tmp")}


def save_all(home: Path) -> None:
    """Run every notebook in a new home, as a reader would, and save it with its outputs."""
    home.mkdir()
    for variable in [name for name in os.environ if name.startswith(("TFHUB_", "TFIMM_", "XDG_"))]:
        del os.environ[variable]
    os.environ["HOME"] = str(home)
    with start_remote_worker(home) as environment:
        os.environ.update(environment)
        for path in NOTEBOOKS:
            nbformat.write(execute(path, home), path)
    shutil.rmtree(home)


if __name__ == "__main__":
    save_all(Path(tempfile.gettempdir(), "home"))
