"""Settings: which one chooses each root, and which values the variables accept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.processes import run
from tfimm_resolver import settings
from tfimm_resolver.errors import CacheError, HandleError
from tfimm_resolver.settings import cache_dirs


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory with nothing set, and an empty temporary directory."""
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return tmp_path / "home"


def test_the_defaults_are_those_of_tfimm_and_tensorflow_hub(home: Path) -> None:
    assert tfimm_resolver.get_dir() == f"{home}/.cache/tfimm"
    assert settings.urls_root().value == f"{tempfile.gettempdir()}/tfhub_modules"


def test_the_first_setting_in_the_order_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert (tfimm_resolver.get_dir(), settings.urls_root().value) == ("/xdg/tfimm", "/xdg/tfimm")
    monkeypatch.setenv("TFIMM_HOME", "/tfimm")
    assert (tfimm_resolver.get_dir(), settings.urls_root().value) == ("/tfimm", "/tfimm")
    monkeypatch.setenv("TFHUB_CACHE_DIR", "/tfhub")
    assert (tfimm_resolver.get_dir(), settings.urls_root().value) == ("/tfimm", "/tfhub")
    tfimm_resolver.set_dir("/set")
    assert (tfimm_resolver.get_dir(), settings.urls_root().value) == ("/set", "/set")
    tfimm_resolver.set_dir(None)
    assert tfimm_resolver.get_dir() == "/tfimm"


def test_each_root_says_which_setting_chose_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.names_root().source == "default"
    monkeypatch.setenv("TFHUB_CACHE_DIR", "/tfhub")
    assert settings.urls_root().source == "$TFHUB_CACHE_DIR"
    tfimm_resolver.set_dir("/set")
    assert settings.urls_root().source == "set_dir()"


@pytest.mark.parametrize("variable", ["TFIMM_HOME", "XDG_CACHE_HOME", "TFHUB_CACHE_DIR"])
def test_an_empty_variable_is_unset(home: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    before = settings.urls_root(), settings.names_root()
    monkeypatch.setenv(variable, "")
    assert (settings.urls_root(), settings.names_root()) == before


def test_home_and_variables_are_expanded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "models")
    monkeypatch.setenv("TFIMM_HOME", "~/$PLACE")
    assert tfimm_resolver.get_dir() == f"{home}/models"


