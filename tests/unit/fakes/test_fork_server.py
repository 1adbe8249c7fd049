"""The server that forks a child for each snippet: what a child sees, prints and returns."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.fork_server import ForkServer


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """A server that has imported colorsys, which nothing else imports."""
    with ForkServer("colorsys") as server:
        yield server


def test_a_child_has_the_modules_the_arguments_and_the_environment_of_its_own(
    server: ForkServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OF_THE_TEST", "1")
    monkeypatch.chdir(tmp_path)
    code = """
        import os, sys
        print("colorsys" in sys.modules, sys.argv[1:], os.environ["OF_THE_TEST"], os.environ.get("OWN"), __name__, os.getcwd())
    """
    for own in ("2", None):
        child = server.start(code, "a b", **({"OWN": own} if own else {}))
        out, err = child.communicate(timeout=30)
        assert (child.returncode, err) == (0, "")
        assert out == f"True ['a b'] 1 {own} __main__ {tmp_path}\n", "nothing of an earlier child is left"


def test_errors_and_exit_codes_are_reported(server: ForkServer) -> None:
    failing, leaving = server.start("print(1)\nint('x')"), server.start("import sys; sys.exit(3)")
    out, err = failing.communicate(timeout=30)
    assert failing.returncode == 1 and out == "1\n" and err.endswith("invalid literal for int() with base 10: 'x'\n")
    assert leaving.communicate(timeout=30) == ("", "") and leaving.returncode == 3 == leaving.poll()


def test_handlers_of_atexit_run_in_the_child_only(server: ForkServer, tmp_path: Path) -> None:
    code = "import atexit, sys; atexit.register(lambda: open(sys.argv[1], 'a').write('x'))"
    for snippet in (code, "pass"):
        child = server.start(snippet, str(tmp_path / "left"))
        assert child.communicate(timeout=30) == ("", "") and child.returncode == 0
    assert (tmp_path / "left").read_text() == "x"


def test_a_child_can_be_killed_and_another_one_started(server: ForkServer) -> None:
    with server.start("import time; print('here', flush=True); time.sleep(60)") as child:
        assert child.stdout.readline() == "here\n" and child.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=0.1)
        os.kill(child.pid, 0)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert server.start("print(1)").communicate(timeout=30)[0] == "1\n"


def test_a_module_runs_as_the_program_of_its_child(
    server: ForkServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text("""if __name__ == "__main__":
        import os, sys, time
        print(sys.argv[0] == __file__, sys.argv[1:], oct(os.umask(0)), time.timezone)
        sys.exit(4)
""")
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o027)
    try:
        child = server.start_module("program", "a", TZ="XYZ-3")
    finally:
        os.umask(before)
    assert child.communicate(timeout=30) == ("True ['a'] 0o27 -10800\n", "") and child.returncode == 4
