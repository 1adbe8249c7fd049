"""The models file: where it is looked for, what it may say, and how its faults are told."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tfimm_resolver
from tests.light_start import HEAVY
from tests.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.errors import HandleError, ModelsFileError
from tfimm_resolver.models_file import discovery
from tfimm_resolver.models_file.discovery import FILE_NAME, find, models, read

PIN = "ab" * 32
URL = "https://host.example/resnet18.tar.gz"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of a project, in which the test works; no models file yet."""
    place = tmp_path / "project"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYTHONPATH", str(Path(tfimm_resolver.__file__).parents[1]))  # the processes work there, too
    return place


def write(folder: Path, text: str, name: str = FILE_NAME) -> Path:
    """A models file; an old one, as they mostly are."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(10**18, 10**18))
    return path


def one(name: str, url: str = URL, *lines: str) -> str:
    """The text of one model."""
    return "\n".join([f"[models.{name}]", f'handle = "{url}"', *lines, ""])


def test_every_key_is_read(project: Path) -> None:
    mirrors = '["https://mirror.example/r.tgz", "./r.tgz", "file:///r.tgz", "~/r.tgz", "s3://bucket/r.tgz"]'
    path = write(
        project,
        one("resnet18", URL, f'sha256 = "{PIN.upper()}"', "size_bytes = 1_000", 'aliases = ["r18"]', f"mirrors = {mirrors}"),
    )
    model = find("resnet18")
    assert model is not None and model is find("r18")
    assert (model.name, model.handle, model.file, model.sha256, model.size_bytes) == ("resnet18", URL, str(path), PIN, 1000)
    assert model.aliases == ("r18",)
    assert model.mirrors == (
        "https://mirror.example/r.tgz",
        f"{project}/r.tgz",
        "file:///r.tgz",
        "~/r.tgz",
        "s3://bucket/r.tgz",
    )
    assert find("resnet50") is None and models() == [model]


def test_the_nearest_file_upwards_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = write(project, one("outer"))
    below = project / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert discovery.files() == [str(outer)] and find("outer") is not None
    inner = write(project / "a", one("inner"))
    assert discovery.files() == [str(inner)] and find("outer") is None
    (below / FILE_NAME).mkdir()
    assert discovery.files() == [str(inner)], "a directory is no models file"


def test_without_a_file_or_a_working_directory_there_are_no_names(project: Path) -> None:
    assert discovery.files() == [] and find("m") is None and models() == []
    project.rmdir()
    assert discovery.files() == [] and find("m") is None


def test_the_variable_names_files_of_which_the_first_that_knows_a_name_answers(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(project, one("here"))
    first = write(project, one("both", f"{URL}?1") + one("mine", URL, 'aliases = ["theirs"]'), "first.toml")
    second = write(project, one("both", f"{URL}?2", f'sha256 = "{PIN}"') + one("theirs") + one("more"), "second.toml")
    monkeypatch.setenv("TFIMM_MODELS_FILE", f"first.toml{os.pathsep}{os.pathsep}{second}{os.pathsep}{first}")
    assert discovery.files() == [str(first), str(second)]
    both = find("both")
    assert both is not None and (both.handle, both.sha256) == (f"{URL}?1", None), "keys of two files were mixed"
    assert find("here") is None
    named = find("theirs")
    assert named is not None and named.name == "mine"
    assert [model.name for model in models()] == ["both", "mine", "more"], "theirs cannot be asked for"
    monkeypatch.setenv("TFIMM_MODELS_FILE", "")
    assert find("here") is not None


def test_a_file_that_the_variable_names_has_to_be_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, one("here"))
    monkeypatch.setenv("TFIMM_MODELS_FILE", "~/missing.toml")
    with pytest.raises(ModelsFileError, match=rf"\$TFIMM_MODELS_FILE names {Path.home()}/missing.toml, which cannot be read"):
        resolve("here")


def test_relative_paths_count_from_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, one("m", "./models/m") + one("n", "../n.tgz") + one("o", "models/o"))
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    assert [model.handle for model in models()] == [f"{project}/models/m", f"{project.parent}/n.tgz", f"{project}/models/o"]


@pytest.mark.parametrize(
    ("text", "line", "told", "fix"),
    [
        ("[models.a]\nhandle = \n", 2, "Invalid value", "it is no TOML"),
        ("[models.a\n", 1, "Expected", "it is no TOML"),
        ("# \n\nhandle = 'x'\n", 3, 'there is an unknown key "handle"', "Known: models."),
        ("[model.a]\nhandle = 'https://h/a'\n", 1, 'there is an unknown key "model"', "Did you mean models?"),
        ("models = 1\n", 1, "models has to be a table", "It is 1."),
        ("[[models]]\nhandle = 'https://h/a'\n", 1, "models has to be a table", ""),
        ("[models]\na = 'https://h/a'\n", 2, "models.a has to be a table with handle", ""),
        ("[models.a]\n# none\n", 1, "a has no handle", 'Write handle = "URL or path"'),
        (
            one("a", URL, "", "# the pin", f'sha265 = "{PIN}"'),
            5,
            'models.a has an unknown key "sha265"',
            "Did you mean sha256?",
        ),
        (one("a", URL, "[models.a.pin]", "x = 1"), 3, 'unknown key "pin"', "Known: handle, sha256"),
        (one("a") + one("b", URL, 'sha256 = "abc"'), 5, "a sha256 has 64 hexadecimal digits, not 'abc'", "lock writes it"),
        (one("a", URL, "sha256 = 1"), 3, "models.a.sha256 has to be a text", "It is 1."),
        (one("a", URL, f'sha256 = "{PIN}"', "size_bytes = -1"), 4, "size_bytes cannot be -1", ""),
        (one("a", URL, f'sha256 = "{PIN}"', "size_bytes = true"), 4, "size_bytes cannot be true", ""),
        (one("a", URL, "size_bytes = 1"), 3, "a size alone is no pin", "tfimm-resolver lock a"),
        (one("a", URL, 'aliases = "b"'), 3, "models.a.aliases has to be a list of texts", ""),
        (one("a", URL, "aliases = [", '  "b",', "  1,", "]"), 3, "1 is no model name", "one word"),
        (one("a", URL, 'aliases = ["a"]'), 1, '"a" means a already', "Choose another name."),
        (one("a", URL, 'aliases = ["c"]') + one("b", URL, 'aliases = ["c"]'), 4, '"c" means a already', ""),
        (one("a", URL, 'aliases = ["b"]') + one("b"), 4, '"b" means a already', ""),
        (one('"https://h/x"'), 1, "'https://h/x' is no model name", "A name is one word"),
        (one('"a/b"'), 1, "'a/b' is no model name", ""),
        (one('"a\\\\b"'), 1, "is no model name", ""),
        (one('".."'), 1, "'..' is no model name", ""),
        (one('""'), 1, "'' is no model name", ""),
        (one(f'"a#sha256={PIN}"'), 1, "is no model name", ""),
        (one("a", "resnet18"), 2, '"resnet18" is neither a URL nor a path', "is ./resnet18"),
        (one("a", f"{URL}#sha256={PIN}"), 2, "ends in a pin", 'Write sha256 = "..." beside it.'),
        (one("a", f"{URL}#part"), 2, "has a fragment", ""),
        (one("a", ""), 2, "the handle is empty", ""),
        (one("a", URL, 'mirrors = ["mirror"]'), 3, '"mirror" is neither a URL nor a path', ""),
        ("models = {a = {handle = 'https://h/a', sha = 1}}\n", 1, 'unknown key "sha"', "Did you mean sha256?"),
        ("[models.a]\nhandle = '''\n[models.b]\nhandle'''\nmirror = []\n", 5, 'unknown key "mirror"', ""),
        ("a = " + "[" * 5000, 1, "", "it is no TOML"),
        ("a = " + "9" * 5000, 1, "", "it is no TOML"),
    ],
)
def test_a_fault_is_told_with_its_line(project: Path, text: str, line: int, told: str, fix: str) -> None:
    path = write(project, text)
    with pytest.raises(ModelsFileError) as caught:
        resolve("a")
    assert caught.value.text.startswith(f"{path}:{line}: ") and told in caught.value.text
    assert fix in caught.value.fix and caught.value.exit_code == 2


def test_a_file_that_is_no_utf8_or_may_not_be_read_is_told(project: Path) -> None:
    path = project / FILE_NAME
    path.write_bytes(b"[models.a]\n# \xff\n")
    with pytest.raises(ModelsFileError, match=":2: this is not UTF-8"):
        read(str(path))
    path.unlink()
    path.mkdir()
    with pytest.raises(ModelsFileError, match="cannot be read: Is a directory"):
        read(str(path))


def test_lines_are_counted_as_editors_do(project: Path) -> None:
    path = project / FILE_NAME
    path.write_bytes(f'# \u2028 \x85\r\n[models.a]\r\nhandle = "{URL}"\r\nwrong = 1\r\n'.encode())
    with pytest.raises(ModelsFileError, match=r":4: models\.a has an unknown key"):
        read(str(path))


def test_a_change_is_seen_at_once_and_an_old_file_is_read_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(project, one("a"))
    assert find("a") is find("a")
    now_ns = time.time_ns()
    for name in "bcdefgh":
        path.write_text(one(name))  # the same size
        os.utime(path, ns=(now_ns, now_ns))  # within a tick of the clock
        assert find(name) is not None


def test_what_another_user_left_where_anybody_may_write_is_passed_over(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = write(project, one("a"))
    me = os.getuid()
    if me == 0:
        os.chown(theirs, 12345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: me + 1)
    assert find("a") is not None, "a colleague's project is no danger"
    project.chmod(0o1777)
    with caplog.at_level(logging.WARNING):
        assert find("a") is None and find("a") is None
    assert caplog.text.count(f"passed over: {theirs}") == 1
    monkeypatch.setenv("TFIMM_MODELS_FILE", str(theirs))
    assert find("a") is not None
    monkeypatch.delenv("TFIMM_MODELS_FILE")
    os.chown(theirs, me, -1)
    monkeypatch.setattr(os, "getuid", lambda: me)
    assert find("a") is not None


def test_no_reader_of_toml_is_loaded_before_a_name_is_asked_for_and_a_file_is_there(project: Path) -> None:
    model = project / "m"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    code = "import sys, tfimm_resolver; {}; print(*sys.modules)"
    loaded = set(run(code.format("tfimm_resolver.resolve('m')")).split())
    assert loaded.isdisjoint(HEAVY)
    write(project, one("n", "./m"))
    loaded = set(run(code.format("tfimm_resolver.resolve('./m')")).split())
    assert loaded.isdisjoint(HEAVY)
    loaded = set(run(code.format("tfimm_resolver.resolve('n')")).split())
    assert loaded & {*HEAVY} <= {"tomllib"}, "reading needs no more than that"


def test_a_handle_error_is_what_a_stranger_would_catch(project: Path) -> None:
    write(project, "nonsense")
    with pytest.raises(ValueError, match=r":1: Expected"):
        resolve("a")
    assert issubclass(ModelsFileError, HandleError)


def test_a_pipe_at_its_place_is_no_models_file(project: Path) -> None:
    os.mkfifo(project / FILE_NAME)
    job = subprocess.run(
        [sys.executable, "-m", "tfimm_resolver", "resolve", "m"], capture_output=True, text=True, timeout=30, check=False
    )
    assert job.returncode == 2 and "no model of the name" in job.stderr
