"""A model is what was signed: whatever is changed in its files, its statement, its bundle or its signer is refused."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import MODEL
from tests.fakes.signing import CURVES, Key, make_bundle, make_key, make_statement, sign_files
from tfimm_resolver.cache.record import hash_tree
from tfimm_resolver.errors import SignatureError
from tfimm_resolver.manifest import SignedBy
from tfimm_resolver.trust.signer import Signer
from tfimm_resolver.trust.verification import verify

Bundle = dict[str, Any]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return make_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A model without a signature."""
    write_files(tmp_path / "model", MODEL)
    return tmp_path / "model"


def write_files(tree: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(data)


def check(tree: Path, bundle: Bundle | bytes, *keys: Key) -> SignedBy:
    data = bundle if isinstance(bundle, bytes) else json.dumps(bundle).encode()
    return verify(data, Signer(keys=tuple(str(one.public_path) for one in keys)), hash_tree(str(tree)), str(tree))


@pytest.mark.parametrize("curve", CURVES)
def test_a_signature_by_the_key_is_valid(tree: Path, tmp_path: Path, curve: str) -> None:
    own = make_key(tmp_path, curve=curve)
    signed_by = check(tree, sign_files(own, MODEL), own)
    assert (signed_by.kind, signed_by.identity) == ("key", "") and signed_by.verified_at and signed_by.bundle_sha256
    assert Signer(keys=(str(own.public_path),)).is_satisfied_by(signed_by)
    assert signed_by.describe() == f"key sha256:{signed_by.trusted_sha256[:16]}"


def test_one_of_several_keys_suffices(tree: Path, tmp_path: Path, key: Key) -> None:
    other = make_key(tmp_path, "other")
    assert check(tree, sign_files(key, MODEL), other, key) and check(tree, sign_files(key, MODEL), key, other)


def test_another_key_is_refused(tree: Path, tmp_path: Path, key: Key) -> None:
    other = make_key(tmp_path, "other")
    with pytest.raises(SignatureError, match="not by this key") as caught:
        check(tree, sign_files(key, MODEL), other)
    assert key.hint[:16] in caught.value.text
    forged = json.loads(sign_files(other, MODEL))
    forged["verificationMaterial"]["publicKey"]["hint"] = key.hint  # which names the right one
    with pytest.raises(SignatureError, match="not by this key"):
        check(tree, forged, key)


FILE_CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a graph": (lambda tree: (tree / "saved_model.pb").write_bytes(b"A graph"), "changed: saved_model.pb"),
    "an empty file": (
        lambda tree: (tree / "variables/variables.index").write_bytes(b""),
        "changed: variables/variables.index",
    ),
    "no weights": (lambda tree: (tree / "variables/variables.index").unlink(), "missing: variables/variables.index"),
    "an asset": (lambda tree: write_files(tree, {"assets/words.txt": b""}), "not signed: assets/words.txt"),
    "a file beside": (lambda tree: write_files(tree, {"NOTES": b""}), "not signed: NOTES"),
    "a hidden file": (lambda tree: write_files(tree, {".hidden": b""}), "not signed: .hidden"),
    "a file of git": (lambda tree: write_files(tree, {".git/config": b""}), "not signed: .git/config"),
    "another signature": (lambda tree: write_files(tree, {"model.sig.old": b""}), "not signed: model.sig.old"),
    "a renamed file": (
        lambda tree: (tree / "saved_model.pb").rename(tree / "Saved_model.pb"),
        "missing: saved_model.pb; not signed: Saved_model.pb",
    ),
}


@pytest.mark.parametrize("kind", FILE_CHANGES)
def test_a_changed_a_missing_and_an_extra_file_are_refused(tree: Path, key: Key, kind: str) -> None:
    bundle = sign_files(key, MODEL)
    check(tree, bundle, key)
    change, message = FILE_CHANGES[kind]
    change(tree)
    with pytest.raises(SignatureError, match=message):
        check(tree, bundle, key)


def test_every_byte_of_the_payload_and_of_the_signature_counts(tree: Path, key: Key) -> None:
    bundle = make_bundle(key, make_statement(MODEL))
    for part, step in ((bundle["dsseEnvelope"], 37), (bundle["dsseEnvelope"]["signatures"][0], 1)):
        name = "payload" if "payload" in part else "sig"
        data = base64.b64decode(original := part[name])
        for position in range(0, len(data), step):
            part[name] = base64.b64encode(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]).decode()
            with pytest.raises(SignatureError):
                check(tree, bundle, key)
        part[name] = original
    check(tree, bundle, key)


def set_value(*keys: str | int, value: Any) -> Callable[[Bundle], None]:
    """Return a change of a value deep inside."""

    def change(bundle: Bundle) -> None:
        part: Any = bundle
        for one in keys[:-1]:
            part = part[one]
        if value is None:
            del part[keys[-1]]
        else:
            part[keys[-1]] = value

    return change


BUNDLE_CHANGES = {
    "an older media type": set_value("mediaType", value="application/vnd.dev.sigstore.bundle+json;version=0.2"),
    "no media type": set_value("mediaType", value=None),
    "another payload type": set_value("dsseEnvelope", "payloadType", value="application/json"),
    "no envelope": set_value("dsseEnvelope", value=None),
    "a message instead of an envelope": set_value("dsseEnvelope", value="text"),
    "no material": set_value("verificationMaterial", value=None),
    "no signature": set_value("dsseEnvelope", "signatures", value=[]),
    "an empty signature": set_value("dsseEnvelope", "signatures", 0, "sig", value=""),
    "a signature that is not base64": set_value("dsseEnvelope", "signatures", 0, "sig", value="AA!A"),
    "a payload that is not base64": set_value("dsseEnvelope", "payload", value="e30=\n"),
    "a number as payload": set_value("dsseEnvelope", "payload", value=5),
}


