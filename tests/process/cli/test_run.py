"""Tests of ``tfimm_resolver.cli.commands.run`` and ``tfimm_resolver.cli.startup.sitecustomize``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.processes import wait_until
from tfimm_resolver.cli import startup
from tfimm_resolver.cli.commands.run import make_environment

FOLDER = str(Path(startup.__file__).parent)
RUN = [sys.executable, "-m", "tfimm_resolver"]
IS_IMPORTED = "import sys; print('tfimm_resolver' in sys.modules, 'tensorflow' in sys.modules)"
OTHER_PYTHON = """
import subprocess, sys
print(subprocess.run([sys.executable, *sys.argv[1:]], capture_output=True, text=True).stdout, end="")
"""


def run_command(
    *words: str, cwd: Path | None = None, options: tuple[str, ...] = (), **environment: str
) -> tuple[int, str, str]:
    """Run ``tfimm-resolver OPTIONS run WORDS``; return its exit code, output and errors."""
    job = subprocess.run(
        [*RUN, *options, "run", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return job.returncode, job.stdout, job.stderr


@pytest.mark.parametrize("words", [["--"], []], ids=["--", "plain"])
def test_a_command_and_its_children_import_the_package(words: list[str]) -> None:
    assert run_command(*words, sys.executable, "-c", IS_IMPORTED) == (0, "True False\n", "")
    assert run_command(*words, sys.executable, "-c", OTHER_PYTHON, "-c", IS_IMPORTED) == (0, "True False\n", "")


@pytest.mark.parametrize("option", ["-S", "-E", "-I"])
def test_a_python_that_ignores_it_is_not_affected(option: str) -> None:
    assert run_command("--", sys.executable, option, "-c", IS_IMPORTED) == (0, "False False\n", "")


@pytest.mark.parametrize("fault", ["", "raise RuntimeError('broken')", "import no_such_module", "1 +"])
def test_a_python_without_the_package_or_with_a_broken_one_works_as_before(fault: str, tmp_path: Path) -> None:
    if fault:
        (tmp_path / "tfimm_resolver").mkdir()
        (tmp_path / "tfimm_resolver/__init__.py").write_text(fault)
    python = getattr(sys, "_base_executable", sys.executable)  # without the packages of the virtual environment
    code = "import sys; print(sys.version_info[0])"
    assert run_command("--", python, "-W", "error", "-c", code, PYTHONPATH=str(tmp_path) if fault else "") == (0, "3\n", "")


def test_its_file_can_be_read_by_any_python() -> None:
    text = (Path(FOLDER) / "sitecustomize.py").read_text()
    for python_3_only in ("f'", 'f"', "->", "async", "nonlocal", "from __future__ import annotations"):
        assert python_3_only not in text


def test_the_path_of_the_child_is_as_without_it() -> None:
    code = "import sys; print(sys.path)"
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert run_command("--", sys.executable, "-c", code)[1] == plain


@pytest.mark.parametrize(
    ("text", "expected", "error"),
    [
        ("import sys\nsys.was_run = __name__\nvalue = 1\n", "sitecustomize 1 True", ""),
        ("import sys\nsys.was_run = 'half'\nimport no_such_module\n", "half None True", "No module named 'no_such_module'"),
        ("import sys\nsys.was_run = 'half'\n1 / 0\n", "half None True", "division by zero"),
    ],
    ids=["fine", "import error", "error"],
)
def test_another_sitecustomize_runs_as_without_it(text: str, expected: str, error: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(text)
    (tmp_path / "usercustomize.py").write_text("import sys\nsys.was_user = True\n")
    code = """
import sys
print(getattr(sys, "was_run", None), getattr(sys.modules.get("sitecustomize"), "value", None), "tfimm_resolver" in sys.modules)
"""
    plain = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    done = run_command("--", sys.executable, "-c", code, PYTHONPATH=str(tmp_path))
    assert (done[1].strip(), done[2]) == (expected, plain.stderr * 2), "tfimm-resolver itself reports it, too"
    assert error in done[2]


def test_it_is_first_in_the_path_once_and_options_reach_the_command(tmp_path: Path) -> None:
    assert make_environment({})["PYTHONPATH"] == make_environment({"PYTHONPATH": ""})["PYTHONPATH"] == FOLDER
    both = os.pathsep.join(["/a", FOLDER, "", "/b"])
    assert make_environment({"PYTHONPATH": both, "X": "y"}) == {"PYTHONPATH": f"{FOLDER}:/a::/b", "X": "y"}
    code = "import os; print(os.environ['TFHUB_CACHE_DIR'], os.environ['TFIMM_RESOLVER_QUIET'])"
    options = ("--cache-dir", str(tmp_path), "-q")
    assert run_command("--", sys.executable, "-c", code, options=options)[1] == f"{tmp_path} 1\n"
    code = "import sys; print(sys.argv[1:])"
    assert run_command(sys.executable, "-c", code, "--json", "--", "-q")[1] == "['--json', '--', '-q']\n"


def test_the_exit_code_is_that_of_the_command_and_follows_env_for_one_that_cannot_be_run(tmp_path: Path) -> None:
    assert run_command("--", sys.executable, "-c", "import sys; sys.exit(7)")[0] == 7
    code, out, err = run_command("--", "no-such-command", "x")
    assert (code, out) == (127, "") and "cannot run no-such-command: No such file" in err and "PATH" in err
    code, out, err = run_command("--", "", "x")
    assert (code, out) == (127, "") and "cannot run" in err and "Traceback" not in err
    (tmp_path / "plain").write_text("echo")
    for path in (tmp_path, tmp_path / "plain"):
        code, out, err = run_command("--", str(path))
        assert (code, out) == (126, "") and f"cannot run {path}: Permission denied\n  Check that" in err
    assert run_command()[0] == 2


def test_signals_reach_the_command_which_has_the_process_of_its_own(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = f"""
import os, pathlib, signal
pathlib.Path({str(ready)!r}).write_text(str(os.getpid()))
signal.pause()
"""
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1):
        with subprocess.Popen([*RUN, "run", "--", sys.executable, "-c", code]) as job:
            wait_until(lambda: ready.exists() and ready.read_text())
            assert int(ready.read_text()) == job.pid
            job.send_signal(number)
        assert job.returncode == -number
        ready.unlink()


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a shell")
def test_no_signal_is_ignored_that_python_ignores() -> None:
    signals = "trap '' PIPE; kill -s PIPE $$; echo alive"
    assert run_command("--", "sh", "-c", signals)[1] == "alive\n"
    assert run_command("--", "sh", "-c", "kill -s PIPE $$; echo alive")[:2] == (-signal.SIGPIPE, "")


def test_workers_that_import_only_tensorflow_hub_get_its_resolver(tmp_path: Path) -> None:
    site = tmp_path / "tensorflow_hub"
    site.mkdir()
    (site / "__init__.py").write_text("from tensorflow_hub import registry\n")
    (site / "registry.py").write_text(
        "class Registry:\n    _impls = []\n    def add_implementation(self, one):\n        self._impls.append(one)\n"
        "resolver = Registry()\n"
    )
    code = "import tensorflow_hub; print([type(one).__module__ for one in tensorflow_hub.registry.resolver._impls])"
    expected = f"['{tfimm_resolver.__name__}.integrations.tensorflow_hub']\n"
    assert run_command("--", sys.executable, "-c", code, PYTHONPATH=str(tmp_path))[1] == expected
