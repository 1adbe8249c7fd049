"""``tfimm-resolver demo`` without TensorFlow shows the half that needs none, and says what to do next."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.fakes.processes import read_terminal, start
from tfimm_resolver import settings
from tfimm_resolver.cli.demo import use_own_settings
from tools.reference.variables import TOPICS

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


BAD = {name: "?" for rows in TOPICS.values() for names, _, _ in rows for name in names.split()}
CONFIG = 'max_size = "1B"\nmin_free = "100%"\n[[ops]]\nrefuse = ["python"]\nat = "resolve"\n[[trust]]\nprefix = "http://"\n'


@pytest.mark.parametrize(
    "variables",
    [
        {"TFIMM_RESOLVER_MIRRORS": "http://127.0.0.1:1,off"},
        {"TFIMM_RESOLVER_OFFLINE": "1"},
        {"http_proxy": "http://127.0.0.1:1", "ALL_PROXY": "socks5://127.0.0.1:1"},
        {"TFIMM_RESOLVER_OPS": "refuse", "TFIMM_RESOLVER_MAX_SIZE": "1B", "TFIMM_RESOLVER_MIN_FREE": "100%"},
        {name: value for name, value in BAD.items() if name not in ("TERM", "NO_COLOR", "XDG_CONFIG_HOME")},
    ],
    ids=["mirrors", "offline", "proxy", "limits", "all"],
)
def test_the_settings_of_the_user_do_not_count(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "config" / "tfimm_resolver"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(CONFIG)
    (folder / "hosts.toml").write_text("not TOML")
    (tmp_path / "tfimm-models.toml").write_text("not TOML")
    monkeypatch.chdir(tmp_path)
    for name, value in {**variables, "XDG_CONFIG_HOME": str(tmp_path / "config")}.items():
        monkeypatch.setenv(name, value)
    assert len(json.loads(run_demo("--json")[0])["steps"]) == 9


def test_the_settings_are_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    before, directory = dict(os.environ), settings.get_dir()
    with pytest.raises(KeyError), use_own_settings(tmp_path):
        assert "https_proxy" not in os.environ and settings.get_dir() == str(tmp_path / "models")
        raise KeyError
    assert (dict(os.environ), settings.get_dir()) == (before, directory)
