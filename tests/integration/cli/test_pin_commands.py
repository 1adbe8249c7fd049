"""The commands ``add``, ``lock``, ``sync`` and ``why``, with text and JSON output."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.buckets import fill_s3, list_requested_paths
from tests.fakes.cli import run_cli, run_on_terminal
from tests.fakes.models_file import project as project  # noqa: PLC0414  # a fixture
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin, Page
from tests.fakes.pins import OTHER, PIN, SIZE_BYTES, WriteModels, make_pinned
from tests.fakes.pins import write_models as write_models  # noqa: PLC0414  # a fixture
from tests.fakes.stores.gcs import Gcs
from tests.fakes.stores.s3 import S3
from tfimm_resolver import manifest, resolve
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cli import app
from tfimm_resolver.errors import ModelsFileError, OfflineError
from tfimm_resolver.models_file import discovery
from tfimm_resolver.models_file.discovery import FILE_NAME
from tfimm_resolver.project import pins

OTHER_PIN = hashlib.sha256(tar_gz(OTHER)).hexdigest()


def test_add_fetches_and_pins(project: Path, origin: Origin, cache_dir: Path) -> None:
    handle = origin.put_model("/resnet18/1", tar_gz())
    mirror = origin.put("/r.tgz", tar_gz())
    code, out, err = run_cli("add", "resnet18", handle, "--alias", "r18", "--mirror", mirror)
    assert code == 0 and out == f"resnet18  {handle}\n  sha256 {PIN}, {SIZE_BYTES} B\n  in {project}/{FILE_NAME}\n"
    assert handle in err, "progress is printed on stderr"
    assert (project / FILE_NAME).read_text() == (
        f'[models.resnet18]\nhandle = "{handle}"\nsha256 = "{PIN}"\nsize_bytes = {SIZE_BYTES}\n'
        f'aliases = ["r18"]\nmirrors = ["{mirror}"]\n'
    )
    assert resolve("r18") == f"{cache_dir}/{entry_name_for_key(handle)}" and len(origin.requests) == 2
    assert os.listdir(project) == [FILE_NAME]


def test_add_writes_into_the_nearest_or_the_first_named_file_and_keeps_its_contents(project: Path, origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    outer = project.parent / FILE_NAME
    outer.write_text("# comment\n")
    assert run_cli("add", "m", handle)[0] == 0
    assert outer.read_text().startswith("# comment\n") and not (project / FILE_NAME).exists()
    named = f"{project}/new.toml{os.pathsep}{outer}"
    facts = json.loads(run_cli("add", "n", f"{handle}#sha256={PIN}", "--json", TFIMM_MODELS_FILE=named)[1])
    assert facts == {
        "name": "n",
        "handle": handle,
        "sha256": PIN,
        "size_bytes": SIZE_BYTES,
        "aliases": [],
        "mirrors": [],
        "file": f"{project}/new.toml",
        "path": resolve(handle),
    }
    assert "[models.n]" in (project / "new.toml").read_text() and "[models.n]" not in outer.read_text()


def test_add_reports_errors_before_it_fetches_and_writes_nothing(
    write_models: WriteModels, origin: Origin, project: Path
) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    before = write_models(m={"handle": handle, "aliases": ["n"]}).read_text()
    for arguments, text in (
        (["m", handle], f"{project}/{FILE_NAME}:1: m already exists\n  Use --replace"),
        (["n", handle, "--replace"], "n already exists, an alias of m"),
        (["https://h/m", handle], "is not a valid model name"),
        (["x", handle, "--alias", "a/b"], "is not a valid model name"),
        (["x", f"{handle}?token=hidden"], "may contain a secret"),
        (["x", handle.replace("://", "://ada:hidden@")], "may contain a secret"),
        (["x", handle, "--mirror", "https://ada:hidden@mirror/m.tgz"], "may contain a secret"),
        (["x", "no_such_model"], "no model named"),
        (["x", "htps://host/m"], "Did you mean https://host/m ?"),
    ):
        code, out, err = run_cli("add", *arguments)
        assert (code, out) == (2, "") and text in err and "hidden" not in err, arguments
    assert origin.requests == []
    for arguments, expected in ((["x", f"{handle}#sha256={'0' * 64}"], 3), (["x", f"{origin.url}/gone.tgz"], 3)):
        assert run_cli("add", *arguments)[0] == expected
    assert run_cli("add", "x", handle, "--alias", "n")[0] == 2
    assert (project / FILE_NAME).read_text() == before and os.listdir(project) == [FILE_NAME]


def test_add_replaces_an_entry_on_demand(write_models: WriteModels, origin: Origin, project: Path) -> None:
    old, new = origin.put("/old.tgz", tar_gz()), origin.put("/new.tgz", tar_gz(OTHER))
    path = write_models(m=make_pinned(old, aliases=["n"], mirrors=[new]))
    path.write_text(path.read_text().replace("[models.m]", "[models.m]  # comment"))
    assert run_cli("add", "m", new, "--replace")[0] == 0
    model = discovery.find_entry("m")
    assert model is not None and (model.handle, model.sha256, model.aliases, model.mirrors) == (new, OTHER_PIN, (), ())
    assert "# comment" in path.read_text() and files_in(resolve("m")) == OTHER


def test_add_writes_paths_so_that_a_project_can_move(project: Path) -> None:
    (project / "below").mkdir()
    put_model(project / "models/m")
    (project / "models/n.tgz").write_bytes(tar_gz())
    (Path.home() / "h.tgz").write_bytes(tar_gz())
    (project.parent / "outside.tgz").write_bytes(tar_gz())
    for name, handle in (
        ("m", "models"),
        ("m2", "./models/m"),
        ("n", "models/n.tgz"),
        ("h", "~/h.tgz"),
        ("o", "../outside.tgz"),
    ):
        assert run_cli("add", name, handle)[0] == 0
    moved = shutil.move(project, project.parent / "moved")
    os.chdir(moved)
    handles = {model.name: (model.handle, model.sha256) for model in discovery.list_entries()}
    assert handles == {
        "m": (f"{moved}/models", None),
        "m2": (f"{moved}/models/m", None),
        "n": (f"{moved}/models/n.tgz", PIN),
        "h": ("~/h.tgz", PIN),
        "o": (f"{project.parent}/outside.tgz", PIN),
    }


def test_add_says_if_a_model_cannot_be_pinned(project: Path) -> None:
    code, out, _ = run_cli("add", "m", "gs://bucket/m")
    assert code == 0 and "not pinned: it is not an archive" in out
    assert (project / FILE_NAME).read_text() == '[models.m]\nhandle = "gs://bucket/m"\n'
    code, _, err = run_cli("add", "n", "gs://bucket/m", "--mirror", "https://mirror/n.tgz")
    assert code == 2 and "so it has no sha256 to check a mirror with" in err
    assert "models.n" not in (project / FILE_NAME).read_text()


def test_add_fetches_a_model_again_if_plain_tensorflow_hub_recorded_no_hash(
    project: Path, origin: Origin, cache_dir: Path
) -> None:
    handle = origin.put_model("/m/1", tar_gz())
    put_model(cache_dir / entry_name_for_key(handle))
    assert run_cli("add", "m", handle)[0] == 0 and len(origin.requests) == 1
    model = discovery.find_entry("m")
    assert model is not None and model.sha256 == PIN


def test_add_pins_the_archive_in_any_load_format(project: Path, origin: Origin) -> None:
    origin.put("/m/1?tf-hub-format=uncompressed", b"gs://bucket/m/1", status=303)
    assert f"sha256 {PIN}" in run_cli("add", "m", origin.put_model("/m/1", tar_gz()), "--load-format", "UNCOMPRESSED")[1]


def test_lock_pins_unpinned_models_and_leaves_the_rest(write_models: WriteModels, origin: Origin, cache_dir: Path) -> None:
    handles = [origin.put(f"/{name}.tgz", tar_gz()) for name in "abc"]
    path = write_models(
        a={"handle": handles[0]}, b=make_pinned(handles[1]), c={"handle": handles[2], "sha256": PIN}, d={"handle": "gs://b/m"}
    )
    path.write_text("# comment\n" + path.read_text())
    code, out, _ = run_cli("lock")
    rows = dict(reversed(line.split()[:2]) for line in out.splitlines() if not line.startswith(" "))
    assert "  not pinned: it is not an archive\n" in out
    assert (code, rows) == (0, {"a": "pinned", "b": "ok", "c": "pinned", "d": "unverified"})
    pins_ = {model.name: (model.sha256, model.size_bytes) for model in discovery.list_entries()}
    assert pins_ == {"a": (PIN, SIZE_BYTES), "b": (PIN, SIZE_BYTES), "c": (PIN, SIZE_BYTES), "d": (None, None)}
    assert path.read_text().startswith("# comment\n") and sorted(origin.requests) == ["/a.tgz", "/b.tgz", "/c.tgz"]
    assert len(list(cache_dir.iterdir())) == 2, "archives that are only compared are not cached"


def test_lock_reports_changes_upstream_and_updates_pins_only_on_demand(
    write_models: WriteModels, origin: Origin, cache_dir: Path
) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    path = write_models(m=make_pinned(handle), n=make_pinned(origin.put("/n.tgz", tar_gz())))
    before, tree = path.read_text(), resolve("m")
    origin.put("/m.tgz", tar_gz(OTHER))
    for arguments in ([], ["--check"]):
        code, out, _ = run_cli("lock", *arguments)
        assert code == 8 and re.search(r"(?m)^changed +m ", out) and re.search(r"(?m)^ok +n ", out)
        for text in (f"pinned    {PIN}", f"upstream  {OTHER_PIN}", "tfimm-resolver lock --update m"):
            assert text in out
    assert path.read_text() == before and resolve("m") == tree and files_in(tree) == MODEL, "the check changed something"
    assert sorted(cache_dir.iterdir()) == [Path(tree), Path(f"{tree}.descriptor.txt")]
    facts = json.loads(run_cli("lock", "--update", "m", "--json")[1])
    (row,) = facts["models"]
    assert (row["state"], row["sha256"], row["upstream_sha256"]) == ("updated", PIN, OTHER_PIN)
    assert files_in(resolve("m")) == OTHER and discovery.find_entry("m").sha256 == OTHER_PIN  # type: ignore[union-attr]
    assert run_cli("lock")[0] == run_cli("lock", "--check")[0] == 0
    assert run_cli("lock", "--update")[0] == 0, "no update is left"


def test_lock_check_writes_nothing(write_models: WriteModels, origin: Origin, cache_dir: Path) -> None:
    path = write_models(m={"handle": origin.put("/m.tgz", tar_gz())}, n=make_pinned(f"{origin.url}/m.tgz", size_bytes=1))
    before = path.read_text()
    code, out, _ = run_cli("lock", "--check")
    assert code == 8 and out.count("unpinned") == 2 and path.read_text() == before
    assert not cache_dir.exists() or list(cache_dir.iterdir()) == []
    assert run_cli("lock", "--check", "-q")[:2] == (8, "m\nn\n")
    assert run_cli("lock", "--check", "--update")[0] == 2


def test_lock_continues_after_a_failure_and_exits_with_its_code(write_models: WriteModels, origin: Origin) -> None:
    write_models(a=make_pinned(f"{origin.url}/gone.tgz"), b={"handle": origin.put("/b.tgz", tar_gz())})
    code, out, err = run_cli("lock")
    assert code == 3 and re.search(r"(?m)^failed +a ", out) and re.search(r"(?m)^pinned +b ", out) and "404" in err
    facts = json.loads(run_cli("lock", "--json")[1])
    assert facts["error"]["code"] == "not-found" and [row["state"] for row in facts["models"]] == ["failed", "ok"]


def test_lock_writes_each_pin_into_the_file_of_its_model(
    project: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    for name in ("first", "second"):
        (project / f"{name}.toml").write_text(f'[models.{name}]\nhandle = "{handle}"\n[models.both]\nhandle = "{handle}"\n')
    monkeypatch.setenv("TFIMM_MODELS_FILE", f"first.toml{os.pathsep}second.toml")
    assert run_cli("lock")[0] == 0
    counts = {name: (project / f"{name}.toml").read_text().count(PIN) for name in ("first", "second")}
    assert counts == {"first": 2, "second": 1}, "shadowed entries are not pinned"


def test_changes_by_others_are_not_overwritten(write_models: WriteModels) -> None:
    path = write_models(m=make_pinned("https://host/m.tgz"))
    model = discovery.find_entry("m")
    assert model is not None
    with pytest.raises(ModelsFileError, match="m already exists"):
        pins.add(str(path), model)
    before = write_models(m={"handle": "https://host/other.tgz"}).read_text()
    with pytest.raises(ModelsFileError, match="m was changed during the run"):
        pins.pin(model, manifest.Origin(sha256=PIN, size_bytes=SIZE_BYTES))
    assert path.read_text() == before


def test_a_handle_with_a_secret_is_locked_without_showing_it(
    write_models: WriteModels, origin: Origin, cache_dir: Path
) -> None:
    write_models(m={"handle": origin.put("/m.tgz?token=hidden", tar_gz()).replace("://", "://ada:hidden@")})
    for arguments in (["lock"], ["lock", "--json"], ["sync"], ["sync", "--json"], ["why", "m"], ["why", "m", "--json"]):
        code, out, err = run_cli(*arguments)
        assert code == 0 and "hidden" not in out + err, arguments


def test_sync_fetches_missing_models_in_parallel_and_check_only_reports(
    write_models: WriteModels, origin: Origin, cache_dir: Path
) -> None:
    handles = {name: origin.put(f"/{name}.tgz", tar_gz({"saved_model.pb": name.encode()})) for name in "abcd"}
    hashes = {name: hashlib.sha256(tar_gz({"saved_model.pb": name.encode()})).hexdigest() for name in "abcd"}
    write_models(
        **{name: {"handle": handles[name], "sha256": hashes[name]} for name in "abcd"}, far={"handle": "gs://bucket/m"}
    )
    assert run_cli("sync", "a")[0] == 0
    code, out, err = run_cli("sync", "--check")
    assert (code, err) == (8, "") and [line.split()[0] for line in out.splitlines()] == ["cached", *["missing"] * 3, "cached"]
    assert len(origin.requests) == 1, "--check used the network"
    code, out, err = run_cli("sync")
    rows = [line.split() for line in out.splitlines()]
    assert code == 0 and [row[:2] for row in rows] == [
        ["cached", "a"],
        *(["fetched", name] for name in "bcd"),
        ["cached", "far"],
    ]
    assert all(files_in(row[-1]) == {"saved_model.pb": row[1].encode()} for row in rows[:4]) and rows[4][-1] == "gs://bucket/m"
    assert sorted(line.split()[0] for line in err.splitlines()) == ["3", "b", "c", "d"], "one line per model, and the sum"
    assert run_cli("sync", "--check")[0] == 0 and run_cli("sync", "-q")[1:] == ("a\nb\nc\nd\nfar\n", "")
    facts = json.loads(run_cli("sync", "--json", "d", "a", "d")[1])
    assert [row["name"] for row in facts["models"]] == ["d", "a"] and facts["models"][1]["path"] == rows[0][-1]


def test_sync_really_fetches_in_parallel(write_models: WriteModels, origin: Origin) -> None:
    """Every response is held back until all have been requested."""
    gate, names = threading.Event(), "abc"
    write_models(**{name: {"handle": f"{origin.url}/{name}.tgz"} for name in names})
    for name in names:
        origin.put(f"/{name}.tgz", tar_gz(), gate=gate)
    job = subprocess.Popen([sys.executable, "-m", "tfimm_resolver", "sync", "-j", "3"], stdout=subprocess.PIPE, text=True)
    try:
        while len(origin.requests) < 3:
            assert job.poll() is None
        gate.set()
        out, _ = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 0 and out.count("fetched") == 3


def test_sync_fetches_nothing_for_a_name_that_was_changed_during_the_run(write_models: WriteModels, origin: Origin) -> None:
    gate = threading.Event()
    origin.put("/a.tgz", tar_gz(), gate=gate)
    for name in "bc":
        origin.put(f"/{name}.tgz", tar_gz())
    write_models(a={"handle": f"{origin.url}/a.tgz"}, b={"handle": f"{origin.url}/b.tgz"})
    job = subprocess.Popen(
        [sys.executable, "-m", "tfimm_resolver", "sync", "-j", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while len(origin.requests) < 1:
            assert job.poll() is None
        write_models(a={"handle": f"{origin.url}/a.tgz"}, b={"handle": f"{origin.url}/c.tgz"})
        gate.set()
        out, err = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 2 and "b was changed during the run" in err and "/c.tgz" not in out
    assert len(origin.requests) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stalled_s", [0, 0.5], ids=["at once", "while stalled"])
def test_an_interrupted_sync_leaves_no_partial_model(
    stalled_s: float, number: int, write_models: WriteModels, origin: Origin, cache_dir: Path
) -> None:
    bodies = {name: tar_gz({"saved_model.pb": os.urandom(300_000)}) for name in "ab"}
    write_models(**{name: {"handle": f"{origin.url}/{name}.tgz"} for name in bodies})
    gate = threading.Event()
    for name, body in bodies.items():
        origin.put(f"/{name}.tgz", body, gate=gate)
    job = subprocess.Popen(
        [sys.executable, "-m", "tfimm_resolver", "sync"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    late = threading.Timer(45, gate.set)  # a process that ignores the signal could finish then
    try:
        while len(origin.requests) < 2 or not cache_dir.exists() or len(list(cache_dir.glob("*.tmp"))) < 2:
            assert job.poll() is None
        time.sleep(stalled_s)
        job.send_signal(number)
        late.start()
        _, err = job.communicate(timeout=60)
    finally:
        late.cancel()
        job.kill()
    assert job.returncode == 128 + number and "Traceback" not in err
    assert [path for path in cache_dir.iterdir() if path.suffix != ".parts"] == []


def test_sync_reports_mismatches_with_pins_and_continues(write_models: WriteModels, origin: Origin) -> None:
    bad, good = origin.put("/bad.tgz", tar_gz(OTHER)), origin.put("/good.tgz", tar_gz())
    write_models(bad=make_pinned(bad), good=make_pinned(good), gone=make_pinned(f"{origin.url}/gone.tgz"))
    resolve(bad)
    origin.requests.clear()
    code, out, _ = run_cli("sync", "--check")
    assert code == 8 and [line.split()[0] for line in out.splitlines()] == ["changed", "missing", "missing"]
    assert run_cli("sync", "--check", "bad")[0] == 8
    code, out, err = run_cli("sync")
    assert code == 3 and [line.split()[0] for line in out.splitlines()] == ["changed", "failed", "fetched"]
    assert PIN in err and OTHER_PIN in err and "404" in err and origin.requests.count("/bad.tgz") == 1
    assert files_in(resolve(bad)) == OTHER, "the cached copy stays if upstream does not match the pin either"


def test_sync_fetches_what_a_new_pin_names_in_place_of_the_cached_copy(write_models: WriteModels, origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz(OTHER))
    old = resolve(handle)
    origin.put("/m.tgz", tar_gz())
    write_models(m=make_pinned(handle))
    assert run_cli("sync", "--check")[0] == 8
    assert run_cli("sync")[1].startswith("fetched") and files_in(resolve("m")) == MODEL
    assert files_in(old) == OTHER, "programs that read the old copy are not disturbed"
    assert run_cli("sync")[1].startswith("cached")


def test_names_of_one_handle_cost_one_download(write_models: WriteModels, origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    write_models(**{name: make_pinned(handle) for name in "abc"}, d=make_pinned(f"{handle}/", sha256=OTHER_PIN, size_bytes=1))
    code, out, _ = run_cli("sync", "a", "b", "c")
    assert code == 0 and len({line.split()[-1] for line in out.splitlines()}) == 1 and origin.requests == ["/m.tgz"]
    assert run_cli("sync")[0] == 3 and origin.requests == ["/m.tgz"] * 2, "once more for the other pin"


@pytest.mark.parametrize("is_second_level", [False, True])
def test_pins_hold_in_a_bucket(
    is_second_level: bool, project: Path, origin: Origin, gcs: Gcs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "here"))
    monkeypatch.setenv("TFIMM_RESOLVER_LOCAL_COPY", "1" if is_second_level else "")
    handle = origin.put("/m.tgz", tar_gz())
    assert run_cli("add", "m", handle)[0] == 0 and run_cli("sync", "--check")[0] == 0
    assert discovery.find_entry("m").sha256 == PIN  # type: ignore[union-attr]
    assert resolve("m").startswith(str(tmp_path / "here") if is_second_level else "gs://bucket/cache/")
    before = gcs.buckets["bucket"].files("cache/")
    origin.put("/m.tgz", tar_gz(OTHER))
    assert run_cli("lock", "--check")[0] == 8 and run_cli("why", "m")[0] == 0
    assert gcs.buckets["bucket"].files("cache/") == before, "the check changed the bucket"
    assert run_cli("lock", "--update")[0] == 0 and discovery.find_entry("m").sha256 == OTHER_PIN  # type: ignore[union-attr]
    assert run_cli("sync", "--check")[0] == 0


def test_a_directory_in_a_bucket_is_added_but_not_pinned(project: Path, s3: S3) -> None:
    fill_s3({f"m/{name}": data for name, data in MODEL.items()})
    code, out, _ = run_cli("add", "m", "s3://bucket/m")
    assert code == 0 and "not pinned: it is not an archive" in out and files_in(resolve("m")) == MODEL
    requested = len(list_requested_paths(s3, "GET"))
    assert run_cli("lock")[1].startswith("unverified  m") and run_cli("sync", "--check")[0] == 0
    assert len(list_requested_paths(s3, "GET")) == requested, "it was fetched again needlessly"


def test_an_unknown_name_and_a_project_without_a_file_are_errors(write_models: WriteModels, project: Path) -> None:
    for command in ("lock", "sync"):
        code, _, err = run_cli(command)
        assert (
            code == 2
            and f"there is no {FILE_NAME} in this directory or its parents" in err
            and "tfimm-resolver add NAME HANDLE" in err
        )
    write_models(resnet18={"handle": "https://h/m"})
    code, _, err = run_cli("sync", "resnet19")
    assert code == 2 and 'no model "resnet19"' in err and "Did you mean resnet18?" in err
    (project / FILE_NAME).write_text("")
    assert run_cli("sync")[:2] == run_cli("lock")[:2] == (0, "")


def test_on_a_terminal_sync_has_one_line_for_all_and_finished_models_above_it(
    write_models: WriteModels, origin: Origin
) -> None:
    bodies = {name: tar_gz({"saved_model.pb": os.urandom(400_000)}) for name in "abc"}
    sizes = {name: len(body) for name, body in bodies.items()}
    write_models(
        **{
            name: {
                "handle": origin.put(f"/{name}.tgz", body),
                "sha256": hashlib.sha256(body).hexdigest(),
                "size_bytes": sizes[name],
            }
            for name, body in bodies.items()
        }
    )
    screen = run_on_terminal("sync", "--color", "never", columns=100)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    lines = re.split(r"[\r\n]+", text)
    for name in "abc":
        assert [line for line in lines if re.match(rf"  {name}  400 kB in \d", line)]
    bars = [line for line in lines if "─" in line or "━" in line]
    assert bars and all("3 models" in line for line in bars), "a model has its own bar"
    assert [line for line in lines if re.match(r"  3 models  1.2 MB in \d+\.\d s(, .*/s)?$", line)]
    assert "3 fetched" in text


def test_a_warning_is_not_mixed_into_the_progress_line(write_models: WriteModels, origin: Origin) -> None:
    gate, is_line_there = threading.Event(), threading.Event()

    def gone_when_the_line_is_there() -> Page:
        is_line_there.wait(30)
        return Page(b"", 404)

    def watch(text: str) -> None:
        if "2 models" in text:
            is_line_there.set()
        if "answered 404" in text:
            gate.set()

    slow = {"handle": origin.put("/slow.tgz", tar_gz({"saved_model.pb": os.urandom(400_000)}), gate=gate)}
    write_models(slow=slow, m=make_pinned(f"{origin.url}/gone.tgz", mirrors=[origin.put("/m.tgz", tar_gz())]))
    origin.pages["/gone.tgz"] = gone_when_the_line_is_there
    screen = run_on_terminal("sync", "--color", "never", columns=300, watch=watch)
    before, text, _ = screen.partition(f"{origin.url}/gone.tgz answered 404")
    assert text and re.search(r"2 models.*\r\x1b\[2K$", before, re.DOTALL), screen


def test_why_shows_the_rule_and_the_candidates_in_lookup_order(
    write_models: WriteModels, origin: Origin, project: Path, cache_dir: Path
) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    below = put_model(Path.home() / ".cache/tfimm/m")
    code, out, _ = run_cli("why", "m")
    assert code == 0 and out.splitlines() == [
        str(below),
        "  asked      m",
        f"  rule       directory of names, {below.parent}",
        "  not used   set_model_cache (nothing set in this process)",
        f"             {FILE_NAME} (none found)",
        f"             {Path.home()}/.cache/m (does not exist)",
        f"             {project}/m (does not exist)",
    ]
    path = write_models(other={"handle": handle})
    assert f"{path} (does not name it)" in run_cli("why", "m")[1]
    path = write_models(m=make_pinned(handle, aliases=["n"]))
    put_model(project / "m")
    code, out, _ = run_cli("why", "m")
    assert code == 0 and out.splitlines() == [
        "not cached: resolve fetches it",
        "  asked      m",
        f"  rule       models file, {path}:1",
        f"  handle     {handle}",
        f"  pin        sha256 {PIN}, {SIZE_BYTES} B",
        "  not used   set_model_cache (nothing set in this process)",
        f"             {below} (exists, lower priority)",
        f"             {Path.home()}/.cache/m (does not exist)",
        f"             {project}/m (exists, lower priority)",
    ]
    assert origin.requests == [], "why fetched"
    tree = resolve("m")
    assert run_cli("why", "n")[1].startswith(f"{tree}\n") and "n is an alias of m" in run_cli("why", "n")[1]
    facts = json.loads(run_cli("why", "n", "--json")[1])
    assert (facts["path"], facts["rule"], facts["said_by"]) == (tree, "models file", f"{path}:1, n is an alias of m")
    assert facts["sha256"] == PIN and {"place": f"{project}/n", "reason": "does not exist"} in facts["not_used"]


def test_why_lists_every_models_file(project: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    for name, model in (("a", "x"), ("b", "m"), ("c", "m")):
        (project / f"{name}.toml").write_text(f'[models.{model}]\nhandle = "{handle}"\n')
    monkeypatch.setenv("TFIMM_MODELS_FILE", os.pathsep.join(("a.toml", "b.toml", "c.toml")))
    out = run_cli("why", "m")[1]
    assert f"rule       models file, {project}/b.toml:1" in out
    assert f"{project}/a.toml (does not name it)" in out and f"{project}/c.toml (names it, lower priority)" in out


def test_why_explains_overrides_sources_and_unknown_names(
    write_models: WriteModels,
    origin: Origin,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_models(m={"handle": origin.put("/m.tgz", tar_gz())})
    mine = put_model(tmp_path / "mine")
    tfimm_resolver.set_model_cache("m", mine)
    assert app.main(["why", "m"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{mine}\n") and "rule       override, set by set_model_cache" in out
    assert f"{path} (names it, lower priority)" in out and "nothing set" not in out
    path.write_text("nonsense")
    assert app.main(["why", "m"]) == 0 and f"{path} (cannot be used: {path}:1: " in capsys.readouterr().out
    path.unlink()
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "extra"))
    code, out, _ = run_cli("why", f"{origin.url}/m.tgz")
    assert code == 0 and "rule       source, http" in out and f"{tmp_path}/extra (an extra root that does not exist" in out
    code, out, err = run_cli("why", "nothing")
    assert (code, out) == (2, "") and "no model named" in err
    assert origin.requests == []


def test_why_shows_a_cached_model_that_does_not_match_its_pin(write_models: WriteModels, origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz(OTHER))
    resolve(handle)
    write_models(m=make_pinned(handle))
    code, out, err = run_cli("why", "m")
    assert code == 3 and out.startswith("no path: the cached copy does not match the pin\n") and "models file" in out
    assert PIN in err and OTHER_PIN in err
    facts = json.loads(run_cli("why", "m", "--json")[1])
    assert facts["path"] is None and facts["error"]["code"] == "integrity"


def test_why_gives_no_path_where_upstream_is_asked_at_each_call(
    write_models: WriteModels, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = origin.put_model("/m/1", tar_gz())
    cached = resolve(handle)
    origin.put("/m/1?tf-hub-format=uncompressed", b"gs://bucket/m/1", status=303)
    write_models(free={"handle": handle}, m=make_pinned(handle))
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    for name in (handle, "free"):
        code, out, _ = run_cli("why", name)
        assert code == 0 and out.startswith("unknown: resolve asks the server") and f"{cached} (cached, used if" in out
        assert json.loads(run_cli("why", name, "--json")[1])["path"] is None
    assert run_cli("why", "m")[1].startswith(f"{cached}\n"), "with a pin, only the archive counts"
    assert run_cli("why", "free", TFIMM_RESOLVER_OFFLINE="1")[1].startswith(f"{cached}\n") and len(origin.requests) == 1


def test_why_says_that_nothing_is_fetched_offline(origin: Origin) -> None:
    handle = origin.put_model("/m/1", tar_gz())
    assert run_cli("why", handle)[1].startswith("not cached: resolve fetches it\n")
    shown = run_cli("why", handle, TFIMM_RESOLVER_OFFLINE="1")[1]
    assert shown.startswith("not cached, and not fetched while TFIMM_RESOLVER_OFFLINE is set\n")


def test_an_unreachable_bucket_of_names_hides_no_local_model(
    write_models: WriteModels, project: Path, gcs: Gcs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = put_model(project / "here")
    write_models(named={"handle": "./here"})
    monkeypatch.setenv("TFIMM_HOME", "gs://bucket/names")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve("named") == resolve("here") == str(here) and "skipped: " in caplog.text
    code, out, _ = run_cli("why", "named")
    assert code == 0 and out.startswith(f"{here}\n") and "gs://bucket/names/named (skipped: " in out
    assert run_cli("why", "here")[1].startswith(f"{here}\n")
    below = put_model(Path.home() / ".cache/here")
    assert resolve("here") == str(below)
    with pytest.raises(OfflineError):
        resolve("nowhere")
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    for name, data in MODEL.items():
        gcs.buckets["bucket"].put(f"names/here/{name}", data)
    assert resolve("here") == "gs://bucket/names/here"


def test_path_shows_the_models_file_and_where_it_is_set(write_models: WriteModels, project: Path) -> None:
    assert "models_files" in json.loads(run_cli("path", "--json")[1])
    path = write_models(m={"handle": "gs://b/m"})
    assert (
        f"models  {path}" in re.sub(" {3,}", "  ", run_cli("path")[1])
        and "nearest in this directory or above" in run_cli("path")[1]
    )
    facts = json.loads(run_cli("path", "--json", TFIMM_MODELS_FILE=f"other.toml{os.pathsep}{path}")[1])
    assert facts["models_files"] == [
        {"path": file, "source": "$TFIMM_MODELS_FILE"} for file in (f"{project}/other.toml", str(path))
    ]


def test_verify_and_rm_accept_names_in_the_models_file(write_models: WriteModels, origin: Origin, cache_dir: Path) -> None:
    write_models(m=make_pinned(origin.put("/m.tgz", tar_gz()), aliases=["n"]), far=make_pinned(f"{origin.url}/far.tgz"))
    (Path(resolve("m")) / "saved_model.pb").unlink()
    assert run_cli("verify", "n")[0] == 6 and run_cli("verify", "--repair", "m")[0] == 0
    assert run_cli("rm", "n")[0] == 0 and list(cache_dir.iterdir()) == []
    assert run_cli("rm", "far")[0] == 2


@pytest.mark.parametrize("requested", ["m", "its handle", "all"])
def test_a_repair_checks_the_pin_and_tries_the_mirrors(requested: str, write_models: WriteModels, origin: Origin) -> None:
    handle = origin.put("/m.tgz?key=hidden", tar_gz())
    write_models(m=make_pinned(handle, mirrors=[f"{origin.url}/mirror.tgz"]))
    graph = Path(resolve("m")) / "saved_model.pb"
    words = {"m": ["m"], "its handle": [handle], "all": []}[requested]
    graph.write_bytes(b"damaged")
    origin.put("/m.tgz?key=hidden", tar_gz(OTHER))
    code, out, _ = run_cli("verify", "--repair", *words)
    assert code == 6 and f"received {OTHER_PIN}" in out and f"pinned   {PIN}" in out
    assert graph.read_bytes() == b"damaged"
    origin.put("/m.tgz?key=hidden", status=404)
    origin.put("/mirror.tgz", tar_gz())
    assert run_cli("verify", "--repair", *words)[0] == 0 and graph.read_bytes() == MODEL["saved_model.pb"]
