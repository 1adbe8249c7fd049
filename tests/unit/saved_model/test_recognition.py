"""Tests of ``saved_model.recognition``: formats by their first bytes and by names."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, REAL, member, tar_of, zip_of
from tests.fakes.foreign_files import GENERAL, POINTER, STARTS, ZIPS
from tests.fakes.named_models import put_model
from tfimm_resolver.errors import foreign_formats as formats
from tfimm_resolver.saved_model.recognition import (
    find_lfs_pointers,
    recognize,
    recognize_binary,
    recognize_compressed,
    recognize_folder,
    recognize_members,
    recognize_names,
)

BINARY = (
    "h5",
    "tflite",
    "safetensors",
    "legacy torch",
    "pickle",
    "pickle of protocol 2",
    "gguf",
    "pointer",
    "npy",
    "rar",
    "7z",
)


@pytest.mark.parametrize("kind", STARTS)
def test_each_format_is_known_by_its_first_bytes(kind: str) -> None:
    start, title = STARTS[kind]
    for name in ("", "https://h/download"):
        found = recognize(start[:512], name)
        assert found is not None and title in found.title


@pytest.mark.parametrize("kind", BINARY)
def test_what_no_archive_begins_with_is_known_also_inside_a_gzip(kind: str) -> None:
    start, title = STARTS[kind]
    found = recognize_binary(start)
    assert found is not None and title in found.title and recognize_compressed(gzip.compress(start)[:512]) is found


@pytest.mark.parametrize("name", [*(start.decode("latin-1") for start, _ in STARTS.values()), "GGUF-m", "xxxxTFL3"])
def test_no_archive_is_taken_for_a_foreign_file_because_of_the_name_of_its_first_member(name: str) -> None:
    printable = "".join(character for character in name if 32 < ord(character) < 127)[:90] or "m"
    tar = tar_of(member(printable, b"x"))
    for start in (tar, zip_of({printable: b"x"}), gzip.compress(tar)):
        assert recognize_binary(start[:512]) is None
    assert recognize_compressed(gzip.compress(tar)[:512]) is None


def test_archives_are_not_taken_for_foreign_files() -> None:
    for start in (tar_of(member("m", b"x")), zip_of(), REAL.read_bytes(), b"BZh91AY&SY", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"):
        assert recognize_binary(start[:512]) is recognize_compressed(start[:512]) is None


def test_random_bytes_are_rarely_recognized_and_never_raise() -> None:
    dice = random.Random(15)
    found = [recognize_binary(dice.randbytes(dice.randrange(513))) for _ in range(2000)]
    assert sum(one is not None for one in found) < 5
    for _ in range(2000):
        recognize(dice.randbytes(dice.randrange(513)), "x.pb")
        recognize_compressed(b"\x1f\x8b" + dice.randbytes(100))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("m.keras", formats.KERAS),
        ("M.KERAS", formats.KERAS),
        ("a/m.weights.h5", formats.HDF5),
        ("m.onnx", formats.ONNX),
        ("pytorch_model.bin", formats.PYTORCH),
        ("m.ckpt", formats.CHECKPOINT),
        ("m.mlmodel", formats.COREML),
        ("m.npz", formats.NUMPY),
        ("m.pb", formats.FROZEN_GRAPH),
        ("x/saved_model.pb", formats.SAVED_MODEL_FILE),
        ("m.tar.gz", None),
        ("m", None),
    ],
)
def test_unknown_bytes_are_known_by_the_name(name: str, found: formats.ForeignFormat | None) -> None:
    assert recognize(b"PK\x03\x04", name) is found
    assert recognize(b"\xff\xfe\0\1", name) is found


def test_the_bytes_come_before_the_name_but_for_plain_text() -> None:
    assert recognize(STARTS["page"][0], "m.h5") is formats.HTML
    assert recognize(POINTER, "m.h5") is formats.LFS_POINTER
    assert recognize(b"model_checkpoint_path: 1\n", "m.ckpt") is formats.CHECKPOINT
    assert recognize(b"", "m") is None


@pytest.mark.parametrize(
    "name", ["m.pb", "saved_model.pb", "https://h/x/saved_model.pb", "M.PB", "m.h5", "m.keras", "m.tflite"]
)
@pytest.mark.parametrize("kind", [*BINARY, "page", "page after a comment", "frozen graph", "saved_model.pb", "json", "xml"])
def test_a_name_does_not_come_before_what_the_bytes_prove(kind: str, name: str) -> None:
    assert recognize(STARTS[kind][0][:512], name) is recognize(STARTS[kind][0][:512])


def test_plain_text_is_not_a_graph_whatever_its_name() -> None:
    for name in ("m.pb", "x/saved_model.pb"):
        assert recognize(b"404: Not Found\n", name) is formats.TEXT
        assert recognize(b"\n{\xff\xfe\0\1", name) is recognize(b"", name)
    assert recognize(b"<!-- v2 --><?xml version='1.0'?><html>", "saved_model.pb") is formats.HTML


@pytest.mark.parametrize("kind", ZIPS)
def test_a_zip_of_another_format_is_known_by_its_members(kind: str) -> None:
    names, title = ZIPS[kind]
    found = recognize_members(names)
    assert found is not None and title in found.title
    assert recognize_members([*names, "model/saved_model.pb"]) is None


@pytest.mark.parametrize("kind", GENERAL)
def test_a_general_archive_is_left_alone(kind: str) -> None:
    assert recognize_members(GENERAL[kind]) is None
    assert recognize_members([]) is None


@pytest.mark.parametrize(
    ("names", "name", "found"),
    [
        (["README.md", "model.keras"], "model.keras", formats.KERAS),
        (["config.json", "metadata.json", "model.weights.h5"], "model.weights.h5", formats.UNPACKED_KERAS),
        (["model.json", "group1-shard1of1.bin"], "model.json", formats.TFJS),
        (["config.json", "model.safetensors"], "model.safetensors", formats.SAFETENSORS),
        (["config.json", "pytorch_model.bin"], "pytorch_model.bin", formats.PYTORCH),
        (["checkpoint"], "checkpoint", formats.CHECKPOINT),
        (["variables.index"], "variables.index", formats.CHECKPOINT),
        (["frozen_inference_graph.pb", "pipeline.config"], "frozen_inference_graph.pb", formats.FROZEN_GRAPH),
        (["m.mlpackage"], "m.mlpackage", formats.COREML),
    ],
)
def test_the_most_telling_name_of_a_directory_is_found(
    names: list[str], name: str, found: formats.ForeignFormat, tmp_path: Path
) -> None:
    assert recognize_names(names) == (name, found)
    assert recognize_folder(str(put_model(tmp_path / "m", dict.fromkeys(names, b"x")))) == (name, found)


@pytest.mark.parametrize("names", [["README.md"], [], ["keras_metadata.pb"], ["saved_model.pb"]])
def test_other_directories_are_not_recognized(names: list[str]) -> None:
    assert recognize_names(names) is None


def test_pointers_of_git_lfs_are_found_in_a_model(tmp_path: Path) -> None:
    files = {**MODEL, "variables/variables.data-00000-of-00001": POINTER, "assets/vocab.txt": b"version 1"}
    path = str(put_model(tmp_path / "m", files))
    assert list(find_lfs_pointers(path)) == ["variables/variables.data-00000-of-00001"]
    assert recognize_folder(path) is None
    (tmp_path / "m/saved_model.pb").write_bytes(POINTER)
    assert recognize_folder(path) == ("saved_model.pb", formats.LFS_POINTER)
    assert recognize_folder(str(tmp_path / "gone")) is None
