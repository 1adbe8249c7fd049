"""Tests of ``cli.diagnosis.setting_readers``: what ``resolve`` refuses is a problem for ``doctor``."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from unittest import mock

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.diagnosis import diagnose
from tests.fakes.origin import Origin
from tfimm_resolver import resolve, settings
from tfimm_resolver.cli.diagnosis.setting_readers import READERS
from tfimm_resolver.errors import HandleError, OfflineError, ResolverError
from tfimm_resolver.http import mirrors
from tfimm_resolver.settings.config_file import KEYS
from tools.reference.variables import TOPICS

VARIABLES = [name for rows in TOPICS.values() for names, _, _ in rows for name in names.split() if name[:2] == "TF"]
READ_BY_VALIDATE = {"connections", "retries", "timeouts_s", "lock_timeout_s", "unpack_limits", "progress_format"}
NEVER_RAISE = {"config_file", "get_dir_override", "is_offline", "is_quiet", "is_tls_verified", "mirrors", "state_dir"}
NEVER_RAISE |= {"uses_local_copy", "CacheLimits"}


def test_every_reader_of_settings_is_called() -> None:
    readers = {
        name
        for name in settings.__all__
        if inspect.isfunction(found := getattr(settings, name))
        and all(one.default is not one.empty for one in inspect.signature(found).parameters.values())
    }
    called = {reader.__name__ for reader in READERS}
    assert readers - called - READ_BY_VALIDATE - NEVER_RAISE == set()


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_value_in_the_settings_file(key: str, tmp_path: Path) -> None:
    problems, _ = diagnose(XDG_CONFIG_HOME=write_config(tmp_path, f"{key} = true\n"))
    assert any(key in text and str(tmp_path) in text for text in problems.values()), problems


@pytest.mark.parametrize(
    "text",
    [
        '[[trust]]\nprefix = "http://127.0.0.1:18732"\nsigner = "key:a.pub"\n',
        '[[ops]]\nrefuse = ["pyhton"]\n',
        'ops = "refuse"\n',
        '[[ops]]\nrefuse = ["python"]\nat = "never"\n',
    ],
)
def test_a_wrong_rule_in_the_settings_file(text: str, tmp_path: Path) -> None:
    problems, _ = diagnose(XDG_CONFIG_HOME=write_config(tmp_path, text))
    assert list(problems) == ["handle"] and "config.toml" in problems["handle"]


def write_config(folder: Path, text: str, name: str = "config.toml") -> str:
    (folder / "tfimm_resolver").mkdir()
    (folder / "tfimm_resolver" / name).write_text(text)
    return str(folder)


@pytest.mark.parametrize("text", ["not TOML", '["models.example"]\ntoken = 7\n', '["models.example/path"]\n'])
def test_a_wrong_file_of_hosts(text: str, tmp_path: Path) -> None:
    problems, _ = diagnose(XDG_CONFIG_HOME=write_config(tmp_path, text, "hosts.toml"))
    assert "hosts.toml" in problems["handle"]


@pytest.mark.parametrize("value", ["htp:/x", "http:/mirror.example", "https:/mirror.example/m", "file:/models", "x:/"])
def test_a_misspelt_scheme_of_a_mirror(value: str) -> None:
    problems, _ = diagnose(TFIMM_RESOLVER_MIRRORS=value)
    assert f"TFIMM_RESOLVER_MIRRORS contains {value!r}" in problems["handle"]
    with pytest.raises(HandleError, match="not a valid mirror"):
        mirrors.parse(value)


@pytest.mark.parametrize("value", ["mirror.example", "mirror.example:8080/m", "localhost:1", "http://127.0.0.1:8080"])
def test_a_mirror_without_a_scheme_is_valid(value: str) -> None:
    assert mirrors.parse(value)[0].template.startswith("http")


@pytest.mark.parametrize("value", ["htp:/x", "http:/proxy.example"])
def test_a_misspelt_scheme_of_a_proxy(value: str) -> None:
    assert "http_proxy does not hold" in diagnose(http_proxy=value)[0]["fetch"]


def test_a_socks_proxy_without_its_library() -> None:
    with mock.patch.dict(sys.modules, {"socks": None}):
        problems, _ = diagnose(all_proxy="socks5://127.0.0.1:1080")
    assert "PySocks" in problems["fetch"]


@pytest.mark.parametrize("value", ["?", "'/x'"])
@pytest.mark.parametrize("variable", VARIABLES)
def test_doctor_names_each_variable_that_resolve_refuses(
    variable: str, value: str, origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a directory may be called "?"
    url = origin.put("/m.tar.gz", tar_gz())
    with mock.patch.dict(os.environ, {variable: value}):
        try:
            resolve(url)
        except OfflineError:
            assert variable == "TFIMM_RESOLVER_OFFLINE"  # a note
        except ResolverError as error:
            problems, _ = diagnose()
            assert error.text in problems.values()
