"""``tfimm-resolver hub``, as a person and as a program sees it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import pytest

from tests.git_host import GitHost, Repo
from tests.test_cli import ran

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
        self.said = [x, kwargs]
        print(self.said)
'''


@pytest.fixture
def repo(host: GitHost) -> Repo:
    """A repository with a tag."""
    repo = host.repo("ada/models", {"hubconf.py": HUBCONF})
    repo.git("tag", "v1")
    repo.push()
    return repo


def test_lists_explains_and_calls(repo: Repo) -> None:
    code, out, err = ran("hub", "list", "--trust", "ada/models")
    assert (code, out) == (0, "Model\nbare\none\n") and "github://" in err
    assert ran("hub", "help", "ada/models:v1", "one")[1] == "One model.\n\n    x: a number.\n"
    code, out, err = ran("hub", "help", "ada/models", "bare")
    assert (code, out) == (0, "") and "bare has no docstring" in err
    code, out, err = ran("hub", "load", "ada/models", "one", "-a", "x=[1, null]", "--arg", "y=plain text", "--arg", "z=a=b")
    assert code == 0 and "[[1, None], {'y': 'plain text', 'z': 'a=b'}]\n" in err, "what it prints is no data"
    assert out.startswith("tfimm_hub_") and out.endswith(".hubconf.Model\n") and "native chatter" not in err


def test_json_is_one_object(repo: Repo, host: GitHost) -> None:
    facts = json.loads(ran("hub", "list", "ada/models", "--json", "--trust")[1])
    assert facts == {"repository": "ada/models", "entries": ["Model", "bare", "one"]}
    facts = json.loads(ran("hub", "help", "ada/models", "bare", "--json")[1])
    assert facts == {"repository": "ada/models", "entry": "bare", "help": None}
    facts = json.loads(ran("--json", "hub", "load", "ada/models", "Model", "-a", "x=1", "-a", "kwargs={}")[1])
    assert facts["variables"] == [] and facts["type"].endswith("Model") and os.path.isdir(facts["path"])
    code, out, _ = ran("hub", "load", "eve/models", "one", "--json")
    assert code == 3 and json.loads(out)["error"]["code"] == "not-found"


@pytest.mark.parametrize(
    ("arguments", "expected", "told"),
    [
        (["list", "ada"], 2, "names no repository"),
        (["help", "ada/models"], 2, "Missing argument 'ENTRY'"),
        (["load", "ada/models", "one", "--arg", "x"], 2, "is not NAME=VALUE"),
        (["nonsense"], 2, "No such command"),
        (["list", "ada/models:gone"], 3, "Cannot find gone in"),
        (["list", "ada/plain", "--trust"], 3, "has no hubconf.py"),
        (["list", "ada/models"], 5, "command line: --trust"),
        (["help", "ada/models", "two", "--trust"], 5, "Cannot find callable two in hubconf"),
        (["load", "ada/models", "bare", "--trust"], 5, "KeyError: 'why'"),
        (["list", "ada/needy", "--trust"], 5, "Missing dependencies: no_such_module"),
    ],
)
def test_the_exit_code_tells_the_kind_of_error(
    arguments: list[str], expected: int, told: str, repo: Repo, host: GitHost
) -> None:
    host.repo("ada/plain", {"README": ""})
    host.repo("ada/needy", {"hubconf.py": "dependencies = ['no_such_module']\n"})
    code, out, err = ran("hub", *arguments)
    assert (code, out) == (expected, "") and told in err and "Traceback" not in err


def test_options_of_the_other_commands_are_taken(repo: Repo, host: GitHost) -> None:
    code, out, err = ran("hub", "list", "ada/models", "--trust", "-q")
    assert (code, out, err) == (0, "Model\nbare\none\n", "")
    repo.commit({"hubconf.py": "def new(): pass\n"})
    assert ran("hub", "list", "ada/models", "-q")[1] == out
    assert ran("hub", "list", "ada/models", "-q", "--force-reload")[1] == "new\n"
    first = repo.git("rev-parse", "v1")
    repo.git("push", "-q", "origin", ":refs/tags/v1")
    assert ran("hub", "list", f"ada/models:{first}")[0] == 3
    assert ran("hub", "list", f"ada/models:{first}", "--skip-validation", "-q")[1] == out


def test_a_local_directory_is_taken(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("mine")
    (folder / "hubconf.py").write_text(HUBCONF)
    assert ran("hub", "list", "--local", str(folder)) == (0, "Model\nbare\none\n", "")


def test_the_question_is_asked_on_the_terminal_and_not_in_the_data(repo: Repo) -> None:
    ours, theirs = pty.openpty()
    job = subprocess.Popen(
        [sys.executable, "-m", "tfimm_resolver", "hub", "list", "ada/models", "-q"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    os.write(ours, b"y\n")
    out, err = job.communicate(timeout=60)
    os.close(ours)
    assert (job.returncode, out) == (0, "Model\nbare\none\n") and "(y/N)?" in err
