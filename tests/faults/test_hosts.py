"""Tokens and headers from the user's file: for the host that they are meant for, and nowhere else."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest

from tests.archives import files_in
from tests.faults import RANGES, archive, files
from tests.faults.origin import Host, after, says
from tfimm_resolver import resolve
from tfimm_resolver.errors import AccessError, FetchError, HandleError

VARIABLE = "TFIMM_RESOLVER_HOSTS_FILE"
BEARER = "Bearer hunter22secret"


@pytest.fixture
def hosts_file(tmp_path: Path) -> Path:
    """The file in its usual place."""
    path = tmp_path / "home" / ".config" / "tfimm_resolver" / "hosts.toml"
    path.parent.mkdir(parents=True)
    path.touch(0o600)
    return path


def name(host: Host, word: str = "127.0.0.1") -> str:
    """The host as URLs have it; by another word it is another host."""
    return f"{word}:{host.port}"


def seen(host: Host, path: str, header: str = "authorization") -> list[str | None]:
    """What each request for a path had as a header."""
    return [asked.headers.get(header) for asked in host.asked if asked.path == path]


def test_token_and_headers_go_with_every_range(host: Host, hosts_file: Path) -> None:
    hosts_file.write_text(f'["{name(host)}"]\ntoken = "hunter22secret"\nheaders = {{ X-Team = "vision group" }}\n')
    assert files_in(resolve(host.put("/m.tar.gz", archive()))) == files()
    assert seen(host, "/m.tar.gz") == [BEARER] * RANGES and seen(host, "/m.tar.gz", "x-team") == ["vision group"] * RANGES


def test_a_token_may_be_a_variables_read_at_each_call(host: Host, hosts_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts_file.write_text(f'["{name(host)}"]\ntoken_variable = "MY_TOKEN"\n')
    handle = host.put("/m.tar.gz", archive(1000))
    with pytest.raises(HandleError, match="'MY_TOKEN' is not set"):
        resolve(handle)
    assert host.asked == []
    for token in ("one111", "two222"):
        monkeypatch.setenv("MY_TOKEN", f" {token}\n")
        resolve(handle, refresh=True)
    assert seen(host, "/m.tar.gz") == ["Bearer one111", "Bearer two222"]


@pytest.mark.parametrize("entry", ["127.0.0.1", "127.0.0.1:1", "localhost", "27.0.0.1:{port}"])
def test_another_host_or_port_gets_nothing(entry: str, host: Host, hosts_file: Path) -> None:
    hosts_file.write_text(f'["{entry.format(port=host.port)}"]\ntoken = "hunter22secret"\n')
    resolve(host.put("/m.tar.gz", archive(1000)))
    assert seen(host, "/m.tar.gz") == [None]


def test_the_usual_port_need_not_be_said_but_where_anybody_on_the_way_may_read_along(hosts_file: Path) -> None:
    from tfimm_resolver.http.hosts import headers

    hosts_file.write_text('["Models.example.org"]\ntoken = "a"\n["example.org:443"]\ntoken = "b"\n["[::1]:80"]\ntoken = "c"\n')
    assert headers("https://models.example.ORG/x") == headers("https://u:p@models.example.org:443/x")
    assert headers("http://models.example.org/x") == headers("http://models.example.org:80/x") == {}
    assert headers("https://example.org/x") == {"Authorization": "Bearer b"} and headers("http://example.org/x") == {}
    assert headers("http://[::1]/x") == {"Authorization": "Bearer c"} and headers("https://models.example.org:444/x") == {}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_drops_them_and_takes_what_is_for_that_one(
    status: int, host: Host, hosts_file: Path
) -> None:
    hosts_file.write_text(
        f'["{name(host)}"]\ntoken = "hunter22secret"\nheaders = {{ X-Team = "vision", X-Here = "1" }}\n'
        f'["{name(host, "localhost")}"]\nheaders = {{ X-Team = "theirs" }}\n'
    )
    host.put("/real.tar.gz", archive())
    host.put("/m.tar.gz", b"", says(status, b"", Location=f"http://{name(host, 'localhost')}/real.tar.gz"))
    assert files_in(resolve(f"{host.url}/m.tar.gz")) == files()
    assert set(seen(host, "/m.tar.gz")) == {BEARER} and set(seen(host, "/m.tar.gz", "x-here")) == {"1"}
    assert seen(host, "/real.tar.gz") == [None] * RANGES == seen(host, "/real.tar.gz", "x-here")
    assert seen(host, "/real.tar.gz", "x-team") == ["theirs"] * RANGES


def test_a_later_range_that_is_sent_elsewhere_takes_none_along(host: Host, hosts_file: Path) -> None:
    hosts_file.write_text(f'["{name(host)}"]\ntoken = "hunter22secret"\nheaders = {{ X-Team = "vision" }}\n')
    host.put("/other.tar.gz", archive())
    host.put("/m.tar.gz", archive(), after(3, says(302, b"", Location=f"http://{name(host, 'localhost')}/other.tar.gz")))
    assert files_in(resolve(f"{host.url}/m.tar.gz")) == files()
    there = [asked.headers for asked in host.asked if asked.path == "/other.tar.gz"]
    assert there and all("authorization" not in headers and "x-team" not in headers for headers in there)


def test_a_redirect_on_the_same_host_keeps_them(host: Host, hosts_file: Path) -> None:
    hosts_file.write_text(f'["{name(host)}"]\ntoken = "hunter22secret"\n')
    host.put("/real.tar.gz", archive(1000))
    host.put("/m.tar.gz", b"", says(302, b"", Location="/real.tar.gz"))
    resolve(f"{host.url}/m.tar.gz")
    assert seen(host, "/real.tar.gz") == [BEARER]


def test_netrc_is_for_other_hosts_and_the_file_wins(
    host: Host, hosts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    handle = host.put("/m.tar.gz", archive(1000))
    resolve(handle)
    hosts_file.write_text(f'["{name(host)}"]\ntoken = "hunter22secret"\n')
    resolve(handle, refresh=True)
    assert seen(host, "/m.tar.gz") == ["Basic YWRhOnNlY3JldA==", BEARER]


def test_no_token_is_on_the_disk_or_in_an_error_even_if_the_server_says_it(
    host: Host, hosts_file: Path, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    hosts_file.write_text(f'["{name(host)}"]\ntoken = "hunter22secret"\nheaders = {{ X-Team = "vision group" }}\n')
    resolve(host.put("/m.tar.gz", archive(1000)))
    handle = host.put("/n.tar.gz", b"", says(403, b"not for Bearer hunter22secret of vision group"))
    with pytest.raises(AccessError, match="not for … … of … group") as caught:
        resolve(handle)
    told = str(caught.value) + caplog.text + "".join(path.read_text() for path in cache_dir.glob("*.txt"))
    assert "hunter22secret" not in told


@pytest.mark.parametrize("said", ["{netrc}", "Basic {packed}", "you are ada:hunter22secret"])
def test_no_password_that_a_server_says_is_in_an_error(
    said: str, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login ada password hunter22secret\n")
    packed = base64.b64encode(b"ada:hunter22secret").decode()
    body = said.format(netrc="hunter22secret", packed=packed).encode()
    with pytest.raises(FetchError) as caught:
        resolve(host.put("/m.tar.gz", b"", says(400, body)))
    assert host.asked[0].headers["authorization"] == f"Basic {packed}"
    assert "hunter22secret" not in str(caught.value) and packed not in str(caught.value) and "…" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('["h"\ntoken = "hunter22secret"', "line 1"),
        ('["h"]\ntoken = "hunter22secret', "no TOML"),
        ("\udcff", "no TOML"),
        ('token = "hunter22secret"', "'token'"),
        ('[models.example.org]\ntoken = "hunter22secret"', "'example'"),
        ('["h"]\ntokens = "hunter22secret"', "unknown key 'tokens'"),
        ('["https://h"]\ntoken = "hunter22secret"', "'https://h': a host is written without"),
        ('["ada:hunter22secret@h"]\ntoken = "x"', "'h': a host is written without"),
        ('["h"]\ntoken = 5', "token is no text"),
        ('["h"]\ntoken = ""', "token is no text"),
        ('["h"]\ntoken = "hunter22\\nsecret"', "token is not set"),
        ('["h"]\ntoken = "hunter22secret"\ntoken_variable = "HOME"', "only one"),
        ('["h"]\ntoken = "hunter22secret"\nheaders = { authorization = "x" }', "only one"),
        ('["h"]\nheaders = "X-Team: hunter22secret"', "no table of texts"),
        ('["h"]\nheaders = { X-Team = 1 }', "no table of texts"),
        ('["h"]\nheaders = { Range = "hunter22secret" }', "'Range'"),
        ('["h"]\nheaders = { "X Team" = "hunter22secret" }', "'X Team'"),
        ('["h"]\nheaders = { X-Team = "hunter22secret\\r\\nHost: x" }', "'X-Team'"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_names_it_and_shows_no_value(
    text: str, word: str, hosts_file: Path
) -> None:
    from tfimm_resolver.http.hosts import headers

    hosts_file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(HandleError) as caught:
        headers("https://h/m.tar.gz")
    told = str(caught.value)
    assert str(hosts_file) in told and word in told and "hunter22" not in told


def test_the_variable_names_another_file_which_has_to_be_there(
    host: Host, hosts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    handle = host.put("/m.tar.gz", archive(1000))
    monkeypatch.setenv(VARIABLE, "$HOME/mine.toml")
    with pytest.raises(HandleError, match=r"home/mine\.toml cannot be read: No such file"):
        resolve(handle)
    hosts_file.write_text(f'["{name(host)}"]\ntoken = "hunter22secret"\n')
    hosts_file.rename(tmp_path / "home" / "mine.toml")
    resolve(handle)
    monkeypatch.delenv(VARIABLE)
    resolve(handle, refresh=True)
    (tmp_path / "xdg" / "tfimm_resolver").mkdir(parents=True)
    (tmp_path / "home" / "mine.toml").rename(tmp_path / "xdg" / "tfimm_resolver" / "hosts.toml")
    resolve(handle, refresh=True)
    assert seen(host, "/m.tar.gz") == [BEARER, None, BEARER]


@pytest.mark.skipif(os.name != "posix", reason="modes are those of POSIX")
@pytest.mark.parametrize(
    ("text", "mode", "is_told"),
    [
        ('["h"]\ntoken = "t"', 0o644, True),
        ('["h"]\nheaders = { X = "t" }', 0o620, True),
        ('["h"]\ntoken = "t"', 0o600, False),
        ('["h"]\ntoken_variable = "HOME"', 0o644, False),
    ],
)
def test_it_is_told_once_when_others_may_read_a_secret(
    text: str, mode: int, is_told: bool, hosts_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tfimm_resolver.http.hosts import headers

    hosts_file.write_text(text)
    hosts_file.chmod(mode)
    headers("http://h/")
    headers("http://h/")
    assert caplog.text.count(f"{hosts_file} holds what others should not read") == is_told
