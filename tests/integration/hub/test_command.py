"""Tests of ``tfimm-resolver hub``, as a person and as a program use it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from inspect import cleandoc

import pytest

from tests.fakes.cli import run_cli
from tests.fakes.git_host import GitHost, Repo

HUBCONF = '''
import os

def one(x=1, **kwargs):
    """One model.

    x: a number."""
    os.write(2, b"native chatter\\n")
    return Model(x, kwargs)

def bare():
    raise KeyError("why")

class Model:
    def __init__(self, x, kwargs):
        self.received = [x, kwargs]
        print(self.received)
'''


@pytest.fixture
def repo(host: GitHost) -> Repo:
    """A repository with a tag."""
    repo = host.repo("ada/models", {"hubconf.py": HUBCONF})
    repo.git("tag", "v1")
    repo.push()
    return repo


def test_list_help_and_load(repo: Repo) -> None:
    code, out, err = run_cli("hub", "list", "--trust", "ada/models")
    assert (code, out) == (0, "Model\nbare\none\n") and "github://" in err
    assert (
        cleandoc(run_cli("hub", "help", "ada/models:v1", "one")[1]) == "One model.\n\nx: a number."
    )  # Python 3.13 strips the indentation
    code, out, err = run_cli("hub", "help", "ada/models", "bare")
    assert (code, out) == (0, "") and "bare has no docstring" in err
    code, out, err = run_cli(
        "hub", "load", "ada/models", "one", "-a", "x=[1, null]", "--arg", "y=plain text", "--arg", "z=a=b"
    )
    assert code == 0 and "[[1, None], {'y': 'plain text', 'z': 'a=b'}]\n" in err, "what the entry point prints is not data"
    assert out.startswith("tfimm_hub_") and out.endswith(".hubconf.Model\n") and "native chatter" not in err


def test_json_is_one_object(repo: Repo, host: GitHost) -> None:
    facts = json.loads(run_cli("hub", "list", "ada/models", "--json", "--trust")[1])
    assert facts == {"repository": "ada/models", "entries": ["Model", "bare", "one"]}
    facts = json.loads(run_cli("hub", "help", "ada/models", "bare", "--json")[1])
    assert facts == {"repository": "ada/models", "entry": "bare", "help": None}
    facts = json.loads(run_cli("--json", "hub", "load", "ada/models", "Model", "-a", "x=1", "-a", "kwargs={}")[1])
    assert facts["variables"] == [] and facts["type"].endswith("Model") and os.path.isdir(facts["path"])
    code, out, _ = run_cli("hub", "load", "eve/models", "one", "--json")
    assert code == 3 and json.loads(out)["error"]["code"] == "not-found"


@pytest.mark.parametrize(
    ("arguments", "expected", "message"),
    [
        (["list", "ada"], 2, "does not name a repository"),
        (["help", "ada/models"], 2, "missing argument 'ENTRY'"),
        (["load", "ada/models", "one", "--arg", "x"], 2, "is not of the form NAME=VALUE"),
        (["nonsense"], 2, "no such command"),
        (["list", "ada/models:gone"], 3, "Cannot find gone in"),
        (["list", "ada/plain", "--trust"], 3, "has no hubconf.py"),
        (["list", "ada/models"], 5, "run the command with --trust"),
        (["help", "ada/models", "two", "--trust"], 5, "Cannot find callable two in hubconf"),
        (["load", "ada/models", "bare", "--trust"], 5, "KeyError: 'why'"),
        (["list", "ada/needy", "--trust"], 5, "Missing dependencies: no_such_module"),
    ],
)
def test_the_exit_code_tells_the_kind_of_error(
    arguments: list[str], expected: int, message: str, repo: Repo, host: GitHost
) -> None:
    host.repo("ada/plain", {"README": ""})
    host.repo("ada/needy", {"hubconf.py": "dependencies = ['no_such_module']\n"})
    code, out, err = run_cli("hub", *arguments)
    assert (code, out) == (expected, "") and message in err and "Traceback" not in err


def test_options_of_the_other_commands_are_taken(repo: Repo, host: GitHost) -> None:
    code, out, err = run_cli("hub", "list", "ada/models", "--trust", "-q")
    assert (code, out, err) == (0, "Model\nbare\none\n", "")
    repo.commit({"hubconf.py": "def new(): pass\n"})
    assert run_cli("hub", "list", "ada/models", "-q")[1] == out
    assert run_cli("hub", "list", "ada/models", "-q", "--force-reload")[1] == "new\n"
    first = repo.git("rev-parse", "v1")
    repo.git("push", "-q", "origin", ":refs/tags/v1")
    assert run_cli("hub", "list", f"ada/models:{first}")[0] == 3
    code, _, err = run_cli("hub", "list", f"ada/models:{first}", "--skip-validation", "-q")
    assert code == 5 and "is not a tip of" in err and "run the command with --trust" in err
    assert run_cli("hub", "list", f"ada/models:{first}", "--skip-validation", "--trust", "-q")[1] == out


def test_a_local_directory_is_taken(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "hubconf.py").write_text(HUBCONF)
    assert run_cli("hub", "list", "--local", str(folder)) == (0, "Model\nbare\none\n", "")


def test_the_question_is_asked_on_the_terminal_and_not_in_the_data(repo: Repo) -> None:
    controller, terminal = pty.openpty()
    job = subprocess.Popen(
        [sys.executable, "-m", "tfimm_resolver", "hub", "list", "ada/models", "-q"],
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(terminal)
    os.write(controller, b"y\n")
    out, err = job.communicate(timeout=60)
    os.close(controller)
    assert (job.returncode, out) == (0, "Model\nbare\none\n") and "(y/N)?" in err
