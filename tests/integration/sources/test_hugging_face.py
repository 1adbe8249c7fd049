"""Models on Hugging Face, by the real huggingface_hub against a fake server: commits, branches, errors, tokens, bad bytes."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in
from tests.fakes.hugging_face import Handler, HuggingFace, blob_id, make_tree_entry
from tests.fakes.named_models import put_model
from tests.fakes.processes import run, start
from tfimm_resolver import resolve, set_model_cache
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
    TransferTimeoutError,
)
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.sources.hugging_face import plan

pytest.importorskip("huggingface_hub", reason="pip install 'tfimm_resolver[hf]'")

NEW = {"saved_model.pb": b"a newer graph"}
WEIGHTS = "variables/variables.data-00000-of-00001"
TOKEN = "hf_0123456789abcdef"
COMMIT = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def hugging_face(monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFace]:
    """Hugging Face on loopback; HF_ENDPOINT points there."""
    with HuggingFace() as hub_server:
        monkeypatch.setenv("HF_ENDPOINT", hub_server.url)
        yield hub_server


def list_requests(hugging_face: HuggingFace, what: str = "") -> list[str]:
    """Return the requests to the hub, without the library's telemetry on its users."""
    return [line for line in hugging_face.hub.requests if "agent-harnesses" not in line and what in line]


def list_downloads(hugging_face: HuggingFace) -> list[str]:
    """Return the files whose content was requested."""
    small = [line.partition("/resolve/")[2][41:] for line in list_requests(hugging_face, "GET") if "/resolve/" in line]
    return sorted(small + hugging_face.storage.requests)


# Handles


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("hf://o/m", "hf://o/m"),
        ("HF://o/m/", "hf://o/m"),
        ("https://huggingface.co/o/m", "hf://o/m"),
        ("https://HuggingFace.co/o/m/?library=tf", "hf://o/m"),
        ("https://hf.co/o/m", "hf://o/m"),
        ("hf://o/m@main", "hf://o/m"),
        ("https://huggingface.co/o/m/tree/main", "hf://o/m"),
        ("https://huggingface.co/o/m/tree/main/a/b%20c", "hf://o/m/a/b c"),
        ("hf://o/m@v1.0/a/b", "hf://o/m@v1.0/a/b"),
        ("hf://o/m/a/b", "hf://o/m/a/b"),
        ("hf://o/m@v1.0/a/saved_model.pb", "hf://o/m@v1.0/a"),
        ("hf://o/m/saved_model.pbtxt", "hf://o/m"),
        ("https://huggingface.co/o/m/tree/main/a/saved_model.pb", "hf://o/m/a"),
        ("hf://o/m/a#subdirectory=b/1", "hf://o/m/a"),
        ("hf://o/m@feature%2Fx/a", "hf://o/m@feature%2Fx/a"),
        ("https://huggingface.co/o/m/tree/feature%2Fx/a", "hf://o/m@feature%2Fx/a"),
        ("hf://o/m@refs/pr/1/a", "hf://o/m@refs%2Fpr%2F1/a"),
        ("hf://Owner/Model-1.x_y@" + COMMIT.upper(), f"hf://Owner/Model-1.x_y@{COMMIT}"),
        (f"https://huggingface.co/o/m/tree/{COMMIT}/a", f"hf://o/m@{COMMIT}/a"),
    ],
)
def test_every_spelling_of_a_model_has_one_key(text: str, key: str) -> None:
    assert Handle.parse(text).key == key


@pytest.mark.parametrize(
    "page", ["o", "datasets/o", "datasets/o/d", "o/m/blob/main/saved_model.pb", "o/m/resolve/main/m.tar.gz", "docs/hub", ""]
)
def test_other_pages_are_not_models(page: str) -> None:
    assert plan(Handle.parse(f"https://huggingface.co/{page}")) is None


