"""Editing a models file: formatting stays, the file is replaced atomically, and concurrent edits are not lost."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from tests.fakes.lock_processes import make_dead_pid
from tests.fakes.models_file import PIN, URL, make_entry, write
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tfimm_resolver._util.toml import parse_toml
from tfimm_resolver.errors import ModelsFileError
from tfimm_resolver.locking.owner import get_host_hash
from tfimm_resolver.models_file import edit
from tfimm_resolver.models_file.discovery import FILE_NAME
from tfimm_resolver.models_file.edit import Keys, edit_models_file

PINS: dict[str, Keys] = {"a": {"sha256": PIN, "size_bytes": 7}}
NEW: dict[str, Keys] = {"n.x": {"handle": "https://h/n", "sha256": PIN, "size_bytes": 7, "aliases": ["q"], "mirrors": None}}


def apply_edit(path: Path, changes: dict[str, Keys]) -> str:
    """Edit the file; return its new content."""
    edit_models_file(str(path), lambda known: changes)
    return path.read_bytes().decode()


BEFORE = """# Our models.

[models.a]  # the first
handle = 'https://h/a'   # keep
aliases = [
  "b",  # c
]
# about d
[models.d]
handle = "https://h/d"
sha256 = "{old}"  # checked by ada
"""
AFTER = """# Our models.

[models.a]  # the first
handle = 'https://h/a'   # keep
aliases = [
  "b",  # c
]
sha256 = "{new}"
size_bytes = 7
# about d
[models.d]
handle = "https://h/d"
sha256 = "{new}"  # checked by ada
"""


def test_comments_order_and_spacing_stay(project: Path) -> None:
    path = write(project, BEFORE.format(old="0" * 64))
    assert apply_edit(path, {**PINS, "d": {"sha256": PIN}}) == AFTER.format(new=PIN)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing yet\n",
        "[models.a]\nhandle = 'https://h/a'",
        "[models]\na = {handle = 'https://h/a'}\n",
        "[models]\na.handle = 'https://h/a'\n",
        "models.a.handle = 'https://h/a'\n",
        "models = {a = {handle = 'https://h/a'}}\n",
        "[models]\n[models.a]\nhandle = 'https://h/a'\n",
        " [ models . a ] \r\n handle = 'https://h/a'\r\n\r\n# end\r\n",
    ],
)
def test_every_style_of_toml_can_be_edited(project: Path, text: str) -> None:
    path = project / FILE_NAME
    path.write_bytes(text.encode())
    expected = parse_toml(text.replace("\r\n", "\n"))
    after = apply_edit(path, NEW)
    new = {key: value for key, value in NEW["n.x"].items() if value is not None}
    expected.setdefault("models", {})["n.x"] = new
    assert parse_toml(after) == expected
    for line in text.replace("\r\n", "\n").splitlines():
        assert line.rstrip(" }") in after, "an existing line was changed"
    assert ("\r" in text) == ("\r" in after) and after.count("\n") - after.count("\r\n") in (0, after.count("\n"))
    if "a" in expected["models"]:
        expected["models"]["a"] |= PINS["a"]
        assert parse_toml(apply_edit(path, PINS)) == expected


def test_a_key_set_to_none_is_removed_and_an_equal_value_is_not_rewritten(project: Path) -> None:
    path = write(project, make_entry("a", URL, f"sha256 = '{PIN}' # so", "mirrors = []"))
    before = path.stat().st_mtime_ns
    assert apply_edit(path, {"a": {"sha256": PIN, "aliases": None}}) == path.read_text()
    assert path.stat().st_mtime_ns == before, "it was written without a change"
    assert apply_edit(path, {"a": {"mirrors": None}}) == make_entry("a", URL, f"sha256 = '{PIN}' # so")


def test_an_invalid_change_is_never_written(project: Path) -> None:
    path = write(project, make_entry("a", URL, 'aliases = ["b"]'))
    before = path.read_bytes()
    for changes in ({"b": {"handle": URL}}, {"c": {"handle": "name"}}, {"a": {"sha256": "abc"}}, {"x/y": {"handle": URL}}):
        with pytest.raises(ModelsFileError):
            edit_models_file(str(path), lambda known, changes=changes: changes)  # type: ignore[misc]
    path.write_text("nonsense")
    with pytest.raises(ModelsFileError, match=":1: "):
        edit_models_file(str(path), lambda known: NEW)
    assert path.read_text() == "nonsense" and before and os.listdir(project) == [FILE_NAME]


def test_a_link_stays_a_link_and_permissions_stay(project: Path) -> None:
    real = write(project / "real", make_entry("a"), "models.toml")
    real.chmod(0o640)
    (project / FILE_NAME).symlink_to(real)
    apply_edit(project / FILE_NAME, PINS)
    assert (project / FILE_NAME).is_symlink() and PIN in real.read_text() and stat.S_IMODE(real.stat().st_mode) == 0o640
    assert os.listdir(project / "real") == ["models.toml"]


def test_a_failed_write_leaves_the_file_unchanged(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(project, make_entry("a"))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(ModelsFileError, match="cannot be written: No space left on device"):
            edit_models_file(str(path), lambda known: PINS)
    assert path.read_text() == make_entry("a") and os.listdir(project) == [FILE_NAME]
    with pytest.raises(ModelsFileError, match="cannot be written: No such file or directory"):
        edit_models_file(str(project / "missing" / FILE_NAME), lambda known: NEW)


def test_concurrent_edits_are_not_lost(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project / FILE_NAME
    start_barrier = threading.Barrier(8)
    read = edit._read_text

    def read_slowly(path: str) -> str:
        text = read(path)
        overlap.wait(0.05)
        return text

    overlap = threading.Event()
    monkeypatch.setattr(edit, "_read_text", read_slowly)
    errors: list[Exception] = []

    def work(number: int) -> None:
        start_barrier.wait()
        try:
            edit_models_file(str(path), lambda known: {f"m{number}": {"handle": URL}})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and sorted(parse_toml(path.read_text())["models"]) == [f"m{number}" for number in range(8)]
    assert os.listdir(project) == [FILE_NAME]


def test_what_killed_processes_left_beside_the_file_is_removed(project: Path) -> None:
    file, dead = project / FILE_NAME, make_dead_pid()
    file.write_text(f'[models.m]\nhandle = "{URL}"\n')
    lock_token = f"flock-{{}}-{get_host_hash()}-0123456789abcdef.txt"
    stale = [f"{FILE_NAME}.{dead}-0123abcd.tmp", f"{FILE_NAME}.1-0123abcd.tmp", f"{FILE_NAME}.{lock_token.format(dead)}"]
    others = [
        "mine.tmp",
        f"{FILE_NAME}.tmp",
        f"{FILE_NAME}.backup-0123abcd.tmp",
        f"{FILE_NAME}.{lock_token.format(os.getppid())}",
    ]
    for name in (*stale, *others):
        (project / name).write_text("partial")
    edit_models_file(str(file), lambda known: {})
    left = {path.name for path in project.iterdir()}
    assert left & {*stale, *others} == set(others) and not file.with_name(f"{FILE_NAME}.lock").exists()
