"""``tfimm-resolver demo`` without TensorFlow shows the half that needs none, and says what to do next."""

from __future__ import annotations

import json
import os

from tests.fakes.processes import start

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
    assert run_demo("-q")[1] == ""
