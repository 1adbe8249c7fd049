"""What one request sends: cookies across redirects, international host names, headers in any case, chunked bodies."""

from __future__ import annotations

import base64
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import files_in
from tests.fakes.faults import archive, files
from tests.fakes.faults.origin import Host, Response, answer_with, set_framing
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tfimm_resolver import resolve
from tfimm_resolver.errors import FetchError, OfflineError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.http.session import Session, get

pytestmark = pytest.mark.timeout(60)


def put_login(host: Host, cookie: str) -> str:
    """Serve a model to those who have a cookie; others are redirected to a page that sets it."""

    def check(response: Response) -> None:
        if "session=7" not in response.request.headers.get("cookie", ""):
            response.respond(302, b"", {"Location": "/login"})

    def log_in(response: Response) -> None:
        response.respond(302, b"", {"Location": "/m.tar.gz", "Set-Cookie": cookie})

    host.put("/login", b"", log_in)
    return host.put("/m.tar.gz", archive(1000), check)


def test_a_login_by_cookie_and_redirect_works(host: Host) -> None:
    assert files_in(resolve(put_login(host, "session=7; Path=/; HttpOnly"))) == files(1000)


def test_a_cookie_is_not_sent_to_another_host(host: Host) -> None:
    host.put("/real.tar.gz", archive(1000))
    headers = {"Location": f"http://localhost:{host.port}/real.tar.gz", "Set-Cookie": "session=7; Path=/"}
    handle = host.put("/m.tar.gz", b"", lambda response: response.respond(302, b"", headers))
    assert files_in(resolve(handle)) == files(1000)
    assert all("cookie" not in request.headers for request in host.requests)


@pytest.mark.parametrize("cookie", ["session=7; Domain=example.org", "session=7; Secure"])
def test_a_cookie_for_other_hosts_is_ignored(cookie: str, host: Host) -> None:
    with pytest.raises(FetchError, match="redirects more than"):
        resolve(put_login(host, cookie))


def test_an_international_host_name_is_looked_up_in_its_ascii_form(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    names, real = list[str](), socket.getaddrinfo

    def look_up(name: Any, *rest: Any, **options: Any) -> Any:
        names.append(name.decode() if isinstance(name, bytes) else name)
        return real("127.0.0.1", *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    handle = host.put("/m.tar.gz", archive(1000)).replace("127.0.0.1", "bücher.example")
    assert files_in(resolve(handle)) == files(1000)
    assert set(names) == {"xn--bcher-kva.example"}
    assert host.requests[0].headers["host"] == f"xn--bcher-kva.example:{host.port}"


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "-.example.", "xn--\u00fc.example"])
def test_a_host_name_that_cannot_be_is_an_error(name: str) -> None:
    with pytest.raises((FetchError, OfflineError)):
        resolve(f"http://{name}/m.tar.gz")


def test_userinfo_is_decoded_and_not_part_of_the_request(host: Host) -> None:
    handle = host.put("/m.tar.gz", archive(1000)).replace("//", "//ada:p%40ss%2Fw@")
    assert files_in(resolve(handle)) == files(1000)
    assert host.requests[0].headers["authorization"] == "Basic " + base64.b64encode(b"ada:p@ss/w").decode()
    assert host.requests[0].headers["host"] == f"127.0.0.1:{host.port}" and Handle.parse(handle).host.endswith(str(host.port))


@pytest.mark.parametrize("query", ["hdnts=exp=1~acl=%2f*~hmac=0123abcd", "sig=0123abcd%2f%3d|", "a=%e2&Signature=0123abcd"])
def test_a_signed_url_is_sent_as_it_is_and_not_logged(
    query: str, host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A signature may be that of the text: in Akamai's tokens the letters of percent-encodings are small."""
    caplog.set_level("DEBUG")
    path = f"/a%2fb.tar.gz?{query}"
    host.put("/m.tar.gz", b"", answer_with(302, b"", Location=host.put(path, archive(1000))))
    assert files_in(resolve(host.url + path)) == files_in(resolve(f"{host.url}/m.tar.gz")) == files(1000)
    host.put(f"http://models.example{path}", archive(1000))
    monkeypatch.setenv("http_proxy", host.url)
    assert files_in(resolve(f"http://models.example{path}")) == files(1000)
    assert "a%2fb.tar.gz" in caplog.text and "0123abcd" not in caplog.text


def test_a_header_of_hosts_toml_replaces_ours_in_any_case(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "home" / ".config" / "tfimm_resolver" / "hosts.toml"
    path.parent.mkdir(parents=True)
    path.touch(0o600)
    path.write_text(f'["http://127.0.0.1:{host.port}"]\nheaders = {{ user-AGENT = "Mozilla/5.0" }}\n')
    with Session() as session, get(session, host.put("/m.tar.gz", archive(1000))) as response:
        names = [name.lower() for name in response.request.headers]
    assert host.requests[0].headers["user-agent"] == "Mozilla/5.0" and names.count("user-agent") == 1


def test_a_chunked_body_comes_complete(host: Host) -> None:
    assert files_in(resolve(host.put("/m.tar.gz", archive(), set_framing("chunked"), ranges=False))) == files()


def test_a_connection_is_used_again(host: Host) -> None:
    with Session() as session:
        for status in (200, 404, 416):
            url = host.put(f"/{status}", b"", lambda response, status=status: response.respond(status, b""))  # type: ignore[misc]
            with get(session, url) as response:
                assert response.status_code == status
    assert len({request.connection for request in host.requests}) == 1


@pytest.mark.parametrize(
    "target", ["http://h\u202e/x", "http://h\x85/x", "/a\x00b", "/a\u200eb", "http://a\\@b/x", "http://a b/x"]
)
def test_a_redirect_with_control_characters_is_not_followed(target: str, host: Host) -> None:
    raw = target.encode().decode("latin1")
    with pytest.raises(FetchError) as caught:
        resolve(host.put("/m.tar.gz", b"", lambda response: response.respond(302, b"", {"Location": raw})))
    assert len(host.requests) == 1 and all(character.isprintable() or character == "\n" for character in str(caught.value))


def test_a_redirect_to_an_unclear_host_is_not_followed(host: Host) -> None:
    """The HTTP library reads 127.0.0.1 here, and urllib.parse tfhub.dev."""
    target = f"http://127.0.0.1:{host.port}\\@tfhub.dev/real.tar.gz"
    host.put("/real.tar.gz", archive(1000))
    with pytest.raises(FetchError, match="redirects to one that is not"):
        resolve(host.put("/m.tar.gz", b"", lambda response: response.respond(302, b"", {"Location": target})))
    assert len(host.requests) == 1
