"""Models on Kaggle: their spellings, how they come, with whose credentials, and what others have put here already."""

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

from tests import faults
from tests.archives import MODEL, files_in, tar_gz
from tests.faults.origin import Fault, Reply, gone, on_range_at, says
from tests.kaggle import Kaggle
from tests.origin import Origin
from tests.processes import run
from tests.test_cli import ran
from tests.test_names import put_model
from tfimm_resolver import cached_model_path, resolve, set_model_cache
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
from tfimm_resolver.project.pins import answer_of
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.resolver import find_cached
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
    with Kaggle() as place:
        monkeypatch.setenv("TFIMM_KAGGLE_URL", place.url)
        yield place


def once(fault: Fault) -> Fault:
    """The first request only, whatever address it is for."""
    left = [fault]
    return lambda reply: left.pop()(reply) if left else None


def everything_below(folder: Path) -> bytes:
    """All names and contents, for a look at what should not be there."""
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


def test_every_spelling_finds_what_one_of_them_brought(kaggle: Kaggle, cache_dir: Path) -> None:
    path = resolve(kaggle.publish(PATH, 3, tar_gz()))
    assert path == f"{cache_dir}/{entry_name_for_key(f'{KEY}/3')}" and files_in(path) == MODEL
    assert {resolve(text) for text in VERSIONED} == {path}
    assert kaggle.asked() == [f"{PATH}/3/download"] and kaggle.heard(kaggle.api) == {None}


def test_an_override_counts_for_every_spelling(tmp_path: Path) -> None:
    set_model_cache(VERSIONED[-1], put_model(tmp_path / "m"))
    assert {resolve(text) for text in VERSIONED} == {f"{tmp_path}/m"}


@pytest.mark.parametrize("page", ["datasets/a/b", "modelsof/a/b/c/d/1", "code/a/b", ""])
def test_other_pages_of_kaggle_are_none_of_its_models(page: str) -> None:
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
def test_a_handle_that_names_no_variation_is_told_the_right_form(text: str, kaggle: Kaggle, cache_dir: Path) -> None:
    with pytest.raises(HandleError) as caught:
        resolve(text)
    assert text in caught.value.text and "kaggle://OWNER/MODEL/FRAMEWORK/VARIATION[/VERSION]" in caught.value.fix
    assert kaggle.api.asked == [] and not cache_dir.exists()


