"""Tests of ``settings.environment``: the variables of a user, their defaults and their limits."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tfimm_resolver.errors import HandleError
from tfimm_resolver.settings import environment


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (environment.connections, 8),
        (environment.lock_timeout_s, 600),
        (environment.timeouts_s, (10, 30)),
        (environment.unpack_limits, (100_000, 1 << 40, 200)),
        (environment.load_format, "AUTO"),
        (environment.models_files, []),
        (environment.mirrors, ""),
        (environment.is_offline, False),
        (environment.is_quiet, False),
        (environment.is_tls_verified, True),
    ],
)
def test_defaults(read: Callable[[], object], expected: object) -> None:
    assert read() == expected


@pytest.mark.parametrize(
    ("variable", "value", "read", "expected"),
    [
        ("TFIMM_RESOLVER_CONNECTIONS", "64", environment.connections, 64),
        ("TFIMM_RESOLVER_RETRIES", "0", environment.retries, 0),
        ("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "0.5", environment.lock_timeout_s, 0.5),
        ("TFIMM_RESOLVER_READ_TIMEOUT_S", "2.5", environment.timeouts_s, (10, 2.5)),
        ("TFIMM_RESOLVER_MAX_BYTES", "1e6", environment.unpack_limits, (100_000, 1_000_000, 200)),
        ("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED", environment.load_format, "UNCOMPRESSED"),
        ("TFHUB_DISABLE_CERT_VALIDATION", "true", environment.is_tls_verified, False),
        ("TFHUB_DISABLE_CERT_VALIDATION", "1", environment.is_tls_verified, True),
    ],
)
def test_a_variable_is_read_at_each_call(
    variable: str, value: str, read: Callable[[], object], expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert variable == "TFHUB_DISABLE_CERT_VALIDATION" or read() != expected
    monkeypatch.setenv(variable, value)
    assert read() == expected


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TFIMM_RESOLVER_CONNECTIONS", "0"),
        ("TFIMM_RESOLVER_CONNECTIONS", "65"),
        ("TFIMM_RESOLVER_CONNECTIONS", "1.5"),
        ("TFIMM_RESOLVER_RETRIES", "-1"),
        ("TFIMM_RESOLVER_CONNECT_TIMEOUT_S", "0"),
        ("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "nan"),
        ("TFIMM_RESOLVER_MAX_RATIO", "ten"),
        ("TFIMM_RESOLVER_MAX_BYTES", "inf"),
    ],
)
def test_a_number_outside_its_range_is_an_error_that_names_the_variable(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.validate()
    monkeypatch.setenv(variable, value)
    with pytest.raises(HandleError, match=f"{variable} is '{value}'"):
        environment.validate()


def test_an_unknown_load_format_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "zip")
    with pytest.raises(HandleError, match="TFHUB_MODEL_LOAD_FORMAT is 'zip'"):
        environment.load_format()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", True), ("true", True), ("yes", True), ("", False), ("0", False), ("False", False), ("NO", False), ("off", False)],
)
def test_a_switch_is_on_unless_its_value_says_off(value: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, read in (
        ("TFIMM_RESOLVER_OFFLINE", environment.is_offline),
        ("TFIMM_RESOLVER_QUIET", environment.is_quiet),
    ):
        monkeypatch.setenv(variable, value)
        assert read() is expected


def test_models_files_are_absolute_and_named_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFIMM_MODELS_FILE", os.pathsep.join(["a.toml", "", "~/b.toml", f"{tmp_path}/a.toml"]))
    assert environment.models_files() == [f"{tmp_path}/a.toml", str(Path.home() / "b.toml")]


def test_the_hosts_file_is_named_by_the_user_or_below_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.hosts_file() == (str(Path.home() / ".config/tfimm_resolver/hosts.toml"), False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/conf")
    assert environment.hosts_file() == ("/conf/tfimm_resolver/hosts.toml", False)
    monkeypatch.setenv("TFIMM_RESOLVER_HOSTS_FILE", "/hosts.toml")
    assert environment.hosts_file() == ("/hosts.toml", True)


@pytest.mark.parametrize(
    ("variable", "read"),
    [
        ("TFIMM_MODELS_FILE", environment.models_files),
        ("TFIMM_RESOLVER_HOSTS_FILE", environment.hosts_file),
        ("XDG_CONFIG_HOME", environment.hosts_file),
    ],
)
def test_quotes_around_a_path_are_refused(variable: str, read: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "'/x'")
    with pytest.raises(HandleError, match=f"{variable} is .*: quotes or blanks are part of it"):
        read()
