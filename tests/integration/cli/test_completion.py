"""Completion in a shell: commands, names of the models file, cached models, and paths."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.models_file import make_entry, write
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.origin import Origin
from tests.fakes.processes import read_terminal
from tfimm_resolver import resolve
from tfimm_resolver.cli.commands import completion


def complete(*words: str, **environment: str) -> list[str]:
    """Return what bash gets as completions of the last word."""
    variables = {"COMP_WORDS": " ".join(("tfimm-resolver", *words)), "COMP_CWORD": str(len(words))}
    code, out, err = run_cli(**variables, _TFIMM_RESOLVER_COMPLETE="bash_complete", **environment)
    assert (code, err) == (0, "")
    return out.split()


@pytest.fixture
def handle(origin: Origin, project: Path) -> str:
    """The handle of a cached model, in a project with the model ``resnet18``."""
    write(project, make_entry("resnet18"))
    handle = origin.put_model("/google/model/1", tar_gz())
    resolve(handle)
    return handle


def test_commands_and_options_are_completed() -> None:
    assert complete("reso") == ["plain,resolve"]
    assert "plain,--refresh" in complete("resolve", "--re")


def test_names_cached_models_and_paths_are_completed_where_they_are_accepted(handle: str, origin: Origin) -> None:
    requests = len(origin.requests)
    url = "https://host.example/resnet18.tar.gz"
    assert complete("resolve", "") == ["plain,resnet18", f"plain,{handle}", f"plain,{url}"]
    assert complete("add", "name", "https") == complete("fetch", "https") == [f"plain,{url}"]
    assert complete("fetch", handle, "d") == complete("resolve", handle, "-o", "d") == ["dir,d"]
    assert complete("import", "m") == complete("export", handle, "-o", "m") == complete("sign", "m") == ["file,m"]
    assert complete("--cache-dir", "d") == complete("ls", "--cache-dir", "d") == ["dir,d"]
    assert complete("explain", "acc") == ["plain,access"] and complete("prune", "--keep", "") == [f"plain,{handle}"]
    assert complete("resolve", "res") == ["plain,resnet18"]
    assert complete("resolve", "./m") == ["file,./m"]
    assert complete("sync", "r") == ["plain,resnet18"]
    assert complete("export", "") == complete("verify", "http") == [f"plain,{handle}"]
    assert complete("rm", "x") == []
    assert len(origin.requests) == requests


def test_a_models_file_that_is_not_valid_completes_to_nothing(project: Path) -> None:
    write(project, "[models.resnet18]\n")
    assert complete("sync", "") == []


def test_a_name_that_a_shell_would_run_is_not_completed(project: Path) -> None:
    rests = ("", "$(x)", "`x`", ";x", "&x", "'x")
    write(project, "".join(make_entry(f'"a{rest}"') for rest in rests))
    assert complete("sync", "a") == complete("resolve", "a") == ["plain,a"]


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_code_of_each_shell_calls_the_program(shell: str) -> None:
    code, out, err = run_cli("completion", shell)
    assert (code, err) == (0, "") and f"_TFIMM_RESOLVER_COMPLETE={shell}_complete" in out


def test_bash_completes_with_the_printed_code(handle: str, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    program = tmp_path / "bin" / "tfimm-resolver"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tfimm_resolver "$@"\n')
    program.chmod(0o755)
    script = f"""
        PATH={program.parent}:$PATH
        eval "$(tfimm-resolver completion bash)"
        while read -r COMP_LINE; do
            COMP_LINE=${{COMP_LINE%.}} COMP_POINT=${{#COMP_LINE}}
            _tfimm_resolver_completion tfimm-resolver
            echo "${{COMPREPLY[@]}}"
        done
    """
    lines = {
        "why res": "resnet18",
        f"verify {handle[:12]}": handle.partition(":")[2],  # what stands behind the last colon: bash keeps the rest
        f"verify {handle[:-4]}": handle.rpartition(":")[2],
        "resolv": "resolve",
        "ls --sort=si": "size",
        "ls --sort u": "used",
        "explain not-": "not-found not-a-saved-model",
        "ls -": "-V -q -v",
        "rm ": handle,
    }
    typed = "".join(f"tfimm-resolver {line}.\n" for line in lines)  # a dot, since read cuts off blanks
    seen = subprocess.run([bash, "-c", script], input=typed, capture_output=True, text=True, check=True)
    assert seen.stderr == ""
    for line, expected, completed in zip(lines, lines.values(), seen.stdout.splitlines(), strict=True):
        assert completed == expected or {*expected.split()} <= {*completed.split()}, line


def test_a_real_bash_inserts_what_follows_the_colon_of_a_handle(handle: str, tmp_path: Path) -> None:
    """Typed into an interactive shell: bash itself splits the word at the colon."""
    (tmp_path / "a_bundle.tar").write_bytes(b"")
    program = f'tfimm-resolver() {{ {sys.executable} -m tfimm_resolver "$@"; }}; export -f tfimm-resolver; '
    code = run_cli("completion", "bash")[1].replace(' "$1")', f" {sys.executable} -m tfimm_resolver)")
    (tmp_path / "rc").write_text(f"PS1='> '; {program}\n{code}\ntfimm-resolver() {{ printf '<%s>' \"$@\"; }}\n")
    typed = f"tfimm-resolver verify {handle[:12]}\t\ntfimm-resolver import a_b\t\nexit\n"
    controller, terminal = pty.openpty()
    command = ["bash", "--noprofile", "--rcfile", str(tmp_path / "rc"), "-i"]
    shell = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=tmp_path, start_new_session=True)
    os.close(terminal)
    os.write(controller, typed.encode())
    seen = read_terminal(controller)
    shell.wait(30)
    assert f"<verify><{handle}>" in seen and "<import><a_bundle.tar>" in seen
