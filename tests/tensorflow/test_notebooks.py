"""Every notebook, run from top to bottom against a server on loopback; and the outputs saved in it, which are those of a run.

``python -m tests.tensorflow.test_notebooks`` runs them and saves their outputs.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.fakes.archives import files_in
from tests.tensorflow.cluster import workers

pytestmark = pytest.mark.xdist_group("notebooks")

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
CELL_TIMEOUT_S = 120
CELL_MAX_LINES, IMAGE_MAX_CHARACTERS = 30, 60_000

PICTURE = "image/png"
# What differs between two runs: times, sizes and hashes.
_CHANGING = re.compile(r"[0-9a-f]{8,}|\d+(?:\.\d+)?")
_MACHINE = re.compile(r"/(?:tmp|home|root|work|var)/\S*|\b127\.0\.0\.1\S*|localhost:\d+")
_NATIVE_LOG = re.compile(
    r"[IWEF]\d{4} [\d:.]+ +\d+ [\w.]+:\d+\]|\d{4}-\d\d-\d\d [\d:.]+: [IWEF] |WARNING: All log messages before absl::|\s*$"
    r"|Additional GRPC error information from remote target |:UNKNOWN:Error received from peer "
)
_SPACES = re.compile(r"[ \t]+")


def execute(path: Path, home: Path) -> nbformat.NotebookNode:
    """Return the notebook as executed by a kernel in a copy of its folder, with the environment of this process."""
    beside = shutil.copytree(FOLDER, home / "notebooks", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    return run_kernel(nbformat.read(path, as_version=4), beside)


def run_kernel(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Execute a notebook in place with a kernel that starts in ``folder``; return it."""
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
    )
    # With that variable a kernel hides output of native code, which it shows to users.
    client.execute(env={name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"})
    clean_outputs(notebook)
    return notebook


def clean_outputs(notebook: nbformat.NotebookNode) -> None:
    """Remove what native code of TensorFlow logs about this machine, and the plain text of what is shown as HTML."""
    for cell, results in iterate_outputs(notebook):
        for output in results:
            if output.get("name") == "stderr":
                output.text = "".join(line for line in output.text.splitlines(True) if not _NATIVE_LOG.match(line))
            if "text/html" in output.get("data", {}):
                del output.data["text/plain"]
        cell.outputs = _join_texts([output for output in results if output.get("name") != "stderr" or output.text.strip()])


def _join_texts(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return the outputs with texts that a kernel sent in parts, which depends on its timing, in one part."""
    joined: list[nbformat.NotebookNode] = []
    for output in outputs:
        if joined and output.get("name") and output.get("name") == joined[-1].get("name"):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def iterate_outputs(notebook: nbformat.NotebookNode) -> Iterator[tuple[nbformat.NotebookNode, list[nbformat.NotebookNode]]]:
    """Return every code cell with its outputs."""
    return ((cell, cell.outputs) for cell in notebook.cells if cell.cell_type == "code")


def find_faults(notebook: nbformat.NotebookNode) -> list[str]:
    """Return a message for each cell without output, with an error, or with text on stderr."""
    bad = []
    for cell, results in iterate_outputs(notebook):
        bad += [f"{cell.id} has no output"] * (not results)
        bad += [f"{cell.id} failed: {output.evalue}" for output in results if output.output_type == "error"]
        bad += [f"{cell.id} wrote to stderr: {output.text}" for output in results if output.get("name") == "stderr"]
    return bad


def summarize(notebook: nbformat.NotebookNode) -> dict[str, list[str]]:
    """Return what each cell shows, as kinds and texts in which nothing is left that differs between two runs."""
    return {cell.id: [_summarize_output(output) for output in results] for cell, results in iterate_outputs(notebook)}


def _summarize_output(output: nbformat.NotebookNode) -> str:
    data = output.get("data", {})
    if PICTURE in data:
        return PICTURE
    text = data.get("text/html") or data.get("text/plain") or output.get("text", "")
    return _SPACES.sub(" ", _CHANGING.sub("#", text))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.timeout(300)
def test_runs_from_top_to_bottom_with_the_saved_outputs(
    path: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    models = home / ".cache" / "tfhub_modules"
    (models / "other").mkdir(parents=True)
    (models / "other" / "saved_model.pb").write_text("the reader's")
    before, changed_ns = files_in(models), models.stat().st_mtime_ns
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(models))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path_factory.getbasetemp() / "matplotlib"))
    with contextlib.ExitStack() as stack:
        needs_worker = path.stem == "colab_tpu"
        environment = stack.enter_context(start_remote_worker(home)) if needs_worker else {}
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        notebook = execute(path, home)
    assert find_faults(notebook) == []
    assert summarize(notebook) == summarize(nbformat.read(path, as_version=4))
    assert files_in(models) == before and models.stat().st_mtime_ns == changed_ns, "it changes the reader's cache"


@pytest.mark.long
def test_the_one_on_tpus_also_runs_without_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLAB_TPU_ADDR", raising=False)
    notebook = execute(FOLDER / "colab_tpu.ipynb", tmp_path)
    assert find_faults(notebook) == []
    assert "TensorFlow's own choice" in str(summarize(notebook)["option"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_saved_with_clean_outputs_and_pictures(path: Path) -> None:
    saved = nbformat.read(path, as_version=4)
    assert find_faults(saved) == []
    counts = [cell.execution_count for cell, _ in iterate_outputs(saved)]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [output for _, results in iterate_outputs(saved) for output in results]
    pictures = [output.data[PICTURE] for output in outputs if PICTURE in output.get("data", {})]
    assert len(pictures) >= 2 and max(map(len, pictures)) < IMAGE_MAX_CHARACTERS
    assert find_machine_details(saved) == []


def find_machine_details(notebook: nbformat.NotebookNode) -> list[str]:
    """Return each text in the outputs that only the machine of the run has: directories and ports."""
    outputs = [output for _, results in iterate_outputs(notebook) for output in results]
    texts = [str(output.get("text") or {**output.get("data", {}), PICTURE: ""}) for output in outputs]
    return [found for text in texts for found in _MACHINE.findall(text)]


@pytest.mark.parametrize("text", ["/tmp/x/model", "http://127.0.0.1:41447/demo", "/home/user"])
def test_details_of_the_machine_are_noticed(text: str) -> None:
    output = nbformat.v4.new_output("stream", name="stdout", text=text)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1", outputs=[output])])
    assert len(find_machine_details(notebook)) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_hides_messages_or_is_long(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert [cell.id for cell in cells if "dup2" in cell.source or len(cell.source.splitlines()) > CELL_MAX_LINES] == []


COLAB = "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')\n"


def read_first_cell() -> str:
    """Return the code that every notebook begins with."""
    sources = [nbformat.read(path, as_version=4).cells for path in NOTEBOOKS]
    [source] = {next(cell.source for cell in cells if cell.cell_type == "code") for cells in sources}
    return str(source)


def test_in_colab_the_first_cell_installs_from_a_git_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    repository, empty = make_repository(tmp_path / "repository"), tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "installed").mkdir()
    # pip installs into a directory of the test, and only this package: the others are there, as in Colab.
    for name, value in (("TARGET", tmp_path / "installed"), ("NO_INDEX", 1), ("NO_DEPS", 1), ("NO_BUILD_ISOLATION", "no")):
        monkeypatch.setenv(f"PIP_{name}", str(value))
    source = re.sub(r'REPOSITORY = "[^"]*"', f"REPOSITORY = {str(repository)!r}", read_first_cell())
    show = f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r})\n"
    tail = "\ntfimm_resolver.__file__, digits.__file__"
    # The second is a reader who runs it twice.
    cells = [nbformat.v4.new_code_cell(COLAB + show + source + tail), nbformat.v4.new_code_cell(source + tail)]
    run_kernel(nbformat.v4.new_notebook(cells=cells), empty)
    for cell in cells:
        result = str([output.data["text/plain"] for output in cell.outputs if "data" in output])
        assert str(tmp_path / "installed" / "tfimm_resolver") in result
        assert str(empty / "clone" / "notebooks" / "digits.py") in result
    assert not (empty / "clone" / "notebooks" / "clone").exists()


def test_elsewhere_the_first_cell_installs_nothing(tmp_path: Path) -> None:
    code = read_first_cell().replace("import digits\n", "")
    cell = nbformat.v4.new_code_cell(code)
    run_kernel(nbformat.v4.new_notebook(cells=[cell]), tmp_path)
    assert not (tmp_path / "clone").exists() and [output.output_type for output in cell.outputs] == ["execute_result"]


def make_repository(folder: Path) -> Path:
    """Make a git repository of the files that an installation and the notebooks need."""
    ignored = shutil.ignore_patterns("__pycache__", "*.ipynb")
    for name in ("tfimm_resolver", "notebooks"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "a"]):
        subprocess.run([*git, *command], check=True)
    return folder


@contextlib.contextmanager
def start_remote_worker(home: Path) -> Iterator[dict[str, str]]:
    """Start a worker in place of a TPU, which sees neither the home nor temporary files; yield the environment to use it."""
    with workers(home, number=1) as cluster:
        if not cluster.hidden:
            pytest.skip("the worker sees the files: this kernel has no user namespaces")
        (home / "tmp").mkdir()
        yield {"COLAB_TPU_ADDR": cluster.addresses[0], "TMPDIR": str(home / "tmp")}


def save_all(home: Path, *names: str) -> None:
    """Run every notebook, or those with a name, in a new home, as a reader would, and save it with its outputs."""
    home.mkdir()
    for variable in [name for name in os.environ if name.startswith(("TFHUB_", "TFIMM_", "XDG_"))]:
        del os.environ[variable]
    os.environ["HOME"] = str(home)
    with start_remote_worker(home) as environment:
        os.environ.update(environment)
        for path in NOTEBOOKS:
            if not names or path.stem in names:
                nbformat.write(execute(path, home), path)
    shutil.rmtree(home)


if __name__ == "__main__":
    save_all(Path(tempfile.mkdtemp(), "home"), *sys.argv[1:])
