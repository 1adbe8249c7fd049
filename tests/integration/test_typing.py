"""What mypy --strict sees of the public names in a project of a user, into which the package is installed (PEP 561).

TensorFlow has no types: what ``load`` returns is described by the Protocols of ``loading.loaded_model``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.processes import run

PACKAGE = Path(tfimm_resolver.__file__).parent

HEAD = """
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tfimm_resolver
from tfimm_resolver import bundles, errors, hub, maintenance, project, sources

"""
REVEALED = {
    'tfimm_resolver.resolve("m")': "str",
    'tfimm_resolver.resolve(Path("m"), sha256="0", timeout_s=1)': "str",
    'tfimm_resolver.load("m")': "LoadedModel",
    'tfimm_resolver.load("m").signatures': "Mapping[str, LoadedSignature]",
    'tfimm_resolver.load("m").signatures["serving_default"](x=1)': "dict[str, Any]",
    'tfimm_resolver.load("m").signatures["a"].structured_outputs': "Mapping[str, Any]",
    'tfimm_resolver.load("m").variables': "Sequence[Any]",
    'tfimm_resolver.load("m").trainable_variables': "Sequence[Any]",
    'tfimm_resolver.load("m").asset_paths': "Sequence[Any]",
    'tfimm_resolver.load("m").tensorflow_version': "str",
    'tfimm_resolver.load("m").hidden.kernel': "Any",
    'tfimm_resolver.load("m")([1.0])': "Any",
    "tfimm_resolver.cached()": "CachedModels",
    "tfimm_resolver.cached()[0]": "CachedModel",
    "tfimm_resolver.cached()[1:]": "CachedModels",
    "[model.size_bytes for model in tfimm_resolver.cached(filters='kept', sort='size')]": "list[int]",
    'tfimm_resolver.inspect("m")': "Inspection",
    'tfimm_resolver.inspect("m").signatures[0].inputs[0].shape': "tuple[int | None, ...] | None",
    "tfimm_resolver.on_event(print)": "Subscription",
    "maintenance.verify()[0].error": "ResolverError | None",
    "maintenance.measure().total_bytes": "int",
    "maintenance.list()": "list[CachedModel]",
    'project.sync(["m"])[0].path': "str | None",
    'errors.FetchError("x").status': "int | None",
    "hub.load": "def (repo_or_dir: str | PathLike[str], model: str, *args: Any",
    "sources.Handle.parse('m').key": "str",
}
ACCEPTED = """
def count(model: tfimm_resolver.LoadedModel, name: str = "serving_default") -> int:
    signature: tfimm_resolver.LoadedSignature = model.signatures[name]
    return len(signature.structured_outputs) + len(model.variables)

def watch(event: Mapping[str, Any]) -> None:
    print(event["event"])

def main() -> None:
    with tfimm_resolver.on_event(watch), tfimm_resolver.using(dir="models"):
        print(count(tfimm_resolver.load(Path("m"), tags=["serve"])))
    for model in tfimm_resolver.cached(filters=["used>30d"]):
        print(model.name, model.handle, model.path, model.state, model.used_s)
    maintenance.remove(tfimm_resolver.cached())
    try:
        tfimm_resolver.resolve("m")
    except errors.NotFoundError as error:
        print(error.fix.upper(), error.status)
"""
REJECTED = {
    'tfimm_resolver.resolv("x")': 'Module has no attribute "resolv"',
    "bundles.wite": 'Module has no attribute "wite"',
    "errors.FetchEror": 'Module has no attribute "FetchEror"',
    "number: int = tfimm_resolver.resolve('m')": "Incompatible types in assignment",
    "tfimm_resolver.resolve(3)": "Argument 1",
    "tfimm_resolver.load('m').signatures[0]": "Invalid index type",
    "tfimm_resolver.cached()[0] = 1": "Unsupported target for indexed assignment",
    "tfimm_resolver.cached()[0].name = 'x'": "read-only",
    "tfimm_resolver.on_event(3)": "Argument 1",
}
"""Lines that a user gets wrong, and a part of what mypy says about each."""


PROGRAM = HEAD + ACCEPTED + "\n" + "".join(f"reveal_type({code})\n" for code in REVEALED) + "\n".join(REJECTED) + "\n"
_MESSAGE = re.compile(r"^program\.py:(\d+): (?:error|note): (.*?)(?:  \[[\w-]+\])?$", re.MULTILINE)
_MODULE = re.compile(r"\b(?:tfimm_resolver|builtins|typing|collections|os)\.(?:\w+\.)*(?=\w)")


def install(folder: Path) -> Path:
    """Make an environment with the files of the package that a wheel has, and nothing else; return its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    shutil.copytree(PACKAGE, site / "tfimm_resolver", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What mypy --strict says about the program, by the line of its text."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "project").mkdir()
    (folder / "project" / "program.py").write_text(PROGRAM)
    python = install(folder / "environment")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(folder / "mypy"), "program.py"]
    command += ["--python-executable", str(python), "--config-file", os.devnull]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MYPY")}
    job = subprocess.run(
        command, cwd=folder / "project", env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert "program.py" in job.stdout, job.stdout + job.stderr
    lines, found = PROGRAM.splitlines(), dict[str, str]()
    for number, text in _MESSAGE.findall(job.stdout):
        found.setdefault(lines[int(number) - 1], _MODULE.sub("", text))
    return found


@pytest.mark.parametrize("code", REVEALED, ids=range(len(REVEALED)))
def test_a_user_sees_the_type_of(code: str, messages: dict[str, str]) -> None:
    assert messages[f"reveal_type({code})"].removeprefix('Revealed type is "').startswith(REVEALED[code])


@pytest.mark.parametrize("code", REJECTED, ids=range(len(REJECTED)))
def test_a_mistake_is_an_error(code: str, messages: dict[str, str]) -> None:
    assert REJECTED[code] in messages[code]


def test_a_correct_program_has_no_errors(messages: dict[str, str]) -> None:
    revealed = {f"reveal_type({code})" for code in REVEALED}
    assert {line: text for line, text in messages.items() if line not in revealed and line not in REJECTED} == {}


def test_the_types_of_a_loaded_model_need_no_tensorflow() -> None:
    code = "import sys, tfimm_resolver; print(tfimm_resolver.LoadedModel.__name__, tfimm_resolver.LoadedSignature.__name__)\n"
    assert run(code + "print('tensorflow' in sys.modules)").split() == ["LoadedModel", "LoadedSignature", "False"]
