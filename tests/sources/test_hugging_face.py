"""Models on Hugging Face, by the real huggingface_hub against a stand-in: commits and branches, errors, tokens, bad bytes."""

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

from tests.archives import MODEL, files_in
from tests.hugging_face import Handler, HuggingFace, blob_id, listed
from tests.processes import run, start
from tests.test_names import put_model
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
    with HuggingFace() as place:
        monkeypatch.setenv("HF_ENDPOINT", place.url)
        yield place


def asked(hugging_face: HuggingFace, what: str = "") -> list[str]:
    """What the hub was asked for, but for what the library wants to know of who uses it."""
    return [line for line in hugging_face.hub.asked if "agent-harnesses" not in line and what in line]


def fetched(hugging_face: HuggingFace) -> list[str]:
    """The files whose bytes were asked for."""
    small = [line.partition("/resolve/")[2][41:] for line in asked(hugging_face, "GET") if "/resolve/" in line]
    return sorted(small + hugging_face.storage.asked)


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
def test_other_pages_are_none_of_its_models(page: str) -> None:
    assert plan(Handle.parse(f"https://huggingface.co/{page}")) is None


@pytest.mark.parametrize(
    "text",
    [
        "hf://o", "hf://o@main", "hf://o/m@", "hf://o/m@/a", "hf://o/m@a..b", "hf://o/m@a%20b", "hf://o/m@-a", "hf://o/../m",
        "hf://o/m/../../x", "hf://o/m//a", "hf://o/m/a\\b", "hf://datasets/o/d", "hf://o/m--x", "hf://o/" + "m" * 97,
    ],
)  # fmt: skip
def test_a_handle_that_names_no_model_is_told_the_right_form(text: str, hugging_face: HuggingFace, cache_dir: Path) -> None:
    with pytest.raises(HandleError) as caught:
        resolve(text)
    assert text in caught.value.text and "hf://OWNER/MODEL[@REVISION][/FOLDER]" in caught.value.fix
    assert asked(hugging_face) == [] and not cache_dir.exists()


def test_a_model_that_is_no_archive_cannot_be_pinned_by_the_hash_of_one(hugging_face: HuggingFace) -> None:
    with pytest.raises(HandleError, match="no archive") as caught:
        resolve("hf://o/m@main", sha256="0" * 64)
    assert "hf://o/m@COMMIT" in caught.value.fix and asked(hugging_face) == []


def test_an_override_counts_for_every_spelling(tmp_path: Path) -> None:
    set_model_cache("https://huggingface.co/o/m", put_model(tmp_path / "m"))
    assert resolve("hf://o/m") == f"{tmp_path}/m"


# Commits and branches


def test_a_commit_is_fetched_once_and_recorded_with_every_hash(hugging_face: HuggingFace, cache_dir: Path) -> None:
    commit = hugging_face.push("o/m", MODEL)
    key = f"hf://o/m@{commit}"
    path = resolve(key)
    assert path == f"{cache_dir}/{entry_name_for_key(key)}" and files_in(path) == MODEL
    before = asked(hugging_face)
    assert {resolve(text) for text in (key, f"https://huggingface.co/o/m/tree/{commit}", f"{key}/")} == {path}
    assert asked(hugging_face) == before
    record = json.loads(next(cache_dir.glob("*.descriptor.txt")).read_text().partition("\n\n")[2])
    assert record["handle"] == key and record["origin"]["url"] == f"{hugging_face.url}/o/m/tree/{commit}"
    assert {file["path"]: file["sha256"] for file in record["files"]} == {
        path: hashlib.sha256(data).hexdigest() for path, data in MODEL.items()
    }


def test_a_branch_is_looked_up_once_a_call(hugging_face: HuggingFace) -> None:
    commit = hugging_face.push("o/m", MODEL)
    old = resolve("hf://o/m")
    assert resolve("hf://o/m") == resolve("hf://o/m@main") == resolve(f"hf://o/m@{commit}") == old
    lookups = [line for line in asked(hugging_face) if "/tree/" not in line and "/resolve/" not in line]
    branch, fixed = "GET /api/models/o/m", f"GET /api/models/o/m/revision/{commit}"
    assert lookups == [branch, fixed, branch, branch]
    hugging_face.push("o/m", NEW)
    assert files_in(resolve("hf://o/m")) == NEW and files_in(old) == MODEL


