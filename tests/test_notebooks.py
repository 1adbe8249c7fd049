"""Every notebook, run from top to bottom against hosts and workers on loopback; and what is saved with it.

``python -m tests.test_notebooks`` runs them and saves their outputs anew.
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

from tests.archives import files_in
from tests.origin import Origin
from tests.processes import run
from tests.tf.cluster import workers

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
REPOSITORY = str(Path(__file__).parents[1])
CELL_TIMEOUT_S = 120
ANSWERS = {"first_steps": "[2.5, 3.0, 3.5]", "colab_tpu": "[10.0, 20.0]"}
HARMLESS = "INFO:tensorflow:Assets written to:"  # what TensorFlow says of every model that it saves

_SAVE = """
    import shutil, sys
    import tensorflow as tf

    class HalfPlusTwo(tf.Module):
        def __init__(self):
            self.a, self.b = tf.Variable(0.5), tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, x):
            return {"y": self.a * x + self.b}

    model = HalfPlusTwo()
    tf.saved_model.save(model, f"{sys.argv[1]}/model", signatures=model.__call__)
    shutil.make_archive(f"{sys.argv[1]}/model", "gztar", f"{sys.argv[1]}/model")
"""


def half_plus_two(folder: Path) -> bytes:
    """The archive of a SavedModel, made in a process of its own."""
    run(_SAVE, str(folder))
    return (folder / "model.tar.gz").read_bytes()


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook as a kernel leaves it that works in ``folder`` with the environment of this process."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    # With that variable a kernel does not show what comes from below Python, as it does for people.
    client.execute(env={name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"})
    return notebook


def outputs(notebook: nbformat.NotebookNode) -> Iterator[tuple[nbformat.NotebookNode, list[nbformat.NotebookNode]]]:
    """Every cell of code with what came of it."""
    return ((cell, cell.outputs) for cell in notebook.cells if cell.cell_type == "code")


def faults(notebook: nbformat.NotebookNode) -> list[str]:
    """Cells that gave nothing, an error, or words on stderr."""
    bad = []
    for cell, given in outputs(notebook):
        said = [output.text for output in given if output.get("name") == "stderr"]
        bad += [f"{cell.id} gave nothing"] * (not given)
        bad += [f"{cell.id} failed: {output.evalue}" for output in given if output.output_type == "error"]
        bad += [f"{cell.id} said: {words}" for words in said if not words.startswith(HARMLESS)]
    return bad


def text(notebook: nbformat.NotebookNode) -> str:
    """All that the cells gave, as plain text."""
    given = (output for _, cell in outputs(notebook) for output in cell)
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in given)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("host", ["ours", "its own"])
@pytest.mark.timeout(300)
def test_runs_from_top_to_bottom(
    path: Path, host: str, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLAB_TPU_ADDR", raising=False)
    if host == "ours":
        monkeypatch.setenv("FIRST_STEPS_HANDLE", origin.put_model("/google/half_plus_two/1", half_plus_two(tmp_path)))
    models = tmp_path / "home" / ".cache" / "tfhub_modules"
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(models))
    (models / "other").mkdir(parents=True)
    (models / "other" / "saved_model.pb").write_text("the reader's")
    before, changed_ns = files_in(models), models.stat().st_mtime_ns
    notebook = executed(path, tmp_path / "home")
    assert faults(notebook) == []
    assert ANSWERS[path.stem] in text(notebook)
    assert bool(origin.asked) == (host == "ours")
    assert files_in(models) == before and models.stat().st_mtime_ns == changed_ns, "it changes the reader's cache"


def test_the_one_on_tpus_runs_with_a_worker_that_does_not_see_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    with away_from_a_worker(home) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        notebook = executed(Path(__file__).parents[1] / "notebooks" / "colab_tpu.ipynb", home)
    assert faults(notebook) == []
    said = text(notebook)
    for part in ("/job:worker", "'/job:localhost'", "[2.5, 3.0, 3.5]", "[10.0, 20.0]", "Load it with tfimm_resolver.load()"):
        assert part in said


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_saved_with_clean_outputs(path: Path) -> None:
    saved = nbformat.read(path, as_version=4)
    assert faults(saved) == []
    assert ANSWERS[path.stem] in text(saved)
    counts = [cell.execution_count for cell, _ in outputs(saved)]
    assert counts == list(range(1, len(counts) + 1))
    assert REPOSITORY not in path.read_text(), "it says where it was made"


@contextlib.contextmanager
def away_from_a_worker(home: Path) -> Iterator[dict[str, str]]:
    """The environment of who has a worker where others have a TPU: it sees neither the home nor temporary files."""
    with workers(home, number=1) as cluster:
        if not cluster.hidden:
            pytest.skip("the worker sees the files: this kernel has no user namespaces")
        (home / "tmp").mkdir()
        yield {"COLAB_TPU_ADDR": cluster.addresses[0], "TMPDIR": str(home / "tmp")}


def save_anew(home: Path) -> None:
    """Run every notebook in a new home, as a reader does, and save it with its outputs."""
    home.mkdir()
    for variable in [name for name in os.environ if name.startswith(("TFHUB_", "TFIMM_", "XDG_"))]:
        del os.environ[variable]
    os.environ["HOME"] = str(home)
    with away_from_a_worker(home) as environment:
        os.environ.update(environment)
        for path in NOTEBOOKS:
            nbformat.write(executed(path, home), path)
    shutil.rmtree(home)


if __name__ == "__main__":
    save_anew(Path(tempfile.gettempdir(), "home"))
