"""``add``, ``lock``, ``sync`` and ``why``, as a person and as a program sees them."""

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
from tests.archives import MODEL, files_in, tar_gz
from tests.buckets import fill_s3, paths_asked
from tests.origin import Origin, Page
from tests.stores.gcs import Gcs
from tests.stores.s3 import S3
from tests.test_cli import on_terminal, ran
from tests.test_models_file import project as project  # noqa: PLC0414  # a fixture
from tests.test_names import put_model
from tests.test_pins import OTHER, PIN, SIZE_BYTES, Says, pinned
from tests.test_pins import says as says  # noqa: PLC0414  # a fixture
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
    code, out, err = ran("add", "resnet18", handle, "--alias", "r18", "--mirror", "https://mirror/r.tgz")
    assert code == 0 and out == f"resnet18  {handle}\n  sha256 {PIN}, {SIZE_BYTES} B\n  in {project}/{FILE_NAME}\n"
    assert handle in err, "progress is told beside the data"
    assert (project / FILE_NAME).read_text() == (
        f'[models.resnet18]\nhandle = "{handle}"\nsha256 = "{PIN}"\nsize_bytes = {SIZE_BYTES}\n'
        'aliases = ["r18"]\nmirrors = ["https://mirror/r.tgz"]\n'
    )
    assert resolve("r18") == f"{cache_dir}/{entry_name_for_key(handle)}" and len(origin.asked) == 1
    assert os.listdir(project) == [FILE_NAME]


