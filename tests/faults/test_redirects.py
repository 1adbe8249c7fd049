"""Where a redirect may lead, what it may carry, and what is done when a signed address runs out."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import files_in
from tests.faults import NOTHING, PARTS, RANGE_BYTES, RANGES, WHOLE, Row, archive, files, left_in, outcome
from tests.faults.origin import Fault, Host, Reply, after, always, framed, on, on_range_at, says, stalled
from tests.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.errors import AccessError, FetchError

SIZE = len(archive())
CODES = (301, 302, 303, 307, 308)
BASIC = "Basic " + base64.b64encode(b"ada:secret").decode()

# What loops for ever is to fail soon.
pytestmark = pytest.mark.timeout(60)


def redirecting(host: Host, to: str, status: int = 302, path: str = "/m.tar.gz") -> str:
    """A handle that leads to ``to``."""
    return host.put(path, b"", says(status, b"", Location=to))


def elsewhere(host: Host) -> str:
    """The same server as another host: by its name."""
    return f"http://localhost:{host.port}"


def asked_for(host: Host, path: str) -> list[dict[str, str]]:
    """The headers of all requests for a path."""
    return [asked.headers for asked in host.asked if asked.path == path]


@pytest.mark.parametrize("status", CODES)
@pytest.mark.parametrize("to", ["/real.tar.gz", "real.tar.gz", "./a/../real.tar.gz", "//127.0.0.1:{port}/real.tar.gz"])
def test_every_kind_of_redirect_is_followed_with_its_range(status: int, to: str, host: Host, cache_dir: Path) -> None:
    host.put("/real.tar.gz", archive())
    assert files_in(resolve(redirecting(host, to.format(port=host.port), status))) == files()
    first, *ranges = asked_for(host, "/real.tar.gz")
    assert first["range"] == f"bytes=0-{RANGE_BYTES - 1}" and len(ranges) == RANGES - 1
    assert host.twice_bytes() == 0 and left_in(cache_dir) == WHOLE


@pytest.mark.parametrize("hops", [1, 5, 20])
def test_a_chain_of_redirects_is_followed(hops: int, host: Host) -> None:
    for hop in range(hops):
        redirecting(host, f"/{hop + 1}.tar.gz", CODES[hop % 5], f"/{hop}.tar.gz")
    host.put(f"/{hops}.tar.gz", archive(1000))
    assert files_in(resolve(f"{host.url}/0.tar.gz")) == files(1000)


REFUSED = {
    "a loop of one": ("/m.tar.gz", "redirect"),
    "a loop of two": ("/n.tar.gz", "redirect"),
    "a file": ("file:///etc/passwd", "file:"),
    "a file without host": ("file:/etc/passwd", "file:"),
    "ftp": ("ftp://127.0.0.1/m.tar.gz", "ftp:"),
    "data": ("data:text/plain,m", "data:"),
    "gs": ("gs://bucket/m.tar.gz", "gs:"),
    "javascript": ("javascript:alert(1)", "javascript:"),
    "a loop of one, without a host": ("http://", "redirect"),
    "no port": ("http://127.0.0.1:port/m.tar.gz", "http"),
    "a far port": ("http://127.0.0.1:99999/m.tar.gz", "http"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("status", [302, 308])
def test_a_redirect_that_leads_nowhere_is_told_and_not_repeated(status: int, name: str, host: Host, cache_dir: Path) -> None:
    to, word = REFUSED[name]
    redirecting(host, "/m.tar.gz", path="/n.tar.gz")
    row = Row(name, (), error=FetchError, words=(f"{host.url}/m.tar.gz", word), left=NOTHING)
    outcome(redirecting(host, to, status), row, cache_dir)
    assert len(host.asked) <= 31 and (name.startswith("a loop") or len(host.asked) == 1)


UNREADABLE = {
    "a body that stops half-way": (stalled(0.5),),
    "a chunked body that stops half-way": (framed("chunked"), stalled(0.5)),
    "a body that ends with the connection, and does not end": (framed("close"), stalled(0.5)),
}
"""Who reads such a body waits for ever; the same holds for one that never ends."""


@pytest.mark.parametrize("faults", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("status", CODES)
def test_the_body_of_a_redirect_is_not_read(
    status: int, faults: tuple[Fault, ...], host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "2")
    host.put("/real.tar.gz", archive())
    handle = host.put("/m.tar.gz", b"", says(status, bytes(100_000), Location="/real.tar.gz"), *faults)
    assert files_in(resolve(handle)) == files()


def test_a_redirect_that_unpacks_to_gigabytes_costs_no_memory(host: Host) -> None:
    bomb = gzip.compress(gzip.compress(bytes(1 << 30), 9), 9)
    host.put("/real.tar.gz", archive(1000))
    headers = {"Location": "/real.tar.gz", "Content-Encoding": "gzip, gzip"}
    handle = host.put("/m.tar.gz", b"", lambda reply: reply.say(302, bomb, headers))
    code = """
        import resource, sys, tfimm_resolver
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        print(tfimm_resolver.resolve(sys.argv[1]))
    """
    assert files_in(run(code, handle)) == files(1000)


def test_a_loop_whose_bodies_do_not_end_is_given_up_after_thirty_redirects(host: Host) -> None:
    handle = host.put("/m.tar.gz", b"", says(302, bytes(100_000), Location="/m.tar.gz"), stalled(0.5))
    with pytest.raises(FetchError, match="redirect"):
        resolve(handle)
    assert len(host.asked) == 31


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_body_of_a_redirect_that_is_not_followed_is_not_read_either(
    status: int, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "2")
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    host.put("/m/1?tf-hub-format=compressed", archive())
    host.put("/m/1?tf-hub-format=uncompressed", b"", says(status, bytes(100_000), Location="/other"), stalled(0.5))
    assert files_in(resolve(f"{host.url}/m/1")) == files()
    assert [asked.path for asked in host.asked[:2]] == ["/m/1?tf-hub-format=uncompressed", "/m/1?tf-hub-format=compressed"]


def test_an_answer_303_is_read_though_it_names_another_place_as_well(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    host.put("/m/1?tf-hub-format=uncompressed", b"", says(303, b"gs://bucket/m/1", Location="/other"))
    assert resolve(f"{host.url}/m/1") == "gs://bucket/m/1"


@pytest.mark.parametrize("location", [None, ""])
def test_a_redirect_without_a_place_is_told_with_its_number(location: str | None, host: Host, cache_dir: Path) -> None:
    handle = host.put("/m.tar.gz", b"", says(302, b"lost", **({} if location is None else {"Location": location})))
    outcome(handle, Row("", (), error=FetchError, words=(" 302 ", f"{host.url}/m.tar.gz"), left=NOTHING), cache_dir)
    assert len(host.asked) == 1


def userinfo(host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return host.url.replace("http://", "http://ada:secret@")


def netrc(host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (folder / "netrc").write_text("machine 127.0.0.1 login ada password secret\n")
    monkeypatch.setenv("NETRC", str(folder / "netrc"))
    return host.url


Credentials = Callable[[Host, Path, pytest.MonkeyPatch], str]


@pytest.mark.parametrize("given", [userinfo, netrc])
@pytest.mark.parametrize("status", CODES)
def test_credentials_stay_with_the_host_that_they_were_given_for(
    status: int, given: Credentials, host: Host, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = given(host, tmp_path, monkeypatch)
    host.put("/real.tar.gz", archive())
    redirecting(host, f"{elsewhere(host)}/real.tar.gz", status)
    assert files_in(resolve(f"{base}/m.tar.gz")) == files()
    assert {headers.get("authorization") for headers in asked_for(host, "/m.tar.gz")} == {BASIC}
    there = asked_for(host, "/real.tar.gz")
    assert len(there) == RANGES and all("authorization" not in headers for headers in there)
    assert all("secret" not in f"{asked.path} {asked.headers}" for asked in host.asked)
    assert all(b"secret" not in path.read_bytes() for path in cache_dir.glob("*.txt"))


@pytest.mark.parametrize("given", [userinfo, netrc])
@pytest.mark.parametrize("to", ["/real.tar.gz", "{url}/real.tar.gz"])
def test_credentials_go_with_every_range_at_their_own_host(
    to: str, given: Credentials, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = given(host, tmp_path, monkeypatch)
    host.put("/real.tar.gz", archive())
    redirecting(host, to.format(url=host.url))
    assert files_in(resolve(f"{base}/m.tar.gz")) == files()
    assert {headers.get("authorization") for headers in asked_for(host, "/real.tar.gz")} == {BASIC}


@pytest.mark.parametrize("given", [userinfo, netrc])
def test_a_later_range_that_is_sent_elsewhere_takes_no_credentials_along(
    given: Credentials, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = given(host, tmp_path, monkeypatch)
    host.put("/other.tar.gz", archive())
    host.put("/real.tar.gz", archive(), after(3, says(302, b"", Location=f"{elsewhere(host)}/other.tar.gz")))
    redirecting(host, f"{host.url}/real.tar.gz")
    assert files_in(resolve(f"{base}/m.tar.gz")) == files()
    there = asked_for(host, "/other.tar.gz")
    assert there != [] and all("authorization" not in headers for headers in there)


def test_credentials_in_a_redirect_are_for_its_host_alone(host: Host, cache_dir: Path) -> None:
    host.put("/real.tar.gz", archive())
    handle = redirecting(host, f"http://ada:secret@localhost:{host.port}/real.tar.gz")
    assert files_in(resolve(handle)) == files()
    assert all("authorization" not in headers for headers in asked_for(host, "/m.tar.gz"))
    assert {headers.get("authorization") for headers in asked_for(host, "/real.tar.gz")} <= {BASIC, None}
    assert all(b"secret" not in path.read_bytes() for path in cache_dir.glob("*.txt"))


def test_a_token_in_the_netrc_file_of_home_is_found_at_call_time(host: Host, tmp_path: Path) -> None:
    handle = host.put("/m.tar.gz", archive())
    resolve(handle)
    (tmp_path / "home" / ".netrc").write_text("machine 127.0.0.1 login ada password secret\n")
    (tmp_path / "home" / ".netrc").chmod(0o600)
    resolve(handle, refresh=True)
    assert ["authorization" in asked.headers for asked in host.asked] == [False] * RANGES + [True] * RANGES


class Signing:
    """A handle that leads to an address with a new signature each time."""

    def __init__(self, host: Host, *faults: Callable[[Reply], None]) -> None:
        self._host, self._faults, self.count = host, faults, 0
        self.handle = host.put("/m.tar.gz", b"", self)

    def __call__(self, reply: Reply) -> None:
        self.count += 1
        path = f"/real.tar.gz?signature=secret{self.count}"
        self._host.put(path, archive(), *(self._faults if self.count == 1 else ()))
        reply.say(302, b"", {"Location": self._host.url + path})


RUN_OUT = says(403, b"<Error><Code>ExpiredToken</Code></Error>")


@pytest.mark.parametrize(
    ("fault", "asked"),
    [(RUN_OUT, RANGES), (after(1, RUN_OUT), RANGES + 8), (after(6, RUN_OUT), RANGES + 8)],
    ids=["at first", "after the first range", "after some"],
)
def test_a_signature_that_has_run_out_is_asked_for_once_more(
    fault: Callable[[Reply], None], asked: int, host: Host, cache_dir: Path
) -> None:
    signing = Signing(host, fault)
    assert files_in(resolve(signing.handle)) == files()
    assert 2 <= signing.count <= 2 + 8 and left_in(cache_dir) == WHOLE
    assert sum(asked.sent for asked in host.asked) <= SIZE + RANGE_BYTES
    assert len([one for one in host.asked if one.status == 206]) <= asked


@pytest.mark.parametrize(("fault", "left"), [(RUN_OUT, NOTHING), (after(6, RUN_OUT), PARTS)], ids=["at first", "after some"])
def test_a_place_that_always_refuses_is_told_and_not_asked_for_ever(
    fault: Callable[[Reply], None], left: set[str], host: Host, cache_dir: Path
) -> None:
    host.put("/real.tar.gz?signature=secret", archive(), fault)
    handle = redirecting(host, f"{host.url}/real.tar.gz?signature=secret")
    row = Row("", (), error=AccessError, words=(" 403 ", "ExpiredToken", "/real.tar.gz"), left=left)
    text = outcome(handle, row, cache_dir)
    assert "secret" not in text
    assert len(asked_for(host, "/m.tar.gz")) <= 2 + 8 and len([one for one in host.asked if one.status == 403]) <= 2 * 8
    if left == NOTHING:
        assert [asked.path.partition("?")[0] for asked in host.asked] == ["/m.tar.gz", "/real.tar.gz"] * 2


@pytest.mark.parametrize("status", [401, 404, 410])
def test_no_other_refusal_behind_a_redirect_is_asked_again(status: int, host: Host) -> None:
    host.put("/real.tar.gz", archive(), says(status))
    with pytest.raises(FetchError, match=f" {status} "):
        resolve(redirecting(host, "/real.tar.gz"))
    assert len(host.asked) == 2


def test_a_403_of_the_handle_itself_is_asked_once(host: Host) -> None:
    with pytest.raises(AccessError):
        resolve(host.put("/m.tar.gz", archive(), says(403)))
    assert len(host.asked) == 1


def test_a_handle_that_leads_elsewhere_the_second_time_is_not_mixed(host: Host) -> None:
    """Two mirrors with the same ETag, one of them of other bytes: what comes is one of both, or an error."""
    other = bytes(archive()[:-8]) + bytes(8)
    host.put("/other.tar.gz", other)
    host.put("/real.tar.gz", archive(), on_range_at(RANGE_BYTES * 8, RUN_OUT))
    leads = always(on(1, says(302, b"", Location="/real.tar.gz")), after(1, says(302, b"", Location="/other.tar.gz")))
    with pytest.raises(FetchError):
        resolve(host.put("/m.tar.gz", b"", leads))
