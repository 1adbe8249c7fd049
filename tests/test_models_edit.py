"""A models file is changed as a person would change it, whole at every moment, by many at once."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from tests.test_models_file import PIN, URL, one, write
from tests.test_models_file import project as project  # noqa: PLC0414  # a fixture
from tfimm_resolver.errors import ModelsFileError
from tfimm_resolver.models_file import edit
from tfimm_resolver.models_file.discovery import FILE_NAME
from tfimm_resolver.models_file.edit import Keys, edit_models_file
from tfimm_resolver.models_file.schema import _loads as loads

PINS: dict[str, Keys] = {"a": {"sha256": PIN, "size_bytes": 7}}
NEW: dict[str, Keys] = {"n.x": {"handle": "https://h/n", "sha256": PIN, "size_bytes": 7, "aliases": ["q"], "mirrors": None}}


def changed(path: Path, wanted: dict[str, Keys]) -> str:
    """What stands there afterwards."""
    edit_models_file(str(path), lambda known: wanted)
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
    assert changed(path, {**PINS, "d": {"sha256": PIN}}) == AFTER.format(new=PIN)


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
def test_every_way_to_write_it_can_be_changed(project: Path, text: str) -> None:
    path = project / FILE_NAME
    path.write_bytes(text.encode())
    expected = loads(text.replace("\r\n", "\n"))
    after = changed(path, NEW)
    new = {key: value for key, value in NEW["n.x"].items() if value is not None}
    expected.setdefault("models", {})["n.x"] = new
    assert loads(after) == expected
    for line in text.replace("\r\n", "\n").splitlines():
        assert line.rstrip(" }") in after, "what stood there was changed"
    assert ("\r" in text) == ("\r" in after) and after.count("\n") - after.count("\r\n") in (0, after.count("\n"))
    if "a" in expected["models"]:
        expected["models"]["a"] |= PINS["a"]
        assert loads(changed(path, PINS)) == expected


def test_a_key_that_is_to_go_goes_and_one_that_is_as_it_should_be_is_not_touched(project: Path) -> None:
    path = write(project, one("a", URL, f"sha256 = '{PIN}' # so", "mirrors = []"))
    before = path.stat().st_mtime_ns
    assert changed(path, {"a": {"sha256": PIN, "aliases": None}}) == path.read_text()
    assert path.stat().st_mtime_ns == before, "it was written for nothing"
    assert changed(path, {"a": {"mirrors": None}}) == one("a", URL, f"sha256 = '{PIN}' # so")


def test_what_the_file_may_not_say_is_never_written(project: Path) -> None:
    path = write(project, one("a", URL, 'aliases = ["b"]'))
    before = path.read_bytes()
    for wanted in ({"b": {"handle": URL}}, {"c": {"handle": "name"}}, {"a": {"sha256": "abc"}}, {"x/y": {"handle": URL}}):
        with pytest.raises(ModelsFileError):
            edit_models_file(str(path), lambda known, wanted=wanted: wanted)  # type: ignore[misc]
    path.write_text("nonsense")
    with pytest.raises(ModelsFileError, match=":1: "):
        edit_models_file(str(path), lambda known: NEW)
    assert path.read_text() == "nonsense" and before and os.listdir(project) == [FILE_NAME]


def test_a_link_stays_a_link_and_permissions_stay(project: Path) -> None:
    real = write(project / "real", one("a"), "models.toml")
    real.chmod(0o640)
    (project / FILE_NAME).symlink_to(real)
    changed(project / FILE_NAME, PINS)
    assert (project / FILE_NAME).is_symlink() and PIN in real.read_text() and stat.S_IMODE(real.stat().st_mode) == 0o640
    assert os.listdir(project / "real") == ["models.toml"]


def test_where_it_cannot_be_written_all_stays(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(project, one("a"))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(ModelsFileError, match="cannot be written: No space left on device"):
            edit_models_file(str(path), lambda known: PINS)
    assert path.read_text() == one("a") and os.listdir(project) == [FILE_NAME]
    with pytest.raises(ModelsFileError, match="cannot be written: No such file or directory"):
        edit_models_file(str(project / "missing" / FILE_NAME), lambda known: NEW)


def test_many_who_change_it_at_once_lose_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = project / FILE_NAME
    together = threading.Barrier(8)
    read = edit._text

    def slowly(place: str) -> str:
        text = read(place)
        overlap.wait(0.05)
        return text

    overlap = threading.Event()
    monkeypatch.setattr(edit, "_text", slowly)
    errors: list[Exception] = []

    def work(number: int) -> None:
        together.wait()
        try:
            edit_models_file(str(path), lambda known: {f"m{number}": {"handle": URL}})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and sorted(loads(path.read_text())["models"]) == [f"m{number}" for number in range(8)]
    assert os.listdir(project) == [FILE_NAME]