def test_a_relative_directory_is_made_absolute_when_it_is_set(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tfimm_resolver.set_dir("models")
    monkeypatch.chdir("/")
    assert tfimm_resolver.get_dir() == f"{tmp_path}/models"


def test_an_object_stores_url_is_left_as_it_is_and_a_file_url_is_a_path(home: Path) -> None:
    assert settings.expand_path("gs://bucket/cache/") == "gs://bucket/cache"
    assert settings.expand_path("file:///a/b%20c") == "/a/b c"


def test_getters_create_nothing(home: Path) -> None:
    tfimm_resolver.get_dir()
    settings.urls_root()
    assert list(home.iterdir()) == [] and os.listdir(tempfile.gettempdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_temporary_root_that_others_may_write_is_not_used(home: Path, mode: int) -> None:
    shared = Path(tempfile.gettempdir()) / "tfhub_modules"
    shared.mkdir()
    shared.chmod(mode)
    root = settings.urls_root()
    assert root.value.startswith(f"{shared}-") and root.mode == 0o700


def test_a_temporary_root_that_is_a_link_is_not_used(home: Path, tmp_path: Path) -> None:
    shared = Path(tempfile.gettempdir()) / "tfhub_modules"
    shared.symlink_to(tmp_path)
    assert settings.urls_root().value.startswith(f"{shared}-")


@pytest.mark.parametrize(
    "name",
    ["../../outside", "/tmp/x", "a/b", "a\nb", "x" * 300, ".."],
    ids=["outside", "absolute", "slash", "line break", "long", "dots"],
)
def test_the_name_of_the_user_never_leads_elsewhere(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", name)
    (Path(tempfile.gettempdir()) / "tfhub_modules").symlink_to(home)
    root = Path(settings.urls_root().value)
    assert root.parent == Path(tempfile.gettempdir()) and ".." not in root.parts


def test_no_temporary_root_at_all_is_an_error_that_names_the_way_out(home: Path) -> None:
    for name in ("tfhub_modules", f"tfhub_modules-{cache_dirs._get_user_name()}"):
        path = Path(tempfile.gettempdir()) / name
        path.mkdir()
        path.chmod(0o777)
    with pytest.raises(CacheError, match="Set TFHUB_CACHE_DIR"):
        settings.urls_root()


def test_without_a_home_directory_urls_still_have_a_root_and_names_say_what_to_set(home: Path) -> None:
    code = """
        import os
        from tfimm_resolver import settings, get_dir
        from tfimm_resolver.errors import CacheError
        if os.getuid() == 0:
            os.setuid(54321)  # a user without a passwd entry, as containers have it
        else:
            os.path.expanduser = lambda path: path
        os.environ.pop("HOME")
        print(settings.urls_root().source)
        try:
            get_dir()
        except CacheError as error:
            print(error)
    """
    printed = run(code, TFHUB_CACHE_DIR="/tfhub")
    assert printed.startswith("$TFHUB_CACHE_DIR") and "no home directory" in printed and "TFIMM_HOME" in printed


@pytest.mark.parametrize("variable", ["TFIMM_RESOLVER_READ_TIMEOUT_S", "TFIMM_RESOLVER_CONNECT_TIMEOUT_S"])
@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "inf"])
def test_an_invalid_number_is_an_error(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(HandleError, match=variable):
        settings.timeouts_s()


def test_an_unknown_load_format_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "ZIPPED")
    with pytest.raises(HandleError, match="COMPRESSED, UNCOMPRESSED, AUTO"):
        settings.load_format()


@pytest.mark.parametrize(("value", "is_on"), [("1", True), ("true", True), ("0", False), ("", False), ("no", False)])
def test_a_switch_is_on_unless_its_value_means_no(monkeypatch: pytest.MonkeyPatch, value: str, is_on: bool) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", value)
    assert settings.is_offline() is is_on


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory to another user")
def test_a_temporary_root_of_another_user_is_not_used(home: Path) -> None:
    shared = Path(tempfile.gettempdir()) / "tfhub_modules"
    shared.mkdir(mode=0o755)
    assert settings.urls_root().value == str(shared)
    os.chown(shared, 54321, 54321)
    assert settings.urls_root().value.startswith(f"{shared}-")


@pytest.mark.parametrize(
    "variable", ["CONNECTIONS", "RETRIES", "READ_TIMEOUT_S", "LOCK_TIMEOUT_S", "MAX_MEMBERS", "MAX_RATIO"]
)
def test_every_number_is_validated_before_a_fetch(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.validate()
    monkeypatch.setenv(f"TFIMM_RESOLVER_{variable}", "-1")
    with pytest.raises(HandleError, match=f"TFIMM_RESOLVER_{variable} is '-1'"):
        settings.validate()


@pytest.mark.parametrize("variable", ["CONNECTIONS", "RETRIES", "MAX_MEMBERS", "MAX_BYTES"])
def test_a_count_is_an_integer(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"TFIMM_RESOLVER_{variable}", "1.5")
    with pytest.raises(HandleError, match="whole number"):
        settings.validate()


def test_an_extra_root_is_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", "/a:gs://bucket/b")
    with pytest.raises(HandleError, match="local directories"):
        settings.extra_roots()


@pytest.mark.parametrize(
    "variable", ["TFHUB_CACHE_DIR", "TFIMM_HOME", "XDG_CACHE_HOME", "TFIMM_RESOLVER_EXTRA_ROOTS", "TFIMM_HUB_DIR"]
)
def test_a_quoted_directory_is_refused_and_not_created(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tfimm_resolver import hub

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.setenv(variable, f'"{tmp_path}/quoted"')
    before = sorted(tmp_path.rglob("*"))
    get = {"TFIMM_RESOLVER_EXTRA_ROOTS": settings.extra_roots, "TFIMM_HUB_DIR": hub.get_dir}.get(variable, settings.urls_root)
    with pytest.raises(HandleError, match=f"{variable} is"):
        get()
    assert sorted(tmp_path.rglob("*")) == before


def test_quotes_around_the_flag_of_tensorflow_hub_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    output = run("""
import sys, tfimm_resolver
from absl import flags
from tfimm_resolver import settings
flags.FLAGS(["program", "--tfhub_cache_dir='/x'"])
try:
    settings.urls_root()
except tfimm_resolver.errors.HandleError as error:
    print(error.text)
""")
    assert output.startswith("--tfhub_cache_dir is")


@pytest.mark.parametrize("value", ['"models"', " models", "models\n"])
def test_quotes_around_a_directory_that_a_caller_sets_are_refused(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HandleError, match=r"set_dir\(\) is .*: quotes or blanks are part of it"):
        settings.set_dir(value)