@pytest.mark.parametrize(
    "text",
    [
        "hf://o", "hf://o@main", "hf://o/m@", "hf://o/m@/a", "hf://o/m@a..b", "hf://o/m@a%20b", "hf://o/m@-a", "hf://o/../m",
        "hf://o/m/../../x", "hf://o/m//a", "hf://o/m/a\\b", "hf://datasets/o/d", "hf://o/m--x", "hf://o/" + "m" * 97,
    ],
)  # fmt: skip
def test_the_error_for_a_malformed_handle_shows_the_right_form(text: str, hugging_face: HuggingFace, cache_dir: Path) -> None:
    with pytest.raises(HandleError) as caught:
        resolve(text)
    assert text in caught.value.text and "hf://OWNER/MODEL[@REVISION][/FOLDER]" in caught.value.fix
    assert list_requests(hugging_face) == [] and not cache_dir.exists()


def test_a_repository_cannot_be_pinned_by_the_hash_of_an_archive(hugging_face: HuggingFace) -> None:
    with pytest.raises(HandleError, match="not an archive") as caught:
        resolve("hf://o/m@main", sha256="0" * 64)
    assert "hf://o/m@COMMIT" in caught.value.fix and list_requests(hugging_face) == []


def test_an_override_counts_for_every_spelling(tmp_path: Path) -> None:
    set_model_cache("https://huggingface.co/o/m", put_model(tmp_path / "m"))
    assert resolve("hf://o/m") == f"{tmp_path}/m"


# Commits and branches


def test_a_commit_is_fetched_once_and_recorded_with_every_hash(hugging_face: HuggingFace, cache_dir: Path) -> None:
    commit = hugging_face.push("o/m", MODEL)
    key = f"hf://o/m@{commit}"
    path = resolve(key)
    assert path == f"{cache_dir}/{entry_name_for_key(key)}" and files_in(path) == MODEL
    before = list_requests(hugging_face)
    assert {resolve(text) for text in (key, f"https://huggingface.co/o/m/tree/{commit}", f"{key}/")} == {path}
    assert list_requests(hugging_face) == before
    record = json.loads(next(cache_dir.glob("*.descriptor.txt")).read_text().partition("\n\n")[2])
    assert record["handle"] == key and record["origin"]["url"] == f"{hugging_face.url}/o/m/tree/{commit}"
    assert {file["path"]: file["sha256"] for file in record["files"]} == {
        path: hashlib.sha256(data).hexdigest() for path, data in MODEL.items()
    }


def test_a_branch_is_looked_up_once_a_call(hugging_face: HuggingFace) -> None:
    commit = hugging_face.push("o/m", MODEL)
    old = resolve("hf://o/m")
    assert resolve("hf://o/m") == resolve("hf://o/m@main") == resolve(f"hf://o/m@{commit}") == old
    lookups = [line for line in list_requests(hugging_face) if "/tree/" not in line and "/resolve/" not in line]
    branch, fixed = "GET /api/models/o/m", f"GET /api/models/o/m/revision/{commit}"
    assert lookups == [branch, fixed, branch, branch]
    hugging_face.push("o/m", NEW)
    assert files_in(resolve("hf://o/m")) == NEW and files_in(old) == MODEL


@pytest.mark.parametrize("revision", ["v1.0", "feature/x", "refs/pr/1"])
def test_a_tag_a_branch_and_a_pull_request_are_revisions(revision: str, hugging_face: HuggingFace) -> None:
    hugging_face.push("o/m", MODEL)
    hugging_face.push("o/m", NEW, revision)
    assert files_in(resolve(f"hf://o/m@{revision.replace('/', '%2F')}")) == NEW
    assert files_in(resolve("hf://o/m")) == MODEL


def test_only_the_requested_folder_is_downloaded(hugging_face: HuggingFace) -> None:
    hugging_face.push(
        "o/m", {"README.md": b"read", **{f"saved/v 1/{path}": data for path, data in MODEL.items()}, "saved/x": b""}
    )
    assert files_in(resolve("hf://o/m@main/saved/v 1")) == MODEL
    assert "README.md" not in list_downloads(hugging_face)
    assert files_in(resolve("hf://o/m#subdirectory=."))["README.md"] == b"read"


