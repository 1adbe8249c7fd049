"""A bill of materials is valid, complete, and the same bytes for the same models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import MODEL, tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.models_file import make_entry, write
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.signing import make_key, with_signature
from tfimm_resolver import maintenance, resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.errors import CacheError, SignatureError, UnknownHandleError

CARD = b"---\nlicense: apache-2.0\ntags:\n- a\n---\n# A model\n\nlicense: mit\n"


def get_properties(component: dict[str, Any]) -> dict[str, str]:
    return {one["name"].removeprefix("tfimm_resolver:"): one["value"] for one in component["properties"]}


def test_it_is_valid_and_lists_what_is_known(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    monkeypatch.chdir(tmp_path)
    key = make_key(tmp_path)
    files = with_signature(key, {**MODEL, "README.md": CARD})
    url = origin.put_model("/team/m/3", tar_gz(files))
    write(tmp_path, make_entry("half", url, f'signer = {{ key = "{key.public_path}" }}'))
    resolve("half")
    text = maintenance.make_sbom()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    (model,) = json.loads(text)["components"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "half", "3")
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert len(model["hashes"][0]["content"]) == 64 and model["externalReferences"][0]["url"] == url
    properties = get_properties(model)
    assert properties["handle"] == url and properties["signed_by:kind"] == "key"
    assert {one["name"] for one in model["components"]} == {*files}
    assert str(tmp_path) not in text and "T" not in json.loads(text)["metadata"]


def test_the_same_models_give_the_same_bytes_in_another_cache(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [origin.put_model(f"/m/{number}", tar_gz({**MODEL, "x": b"%d" % number})) for number in (2, 1, 3)]
    texts = set()
    for order in (urls, urls[::-1]):
        monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / f"cache{len(texts)}"))
        for url in order:
            resolve(url)
        texts |= {maintenance.make_sbom(), maintenance.make_sbom(order), maintenance.make_sbom(order[::-1] + order)}
    assert len(texts) == 1
    assert maintenance.make_sbom(urls[:1]) not in texts


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (b"---\nlicense: mit\n---\n", [{"license": {"id": "MIT"}}]),
        (b"---\nlicense: 'own-licence'\n---\n", [{"license": {"name": "own-licence"}}]),
        (b"license: mit\n", None),
        (b"---\ntags: x\n---\nlicense: mit\n", None),
        (b"---\nlicense: [a, b]\n---\n", None),
        (b"\xff\xfe---", None),
        (b"", None),
    ],
)
def test_the_licence_is_that_of_the_model_card(origin: Origin, card: bytes, expected: object) -> None:
    url = origin.put_model("/m/1", tar_gz({**MODEL, "README.md": card}))
    resolve(url)
    (model,) = json.loads(maintenance.make_sbom())["components"]
    assert model.get("licenses") == expected


def test_a_model_of_which_nothing_is_known_is_an_error(origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(UnknownHandleError, match="is not cached") as caught:
        maintenance.make_sbom([f"{origin.url}/m/1"])
    assert "Fetch it first" in caught.value.fix
    put_model(tmp_path / "cache" / entry_name_for_key(f"{origin.url}/m/1"))
    with pytest.raises(CacheError, match="no hashes are known") as unknown:
        maintenance.make_sbom([f"{origin.url}/m/1"])
    assert unknown.value.advice.command == f"Download it again: tfimm-resolver resolve --refresh {origin.url}/m/1"


def test_a_directory_is_not_in_the_cache(tmp_path: Path) -> None:
    path = put_model(tmp_path / "own")
    code, out, err = run_cli("sbom", str(path))
    assert (code, out) == (2, "") and f"{path} is at {path}, not in the cache\n  Give the handle" in err
    assert "refresh" not in err


def test_a_model_that_is_not_signed_as_required_is_not_listed(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = origin.put_model("/m/1", tar_gz())
    resolve(url)
    write(tmp_path, make_entry("half", url, f'signer = {{ key = "{make_key(tmp_path).public_path}" }}'))
    with pytest.raises(SignatureError):
        maintenance.make_sbom()


def test_the_command_prints_it_or_writes_a_file(origin: Origin, tmp_path: Path) -> None:
    resolve(origin.put_model("/m/1", tar_gz()))
    code, out, _ = run_cli("sbom")
    assert code == 0 and out == maintenance.make_sbom()
    code, out, _ = run_cli("sbom", "-o", str(tmp_path / "x.json"), "--json")
    assert (code, json.loads(out)) == (0, {"sbom": str(tmp_path / "x.json")})
    assert (tmp_path / "x.json").read_text() == maintenance.make_sbom()
    code, _, err = run_cli("sbom", "-o", str(tmp_path))
    assert code == 4 and "is a directory" in err
