"""The exit code of every kind of failure: 3 only for what could not be fetched, or is not what it should be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.cli import run_here
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.origin import Origin
from tfimm_resolver.cli.commands import COMMANDS

FAILURES = [
    # A command line, its exit code, the code of its error, and words of its message.
    ("resolve ./missing.tar.gz", 2, "unknown-handle", "no model at path"),
    ("resolve missing", 2, "unknown-handle", "no model named"),
    ("resolve ftp://host/model", 2, "unknown-handle", "no source handles"),
    ("resolve gs://", 2, "handle", "no host"),
    ("resolve --sha256 abc URL", 2, "handle", "64 hexadecimal digits"),
    ("resolve ./notes.txt", 2, "handle", "its name does not end in"),
    ("resolve ./text.tar.gz", 3, "archive", "it is not a .tar"),
    ("resolve GONE", 3, "not-found", "404"),
    ("resolve CLOSED", 3, "offline", "cannot be reached"),
    ("resolve --sha256 ZEROS URL", 3, "integrity", "sha256"),
    ("resolve --cache-dir ftp://host/cache URL", 2, "usage", "a local directory, or a gs:// or s3:// URL"),
    ("resolve --cache-dir ./notes.txt URL", 4, "cache", "Not a directory"),
    ("fetch URL ./notes.txt", 4, "cache", "not a directory"),
    ("fetch GONE there", 3, "not-found", "404"),
    ("fetch URL", 2, "usage", "needs a DIR"),
    ("inspect missing", 2, "unknown-handle", "no model named"),
    ("inspect --cached URL", 2, "unknown-handle", "is not cached"),
    ("inspect ./empty", 5, "not-a-saved-model", "saved_model.pb"),
    ("load ./missing", 2, "unknown-handle", "no model at path"),
    ("ls --filter colour=red", 2, "handle", "is not known"),
    ("ls --sort colour", 2, "usage", "is not one of"),
    ("du extra", 2, "usage", "unexpected extra argument"),
    ("rm missing", 2, "unknown-handle", "is not cached"),
    ("prune --max-size much", 2, "handle", "Set it to a size"),
    ("keep missing", 2, "unknown-handle", "is not cached"),
    ("unkeep missing", 2, "unknown-handle", "is not cached"),
    ("verify missing", 2, "unknown-handle", "is not cached"),
    ("adopt --from missing", 2, "handle", "is not a directory"),
    ("add name missing", 2, "unknown-handle", "no model named"),
    ("add name GONE", 3, "not-found", "404"),
    ("add 2/1 URL", 2, "handle", "2/1"),
    ("lock", 2, "models-file", "there is no tfimm-models.toml"),
    ("sync", 2, "models-file", "there is no tfimm-models.toml"),
    ("sync --check", 2, "models-file", "there is no tfimm-models.toml"),
    ("why ftp://host/model", 2, "unknown-handle", "no source handles"),
    ("export missing -o models.tar", 2, "unknown-handle", "is not cached"),
    ("export GONE -o models.tar", 3, "not-found", "404"),
    ("export URL -o missing/models.tar", 4, "cache", "its directory does not exist"),
    ("export URL -o empty", 4, "cache", "it is a directory"),
    ("import missing.tar", 2, "unknown-handle", "there is no bundle"),
    ("import empty", 2, "handle", "it is a directory"),
    ("import notes.txt", 2, "handle", "is not a bundle: it begins with"),
    ("import text.tar.gz", 2, "handle", "is not a bundle"),
    ("import --key k notes.txt", 2, "usage", "only be used together"),
    ("sign missing --key k", 2, "unknown-handle", "is not cached"),
    ("sign notes.txt --key missing.pem", 2, "handle", "cannot be read"),
    ("sbom missing", 2, "unknown-handle", "is not cached"),
    ("hub list CLOSED_REPOSITORY", 2, "handle", ""),
    ("hub list empty --local --trust", 3, "not-found", "hubconf.py not found"),
    ("hub help hub none --local --trust", 5, "entry-point", "none"),
    ("explain missing", 2, "usage", "no error or exit code"),
    ("completion tcsh", 2, "usage", "is not one of"),
    ("path extra", 2, "usage", "unexpected extra argument"),
    ("doctor extra", 2, "usage", "unexpected extra argument"),
    ("env extra", 2, "usage", "unexpected extra argument"),
    ("demo extra", 2, "usage", "unexpected extra argument"),
    ("nothing", 2, "usage", "no such command"),
    ("hub", 2, "usage", "missing command"),
    ("hub trust", 2, "usage", "tfimm-resolver hub trust [OPTIONS] COMMAND"),
    ("--nothing", 2, "usage", "no such option"),
]
WITHOUT_JSON = {"run"}


@pytest.fixture
def fill(project: Path, origin: Origin) -> Callable[[str], str]:
    """Make the files of the command lines; return a function that fills in their URLs."""
    url = origin.put("/model.tar.gz", tar_gz())
    (project / "empty").mkdir()
    (project / "hub").mkdir()
    (project / "hub/hubconf.py").write_text("def net():\n    return 1\n")
    (project / "notes.txt").write_text("notes")
    (project / "text.tar.gz").write_text("some text")
    values = {"CLOSED_REPOSITORY": "a/b/c/d", "URL": url, "GONE": f"{origin.url}/gone.tar.gz"}
    values |= {"CLOSED": "http://127.0.0.1:1/model.tar.gz", "ZEROS": "0" * 64}
    return lambda line: re.sub("|".join(values), lambda found: values[found[0]], line)


@pytest.mark.parametrize(("line", "code", "kind", "words"), FAILURES, ids=[line for line, *_ in FAILURES])
def test_a_failure_has_its_exit_code(line: str, code: int, kind: str, words: str, fill: Callable[[str], str]) -> None:
    seen, out, err = run_here(*fill(line).split(" "), "--json")
    error = json.loads(out)["error"]
    assert (seen, error["code"]) == (code, kind), (error, err)
    assert words in f"{error['text']} {error['fix']}" and error["text"][0] != " "
    assert not err.startswith("Usage:"), "an error of click has its own form"


@pytest.mark.parametrize("line", ["--json hub", "--json hub trust"])
def test_a_group_without_a_command_prints_json_if_that_is_asked_for(line: str, project: Path) -> None:
    code, out, err = run_here(*line.split())
    error = json.loads(out)["error"]
    assert (code, err, error["code"], error["text"]) == (2, "", "usage", "missing command") and line[7:] in error["fix"]


def test_every_command_is_in_the_table() -> None:
    assert {*COMMANDS} - WITHOUT_JSON <= {line.partition(" ")[0] for line, *_ in FAILURES}


def test_a_cache_that_cannot_be_written_has_exit_code_4(fill: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = run_here("resolve", "--cache-dir", str(tmp_path / "file/cache"), fill("URL"))
    assert code == 4 and str(tmp_path / "file/cache") in err


@pytest.mark.parametrize("line", ["explain", "explain 3", "explain not-found", "explain NotFoundError", "explain 11"])
def test_errors_and_exit_codes_are_explained(line: str, project: Path) -> None:
    code, out, err = run_here(*line.split())
    assert (code, err) == (0, "") and ("NotFoundError" in out or "`doctor`" in out)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("notfound-error", "not-found"),
        ("CachError", "CacheError"),
        ("zzz", "`tfimm-resolver explain` lists"),
        ("99", "`tfimm-resolver explain` lists"),
        ("01", "`tfimm-resolver explain` lists"),
        ("1.0", "`tfimm-resolver explain` lists"),
    ],
)
def test_an_error_that_does_not_exist_is_suggested(name: str, meant: str, project: Path) -> None:
    code, out, err = run_here("explain", name)
    assert (code, out) in ((2, ""), (0, out)) and (meant in err or code == 0)


@pytest.mark.parametrize("command", ["rm", "keep", "unkeep", "verify"])
@pytest.mark.parametrize(
    ("name", "meant"),
    [("modle.tar.gz", "URL"), ("URLx", "URL"), ("resnet81", "resnet18"), ("quite_different", "`tfimm-resolver ls`")],
)
def test_a_misspelt_name_of_a_cached_model_is_suggested(
    command: str, name: str, meant: str, fill: Callable[[str], str], project: Path
) -> None:
    assert run_here("resolve", fill("URL"))[0] == 0
    (project / "tfimm-models.toml").write_text(f'[models.resnet18]\nhandle = "{fill("URL")}"\n')
    code, _, err = run_here(command, fill(name))
    assert code == 2 and "Nothing was changed." in err and fill(meant) in err.partition("Nothing was changed.")[2]
