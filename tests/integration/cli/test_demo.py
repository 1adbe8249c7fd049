"""``tfimm-resolver demo`` without TensorFlow shows the half that needs none, and says what to do next."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import textwrap

import pytest

from tests.fakes.processes import read_terminal, start

WITHOUT_TENSORFLOW = """
    import sys
    sys.modules["tensorflow"] = None
    from tfimm_resolver.cli import main
    sys.exit(main(sys.argv[1:]))
"""


def run_demo(*arguments: str) -> tuple[str, str]:
    """Run the demonstration as in an environment without TensorFlow; return stdout and stderr."""
    with start(WITHOUT_TENSORFLOW, "demo", *arguments) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out, err


def test_a_model_is_resolved_damaged_and_repaired() -> None:
    steps = json.loads(run_demo("--json")[0])["steps"]
    assert [(step["name"], bool(step["size_bytes"])) for step in steps] == [
        ("handle", False),
        ("resolve, cold", True),
        ("resolve, warm", False),
        ("verify", False),
        ("damage the copy", False),
        ("verify", False),
        ("resolve, repairs", True),
        ("verify", False),
        ("resolve by name", False),
    ]
    results = [step["result"] for step in steps]
    assert results[1] == results[2] and results[6] == results[8] and not os.path.exists(results[6])
    assert results[3] == results[7] == "ok" and results[5].startswith("damaged: saved_model.pb")


def test_the_next_steps_are_printed_unless_only_results_are_asked_for() -> None:
    out, err = run_demo()
    assert "resolve, repairs" in out and "TensorFlow is not installed" in err and "tfimm-resolver add NAME HANDLE" in err
    assert max(map(len, err.splitlines())) <= 80
    out, err = run_demo("-q")
    assert err == "" and "STEP" not in out and out.splitlines()[3] == "ok", "a result a line"


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_the_table_fits_the_terminal(columns: int) -> None:
    text = read_demo(columns)
    lines = [line.rstrip() for line in text.splitlines()]
    assert max(map(len, lines)) <= columns
    assert [line.split()[1] for line in lines if line.startswith("verify")] == ["ok", "damaged:", "ok"]
    assert ("TIME" in text, "BYTES" in text) == (columns >= 60, columns >= 60)
    assert all(f"tfimm-resolver {name}" in text for name in ("resolve HANDLE", "add NAME HANDLE", "ls", "COMMAND --help"))


def read_demo(columns: int) -> str:
    """Return what the demonstration without TensorFlow shows on a terminal of that width."""
    controller, terminal = pty.openpty()
    job = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WITHOUT_TENSORFLOW), "--color=never", "demo"],
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "COLUMNS": str(columns)},
    )
    os.close(terminal)
    text = read_terminal(controller, lambda _: None)
    assert job.wait(60) == 0
    return text
