"""Knows which packages register operations that are not part of TensorFlow, by how each package names its own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_PACKAGES = (
    (re.compile(r"Addons>"), "tensorflow-addons", ""),
    (re.compile(r"IO>"), "tensorflow-io", ""),
    (re.compile(r"SimpleML"), "tensorflow-decision-forests", ""),
    (re.compile(r"TFRA>"), "tensorflow-recommenders-addons", ""),
    (re.compile(r"Horovod"), "horovod", "horovod.tensorflow"),
    (re.compile(r"Struct2Tensor|DecodeProtoSparse|EquiJoin|RunLengthBefore"), "struct2tensor", ""),
    (
        re.compile(
            r"CaseFold|NormalizeUTF8|Sentencepiece|Wordpiece|Wordshape|RegexSplit|ConstrainedSequence|MaxSpanningTree|"
            r"Ngrams|RougeL|UnicodeScriptTokenize|WhitespaceTokenize|FastBert|FastSentencepiece|FastWordpiece|"
            r"SentenceBreak|SentenceFragments|SplitMergeTokenize|SplitMergeFromLogits|TFText>|Detokenize|TokenizerFromLogits"
        ),
        "tensorflow-text",
        "",
    ),
)
_OPS_MAX = 20


@dataclass(frozen=True, slots=True)
class Need:
    """A package that has to be imported before a model is loaded.

    Attributes:
        package: the name by which pip installs it, such as ``tensorflow-text``.
        module: the name by which Python imports it, such as ``tensorflow_text``.
        ops: the operations of it that the model uses, at most 20.
    """

    package: str
    module: str
    ops: tuple[str, ...]


def find_need(op: str) -> Need | None:
    """Return the package that registers an operation; None if it is not known, or TensorFlow has the operation itself."""
    for pattern, package, module in _PACKAGES:
        if pattern.search(op):
            return Need(package, module or package.replace("-", "_"), (op,))
    return None


def find_needs(ops: Iterable[str]) -> tuple[Need, ...]:
    """Return the packages that register some of these operations, sorted by name."""
    found: dict[str, list[str]] = {}
    modules = {}
    for op in sorted(set(ops)):
        if (need := find_need(op)) is not None:
            found.setdefault(need.package, []).append(op)
            modules[need.package] = need.module
    return tuple(Need(package, modules[package], tuple(names[:_OPS_MAX])) for package, names in sorted(found.items()))
