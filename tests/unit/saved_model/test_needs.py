"""Tests of ``saved_model.needs``; tests/tensorflow/inspection checks that no operation of TensorFlow needs a package."""

from __future__ import annotations

import pytest

from tfimm_resolver.saved_model import needs
from tfimm_resolver.saved_model.needs import Need, find_need, find_needs


@pytest.mark.parametrize(
    ("op", "package", "module"),
    [
        ("CaseFoldUTF8", "tensorflow-text", "tensorflow_text"),
        ("SentencepieceTokenizeOp", "tensorflow-text", "tensorflow_text"),
        ("Addons>ImageProjectiveTransformV3", "tensorflow-addons", "tensorflow_addons"),
        ("SimpleMLInferenceOpWithHandle", "tensorflow-decision-forests", "tensorflow_decision_forests"),
        ("IO>DecodeAvro", "tensorflow-io", "tensorflow_io"),
        ("DecodeProtoSparseV4", "struct2tensor", "struct2tensor"),
        ("TFRA>CuckooHashTableFind", "tensorflow-recommenders-addons", "tensorflow_recommenders_addons"),
        ("HorovodAllreduce", "horovod", "horovod.tensorflow"),
    ],
)
def test_an_operation_tells_its_package(op: str, package: str, module: str) -> None:
    assert find_need(op) == Need(package, module, (op,))


@pytest.mark.parametrize("op", ["MatMul", "StringNGrams", "__inference_call_12", "DecodeProtoV2", "", "RegexReplace"])
def test_an_operation_of_tensorflow_needs_none(op: str) -> None:
    assert find_need(op) is None


def test_packages_are_listed_once_with_some_of_their_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "_OPS_MAX", 2)
    found = find_needs(["RegexSplitWithOffsets", "IO>A", "CaseFoldUTF8", "NormalizeUTF8", "MatMul", "IO>A"])
    assert [(need.package, need.ops) for need in found] == [
        ("tensorflow-io", ("IO>A",)),
        ("tensorflow-text", ("CaseFoldUTF8", "NormalizeUTF8")),
    ]
