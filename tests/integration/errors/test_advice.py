"""Advice in errors fits the caller: Python names functions and keywords, the command line names commands and options."""

from __future__ import annotations

import ast
import copy
import importlib
import json
import os
import pickle
import pkgutil
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import tar_gz
from tests.fakes.origin import Origin
from tfimm_resolver import errors
from tfimm_resolver.errors import FetchError, ResolverError
from tfimm_resolver.errors.advice import Advice, join_advice, make_advice

PACKAGE = Path(tfimm_resolver.__file__).parent
COMMAND_FORM = re.compile(r"(?<![\w-])--[a-z][a-z-]+|tfimm-resolver [a-z]")
PYTHON_FORM = re.compile(r"\b[a-z_]+=(True|False|\"|')|\b[a-z_.]+\((?!s\))|@[a-z]")
NOT_ADVICE = {
    "as listed by `tfimm-resolver ls`": "the reason of a line that the command `why` prints",
    "set_dir()": "the name of a setting",
    "hub.set_dir()": "the name of a setting",
    "using()": "the name of a setting",
    "--cache-dir": "the name of a setting",
    "--tfhub_cache_dir": "the name of a setting",
    "set_model_cache() maps {} to {}": "what was set, which only Python can do",
    "set_model_cache(%r, ...) names": "what was set, which only Python can do",
    "Cannot find {} in {}. If it's a commit": "the wording of torch.hub, which its users search for",
    "%s has files that load options do not cover": "a warning of load_options, which only Python can call",
    "Only links to regular files inside the archive": "options of tar",
    "Pack the files that the links lead to": "options of zip",
    "Clone the repository with git": "options of git",
    "Azure Blob Storage is read by https": "an option of azcopy",
    "the handle ends in @sha256:": "a handle",
    "call tfimm_resolver.hub.load": "unpickling, which only Python does",
    "REPOSITORY, ..., or DIRECTORY": "unpickling, which only Python does",
    '"{}", ..., trust_repo=True': "unpickling, which only Python does",
    "(lambda names:": "a program",
    **dict.fromkeys(("<div style=", "<span style=", "<td style=", "<table style="), "HTML"),
    "%s is a TensorFlow 1 model": "a warning about a loaded model, which only Python can call",
}


def find_fault(python: str, command: str) -> str:
    """Return why an advice does not fit its callers; an empty text if it does."""
    if COMMAND_FORM.search(python) and "on the command line" not in python.lower():
        return f"advice for Python names a command: {python}"
    return f"advice for the command line names Python: {command}" if PYTHON_FORM.search(command) else ""


