"""Tokens and headers of hosts.toml are sent to the host that they are for, and to no other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fakes.archives import files_in
from tests.fakes.faults import RANGES, archive, files
from tests.fakes.faults.origin import Host, after_request, answer_with
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tfimm_resolver import resolve
from tfimm_resolver.errors import AccessError, HandleError

VARIABLE = "TFIMM_RESOLVER_HOSTS_FILE"
BEARER = "Bearer hunter22secret"


@pytest.fixture
def hosts_file(tmp_path: Path) -> Path:
    """The file at its default path."""
    path = tmp_path / "home" / ".config" / "tfimm_resolver" / "hosts.toml"
    path.parent.mkdir(parents=True)
    path.touch(0o600)
    return path


def get_host(host: Host, word: str = "127.0.0.1") -> str:
    """Return host and port as in URLs; with another name it counts as another host."""
    return f"{word}:{host.port}"


def list_authorizations(host: Host, path: str, header: str = "authorization") -> list[str | None]:
    """Return the value of a header in each request for a path."""
    return [request.headers.get(header) for request in host.requests if request.path == path]


def test_token_and_headers_go_with_every_range(host: Host, hosts_file: Path) -> None:
    hosts_file.write_text(f'["{get_host(host)}"]\ntoken = "hunter22secret"\nheaders = {{ X-Team = "vision group" }}\n')
    assert files_in(resolve(host.put("/m.tar.gz", archive()))) == files()
    assert (
        list_authorizations(host, "/m.tar.gz") == [BEARER] * RANGES
        and list_authorizations(host, "/m.tar.gz", "x-team") == ["vision group"] * RANGES
    )


def test_a_token_may_come_from_a_variable_that_is_read_at_each_call(
    host: Host, hosts_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts_file.write_text(f'["{get_host(host)}"]\ntoken_variable = "MY_TOKEN"\n')
    handle = host.put("/m.tar.gz", archive(1000))
    with pytest.raises(HandleError, match="'MY_TOKEN' is not set"):
        resolve(handle)
    assert host.requests == []
    for token in ("one111", "two222"):
        monkeypatch.setenv("MY_TOKEN", f" {token}\n")
        resolve(handle, refresh=True)
    assert list_authorizations(host, "/m.tar.gz") == ["Bearer one111", "Bearer two222"]


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.1:1", "localhost", "27.0.0.1:{port}"])
def test_another_host_or_port_receives_nothing(entry: str, host: Host, hosts_file: Path) -> None:
    hosts_file.write_text(f'["{entry.format(port=host.port)}"]\ntoken = "hunter22secret"\n')
    resolve(host.put("/m.tar.gz", archive(1000)))
    assert list_authorizations(host, "/m.tar.gz") == [None]


def test_the_default_port_may_be_omitted_for_https_only(hosts_file: Path) -> None:
    from tfimm_resolver.http.hosts import get_headers

    hosts_file.write_text('["Models.example.org"]\ntoken = "a"\n["example.org:443"]\ntoken = "b"\n["[::1]:80"]\ntoken = "c"\n')
    assert get_headers("https://models.example.ORG/x") == get_headers("https://u:p@models.example.org:443/x")
    assert get_headers("http://models.example.org/x") == get_headers("http://models.example.org:80/x") == {}
    assert get_headers("https://example.org/x") == {"Authorization": "Bearer b"} and get_headers("http://example.org/x") == {}
    assert (
        get_headers("http://[::1]/x") == {"Authorization": "Bearer c"}
        and get_headers("https://models.example.org:444/x") == {}
    )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_replaces_them_by_those_of_that_host(status: int, host: Host, hosts_file: Path) -> None:
    hosts_file.write_text(
        f'["{get_host(host)}"]\ntoken = "hunter22secret"\nheaders = {{ X-Team = "vision", X-Here = "1" }}\n'
        f'["http://{get_host(host, "localhost")}"]\nheaders = {{ X-Team = "other team" }}\n'
    )
    host.put("/real.tar.gz", archive())
    host.put("/m.tar.gz", b"", answer_with(status, b"", Location=f"http://{get_host(host, 'localhost')}/real.tar.gz"))
    assert files_in(resolve(f"{host.url}/m.tar.gz")) == files()
    assert set(list_authorizations(host, "/m.tar.gz")) == {BEARER} and set(
        list_authorizations(host, "/m.tar.gz", "x-here")
    ) == {"1"}
    assert list_authorizations(host, "/real.tar.gz") == [None] * RANGES == list_authorizations(host, "/real.tar.gz", "x-here")
    assert list_authorizations(host, "/real.tar.gz", "x-team") == ["other team"] * RANGES


@pytest.mark.parametrize("name", ["{}", "https://{}"])
def test_over_http_a_host_that_a_redirect_names_gets_nothing_unless_its_entry_says_http(
    name: str, host: Host, hosts_file: Path
) -> None:
    hosts_file.write_text(f'["{name.format(get_host(host, "localhost"))}"]\ntoken = "hunter22secret"\n')
    host.put("/real.tar.gz", archive())
    host.put("/m.tar.gz", b"", answer_with(302, b"", Location=f"http://{get_host(host, 'localhost')}/real.tar.gz"))
    resolve(f"{host.url}/m.tar.gz")
    assert list_authorizations(host, "/real.tar.gz") == [None] * RANGES


def test_a_token_is_not_sent_beside_a_signature(host: Host, hosts_file: Path) -> None:
    hosts_file.write_text(f'["{get_host(host)}"]\ntoken = "hunter22secret"\nheaders = {{ X-Team = "vision" }}\n')
    path = f"/m.tar.gz?X-Amz-Algorithm=a&X-Amz-Signature={'a' * 64}"
    assert files_in(resolve(host.put(path, archive(1000)))) == files(1000)
    assert list_authorizations(host, path) == [None] and list_authorizations(host, path, "x-team") == ["vision"]


def test_a_refusal_names_the_file_that_the_credentials_are_from(host: Host, hosts_file: Path) -> None:
    hosts_file.write_text(f'["{get_host(host)}"]\ntoken = "hunter22secret"\n')
    with pytest.raises(AccessError, match=r"asked with the credentials of .*hosts\.toml"):
        resolve(host.put("/m.tar.gz", b"", answer_with(401)))


def test_a_range_that_is_redirected_to_another_host_carries_none(host: Host, hosts_file: Path) -> None:
    hosts_file.write_text(f'["{get_host(host)}"]\ntoken = "hunter22secret"\nheaders = {{ X-Team = "vision" }}\n')
    host.put("/other.tar.gz", archive())
    host.put(
        "/m.tar.gz",
        archive(),
        after_request(3, answer_with(302, b"", Location=f"http://{get_host(host, 'localhost')}/other.tar.gz")),
    )
    assert files_in(resolve(f"{host.url}/m.tar.gz")) == files()
    there = [request.headers for request in host.requests if request.path == "/other.tar.gz"]
    assert there and all("authorization" not in headers and "x-team" not in headers for headers in there)


def test_a_redirect_on_the_same_host_keeps_them(host: Host, hosts_file: Path) -> None:
    hosts_file.write_text(f'["{get_host(host)}"]\ntoken = "hunter22secret"\n')
    host.put("/real.tar.gz", archive(1000))
    host.put("/m.tar.gz", b"", answer_with(302, b"", Location="/real.tar.gz"))
    resolve(f"{host.url}/m.tar.gz")
    assert list_authorizations(host, "/real.tar.gz") == [BEARER]


def test_a_token_is_neither_on_disk_nor_in_an_error_even_if_the_server_echoes_it(
    host: Host, hosts_file: Path, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hosts_file.write_text(f'["{get_host(host)}"]\ntoken = "hunter22secret"\nheaders = {{ X-Team = "vision group" }}\n')
    resolve(host.put("/m.tar.gz", archive(1000)))
    handle = host.put("/n.tar.gz", b"", answer_with(403, b"not for Bearer hunter22secret of vision group"))
    with pytest.raises(AccessError, match="not for … … of … group") as caught:
        resolve(handle)
    output = str(caught.value) + caplog.text + "".join(path.read_text() for path in cache_dir.glob("*.txt"))
    assert "hunter22secret" not in output


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('["h"\ntoken = "hunter22secret"', "line 1"),
        ('["h"]\ntoken = "hunter22secret', "not valid TOML"),
        ("\udcff", "not valid TOML"),
        ('token = "hunter22secret"', "'token'"),
        ('[models.example.org]\ntoken = "hunter22secret"', "'example'"),
        ('["h"]\ntokens = "hunter22secret"', "unknown key 'tokens'"),
        ('["ftp://h"]\ntoken = "hunter22secret"', "'ftp://h': write the host without"),
        ('["ada:hunter22secret@h"]\ntoken = "x"', "'h': write the host without"),
        ('["h"]\ntoken = 5', "token is not a string"),
        ('["h"]\ntoken = ""', "token is not a string"),
        ('["h"]\ntoken = "hunter22\\nsecret"', "token is not set"),
        ('["h"]\ntoken = "hunter22secret"\ntoken_variable = "HOME"', "only one"),
        ('["h"]\ntoken = "hunter22secret"\nheaders = { authorization = "x" }', "only one"),
        ('["h"]\nheaders = "X-Team: hunter22secret"', "not a table of strings"),
        ('["h"]\nheaders = { X-Team = 1 }', "not a table of strings"),
        ('["h"]\nheaders = { Range = "hunter22secret" }', "'Range'"),
        ('["h"]\nheaders = { "X Team" = "hunter22secret" }', "'X Team'"),
        ('["h"]\nheaders = { X-Team = "hunter22secret\\r\\nHost: x" }', "'X-Team'"),
    ],
)
def test_a_malformed_file_is_an_error_that_names_it_and_shows_no_value(text: str, word: str, hosts_file: Path) -> None:
    from tfimm_resolver.http.hosts import get_headers

    hosts_file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(HandleError) as caught:
        get_headers("https://h/m.tar.gz")
    message = str(caught.value)
    assert str(hosts_file) in message and word in message and "hunter22" not in message


def test_the_variable_names_another_file_which_has_to_exist(
    host: Host, hosts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    handle = host.put("/m.tar.gz", archive(1000))
    monkeypatch.setenv(VARIABLE, "$HOME/mine.toml")
    with pytest.raises(HandleError, match=r"home/mine\.toml cannot be read: No such file"):
        resolve(handle)
    hosts_file.write_text(f'["{get_host(host)}"]\ntoken = "hunter22secret"\n')
    hosts_file.rename(tmp_path / "home" / "mine.toml")
    resolve(handle)
    monkeypatch.delenv(VARIABLE)
    resolve(handle, refresh=True)
    (tmp_path / "xdg" / "tfimm_resolver").mkdir(parents=True)
    (tmp_path / "home" / "mine.toml").rename(tmp_path / "xdg" / "tfimm_resolver" / "hosts.toml")
    resolve(handle, refresh=True)
    assert list_authorizations(host, "/m.tar.gz") == [BEARER, None, BEARER]


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.parametrize(
    ("text", "mode", "warns"),
    [
        ('["h"]\ntoken = "t"', 0o644, True),
        ('["h"]\nheaders = { X = "t" }', 0o620, True),
        ('["h"]\ntoken = "t"', 0o600, False),
        ('["h"]\ntoken_variable = "HOME"', 0o644, False),
    ],
)
def test_one_warning_is_logged_if_others_can_read_a_secret(
    text: str, mode: int, warns: bool, hosts_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tfimm_resolver.http.hosts import get_headers

    hosts_file.write_text(text)
    hosts_file.chmod(mode)
    get_headers("http://h/")
    get_headers("http://h/")
    assert caplog.text.count(f"{hosts_file} has a token or headers, and other users") == warns
