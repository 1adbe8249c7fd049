"""What each command prints with ``--json`` has the documented schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.origin import Origin
from tfimm_resolver.cli.commands import COMMANDS
from tools.reference.json_output import SCHEMAS

DOCUMENTED = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "json_schemas.json").read_text())
WITHOUT = {"run", "hub"}
"""Commands that print nothing of their own, or whose commands are documented instead."""


@pytest.fixture
def handle(origin: Origin) -> str:
    """The URL of a model."""
    return origin.put("/half.tar.gz", tar_gz())


@pytest.fixture
def models_file(handle: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A models file with a model that is not cached, one that does not exist, and a directory."""
    path = tmp_path / "tfimm-models.toml"
    gone = handle.replace("half", "gone")
    path.write_text(f'[models.half]\nhandle = "{handle}"\n[models.gone]\nhandle = "{gone}"\n')
    monkeypatch.setenv("TFIMM_MODELS_FILE", str(path))
    yield path


def check(name: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run a command with ``--json``; its output must have its schema. Return it."""
    seen, out, err = run_cli(*arguments, "--json")
    assert seen == code, (out, err)
    facts: dict[str, Any] = json.loads(out)
    jsonschema.Draft202012Validator(DOCUMENTED[name]).validate(facts)
    return facts


def test_each_command_has_a_schema() -> None:
    assert {name.partition(" ")[0] for name in SCHEMAS} == set(COMMANDS) - WITHOUT | {"hub"}
    for schema in DOCUMENTED.values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_cache_commands_print_their_schema(handle: str, tmp_path: Path) -> None:
    gone = handle.replace("half", "gone")
    assert check("resolve", "resolve", handle, gone, code=3)["error"]["code"] == "not-found"
    (model,) = check("ls", "ls")["models"]
    check("verify", "verify")
    Path(model["path"], "saved_model.pb").write_bytes(b"x")
    assert check("ls", "ls")["models"][0]["fault"]
    assert check("verify", "verify", code=6)["models"][0]["faults"]
    assert check("verify", "verify", "--repair")["models"][0]["repaired"] is True
    bundle = str(tmp_path / "models.tar")
    check("export", "export", handle, "-o", bundle)
    assert check("import", "import", bundle)["models"][0]["state"] == "same"
    check("why", "why", handle)
    assert check("keep", "keep", handle)["models"] and check("unkeep", "unkeep", handle)["models"]
    assert check("prune", "prune", "--max-size", "0B", "--dry-run")["spared"] == {"used_lately": 1}
    assert check("rm", "rm", handle)["removed"]
    assert check("import", "import", bundle)["models"][0]["state"] == "imported"
    check("path", "path")


def test_project_commands_print_their_schema(models_file: Path, handle: str) -> None:
    check("sync", "sync", "--check", code=8)
    assert "error" in check("sync", "sync", code=3)
    assert "error" in check("lock", "lock", code=3)
    check("lock", "lock", "half")
    check("add", "add", "other", handle, "--alias", "o", "--mirror", handle)
    check("why", "why", "o")
    check("why", "why", "gone")
    check("path", "path")


def test_an_error_prints_its_schema(tmp_path: Path) -> None:
    check("error", "export", "no_such_model", "-o", str(tmp_path / "m.tar"), code=2)
    check("error", "sync", code=2)


def test_an_unknown_field_is_noticed(handle: str) -> None:
    facts = check("resolve", "resolve", handle)
    facts["models"][0]["new"] = 1
    with pytest.raises(jsonschema.ValidationError, match="new"):
        jsonschema.Draft202012Validator(DOCUMENTED["resolve"]).validate(facts)
