"""Limits of the cache, from the environment and from the settings file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tfimm_resolver import settings
from tfimm_resolver.errors import HandleError
from tfimm_resolver.settings import limits as settings_limits
from tfimm_resolver.settings.limits import Size, parse_duration_s, parse_size

SIZES = {
    "0": 0,
    "0.0": 0,
    "1500B": 1500,
    "1500 b": 1500,
    "1.5kB": 1500,
    "50GB": 50 * 10**9,
    "50 gb": 50 * 10**9,
    "800MiB": 800 << 20,
    "2G": 2 * 10**9,
    "1TiB": 1 << 40,
    "3B": 3,
    "2PB": 2 * 10**15,
}
DURATIONS = {"90d": 90 * 86400, "12h": 43200, "30min": 1800, "10s": 10, "1.5h": 5400, "2 w": 14 * 86400, "0s": 0, " 0 ": 0}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the settings file, which does not exist yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "config" / "tfimm_resolver" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


@pytest.mark.parametrize("text", SIZES)
def test_sizes(text: str) -> None:
    assert parse_size(text, "TEST").to_bytes(10**15) == SIZES[text]


def test_a_percentage_is_a_part_of_the_disk() -> None:
    assert parse_size("20%", "TEST").to_bytes(500) == 100 and parse_size("0.5%", "TEST").to_bytes(1000) == 5


@pytest.mark.parametrize("disk_bytes", [None, 0])
def test_only_a_percentage_needs_the_size_of_the_disk(disk_bytes: int | None) -> None:
    assert parse_size("20%", "TEST").to_bytes(disk_bytes) is None
    assert parse_size("5GB", "TEST").to_bytes(disk_bytes) == 5 * 10**9
    assert parse_size("0", "TEST").to_bytes(disk_bytes) == parse_size("0%", "TEST").to_bytes(disk_bytes) == 0


@pytest.mark.parametrize("text", ["", "many", "-1GB", "5XB", "101%", "1e9", "iB", "5 %%", "1_000", "٣GB", "9" * 400, 3])
def test_what_is_not_a_size(text: Any) -> None:
    with pytest.raises(HandleError, match="TEST is ") as caught:
        parse_size(text, "TEST")
    assert "50GB" in caught.value.fix


@pytest.mark.parametrize("text", ["10", " 1500 ", "1.5", ".5", "0.001", "100"])
def test_a_size_needs_a_unit(text: str) -> None:
    with pytest.raises(HandleError, match=r"TEST is .*, without a unit") as caught:
        parse_size(text, "TEST")
    assert caught.value.fix == f"Write {text.strip()}GB, or {text.strip()}B for bytes."


@pytest.mark.parametrize("variable", [settings_limits.MAX_SIZE, settings_limits.MIN_FREE])
def test_a_variable_without_a_unit_is_refused(variable: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "10")
    with pytest.raises(HandleError, match=f"{variable} is '10', without a unit"):
        settings.cache_limits()


def test_an_integer_in_the_file_is_a_size_in_bytes_but_a_text_without_a_unit_is_refused(config: Path) -> None:
    config.write_text("max_size = 1500\nmin_free = 0\n")
    assert settings.cache_limits()[:2] == (Size(1500), Size(0))
    assert settings.describe_limits()["max_size"] == f"1500B (max_size in {config})"
    for line in ('max_size = "10"', "max_size = 1.5", "max_size = true", "max_size = -1", "max_age = 90"):
        config.write_text(line)
        with pytest.raises(HandleError, match=line.split()[0]):
            settings.cache_limits()


@pytest.mark.parametrize("text", DURATIONS)
def test_durations(text: str) -> None:
    assert parse_duration_s(text, "TEST") == DURATIONS[text]


@pytest.mark.parametrize("text", ["", "90", "00", "-0", "-1d", "3 months", "1y", "5m", "9" * 400 + "d", 3])
def test_what_is_not_a_duration(text: Any) -> None:
    with pytest.raises(HandleError, match="TEST is ") as caught:
        parse_duration_s(text, "TEST")
    assert "90d" in caught.value.fix


def test_nothing_is_limited_by_default(config: Path) -> None:
    assert not settings.cache_limits().is_limited
    config.write_text("[[trust]]\n")
    assert not settings.cache_limits().is_limited


def test_zeros_in_the_file_are_limits(config: Path) -> None:
    config.write_text("max_size = 0\nmin_free = 0\nmax_age = 0\n")
    limits = settings.cache_limits()
    assert (limits.max_size, limits.min_free, limits.max_age_s) == (Size(0), Size(0), 0)


def test_the_environment_wins_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('max_size = "50GB"\nmin_free = 1000\nmax_age = "90d"\n')
    limits = settings.cache_limits()
    assert (limits.max_size, limits.min_free, limits.max_age_s) == (Size(50 * 10**9), Size(1000), 90 * 86400)
    monkeypatch.setenv("TFIMM_RESOLVER_MAX_SIZE", "10%")
    limits = settings.cache_limits()
    assert limits.is_limited and limits.max_size == Size(fraction=0.1)
    assert dict(limits.sources)["max_size"] == "TFIMM_RESOLVER_MAX_SIZE" and str(config) in dict(limits.sources)["max_age"]


@pytest.mark.parametrize("text", ["max_size = ", "max_size = 'big'"])
def test_a_settings_file_that_cannot_be_used_is_named(config: Path, text: str) -> None:
    config.write_text(text)
    with pytest.raises(HandleError, match=str(config)):
        settings.cache_limits()


def test_the_time_of_grace_is_longer_without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (settings.grace_s(), settings.grace_s(has_locks=False)) == (3600, 86400)
    monkeypatch.setenv(settings_limits.GRACE, "2s")
    monkeypatch.setenv(settings_limits.GRACE_WITHOUT_LOCKS, "3h")
    assert (settings.grace_s(), settings.grace_s(has_locks=False)) == (2, 3 * 3600)