@pytest.mark.parametrize("revision", ["v1.0", "feature/x", "refs/pr/1"])
def test_any_revision_will_do(revision: str, hugging_face: HuggingFace) -> None:
    hugging_face.push("o/m", MODEL)
    hugging_face.push("o/m", NEW, revision)
    assert files_in(resolve(f"hf://o/m@{revision.replace('/', '%2F')}")) == NEW
    assert files_in(resolve("hf://o/m")) == MODEL


def test_of_a_folder_nothing_else_comes(hugging_face: HuggingFace) -> None:
    hugging_face.push(
        "o/m", {"README.md": b"read", **{f"saved/v 1/{path}": data for path, data in MODEL.items()}, "saved/x": b""}
    )
    assert files_in(resolve("hf://o/m@main/saved/v 1")) == MODEL
    assert "README.md" not in fetched(hugging_face)
    assert files_in(resolve("hf://o/m"))["README.md"] == b"read"


@pytest.mark.parametrize("folder", ["none", "README.md"])
def test_a_folder_that_is_none_is_told(folder: str, hugging_face: HuggingFace, cache_dir: Path) -> None:
    commit = hugging_face.push("o/m", {"README.md": b"read"})
    with pytest.raises(NotFoundError, match=f"no folder '{folder}'") as caught:
        resolve(f"hf://o/m/{folder}")
    assert f"/o/m/tree/{commit}" in caught.value.fix and os.listdir(cache_dir) == []


