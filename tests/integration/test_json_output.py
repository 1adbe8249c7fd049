"""What each command prints with ``--json`` has the documented schema."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.fakes.archives import MODEL, tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.foreign_caches import put_in_kagglehub
from tests.fakes.graphs import write_saved_model
from tests.fakes.operations import make_loading_model
from tests.fakes.origin import Origin
from tests.fakes.signing import make_key, trust_prefix, with_signature
from tfimm_resolver.cli.commands import COMMANDS
from tools.reference.json_output import SCHEMAS

DOCUMENTED = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "json_schemas.json").read_text())
WITHOUT = {"run", "hub", "completion"}
"""Commands that print nothing of their own or no data, or whose commands are documented instead."""


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
    fetched = check("fetch", "fetch", handle, str(tmp_path / "half"), gone, str(tmp_path / "gone"), code=3)["models"]
    assert [row["state"] for row in fetched] == ["published", "failed"]
    (model,) = check("ls", "ls")["models"]
    check("verify", "verify")
    Path(model["path"], "saved_model.pb").write_bytes(b"x")
    assert check("ls", "ls")["models"][0]["fault"]
    assert check("verify", "verify", code=6)["models"][0]["faults"]
    assert check("verify", "verify", "--repair")["models"][0]["repaired"] is True
    bundle = str(tmp_path / "models.tar")
    check("export", "export", handle, "-o", bundle)
    assert check("import", "import", bundle)["models"][0]["state"] == "cached"
    check("why", "why", handle)
    check("sbom", "sbom", "-o", str(tmp_path / "sbom.json"))
    key = make_key(tmp_path)
    signature = check("sign", "sign", bundle, "--key", str(key.path))["signature"]
    check("import", "import", bundle, "--signature", signature, "--key", str(key.public_path))
    assert check("keep", "keep", handle)["models"]
    assert check("ls", "ls", "--filter", "kept")["models"][0]["protected"]
    assert check("prune", "prune", "--max-size", "1B")["spared"] == {"protected": 1}
    assert check("unkeep", "unkeep", handle)["models"]
    assert check("prune", "prune", "--max-size", "1B", "--dry-run")["spared"] == {"used_lately": 1}
    assert check("du", "du")["total_bytes"] > 0
    assert check("rm", "rm", handle, "--dry-run")["removed"]
    check("inspect", "inspect", str(write_saved_model(tmp_path / "m", weights={"v": (2,)})), "--weights")
    writing = make_loading_model().write(tmp_path / "writing")
    assert check("inspect", "inspect", str(writing), "--ops")["operations"][0]["path"] == "/tmp/planted"
    assert check("rm", "rm", handle)["removed"]
    assert check("rm", "rm", "--all", "-y")["removed"] == []
    assert check("import", "import", bundle)["models"][0]["state"] == "imported"
    check("path", "path")
    check("doctor", "doctor")
    check("env", "env")
    assert check("doctor", "doctor", "--cache-dir", bundle, code=11)["problems"]


def test_adopting_prints_its_schema(tmp_path: Path) -> None:
    put_in_kagglehub(tmp_path / "other", "google/nnlm/tensorflow2/en-dim50/1")
    put_in_kagglehub(tmp_path / "other", "google/nnlm/tensorflow2/en-dim50/2", is_complete=False)
    check("adopt", "adopt", "--from", str(tmp_path / "other"), "--dry-run")
    states = [model["state"] for model in check("adopt", "adopt", "--from", str(tmp_path / "other"))["models"]]
    assert states == ["adopted", "skipped"]


def test_commands_about_trust_print_their_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_HUB_DIR", str(tmp_path))
    (tmp_path / "trusted_list").write_text("github.com/ada/models\n")
    assert check("hub trust list", "hub", "trust", "list")["repositories"] == ["github.com/ada/models"]
    assert check("hub trust revoke", "hub", "trust", "revoke", "--all")["revoked"] == ["github.com/ada/models"]


def test_who_signed_is_printed_by_each_command(handle: str, origin: Origin, tmp_path: Path) -> None:
    key = make_key(tmp_path)
    origin.put("/half.tar.gz", tar_gz(with_signature(key, MODEL)))
    trust_prefix(tmp_path / "home/.config/tfimm_resolver/config.toml", origin.url + "/", f'{{ key = "{key.public_path}" }}')
    check("resolve", "resolve", handle)
    assert check("ls", "ls")["models"][0]["signed_by"]["kind"] == "key"
    assert check("why", "why", handle)["signed_by"] and check("verify", "verify")["models"][0]["signed_by"]
    key.public_path.write_bytes(make_key(tmp_path, "other").public_path.read_bytes())
    assert check("verify", "verify", code=10)["models"][0]["state"] == "unsigned"
    assert check("why", "why", handle, code=10)["error"]["code"] == "signature"


def test_project_commands_print_their_schema(models_file: Path, handle: str, tmp_path: Path) -> None:
    check("sync", "sync", "--check", code=8)
    assert "error" in check("sync", "sync", code=3)
    synced = check("sync", "sync", "--layout", "tf-serving", str(tmp_path / "served"), code=3)
    assert [row["state"] for row in synced["models"] if "published" in row] == ["cached"] and synced["models_config"]
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
