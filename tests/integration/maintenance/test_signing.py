"""Models are signed, and the reference implementation of OpenSSF Model Signing accepts it, as this package accepts its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.fakes.archives import MODEL, files_in
from tests.fakes.cli import run_cli
from tests.fakes.named_models import put_model
from tests.fakes.signing import make_certificate, make_key, trust_prefix, write_certificates
from tfimm_resolver import bundles, maintenance, resolve
from tfimm_resolver.errors import CacheError, HandleError, SignatureError, UnknownHandleError

FILES = {**MODEL, "a": b"1", "a.b/c": b"2", "B/x": b"", "ü": b"3", ".gitattributes": b"not signed", "assets/a b": b"4"}


def run_reference(*arguments: str | Path) -> str:
    """Run the reference implementation; return what it prints."""
    command = Path(sys.executable).with_name("model_signing")
    if not command.exists():
        pytest.skip("pip install model-signing pyOpenSSL")
    done = subprocess.run(
        [command, *arguments], capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "COLUMNS": "999"}
    )
    return done.stdout + done.stderr if done.returncode else "valid"


@pytest.mark.parametrize("curve", ["P-256", *(pytest.param(one, marks=pytest.mark.long) for one in ("P-384", "P-521"))])
def test_the_reference_accepts_what_is_signed_here(tmp_path: Path, curve: str) -> None:
    key, model = make_key(tmp_path, curve=curve), put_model(tmp_path / "half", FILES)
    result = maintenance.sign(model, key.path)
    assert result.path == str(model / "model.sig") and result.files == len(FILES) - 1
    arguments = ("verify", "key", model, "--signature", result.path, "--public_key", key.public_path)
    assert run_reference(*arguments) == "valid"
    (model / "a").write_bytes(b"2")
    assert "mismatch" in run_reference(*arguments).lower()


@pytest.mark.parametrize("curve", ["P-256", *(pytest.param(one, marks=pytest.mark.long) for one in ("P-384", "P-521"))])
@pytest.mark.parametrize("is_inside", [True, pytest.param(False, marks=pytest.mark.long)])
def test_what_the_reference_signs_is_accepted_here(tmp_path: Path, curve: str, is_inside: bool) -> None:
    key, model = make_key(tmp_path, curve=curve), put_model(tmp_path / "half", FILES)
    (model / ".gitattributes").unlink()
    signature = model / "model.sig" if is_inside else tmp_path / "half.sig"
    assert run_reference("sign", "key", model, "--signature", signature, "--private_key", key.path) == "valid"
    if not is_inside:
        shutil.copy(signature, model / "model.sig")
    trust_prefix(tmp_path / "home/.config/tfimm_resolver/config.toml", f"{tmp_path}/", f'{{ key = "{key.public_path}" }}')
    assert resolve(model) == str(model)
    (model / "a").write_bytes(b"2")
    with pytest.raises(SignatureError, match="changed: a"):
        resolve(model)


@pytest.mark.long
def test_certificates_are_accepted_both_ways(tmp_path: Path) -> None:
    root_key, key, model = make_key(tmp_path, "root"), make_key(tmp_path), put_model(tmp_path / "half", MODEL)
    root = make_certificate("Root", root_key, is_authority=True)
    signer = make_certificate("Signer", key, (root, root_key), email="team@models.example")
    roots, own = write_certificates(tmp_path / "ca.pem", root), write_certificates(tmp_path / "own.pem", signer)
    signature = Path(maintenance.sign(model, key.path, certificates=[own]).path)
    options = ("--signature", signature, "--certificate_chain", roots)
    assert run_reference("verify", "certificate", model, *options) == "valid"
    signature.unlink()
    signing = ("--private_key", key.path, "--signing_certificate", own)
    assert run_reference("sign", "certificate", model, *options, *signing) == "valid"
    identity = f'{{ certificate_chain = "{roots}", identity = "team@models.example" }}'
    trust_prefix(tmp_path / "home/.config/tfimm_resolver/config.toml", f"{tmp_path}/", identity)
    assert resolve(model) == str(model)


def test_a_bundle_is_one_file(tmp_path: Path, handle: str) -> None:
    key = make_key(tmp_path)
    bundles.export([handle], tmp_path / "b.tar")
    result = maintenance.sign(tmp_path / "b.tar", key.path)
    assert (result.path, result.files) == (str(tmp_path / "b.tar.sig"), 1)
    arguments = ("--signature", result.path, "--public_key", key.public_path)
    assert run_reference("verify", "key", tmp_path / "b.tar", *arguments) == "valid"
    options = ("--signature", result.path, "--key", str(key.public_path))
    code, out, _ = run_cli("import", str(tmp_path / "b.tar"), *options, TFHUB_CACHE_DIR=str(tmp_path / "far"))
    assert (code, out.split()[0]) == (0, "imported")
    code, _, err = run_cli("import", str(tmp_path / "b.tar"), "--signature", result.path)
    assert code == 2 and "together" in err


def test_a_cached_model_is_not_changed(tmp_path: Path, handle: str) -> None:
    key = make_key(tmp_path)
    for name in (handle, resolve(handle)):
        with pytest.raises(HandleError, match="in the cache, whose models are not changed") as caught:
            maintenance.sign(name, key.path)
        assert "output=" in caught.value.fix
    result = maintenance.sign(handle, key.path, tmp_path / "m.sig")
    assert result.path == str(tmp_path / "m.sig") and files_in(resolve(handle)) == MODEL
    with pytest.raises(UnknownHandleError):
        maintenance.sign("missing", key.path, tmp_path / "m.sig")


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("./missing", "Check the path."),
        ("../missing", "Check the path."),
        ("/missing/model", "Check the path."),
        ("missing", "maintenance.list()"),
        ("missing/model", "maintenance.list()"),
    ],
)
def test_a_path_that_does_not_exist_is_an_error_that_says_so(text: str, fix: str, tmp_path: Path) -> None:
    key = make_key(tmp_path)
    with pytest.raises(UnknownHandleError) as caught:
        maintenance.sign(text, key.path, tmp_path / "m.sig")
    assert caught.value.text == f'there is no file or directory {os.path.abspath(text)}, and "{text}" is not cached'
    assert fix in caught.value.fix


def test_a_url_that_is_not_cached_is_not_taken_for_a_path(tmp_path: Path) -> None:
    with pytest.raises(UnknownHandleError) as caught:
        maintenance.sign("https://models.example/m.tgz", make_key(tmp_path).path)
    assert caught.value.text == '"https://models.example/m.tgz" is not cached'


def test_a_model_with_links_and_an_empty_one_are_not_signed(tmp_path: Path) -> None:
    key, model = make_key(tmp_path), put_model(tmp_path / "half", MODEL)
    (model / "link").symlink_to(model / "saved_model.pb")
    with pytest.raises(CacheError, match="link is a link"):
        maintenance.sign(model, key.path)
    (model / "link").unlink()
    (model / "folder").symlink_to(tmp_path)
    with pytest.raises(CacheError, match="folder is a link"):
        maintenance.sign(model, key.path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CacheError, match="no files to sign"):
        maintenance.sign(tmp_path / "empty", key.path)
    assert not (model / "model.sig").exists() and os.listdir(tmp_path / "empty") == []


@pytest.mark.long
def test_a_signature_in_the_model_under_another_name_is_left_out(tmp_path: Path) -> None:
    key, model = make_key(tmp_path), put_model(tmp_path / "half", MODEL)
    for _ in range(2):  # also of the next signature
        result = maintenance.sign(model, key.path, model / "sub.sig")
    assert result.files == len(MODEL)
    options = ("--signature", result.path, "--public_key", key.public_path)
    assert run_reference("verify", "key", model, *options) == "valid"


def test_the_command_signs_with_an_encrypted_key(tmp_path: Path) -> None:
    key, model = make_key(tmp_path), put_model(tmp_path / "half", MODEL)
    encryption = serialization.BestAvailableEncryption(b"secret")
    form = serialization.PrivateFormat.PKCS8
    key.path.write_bytes(key.private.private_bytes(serialization.Encoding.PEM, form, encryption))
    code, out, err = run_cli("sign", str(model), "--key", str(key.path), "--json", TFIMM_RESOLVER_KEY_PASSWORD="secret")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["files"] == len(MODEL) and facts["signature"] == str(model / "model.sig")
    code, _, err = run_cli("sign", str(model), "--key", str(key.path))
    assert code == 2 and str(key.path) in err
    code, out, _ = run_cli("sign", str(model), "--key", str(key.path), "--password", "secret", "-o", str(tmp_path / "x.sig"))
    assert (code, out.strip()) == (0, str(tmp_path / "x.sig"))