@pytest.mark.parametrize("folder", ["none", "README.md"])
def test_a_missing_folder_is_an_error(folder: str, hugging_face: HuggingFace, cache_dir: Path) -> None:
    commit = hugging_face.push("o/m", {"README.md": b"read"})
    with pytest.raises(NotFoundError, match=f"no folder '{folder}'") as caught:
        resolve(f"hf://o/m/{folder}")
    assert f"/o/m/tree/{commit}" in caught.value.fix and os.listdir(cache_dir) == []


# Where Hugging Face fails


def go_offline(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")


def take_hub_offline(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "yes")


def take_transformers_offline(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")


def disconnect(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def break_hub(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    hugging_face.hub.faults["/api/models/"] = lambda handler: handler.respond(500, b"oh") is None


def serve_html_page(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    hugging_face.hub.faults["/api/models/"] = lambda handler: handler.respond(200, b"<!doctype html>Log in") is None


def remove_model(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    hugging_face.repositories.clear()


def return_no_commit(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"id": "o/m", "sha": "../../x", "siblings": []}
    hugging_face.hub.faults["/api/models/"] = lambda handler: handler.respond_json(facts) is None


def break_newest(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    hugging_face.push("o/m", NEW)
    hugging_face.hub.faults["/o/m/resolve/"] = lambda handler: handler.respond(404, b"oh") is None


def uninstall(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)


Failure = Callable[[HuggingFace, pytest.MonkeyPatch], None]
FAILURES = (
    go_offline, take_hub_offline, take_transformers_offline, disconnect, break_hub, serve_html_page, remove_model,
    return_no_commit, break_newest, uninstall,
)  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
def test_on_failure_the_last_commit_of_the_branch_is_served_with_a_warning(
    failure: Failure, hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = hugging_face.push("o/m", {"saved_model.pb": b"of another branch"}, "dev")
    commit = hugging_face.push("o/m", MODEL)
    path = resolve("hf://o/m")
    resolve(f"hf://o/m@{other}")  # fetched later, and never the target of the branch
    failure(hugging_face, monkeypatch)
    assert resolve("hf://o/m") == path and files_in(path) == MODEL
    assert f"hf://o/m is served from the cache, as hf://o/m@{commit}: " in caplog.text
    if failure is not break_newest:
        with pytest.raises(FetchError):
            resolve("hf://o/m@dev")
    with pytest.raises(FetchError):
        resolve("hf://o/m", refresh=True)
    (Path(path) / WEIGHTS).unlink()
    with pytest.raises(FetchError):
        resolve("hf://o/m")


@pytest.mark.parametrize("failure", FAILURES)
def test_on_failure_with_nothing_cached_the_failure_is_raised(
    failure: Failure, hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    hugging_face.push("o/m", MODEL)
    failure(hugging_face, monkeypatch)
    with pytest.raises(FetchError) as caught:
        resolve("hf://o/m")
    assert caught.value.fix and (not cache_dir.exists() or [*cache_dir.glob("*")] == [])


def test_an_old_commit_that_is_no_longer_cached_is_not_fetched_as_a_fallback(
    hugging_face: HuggingFace, cache_dir: Path
) -> None:
    commit = hugging_face.push("o/m", MODEL)
    path = resolve("hf://o/m")
    assert main(["rm", f"hf://o/m@{commit}"]) == 0 and not Path(path).exists()

    def fail_for_branches(handler: Handler) -> bool:
        return "/revision/" not in handler.path and "/tree/" not in handler.path and handler.respond(500, b"oh") is None

    hugging_face.hub.faults["/api/models/o/m"] = fail_for_branches
    with pytest.raises(FetchError, match="500"):
        resolve("hf://o/m")
    assert resolve(f"hf://o/m@{commit}") == path


def test_without_the_library_the_error_says_what_to_install(
    hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hugging_face.push("o/m", MODEL)
    path = resolve(f"hf://o/m@{commit}")
    uninstall(hugging_face, monkeypatch)
    assert resolve(f"hf://o/m@{commit}") == path, "what is cached needs no library"
    with pytest.raises(FetchError, match="needs huggingface_hub") as caught:
        resolve("hf://o/m@dev")
    assert caught.value.fix == "pip install 'tfimm_resolver[hf]'"


@pytest.fixture
def baked(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, cache_dir: Path, tmp_path: Path) -> str:
    """The path of o/m in an extra root; it is not cached anywhere else."""
    hugging_face.push("o/m", MODEL)
    name = Path(resolve("hf://o/m")).name
    cache_dir.rename(tmp_path / "baked")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "baked"))
    return f"{tmp_path}/baked/{name}"


def test_an_extra_root_is_used_on_failure(
    baked: str, hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    assert resolve("hf://o/m") == baked
    go_offline(hugging_face, monkeypatch)
    assert resolve("hf://o/m") == baked and not cache_dir.exists()


def test_an_extra_root_is_used_where_the_cache_bucket_cannot_be_reached(baked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "s3://bucket/cache")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve("hf://o/m") == baked


def test_a_cache_bucket_is_used_by_a_machine_that_reaches_nothing_else(
    hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("obstore", reason="pip install 'tfimm_resolver[gs]'")
    hugging_face.push("o/m", MODEL)
    monkeypatch.setenv("TFHUB_CACHE_DIR", f"memory://bucket/{os.urandom(4).hex()}")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "one"))
    resolve("hf://o/m")
    take_hub_offline(hugging_face, monkeypatch)
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "two"))
    path = resolve("hf://o/m")
    assert files_in(path) == MODEL and path.startswith(f"{tmp_path}/two/")


REFUSALS = {
    "missing": ({}, "hf://o/none", NotFoundError, 401, "no such repository", "spelling"),
    "private": ({"token": TOKEN}, "hf://o/m", NotFoundError, 401, "or it is private", "HF_TOKEN"),
    "gated": (
        {"token": TOKEN, "is_gated": True},
        "hf://o/m",
        AccessError,
        401,
        "is gated",
        "/o/m, log in, and ask for access",
    ),
    "no revision": ({}, "hf://o/m@none", NotFoundError, 404, "no revision 'none'", "/o/m/branches"),
    "no commit": ({}, f"hf://o/m@{COMMIT}", NotFoundError, 404, f"no revision '{COMMIT}'", "/o/m/branches"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_the_error_for_denied_access_says_what_to_do(name: str, hugging_face: HuggingFace, cache_dir: Path) -> None:
    rights, handle, kind, status, words, fix = REFUSALS[name]
    hugging_face.push("o/m", MODEL, **rights)
    with pytest.raises(ResolverError) as caught:
        resolve(handle)
    error = caught.value
    assert type(error) is kind and isinstance(error, FetchError) and error.status == status
    assert words in error.text and fix in error.fix and error.text.startswith(handle.partition("@")[0])
    assert name == "no revision" or name == "no commit" or "requested without a token" in error.text
    assert not cache_dir.exists() or os.listdir(cache_dir) == []


def test_denied_access_to_one_file_is_an_access_error(hugging_face: HuggingFace, cache_dir: Path) -> None:
    commit = hugging_face.push("o/m", MODEL)
    hugging_face.hub.faults["/o/m/resolve/"] = lambda handler: handler.respond(403, b"") is None
    with pytest.raises(AccessError, match="answered 403"):
        resolve(f"hf://o/m@{commit}")
    assert os.listdir(cache_dir) == []


def test_an_error_of_the_storage_does_not_show_the_signature(hugging_face: HuggingFace) -> None:
    commit = hugging_face.push("o/m", MODEL)
    hugging_face.storage.faults["/"] = lambda handler: handler.respond(403, f"{handler.path} has expired".encode()) is None
    with pytest.raises(AccessError) as caught:
        resolve(f"hf://o/m@{commit}")
    assert caught.value.status == 403 and "=signature" not in "".join(traceback.format_exception(caught.value))


def test_a_token_is_sent_to_the_hub_only_and_never_shown(
    hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hugging_face.push("o/m", MODEL, token=TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert files_in(resolve("hf://o/m")) == MODEL
    assert f"Bearer {TOKEN}" in hugging_face.hub.authorizations and hugging_face.storage.authorizations == {None}
    hugging_face.push("o/m", NEW, token="another", is_gated=True)
    with pytest.raises(AccessError, match="with the token of HF_TOKEN") as caught:
        resolve("hf://o/m", refresh=True)
    assert caught.value.status == 403
    output = "".join(traceback.format_exception(caught.value)) + caplog.text
    output += "".join(path.read_text() for path in cache_dir.glob("*.txt"))
    assert TOKEN not in output and "Signature=signature" not in output
    assert not logging.getLogger("httpx2").filters, "the library's loggers are as they were"


def cut_short(handler: Handler) -> bool:
    """Send half of a file and close the connection."""
    handler.send_response(200)
    handler.send_header("Content-Length", "800")
    handler.end_headers()
    handler.wfile.write(b"weights " * 50)
    return True


def too_many(handler: Handler) -> bool:
    """Respond with status 429."""
    return handler.respond(429, b"slowly", {"Retry-After": "0"}) is None


def test_a_broken_download_is_retried_and_its_signed_url_not_logged(
    hugging_face: HuggingFace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("huggingface_hub").propagate = True
    left = [cut_short, too_many]
    hugging_face.storage.faults["/"] = lambda handler: bool(left) and left.pop()(handler)
    hugging_face.push("o/m", MODEL)
    assert files_in(resolve("hf://o/m")) == MODEL
    assert "Trying to resume" in caplog.text and "Rate limited" in caplog.text and "signature" not in caplog.text


def other_bytes(handler: Handler) -> bool:
    """Send other bytes of the right length."""
    data = b"x" * len(MODEL[WEIGHTS])
    return handler.respond(200, data, {"ETag": '"x"'}) is None


def other_small_bytes(handler: Handler) -> bool:
    """Do the same for a small file, with the hub's headers for it."""
    commit = handler.path.split("/")[4]
    return handler.respond(200, b"a grapf", {"ETag": f'"{blob_id(b"a graph")}"', "X-Repo-Commit": commit}) is None


@pytest.mark.parametrize("is_large", [True, False])
def test_bytes_that_do_not_match_the_listed_hash_are_discarded(
    is_large: bool, hugging_face: HuggingFace, cache_dir: Path
) -> None:
    commit = hugging_face.push("o/m", MODEL)
    if is_large:
        hugging_face.storage.faults["/"] = other_bytes
    else:
        hugging_face.hub.faults[f"/o/m/resolve/{commit}/saved_model.pb"] = other_small_bytes
    with pytest.raises(IntegrityError) as caught:
        resolve(f"hf://o/m@{commit}")
    data = MODEL[WEIGHTS if is_large else "saved_model.pb"]
    assert (hashlib.sha256(data).hexdigest() if is_large else blob_id(data)) in caught.value.text
    assert not {b"a grapf", b"x" * 800} & {*files_in(cache_dir).values()}
    assert "received" in caught.value.text and [path.name for path in cache_dir.glob("*") if path.suffix != ".parts"] == []
    hugging_face.storage.faults.clear()
    hugging_face.hub.faults.clear()
    assert files_in(resolve(f"hf://o/m@{commit}")) == MODEL and len([*cache_dir.glob("*")]) == 2


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("../x",), "does not stay inside"),
        (("/etc/x",), "does not stay inside"),
        (("a/../../x",), "does not stay inside"),
        (("a\u202ex",), "invisible"),
        (("a\n",), "does not stay inside"),
        (("a//b",), "is not in canonical form"),
        (("./a",), "is not in canonical form"),
        (("a/./b",), "is not in canonical form"),
        (("a", "a/b"), "as a file and as a directory"),
        (("a/b/c", "a/b"), "as a file and as a directory"),
    ],
)
def test_an_unsafe_name_is_rejected_before_any_download(
    names: tuple[str, ...], words: str, hugging_face: HuggingFace, cache_dir: Path
) -> None:
    commit = hugging_face.push("o/m", {**MODEL, **dict.fromkeys(names, b"x")})
    with pytest.raises(ArchiveError, match=f"^hf://o/m@{commit}: .*{words}"):
        resolve(f"hf://o/m@{commit}")
    assert list_downloads(hugging_face) == [] and os.listdir(cache_dir) == []


def test_names_that_only_other_systems_cannot_hold_are_downloaded(hugging_face: HuggingFace) -> None:
    files = {**MODEL, "CON": b"1", "a/X": b"2", "a/x": b"3", "run:c?": b"4"}
    assert files_in(resolve(f"hf://o/m@{hugging_face.push('o/m', files)}")) == files


@pytest.mark.parametrize("handle", ["hf://o/m", "hf://o/m@main/sub", "hf://o/m/sub/deeper"])
def test_a_listed_name_that_is_absolute_below_the_folder_writes_nothing_outside(
    handle: str, hugging_face: HuggingFace, cache_dir: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "profile").write_text("original")
    folder = handle.partition("/m")[2].partition("/")[2] or "sub"
    evil = {f"{folder}/{outside}/profile": b"evil", f"{folder}/{outside}/new/keys": b"evil"}
    hugging_face.push("o/m", {**MODEL, f"{folder}/saved_model.pb": b"x", **evil})
    with pytest.raises(ArchiveError, match="is not in canonical form"):
        resolve(handle)
    assert files_in(outside) == {"profile": b"original"} and os.listdir(cache_dir) == []


def test_a_file_that_is_listed_twice_is_rejected(hugging_face: HuggingFace, cache_dir: Path) -> None:
    commit = hugging_face.push("o/m", MODEL)
    entries = [make_tree_entry("saved_model.pb", MODEL["saved_model.pb"])] * 2
    hugging_face.hub.faults["/api/models/o/m/tree/"] = lambda handler: handler.respond_json(entries) is None
    with pytest.raises(ArchiveError, match="is listed twice"):
        resolve(f"hf://o/m@{commit}")
    assert list_downloads(hugging_face) == [] and os.listdir(cache_dir) == []


@pytest.mark.parametrize(("variable", "kind"), [("MAX_MEMBERS", FetchError), ("MAX_BYTES", ArchiveError)])
def test_limits_hold_for_repositories_too(
    variable: str, kind: type[ResolverError], hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    monkeypatch.setenv(f"TFIMM_RESOLVER_{variable}", "2")
    commit = hugging_face.push("o/m", MODEL)
    with pytest.raises(kind, match=variable):
        resolve(f"hf://o/m@{commit}")
    assert list_downloads(hugging_face) == [] and os.listdir(cache_dir) == []


def test_a_list_without_files_below_the_folder_is_an_error(hugging_face: HuggingFace) -> None:
    commit = hugging_face.push("o/m", {"a/x": b"x"})
    entry = {"type": "file", "path": "b/x", "size": 1, "oid": "0" * 40}
    for entries, words in (
        ([entry], "files outside the folder"),
        ([], "no files found"),
        ([{"path": 1}], "the response is not Hugging Face's"),
    ):
        hugging_face.hub.faults["/api/models/o/m/tree/"] = lambda handler, entries=entries: (
            handler.respond_json(entries) is None
        )
        with pytest.raises(FetchError, match=words):
            resolve(f"hf://o/m@{commit}/a")


def test_a_hub_that_does_not_answer_is_a_timeout(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_CONNECT_TIMEOUT_S", "0.2")
    monkeypatch.setenv("TFIMM_RESOLVER_READ_TIMEOUT_S", "0.3")
    commit, over = hugging_face.push("o/m", MODEL), threading.Event()
    hugging_face.hub.faults["/api/models/"] = lambda handler: over.wait(60)
    for handle in ("hf://o/m", f"hf://o/m@{commit}"):
        with pytest.raises(TransferTimeoutError, match="READ_TIMEOUT_S"):
            resolve(handle)
    over.set()


# Several processes, and none in the end


CODE = "import sys, tfimm_resolver; print(tfimm_resolver.resolve(sys.argv[1]))"


def test_eight_processes_make_one_download(hugging_face: HuggingFace) -> None:
    commit = hugging_face.push("o/m", MODEL)
    processes = [start(CODE, f"hf://o/m@{commit}") for _ in range(8)]
    paths = set()
    for process in processes:
        with process:
            paths.add(process.communicate(timeout=120)[0])
    assert len(paths) == 1 and len(list_downloads(hugging_face)) == len(MODEL)


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGINT])
def test_after_a_kill_only_missing_files_are_downloaded(
    deadly: signal.Signals, hugging_face: HuggingFace, cache_dir: Path
) -> None:
    commit = hugging_face.push("o/m", MODEL)
    reached, over = threading.Event(), threading.Event()

    def wait(handler: Handler) -> bool:
        reached.set()
        return over.wait(60)

    hugging_face.storage.faults["/"] = wait
    with start(CODE, f"hf://o/m@{commit}", TFIMM_RESOLVER_CONNECTIONS="1") as process:
        assert reached.wait(60)
        process.send_signal(deadly)
        process.communicate(timeout=60)
    assert process.returncode != 0
    over.set()
    hugging_face.storage.faults.clear()
    first = list_downloads(hugging_face)
    assert files_in(resolve(f"hf://o/m@{commit}")) == MODEL and len([*cache_dir.glob("*")]) == 2
    assert len(list_downloads(hugging_face)) == len(first) + len(MODEL) - 1, "a small file was already complete"


def test_files_of_an_earlier_download_are_verified(hugging_face: HuggingFace, cache_dir: Path, tmp_path: Path) -> None:
    commit = hugging_face.push("o/m", MODEL)
    parts = cache_dir / f"{entry_name_for_key(f'hf://o/m@{commit}')}.parts"
    (parts / "variables").mkdir(parents=True)
    (parts / "saved_model.pb").write_bytes(b"a grapf")
    (tmp_path / "weights").write_bytes(MODEL[WEIGHTS])
    (parts / WEIGHTS).symlink_to(tmp_path / "weights")
    (parts / "variables/variables.index").write_bytes(MODEL["variables/variables.index"])
    path = Path(resolve(f"hf://o/m@{commit}"))
    assert files_in(path) == MODEL and not (path / WEIGHTS).is_symlink()
    assert len(list_downloads(hugging_face)) == 2 and "variables/variables.index" not in list_downloads(hugging_face)


def test_partial_downloads_in_a_writable_directory_are_not_used(hugging_face: HuggingFace, cache_dir: Path) -> None:
    commit = hugging_face.push("o/m", MODEL)
    parts = cache_dir / f"{entry_name_for_key(f'hf://o/m@{commit}')}.parts"
    parts.mkdir(parents=True)
    parts.chmod(0o777)
    (parts / "saved_model.pb").write_bytes(b"a graph")
    assert files_in(resolve(f"hf://o/m@{commit}")) == MODEL and "saved_model.pb" in list_downloads(hugging_face)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_partial_downloads_are_kept_where_other_users_have_no_access(
    hugging_face: HuggingFace, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a shared root another user may create the directory first, at the last moment."""
    commit = hugging_face.push("o/m", MODEL)
    parts = cache_dir / f"{entry_name_for_key(f'hf://o/m@{commit}')}.parts"
    seen: set[tuple[bool, int]] = set()

    def look(_: Handler) -> bool:
        seen.update((path == parts, path.stat().st_mode & 0o777) for path in cache_dir.glob("*.parts"))
        return False

    hugging_face.hub.faults["/o/m/resolve/"] = look
    before = os.umask(0)
    try:
        assert files_in(resolve(f"hf://o/m@{commit}")) == MODEL and seen == {(True, 0o700)}
        mkdir = os.mkdir

        def mkdir_after_another_user(path: os.PathLike[str], *arguments: int, **options: object) -> None:
            if os.fspath(path) == str(parts) and not parts.exists():
                mkdir(path, 0o777)
                os.chown(path, 54321, 54321)
            mkdir(path, *arguments, **options)  # type: ignore[arg-type]

        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "mkdir", mkdir_after_another_user)
            assert files_in(resolve(f"hf://o/m@{commit}", refresh=True)) == MODEL
    finally:
        os.umask(before)
    assert os.listdir(parts) == [] and seen == {(True, 0o777)}


# The rest of the package


def test_the_command_line_resolves_verifies_repairs_and_removes(
    hugging_face: HuggingFace, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit = hugging_face.push("o/m", MODEL)
    assert main(["resolve", "https://huggingface.co/o/m"]) == 0
    path = Path(capsys.readouterr().out.strip())
    (path / WEIGHTS).write_bytes(b"x" * len(MODEL[WEIGHTS]))
    assert main(["verify", "--repair", f"hf://o/m@{commit}"]) == 0 and files_in(path) == MODEL
    assert main(["rm", f"https://huggingface.co/o/m/tree/{commit}"]) == 0
    assert not path.exists() and main(["resolve", "hf://o/none"]) == 3 and main(["resolve", "hf://o"]) == 2
    assert "there is no such repository" in capsys.readouterr().err


def test_neither_a_hit_nor_being_offline_loads_the_library(hugging_face: HuggingFace) -> None:
    from tests.fakes.light_start import HEAVY

    commit = hugging_face.push("o/m", MODEL)
    resolve("hf://o/m")
    code = "import sys, tfimm_resolver; tfimm_resolver.resolve(sys.argv[1]); print(*sys.modules)"
    loaded = set(run(code, f"hf://o/m@{commit}").split())
    assert loaded.isdisjoint(HEAVY)
    assert "huggingface_hub" not in run(code, "hf://o/m", TFIMM_RESOLVER_OFFLINE="1").split()


def test_a_refresh_of_a_commit_fetches_the_same(hugging_face: HuggingFace) -> None:
    commit = hugging_face.push("o/m", MODEL)
    path = resolve(f"hf://o/m@{commit}")
    before = len(list_downloads(hugging_face))
    assert resolve(f"hf://o/m@{commit}", refresh=True) == path and len(list_downloads(hugging_face)) == 2 * before
    with pytest.raises(OfflineError):
        os.environ["TFIMM_RESOLVER_OFFLINE"] = "1"
        try:
            resolve(f"hf://o/m@{commit}", refresh=True)
        finally:
            del os.environ["TFIMM_RESOLVER_OFFLINE"]


def test_a_branch_and_a_commit_may_be_followed_by_a_subdirectory(hugging_face: HuggingFace) -> None:
    files = {f"zoo/{version}/{name}": data for version in ("1", "2") for name, data in MODEL.items()}
    commit = hugging_face.push("o/m", files)
    path = resolve("hf://o/m")
    assert path.endswith("/zoo/2") and resolve(f"hf://o/m@{commit}#subdirectory=zoo/1") == f"{path[:-2]}/1"
    assert resolve("https://huggingface.co/o/m#subdirectory=zoo/1") == f"{path[:-2]}/1"
    assert files_in(resolve("hf://o/m/zoo/1/saved_model.pb")) == files_in(resolve("hf://o/m@main/zoo#subdirectory=1")) == MODEL
    with pytest.raises(NotFoundError, match="SavedModels are in: zoo/1, zoo/2"):
        resolve("hf://o/m#subdirectory=1")
