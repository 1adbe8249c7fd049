"""The last lines of an uncaught error say what to do: in Python, IPython, Jupyter, pytest, and from another process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.origin import Origin

_STYLES = re.compile(r"\x1b\[[0-9;]*m")
_UNKNOWN = "import tfimm_resolver\ntfimm_resolver.resolve('no_such_model')"
_REFUSED = "import tfimm_resolver\ntfimm_resolver.resolve('http://127.0.0.1:1/m.tar.gz')"
_OVERRIDE = """import tfimm_resolver
with tfimm_resolver.using(models={"lion": "missing"}):
    tfimm_resolver.resolve("lion")"""
_NOT_A_MODEL = """import pathlib, tfimm_resolver
pathlib.Path("m.tar.gz").write_bytes(b"not an archive")
tfimm_resolver.resolve("m.tar.gz")"""
_ENTRY_POINT = """import pathlib, tfimm_resolver
pathlib.Path("hubconf.py").write_text("dependencies = ['no_such_package']\\ndef lion(): return 1 / 0")
tfimm_resolver.hub.load(".", "lion", source="local")"""
CASES = {
    "no such name": (_UNKNOWN, "UnknownHandleError"),
    "a connection that is refused": (_REFUSED, "OfflineError"),
    "an override of nothing": (_OVERRIDE, "MissingOverrideError"),
    "a file that is not an archive": (_NOT_A_MODEL, "ArchiveError"),
    "a dependency that is missing": (_ENTRY_POINT, "MissingDependencyError"),
}
LAST = """
import sys, traceback
def print_fix(kind, error, trace):
    traceback.print_exception(kind, error, trace)
    print(error.fix)
sys.excepthook = print_fix
"""


def run_python(*command: str, folder: Path) -> tuple[int, str, str]:
    """Run this Python; return the exit code, and the lines of stdout and stderr without colours."""
    job = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return job.returncode, _STYLES.sub("", job.stdout), _STYLES.sub("", job.stderr)


def read_fix(code: str, folder: Path) -> list[str]:
    """Return the lines of the fix of the error that a program raises."""
    fix = run_python("-c", LAST + code, folder=folder)[1].rstrip().splitlines()
    assert fix, "the error has no fix"
    return [line.strip() for line in fix]


def find_end(text: str, number: int) -> list[str]:
    """Return the last lines of an output, without blank ones."""
    return [line.strip() for line in text.splitlines() if line.strip()][-number:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty directory in which the programs run."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.mark.parametrize("case", CASES)
def test_in_python_the_fix_comes_last_and_before_it_the_public_name(case: str, folder: Path) -> None:
    code, name = CASES[case]
    fix = read_fix(code, folder)
    exit_code, _, err = run_python("-c", code, folder=folder)
    assert exit_code == 1 and find_end(err, len(fix)) == fix, err
    assert re.findall(r"^([\w.]+): ", err, re.MULTILINE)[-1] == f"tfimm_resolver.errors.{name}", err


def test_what_led_to_an_error_is_shown_before_it(folder: Path, origin: Origin) -> None:
    code = _REFUSED.replace("'http://127.0.0.1:1/m.tar.gz'", repr(origin.put("/m.tar.gz", b"\x1f\x8b\x08 damaged")))
    fix = read_fix(code, folder)
    _, _, err = run_python("-c", code, folder=folder)
    assert "direct cause of the following exception" in err and find_end(err, len(fix)) == fix, err


def test_an_error_of_another_process_ends_with_its_fix(folder: Path) -> None:
    (folder / "work.py").write_text(_UNKNOWN.replace("\n", "\ndef work(): ", 1))
    code = """
import concurrent.futures, multiprocessing, work
if __name__ == "__main__":
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        pool.submit(work.work).result()
"""
    (folder / "program.py").write_text(code)
    fix = read_fix(_UNKNOWN, folder)
    _, _, err = run_python("program.py", folder=folder)
    assert find_end(err, len(fix)) == fix, err


def test_in_ipython_the_fix_comes_last(folder: Path) -> None:
    fix = read_fix(_UNKNOWN, folder)
    _, out, err = run_python("-m", "IPython", "--no-banner", "--colors=NoColor", "-c", _UNKNOWN, folder=folder)
    assert find_end(out, len(fix)) == fix, (out, err)


def test_in_jupyter_the_fix_comes_last(folder: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    fix = read_fix(_UNKNOWN, folder)
    cell = nbformat.v4.new_code_cell(_UNKNOWN)
    notebook = nbformat.v4.new_notebook(cells=[cell])
    client = nbclient.NotebookClient(notebook, timeout=100, allow_errors=True, resources={"metadata": {"path": str(folder)}})
    client.execute()
    (output,) = cell.outputs
    assert output.ename == "UnknownHandleError" and find_end(output.evalue, len(fix)) == fix
    assert find_end(_STYLES.sub("", "\n".join(output.traceback)), len(fix)) == fix


@pytest.mark.long
def test_in_pytest_the_fix_is_the_end_of_the_error(folder: Path) -> None:
    fix = read_fix(_UNKNOWN, folder)
    (folder / "test_it.py").write_text(_UNKNOWN.replace("\n", "\ndef test_it(): ", 1))
    _, out, _ = run_python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py", folder=folder)
    assert [line[1:].strip() for line in out.splitlines() if line.startswith("E ")][-len(fix) :] == fix, out
