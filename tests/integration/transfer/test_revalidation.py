"""What has not changed is not sent again: refresh, lock and lock --check."""

from __future__ import annotations

import hashlib
import json
import os
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import files_in
from tests.fakes.faults import archive, files
from tests.fakes.faults.origin import MODIFIED, Host, Response, answer_with, set_header
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tfimm_resolver import resolve
from tfimm_resolver.cli import main

OLDER = "Sat, 01 Oct 2011 10:00:00 GMT"
SHA256 = hashlib.sha256(archive()).hexdigest()

pytestmark = pytest.mark.timeout(60)


def answer_conditions(response: Response) -> None:
    """Answer 304 where the page has the validator of the request, as RFC 9110 says."""
    headers, page = response.request.headers, response.page
    if "if-none-match" in headers:
        is_same = headers["if-none-match"] in (page.etag, "*")
    else:
        is_same = "if-modified-since" in headers and headers["if-modified-since"] == page.modified
    if is_same:
        response.respond(304, b"", {"ETag": page.etag} if page.etag else {"Last-Modified": page.modified})


def refresh(host: Host, handle: str, expected: dict[str, bytes] | None = None) -> int:
    """Refresh a model, compare its files, and return how many bytes were sent for it."""
    before = host.count_sent_bytes()
    assert files_in(resolve(handle, refresh=True)) == (expected or files())
    return host.count_sent_bytes() - before


@pytest.mark.parametrize("etag", ['"one"', None], ids=["ETag", "Last-Modified"])
def test_a_refresh_of_what_has_not_changed_costs_no_body(etag: str | None, host: Host, cache_dir: Path) -> None:
    handle = host.put("/m.tar.gz", archive(), answer_conditions, etag=etag)
    path = resolve(handle)
    record = cache_dir / f"{os.path.basename(path)}.descriptor.txt"
    before = json.loads(record.read_text().partition("\n\n")[2])
    assert refresh(host, handle) == 0 and host.requests[-1].status == 304
    after = json.loads(record.read_text().partition("\n\n")[2])
    assert after.pop("fetched_at") > before.pop("fetched_at") and after == before
    assert sorted(os.listdir(cache_dir)) == sorted([os.path.basename(path), record.name])


def answer_as_http_server(response: Response) -> None:
    """Answer 304, without a date, to what is not newer than the request says, as Python's own server does."""
    if "if-modified-since" in response.request.headers:
        since, modified = (
            parsedate_to_datetime(text) for text in (response.request.headers["if-modified-since"], response.page.modified)
        )
        if modified <= since:
            response.respond(304, b"", {})


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_was_replaced_by_an_older_one_is_fetched(ranges: bool, host: Host) -> None:
    handle = host.put("/m.tar.gz", archive(), answer_as_http_server, etag=None, ranges=ranges)
    resolve(handle)
    before = len(host.requests)
    assert files_in(resolve(handle, refresh=True)) == files() and len(host.requests) == before + 2
    assert host.requests[-1].headers["range"] == "bytes=0-0"
    host.put("/m.tar.gz", archive(1000), answer_as_http_server, etag=None, modified=OLDER, ranges=ranges)
    assert files_in(resolve(handle, refresh=True)) == files(1000)


def test_a_change_is_fetched(host: Host) -> None:
    handle = host.put("/m.tar.gz", archive(), answer_conditions)
    resolve(handle)
    host.put("/m.tar.gz", archive(1000), answer_conditions, etag='"two"')
    assert refresh(host, handle, files(1000)) == len(archive(1000))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_that_ignores_conditions_is_noticed_by_its_etag(ranges: bool, host: Host) -> None:
    handle = host.put("/m.tar.gz", archive(), ranges=ranges)
    resolve(handle)
    before = len(host.requests)
    refresh(host, handle)
    assert len(host.requests) == before + 1


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_copy_is_fetched_in_full(damage: str, host: Host) -> None:
    handle = host.put("/m.tar.gz", archive(), answer_conditions)
    file = Path(resolve(handle)) / "saved_model.pb"
    file.write_bytes(b"x" * file.stat().st_size) if damage == "changed" else file.unlink()
    assert refresh(host, handle) == len(archive())


@pytest.mark.parametrize("etag", ['W/"one"', None])
def test_without_a_strong_validator_it_is_fetched_in_full(etag: str | None, host: Host) -> None:
    handle = host.put("/m.tar.gz", archive(), answer_conditions, etag=etag, modified=None if etag is None else MODIFIED)
    resolve(handle)
    assert refresh(host, handle) >= len(archive())


