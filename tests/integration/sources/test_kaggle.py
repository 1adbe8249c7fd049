"""Models on Kaggle: spellings of handles, downloads, credentials, and copies that other tools have on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import faults
from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.cli import run_cli
from tests.fakes.faults.origin import Fault, Response, answer_with, on_range_from, reset_connection
from tests.fakes.kaggle import Kaggle
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tfimm_resolver import bundles, cached_model_path, resolve, set_model_cache
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cli.app import main
from tfimm_resolver.errors import (
    AccessError,
    ArchiveError,
    FetchError,
    HandleError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    ResolverError,
)
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.models_file.discovery import FILE_NAME
from tfimm_resolver.project.pins import plan_archive
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.fetching import find_cached
from tfimm_resolver.resolution.request import Request
from tfimm_resolver.sources.kaggle import plan

PATH = "google/nnlm/tensorFlow2/en-dim50"
KEY = f"https://www.kaggle.com/models/{PATH}"
TOKEN = "KGAT_0123456789abcdef"
BEARER = f"Bearer {TOKEN}"
BASIC = "Basic " + base64.b64encode(b"ada:secret0123").decode()
NEW = {"saved_model.pb": b"a newer graph"}


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    """Kaggle on loopback; TFIMM_KAGGLE_URL points there."""
    with Kaggle() as server:
        monkeypatch.setenv("TFIMM_KAGGLE_URL", server.url)
        yield server


def once(fault: Fault) -> Fault:
    """Apply a fault to the first request only, for any URL."""
    left = [fault]
    return lambda response: left.pop()(response) if left else None


def read_all(folder: Path) -> bytes:
    """Return all file names and contents below a folder, to search for what should not be there."""
    return b"\n".join(name.encode() + data for name, data in files_in(folder).items())


SPELLINGS = (
    "kaggle://google/nnlm/tensorFlow2/en-dim50{}",
    "kaggle://google/nnlm/TensorFlow2/en-dim50{}/",
    "kaggle://google/nnlm/tensor_flow_2/en-dim50{}",
    "KAGGLE://google/nnlm/tensorflow2/en-dim50{}",
    "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50{}",
    "https://www.kaggle.com/models/google/nnlm/tensorFlow2/en-dim50{}/?tfhub-redirect=true",
    "http://WWW.kaggle.com/models/google/nnlm/TensorFlow2/en-dim50{}",
    "https://kaggle.com/models/google/nnlm/tensorFlow2/en-dim50{}",
)
OLD_SPELLINGS = (
    "https://www.kaggle.com/models/google/nnlm/frameworks/tensorFlow2/variations/en-dim50{}",
    "https://www.kaggle.com/models/google/nnlm/frameworks/TensorFlow2/variations/en-dim50{}?tfhub-redirect=true",
    "kaggle://google/nnlm/frameworks/tensorFlow2/variations/en-dim50{}",
)
VERSIONED = (
    *(text.format("/3") for text in SPELLINGS),
    *(text.format("/versions/3") for text in OLD_SPELLINGS),
    "kaggle://google/nnlm/tensorFlow2/en-dim50/03",
    "https://www.kaggle.com/api/v1/models/google/nnlm/tensorFlow2/en-dim50/3/download",
)


@pytest.mark.parametrize("text", VERSIONED)
def test_every_spelling_of_a_version_has_one_key(text: str) -> None:
    assert Handle.parse(text).key == f"{KEY}/3"


@pytest.mark.parametrize("text", [text.format("") for text in SPELLINGS + OLD_SPELLINGS])
def test_every_spelling_without_a_version_has_one_key(text: str) -> None:
    assert Handle.parse(text).key == KEY


def test_every_spelling_finds_the_model_that_one_of_them_fetched(kaggle: Kaggle, cache_dir: Path) -> None:
    path = resolve(kaggle.publish(PATH, 3, tar_gz()))
    assert path == f"{cache_dir}/{entry_name_for_key(f'{KEY}/3')}" and files_in(path) == MODEL
    assert {resolve(text) for text in VERSIONED} == {path}
    assert kaggle.list_requests() == [f"{PATH}/3/download"] and kaggle.get_authorizations(kaggle.api) == {None}


def test_an_override_counts_for_every_spelling(tmp_path: Path) -> None:
    set_model_cache(VERSIONED[-1], put_model(tmp_path / "m"))
    assert {resolve(text) for text in VERSIONED} == {f"{tmp_path}/m"}


@pytest.mark.parametrize("page", ["datasets/a/b", "modelsof/a/b/c/d/1", "code/a/b", ""])
def test_other_pages_of_kaggle_are_not_models(page: str) -> None:
    handle = Handle.parse(f"https://www.kaggle.com/{page}")
    assert handle.key == f"https://www.kaggle.com/{page}".rstrip("/") and plan(handle) is None


@pytest.mark.parametrize(
    "text",
    [
        "kaggle://google",
        "kaggle://google/nnlm",
        "kaggle://google/nnlm/tensorFlow2/en-dim50/latest",
        "kaggle://google/nnlm/tensorFlow2/en-dim50/0",
        "kaggle://google/nnlm/tensorFlow2/en-dim50/-1",
        "kaggle://google/nnlm/tensorFlow2/en-dim50/1/2",
        "kaggle://google/../tensorFlow2/en-dim50/1",
        "kaggle://google//tensorFlow2/en-dim50/1",
        "kaggle://google/nn%2Flm/tensorFlow2/en-dim50/1",
        "https://www.kaggle.com/models",
        "https://www.kaggle.com/models/google/nnlm",
        "https://www.kaggle.com/models/google/nnlm/frameworks/tensorFlow2",
        "https://www.kaggle.com/models/google/nnlm/frameworks/tensorFlow2/variations/en-dim50/versions/x",
    ],
)
def test_the_error_for_a_handle_without_a_variation_shows_the_right_form(text: str, kaggle: Kaggle, cache_dir: Path) -> None:
    with pytest.raises(HandleError) as caught:
        resolve(text)
    assert text in caught.value.text and "kaggle://OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION]" in caught.value.fix
    assert kaggle.api.requests == [] and not cache_dir.exists()


def test_a_signed_url_reaches_neither_disk_nor_log(kaggle: Kaggle, cache_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tfimm_resolver")
    resolve(kaggle.publish(PATH, 1, tar_gz(), once(answer_with(503, b"later"))))
    assert "later" in caplog.text and "signature" not in caplog.text
    assert b"signature" not in read_all(cache_dir)
    record = json.loads(next(cache_dir.glob("*.txt")).read_text().partition("\n\n")[2])
    assert record["origin"]["url"] == f"{kaggle.storage_url}/{PATH}/1/archive.tar.gz"


@pytest.fixture
def member(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> Kaggle:
    """Kaggle with accepted credentials, for models that require consent; downloads use small ranges."""
    monkeypatch.setattr("tfimm_resolver.transfer.download.RANGE_BYTES", faults.RANGE_BYTES)
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.members.add(BEARER)
    return kaggle


def only_its_first_connection(member: Kaggle) -> Fault:
    """Return a fault: the first signed URL is slow, and expired for all connections but the first."""

    def fault(response: Response) -> None:
        response.pause_s = 0.02
        if (
            response.request.path.endswith("signature0")
            and response.request.connection != member.storage.requests[0].connection
        ):
            response.respond(403, b"expired")

    return fault


def test_an_expired_signed_url_is_requested_again(member: Kaggle) -> None:
    handle = member.publish(PATH, 1, faults.archive(), only_its_first_connection(member), requires_consent=True)
    assert files_in(resolve(handle)) == faults.files()
    assert len(member.list_requests()) > 1, "the API gets another request, again with credentials"
    assert member.get_authorizations(member.api) == {BEARER} and member.get_authorizations(member.storage) == {None}


def test_credentials_are_sent_also_where_ranges_cannot_be_used(member: Kaggle) -> None:
    handle = member.publish(PATH, 1, faults.archive(), requires_consent=True, etag=None, modified=None)
    assert files_in(resolve(handle)) == faults.files() and member.get_authorizations(member.api) == {BEARER}


def test_credentials_are_sent_also_when_the_archive_was_replaced(member: Kaggle, cache_dir: Path) -> None:
    handle = member.publish(
        PATH, 1, faults.archive(), on_range_from(4 * faults.RANGE_BYTES, reset_connection), requires_consent=True
    )
    with pytest.raises(FetchError):
        resolve(handle)
    assert [*cache_dir.glob("*.parts")]
    member.publish(PATH, 1, faults.archive(), requires_consent=True, etag='"two"')
    assert files_in(resolve(handle)) == faults.files() and member.get_authorizations(member.api) == {BEARER}


def test_an_error_of_the_storage_is_not_blamed_on_the_credentials(kaggle: Kaggle) -> None:
    handle = kaggle.publish(PATH, 1, tar_gz(), answer_with(403, b"<Error>AccessDenied</Error>"))
    with pytest.raises(AccessError) as caught:
        resolve(handle)
    assert "localhost" in str(caught.value) and "consent" not in str(caught.value)
    assert "signature" not in "".join(traceback.format_exception(caught.value))


def test_eight_processes_make_one_download(kaggle: Kaggle) -> None:
    from tests.fakes.processes import start

    handle = kaggle.publish(PATH, 1, tar_gz())
    code = "import sys, tfimm_resolver; print(tfimm_resolver.resolve(sys.argv[1]))"
    processes = [start(code, handle) for _ in range(8)]
    paths = set()
    for process in processes:
        with process:
            paths.add(process.communicate(timeout=120)[0])
    assert len(paths) == 1 and kaggle.list_requests() == [f"{PATH}/1/download"]


# Without a version


def test_without_a_version_the_newest_is_looked_up_at_each_call(kaggle: Kaggle, cache_dir: Path) -> None:
    kaggle.publish(PATH, 3, tar_gz())
    old = resolve(f"kaggle://{PATH}")
    assert (resolve(KEY), kaggle.list_requests()) == (old, [f"{PATH}/get", f"{PATH}/3/download", f"{PATH}/get"])
    kaggle.publish(PATH, 10, tar_gz(NEW))
    assert files_in(resolve(f"kaggle://{PATH}")) == NEW and files_in(old) == MODEL
    assert sorted(os.listdir(cache_dir)) == sorted(
        entry_name_for_key(f"{KEY}/{version}") + end for version in (3, 10) for end in ("", ".descriptor.txt")
    )


def go_offline(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")


def disconnect(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_KAGGLE_URL", "http://127.0.0.1:9")


def break_kaggle(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle.api.put(f"/api/v1/models/{PATH}/get", b"", answer_with(500, b"oh"))


def remove_model(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle.api.put(f"/api/v1/models/{PATH}/get", b"", answer_with(404, b"{}"))


def serve_html_page(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle.api.put(f"/api/v1/models/{PATH}/get", b"<!doctype html><title>Kaggle</title>Log in")


def break_newest(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle.publish(PATH, 11, tar_gz(NEW), answer_with(500, b"oh"))


def set_wrong_credentials(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)


FAILURES = (go_offline, disconnect, break_kaggle, remove_model, serve_html_page, break_newest, set_wrong_credentials)


@pytest.mark.parametrize("failure", FAILURES)
def test_where_kaggle_fails_the_newest_cached_version_serves_with_a_warning(
    failure: object, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for version in (10, 11, 9):  # the order of publication has no meaning
        resolve(kaggle.publish(PATH, version, tar_gz({"saved_model.pb": str(version).encode()})))
    Path(resolve(f"kaggle://{PATH}/11"), "saved_model.pb").unlink()  # a damaged copy is not used
    resolve(kaggle.publish("google/nnlm/tensorFlow2/en-dim128", 12, tar_gz()))
    resolve(kaggle.publish("google/nnlm/tensorFlow1/en-dim50", 13, tar_gz()))
    kaggle.publish(PATH, 9, tar_gz())
    assert callable(failure)
    failure(kaggle, monkeypatch)
    assert files_in(resolve(f"kaggle://{PATH}")) == {"saved_model.pb": b"10"}
    assert f"kaggle://{PATH} is served from the cache, as {KEY}/10: " in caplog.text


@pytest.mark.parametrize("failure", FAILURES)
def test_where_kaggle_fails_and_nothing_is_cached_the_failure_is_raised(
    failure: object, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    kaggle.publish(PATH, 1, tar_gz())
    assert callable(failure)
    failure(kaggle, monkeypatch)
    with pytest.raises(FetchError):
        resolve(f"kaggle://{PATH}")
    assert not cache_dir.exists() or os.listdir(cache_dir) == []


def test_a_refresh_is_not_served_from_the_cache(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(kaggle.publish(PATH, 1, tar_gz()))
    assert resolve(f"kaggle://{PATH}", refresh=True)
    go_offline(kaggle, monkeypatch)
    with pytest.raises(OfflineError):
        resolve(f"kaggle://{PATH}", refresh=True)


def test_a_pin_holds_for_the_newest_version_and_for_its_fallback(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    pin = hashlib.sha256(tar_gz()).hexdigest()
    kaggle.publish(PATH, 1, tar_gz())
    first = resolve(f"kaggle://{PATH}#sha256={pin}")
    kaggle.publish(PATH, 2, tar_gz(NEW))
    assert resolve(f"kaggle://{PATH}", sha256=pin) == first, "the newest is another one, and the pinned one is here"
    with pytest.raises(IntegrityError, match="received .*\n.*" + pin[::-1]):
        resolve(f"kaggle://{PATH}", sha256=pin[::-1])
    go_offline(kaggle, monkeypatch)
    assert resolve(f"kaggle://{PATH}", sha256=pin) == first


def test_a_newer_cached_version_does_not_replace_the_pinned_one(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pin = hashlib.sha256(tar_gz()).hexdigest()
    kaggle.publish(PATH, 2, tar_gz())
    first = resolve(f"kaggle://{PATH}", sha256=pin)
    resolve(kaggle.publish(PATH, 3, tar_gz(NEW)))
    assert resolve(f"kaggle://{PATH}", sha256=pin) == first and "is served from the cache" in caplog.text
    go_offline(kaggle, monkeypatch)
    assert resolve(f"kaggle://{PATH}", sha256=pin) == first
    found = find_cached(rules.match_rule(Request.parse(f"kaggle://{PATH}", sha256=pin)))
    assert found and found.path == first
    assert files_in(resolve(f"kaggle://{PATH}")) == NEW
    with pytest.raises(IntegrityError, match=f"pinned {pin[::-1]}"):
        find_cached(rules.match_rule(Request.parse(f"kaggle://{PATH}", sha256=pin[::-1])))


def test_lock_sees_that_there_is_a_newer_version_than_the_pinned_one(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    pins_of = {version: hashlib.sha256(archive).hexdigest() for version, archive in ((2, tar_gz()), (3, tar_gz(NEW)))}
    kaggle.publish(PATH, 2, tar_gz())
    Path(FILE_NAME).write_text(f'[models.m]\nhandle = "kaggle://{PATH}"\n')
    assert run_cli("lock")[:2][0] == 0 and pins_of[2] in Path(FILE_NAME).read_text()
    assert run_cli("lock", "--check")[0] == 0
    old = resolve("m")
    kaggle.publish(PATH, 3, tar_gz(NEW))
    put_kagglehub_copy(3)
    for arguments in (["lock"], ["lock", "--check"]):
        code, out, _ = run_cli(*arguments)
        assert code == 8 and out.startswith("changed") and f"upstream  {pins_of[3]}" in out
    assert resolve("m") == old
    go_offline(kaggle, monkeypatch)
    code, out, _ = run_cli("lock", "--check")
    assert code == OfflineError.exit_code and out.startswith("failed")


def test_where_the_newest_cannot_be_fetched_a_mirror_with_the_pinned_one_is_used(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Origin
) -> None:
    monkeypatch.chdir(tmp_path)
    pin, mirror = hashlib.sha256(tar_gz()).hexdigest(), origin.put("/mirror.tgz", tar_gz())
    mirrors = f'["{origin.url}/gone.tgz", "{mirror}"]'
    Path(FILE_NAME).write_text(f'[models.m]\nhandle = "kaggle://{PATH}"\nsha256 = "{pin}"\nmirrors = {mirrors}\n')
    kaggle.publish(PATH, 3, tar_gz(NEW))
    with pytest.raises(IntegrityError):
        resolve("m")
    assert origin.requests == [], "other bytes than are pinned are news for a person"
    with monkeypatch.context() as patch:
        break_newest(kaggle, patch)
        path = resolve("m")
    assert files_in(path) == MODEL and path.endswith(entry_name_for_key(mirror)), (
        "what is pinned came under the key of version 3"
    )
    go_offline(kaggle, monkeypatch)
    assert resolve("m") == cached_model_path("m") == path and origin.requests == ["/gone.tgz", "/mirror.tgz"]
    Path(f"{path}/saved_model.pb").unlink()
    with pytest.raises(OfflineError, match="all mirrors failed"):
        resolve("m")


def test_an_override_of_the_version_that_is_the_newest_counts(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = put_model(tmp_path / "mine")
    set_model_cache(kaggle.publish(PATH, 2, tar_gz()), mine)
    assert resolve(f"kaggle://{PATH}") == str(mine) and kaggle.list_requests() == [f"{PATH}/get"]
    go_offline(kaggle, monkeypatch)
    assert resolve(f"kaggle://{PATH}") == str(mine)
    upstream = plan_archive(Handle.parse(f"kaggle://{PATH}"))
    assert find_cached(upstream) is None, "lock pins what is upstream, not an override"


def test_an_extra_root_is_used_where_kaggle_fails(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, cache_dir: Path, tmp_path: Path
) -> None:
    resolve(kaggle.publish(PATH, 2, tar_gz()))
    cache_dir.rename(tmp_path / "baked")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "baked"))
    go_offline(kaggle, monkeypatch)
    assert resolve(f"kaggle://{PATH}") == f"{tmp_path}/baked/{entry_name_for_key(f'{KEY}/2')}"


def test_a_bucket_is_used_where_kaggle_fails(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="pip install 'tfimm_resolver[gs]'")
    monkeypatch.setenv("TFHUB_CACHE_DIR", f"memory://bucket/{os.urandom(4).hex()}")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "one"))
    resolve(kaggle.publish(PATH, 2, tar_gz()))
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "two"))
    disconnect(kaggle, monkeypatch)
    path = resolve(f"kaggle://{PATH}")
    assert files_in(path) == MODEL and path.startswith(f"{tmp_path}/two/")


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"versionNumber": "3"}', b'{"versionNumber": 0}', b'{"versionNumber": true}', b"[" * 10000,
     b'{"versionNumber": 3000000000}', b'{"versionNumber": "../../etc"}', b"<html><body>Please log in</body></html>"],
)  # fmt: skip
def test_an_answer_that_names_no_version_is_an_error(answer: bytes, kaggle: Kaggle, cache_dir: Path) -> None:
    kaggle.api.put(f"/api/v1/models/{PATH}/get", answer)
    with pytest.raises(FetchError) as caught:
        resolve(f"kaggle://{PATH}")
    assert "did not return the newest version" in caught.value.text and f"{PATH}/1" in caught.value.fix
    assert ("HTML page: 'Please log in'" in caught.value.text) == answer.startswith(b"<html")
    assert not cache_dir.exists()


@pytest.mark.parametrize("start", [b"", b"<!-- v2 -->\n", b"\xef\xbb\xbf<?xml version='1.0'?>"])
def test_a_page_where_an_archive_was_expected_is_an_error(start: bytes, kaggle: Kaggle, cache_dir: Path) -> None:
    page = start + b"<!doctype html><title>Kaggle</title>Please log in"
    kaggle.api.put(f"/api/v1/models/{PATH}/1/download", page)
    with pytest.raises(ArchiveError) as caught:
        resolve(f"kaggle://{PATH}/1")
    assert "HTML page: 'Kaggle Please log in'" in str(caught.value) and "requested without credentials" in str(caught.value)
    assert "Open https://www.kaggle.com/models/google/nnlm:" in caught.value.fix and os.listdir(cache_dir) == []


def test_an_archive_with_a_member_that_is_named_like_a_page_is_not_taken_for_one(kaggle: Kaggle) -> None:
    kaggle.publish(PATH, 1, tar_gz({"../an HTML page": b"x"}))
    with pytest.raises(ArchiveError, match="an HTML page") as caught:
        resolve(f"kaggle://{PATH}/1")
    assert "Open " not in caught.value.fix and "requested" not in caught.value.text


# Credentials


def set_token(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", value)


def set_token_file(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "a file").write_text(f"{value}\n")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(home / "a file"))


def write_access_token(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".kaggle").mkdir(exist_ok=True)
    (home / ".kaggle/access_token").write_text(f"\n{value}\n")


def write_access_token_txt(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".kaggle").mkdir(exist_ok=True)
    (home / ".kaggle/access_token.txt").write_text(f"{value}\r\n")


def set_key(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    monkeypatch.setenv("KAGGLE_KEY", value)


def write_config(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config").mkdir()
    (home / "config/kaggle.json").write_text(json.dumps({"username": "ada", "key": value}))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", "~/config")


def write_kaggle_json(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".kaggle").mkdir(exist_ok=True)
    (home / ".kaggle/kaggle.json").write_text(json.dumps({"username": "ada", "key": value, "more": 1}))


def enter_notebook(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "notebook").write_text(value)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setenv("KAGGLE_API_V1_TOKEN", str(home / "notebook"))


SOURCES = {
    "notebook": (enter_notebook, "Bearer"),
    "KAGGLE_API_TOKEN": (set_token, "Bearer"),
    "access_token": (write_access_token, "Bearer"),
    "access_token.txt": (write_access_token_txt, "Bearer"),
    "KAGGLE_USERNAME and KAGGLE_KEY": (set_key, "Basic"),
    "config/kaggle.json": (write_config, "Basic"),
    ".kaggle/kaggle.json": (write_kaggle_json, "Basic"),
}


@pytest.mark.parametrize("first", range(len(SOURCES)))
def test_the_first_credentials_in_kagglehubs_order_are_sent_to_kaggle_only(
    first: int, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for number, (put, _) in enumerate(list(SOURCES.values())[first:], first):
        put(f"secret{number}", Path.home(), monkeypatch)
    pair = base64.b64encode(f"ada:secret{first}".encode()).decode()
    expected = f"Bearer secret{first}" if list(SOURCES.values())[first][1] == "Bearer" else f"Basic {pair}"
    kaggle.members.add(expected)
    kaggle.publish(PATH, 1, tar_gz(), requires_consent=True)
    assert files_in(resolve(f"kaggle://{PATH}")) == MODEL
    assert kaggle.get_authorizations(kaggle.api) == {expected} and kaggle.get_authorizations(kaggle.storage) == {None}
    assert b"secret" not in read_all(cache_dir) and "secret" not in caplog.text and pair not in caplog.text


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("status", [401, 403])
def test_the_error_for_denied_access_names_the_credentials_and_where_to_consent(
    name: str, status: int, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    put, kind = SOURCES[name]
    put("secret0123", Path.home(), monkeypatch)
    kaggle.known |= {"Bearer secret0123", BASIC} if status == 403 else set()
    handle = kaggle.publish(PATH, 1, tar_gz(), requires_consent=True)
    with pytest.raises(AccessError) as caught:
        resolve(handle)
    error = caught.value
    assert f" {status} " in error.text and name in error.text.splitlines()[-1] and error.status == status
    assert "requested with the credentials of" in error.text and "Open https://www.kaggle.com/models/google/nnlm," in error.fix
    output = "".join(traceback.format_exception(error))
    assert "secret0123" not in output and BASIC not in output and os.listdir(cache_dir) == [] and kind


def test_without_credentials_the_error_says_where_to_get_some(kaggle: Kaggle) -> None:
    handle = kaggle.publish(PATH, 1, tar_gz(), requires_consent=True)
    for text in (handle, f"kaggle://{PATH}"):
        with pytest.raises(AccessError) as caught:
            resolve(text)
        assert "requested without credentials" in caught.value.text and "was denied" in caught.value.text
        assert "https://www.kaggle.com/settings/api" in caught.value.fix and "KAGGLE_API_TOKEN" in caught.value.fix


def test_credentials_do_not_follow_a_redirect_to_another_port_of_the_same_host(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.storage.put("/m.tar.gz", tar_gz())
    kaggle.api.put(f"/api/v1/models/{PATH}/1/download", b"", answer_with(302, b"", Location=f"{kaggle.storage.url}/m.tar.gz"))
    assert files_in(resolve(f"kaggle://{PATH}/1")) == MODEL
    assert kaggle.get_authorizations(kaggle.api) == {BEARER} and kaggle.get_authorizations(kaggle.storage) == {None}


def test_credentials_are_not_sent_to_a_storage_that_supports_ranges_either(member: Kaggle) -> None:
    assert files_in(resolve(member.publish(PATH, 1, faults.archive()))) == faults.files()
    assert member.get_authorizations(member.storage) == {None} and len(member.storage.requests) == faults.RANGES


def test_kaggles_credentials_take_precedence_over_netrc(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login bob password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.known.add(BEARER)
    resolve(kaggle.publish(PATH, 1, tar_gz()))
    assert kaggle.get_authorizations(kaggle.api) == {BEARER}


def test_a_name_without_a_key_or_an_empty_token_means_anonymous(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    write_access_token(" ", Path.home(), monkeypatch)
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(Path.home() / ".kaggle/access_token"))
    resolve(kaggle.publish(PATH, 1, tar_gz()))
    assert kaggle.get_authorizations(kaggle.api) == {None}


def test_a_long_token_is_not_taken_for_a_path(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "x" * 5000)
    kaggle.known.add("Bearer " + "x" * 5000)
    assert resolve(kaggle.publish(PATH, 1, tar_gz()))


@pytest.mark.parametrize("token", ["a b", "a\nb", "ä", "a\x7f"])
def test_the_error_for_an_invalid_token_does_not_show_it(token: str, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", f"secret{token}")
    with pytest.raises(AccessError, match="KAGGLE_API_TOKEN is not a token") as caught:
        resolve(kaggle.publish(PATH, 1, tar_gz()))
    assert "secret" not in "".join(traceback.format_exception(caught.value)) and kaggle.api.requests == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"username": "ada"}', '{"username": "ada", "key": 1}', "[" * 10000, "\xff"])
def test_a_file_without_credentials_is_an_error(text: str, kaggle: Kaggle) -> None:
    (Path.home() / ".kaggle").mkdir()
    (Path.home() / ".kaggle/kaggle.json").write_text(text, encoding="latin-1")
    with pytest.raises(AccessError, match=r"kaggle\.json does not hold credentials for Kaggle"):
        resolve(kaggle.publish(PATH, 1, tar_gz()))


@pytest.mark.parametrize("url", ["www.kaggle.com", "ftp://h", "http://", "http://h:x", "http://ada:secret@h", "http://h?a=b"])
def test_an_invalid_address_of_kaggle_is_an_error(url: str, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    monkeypatch.setenv("TFIMM_KAGGLE_URL", url)
    for text in (f"kaggle://{PATH}/1", f"kaggle://{PATH}"):
        with pytest.raises(HandleError, match="TFIMM_KAGGLE_URL") as caught:
            resolve(text)
        assert "secret" not in str(caught.value)
    assert not cache_dir.exists() or os.listdir(cache_dir) == []


# Copies of other tools


def put_kagglehub_copy(version: int, folder: str = "tensorFlow2", *, is_complete: bool = True) -> Path:
    """Put a model where kagglehub 1.0 keeps it."""
    parent = Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache/kagglehub") / "models/google/nnlm" / folder
    path = Path(put_model(parent / "en-dim50" / str(version)))
    if is_complete:
        path.with_name(f"{version}.complete").touch()
    return path


@pytest.mark.parametrize("folder", ["tensorFlow2", "TensorFlow2", "tensorflow2"])
@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_a_complete_model_of_kagglehub_is_used_in_place(
    folder: str, is_elsewhere: bool, kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    if is_elsewhere:
        monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "elsewhere"))
    path = put_kagglehub_copy(3, folder)
    assert {resolve(text) for text in VERSIONED} == {str(path)}
    assert kaggle.api.requests == [] and not cache_dir.exists()


def test_an_incomplete_or_damaged_copy_of_kagglehub_is_fetched(kaggle: Kaggle, cache_dir: Path) -> None:
    put_kagglehub_copy(1, is_complete=False)
    (put_kagglehub_copy(2) / "saved_model.pb").unlink()
    for version in (1, 2):
        assert resolve(kaggle.publish(PATH, version, tar_gz())).startswith(str(cache_dir))


def test_a_pinned_model_is_fetched_even_if_kagglehub_has_it(kaggle: Kaggle) -> None:
    put_kagglehub_copy(1)
    handle = kaggle.publish(PATH, 1, tar_gz())
    assert files_in(resolve(handle, sha256=hashlib.sha256(tar_gz()).hexdigest())) == MODEL


def test_the_newest_local_copy_is_used_where_kaggle_fails(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(kaggle.publish(PATH, 2, tar_gz()))
    path = put_kagglehub_copy(3)
    put_kagglehub_copy(4, is_complete=False)
    go_offline(kaggle, monkeypatch)
    assert resolve(f"kaggle://{PATH}") == str(path)


@pytest.mark.parametrize(
    "layout", ["models/google/nnlm/tensorflow2/en-dim50", "nnlm/tensorflow2/en-dim50", "nnlm/TensorFlow2/en-dim50"]
)
def test_a_mounted_model_is_used_in_place(
    layout: str, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KAGGLE_CACHE_MOUNT_FOLDER", str(tmp_path / "input"))
    path = put_model(tmp_path / "input" / layout / "3")
    assert {resolve(text) for text in VERSIONED} == {str(path)} and kaggle.api.requests == []
    assert caplog.text.count("does not name the model's owner") == (not layout.startswith("models/")), (
        "once, and only for those"
    )
    assert resolve(kaggle.publish(PATH, 4, tar_gz())) != str(path)


@pytest.mark.parametrize("value", ["true", "1", "T"])
@pytest.mark.parametrize("layout", ["models/google/nnlm/tensorflow2/en-dim50", "nnlm/tensorflow2/en-dim50"])
def test_a_mounted_model_is_not_used_if_kagglehub_would_not_use_it(
    layout: str, value: str, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_dir: Path
) -> None:
    monkeypatch.setenv("KAGGLE_CACHE_MOUNT_FOLDER", str(tmp_path / "input"))
    path = put_model(tmp_path / "input" / layout / "3")
    handle = kaggle.publish(PATH, 3, tar_gz())
    monkeypatch.setenv("DISABLE_KAGGLE_CACHE", value)
    assert resolve(handle).startswith(str(cache_dir))
    monkeypatch.setenv("DISABLE_KAGGLE_CACHE", "false")
    assert resolve(handle) == str(path)
    monkeypatch.setenv("DISABLE_KAGGLE_CACHE", value)
    copy = put_kagglehub_copy(3)
    assert resolve(handle) == str(copy), "kagglehub's downloads are not meant"


def test_a_mounted_model_of_another_owner_is_not_used(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_dir: Path
) -> None:
    monkeypatch.setenv("KAGGLE_CACHE_MOUNT_FOLDER", str(tmp_path / "input"))
    put_model(tmp_path / "input/models/mallory/nnlm/tensorflow2/en-dim50/3")
    assert resolve(kaggle.publish(PATH, 3, tar_gz())).startswith(str(cache_dir))


# The rest of the package


def test_uncompressed_the_model_is_read_from_the_bucket_that_kaggle_names(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    handle = kaggle.publish(PATH, 1, tar_gz())
    assert files_in(resolve(handle)) == MODEL, "where it does not say so, the model is downloaded"
    kaggle.api.put(f"/models/{PATH}/1?tf-hub-format=uncompressed", b"", answer_with(303, b"gs://bucket/nnlm/1"))
    assert resolve(handle) == "gs://bucket/nnlm/1"


def test_the_command_line_resolves_verifies_repairs_and_removes(
    kaggle: Kaggle, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kaggle.publish(PATH, 1, tar_gz())
    assert main(["resolve", f"{KEY}/1?tfhub-redirect=true"]) == 0
    path = Path(capsys.readouterr().out.strip())
    (path / "saved_model.pb").unlink()
    assert main(["verify", "--repair", f"kaggle://{PATH}/1"]) == 0 and files_in(path) == MODEL
    assert main(["rm", f"{KEY.replace('tensorFlow2', 'TensorFlow2')}/1"]) == 0 and os.listdir(cache_dir) == []
    assert main(["resolve", "kaggle://google/nnlm"]) == 2
    kaggle.api.put(f"/api/v1/models/{PATH}/get", b"", answer_with(404, b"{}"))
    capsys.readouterr()
    assert main(["resolve", f"kaggle://{PATH}"]) == 3
    assert isinstance(ResolverError("x"), Exception) and "404" in capsys.readouterr().err


def test_a_version_that_does_not_exist_is_an_error(kaggle: Kaggle) -> None:
    with pytest.raises(NotFoundError, match="spelling of the handle and its version"):
        resolve(f"kaggle://{PATH}/7")


def test_neither_a_hit_nor_a_local_copy_loads_network_code(kaggle: Kaggle) -> None:
    from tests.fakes.light_start import HEAVY

    resolve(kaggle.publish(PATH, 1, tar_gz()))
    put_kagglehub_copy(2)
    for version in (1, 2):
        code = f"import sys, tfimm_resolver; tfimm_resolver.resolve('kaggle://{PATH}/{version}'); print(*sys.modules)"
        loaded = set(run(code, TFIMM_RESOLVER_OFFLINE="1").split())
        assert loaded.isdisjoint({*HEAVY, "kagglehub"})


def test_a_version_and_the_newest_one_may_be_followed_by_a_subdirectory(kaggle: Kaggle, tmp_path: Path) -> None:
    files = {f"export/{version}/{name}": data for version in ("1", "2") for name, data in MODEL.items()}
    handle = kaggle.publish(PATH, 1, tar_gz(files))
    path = resolve(handle)
    assert path.endswith("/export/2") and resolve(f"{handle}#subdirectory=export/1") == f"{path[:-2]}/1"
    assert resolve(f"kaggle://{PATH}#subdirectory=export/1") == f"{path[:-2]}/1"
    with pytest.raises(NotFoundError, match="has no directory 1"):
        bundles.export([f"kaggle://{PATH}#subdirectory=1"], tmp_path / "b.tar")
    assert len(bundles.export([f"kaggle://{PATH}#subdirectory=export"], tmp_path / "b.tar").models) == 1


def test_a_copy_of_kagglehub_whose_model_lies_deeper_is_used_in_place(kaggle: Kaggle) -> None:
    path = put_kagglehub_copy(3)
    put_model(path / "export" / "1")
    for name in MODEL:
        (path / name).unlink()
    (path / "variables").rmdir()
    assert {resolve(text) for text in VERSIONED} == {f"{path}/export/1"} and kaggle.api.requests == []
