"""Logins in netrc: for which hosts they are sent, and what follows when a host refuses one."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import files_in
from tests.fakes.faults import RANGES, archive, files
from tests.fakes.faults.origin import Fault, Host, Response, answer_with
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tfimm_resolver import resolve
from tfimm_resolver.errors import AccessError, FetchError
from tfimm_resolver.http.netrc import find_login

PASSWORD = "hunter22secret"
BASIC = "Basic " + base64.b64encode(f"ada:{PASSWORD}".encode()).decode()
MACHINE = f"machine 127.0.0.1 login ada password {PASSWORD}\n"
DEFAULT = f"default login ada password {PASSWORD}\n"
SIGNED = f"?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature={'a' * 64}"

# An endless loop has to fail soon.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def host(tls: ssl.SSLContext, bundle: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host that speaks TLS, and whose certificate is trusted."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    with Host(tls) as server:
        yield server


@pytest.fixture
def netrc(tmp_path: Path) -> Path:
    """The file at its default path."""
    path = tmp_path / "home" / ".netrc"
    path.touch(0o600)
    return path


def list_authorizations(host: Host, path: str) -> list[str | None]:
    """Return the Authorization header of each request for a path."""
    return [request.headers.get("authorization") for request in host.requests if request.path == path]


@pytest.mark.parametrize("text", [MACHINE, DEFAULT], ids=["machine", "default"])
def test_a_login_goes_with_every_range_to_the_host_of_the_handle(text: str, host: Host, netrc: Path) -> None:
    netrc.write_text(text)
    handle = host.put("/m.tar.gz", archive())
    assert files_in(resolve(handle)) == files()
    assert list_authorizations(host, "/m.tar.gz") == [BASIC] * RANGES


@pytest.mark.parametrize("value", ["", "{}/other", "~/../other", "$HOME/../other"])
def test_the_file_is_found_at_each_call(
    value: str, host: Host, netrc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = host.put("/m.tar.gz", archive(1000))
    resolve(handle)
    if value:
        netrc = tmp_path / "other"
        monkeypatch.setenv("NETRC", value.format(tmp_path))
    netrc.write_text(MACHINE)
    resolve(handle, refresh=True)
    assert list_authorizations(host, "/m.tar.gz") == [None, BASIC]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DEFAULT, None),
        (MACHINE, None),
        (f"machine localhost login ada password {PASSWORD}\n", BASIC),
    ],
    ids=["default", "another machine", "its own machine"],
)
def test_a_host_that_a_redirect_names_gets_only_its_own(text: str, expected: str | None, host: Host, netrc: Path) -> None:
    netrc.write_text(text)
    host.put("/real.tar.gz", archive())
    host.put("/m.tar.gz", b"", answer_with(302, b"", Location=f"https://localhost:{host.port}/real.tar.gz"))
    assert files_in(resolve(f"{host.url}/m.tar.gz")) == files()
    assert list_authorizations(host, "/real.tar.gz") == [expected] * RANGES


def test_a_host_whose_name_is_default_does_not_get_the_login_for_all_others(netrc: Path) -> None:
    netrc.write_text(DEFAULT)
    assert find_login("https://default/m.tar.gz", is_own=False) is None
    assert find_login("https://default/m.tar.gz", is_own=True) is not None


def test_no_login_is_sent_beside_a_signature(host: Host, netrc: Path) -> None:
    netrc.write_text(MACHINE)
    host.put(f"/real.tar.gz{SIGNED}", archive(1000))
    handle = host.put("/m.tar.gz", b"", answer_with(302, b"", Location=f"/real.tar.gz{SIGNED}"))
    assert files_in(resolve(handle)) == files(1000)
    assert list_authorizations(host, f"/real.tar.gz{SIGNED}") == [None]


def test_no_login_is_sent_over_http(netrc: Path) -> None:
    netrc.write_text(MACHINE + DEFAULT)
    with Host() as plain:
        assert files_in(resolve(plain.put("/m.tar.gz", archive(1000)))) == files(1000)
        assert list_authorizations(plain, "/m.tar.gz") == [None]


def test_hosts_toml_comes_before_netrc(host: Host, netrc: Path, tmp_path: Path) -> None:
    netrc.write_text(MACHINE)
    path = tmp_path / "home" / ".config" / "tfimm_resolver" / "hosts.toml"
    path.parent.mkdir(parents=True)
    path.touch(0o600)
    path.write_text(f'["127.0.0.1:{host.port}"]\ntoken = "token123456"\n')
    resolve(host.put("/m.tar.gz", archive(1000)))
    assert list_authorizations(host, "/m.tar.gz") == ["Bearer token123456"]


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_host_that_refuses_the_login_is_asked_once_without_it(status: int, host: Host, netrc: Path) -> None:
    netrc.write_text(DEFAULT)

    def reject(response: Response) -> None:
        if "authorization" in response.request.headers:
            response.respond(status)

    assert files_in(resolve(host.put("/m.tar.gz", archive(), reject))) == files()
    assert list_authorizations(host, "/m.tar.gz") == [BASIC] + [None] * RANGES


@pytest.mark.parametrize("fault", [answer_with(403, PASSWORD.encode()), answer_with(401, BASIC.encode())])
def test_an_error_names_the_file_and_never_what_it_holds(fault: Fault, host: Host, netrc: Path) -> None:
    netrc.write_text(MACHINE)
    with pytest.raises(AccessError, match=r"login of .*netrc, and once more without it") as caught:
        resolve(host.put("/m.tar.gz", b"", fault))
    assert PASSWORD not in str(caught.value) and BASIC.split()[1] not in str(caught.value)
    assert list_authorizations(host, "/m.tar.gz") == [BASIC, None]


@pytest.mark.parametrize("text", [f"machine 127.0.0.1 {PASSWORD}", f"{PASSWORD} x", "machine 127.0.0.1 login\n", "\udcff"])
def test_a_malformed_file_is_ignored_and_its_content_not_shown(
    text: str, host: Host, netrc: Path, caplog: pytest.LogCaptureFixture
) -> None:
    netrc.write_bytes(text.encode(errors="surrogateescape"))
    assert files_in(resolve(host.put("/m.tar.gz", archive(1000)))) == files(1000)
    assert PASSWORD not in caplog.text


def test_a_server_that_echoes_the_password_in_an_error_is_not_quoted(host: Host, netrc: Path) -> None:
    netrc.write_text(MACHINE)
    with pytest.raises(FetchError) as caught:
        resolve(host.put("/m.tar.gz", b"", answer_with(404, f"no model for ada:{PASSWORD}".encode())))
    assert PASSWORD not in str(caught.value) and "no model for" in str(caught.value)
