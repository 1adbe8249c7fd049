"""``-q`` prints results only, with every command: stderr is silent but for errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.cli import run_here
from tests.fakes.foreign_caches import put_in_kagglehub
from tests.fakes.graphs import write_saved_model
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.origin import Origin
from tests.fakes.signing import make_key
from tfimm_resolver import resolve
from tfimm_resolver.cli.commands import COMMANDS

SILENT, SOMETHING = "", None
NEEDS_TENSORFLOW = {"load", "demo"}
REPLACES_THE_PROCESS = {"run"}

COMMAND_LINES = [
    ("resolve URL", 0, "PATH"),
    ("resolve --refresh URL OTHER", 0, SOMETHING),
    ("fetch URL published", 0, "FOLDER/published"),
    ("inspect ./saved", 0, SOMETHING),
    ("ls", 0, "URL"),
    ("ls --cache-dir empty", 0, SILENT),
    ("du", 0, "URL"),
    ("rm URL", 0, "URL"),
    ("prune --max-size 1B -y", 0, SILENT),
    ("keep URL", 0, SILENT),
    ("unkeep URL", 0, SILENT),
    ("verify", 0, SILENT),
    ("adopt --from kaggle", 0, "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50/1"),
    ("add name OTHER", 0, "name"),
    ("lock", 0, "half"),
    ("sync", 0, "half"),
    ("sync --check", 0, SILENT),
    ("why URL", 0, "PATH"),
    ("why OTHER", 0, SILENT),
    ("export URL -o models.tar", 0, SOMETHING),
    ("export URL -o -", 0, SOMETHING),
    ("import models.tar", 0, "URL"),
    ("sign saved --key KEY", 0, "FOLDER/saved/model.sig"),
    ("sbom URL", 0, SOMETHING),
    ("path", 0, "CACHE"),
    ("doctor", 0, SILENT),
    ("env", 0, SOMETHING),
    ("explain not-found", 0, SOMETHING),
    ("hub list hub --local --trust", 0, "net"),
    ("hub help hub net --local --trust", 0, SILENT),
    ("hub load hub net --local --trust", 0, SOMETHING),
    ("hub trust list", 0, SILENT),
    ("hub trust revoke --all", 0, SILENT),
    ("completion bash", 0, SOMETHING),
]
"""A command line, its exit code, and its output, or None for any output that is not empty."""


@pytest.fixture
def fill(project: Path, origin: Origin, tmp_path: Path) -> Callable[[str], str]:
    """Make what the command lines need; return a function that fills in the URLs and paths."""
    url, other = (origin.put(f"/{name}.tar.gz", tar_gz()) for name in ("model", "other"))
    path = resolve(url)
    key = make_key(tmp_path)
    write_saved_model(project / "saved", weights={"v": (2,)})
    put_in_kagglehub(project / "kaggle", "google/nnlm/tensorflow2/en-dim50/1")
    (project / "hub").mkdir()
    (project / "hub/hubconf.py").write_text("def net():\n    return object()\n")
    (project / "tfimm-models.toml").write_text(f'[models.half]\nhandle = "{url}"\n')
    assert run_here("export", url, "-o", "models.tar")[0] == 0
    values = {"URL": url, "OTHER": other, "PATH": path, "FOLDER": str(project), "KEY": str(key.path)}
    values["CACHE"] = str(Path(path).parent)

    def fill_in(text: str) -> str:
        for name, value in values.items():
            text = text.replace(name, value)
        return text

    return fill_in


@pytest.mark.parametrize(("line", "code", "out"), COMMAND_LINES, ids=[line for line, _, _ in COMMAND_LINES])
def test_nothing_but_the_result_is_printed(line: str, code: int, out: str | None, fill: Callable[[str], str]) -> None:
    seen = run_here("-q", *fill(line).split(" "))
    assert (seen[0], seen[2]) == (code, "")
    expected = seen[1].rstrip("\n") if out is None else fill(out)
    assert seen[1].rstrip("\n") == expected and (expected or out is not None)


def test_every_command_is_in_the_table() -> None:
    tested = {line.partition(" ")[0] for line, _, _ in COMMAND_LINES}
    assert {*COMMANDS} - NEEDS_TENSORFLOW - REPLACES_THE_PROCESS == tested


def test_a_model_that_changed_upstream_is_one_line(fill: Callable[[str], str], project: Path) -> None:
    pin = f'sha256 = "{"0" * 64}"\nsize_bytes = 7\n'
    (project / "tfimm-models.toml").write_text(f'[models.half]\nhandle = "{fill("URL")}"\n{pin}')
    assert run_here("-q", "lock", "--check") == (8, "half\n", "")
    assert "lock --update half" in run_here("lock", "--check")[1]


@pytest.mark.parametrize(
    "line", ["resolve nothing", "fetch ./nothing x", "verify nothing", "adopt --from nothing", "lock none"]
)
def test_errors_are_printed(line: str, fill: Callable[[str], str]) -> None:
    code, out, err = run_here(*line.split(), "-q")
    assert code == 2 and out == "" and err.startswith("error: ")


def test_what_is_wrong_is_printed(fill: Callable[[str], str]) -> None:
    Path(fill("PATH"), "saved_model.pb").write_bytes(b"x")
    code, out, err = run_here("verify", "-q")
    assert (code, err) == (6, "") and out.startswith("damaged  ") and len(out.splitlines()) == 1
    code, out, err = run_here("doctor", "-q")
    assert (code, err) == (11, "") and out.startswith("problem ")


def test_warnings_are_not_printed_unless_more_is_asked_for(
    fill: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "ftp://host/cache")
    assert "skipped: " in run_here("ls")[2]
    assert run_here("ls", "-q")[2] == ""
    for line in ("ls -q -v", "-v ls -q", "--debug ls -q"):
        assert "skipped: " in run_here(*line.split())[2]
