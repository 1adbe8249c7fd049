"""The examples in the help of each command run as they stand; their host is a server on loopback."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.cli import run_here
from tests.fakes.graphs import write_saved_model
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.origin import Origin
from tests.fakes.signing import make_key
from tfimm_resolver.cli.help_pages import PAGES, URL, list_examples

ARCHIVE = Path(__file__).parents[2] / "data" / "half_plus_two_v1.tar.gz"
NOT_RUN = re.compile(r" (load|demo)\b| run |ada/models|--online")
"""Needs TensorFlow, replaces the process, or asks servers of others."""

CACHES_FIRST = ("rm", "keep", "unkeep", "verify", "sbom", "import")
CHANGED = {"sync --check half": 8, "lock --check": 8}
"""Exit codes of examples that report what is missing in the project."""

EXAMPLES = [(name, line) for name in PAGES for line in list_examples(name) if not NOT_RUN.search(line)]


@pytest.fixture
def run_example(project: Path, origin: Origin, tmp_path: Path) -> Callable[[str, str], tuple[int, str, str]]:
    """Return a function that runs an example in a directory with what the examples name."""
    url = origin.put("/half_plus_two/1.tar.gz", ARCHIVE.read_bytes())
    write_saved_model(project / "model", weights={"v": (2,)})
    (project / "repository").mkdir()
    (project / "repository/hubconf.py").write_text("def half():\n    '''Half.'''\n    return 1\n")
    make_key(tmp_path).path.rename(project / "private.pem")
    models_file = f'[models.half]\nhandle = "{url}"\n'

    def run(name: str, line: str) -> tuple[int, str, str]:
        if name != "add" or "--replace" in line:
            (project / "tfimm-models.toml").write_text(models_file)
        if name in CACHES_FIRST:
            run_here("export", url, "-o", "models.tar")
        words = shlex.split(line.replace(URL, url).replace("./repository", "repository"))
        if name.startswith("hub "):
            words.append("--trust") if name != "hub trust revoke" and name != "hub trust list" else None
        return run_here(*words[1:])

    return run


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_an_example_runs(name: str, line: str, run_example: Callable[[str, str], tuple[int, str, str]]) -> None:
    expected = CHANGED.get(line.removeprefix("tfimm-resolver "), 0)
    code, out, err = run_example(name, line)
    assert code == expected, (out, err)
    assert out or err or name == "hub trust list" or line.endswith("-q")