def test_what_lies_in_the_cache_is_neither_a_link_nor_the_librarys(
    hugging_face: HuggingFace, tmp_path: Path, cache_dir: Path
) -> None:
    hugging_face.push("o/m", MODEL)
    cached = "from huggingface_hub import snapshot_download; print(snapshot_download('o/m'))"
    where = {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HOME": str(tmp_path / "home/hf")}
    snapshot = Path(run(cached, **where))
    assert (snapshot / WEIGHTS).is_symlink(), "as the library keeps it"
    before = fetched(hugging_face)
    path = Path(run("import tfimm_resolver; print(tfimm_resolver.resolve('hf://o/m'))", **where))
    assert files_in(path) == MODEL and not any(file.is_symlink() for file in path.rglob("*"))
    assert fetched(hugging_face) == before, "what the library has is not fetched again"
    assert sorted(os.listdir(cache_dir)) == sorted(
        [path.name, f"{path.name}.descriptor.txt", f"{entry_name_for_key('hf://o/m')}.latest.txt"]
    )


# Where Hugging Face fails


def say_offline(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")


def say_hub_offline(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "yes")


def say_transformers_offline(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "1")


def out_of_reach(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def broken(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    hugging_face.hub.faults["/api/models/"] = lambda handler: handler.say(500, b"oh") is None


def a_page(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    hugging_face.hub.faults["/api/models/"] = lambda handler: handler.say(200, b"<!doctype html>Log in") is None


def taken_down(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    hugging_face.repositories.clear()


def no_commit(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {"id": "o/m", "sha": "../../x", "siblings": []}
    hugging_face.hub.faults["/api/models/"] = lambda handler: handler.say_json(facts) is None


def newest_does_not_come(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    hugging_face.push("o/m", NEW)
    hugging_face.hub.faults["/o/m/resolve/"] = lambda handler: handler.say(404, b"oh") is None


def not_installed(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)


Failure = Callable[[HuggingFace, pytest.MonkeyPatch], None]
FAILURES = (
    say_offline, say_hub_offline, say_transformers_offline, out_of_reach, broken, a_page, taken_down, no_commit,
    newest_does_not_come, not_installed,
)  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
def test_where_it_fails_what_the_branch_was_last_is_served_with_a_warning(
    failure: Failure, hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = hugging_face.push("o/m", {"saved_model.pb": b"of another branch"}, "dev")
    commit = hugging_face.push("o/m", MODEL)
    path = resolve("hf://o/m")
    resolve(f"hf://o/m@{other}")  # came later, and was never what the branch stood for
    failure(hugging_face, monkeypatch)
    assert resolve("hf://o/m") == path and files_in(path) == MODEL
    assert f"hf://o/m is served from the cache, as hf://o/m@{commit}: " in caplog.text
    if failure is not newest_does_not_come:
        with pytest.raises(FetchError):
            resolve("hf://o/m@dev")
    with pytest.raises(FetchError):
        resolve("hf://o/m", refresh=True)
    (Path(path) / WEIGHTS).unlink()
    with pytest.raises(FetchError):
        resolve("hf://o/m")


@pytest.mark.parametrize("failure", FAILURES)
def test_where_it_fails_and_nothing_is_cached_the_failure_is_told(
    failure: Failure, hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    hugging_face.push("o/m", MODEL)
    failure(hugging_face, monkeypatch)
    with pytest.raises(FetchError) as caught:
        resolve("hf://o/m")
    assert caught.value.fix and (not cache_dir.exists() or [*cache_dir.glob("*")] == [])


def test_an_old_commit_that_is_not_cached_any_more_is_not_fetched_in_the_stead_of_the_latest(
    hugging_face: HuggingFace, cache_dir: Path
) -> None:
    commit = hugging_face.push("o/m", MODEL)
    path = resolve("hf://o/m")
    assert main(["rm", f"hf://o/m@{commit}"]) == 0 and not Path(path).exists()

    def of_branches(handler: Handler) -> bool:
        return "/revision/" not in handler.path and "/tree/" not in handler.path and handler.say(500, b"oh") is None

    hugging_face.hub.faults["/api/models/o/m"] = of_branches
    with pytest.raises(FetchError, match="500"):
        resolve("hf://o/m")
    assert resolve(f"hf://o/m@{commit}") == path


def test_who_has_not_installed_the_library_learns_what_to_install(
    hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hugging_face.push("o/m", MODEL)
    path = resolve(f"hf://o/m@{commit}")
    not_installed(hugging_face, monkeypatch)
    assert resolve(f"hf://o/m@{commit}") == path, "what is cached needs no library"
    with pytest.raises(FetchError, match="needs huggingface_hub") as caught:
        resolve("hf://o/m@dev")
    assert caught.value.fix == "pip install 'tfimm_resolver[hf]'"


@pytest.fixture
def baked(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, cache_dir: Path, tmp_path: Path) -> str:
    """Where o/m lies in an extra root, and nowhere else."""
    hugging_face.push("o/m", MODEL)
    name = Path(resolve("hf://o/m")).name
    cache_dir.rename(tmp_path / "baked")
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "baked"))
    return f"{tmp_path}/baked/{name}"


def test_what_an_extra_root_has_serves_where_it_fails(
    baked: str, hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    assert resolve("hf://o/m") == baked
    say_offline(hugging_face, monkeypatch)
    assert resolve("hf://o/m") == baked and not cache_dir.exists()


def test_what_an_extra_root_has_serves_where_the_bucket_behind_this_machine_is_out_of_reach(
    baked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "s3://bucket/cache")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve("hf://o/m") == baked


def test_a_model_in_a_bucket_serves_a_machine_that_reaches_nothing_else(
    hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("obstore", reason="pip install 'tfimm_resolver[gs]'")
    hugging_face.push("o/m", MODEL)
    monkeypatch.setenv("TFHUB_CACHE_DIR", f"memory://bucket/{os.urandom(4).hex()}")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "one"))
    resolve("hf://o/m")
    say_hub_offline(hugging_face, monkeypatch)
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
def test_a_refusal_is_told_with_what_to_do(name: str, hugging_face: HuggingFace, cache_dir: Path) -> None:
    rights, handle, kind, status, words, fix = REFUSALS[name]
    hugging_face.push("o/m", MODEL, **rights)
    with pytest.raises(ResolverError) as caught:
        resolve(handle)
    error = caught.value
    assert type(error) is kind and isinstance(error, FetchError) and error.status == status
    assert words in error.text and fix in error.fix and error.text.startswith(handle.partition("@")[0])
    assert name == "no revision" or name == "no commit" or "asked without a token" in error.text
    assert not cache_dir.exists() or os.listdir(cache_dir) == []


def test_a_refusal_of_one_file_is_told_as_what_it_is(hugging_face: HuggingFace, cache_dir: Path) -> None:
    commit = hugging_face.push("o/m", MODEL)
    hugging_face.hub.faults["/o/m/resolve/"] = lambda handler: handler.say(403, b"") is None
    with pytest.raises(AccessError, match="answered 403"):
        resolve(f"hf://o/m@{commit}")
    assert os.listdir(cache_dir) == []


def test_a_refusal_by_the_storage_is_told_without_the_signature(hugging_face: HuggingFace) -> None:
    commit = hugging_face.push("o/m", MODEL)
    hugging_face.storage.faults["/"] = lambda handler: handler.say(403, f"{handler.path} has expired".encode()) is None
    with pytest.raises(AccessError) as caught:
        resolve(f"hf://o/m@{commit}")
    assert caught.value.status == 403 and "=signature" not in "".join(traceback.format_exception(caught.value))


def test_a_token_is_shown_to_the_hub_only_and_never_told(
    hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, cache_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    hugging_face.push("o/m", MODEL, token=TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert files_in(resolve("hf://o/m")) == MODEL
    assert f"Bearer {TOKEN}" in hugging_face.hub.heard and hugging_face.storage.heard == {None}
    hugging_face.push("o/m", NEW, token="another", is_gated=True)
    with pytest.raises(AccessError, match="with the token of HF_TOKEN") as caught:
        resolve("hf://o/m", refresh=True)
    assert caught.value.status == 403
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    shown += "".join(path.read_text() for path in cache_dir.glob("*.txt"))
    assert TOKEN not in shown and "Signature=signature" not in shown
    assert not logging.getLogger("httpx2").filters, "the library's loggers are as they were"


def cut_short(handler: Handler) -> bool:
    """Half of a file, and the end of the connection."""
    handler.send_response(200)
    handler.send_header("Content-Length", "800")
    handler.end_headers()
    handler.wfile.write(b"weights " * 50)
    return True


def too_many(handler: Handler) -> bool:
    """An answer 429."""
    return handler.say(429, b"slowly", {"Retry-After": "0"}) is None


def test_a_file_that_breaks_off_is_fetched_again_and_its_signed_address_not_logged(
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
    """A file of the right length."""
    data = b"x" * len(MODEL[WEIGHTS])
    return handler.say(200, data, {"ETag": '"x"'}) is None


def other_small_bytes(handler: Handler) -> bool:
    """The same for a small one, with all that the hub says of it."""
    commit = handler.path.split("/")[4]
    return handler.say(200, b"a grapf", {"ETag": f'"{blob_id(b"a graph")}"', "X-Repo-Commit": commit}) is None


@pytest.mark.parametrize("is_large", [True, False])
def test_other_bytes_than_the_repository_lists_are_not_kept(
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
    assert "came" in caught.value.text and [path.name for path in cache_dir.glob("*") if path.suffix != ".parts"] == []
    hugging_face.storage.faults.clear()
    hugging_face.hub.faults.clear()
    assert files_in(resolve(f"hf://o/m@{commit}")) == MODEL and len([*cache_dir.glob("*")]) == 2


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("../x",), "does not stay inside"),
        (("/etc/x",), "does not stay inside"),
        (("a/../../x",), "does not stay inside"),
        (("CON",), "Windows cannot hold"),
        (("a/X", "a/x"), "nothing but case"),
        (("a\n",), "does not stay inside"),
        (("a//b",), "is not spelled as a store lists files"),
        (("./a",), "is not spelled as a store lists files"),
        (("a/./b",), "is not spelled as a store lists files"),
        (("a", "a/b"), "as a file and as a directory"),
        (("a/b/c", "a/b"), "as a file and as a directory"),
    ],
)
def test_a_name_that_may_not_be_written_is_refused_before_anything_comes(
    names: tuple[str, ...], words: str, hugging_face: HuggingFace, cache_dir: Path
) -> None:
    commit = hugging_face.push("o/m", {**MODEL, **dict.fromkeys(names, b"x")})
    with pytest.raises(ArchiveError, match=f"^hf://o/m@{commit}: .*{words}"):
        resolve(f"hf://o/m@{commit}")
    assert fetched(hugging_face) == [] and os.listdir(cache_dir) == []


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
    with pytest.raises(ArchiveError, match="is not spelled as a store lists files"):
        resolve(handle)
    assert files_in(outside) == {"profile": b"original"} and os.listdir(cache_dir) == []


def test_a_file_that_is_listed_twice_is_refused(hugging_face: HuggingFace, cache_dir: Path) -> None:
    commit = hugging_face.push("o/m", MODEL)
    entries = [listed("saved_model.pb", MODEL["saved_model.pb"])] * 2
    hugging_face.hub.faults["/api/models/o/m/tree/"] = lambda handler: handler.say_json(entries) is None
    with pytest.raises(ArchiveError, match="is listed twice"):
        resolve(f"hf://o/m@{commit}")
    assert fetched(hugging_face) == [] and os.listdir(cache_dir) == []


@pytest.mark.parametrize(("variable", "kind"), [("MAX_MEMBERS", FetchError), ("MAX_BYTES", ArchiveError)])
def test_limits_hold_for_repositories_too(
    variable: str, kind: type[ResolverError], hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    monkeypatch.setenv(f"TFIMM_RESOLVER_{variable}", "2")
    commit = hugging_face.push("o/m", MODEL)
    with pytest.raises(kind, match=variable):
        resolve(f"hf://o/m@{commit}")
    assert fetched(hugging_face) == [] and os.listdir(cache_dir) == []


def test_a_list_that_holds_nothing_below_the_folder_is_told(hugging_face: HuggingFace) -> None:
    commit = hugging_face.push("o/m", {"a/x": b"x"})
    entry = {"type": "file", "path": "b/x", "size": 1, "oid": "0" * 40}
    for entries, words in (
        ([entry], "lie elsewhere"),
        ([], "there are no files"),
        ([{"path": 1}], "no answer of Hugging Face"),
    ):
        hugging_face.hub.faults["/api/models/o/m/tree/"] = lambda handler, entries=entries: handler.say_json(entries) is None
        with pytest.raises(FetchError, match=words):
            resolve(f"hf://o/m@{commit}/a")


def test_a_hub_that_says_nothing_is_given_up(hugging_face: HuggingFace, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert len(paths) == 1 and len(fetched(hugging_face)) == len(MODEL)


@pytest.mark.parametrize("deadly", [signal.SIGKILL, signal.SIGINT])
def test_after_a_death_only_what_is_missing_comes(deadly: signal.Signals, hugging_face: HuggingFace, cache_dir: Path) -> None:
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
    first = fetched(hugging_face)
    assert files_in(resolve(f"hf://o/m@{commit}")) == MODEL and len([*cache_dir.glob("*")]) == 2
    assert len(fetched(hugging_face)) == len(first) + len(MODEL) - 1, "a small one had come"


def test_what_came_earlier_is_not_believed(hugging_face: HuggingFace, cache_dir: Path, tmp_path: Path) -> None:
    commit = hugging_face.push("o/m", MODEL)
    parts = cache_dir / f"{entry_name_for_key(f'hf://o/m@{commit}')}.parts"
    (parts / "variables").mkdir(parents=True)
    (parts / "saved_model.pb").write_bytes(b"a grapf")
    (tmp_path / "weights").write_bytes(MODEL[WEIGHTS])
    (parts / WEIGHTS).symlink_to(tmp_path / "weights")
    (parts / "variables/variables.index").write_bytes(MODEL["variables/variables.index"])
    path = Path(resolve(f"hf://o/m@{commit}"))
    assert files_in(path) == MODEL and not (path / WEIGHTS).is_symlink()
    assert len(fetched(hugging_face)) == 2 and "variables/variables.index" not in fetched(hugging_face)


def test_where_others_may_write_nothing_is_kept_for_later(hugging_face: HuggingFace, cache_dir: Path) -> None:
    commit = hugging_face.push("o/m", MODEL)
    parts = cache_dir / f"{entry_name_for_key(f'hf://o/m@{commit}')}.parts"
    parts.mkdir(parents=True)
    parts.chmod(0o777)
    (parts / "saved_model.pb").write_bytes(b"a graph")
    assert files_in(resolve(f"hf://o/m@{commit}")) == MODEL and "saved_model.pb" in fetched(hugging_face)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_what_comes_is_kept_where_no_other_user_can_have_put_it_or_can_reach_it(
    hugging_face: HuggingFace, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a root of several users one of them may make the directory first, at the last moment."""
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

        def overtaken(path: os.PathLike[str], *arguments: int, **options: object) -> None:
            if os.fspath(path) == str(parts) and not parts.exists():
                mkdir(path, 0o777)
                os.chown(path, 54321, 54321)
            mkdir(path, *arguments, **options)  # type: ignore[arg-type]

        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "mkdir", overtaken)
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
    from tests.light_start import HEAVY

    commit = hugging_face.push("o/m", MODEL)
    resolve("hf://o/m")
    code = "import sys, tfimm_resolver; tfimm_resolver.resolve(sys.argv[1]); print(*sys.modules)"
    loaded = set(run(code, f"hf://o/m@{commit}").split())
    assert loaded.isdisjoint(HEAVY)
    assert "huggingface_hub" not in run(code, "hf://o/m", TFIMM_RESOLVER_OFFLINE="1").split()


def test_a_refresh_of_a_commit_brings_the_same(hugging_face: HuggingFace) -> None:
    commit = hugging_face.push("o/m", MODEL)
    path = resolve(f"hf://o/m@{commit}")
    before = len(fetched(hugging_face))
    assert resolve(f"hf://o/m@{commit}", refresh=True) == path and len(fetched(hugging_face)) == 2 * before
    with pytest.raises(OfflineError):
        os.environ["TFIMM_RESOLVER_OFFLINE"] = "1"
        try:
            resolve(f"hf://o/m@{commit}", refresh=True)
        finally:
            del os.environ["TFIMM_RESOLVER_OFFLINE"]
