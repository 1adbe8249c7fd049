"""Statements: paths that a signer left out, and the form that the reference implementation writes."""

from __future__ import annotations

import json

import pytest

from tests.fakes.archives import MODEL
from tests.fakes.signing import make_statement
from tfimm_resolver.errors import SignatureError
from tfimm_resolver.manifest import FileEntry
from tfimm_resolver.trust.statement import SIGNATURE_FILES, Statement, write_statement

ENTRIES = [FileEntry(name, len(data), "0" * 64) for name, data in MODEL.items()]


def parse(ignored: list[str]) -> Statement:
    return Statement.parse(json.dumps(make_statement(MODEL, ignored=ignored)).encode())


@pytest.mark.parametrize("ignored", ["notes", "notes/", "./notes", "notes/a", "notes/./a", "x/../notes", "notes//a"])
def test_ignored_paths_and_what_is_below_them_are_left_out(ignored: str) -> None:
    extra = FileEntry("notes/a", 1, "1" * 64)
    is_out = ".." not in ignored
    assert parse([ignored]).select_signed([*ENTRIES, extra]) == [*ENTRIES, *([] if is_out else [extra])]


@pytest.mark.parametrize("ignored", ["", "/notes", "../model/notes", "note", "notes/b", "notes.txt", "*", "not*"])
def test_other_paths_do_not_leave_out_anything(ignored: str) -> None:
    extra = FileEntry("notes/a", 1, "1" * 64)
    assert parse([ignored]).select_signed([*ENTRIES, extra]) == [*ENTRIES, extra]


@pytest.mark.parametrize("name", SIGNATURE_FILES)
def test_signatures_are_never_signed(name: str) -> None:
    assert parse([]).select_signed([*ENTRIES, FileEntry(name, 1, "1" * 64)]) == ENTRIES


@pytest.mark.parametrize(
    "path",
    ["saved_model.pbtxt", "assets/words.txt", "variables/x", "export/1/saved_model.pb", "fingerprint.pb", "a/assets/b/c"],
)
@pytest.mark.parametrize("ignored", [".", "PATH", "PARENT"])
def test_a_file_that_tensorflow_reads_is_not_left_out(path: str, ignored: str) -> None:
    ignored = {"PATH": path, "PARENT": path.rpartition("/")[0] or path}.get(ignored, ignored)
    with pytest.raises(SignatureError, match="which TensorFlow reads"):
        parse([ignored]).select_signed([*ENTRIES, FileEntry(path, 1, "1" * 64)])


def test_a_file_that_is_signed_counts_although_it_is_ignored() -> None:
    assert parse(["."]).select_signed(ENTRIES) == ENTRIES


def test_a_statement_about_nothing_is_refused() -> None:
    empty = Statement.parse(json.dumps(make_statement({}, ignored=["."])).encode())
    with pytest.raises(SignatureError, match="about no files"):
        empty.select_signed([FileEntry("README", 1, "1" * 64)])


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/../x", "./x", "a//x", "x/", "a\\x", "x\0", "", "..", "a/.", "x\n", "\u202ex", "a:/x"]
)
def test_a_path_that_no_model_has_is_refused_before_it_is_compared(name: str) -> None:
    with pytest.raises(SignatureError, match="names a file that no model has"):
        Statement.parse(json.dumps(make_statement({name: b""})).encode())


def test_a_statement_that_is_written_can_be_parsed() -> None:
    files = [FileEntry(name, 1, f"{number}" * 64) for number, name in enumerate(["a.b/c", "a", "a/b", "Z"])]
    parsed = Statement.parse(write_statement("half", files, ["model.sig", ".git"]))
    assert list(parsed.digests) == ["Z", "a", "a/b", "a.b/c"]  # in the order of the parts of paths
    assert (parsed.subject, parsed.ignored, parsed.needs_hashing) == ("half", (".git", "model.sig"), False)
