"""The user's settings file: found, read within limits, and its keys checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.processes import run
from tfimm_resolver import settings
from tfimm_resolver.errors import HandleError
from tfimm_resolver.settings.config_file import KEYS, Config, read_config


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of the settings file, which does not exist yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "config" / "tfimm_resolver" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


def test_the_settings_file_is_in_the_home_directory(tmp_path: Path) -> None:
    assert settings.config_file() == str(tmp_path / "home/.config/tfimm_resolver/config.toml")


def test_a_user_without_a_home_directory_has_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "~")
    assert read_config() == Config("", {})


def test_a_file_that_does_not_exist_sets_nothing(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_config() == Config(str(config), {})
    config.write_text("")
    assert read_config() == Config(str(config), {})
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config))  # a file, where a directory should be
    assert read_config().table == {}


def test_the_values_of_all_keys_are_read(config: Path) -> None:
    config.write_text('max_size = "1GB"\n[[trust]]\nprefix = "https://models.example/"\n')
    found = read_config()
    assert found.table == {"max_size": "1GB", "trust": [{"prefix": "https://models.example/"}]}
    assert found.folder == str(config.parent)
    assert str(found.make_error("ops", "is wrong")).startswith(f"{config}: ops is wrong")


@pytest.mark.parametrize(
    ("text", "fix"), [("trsut = 1", "Did you mean trust?"), ("unknown = 1", "Known: "), ("[Trust]", "Did you mean trust?")]
)
def test_an_unknown_key_is_an_error(config: Path, text: str, fix: str) -> None:
    config.write_text(text)
    with pytest.raises(HandleError, match="unknown key") as caught:
        read_config()
    assert str(config) in caught.value.text and fix in caught.value.fix and ", ".join(KEYS) in caught.value.fix


DAMAGED = {
    "not TOML": b"max_size = ",
    "not UTF-8": b'max_size = "\xff"',
    "a key twice": b"max_size = 1\nmax_size = 2",
    "deep": b"trust = " + b"[" * 50_000,
    "long": b"#" * (1 << 20) + b"\n",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_file_that_cannot_be_used_is_named(config: Path, kind: str) -> None:
    config.write_bytes(DAMAGED[kind])
    with pytest.raises(HandleError) as caught:
        read_config()
    assert str(config) in caught.value.text and caught.value.fix


@pytest.mark.parametrize("kind", ["directory", "pipe", "loop"])
def test_what_is_not_a_regular_file_is_not_read(config: Path, kind: str) -> None:
    if kind == "directory":
        config.mkdir()
    elif kind == "pipe":
        os.mkfifo(config)
    else:
        config.symlink_to(config)
    with pytest.raises(HandleError) as caught:
        read_config()
    assert str(config) in caught.value.text and caught.value.fix


def test_a_change_is_seen_at_once(config: Path) -> None:
    config.write_text("max_size = 0")
    changed_ns = config.stat().st_mtime_ns
    for size in range(9):
        config.write_text(f"max_size = {size}")
        os.utime(config, ns=(changed_ns, changed_ns))  # as on a disk whose time stamps are coarse
        assert read_config().table == {"max_size": size}


def test_a_file_that_does_not_change_is_parsed_once(config: Path) -> None:
    config.write_text("max_size = 1")
    os.utime(config, (1, 1))
    assert read_config() is read_config()


def test_a_change_that_keeps_the_time_and_the_size_is_seen(config: Path) -> None:
    config.write_text("max_size = 1")
    os.utime(config, (1, 1))
    assert read_config().table == {"max_size": 1}
    before = config.stat()
    while config.stat().st_ctime_ns == before.st_ctime_ns:
        config.write_text("max_size = 2")
        os.utime(config, (1, 1))
    assert read_config().table == {"max_size": 2}


@pytest.mark.parametrize("variable", ["HOME", "XDG_CONFIG_HOME"])
@pytest.mark.parametrize("spelling", ["{}", "{}/", "{}/x/..", "{}//"])
def test_another_home_counts_at_once(spelling: str, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    for name in ("one", "two"):
        monkeypatch.setenv(variable, spelling.format(tmp_path / name))
        folder = tmp_path / name / (".config" if variable == "HOME" else "")
        path = folder / "tfimm_resolver" / "config.toml"
        assert read_config() == Config(str(path), {})
        path.parent.mkdir(parents=True)
        (tmp_path / name / "x").mkdir()
        path.write_text("max_size = 1")
        assert read_config() == Config(str(path), {"max_size": 1})


@pytest.mark.parametrize("variable", ["HOME", "XDG_CONFIG_HOME"])
def test_a_home_that_cannot_be_searched_is_an_error_only_if_it_was_chosen(tmp_path: Path, variable: str) -> None:
    """As after ``su``, which keeps HOME."""
    closed = tmp_path / "closed"
    (closed / ".config").mkdir(parents=True)
    closed.chmod(0)
    code = """
        import os
        from tfimm_resolver import settings, errors
        if os.getuid() == 0:
            os.setuid(54321)
        try:
            print(settings.read_config().table)
        except errors.HandleError as error:
            print(error)
    """
    printed = run(code, **{variable: str(closed / ".config" if variable == "XDG_CONFIG_HOME" else closed)})
    assert printed.strip() == "{}" if variable == "HOME" else "cannot be read" in printed


@pytest.mark.parametrize(
    ("uid", "mode", "fix"),
    [
        (1234, 0o644, "chown"),
        (1234, 0o600, "chown"),
        (1234, 0o666, "chown"),
        (None, 0o666, "chmod go-w"),
        (None, 0o602, "chmod go-w"),
    ],
)
@pytest.mark.parametrize("is_link", [False, True])
def test_a_file_that_another_user_may_write_is_an_error(
    config: Path, uid: int | None, mode: int, fix: str, is_link: bool
) -> None:
    target = config.with_name("other.toml") if is_link else config
    target.write_text("max_size = 1")
    if is_link:
        config.symlink_to(target)
    os.utime(target, (1, 1))
    assert read_config().table == {"max_size": 1}  # remembered
    target.chmod(mode)
    if uid is not None:
        if os.geteuid() != 0:
            pytest.skip("only root can give a file away")
        os.chown(target, uid, uid)
    with pytest.raises(HandleError, match="another user may have written it") as caught:
        read_config()
    assert str(config) in caught.value.text and fix in caught.value.fix and f"{mode:04o}" in caught.value.text


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@needs_root
def test_the_file_of_the_user_behind_sudo_is_read(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("max_size = 1")
    os.chown(config, 54321, 54321)
    monkeypatch.setenv("SUDO_UID", "54321")
    assert read_config().table == {"max_size": 1}


@needs_root
def test_a_link_of_another_user_is_an_error(config: Path) -> None:
    target = config.with_name("other.toml")
    target.write_text("max_size = 1")
    config.symlink_to(target)
    assert read_config().table == {"max_size": 1}
    os.chown(config, 1234, 1234, follow_symlinks=False)
    with pytest.raises(HandleError, match="another user may have written it"):
        read_config()