def test_add_keeps_what_stands_in_the_nearest_or_the_first_named_file(project: Path, origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    outer = project.parent / FILE_NAME
    outer.write_text("# ours\n")
    assert ran("add", "m", handle)[0] == 0
    assert outer.read_text().startswith("# ours\n") and not (project / FILE_NAME).exists()
    named = f"{project}/new.toml{os.pathsep}{outer}"
    facts = json.loads(ran("add", "n", f"{handle}#sha256={PIN}", "--json", TFIMM_MODELS_FILE=named)[1])
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


def test_add_refuses_before_it_fetches_and_writes_nothing(says: Says, origin: Origin, project: Path) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    before = says(m={"handle": handle, "aliases": ["n"]}).read_text()
    for arguments, told in (
        (["m", handle], f"{project}/{FILE_NAME}:1: m is there already\n  With --replace"),
        (["n", handle, "--replace"], "n is there already, an alias of m"),
        (["https://h/m", handle], "is no model name"),
        (["x", handle, "--alias", "a/b"], "is no model name"),
        (["x", f"{handle}?token=hidden"], "may hold a secret"),
        (["x", handle.replace("://", "://ada:hidden@")], "may hold a secret"),
        (["x", handle, "--mirror", "https://ada:hidden@mirror/m.tgz"], "may hold a secret"),
        (["x", "no_such_model"], "no model of the name"),
        (["x", "htps://host/m"], "Did you mean https://host/m ?"),
    ):
        code, out, err = ran("add", *arguments)
        assert (code, out) == (2, "") and told in err and "hidden" not in err, arguments
    assert origin.asked == []
    for arguments, expected in ((["x", f"{handle}#sha256={'0' * 64}"], 3), (["x", f"{origin.url}/gone.tgz"], 3)):
        assert ran("add", *arguments)[0] == expected
    assert ran("add", "x", handle, "--alias", "n")[0] == 2
    assert (project / FILE_NAME).read_text() == before and os.listdir(project) == [FILE_NAME]


def test_add_replaces_on_demand(says: Says, origin: Origin, project: Path) -> None:
    old, new = origin.put("/old.tgz", tar_gz()), origin.put("/new.tgz", tar_gz(OTHER))
    path = says(m=pinned(old, aliases=["n"], mirrors=[new]))
    path.write_text(path.read_text().replace("[models.m]", "[models.m]  # ours"))
    assert ran("add", "m", new, "--replace")[0] == 0
    model = discovery.find("m")
    assert model is not None and (model.handle, model.sha256, model.aliases, model.mirrors) == (new, OTHER_PIN, (), ())
    assert "# ours" in path.read_text() and files_in(resolve("m")) == OTHER


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
        assert ran("add", name, handle)[0] == 0
    moved = shutil.move(project, project.parent / "moved")
    os.chdir(moved)
    handles = {model.name: (model.handle, model.sha256) for model in discovery.models()}
    assert handles == {
        "m": (f"{moved}/models", None),
        "m2": (f"{moved}/models/m", None),
        "n": (f"{moved}/models/n.tgz", PIN),
        "h": ("~/h.tgz", PIN),
        "o": (f"{project.parent}/outside.tgz", PIN),
    }


def test_add_says_what_cannot_be_pinned(project: Path) -> None:
    code, out, _ = ran("add", "m", "gs://bucket/m")
    assert code == 0 and "not pinned: it is no archive" in out
    assert (project / FILE_NAME).read_text() == '[models.m]\nhandle = "gs://bucket/m"\n'
    code, _, err = ran("add", "n", "gs://bucket/m", "--mirror", "https://mirror/n.tgz")
    assert code == 2 and "has no sha256 by which a mirror's bytes could be believed" in err
    assert "models.n" not in (project / FILE_NAME).read_text()


def test_add_fetches_again_what_plain_tensorflow_hub_kept_no_hash_of(project: Path, origin: Origin, cache_dir: Path) -> None:
    handle = origin.put_model("/m/1", tar_gz())
    put_model(cache_dir / entry_name_for_key(handle))
    assert ran("add", "m", handle)[0] == 0 and len(origin.asked) == 1
    model = discovery.find("m")
    assert model is not None and model.sha256 == PIN


def test_add_pins_the_archive_in_any_load_format(project: Path, origin: Origin) -> None:
    origin.put("/m/1?tf-hub-format=uncompressed", b"gs://bucket/m/1", status=303)
    assert f"sha256 {PIN}" in ran("add", "m", origin.put_model("/m/1", tar_gz()), "--load-format", "UNCOMPRESSED")[1]


def test_lock_pins_what_is_not_pinned_and_leaves_the_rest(says: Says, origin: Origin, cache_dir: Path) -> None:
    handles = [origin.put(f"/{name}.tgz", tar_gz()) for name in "abc"]
    path = says(
        a={"handle": handles[0]}, b=pinned(handles[1]), c={"handle": handles[2], "sha256": PIN}, d={"handle": "gs://b/m"}
    )
    path.write_text("# ours\n" + path.read_text())
    code, out, _ = ran("lock")
    rows = dict(reversed(line.split()[:2]) for line in out.replace("no archive", "no-archive").splitlines())
    assert (code, rows) == (0, {"a": "pinned", "b": "same", "c": "pinned", "d": "no-archive"})
    said = {model.name: (model.sha256, model.size_bytes) for model in discovery.models()}
    assert said == {"a": (PIN, SIZE_BYTES), "b": (PIN, SIZE_BYTES), "c": (PIN, SIZE_BYTES), "d": (None, None)}
    assert path.read_text().startswith("# ours\n") and sorted(origin.asked) == ["/a.tgz", "/b.tgz", "/c.tgz"]
    assert len(list(cache_dir.iterdir())) == 2, "what is only compared is not kept"


def test_lock_tells_what_changed_upstream_and_takes_it_only_on_demand(says: Says, origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    path = says(m=pinned(handle), n=pinned(origin.put("/n.tgz", tar_gz())))
    before, tree = path.read_text(), resolve("m")
    origin.put("/m.tgz", tar_gz(OTHER))
    for arguments in ([], ["--check"]):
        code, out, _ = ran("lock", *arguments)
        assert code == 8 and re.search(r"(?m)^changed +m ", out) and re.search(r"(?m)^same +n ", out)
        for told in (f"pinned    {PIN}", f"upstream  {OTHER_PIN}", "tfimm-resolver lock --update m"):
            assert told in out
    assert path.read_text() == before and resolve("m") == tree and files_in(tree) == MODEL, "looking changed something"
    assert sorted(cache_dir.iterdir()) == [Path(tree), Path(f"{tree}.descriptor.txt")]
    facts = json.loads(ran("lock", "--update", "m", "--json")[1])
    (row,) = facts["models"]
    assert (row["state"], row["sha256"], row["upstream_sha256"]) == ("updated", PIN, OTHER_PIN)
    assert files_in(resolve("m")) == OTHER and discovery.find("m").sha256 == OTHER_PIN  # type: ignore[union-attr]
    assert ran("lock")[0] == ran("lock", "--check")[0] == 0
    assert ran("lock", "--update")[0] == 0, "nothing is left to be taken"


def test_lock_check_writes_nothing(says: Says, origin: Origin, cache_dir: Path) -> None:
    path = says(m={"handle": origin.put("/m.tgz", tar_gz())}, n=pinned(f"{origin.url}/m.tgz", size_bytes=1))
    before = path.read_text()
    code, out, _ = ran("lock", "--check")
    assert code == 8 and out.count("unpinned") == 2 and path.read_text() == before
    assert not cache_dir.exists() or list(cache_dir.iterdir()) == []
    assert ran("lock", "--check", "--update")[0] == 2


def test_lock_goes_on_after_a_failure_and_exits_with_its_code(says: Says, origin: Origin) -> None:
    says(a=pinned(f"{origin.url}/gone.tgz"), b={"handle": origin.put("/b.tgz", tar_gz())})
    code, out, err = ran("lock")
    assert code == 3 and re.search(r"(?m)^failed +a ", out) and re.search(r"(?m)^pinned +b ", out) and "404" in err
    facts = json.loads(ran("lock", "--json")[1])
    assert facts["error"]["code"] == "not-found" and [row["state"] for row in facts["models"]] == ["failed", "same"]


def test_lock_writes_each_model_where_it_stands(project: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    for name in ("first", "second"):
        (project / f"{name}.toml").write_text(f'[models.{name}]\nhandle = "{handle}"\n[models.both]\nhandle = "{handle}"\n')
    monkeypatch.setenv("TFIMM_MODELS_FILE", f"first.toml{os.pathsep}second.toml")
    assert ran("lock")[0] == 0
    counts = {name: (project / f"{name}.toml").read_text().count(PIN) for name in ("first", "second")}
    assert counts == {"first": 2, "second": 1}, "what is shadowed is nobody's to pin"


def test_what_somebody_else_writes_meanwhile_is_not_overwritten(says: Says) -> None:
    path = says(m=pinned("https://host/m.tgz"))
    model = discovery.find("m")
    assert model is not None
    with pytest.raises(ModelsFileError, match="m is there already"):
        pins.add(str(path), model)
    before = says(m={"handle": "https://host/other.tgz"}).read_text()
    with pytest.raises(ModelsFileError, match="m was changed meanwhile"):
        pins.pin(model, manifest.Origin(sha256=PIN, size_bytes=SIZE_BYTES))
    assert path.read_text() == before


def test_a_handle_with_a_secret_is_locked_without_showing_it(says: Says, origin: Origin, cache_dir: Path) -> None:
    says(m={"handle": origin.put("/m.tgz?token=hidden", tar_gz()).replace("://", "://ada:hidden@")})
    for arguments in (["lock"], ["lock", "--json"], ["sync"], ["sync", "--json"], ["why", "m"], ["why", "m", "--json"]):
        code, out, err = ran(*arguments)
        assert code == 0 and "hidden" not in out + err, arguments


def test_sync_fetches_what_is_missing_at_once_and_check_only_tells(says: Says, origin: Origin, cache_dir: Path) -> None:
    handles = {name: origin.put(f"/{name}.tgz", tar_gz({"saved_model.pb": name.encode()})) for name in "abcd"}
    hashes = {name: hashlib.sha256(tar_gz({"saved_model.pb": name.encode()})).hexdigest() for name in "abcd"}
    says(**{name: {"handle": handles[name], "sha256": hashes[name]} for name in "abcd"}, far={"handle": "gs://bucket/m"})
    assert ran("sync", "a")[0] == 0
    code, out, err = ran("sync", "--check")
    assert (code, err) == (8, "") and [line.split()[0] for line in out.splitlines()] == ["there", *["missing"] * 3, "there"]
    assert len(origin.asked) == 1, "--check asked the network"
    code, out, err = ran("sync")
    rows = [line.split() for line in out.splitlines()]
    assert code == 0 and [row[:2] for row in rows] == [
        ["there", "a"],
        *(["fetched", name] for name in "bcd"),
        ["there", "far"],
    ]
    assert all(files_in(row[-1]) == {"saved_model.pb": row[1].encode()} for row in rows[:4]) and rows[4][-1] == "gs://bucket/m"
    assert sorted(line.split()[0] for line in err.splitlines()) == [handles[name] for name in "bcd"], "a line for each"
    assert ran("sync", "--check")[0] == 0 and ran("sync", "-q")[2] == ""
    facts = json.loads(ran("sync", "--json", "d", "a", "d")[1])
    assert [row["name"] for row in facts["models"]] == ["d", "a"] and facts["models"][1]["path"] == rows[0][-1]


def test_sync_really_fetches_at_once(says: Says, origin: Origin) -> None:
    """Every answer is held back until all have been asked for."""
    gate, names = threading.Event(), "abc"
    says(**{name: {"handle": f"{origin.url}/{name}.tgz"} for name in names})
    for name in names:
        origin.put(f"/{name}.tgz", tar_gz(), gate=gate)
    job = subprocess.Popen([sys.executable, "-m", "tfimm_resolver", "sync", "-j", "3"], stdout=subprocess.PIPE, text=True)
    try:
        while len(origin.asked) < 3:
            assert job.poll() is None
        gate.set()
        out, _ = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 0 and out.count("fetched") == 3


def test_sync_fetches_nothing_for_a_name_that_was_changed_meanwhile(says: Says, origin: Origin) -> None:
    gate = threading.Event()
    origin.put("/a.tgz", tar_gz(), gate=gate)
    for name in "bc":
        origin.put(f"/{name}.tgz", tar_gz())
    says(a={"handle": f"{origin.url}/a.tgz"}, b={"handle": f"{origin.url}/b.tgz"})
    job = subprocess.Popen(
        [sys.executable, "-m", "tfimm_resolver", "sync", "-j", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while len(origin.asked) < 1:
            assert job.poll() is None
        says(a={"handle": f"{origin.url}/a.tgz"}, b={"handle": f"{origin.url}/c.tgz"})
        gate.set()
        out, err = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 2 and "b was changed meanwhile" in err and "/c.tgz" not in out
    assert len(origin.asked) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stalled_s", [0, 0.5], ids=["at once", "while nothing comes"])
def test_an_interrupted_sync_leaves_nothing_half_made(
    stalled_s: float, number: int, says: Says, origin: Origin, cache_dir: Path
) -> None:
    bodies = {name: tar_gz({"saved_model.pb": os.urandom(300_000)}) for name in "ab"}
    says(**{name: {"handle": f"{origin.url}/{name}.tgz"} for name in bodies})
    gate = threading.Event()
    for name, body in bodies.items():
        origin.put(f"/{name}.tgz", body, gate=gate)
    job = subprocess.Popen(
        [sys.executable, "-m", "tfimm_resolver", "sync"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    late = threading.Timer(20, gate.set)  # who waited for the models would have them then
    try:
        while len(origin.asked) < 2 or not cache_dir.exists() or len(list(cache_dir.glob("*.tmp"))) < 2:
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


def test_sync_tells_what_is_not_as_pinned_and_goes_on(says: Says, origin: Origin) -> None:
    bad, good = origin.put("/bad.tgz", tar_gz(OTHER)), origin.put("/good.tgz", tar_gz())
    says(bad=pinned(bad), good=pinned(good), gone=pinned(f"{origin.url}/gone.tgz"))
    resolve(bad)
    origin.asked.clear()
    code, out, _ = ran("sync", "--check")
    assert code == 8 and [line.split()[0] for line in out.splitlines()] == ["differs", "missing", "missing"]
    assert ran("sync", "--check", "bad")[0] == 8
    code, out, err = ran("sync")
    assert code == 3 and [line.split()[0] for line in out.splitlines()] == ["differs", "failed", "fetched"]
    assert PIN in err and OTHER_PIN in err and "404" in err and "/bad.tgz" not in origin.asked


def test_names_of_one_handle_cost_one_download(says: Says, origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    says(**{name: pinned(handle) for name in "abc"}, d=pinned(f"{handle}/", sha256=OTHER_PIN, size_bytes=1))
    code, out, _ = ran("sync", "a", "b", "c")
    assert code == 0 and len({line.split()[-1] for line in out.splitlines()}) == 1 and origin.asked == ["/m.tgz"]
    assert ran("sync")[0] == 3 and origin.asked == ["/m.tgz"]


@pytest.mark.parametrize("is_second_level", [False, True])
def test_pins_are_kept_in_a_bucket(
    is_second_level: bool, project: Path, origin: Origin, gcs: Gcs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "here"))
    monkeypatch.setenv("TFIMM_RESOLVER_LOCAL_COPY", "1" if is_second_level else "")
    handle = origin.put("/m.tgz", tar_gz())
    assert ran("add", "m", handle)[0] == 0 and ran("sync", "--check")[0] == 0
    assert discovery.find("m").sha256 == PIN  # type: ignore[union-attr]
    assert resolve("m").startswith(str(tmp_path / "here") if is_second_level else "gs://bucket/cache/")
    before = gcs.buckets["bucket"].files("cache/")
    origin.put("/m.tgz", tar_gz(OTHER))
    assert ran("lock", "--check")[0] == 8 and ran("why", "m")[0] == 0
    assert gcs.buckets["bucket"].files("cache/") == before, "looking changed the bucket"
    assert ran("lock", "--update")[0] == 0 and discovery.find("m").sha256 == OTHER_PIN  # type: ignore[union-attr]
    assert ran("sync", "--check")[0] == 0


def test_a_directory_in_a_bucket_is_named_and_not_pinned(project: Path, s3: S3) -> None:
    fill_s3({f"m/{name}": data for name, data in MODEL.items()})
    code, out, _ = ran("add", "m", "s3://bucket/m")
    assert code == 0 and "not pinned: it is no archive" in out and files_in(resolve("m")) == MODEL
    asked = len(paths_asked(s3, "GET"))
    assert ran("lock")[1].startswith("no archive  m") and ran("sync", "--check")[0] == 0
    assert len(paths_asked(s3, "GET")) == asked, "it was fetched again, and for nothing"


def test_a_name_that_is_not_there_and_a_project_without_a_file_are_told(says: Says, project: Path) -> None:
    for command in ("lock", "sync"):
        code, _, err = ran(command)
        assert code == 2 and f"there is no {FILE_NAME} here or above" in err and "tfimm-resolver add NAME HANDLE" in err
    says(resnet18={"handle": "https://h/m"})
    code, _, err = ran("sync", "resnet19")
    assert code == 2 and 'no model "resnet19"' in err and "Did you mean resnet18?" in err
    (project / FILE_NAME).write_text("")
    assert ran("sync")[:2] == ran("lock")[:2] == (0, "")


def test_on_a_terminal_sync_has_one_line_for_all_and_finished_models_above_it(says: Says, origin: Origin) -> None:
    bodies = {name: tar_gz({"saved_model.pb": os.urandom(400_000)}) for name in "abc"}
    sizes = {name: len(body) for name, body in bodies.items()}
    says(
        **{
            name: {
                "handle": origin.put(f"/{name}.tgz", body),
                "sha256": hashlib.sha256(body).hexdigest(),
                "size_bytes": sizes[name],
            }
            for name, body in bodies.items()
        }
    )
    screen = on_terminal("sync", "--color", "never", columns=100)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    last = [line for line in text.replace("\r", "\n").splitlines() if "3 models" in line][-1]
    assert "100%" in last and "1.2 MB/1.2 MB" in last, text
    for name in "abc":
        assert re.search(rf"{origin.url}/{name}\.tgz  400 kB in \d", text)
    bars = [line for line in re.split(r"[\r\n]+", text) if "━" in line]
    assert bars and all("3 models" in line for line in bars), "a model has a bar of its own"
    assert "3 fetched" in text


def test_a_warning_does_not_run_into_the_line_of_the_sum(says: Says, origin: Origin) -> None:
    gate = threading.Event()

    def gone_when_the_line_is_there() -> Page:
        origin.started.wait(30)
        time.sleep(0.5)
        threading.Timer(0.5, gate.set).start()
        return Page(b"", 404)

    slow = {"handle": origin.put("/slow.tgz", tar_gz({"saved_model.pb": os.urandom(400_000)}), gate=gate)}
    says(slow=slow, m=pinned(f"{origin.url}/gone.tgz", mirrors=[origin.put("/m.tgz", tar_gz())]))
    origin.pages["/gone.tgz"] = gone_when_the_line_is_there
    screen = on_terminal("sync", "--color", "never", columns=300)
    before, told, _ = screen.partition(f"{origin.url}/gone.tgz answered 404")
    assert told and re.search(r"2 models.*\r\x1b\[2K$", before, re.DOTALL), screen


def test_why_tells_the_rule_in_the_look_up_order(says: Says, origin: Origin, project: Path, cache_dir: Path) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    below = put_model(Path.home() / ".cache/tfimm/m")
    code, out, _ = ran("why", "m")
    assert code == 0 and out.splitlines() == [
        str(below),
        "  asked      m",
        f"  rule       directory of names, {below.parent}",
        "  not used   set_model_cache (nothing set in this process)",
        f"             {FILE_NAME} (none found)",
        f"             {Path.home()}/.cache/m (not there)",
        f"             {project}/m (not there)",
    ]
    path = says(other={"handle": handle})
    assert f"{path} (does not name it)" in ran("why", "m")[1]
    path = says(m=pinned(handle, aliases=["n"]))
    put_model(project / "m")
    code, out, _ = ran("why", "m")
    assert code == 0 and out.splitlines() == [
        "not here yet: resolve fetches it",
        "  asked      m",
        f"  rule       models file, {path}:1",
        f"  handle     {handle}",
        f"  pin        sha256 {PIN}, {SIZE_BYTES} B",
        "  not used   set_model_cache (nothing set in this process)",
        f"             {below} (exists, comes later)",
        f"             {Path.home()}/.cache/m (not there)",
        f"             {project}/m (exists, comes later)",
    ]
    assert origin.asked == [], "why fetched"
    tree = resolve("m")
    assert ran("why", "n")[1].startswith(f"{tree}\n") and "n is an alias of m" in ran("why", "n")[1]
    facts = json.loads(ran("why", "n", "--json")[1])
    assert (facts["path"], facts["rule"], facts["said_by"]) == (tree, "models file", f"{path}:1, n is an alias of m")
    assert facts["sha256"] == PIN and {"place": f"{project}/n", "reason": "not there"} in facts["not_used"]


def test_why_tells_of_every_layer(project: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    for name, model in (("a", "x"), ("b", "m"), ("c", "m")):
        (project / f"{name}.toml").write_text(f'[models.{model}]\nhandle = "{handle}"\n')
    monkeypatch.setenv("TFIMM_MODELS_FILE", os.pathsep.join(("a.toml", "b.toml", "c.toml")))
    out = ran("why", "m")[1]
    assert f"rule       models file, {project}/b.toml:1" in out
    assert f"{project}/a.toml (does not name it)" in out and f"{project}/c.toml (names it, comes later)" in out


def test_why_knows_overrides_sources_and_what_nobody_knows(
    says: Says, origin: Origin, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = says(m={"handle": origin.put("/m.tgz", tar_gz())})
    mine = put_model(tmp_path / "mine")
    tfimm_resolver.set_model_cache("m", mine)
    assert app.main(["why", "m"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{mine}\n") and "rule       override, set by set_model_cache" in out
    assert f"{path} (names it, comes later)" in out and "nothing set" not in out
    path.write_text("nonsense")
    assert app.main(["why", "m"]) == 0 and f"{path} (cannot be used: {path}:1: " in capsys.readouterr().out
    path.unlink()
    monkeypatch.setenv("TFIMM_RESOLVER_EXTRA_ROOTS", str(tmp_path / "extra"))
    code, out, _ = ran("why", f"{origin.url}/m.tgz")
    assert code == 0 and "rule       source, http" in out and f"{tmp_path}/extra (an extra root, without a copy" in out
    code, out, err = ran("why", "nothing")
    assert (code, out) == (2, "") and "no model of the name" in err
    assert origin.asked == []


def test_why_shows_what_is_cached_and_not_as_pinned(says: Says, origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz(OTHER))
    resolve(handle)
    says(m=pinned(handle))
    code, out, err = ran("why", "m")
    assert code == 3 and out.startswith("not here: it is not as pinned\n") and "models file" in out
    assert PIN in err and OTHER_PIN in err
    facts = json.loads(ran("why", "m", "--json")[1])
    assert facts["path"] is None and facts["error"]["code"] == "integrity"


def test_why_does_not_know_what_the_place_says_at_each_call(
    says: Says, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = origin.put_model("/m/1", tar_gz())
    cached = resolve(handle)
    origin.put("/m/1?tf-hub-format=uncompressed", b"gs://bucket/m/1", status=303)
    says(free={"handle": handle}, m=pinned(handle))
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    for name in (handle, "free"):
        code, out, _ = ran("why", name)
        assert code == 0 and out.startswith("not known: resolve asks the place") and f"{cached} (cached, serves if" in out
        assert json.loads(ran("why", name, "--json")[1])["path"] is None
    assert ran("why", "m")[1].startswith(f"{cached}\n"), "a pin keeps to the archive"
    assert ran("why", "free", TFIMM_RESOLVER_OFFLINE="1")[1].startswith(f"{cached}\n") and len(origin.asked) == 1


def test_a_bucket_of_names_out_of_reach_hides_nothing_that_is_here(
    says: Says, project: Path, gcs: Gcs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = put_model(project / "here")
    says(named={"handle": "./here"})
    monkeypatch.setenv("TFIMM_HOME", "gs://bucket/names")
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    assert resolve("named") == resolve("here") == str(here) and "passed over: " in caplog.text
    code, out, _ = ran("why", "named")
    assert code == 0 and out.startswith(f"{here}\n") and "gs://bucket/names/named (passed over: " in out
    assert ran("why", "here")[1].startswith(f"{here}\n")
    below = put_model(Path.home() / ".cache/here")
    assert resolve("here") == str(below)
    with pytest.raises(OfflineError):
        resolve("nowhere")
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    for name, data in MODEL.items():
        gcs.buckets["bucket"].put(f"names/here/{name}", data)
    assert resolve("here") == "gs://bucket/names/here"


def test_path_shows_the_models_file_and_who_chose_it(says: Says, project: Path) -> None:
    assert "models_files" in json.loads(ran("path", "--json")[1])
    path = says(m={"handle": "gs://b/m"})
    assert f"models  {path}" in re.sub(" {3,}", "  ", ran("path")[1]) and "the nearest upwards" in ran("path")[1]
    facts = json.loads(ran("path", "--json", TFIMM_MODELS_FILE=f"other.toml{os.pathsep}{path}")[1])
    assert facts["models_files"] == [
        {"path": place, "source": "$TFIMM_MODELS_FILE"} for place in (f"{project}/other.toml", str(path))
    ]


def test_verify_and_rm_take_a_name_of_the_models_file(says: Says, origin: Origin, cache_dir: Path) -> None:
    says(m=pinned(origin.put("/m.tgz", tar_gz()), aliases=["n"]), far=pinned(f"{origin.url}/far.tgz"))
    (Path(resolve("m")) / "saved_model.pb").unlink()
    assert ran("verify", "n")[0] == 6 and ran("verify", "--repair", "m")[0] == 0
    assert ran("rm", "n")[0] == 0 and list(cache_dir.iterdir()) == []
    assert ran("rm", "far")[0] == 2


@pytest.mark.parametrize("asked", ["m", "its handle", "all"])
def test_a_repair_keeps_the_pin_and_asks_the_mirrors(asked: str, says: Says, origin: Origin) -> None:
    handle = origin.put("/m.tgz?key=hidden", tar_gz())
    says(m=pinned(handle, mirrors=[f"{origin.url}/mirror.tgz"]))
    graph = Path(resolve("m")) / "saved_model.pb"
    words = {"m": ["m"], "its handle": [handle], "all": []}[asked]
    graph.write_bytes(b"damaged")
    origin.put("/m.tgz?key=hidden", tar_gz(OTHER))
    code, out, _ = ran("verify", "--repair", *words)
    assert code == 6 and f"came   {OTHER_PIN}" in out and f"pinned {PIN}" in out
    assert graph.read_bytes() == b"damaged"
    origin.put("/m.tgz?key=hidden", status=404)
    origin.put("/mirror.tgz", tar_gz())
    assert ran("verify", "--repair", *words)[0] == 0 and graph.read_bytes() == MODEL["saved_model.pb"]