def test_the_same_etag_at_another_url_proves_nothing(host: Host) -> None:
    """A page "latest" redirects to versions, whose server numbers its ETags alike."""
    host.put("/v1.tar.gz", archive(), answer_conditions)
    handle = host.put("/latest.tar.gz", b"", answer_with(302, b"", Location="/v1.tar.gz"))
    resolve(handle)
    assert refresh(host, handle) == 0
    host.put("/v2.tar.gz", archive(1000), answer_conditions)
    host.put("/latest.tar.gz", b"", answer_with(302, b"", Location="/v2.tar.gz"))
    assert refresh(host, handle, files(1000)) == len(archive(1000))


@pytest.mark.parametrize("etag", ['"one"', None], ids=["ETag", "Last-Modified"])
def test_another_query_behind_a_redirect_is_another_url(etag: str | None, host: Host) -> None:
    """A record has no query, so that "/get?version=2" and "/get?version=1" look alike in it."""
    host.put("/get?version=2", archive(), answer_conditions, etag=etag)
    handle = host.put("/latest.tar.gz", b"", answer_with(302, b"", Location="/get?version=2"))
    resolve(handle)
    host.put("/get?version=1", archive(1000), answer_conditions, etag=etag)
    host.put("/latest.tar.gz", b"", answer_with(302, b"", Location="/get?version=1"))
    assert refresh(host, handle, files(1000)) == len(archive(1000))


@pytest.mark.parametrize("query", ["version=2", "X-Amz-Algorithm=a&X-Amz-Signature=b&x-id=c"])
def test_the_query_of_the_handle_or_a_signature_is_no_doubt(query: str, host: Host) -> None:
    url = host.put(f"/m.tar.gz?{query}", archive(), answer_conditions)
    resolve(url)
    assert refresh(host, url) == 0
    if "X-Amz" in query:
        handle = host.put("/latest.tar.gz", b"", answer_with(302, b"", Location=url))
        resolve(handle)
        assert refresh(host, handle) == 0


def test_a_stated_sha256_proves_it_at_any_url(host: Host) -> None:
    handle = host.put("/m.tar.gz", archive(), set_header("X-Checksum-Sha256", SHA256), etag=None, modified=None, ranges=False)
    resolve(handle)
    before = len(host.requests)
    assert files_in(resolve(handle, refresh=True)) == files()
    assert len(host.requests) == before + 1
    host.put("/m.tar.gz", archive(1000), set_header("X-Checksum-Sha256", hashlib.sha256(archive(1000)).hexdigest()))
    assert files_in(resolve(handle, refresh=True)) == files(1000)


def test_what_a_304_leaves_is_still_what_is_pinned(host: Host) -> None:
    handle = host.put("/m.tar.gz", archive(), answer_conditions)
    resolve(handle)
    before = host.count_sent_bytes()
    assert files_in(resolve(handle, refresh=True, sha256=SHA256)) == files() and host.count_sent_bytes() == before


def write_models_file(folder: Path, handle: str, pin: str = "") -> None:
    (folder / "tfimm-models.toml").write_text(f'[models.m]\nhandle = "{handle}"\n{pin}')


def run_lock(*options: str) -> Any:
    return main(["lock", *options])


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("options", [(), ("--check",)])
def test_lock_downloads_nothing_that_has_not_changed(
    options: tuple[str, ...], is_cached: bool, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    faults = () if is_cached else (set_header("X-Checksum-Sha256", SHA256),)  # else only a stated hash can tell
    handle = host.put("/m.tar.gz", archive(), answer_conditions, *faults, ranges=is_cached)
    if is_cached:
        resolve(handle)
    write_models_file(tmp_path, handle, f'sha256 = "{SHA256}"\nsize_bytes = {len(archive())}\n')
    before, requests = host.count_sent_bytes(), len(host.requests)
    assert run_lock(*options) == 0 and len(host.requests) == requests + 1
    assert not is_cached or host.count_sent_bytes() == before


def test_lock_check_still_reports_a_change(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    handle = host.put("/m.tar.gz", archive(), answer_conditions)
    resolve(handle)
    write_models_file(tmp_path, handle, f'sha256 = "{SHA256}"\nsize_bytes = {len(archive())}\n')
    host.put("/m.tar.gz", archive(1000), answer_conditions, etag='"two"')
    assert run_lock("--check") == 8


def test_lock_of_an_unpinned_model_asks_whether_the_cached_one_has_changed(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handle = host.put("/m.tar.gz", archive(), answer_conditions)
    resolve(handle)
    write_models_file(tmp_path, handle)
    before = host.count_sent_bytes()
    assert run_lock() == 0 and host.count_sent_bytes() == before
    assert SHA256 in (tmp_path / "tfimm-models.toml").read_text()