@pytest.mark.parametrize("kind", BUNDLE_CHANGES)
def test_a_changed_bundle_is_refused(tree: Path, key: Key, kind: str) -> None:
    bundle = make_bundle(key, make_statement(MODEL))
    BUNDLE_CHANGES[kind](bundle)
    with pytest.raises(SignatureError):
        check(tree, bundle, key)


def test_a_payload_with_characters_that_are_not_base64_is_refused(tree: Path, key: Key) -> None:
    bundle = make_bundle(key, make_statement(MODEL))
    text = bundle["dsseEnvelope"]["payload"]
    bundle["dsseEnvelope"]["payload"] = f"{text[:8]}\n{text[8:]}"
    with pytest.raises(SignatureError, match="payload is not base64"):
        check(tree, bundle, key)


def test_two_signatures_are_refused(tree: Path, key: Key) -> None:
    bundle = make_bundle(key, make_statement(MODEL))
    bundle["dsseEnvelope"]["signatures"] *= 2
    with pytest.raises(SignatureError, match="2 signatures"):
        check(tree, bundle, key)


_PREDICATE = ("predicate",)
STATEMENT_CHANGES = {
    "another type": set_value("_type", value="https://in-toto.io/Statement/v0.1"),
    "another predicate": set_value("predicateType", value="https://model_signing/Digests/v0.1"),
    "no predicate type": set_value("predicateType", value=None),
    "no predicate": set_value("predicate", value=None),
    "no resources": set_value("predicate", "resources", value=[]),
    "another root": set_value("subject", 0, "digest", "sha256", value="0" * 64),
    "no root": set_value("subject", 0, "digest", value={}),
    "no subject": set_value("subject", value=[]),
    "an unknown method": set_value("predicate", "serialization", "method", value="bytes"),
    "an unknown hash": set_value("predicate", "serialization", "hash_type", value="md5"),
    "another hash than its files": set_value("predicate", "serialization", "hash_type", value="blake2b"),
    "an algorithm of one file": set_value("predicate", "resources", 0, "algorithm", value="sha512"),
    "a digest that is none": set_value("predicate", "resources", 0, "digest", value="0"),
    "a digest in capitals": set_value("predicate", "resources", 0, "digest", value="A" * 64),
    "a file without a name": set_value("predicate", "resources", 0, "name", value=None),
    "an absolute path": set_value("predicate", "resources", 0, "name", value="/etc/passwd"),
    "a path that leads out": set_value("predicate", "resources", 0, "name", value="../saved_model.pb"),
    "a path in another spelling": set_value("predicate", "resources", 0, "name", value="./saved_model.pb"),
    "a path with an empty part": set_value("predicate", "resources", 1, "name", value="variables//variables.index"),
    "a path with a backslash": set_value("predicate", "resources", 1, "name", value="variables\\variables.index"),
    "a path with a NUL": set_value("predicate", "resources", 0, "name", value="saved_model.pb\0"),
    "all ignored": set_value("predicate", "serialization", "ignore_paths", value=["."]),
    "ignored paths that are none": set_value("predicate", "serialization", "ignore_paths", value="model.sig"),
    "links that are a text": set_value("predicate", "serialization", "allow_symlinks", value="true"),
}


@pytest.mark.parametrize("kind", STATEMENT_CHANGES)
def test_a_statement_that_says_something_else_is_refused_although_its_signature_is_valid(
    tree: Path, key: Key, kind: str
) -> None:
    statement = make_statement(MODEL)
    if kind == "all ignored":
        statement = make_statement({})
    STATEMENT_CHANGES[kind](statement)
    with pytest.raises(SignatureError):
        check(tree, make_bundle(key, statement), key)


def test_a_file_twice_is_refused(tree: Path, key: Key) -> None:
    statement = make_statement(MODEL)
    resources = statement["predicate"]["resources"]
    resources.append(copy.deepcopy(resources[0]))
    import hashlib

    digests = b"".join(bytes.fromhex(one["digest"]) for one in resources)
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(digests).hexdigest()
    with pytest.raises(SignatureError, match="occurs twice"):
        check(tree, make_bundle(key, statement), key)


@pytest.mark.parametrize("part", ["bundle", "statement"])
def test_a_key_twice_in_json_is_refused(tree: Path, key: Key, part: str) -> None:
    text = json.dumps(make_statement(MODEL))
    if part == "statement":
        text = text.replace('{"_type"', '{"predicateType": "https://model_signing/signature/v1.0", "_type"')
        data = json.dumps(make_bundle(key, text.encode())).encode()
    else:
        data = json.dumps(make_bundle(key, text.encode())).replace('{"mediaType"', '{"dsseEnvelope": {}, "mediaType"').encode()
    with pytest.raises(SignatureError, match="a key occurs twice"):
        check(tree, data, key)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b"{}" + b" " * (17 << 20)], ids=len)
def test_what_is_not_a_bundle_is_refused(tree: Path, key: Key, data: bytes) -> None:
    with pytest.raises(SignatureError):
        check(tree, data, key)