def test_a_signed_address_reaches_neither_disk_nor_log(
    kaggle: Kaggle, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tfimm_resolver")
    resolve(kaggle.publish(PATH, 1, tar_gz(), once(says(503, b"later"))))
    assert "later" in caplog.text and "signature" not in caplog.text
    assert b"signature" not in everything_below(cache_dir)
    record = json.loads(next(cache_dir.glob("*.txt")).read_text().partition("\n\n")[2])
    assert record["origin"]["url"] == f"{kaggle.storage_url}/{PATH}/1/archive.tar.gz"


@pytest.fixture
def member(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> Kaggle:
    """Kaggle, with credentials that are accepted, for models that want them, which come in small ranges."""
    monkeypatch.setattr("tfimm_resolver.transfer.download.RANGE_BYTES", faults.RANGE_BYTES)
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.members.add(BEARER)
    return kaggle


def only_its_first_connection(member: Kaggle) -> Fault:
    """A signed address that has run out for whoever comes later, and is slow."""

    def fault(reply: Reply) -> None:
        reply.pause_s = 0.02
        if reply.asked.path.endswith("signature0") and reply.asked.connection != member.storage.asked[0].connection:
            reply.say(403, b"expired")

    return fault


def test_a_signed_address_is_asked_for_anew_where_it_has_run_out(member: Kaggle) -> None:
    handle = member.publish(PATH, 1, faults.archive(), only_its_first_connection(member), wants_consent=True)
    assert files_in(resolve(handle)) == faults.files()
    assert len(member.asked()) > 1, "the interface is asked again, and knows again who asks"
    assert member.heard(member.api) == {BEARER} and member.heard(member.storage) == {None}


def test_who_asks_is_known_also_where_ranges_are_of_no_use(member: Kaggle) -> None:
    handle = member.publish(PATH, 1, faults.archive(), wants_consent=True, etag=None, modified=None)
    assert files_in(resolve(handle)) == faults.files() and member.heard(member.api) == {BEARER}


def test_who_asks_is_known_also_when_another_archive_has_taken_the_place(member: Kaggle, cache_dir: Path) -> None:
    handle = member.publish(PATH, 1, faults.archive(), on_range_at(4 * faults.RANGE_BYTES, gone), wants_consent=True)
    with pytest.raises(FetchError):
        resolve(handle)
    assert [*cache_dir.glob("*.parts")]
    member.publish(PATH, 1, faults.archive(), wants_consent=True, etag='"two"')
    assert files_in(resolve(handle)) == faults.files() and member.heard(member.api) == {BEARER}


def test_a_refusal_by_the_storage_is_not_laid_to_the_credentials(kaggle: Kaggle) -> None:
    handle = kaggle.publish(PATH, 1, tar_gz(), says(403, b"<Error>AccessDenied</Error>"))
    with pytest.raises(AccessError) as caught:
        resolve(handle)
    assert "localhost" in str(caught.value) and "consent" not in str(caught.value)
    assert "signature" not in "".join(traceback.format_exception(caught.value))


def test_eight_processes_make_one_download(kaggle: Kaggle) -> None:
    from tests.processes import start

    handle = kaggle.publish(PATH, 1, tar_gz())
    code = "import sys, tfimm_resolver; print(tfimm_resolver.resolve(sys.argv[1]))"
    processes = [start(code, handle) for _ in range(8)]
    paths = set()
    for process in processes:
        with process:
            paths.add(process.communicate(timeout=120)[0])
    assert len(paths) == 1 and kaggle.asked() == [f"{PATH}/1/download"]


# Without a version


def test_without_a_version_the_newest_is_asked_for_at_each_call(kaggle: Kaggle, cache_dir: Path) -> None:
    kaggle.publish(PATH, 3, tar_gz())
    old = resolve(f"kaggle://{PATH}")
    assert (resolve(KEY), kaggle.asked()) == (old, [f"{PATH}/get", f"{PATH}/3/download", f"{PATH}/get"])
    kaggle.publish(PATH, 10, tar_gz(NEW))
    assert files_in(resolve(f"kaggle://{PATH}")) == NEW and files_in(old) == MODEL
    assert sorted(os.listdir(cache_dir)) == sorted(
        entry_name_for_key(f"{KEY}/{version}") + end for version in (3, 10) for end in ("", ".descriptor.txt")
    )


def offline(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")


def out_of_reach(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_KAGGLE_URL", "http://127.0.0.1:9")


def broken(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle.api.put(f"/api/v1/models/{PATH}/get", b"", says(500, b"oh"))


def taken_down(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle.api.put(f"/api/v1/models/{PATH}/get", b"", says(404, b"{}"))


def a_page(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle.api.put(f"/api/v1/models/{PATH}/get", b"<!doctype html><title>Kaggle</title>Log in")


def newest_does_not_come(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle.publish(PATH, 11, tar_gz(NEW), says(500, b"oh"))


def wrong_credentials(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)


FAILURES = (offline, out_of_reach, broken, taken_down, a_page, newest_does_not_come, wrong_credentials)


@pytest.mark.parametrize("failure", FAILURES)
def test_where_kaggle_fails_the_newest_cached_version_serves_with_a_warning(
    failure: object, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for version in (10, 11, 9):  # the order in which they came says nothing
        resolve(kaggle.publish(PATH, version, tar_gz({"saved_model.pb": str(version).encode()})))
    Path(resolve(f"kaggle://{PATH}/11"), "saved_model.pb").unlink()  # what is damaged is no copy
    resolve(kaggle.publish("google/nnlm/tensorFlow2/en-dim128", 12, tar_gz()))
    resolve(kaggle.publish("google/nnlm/tensorFlow1/en-dim50", 13, tar_gz()))
    kaggle.publish(PATH, 9, tar_gz())
    assert callable(failure)
    failure(kaggle, monkeypatch)
    assert files_in(resolve(f"kaggle://{PATH}")) == {"saved_model.pb": b"10"}
    assert f"kaggle://{PATH} is served from the cache, as {KEY}/10: " in caplog.text


@pytest.mark.parametrize("failure", FAILURES)
def test_where_kaggle_fails_and_nothing_is_cached_the_failure_is_told(
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
    offline(kaggle, monkeypatch)
    with pytest.raises(OfflineError):
        resolve(f"kaggle://{PATH}", refresh=True)


def test_a_pin_holds_for_the_newest_and_for_what_serves_in_its_stead(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    pin = hashlib.sha256(tar_gz()).hexdigest()
    kaggle.publish(PATH, 1, tar_gz())
    first = resolve(f"kaggle://{PATH}#sha256={pin}")
    kaggle.publish(PATH, 2, tar_gz(NEW))
    assert resolve(f"kaggle://{PATH}", sha256=pin) == first, "the newest is another one, and the pinned one is here"
    with pytest.raises(IntegrityError, match="came .*\n.*" + pin[::-1]):
        resolve(f"kaggle://{PATH}", sha256=pin[::-1])
    offline(kaggle, monkeypatch)
    assert resolve(f"kaggle://{PATH}", sha256=pin) == first


def test_a_newer_version_that_somebody_fetched_does_not_take_the_place_of_the_pinned_one(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pin = hashlib.sha256(tar_gz()).hexdigest()
    kaggle.publish(PATH, 2, tar_gz())
    pinned = Handle.parse(f"kaggle://{PATH}", sha256=pin)
    first = resolve(f"kaggle://{PATH}", sha256=pin)
    resolve(kaggle.publish(PATH, 3, tar_gz(NEW)))
    assert resolve(f"kaggle://{PATH}", sha256=pin) == first and "is served from the cache" in caplog.text
    offline(kaggle, monkeypatch)
    assert resolve(f"kaggle://{PATH}", sha256=pin) == first
    found = find_cached(rules.match_rule(pinned))
    assert found and found.path == first
    assert files_in(resolve(f"kaggle://{PATH}")) == NEW
    with pytest.raises(IntegrityError, match=f"pinned {pin[::-1]}"):
        find_cached(rules.match_rule(Handle.parse(f"kaggle://{PATH}", sha256=pin[::-1])))


def test_lock_sees_that_there_is_a_newer_version_than_the_pinned_one(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    pins_of = {version: hashlib.sha256(archive).hexdigest() for version, archive in ((2, tar_gz()), (3, tar_gz(NEW)))}
    kaggle.publish(PATH, 2, tar_gz())
    Path(FILE_NAME).write_text(f'[models.m]\nhandle = "kaggle://{PATH}"\n')
    assert ran("lock")[:2][0] == 0 and pins_of[2] in Path(FILE_NAME).read_text()
    assert ran("lock", "--check")[0] == 0
    old = resolve("m")
    kaggle.publish(PATH, 3, tar_gz(NEW))
    kagglehubs(3)
    for arguments in (["lock"], ["lock", "--check"]):
        code, out, _ = ran(*arguments)
        assert code == 8 and out.startswith("changed") and f"upstream  {pins_of[3]}" in out
    assert resolve("m") == old
    offline(kaggle, monkeypatch)
    code, out, _ = ran("lock", "--check")
    assert code == OfflineError.exit_code and out.startswith("failed")


def test_where_kaggle_cannot_say_the_newest_a_mirror_with_the_pinned_one_helps(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Origin
) -> None:
    monkeypatch.chdir(tmp_path)
    pin, mirror = hashlib.sha256(tar_gz()).hexdigest(), origin.put("/mirror.tgz", tar_gz())
    mirrors = f'["{origin.url}/gone.tgz", "{mirror}"]'
    Path(FILE_NAME).write_text(f'[models.m]\nhandle = "kaggle://{PATH}"\nsha256 = "{pin}"\nmirrors = {mirrors}\n')
    kaggle.publish(PATH, 3, tar_gz(NEW))
    with pytest.raises(IntegrityError):
        resolve("m")
    assert origin.asked == [], "other bytes than are pinned are news for a person"
    with monkeypatch.context() as patch:
        newest_does_not_come(kaggle, patch)
        path = resolve("m")
    assert files_in(path) == MODEL and path.endswith(entry_name_for_key(mirror)), (
        "what is pinned came under the key of version 3"
    )
    offline(kaggle, monkeypatch)
    assert resolve("m") == cached_model_path("m") == path and origin.asked == ["/gone.tgz", "/mirror.tgz"]
    Path(f"{path}/saved_model.pb").unlink()
    with pytest.raises(OfflineError, match="no mirror helped"):
        resolve("m")


def test_an_override_of_the_version_that_is_the_newest_counts(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mine = put_model(tmp_path / "mine")
    set_model_cache(kaggle.publish(PATH, 2, tar_gz()), mine)
    assert resolve(f"kaggle://{PATH}") == str(mine) and kaggle.asked() == [f"{PATH}/get"]
    offline(kaggle, monkeypatch)
    assert resolve(f"kaggle://{PATH}") == str(mine)
    upstream = answer_of(Handle.parse(f"kaggle://{PATH}"))
    assert find_cached(upstream) is None, "what lock pins is not what somebody has put in its place"


def test_what_an_extra_root_has_serves_where_kaggle_fails(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, cache_dir: Path, tmp_path: Path
) -> None:
    resolve(kaggle.publish(PATH, 2, tar_gz()))
    cache_dir.rename(tmp_path / "baked")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "baked"))
    offline(kaggle, monkeypatch)
    assert resolve(f"kaggle://{PATH}") == f"{tmp_path}/baked/{entry_name_for_key(f'{KEY}/2')}"


def test_what_a_bucket_has_serves_where_kaggle_fails(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="pip install 'tfimm_resolver[gs]'")
    monkeypatch.setenv("TFHUB_CACHE_DIR", f"memory://bucket/{os.urandom(4).hex()}")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "one"))
    resolve(kaggle.publish(PATH, 2, tar_gz()))
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "two"))
    out_of_reach(kaggle, monkeypatch)
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
    assert "does not say the newest version" in caught.value.text and f"{PATH}/1" in caught.value.fix
    assert ("HTML page: 'Please log in'" in caught.value.text) == answer.startswith(b"<html")
    assert not cache_dir.exists()


def test_a_page_where_an_archive_was_expected_is_told(kaggle: Kaggle, cache_dir: Path) -> None:
    kaggle.api.put(f"/api/v1/models/{PATH}/1/download", b"<!doctype html><title>Kaggle</title>Please log in")
    with pytest.raises(ArchiveError) as caught:
        resolve(f"kaggle://{PATH}/1")
    assert "HTML page: 'Kaggle Please log in'" in str(caught.value) and "asked without credentials" in str(caught.value)
    assert "Open https://www.kaggle.com/models/google/nnlm:" in caught.value.fix and os.listdir(cache_dir) == []


# Credentials


def say_token(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", value)


def say_token_file(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "a file").write_text(f"{value}\n")
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(home / "a file"))


def write_access_token(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".kaggle").mkdir(exist_ok=True)
    (home / ".kaggle/access_token").write_text(f"\n{value}\n")


def write_access_token_txt(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".kaggle").mkdir(exist_ok=True)
    (home / ".kaggle/access_token.txt").write_text(f"{value}\r\n")


def say_key(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    monkeypatch.setenv("KAGGLE_KEY", value)


def write_config(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "config").mkdir()
    (home / "config/kaggle.json").write_text(json.dumps({"username": "ada", "key": value}))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", "~/config")


def write_kaggle_json(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".kaggle").mkdir(exist_ok=True)
    (home / ".kaggle/kaggle.json").write_text(json.dumps({"username": "ada", "key": value, "more": 1}))


def be_in_a_notebook(value: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "notebook").write_text(value)
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setenv("KAGGLE_API_V1_TOKEN", str(home / "notebook"))


SOURCES = {
    "notebook": (be_in_a_notebook, "Bearer"),
    "KAGGLE_API_TOKEN": (say_token, "Bearer"),
    "access_token": (write_access_token, "Bearer"),
    "access_token.txt": (write_access_token_txt, "Bearer"),
    "KAGGLE_USERNAME and KAGGLE_KEY": (say_key, "Basic"),
    "config/kaggle.json": (write_config, "Basic"),
    ".kaggle/kaggle.json": (write_kaggle_json, "Basic"),
}


@pytest.mark.parametrize("first", range(len(SOURCES)))
def test_the_first_credentials_in_kagglehubs_order_are_shown_to_kaggle_only(
    first: int, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for number, (put, _) in enumerate(list(SOURCES.values())[first:], first):
        put(f"secret{number}", Path.home(), monkeypatch)
    pair = base64.b64encode(f"ada:secret{first}".encode()).decode()
    expected = f"Bearer secret{first}" if list(SOURCES.values())[first][1] == "Bearer" else f"Basic {pair}"
    kaggle.members.add(expected)
    kaggle.publish(PATH, 1, tar_gz(), wants_consent=True)
    assert files_in(resolve(f"kaggle://{PATH}")) == MODEL
    assert kaggle.heard(kaggle.api) == {expected} and kaggle.heard(kaggle.storage) == {None}
    assert b"secret" not in everything_below(cache_dir) and "secret" not in caplog.text and pair not in caplog.text


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("status", [401, 403])
def test_who_is_refused_learns_which_credentials_were_used_and_where_consent_is_given(
    name: str, status: int, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    put, kind = SOURCES[name]
    put("secret0123", Path.home(), monkeypatch)
    kaggle.known |= {"Bearer secret0123", BASIC} if status == 403 else set()
    handle = kaggle.publish(PATH, 1, tar_gz(), wants_consent=True)
    with pytest.raises(AccessError) as caught:
        resolve(handle)
    error = caught.value
    assert f" {status} " in error.text and name in error.text.splitlines()[-1] and error.status == status
    assert "asked with the credentials of" in error.text and "Open https://www.kaggle.com/models/google/nnlm," in error.fix
    shown = "".join(traceback.format_exception(error))
    assert "secret0123" not in shown and BASIC not in shown and os.listdir(cache_dir) == [] and kind


def test_who_has_no_credentials_learns_where_to_get_some(kaggle: Kaggle) -> None:
    handle = kaggle.publish(PATH, 1, tar_gz(), wants_consent=True)
    for text in (handle, f"kaggle://{PATH}"):
        with pytest.raises(AccessError) as caught:
            resolve(text)
        assert "asked without credentials" in caught.value.text and "was denied" in caught.value.text
        assert "https://www.kaggle.com/settings/api" in caught.value.fix and "KAGGLE_API_TOKEN" in caught.value.fix


def test_credentials_do_not_follow_a_redirect_to_another_port_of_the_same_host(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.storage.put("/m.tar.gz", tar_gz())
    kaggle.api.put(f"/api/v1/models/{PATH}/1/download", b"", says(302, b"", Location=f"{kaggle.storage.url}/m.tar.gz"))
    assert files_in(resolve(f"kaggle://{PATH}/1")) == MODEL
    assert kaggle.heard(kaggle.api) == {BEARER} and kaggle.heard(kaggle.storage) == {None}


def test_credentials_reach_no_storage_that_gives_ranges_either(member: Kaggle) -> None:
    assert files_in(resolve(member.publish(PATH, 1, faults.archive()))) == faults.files()
    assert member.heard(member.storage) == {None} and len(member.storage.asked) == faults.RANGES


def test_kaggles_credentials_go_before_netrc(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login bob password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    kaggle.known.add(BEARER)
    resolve(kaggle.publish(PATH, 1, tar_gz()))
    assert kaggle.heard(kaggle.api) == {BEARER}


def test_a_name_without_a_key_and_an_empty_token_are_nobody(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    write_access_token(" ", Path.home(), monkeypatch)
    monkeypatch.setenv("KAGGLE_API_TOKEN", str(Path.home() / ".kaggle/access_token"))
    resolve(kaggle.publish(PATH, 1, tar_gz()))
    assert kaggle.heard(kaggle.api) == {None}


def test_a_long_token_is_no_name_of_a_file(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "x" * 5000)
    kaggle.known.add("Bearer " + "x" * 5000)
    assert resolve(kaggle.publish(PATH, 1, tar_gz()))


@pytest.mark.parametrize("token", ["a b", "a\nb", "ä", "a\x7f"])
def test_a_token_that_is_none_is_told_without_it(token: str, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", f"secret{token}")
    with pytest.raises(AccessError, match="KAGGLE_API_TOKEN holds no token") as caught:
        resolve(kaggle.publish(PATH, 1, tar_gz()))
    assert "secret" not in "".join(traceback.format_exception(caught.value)) and kaggle.api.asked == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"username": "ada"}', '{"username": "ada", "key": 1}', "[" * 10000, "\xff"])
def test_a_file_that_holds_no_credentials_is_told(text: str, kaggle: Kaggle) -> None:
    (Path.home() / ".kaggle").mkdir()
    (Path.home() / ".kaggle/kaggle.json").write_text(text, encoding="latin-1")
    with pytest.raises(AccessError, match=r"kaggle\.json holds no credentials for Kaggle"):
        resolve(kaggle.publish(PATH, 1, tar_gz()))


@pytest.mark.parametrize(
    "place", ["www.kaggle.com", "ftp://h", "http://", "http://h:x", "http://ada:secret@h", "http://h?a=b"]
)
def test_an_address_of_kaggle_that_is_none_is_told(place: str, monkeypatch: pytest.MonkeyPatch, cache_dir: Path) -> None:
    monkeypatch.setenv("TFIMM_KAGGLE_URL", place)
    for text in (f"kaggle://{PATH}/1", f"kaggle://{PATH}"):
        with pytest.raises(HandleError, match="TFIMM_KAGGLE_URL") as caught:
            resolve(text)
        assert "secret" not in str(caught.value)
    assert not cache_dir.exists() or os.listdir(cache_dir) == []


# What others have put here


def kagglehubs(version: int, folder: str = "tensorFlow2", *, is_complete: bool = True) -> Path:
    """A model as kagglehub 1.0 keeps it."""
    parent = Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache/kagglehub") / "models/google/nnlm" / folder
    place = Path(put_model(parent / "en-dim50" / str(version)))
    if is_complete:
        place.with_name(f"{version}.complete").touch()
    return place


@pytest.mark.parametrize("folder", ["tensorFlow2", "TensorFlow2", "tensorflow2"])
@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_a_whole_model_of_kagglehub_is_read_where_it_lies(
    folder: str, is_elsewhere: bool, kaggle: Kaggle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    if is_elsewhere:
        monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "elsewhere"))
    place = kagglehubs(3, folder)
    assert {resolve(text) for text in VERSIONED} == {str(place)}
    assert kaggle.api.asked == [] and not cache_dir.exists()


def test_what_kagglehub_did_not_complete_or_somebody_damaged_is_fetched(kaggle: Kaggle, cache_dir: Path) -> None:
    kagglehubs(1, is_complete=False)
    (kagglehubs(2) / "saved_model.pb").unlink()
    for version in (1, 2):
        assert resolve(kaggle.publish(PATH, version, tar_gz())).startswith(str(cache_dir))


def test_a_pinned_model_is_fetched_even_if_kagglehub_has_it(kaggle: Kaggle) -> None:
    kagglehubs(1)
    handle = kaggle.publish(PATH, 1, tar_gz())
    assert files_in(resolve(handle, sha256=hashlib.sha256(tar_gz()).hexdigest())) == MODEL


def test_the_newest_of_all_that_is_here_serves_where_kaggle_fails(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(kaggle.publish(PATH, 2, tar_gz()))
    place = kagglehubs(3)
    kagglehubs(4, is_complete=False)
    offline(kaggle, monkeypatch)
    assert resolve(f"kaggle://{PATH}") == str(place)


@pytest.mark.parametrize(
    "layout", ["models/google/nnlm/tensorflow2/en-dim50", "nnlm/tensorflow2/en-dim50", "nnlm/TensorFlow2/en-dim50"]
)
def test_a_mounted_model_is_read_where_it_lies(
    layout: str, kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("KAGGLE_CACHE_MOUNT_FOLDER", str(tmp_path / "input"))
    place = put_model(tmp_path / "input" / layout / "3")
    assert {resolve(text) for text in VERSIONED} == {str(place)} and kaggle.api.asked == []
    assert caplog.text.count("does not say whose it is") == (not layout.startswith("models/")), "said once, and only of those"
    assert resolve(kaggle.publish(PATH, 4, tar_gz())) != str(place)


def test_a_mounted_model_of_another_owner_is_not_taken(
    kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_dir: Path
) -> None:
    monkeypatch.setenv("KAGGLE_CACHE_MOUNT_FOLDER", str(tmp_path / "input"))
    put_model(tmp_path / "input/models/mallory/nnlm/tensorflow2/en-dim50/3")
    assert resolve(kaggle.publish(PATH, 3, tar_gz())).startswith(str(cache_dir))


# The rest of the package


def test_uncompressed_kaggle_says_where_in_a_bucket_it_lies(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    handle = kaggle.publish(PATH, 1, tar_gz())
    assert files_in(resolve(handle)) == MODEL, "where it does not say so, the model is downloaded"
    kaggle.api.put(f"/models/{PATH}/1?tf-hub-format=uncompressed", b"", says(303, b"gs://bucket/nnlm/1"))
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
    kaggle.api.put(f"/api/v1/models/{PATH}/get", b"", says(404, b"{}"))
    capsys.readouterr()
    assert main(["resolve", f"kaggle://{PATH}"]) == 3
    assert isinstance(ResolverError("x"), Exception) and "404" in capsys.readouterr().err


def test_a_version_that_is_not_there_is_told(kaggle: Kaggle) -> None:
    with pytest.raises(NotFoundError, match="spelling of the handle and its version"):
        resolve(f"kaggle://{PATH}/7")


def test_neither_a_hit_nor_what_lies_here_loads_the_network(kaggle: Kaggle) -> None:
    from tests.light_start import HEAVY

    resolve(kaggle.publish(PATH, 1, tar_gz()))
    kagglehubs(2)
    for version in (1, 2):
        code = f"import sys, tfimm_resolver; tfimm_resolver.resolve('kaggle://{PATH}/{version}'); print(*sys.modules)"
        loaded = set(run(code, TFIMM_RESOLVER_OFFLINE="1").split())
        assert loaded.isdisjoint({*HEAVY, "kagglehub"})
