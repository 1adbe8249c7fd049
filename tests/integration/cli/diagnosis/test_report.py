"""Tests of ``cli.diagnosis.report`` and ``cli.diagnosis.findings``, and of the commands ``doctor`` and ``env``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.cli import run_cli, run_on_terminal
from tests.fakes.diagnosis import EXIT_PROBLEMS, diagnose
from tests.fakes.origin import Origin
from tfimm_resolver import resolve, settings
from tfimm_resolver.cli.diagnosis import findings


@pytest.mark.parametrize("has_models", [False, True])
def test_a_plain_machine_has_no_problem(has_models: bool, tmp_path: Path, origin: Origin) -> None:
    home, temporary = tmp_path / "fresh", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    environment = {"HOME": str(home), "TMPDIR": str(temporary)}
    if has_models:
        url = origin.put("/m.tar.gz", tar_gz())
        subprocess.run([sys.executable, "-m", "tfimm_resolver", "resolve", url], env=environment, check=True)
    job = subprocess.run(
        [sys.executable, "-m", "tfimm_resolver", "doctor"], env=environment, capture_output=True, text=True, check=False
    )
    assert (job.returncode, job.stderr, job.stdout.count("\n")) == (0, "", 1), (job.stdout, job.stderr)
    assert job.stdout.startswith(f"No problems found: plug-in active, cache {temporary}/tfhub_modules (")
    assert [path.name for path in home.iterdir()] == [".local"] * has_models, "counts of what resolve did"
    assert len(list(temporary.iterdir())) == has_models


@pytest.mark.parametrize("variable", ["TFHUB_CACHE_DIR", "TFIMM_HOME", "TFIMM_RESOLVER_EXTRA_ROOTS", "TFIMM_HUB_DIR"])
def test_a_directory_in_quotes(variable: str) -> None:
    problems, _ = diagnose(**{variable: '"/models"'})
    assert len(problems) == 1 and f"{variable} is" in problems["handle"]


@pytest.mark.parametrize(
    "environment",
    [
        {"TFIMM_RESOLVER_MAX_SIZE": "big"},
        {"TFIMM_RESOLVER_CONNECTIONS": "many"},
        {"TFHUB_MODEL_LOAD_FORMAT": "ZIP"},
        {"TFIMM_KAGGLE_URL": "ftp://kaggle.example"},
        {"TFIMM_RESOLVER_GRACE": "long"},
    ],
)
def test_a_wrong_setting(environment: dict[str, str]) -> None:
    problems, _ = diagnose(**environment)
    assert len(problems) == 1 and next(iter(environment)) in "".join(problems.values())


def test_a_settings_file_that_others_may_write(tmp_path: Path) -> None:
    path = tmp_path / "tfimm_resolver" / "config.toml"
    path.parent.mkdir()
    path.write_text('max_size = "1GB"\n')
    path.chmod(0o666)
    problems, _ = diagnose(XDG_CONFIG_HOME=str(tmp_path))
    assert len(problems) == 1 and f"{path} belongs to" in problems["handle"] and "0666" in problems["handle"]


def test_a_broken_file_of_settings_or_models(tmp_path: Path) -> None:
    for variable, name in (("XDG_CONFIG_HOME", "tfimm_resolver/config.toml"), ("TFIMM_MODELS_FILE", "tfimm-models.toml")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("not TOML")
        problems, _ = diagnose(**{variable: str(tmp_path if variable.startswith("XDG") else path)})
        assert any(str(path) in text for text in problems.values()), problems
        path.unlink()


def test_each_problem_has_a_line_and_its_fix_below(tmp_path: Path) -> None:
    code, out, err = run_cli("doctor", TFHUB_CACHE_DIR="'x'", TFIMM_RESOLVER_OFFLINE="1")
    lines = out.splitlines()
    assert code == EXIT_PROBLEMS and err == "" and len(lines) == 4
    assert lines[0].startswith("problem  TFHUB_CACHE_DIR is") and lines[2].startswith("note     TFIMM_RESOLVER_OFFLINE")
    assert all(line.startswith("         fix: ") for line in lines[1::2])
    seen = run_on_terminal("doctor", TFHUB_CACHE_DIR="'x'", TFIMM_RESOLVER_OFFLINE="1")
    assert "1 problem, 1 note" in seen and "\x1b[31m" in seen


def test_notes_alone_are_not_a_failure(cache_dir: Path) -> None:
    code, out, _ = run_cli("doctor", TFIMM_RESOLVER_OFFLINE="1")
    assert code == 0 and out.splitlines()[-1].startswith("No problems found") and out.endswith("; 1 note\n")


def test_the_block_for_a_bug_report_has_no_secret(cache_dir: Path) -> None:
    secrets = {
        "HF_TOKEN": "hf_" + "a" * 30,
        "KAGGLE_KEY": "0123456789abcdef",
        "TFIMM_RESOLVER_MIRRORS": "models.example=https://ada:password1@mirror.example/m?token=abcdefgh",
        "https_proxy": "http://ada:password2@proxy.example:3128",
        "TFIMM_SECRET_THING": "password3",
        "TFIMM_HOME_URL": "https://models.example/m?key=first password4",
    }
    for arguments in (("env",), ("env", "--json"), ("doctor", "--json")):
        code, out, err = run_cli(*arguments, **secrets)
        assert code in (0, EXIT_PROBLEMS)
        for secret in ("hf_aaa", "0123456789abcdef", "password1", "abcdefgh", "password2", "password3", "password4"):
            assert secret not in out + err, (secret, arguments)
        assert "HF_TOKEN" in out and "proxy.example:3128" in out


@pytest.mark.parametrize("value", ["0123password456789", "eyJhbGciOiJI.password0", "hf_" + "password" * 4, "u:password1@h/m"])
def test_a_token_in_the_wrong_variable_is_not_shown(value: str, tmp_path: Path) -> None:
    wrong = dict.fromkeys(("TFIMM_RESOLVER_OPS", "TFIMM_RESOLVER_SOME", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES"), value)
    out = "".join(run_cli(*arguments, **wrong)[1] for arguments in (("env",), ("env", "--json"), ("doctor", "--json")))
    assert "TFIMM_RESOLVER_OPS" in out and "password" not in out


SETTINGS = ("MAX_SIZE", "GRACE", "CONNECTIONS", "RETRIES", "CONNECT_TIMEOUT_S", "OPS", "MIRRORS", "UNPACK_BYTES_MAX")


@pytest.mark.parametrize("secret", ["x0" * 12, "x0" * 60], ids=["token", "longer than what is quoted"])
def test_no_problem_quotes_a_token_from_the_settings(secret: str, cache_dir: Path, tmp_path: Path) -> None:
    config = tmp_path / "config" / "tfimm_resolver" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'max_age = "{secret}"\n')
    variables = {f"TFIMM_RESOLVER_{name}": secret for name in SETTINGS}
    for name in (None, *variables):
        setting = {name: variables[name]} if name else {}
        for arguments in (("doctor",), ("doctor", "--json"), ("env", "--json")):
            _, out, err = run_cli(*arguments, XDG_CONFIG_HOME=str(tmp_path / "config"), **setting)
            assert out and "x0x0x0" not in out + err, (name, arguments, out)


def test_a_token_in_a_path_is_not_shown(tmp_path: Path) -> None:
    path = f"{tmp_path}/token=password1"
    paths = dict.fromkeys(("TFHUB_CACHE_DIR", "TFIMM_HOME", "TFIMM_RESOLVER_EXTRA_ROOTS", "REQUESTS_CA_BUNDLE"), path)
    for arguments in (("env",), ("env", "--json"), ("doctor",), ("doctor", "--json")):
        _, out, err = run_cli(*arguments, **paths)
        assert out and "password" not in out + err, arguments


def test_limits_are_shown_with_their_sources(tmp_path: Path) -> None:
    assert "max_size: 20% (TFIMM_RESOLVER_MAX_SIZE)" in run_cli("env", TFIMM_RESOLVER_MAX_SIZE="20%")[1]


def test_the_block_for_a_bug_report_is_short_and_hides_the_home_directory(origin: Origin, cache_dir: Path) -> None:
    resolve(origin.put("/m.tar.gz", tar_gz()))
    code, out, err = run_cli("env")
    assert code == 0 and err == "" and os.environ["HOME"] not in out and "~/.cache/tfimm" in out
    facts = json.loads(run_cli("env", "--json")[1])
    assert facts["models"]["count"] == 1 and facts["tfimm_resolver"] in out and "setuptools" in facts["packages"]
    root = facts["roots"][0]
    assert root["path"] == str(cache_dir) and root["exists"] and root["has_locks"] is True and root["file_system"]


def test_a_user_without_a_home_directory_gets_an_answer(tmp_path: Path) -> None:
    code, out, _ = run_cli("doctor", HOME="", TFIMM_HOME=str(tmp_path / "tfimm"))
    assert code == 0, out


def test_an_error_that_several_settings_have_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_HOME", "'x'")
    (found,) = findings.catch_errors(settings.get_dir, settings.names_root, settings.is_offline)
    assert found.kind == findings.PROBLEM and "TFIMM_HOME" in found.text and found.fix