def get_text(node: ast.AST) -> str | None:
    """Return the text of a literal, with ``{}`` for each value in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(get_text(part) or "{}" for part in node.values)
    return None


@dataclass
class Text:
    """A literal of the package, and the form of ``Advice`` whose argument it is; empty outside of one."""

    where: str
    text: str
    form: str


def list_texts(node: ast.AST, where: str, form: str = "") -> Iterator[Text]:
    """Yield every text literal below a syntax node, without docstrings."""
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or (isinstance(child, ast.Expr) and get_text(child.value) is not None):
                continue
            inner = form
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Advice" and name == "keywords":
                inner = child.arg
            text = get_text(child)
            if text is not None:
                yield Text(f"{where}:{child.lineno}", text, inner)
            if not isinstance(child, ast.JoinedStr):
                yield from list_texts(child, where, inner)


def list_package_texts() -> Iterator[Text]:
    """Yield every text literal of the package; what is below ``cli`` is only for the command line."""
    for path in sorted(PACKAGE.rglob("*.py")):
        where = str(path.relative_to(PACKAGE))
        yield from list_texts(ast.parse(path.read_text()), where, "command" if where.startswith("cli/") else "")


def is_sentence(text: str) -> bool:
    """Whether a literal is a message, rather than a pattern, a URL or a part of a program."""
    return " " in text and not re.search(r"[\\^$|]|\(\?", text) and text[:1].strip() != ""


def test_every_text_that_names_a_function_or_a_command_has_a_form_for_each_caller() -> None:
    faults = []
    for one in list_package_texts():
        if not is_sentence(one.text) or any(one.text.startswith(start) for start in NOT_ADVICE):
            continue
        python = one.text if one.form in ("", "python") else ""
        command = one.text if one.form == "command" or (one.form == "" and not one.where.startswith("cli/")) else ""
        if fault := find_fault(python, command):
            faults.append(f"{one.where}: {fault}")
    assert not faults, "\n".join(faults)


def test_an_error_passes_on_both_forms_of_another_errors_advice() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "fix":
                passed = ast.unparse(node.value).replace("finding.fix", "")  # that of doctor, a text
                assert ".fix" not in passed, f"{path}:{node.value.lineno}: pass advice, not fix"


def test_an_advice_that_names_the_other_caller_is_found() -> None:
    assert find_fault("Use --refresh.", "")
    assert find_fault("Run tfimm-resolver ls.", "")
    assert not find_fault("Pin it on the command line: tfimm-resolver lock x", "")
    for text in ("Pass refresh=True.", 'Pass source="local".', "Call set_dir(path).", "bundles.export() wrote it"):
        assert find_fault("", text)
        assert not find_fault(text, "")
    tree = ast.parse('raise E(fix="Use --x now")\nraise E(fix=Advice(python="f() it", command="Use --x now"))')
    assert [(one.text, one.form) for one in list_texts(tree, "m")] == [
        ("Use --x now", ""),
        ("f() it", "python"),
        ("Use --x now", "command"),
    ]


def test_an_error_shows_the_advice_for_python_and_keeps_both() -> None:
    error = FetchError("it failed", fix=Advice(python="Call f().", command="Use --f."))
    assert (str(error), error.fix, error.advice.command) == ("it failed\n  Call f().", "Call f().", "Use --f.")
    for other in (error.with_message("x"), pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert other.advice == error.advice
    assert error.with_message("x", "").advice == Advice("", "")
    assert FetchError("x", fix="Try again.").advice == Advice("Try again.", "Try again.")


def test_advice_is_joined_in_each_form() -> None:
    assert join_advice([Advice("a", ""), "b", ""]) == Advice("a\n  b", "b")
    assert not make_advice("")
    assert Advice("", "x")
    assert FetchError("x", fix=Advice("a\x1b", "token=SECRETSECRET")).advice == Advice("a\\x1b", "token=…")


def test_every_error_class_is_public() -> None:
    for module in pkgutil.walk_packages(tfimm_resolver.__path__, "tfimm_resolver."):
        if not module.name.endswith(("__main__", ".bundle", ".handle", ".plan", ".unbundle", ".beam", ".ray", ".ray_seed")):
            importlib.import_module(module.name)
    pending, found = [ResolverError], set[type]()
    while pending:
        found.add(current := pending.pop())
        pending += current.__subclasses__()
    own = {
        one for one in found if re.match(r"tfimm_resolver\.(?!cli\.)", one.__module__)
    }  # those never leave the command line
    assert {f"{one.__module__}.{one.__name__}" for one in own} == {f"tfimm_resolver.errors.{name}" for name in errors.__all__}


SETUP = """
import json, os, sys
import tfimm_resolver
from tfimm_resolver import bundles, hub, maintenance
url, home = sys.argv[1:]
"""


@dataclass
class Failure:
    """One kind of failure: its code in Python, the arguments of the command line, and words that each advice contains."""

    python: str
    command: str
    python_words: str
    command_words: str
    prepare: str = ""
    variables: str = ""


FAILURES = {
    "a name": Failure(
        "tfimm_resolver.resolve('m')", "resolve m", "set_model_cache(name, path)",
        "tfimm-resolver add NAME HANDLE",
    ),
    "offline": Failure(
        "tfimm_resolver.resolve(url)", "resolve URL", "set_model_cache(", "path of a local copy",
        variables="TFIMM_RESOLVER_OFFLINE=1"
    ),
    "offline, Hugging Face": Failure(
        "tfimm_resolver.resolve('hf://a/b')", "resolve hf://a/b", "set_model_cache(", "path of a local copy",
        variables="HF_HUB_OFFLINE=1",
    ),
    "offline, a bucket": Failure(
        "tfimm_resolver.resolve('gs://b/m.tar.gz')", "resolve gs://b/m.tar.gz", "set_model_cache(",
        "path of a local copy",
        variables="TFIMM_RESOLVER_OFFLINE=1",
    ),
    "mirrors that end in off": Failure(
        "tfimm_resolver.resolve(url)", "resolve URL", "set_model_cache(", "path of a local copy",
        variables="TFIMM_RESOLVER_MIRRORS=off"
    ),
    "another pin than cached": Failure(
        "tfimm_resolver.resolve(url, sha256='0' * 64)", f"resolve --sha256 {'0' * 64} URL", "refresh=True", "--refresh",
        prepare="tfimm_resolver.resolve(url)",
    ),
    "a cache that is a file": Failure(
        "tfimm_resolver.resolve(url)", "resolve URL", "set_dir(path)", "--cache-dir",
        prepare="open('file', 'w')", variables="TFHUB_CACHE_DIR=file",
    ),
    "an unknown cached model": Failure(
        "maintenance.select(['nothing'])", "verify nothing", "maintenance.list()", "tfimm-resolver ls"
    ),
    "a hub that is offline": Failure(
        "hub.list('a/b')", "hub list a/b", 'source="local"', "--local", variables="TFIMM_RESOLVER_OFFLINE=1"
    ),
    "mirrors without a pin": Failure(
        "tfimm_resolver.resolve('m')", "resolve m", "project.lock(['m'])",
        "Pin it: tfimm-resolver lock m",
        prepare="open('tfimm-models.toml', 'w').write('[models.m]\\nhandle = \"./x.tar\"\\nmirrors = [\"./y.tar\"]')",
    ),
    "a size without a pin": Failure(
        "tfimm_resolver.resolve('m')", "resolve m", "project.lock()",
        "tfimm-resolver lock m",
        prepare="open('tfimm-models.toml', 'w').write('[models.m]\\nhandle = \"./x.tar\"\\nsize_bytes = 1')",
    ),
    "a damaged bundle": Failure(
        "bundles.read('b.tar')", "import b.tar", "bundles.export() wrote", "tfimm-resolver export",
        prepare="open('b.tar', 'w').write('x')"
    ),
    "a damaged model in an export": Failure(
        "bundles.write([url], 'b.tar')", "export -o b.tar URL", "repair=True", "tfimm-resolver verify --repair",
        prepare="open(tfimm_resolver.resolve(url) + '/saved_model.pb', 'w')",
    ),
    "a model without hashes in an export": Failure(
        "bundles.write([url], 'b.tar')", "export -o b.tar URL", "refresh=True", "tfimm-resolver resolve --refresh",
        prepare="path = tfimm_resolver.resolve(url) + '.descriptor.txt'\n"
        "text = open(path).read().partition('\\n\\n')[0]\nopen(path, 'w').write(text)",
    ),
    "a bundle of a model whose handle is incomplete": Failure(
        "bundles.read('b.tar')", "import b.tar", "export() returned", "--sha256",
        prepare="bundles.write([url + '?key=1'], 'b.tar')",
    ),
    "a file name in a URL of weights": Failure(
        "hub.load_state_dict_from_url('https://h/')",
        "hub load --local . net", 'file_name="model.weights.h5"', "Ask the author",
        prepare="open('hubconf.py', 'w').write('from tfimm_resolver import hub\\n"
        "def net(): return hub.load_state_dict_from_url(\"https://h/\")')",
    ),
    "a directory instead of a repository": Failure(
        "hub.list(__import__('pathlib').Path('x'))", "", 'source="local"', ""
    ),
    "no models file": Failure("", "lock", "", "Create one: tfimm-resolver add"),
    "a name that exists": Failure(
        "", "add m URL", "", "--replace",
        prepare="open('tfimm-models.toml', 'w').write('[models.m]\\nhandle = \"./x.tar\"')"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_has_advice_for_its_caller(name: str, origin: Origin, tmp_path: Path) -> None:
    failure, url = FAILURES[name], origin.put("/m.tar.gz", tar_gz())
    origin.put("/m.tar.gz?key=1", tar_gz())
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TFIMM", "TFHUB", "HF_"))}
    environment |= {"HOME": str(tmp_path), "TFHUB_CACHE_DIR": str(tmp_path / "cache"), "TFIMM_RESOLVER_RETRIES": "0"}
    environment |= {"TFIMM_HOME": str(tmp_path / "names"), "PYTHONPATH": str(PACKAGE.parent)}

    def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, env=environment | extra, cwd=tmp_path, capture_output=True, text=True, check=False)

    def call(code: str, **extra: str) -> str:
        result = run("-c", SETUP + code, url, str(tmp_path), **extra)
        assert result.returncode == 0, result.stderr
        return result.stdout

    call(failure.prepare)
    variables = dict(part.split("=", 1) for part in failure.variables.split())
    if failure.python:
        code = f"try:\n    {failure.python}\nexcept tfimm_resolver.errors.ResolverError as error:\n"
        python = call(f"{code}    print(json.dumps([str(error), error.fix]))", **variables)
        text, advice = json.loads(python)
        assert failure.python_words in advice
        assert text.endswith(advice)
        assert not find_fault(advice, "")
    if failure.command:
        arguments = failure.command.replace("URL", url).split()
        for as_json in (False, True):
            options = ["--json"] if as_json else []
            result = run("-m", "tfimm_resolver", *options, *arguments, **variables)
            advice = json.loads(result.stdout)["error"]["fix"] if as_json else result.stderr
            assert result.returncode, result.stdout
            assert failure.command_words in advice, textwrap.indent(result.stdout + result.stderr, "    ")
            assert not find_fault("", advice.replace("import name ", ""))
