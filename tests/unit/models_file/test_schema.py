"""The models file: where it is found, what it may contain, and what the errors say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes.light_start import HEAVY
from tests.fakes.models_file import PIN, URL, make_entry, write
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.errors import HandleError, ModelsFileError
from tfimm_resolver.models_file import discovery
from tfimm_resolver.models_file.discovery import FILE_NAME, find_entry, list_entries, read_entries


def test_every_key_is_read(project: Path) -> None:
    mirrors = '["https://mirror.example/r.tgz", "./r.tgz", "file:///r.tgz", "~/r.tgz", "s3://bucket/r.tgz"]'
    path = write(
        project,
        make_entry(
            "resnet18", URL, f'sha256 = "{PIN.upper()}"', "size_bytes = 1_000", 'aliases = ["r18"]', f"mirrors = {mirrors}"
        ),
    )
    model = find_entry("resnet18")
    assert model is not None and model is find_entry("r18")
    assert (model.name, model.handle, model.file, model.sha256, model.size_bytes) == ("resnet18", URL, str(path), PIN, 1000)
    assert model.aliases == ("r18",)
    assert model.mirrors == (
        "https://mirror.example/r.tgz",
        f"{project}/r.tgz",
        "file:///r.tgz",
        "~/r.tgz",
        "s3://bucket/r.tgz",
    )
    assert find_entry("resnet50") is None and list_entries() == [model]


def test_the_nearest_file_upwards_is_used(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = write(project, make_entry("outer"))
    below = project / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert discovery.find_files() == [str(outer)] and find_entry("outer") is not None
    inner = write(project / "a", make_entry("inner"))
    assert discovery.find_files() == [str(inner)] and find_entry("outer") is None
    (below / FILE_NAME).mkdir()
    assert discovery.find_files() == [str(inner)], "a directory is not a models file"


def test_without_a_file_or_a_working_directory_there_are_no_names(project: Path) -> None:
    assert discovery.find_files() == [] and find_entry("m") is None and list_entries() == []
    project.rmdir()
    assert discovery.find_files() == [] and find_entry("m") is None


def test_the_variable_names_files_of_which_the_first_with_a_name_wins(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, make_entry("here"))
    first = write(project, make_entry("both", f"{URL}?1") + make_entry("mine", URL, 'aliases = ["theirs"]'), "first.toml")
    second = write(
        project, make_entry("both", f"{URL}?2", f'sha256 = "{PIN}"') + make_entry("theirs") + make_entry("more"), "second.toml"
    )
    monkeypatch.setenv("TFIMM_MODELS_FILE", f"first.toml{os.pathsep}{os.pathsep}{second}{os.pathsep}{first}")
    assert discovery.find_files() == [str(first), str(second)]
    both = find_entry("both")
    assert both is not None and (both.handle, both.sha256) == (f"{URL}?1", None), "keys of two files were mixed"
    assert find_entry("here") is None
    named = find_entry("theirs")
    assert named is not None and named.name == "mine"
    assert [model.name for model in list_entries()] == ["both", "mine", "more"], (
        "theirs is hidden by the alias in the first file"
    )
    monkeypatch.setenv("TFIMM_MODELS_FILE", "")
    assert find_entry("here") is not None


def test_a_file_that_the_variable_names_must_exist(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, make_entry("here"))
    monkeypatch.setenv("TFIMM_MODELS_FILE", "~/missing.toml")
    with pytest.raises(ModelsFileError, match=rf"\$TFIMM_MODELS_FILE names {Path.home()}/missing.toml, which cannot be read"):
        resolve("here")


def test_paths_are_relative_to_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, make_entry("m", "./models/m") + make_entry("n", "../n.tgz") + make_entry("o", "models/o"))
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    assert [model.handle for model in list_entries()] == [
        f"{project}/models/m",
        f"{project.parent}/n.tgz",
        f"{project}/models/o",
    ]


@pytest.mark.parametrize(
    ("text", "line", "message", "fix"),
    [
        ("[models.a]\nhandle = \n", 2, "Invalid value", "it is not valid TOML"),
        ("[models.a\n", 1, "Expected", "it is not valid TOML"),
        ("# \n\nhandle = 'x'\n", 3, 'there is an unknown key "handle"', "Known: models."),
        ("[model.a]\nhandle = 'https://h/a'\n", 1, 'there is an unknown key "model"', "Did you mean models?"),
        ("models = 1\n", 1, "models has to be a table", "It is 1."),
        ("[[models]]\nhandle = 'https://h/a'\n", 1, "models has to be a table", ""),
        ("[models]\na = 'https://h/a'\n", 2, "models.a has to be a table with handle", ""),
        ("[models.a]\n# none\n", 1, "a has no handle", 'Write handle = "URL or path"'),
        (
            make_entry("a", URL, "", "# the pin", f'sha265 = "{PIN}"'),
            5,
            'models.a has an unknown key "sha265"',
            "Did you mean sha256?",
        ),
        (make_entry("a", URL, "[models.a.pin]", "x = 1"), 3, 'unknown key "pin"', "Known: handle, sha256"),
        (
            make_entry("a") + make_entry("b", URL, 'sha256 = "abc"'),
            5,
            "a sha256 has 64 hexadecimal digits, not 'abc'",
            "which writes both",
        ),
        (make_entry("a", URL, "sha256 = 1"), 3, "models.a.sha256 has to be a text", "It is 1."),
        (make_entry("a", URL, f'sha256 = "{PIN}"', "size_bytes = -1"), 4, "size_bytes cannot be -1", ""),
        (make_entry("a", URL, f'sha256 = "{PIN}"', "size_bytes = true"), 4, "size_bytes cannot be true", ""),
        (make_entry("a", URL, "size_bytes = 1"), 3, "a size alone is not a pin", "project.lock()"),
        (make_entry("a", URL, 'aliases = "b"'), 3, "models.a.aliases has to be a list of texts", ""),
        (make_entry("a", URL, "aliases = [", '  "b",', "  1,", "]"), 3, "1 is not a valid model name", "one word"),
        (make_entry("a", URL, 'aliases = ["a"]'), 1, '"a" means a already', "Choose another name."),
        (make_entry("a", URL, 'aliases = ["c"]') + make_entry("b", URL, 'aliases = ["c"]'), 4, '"c" means a already', ""),
        (make_entry("a", URL, 'aliases = ["b"]') + make_entry("b"), 4, '"b" means a already', ""),
        (make_entry('"https://h/x"'), 1, "'https://h/x' is not a valid model name", "A name is one word"),
        (make_entry('"a/b"'), 1, "'a/b' is not a valid model name", ""),
        (make_entry('"a\\\\b"'), 1, "is not a valid model name", ""),
        (make_entry('"a b"'), 1, "'a b' is not a valid model name", "without blanks"),
        (make_entry('"a\u00a0b"'), 1, "is not a valid model name", "without blanks"),
        (make_entry("a", URL, 'aliases = ["b c"]'), 3, "'b c' is not a valid model name", "without blanks"),
        (make_entry('".."'), 1, "'..' is not a valid model name", ""),
        (make_entry('""'), 1, "'' is not a valid model name", ""),
        (make_entry(f'"a#sha256={PIN}"'), 1, "is not a valid model name", "#sha256="),
        (make_entry('"a#subdirectory=b"'), 1, "is not a valid model name", "#subdirectory="),
        (make_entry("a", "resnet18"), 2, '"resnet18" is neither a URL nor a path', "is ./resnet18"),
        (make_entry("a", f"{URL}#sha256={PIN}"), 2, "ends in a pin", 'Write sha256 = "..." beside it.'),
        (make_entry("a", f"{URL}#part"), 2, "has a fragment", ""),
        (make_entry("a", ""), 2, "the handle is empty", ""),
        (make_entry("a", URL, 'mirrors = ["mirror"]'), 3, '"mirror" is neither a URL nor a path', ""),
        ("models = {a = {handle = 'https://h/a', sha = 1}}\n", 1, 'unknown key "sha"', "Did you mean sha256?"),
        ("[models.a]\nhandle = '''\n[models.b]\nhandle'''\nmirror = []\n", 5, 'unknown key "mirror"', ""),
        ("a = " + "[" * 5000, 1, "", "it is not valid TOML"),
        ("a = " + "9" * 5000, 1, "", "it is not valid TOML"),
    ],
)
def test_an_error_names_the_line(project: Path, text: str, line: int, message: str, fix: str) -> None:
    path = write(project, text)
    with pytest.raises(ModelsFileError) as caught:
        resolve("a")
    assert caught.value.text.startswith(f"{path}:{line}: ") and message in caught.value.text
    assert fix in caught.value.fix and caught.value.exit_code == 2


def test_a_file_that_is_not_utf8_or_cannot_be_read_is_an_error(project: Path) -> None:
    path = project / FILE_NAME
    path.write_bytes(b"[models.a]\n# \xff\n")
    with pytest.raises(ModelsFileError, match=":2: this is not UTF-8"):
        read_entries(str(path))
    path.unlink()
    path.mkdir()
    with pytest.raises(ModelsFileError, match="cannot be read: Is a directory"):
        read_entries(str(path))


def test_lines_are_counted_as_editors_do(project: Path) -> None:
    path = project / FILE_NAME
    path.write_bytes(f'# \u2028 \x85\r\n[models.a]\r\nhandle = "{URL}"\r\nwrong = 1\r\n'.encode())
    with pytest.raises(ModelsFileError, match=r":4: models\.a has an unknown key"):
        read_entries(str(path))


def test_a_change_is_seen_at_once_and_an_old_file_is_read_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(project, make_entry("a"))
    assert find_entry("a") is find_entry("a")
    now_ns = time.time_ns()
    for name in "bcdefgh":
        path.write_text(make_entry(name))  # the same size
        os.utime(path, ns=(now_ns, now_ns))  # within a tick of the clock
        assert find_entry(name) is not None


def test_no_toml_parser_is_loaded_before_a_name_is_looked_up_in_a_file(project: Path) -> None:
    model = project / "m"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"graph")
    code = "import sys, tfimm_resolver; {}; print(*sys.modules)"
    loaded = set(run(code.format("tfimm_resolver.resolve('m')")).split())
    assert loaded.isdisjoint(HEAVY)
    write(project, make_entry("n", "./m"))
    loaded = set(run(code.format("tfimm_resolver.resolve('./m')")).split())
    assert loaded.isdisjoint(HEAVY)
    loaded = set(run(code.format("tfimm_resolver.resolve('n')")).split())
    assert loaded & {*HEAVY} <= {"tomllib"}, "reading needs no more than that"


def test_an_invalid_file_is_a_value_error_and_a_handle_error(project: Path) -> None:
    write(project, "nonsense")
    with pytest.raises(ValueError, match=r":1: Expected"):
        resolve("a")
    assert issubclass(ModelsFileError, HandleError)


def test_a_pipe_with_its_name_is_not_a_models_file(project: Path) -> None:
    os.mkfifo(project / FILE_NAME)
    job = subprocess.run(
        [sys.executable, "-m", "tfimm_resolver", "resolve", "m"], capture_output=True, text=True, timeout=60, check=False
    )
    assert job.returncode == 2 and "no model named" in job.stderr


@pytest.mark.timeout(30)  # it took minutes when each line was tried
def test_an_error_in_a_large_file_names_its_line_in_reasonable_time(project: Path) -> None:
    number = 10_000
    many = "".join(f'[models.m{index}]\nhandle = "https://h/{index}"\n' for index in range(number))
    path = write(project, f"{many}# zzz\nzzz = [\n1]\n")
    with pytest.raises(ModelsFileError, match=f':{2 * number + 2}: models.m{number - 1} has an unknown key "zzz"'):
        read_entries(str(path))


def test_a_key_that_is_spelled_with_escapes_is_reported_at_the_line_of_its_table(project: Path) -> None:
    path = write(project, make_entry("a") + '"h\\u0061rm" = 1\n')
    with pytest.raises(ModelsFileError, match=r':1: models.a has an unknown key "harm"'):
        read_entries(str(path))
