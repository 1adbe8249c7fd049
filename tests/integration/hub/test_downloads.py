"""Tests of files from a URL: where they are stored, when they are downloaded, and how they are checked."""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.archives import files_in, tar_gz
from tests.fakes.origin import Origin
from tests.fakes.processes import run, start
from tests.fakes.special_files import SPECIAL_FILES, make_socket
from tfimm_resolver.errors import (
    CacheError,
    FetchError,
    HandleError,
    HashError,
    IntegrityError,
    NotFoundError,
    OfflineError,
    WeightsError,
)
from tfimm_resolver.hub import download_url_to_file, layout, load_state_dict_from_url

BODY = random.Random(3).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()


def make_weights(value: int = 1) -> bytes:
    """Return a file of weights with one number."""
    out = io.BytesIO()
    np.savez(out, w=np.array([value]))
    return out.getvalue()


def load_value(url: str, **options: object) -> int:
    """Download a file of weights; return its number."""
    return int(load_state_dict_from_url(url, **options)["w"][0])  # type: ignore[arg-type]


def test_downloads_a_complete_file_to_the_path_and_leaves_no_other_file(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    for _ in range(2):
        download_url_to_file(origin.put("/w.bin", BODY), tmp_path / "out/w.bin", SHA256[:10])
        assert files_in(tmp_path / "out") == {"w.bin": BODY} and os.listdir(tmp_path / "out") == ["w.bin"]
    assert len(origin.requests) == 2, "as in torch.hub, every call downloads the file"


def test_what_a_killed_process_staged_goes_with_the_next_call(origin: Origin, tmp_path: Path) -> None:
    code = "import sys; from tfimm_resolver.locking.owner import new_token; print(new_token(), flush=True); sys.stdin.read()"
    with start(code, stdin=subprocess.PIPE) as living:  # type: ignore[arg-type]
        assert living.stdout is not None
        alive, dead = living.stdout.readline().strip(), run(code)
        prefix = "w.bin.tfimm_resolver"
        untouched = {
            f"{prefix}.{alive}.tmp",
            f"v.bin.tfimm_resolver.{dead}.tmp",
            f"{prefix}.{dead}",
            f"{prefix}.tmp",
            f"{prefix}.mine.tmp",
        }
        untouched |= {f"w.bin.{dead}.tmp", f"{prefix}.{alive}.parts"}
        for name in (*untouched, f"{prefix}.{dead}.tmp", f"{prefix}.{dead}.parts"):
            (tmp_path / "out" / name / "inner").mkdir(parents=True)
        download_url_to_file(origin.put("/w.bin", BODY), tmp_path / "out/w.bin")
        assert {*os.listdir(tmp_path / "out")} == {*untouched, "w.bin"}
        living.communicate("")


def test_what_the_user_has_beside_a_file_is_not_touched(origin: Origin, tmp_path: Path) -> None:
    mine = {"Cargo.lock": b"version = 4\n", "Cargo.parts/thesis.tex": b"x", "Cargo.tmp": b"y"}
    (tmp_path / "out/Cargo.parts").mkdir(parents=True)
    for name, data in mine.items():
        (tmp_path / "out" / name).write_bytes(data)
    url = origin.put("/f", random.Random(1).randbytes(9 << 20))  # large enough for ranges
    download_url_to_file(url, tmp_path / "out/Cargo", progress=False)
    assert {name: data for name, data in files_in(tmp_path / "out").items() if name != "Cargo"} == mine


def test_a_home_directory_is_expanded(origin: Origin, tmp_path: Path) -> None:
    download_url_to_file(origin.put("/w.bin", BODY), "~/w.bin", progress=False)
    assert (tmp_path / "home/w.bin").read_bytes() == BODY


def test_what_fails_leaves_what_was_there(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/w.bin").write_bytes(b"old")
    url = origin.put("/w.bin", BODY)
    with pytest.raises(RuntimeError, match=f'^invalid hash value \\(expected "{"0" * 10}", got "{SHA256}"\\)') as caught:
        download_url_to_file(url, tmp_path / "out/w.bin", "0" * 10)
    assert type(caught.value) is HashError and isinstance(caught.value, IntegrityError)
    origin.put("/w.bin", BODY, length=len(BODY) + 1)  # torch.hub takes the shorter body
    with pytest.raises(FetchError, match="connection broke"):
        download_url_to_file(url, tmp_path / "out/w.bin")
    with pytest.raises(NotFoundError):
        download_url_to_file(f"{url}x", tmp_path / "out/w.bin")
    assert files_in(tmp_path / "out") == {"w.bin": b"old"} and os.listdir(tmp_path / "out") == ["w.bin"]


@pytest.mark.parametrize("path", ["no/such/directory/w.bin", ""])
def test_where_nothing_can_be_written_nothing_is_asked(path: str, origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="cannot write"):
        download_url_to_file(origin.put("/w.bin", BODY), tmp_path / path)
    assert origin.requests == []


@pytest.mark.parametrize("create", SPECIAL_FILES.values(), ids=SPECIAL_FILES)
def test_a_target_that_is_not_a_file_is_not_replaced(create: Callable[[Path], object], origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    path = tmp_path / "out/w.bin"
    create(path)
    names, before = {*os.listdir(path.parent)}, os.lstat(path)
    with pytest.raises(CacheError, match=f"cannot write {path}: it is (not a regular file|a directory)"):
        download_url_to_file(origin.put("/w.bin", BODY), path, progress=False)
    assert os.path.samestat(before, os.lstat(path)) and {*os.listdir(path.parent)} == names and origin.requests == []


@pytest.mark.parametrize("target", ["theirs.bin", "nowhere", "w.bin"])
def test_a_link_to_a_file_is_replaced_as_in_torch_hub(target: str, origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "theirs.bin").write_bytes(b"old")
    (tmp_path / "w.bin").symlink_to(target)
    download_url_to_file(origin.put("/w.bin", BODY), tmp_path / "w.bin", progress=False)
    assert not (tmp_path / "w.bin").is_symlink() and (tmp_path / "w.bin").read_bytes() == BODY
    assert (tmp_path / "theirs.bin").read_bytes() == b"old" and not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("create", [os.mkdir, make_socket, lambda path: path.symlink_to("nowhere")])
def test_an_error_names_the_lock_file_that_cannot_be_used(
    create: Callable[[Path], object], origin: Origin, tmp_path: Path
) -> None:
    lock = tmp_path / "w.bin.tfimm_resolver.lock"
    create(lock)
    with pytest.raises(CacheError, match=f"cannot write {tmp_path}/w.bin: ") as caught:
        download_url_to_file(origin.put("/w.bin", BODY), tmp_path / "w.bin", progress=False)
    assert f"Remove {lock}" in caught.value.fix and origin.requests == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("check_hash", [False, True])
def test_a_pipe_in_place_of_a_cached_file_is_replaced(check_hash: bool, origin: Origin, tmp_path: Path) -> None:
    url = origin.put(f"/w-{DIGEST[:8]}.npz", make_weights())
    assert load_value(url, model_dir=tmp_path / "mine") == 1
    (path,), (record,) = tmp_path.glob("mine/*/*.npz"), tmp_path.glob("mine/*.descriptor.txt")
    path.unlink()
    os.mkfifo(path)
    record.write_text(re.sub(r'"size_bytes": \d+', '"size_bytes": 0', record.read_text()))
    assert load_value(url, model_dir=tmp_path / "mine", check_hash=check_hash) == 1 and path.is_file()


def test_another_pipe_in_the_tree_is_not_opened(origin: Origin, tmp_path: Path) -> None:
    url = origin.put("/w.npz", make_weights())
    assert load_value(url, model_dir=tmp_path / "mine") == 1
    (path,) = tmp_path.glob("mine/*/*.npz")
    os.mkfifo(path.with_name("more"))
    with pytest.raises(CacheError, match="is neither a file nor a directory") as caught:
        load_state_dict_from_url(url, model_dir=tmp_path / "mine")
    assert f"Remove {path.parent}" in caught.value.fix


@pytest.mark.parametrize("prefix", ["", "xyz", "-", "0" * 65])
def test_a_prefix_that_is_none_is_refused_before_any_request(prefix: str, origin: Origin, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hash_prefix is"):
        download_url_to_file(origin.put("/w.bin", BODY), tmp_path / "w.bin", prefix)
    assert origin.requests == []


@pytest.mark.parametrize("url", ["ftp://h/w.npz", "w.npz", "gs://bucket/w.npz", "/tmp/w.npz", ""])
def test_a_url_that_is_not_http_is_rejected(url: str, tmp_path: Path) -> None:
    with pytest.raises(HandleError):
        download_url_to_file(url, tmp_path / "w.bin")
    with pytest.raises(HandleError):
        load_state_dict_from_url(url)


def test_offline_no_file_is_downloaded(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = origin.put("/w.npz", make_weights())
    load_state_dict_from_url(url)
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert load_value(url) == 1
    with pytest.raises(OfflineError, match="TFIMM_RESOLVER_OFFLINE"):
        download_url_to_file(url, tmp_path / "w.npz")
    with pytest.raises(OfflineError, match=r"other\.npz is not cached in"):
        load_state_dict_from_url(f"{origin.url}/other.npz")
    assert len(origin.requests) == 1


def test_offline_a_directory_of_copies_serves_as_a_mirror(
    origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror/models.example.org").mkdir(parents=True)
    (tmp_path / "mirror/models.example.org/w.npz").write_bytes(make_weights(4))
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    monkeypatch.setenv("TFIMM_RESOLVER_MIRRORS", f"file://{tmp_path}/mirror,{origin.url}")
    assert load_value("https://models.example.org/w.npz") == 4
    with pytest.raises(OfflineError, match=r"other\.npz is not cached in"):
        load_state_dict_from_url("https://models.example.org/other.npz")
    assert origin.requests == []


def test_processes_that_bring_the_same_file_do_not_disturb_each_other(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    url = origin.put("/w.bin", BODY)
    code = "import sys; from tfimm_resolver.hub import download_url_to_file; download_url_to_file(*sys.argv[1:])"
    jobs = [start(code, url, str(tmp_path / "out/w.bin"), SHA256) for _ in range(4)]
    assert [(job.communicate(timeout=60)[1], job.returncode)[1] for job in jobs] == [0] * 4
    assert files_in(tmp_path / "out") == {"w.bin": BODY} and os.listdir(tmp_path / "out") == ["w.bin"]


def test_progress_is_shown_unless_it_is_not_wanted(origin: Origin, tmp_path: Path) -> None:
    url = origin.put("/w.npz", make_weights())
    code = """
        import logging, sys
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(name)s")
        from tfimm_resolver.hub import download_url_to_file, layout, load_state_dict_from_url
        _, url, path, progress = sys.argv
        download_url_to_file(url, path, progress=bool(progress))
        load_state_dict_from_url(url, path + "s", progress=bool(progress))
    """
    assert run(code, url, str(tmp_path / "silent"), "") == ""
    assert run(code, url, str(tmp_path / "shown"), "1").split() == ["tfimm_resolver.progress"] * 2


def test_weights_are_fetched_once_and_lie_below_the_hubs_directory(origin: Origin, hub_dir: Path) -> None:
    url = origin.put("/v1/weights.npz", make_weights())
    assert load_value(url) == 1 == load_value(url) and len(origin.requests) == 1
    ((tree,),) = [list((hub_dir / "checkpoints").glob("weights-npz-*/weights.npz"))]
    assert tree.read_bytes() == make_weights()


def test_files_of_the_same_name_from_two_urls_are_two_files(origin: Origin) -> None:
    assert load_value(origin.put("/a/weights.npz", make_weights(1))) == 1
    assert load_value(origin.put("/b/weights.npz", make_weights(2))) == 2
    assert load_value(f"{origin.url}/a/weights.npz") == 1


def test_a_directory_of_the_callers_is_used_and_what_else_lies_there_stays(origin: Origin, tmp_path: Path) -> None:
    (tmp_path / "mine/engine.parts").mkdir(parents=True)
    (tmp_path / "mine/weights.npz").write_bytes(b"put there by hand, from an unknown URL")
    os.utime(tmp_path / "mine/engine.parts", (0, 0))
    assert load_value(origin.put("/weights.npz", make_weights()), model_dir=tmp_path / "mine") == 1
    names = {*os.listdir(tmp_path / "mine")} - {"engine.parts", "weights.npz"}
    assert len(names) == 2 and all(name.startswith("weights-npz-") for name in names)
    assert (tmp_path / "mine/engine.parts").is_dir()
    assert (tmp_path / "mine/weights.npz").read_bytes().startswith(b"put there")


def test_a_query_tells_files_apart_and_is_not_written_down(origin: Origin, hub_dir: Path) -> None:
    for value in (1, 2):
        assert load_value(origin.put(f"/w.npz?token=s3cret{value}", make_weights(value))) == value
    for path in hub_dir.rglob("*"):
        assert "s3cret" not in str(path) and (path.is_dir() or b"s3cret" not in path.read_bytes())


def test_a_name_may_be_given_where_the_url_says_none(origin: Origin) -> None:
    url = origin.put("/download?id=7", make_weights())
    with pytest.raises(HandleError, match="is not in a supported format") as caught:
        load_state_dict_from_url(url)
    assert "not pickles" in caught.value.fix
    assert load_value(url, file_name="w.npz") == 1
    for name in ("../w.npz", "a/b.npz", "", "..", "a\\b.npz", "\n.npz"):
        with pytest.raises(HandleError, match="is not a file name"):
            load_state_dict_from_url(url, file_name=name)
    with pytest.raises(HandleError, match="is not a file name"):
        load_state_dict_from_url(f"{origin.url}/")
    with pytest.raises(HandleError, match="is not a file name"):
        load_state_dict_from_url(url, file_name="w\u202e.npz")
    assert len(origin.requests) == 1


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.ckpt", "w.pkl", "w.bin", "w", "w.npy", "w.h5.exe"])
def test_a_pickle_is_refused_before_any_request(name: str, origin: Origin) -> None:
    with pytest.raises(HandleError, match=r"is not in a supported format of weights\n.*\.safetensors"):
        load_state_dict_from_url(origin.put(f"/{name}", b"cos\nsystem\n"))
    assert origin.requests == []


DIGEST = hashlib.sha256(make_weights()).hexdigest()


@pytest.mark.parametrize("digits", [8, 12, 64])
def test_the_hash_in_a_name_is_compared(digits: int, origin: Origin, hub_dir: Path) -> None:
    assert load_value(origin.put(f"/model-1.0-{DIGEST[:digits]}.npz", make_weights()), check_hash=True) == 1
    wrong = origin.put(f"/model-{'0' * digits}.npz", make_weights())
    with pytest.raises(HashError, match=f'invalid hash value \\(expected "{"0" * digits}", got "{DIGEST}"\\)'):
        load_state_dict_from_url(wrong, check_hash=True)
    assert not list(hub_dir.rglob("model-0*.npz")) and load_value(wrong) == 1, "the hash is only checked on request"
    with pytest.raises(HashError):
        load_state_dict_from_url(wrong, check_hash=True)


@pytest.mark.parametrize("name", ["m-1.0.npz", "w.npz", "w-1234567.npz", "w-12345678x.npz", "w-ABCDEF01.npz", "12345678.npz"])
def test_a_name_without_a_hash_is_refused_before_any_request(name: str, origin: Origin) -> None:
    with pytest.raises(ValueError, match="does not contain a hash"):
        load_state_dict_from_url(origin.put(f"/{name}", make_weights()), check_hash=True)
    assert origin.requests == []


def test_the_hash_may_stand_before_an_extension_of_two_parts(origin: Origin) -> None:
    with pytest.raises(HashError):
        load_state_dict_from_url(origin.put("/w-00000000.weights.h5", b"no matter"), check_hash=True)
    with pytest.raises(HashError):
        load_state_dict_from_url(origin.put("/w-00000000.tar.gz", tar_gz()), check_hash=True)


def test_a_cached_file_is_compared_too_and_fetched_again_if_a_byte_changed(origin: Origin, hub_dir: Path) -> None:
    url = origin.put(f"/w-{DIGEST[:8]}.npz", make_weights())
    assert load_value(url) == 1
    (path,) = hub_dir.rglob("*.npz")
    path.write_bytes(make_weights(7))  # of the same length
    assert load_value(url) == 7
    assert load_value(url, check_hash=True) == 1 and len(origin.requests) == 2
    assert load_value(url, check_hash=True) == 1 and len(origin.requests) == 2


def test_a_pin_at_the_urls_end_is_kept(origin: Origin) -> None:
    url = origin.put("/w.npz", make_weights())
    assert load_value(f"{url}#sha256={DIGEST}") == 1
    with pytest.raises(IntegrityError, match="is cached with a different sha256"):
        load_state_dict_from_url(f"{url}#sha256={'0' * 64}")


def test_eight_processes_that_want_the_same_weights_make_one_download(origin: Origin, hub_dir: Path) -> None:
    url = origin.put("/w.npz", make_weights(3))
    code = """
        import sys
        from tfimm_resolver.hub import load_state_dict_from_url
        sys.stdin.readline()
        print(load_state_dict_from_url(sys.argv[1])["w"][0])
    """
    jobs = [start(code, url, stdin=subprocess.PIPE) for _ in range(8)]  # type: ignore[arg-type]
    results = [job.communicate("\n", timeout=120) for job in jobs]
    assert [out.strip() for out, _ in results] == ["3"] * 8, results
    assert len(origin.requests) == 1


def test_a_damaged_file_is_told_with_its_place(origin: Origin) -> None:
    with pytest.raises(WeightsError, match=r"w\.npz cannot be read"):
        load_state_dict_from_url(origin.put("/w.npz", b"PK\x03\x04 and no more"))


def test_weights_in_use_are_not_removed(origin: Origin, tmp_path: Path) -> None:
    url, model_dir = origin.put("/w.npz", make_weights()), str(tmp_path / "models")
    load_value(url, model_dir=model_dir)
    cache = layout.open_weights(model_dir)
    (entry,) = cache.entries()
    code = "import sys; from tfimm_resolver.locking import use_lock; print(use_lock.try_exclude(sys.argv[1]))"
    assert run(code, entry.path) == "None"
