"""Tests of the command line, as a person and as a program use it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tfimm_resolver
from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.cli import run_cli, run_here, run_on_terminal
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tfimm_resolver import set_model_cache
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cli import app
from tfimm_resolver.cli.commands import COMMANDS
from tfimm_resolver.cli.exit_codes import EXIT_DAMAGED, EXIT_UNVERIFIED

SIZE_BYTES = sum(map(len, MODEL.values()))


@pytest.fixture
def handle(origin: Origin) -> str:
    """The handle of a model that can be fetched."""
    return origin.put_model("/google/model/1", tar_gz())


def test_resolve_prints_the_path_and_nothing_else_on_stdout(handle: str, cache_dir: Path) -> None:
    code, out, err = run_cli("resolve", handle)
    assert (code, out) == (0, f"{cache_dir}/{entry_name_for_key(handle)}\n")
    assert handle in err
    assert run_cli("resolve", handle) == (0, out, "")


def test_resolve_goes_on_after_a_failure_and_exits_with_its_code(handle: str) -> None:
    code, out, err = run_cli("resolve", "no_such_model", handle)
    assert code == 2 and out.count("\n") == 1 and 'error: no model named "no_such_model"' in err


def test_json_is_one_object_for_results_and_errors(handle: str, cache_dir: Path) -> None:
    code, out, _ = run_cli("resolve", "--json", handle, "no_such_model")
    facts = json.loads(out)
    assert code == 2 and facts["models"][0] == {"handle": handle, "path": f"{cache_dir}/{entry_name_for_key(handle)}"}
    assert facts["error"] == facts["models"][1]["error"]
    assert facts["error"]["code"] == "unknown-handle" and "tfimm-resolver add" in facts["error"]["fix"]
    assert json.loads(run_cli("rm", "nothing", "--json")[1])["error"]["code"] == "unknown-handle"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["resolve", "ftp://h/m"], 2),
        (["resolve"], 2),
        (["resolve", "--nonsense", "x"], 2),
        (["resolve", "a", "b", "--sha256", "0" * 64], 2),
        (["resolve", "http://127.0.0.1:9/m"], 3),
        (["resolve", "--cache-dir", "/dev/null", "http://127.0.0.1:9/m"], 4),
        (["load", "/"], 5),
    ],
)
def test_the_exit_code_tells_the_kind_of_error(arguments: list[str], expected: int) -> None:
    code, out, err = run_cli(*arguments)
    assert (code, out) == (expected, "") and err and "Traceback" not in err


def test_options_stand_before_and_after_the_command_in_both_spellings(handle: str, tmp_path: Path) -> None:
    for spelling in ("--cache-dir", "--tfhub_cache_dir"):
        for number, arguments in enumerate((["resolve", handle, spelling], [spelling])):
            directory = tmp_path / f"{spelling}{number}"
            code, out, _ = run_cli(*arguments, str(directory), *(["resolve", handle] if number else []))
            assert code == 0 and out.startswith(f"{directory}/")
    assert run_cli(f"--tfhub_cache_dir={tmp_path}/x", "path", "-q")[1] == f"{tmp_path}/x\n"


@pytest.mark.parametrize("spelling", ["--load-format", "--tfhub_model_load_format"])
def test_uncompressed_asks_for_a_place_in_a_bucket(spelling: str, origin: Origin) -> None:
    origin.put("/m/1?tf-hub-format=uncompressed", b" gs://bucket/m/1\n", status=303)
    assert run_cli("resolve", spelling, "UNCOMPRESSED", f"{origin.url}/m/1")[:2] == (0, "gs://bucket/m/1\n")


def test_ls_shows_every_model_and_its_state(handle: str, origin: Origin, cache_dir: Path) -> None:
    run_cli("resolve", handle, origin.put("/damaged.tar.gz", tar_gz()))
    (cache_dir / entry_name_for_key(f"{origin.url}/damaged.tar.gz") / "saved_model.pb").unlink()
    put_model(cache_dir / ("0" * 40))
    put_model(Path.home() / ".cache/tfimm/resnet18")
    code, out, err = run_cli("ls")
    rows = [line.split() for line in out.splitlines()]
    assert (code, err) == (0, "") and rows[0] == ["MODEL", "SIZE", "USED", "STATE"]
    states = {row[0]: row[-1] for row in rows[1:]}
    expected = {
        handle: "ok",
        f"{origin.url}/damaged.tar.gz": "damaged",
        "0" * 40: "unverified",
        "resnet18": "unverified",
    }
    assert states == expected
    assert run_cli("ls", "-q")[1].split() == sorted(expected)
    models = {model["name"]: model for model in json.loads(run_cli("ls", "--json")[1])["models"]}
    assert {name: model["state"] for name, model in models.items()} == expected
    assert models[handle]["size_bytes"] == SIZE_BYTES and models["resnet18"]["fetched_at"] is None


def test_a_tfhub_model_goes_by_its_short_name_in_every_command(cache_dir: Path) -> None:
    tree = put_model(cache_dir / entry_name_for_key("https://tfhub.dev/google/nnlm/2"))
    tree.with_name(f"{tree.name}.descriptor.txt").write_text("Module: https://tfhub.dev/google/nnlm/2\nDownload Time: t\n")
    assert run_cli("ls", "-q")[1] == "google/nnlm/2\n"
    assert run_cli("resolve", "google/nnlm/2")[1] == f"{tree}\n"
    assert run_cli("verify", "google/nnlm/2")[0] == EXIT_UNVERIFIED
    assert run_cli("rm", "google/nnlm/2")[0] == 0 and os.listdir(cache_dir) == []


def test_on_a_terminal_ls_has_colour_bars_and_a_sum(handle: str, cache_dir: Path) -> None:
    run_cli("resolve", handle)
    screen = run_on_terminal("ls", columns=100)
    assert "\x1b[32mok" in screen and "█" in screen and f"1 model, {SIZE_BYTES} B in {cache_dir}" in screen
    plain = run_on_terminal("ls", NO_COLOR="1")
    assert "\x1b[" not in plain and "ok" in plain
    piped = run_cli("ls")[1]
    assert handle in piped and "\x1b" not in piped and "1 model" not in piped
    assert "\x1b[32mok" in run_cli("ls", "--color", "always")[1]


def test_on_a_narrow_terminal_the_bar_goes_first_then_the_use_then_the_name_is_cut(handle: str) -> None:
    run_cli("resolve", handle)
    width = len(handle)
    seen = {columns: run_on_terminal("ls", columns=columns) for columns in (width + 50, width + 40, width + 28, 50)}
    parts = [("█" in screen, "USED" in screen, handle in screen) for screen in seen.values()]
    assert parts == [(True, True, True), (False, True, True), (False, False, True), (False, False, False)]
    assert "…" in seen[50] and all(len(line) <= 50 for line in seen[50].splitlines() if "http" in line and "\x1b" not in line)


def test_rm_accepts_what_ls_shows_a_handle_or_the_beginning_of_a_sha1(origin: Origin, cache_dir: Path) -> None:
    handles = [origin.put(f"/{number}.tar.gz", tar_gz()) for number in range(3)]
    run_cli("resolve", *handles)
    assert run_cli("rm", handles[0], entry_name_for_key(handles[1])[:8], f"{handles[2]}/")[0] == 0
    assert os.listdir(cache_dir) == []


def test_rm_accepts_a_local_archive_as_it_was_resolved(
    tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.tar.gz").write_bytes(tar_gz())
    for text in ("m.tar.gz", "./m.tar.gz", f"file://{tmp_path}/m.tar.gz"):
        assert run_cli("resolve", text)[0] == run_cli("rm", text)[0] == 0
    assert os.listdir(cache_dir) == []


def test_rm_refuses_what_is_not_cached_and_what_was_put_there_by_hand(handle: str, cache_dir: Path) -> None:
    run_cli("resolve", handle)
    mine = put_model(Path.home() / ".cache/tfimm/resnet18")
    assert run_cli("rm", handle, "nothing")[0] == 2
    assert run_cli("rm", handle, "resnet18")[0] == 4
    assert files_in(mine) == MODEL and len(os.listdir(cache_dir)) == 2


def test_verify_reads_every_byte_and_repair_fetches_again(handle: str, cache_dir: Path) -> None:
    run_cli("resolve", handle)
    assert run_cli("verify")[0] == 0
    graph = cache_dir / entry_name_for_key(handle) / "saved_model.pb"
    graph.write_bytes(b"a grapH")
    code, out, _ = run_cli("verify", handle)
    assert (
        code == EXIT_DAMAGED
        and "saved_model.pb does not match its recorded sha256" in out
        and f"verify --repair {handle}" in out
    )
    code, out, _ = run_cli("verify", "--repair")
    assert code == 0 and "fetched again" in out
    assert run_cli("verify")[0] == 0 and files_in(run_cli("resolve", handle)[1].strip()) == MODEL


def test_verify_reports_a_model_without_recorded_hashes(cache_dir: Path) -> None:
    put_model(cache_dir / ("0" * 40))
    code, out, _ = run_cli("verify", "--json")
    assert code == EXIT_UNVERIFIED and json.loads(out)["models"][0]["state"] == "unverified"


def test_repair_continues_after_a_model_that_it_cannot_fetch(origin: Origin, cache_dir: Path) -> None:
    handles = [origin.put("/a.tar.gz?token=secret", tar_gz()), origin.put("/b.tar.gz", tar_gz())]
    run_cli("resolve", *handles)
    for handle in handles:
        (cache_dir / entry_name_for_key(handle) / "saved_model.pb").unlink()
    code, out, _ = run_cli("verify", "--repair")
    assert code == EXIT_DAMAGED and "not repaired" in out and "its query was not recorded" in out
    assert files_in(cache_dir / entry_name_for_key(handles[1])) == MODEL
    assert run_cli("verify", handles[0])[0] == EXIT_DAMAGED and run_cli("resolve", handles[0])[0] == run_cli("verify")[0] == 0


def test_advice_keeps_the_cache_that_was_asked_for(handle: str, tmp_path: Path) -> None:
    directory = ("--cache-dir", str(tmp_path / "other"))
    run_cli("resolve", handle, *directory)
    (tmp_path / "other" / entry_name_for_key(handle) / "saved_model.pb").unlink()
    advice = run_cli("verify", *directory)[1].partition("to repair: ")[2].split()
    assert advice[:3] == ["tfimm-resolver", *directory]
    assert run_cli(*advice[1:])[0] == 0 and run_cli("verify", *directory)[0] == 0


def test_a_failed_download_has_no_summary_line(origin: Origin) -> None:
    handle = origin.put("/m.tar.gz", tar_gz()[:-1])
    assert " in 0." not in run_cli("resolve", handle)[2]


def test_path_says_which_setting_chose_each_root(tmp_path: Path, cache_dir: Path) -> None:
    code, out, _ = run_cli("path")
    assert code == 0 and [line.split() for line in out.splitlines()] == [
        ["urls", str(cache_dir), "$TFHUB_CACHE_DIR"],
        ["names", f"{Path.home()}/.cache/tfimm", "default"],
        ["hub", f"{Path.home()}/.cache/tfimm/.hub", "default"],
    ]
    assert json.loads(run_cli("path", "--json", TFIMM_HUB_DIR=str(tmp_path))[1])["hub"]["source"] == "$TFIMM_HUB_DIR"
    facts = json.loads(run_cli("path", "--json", TFIMM_HOME=str(tmp_path))[1])
    assert facts["names"]["source"] == "$TFIMM_HOME" and facts["urls"]["free_bytes"] > 0


def test_progress_is_a_bar_on_a_terminal_and_lines_elsewhere_and_silent_on_demand(origin: Origin) -> None:
    handles = [origin.put(f"/{number}.tar.gz", tar_gz()) for number in range(4)]
    assert "─" in run_on_terminal("resolve", handles[0])
    narrow = run_on_terminal("resolve", handles[1], "--color", "never", columns=50)
    assert "─" not in narrow and "/1.tar.gz  184 B in " in narrow and "\x1b[3" not in narrow
    assert f"{handles[2]}  " in run_cli("resolve", handles[2])[2]
    assert run_cli("resolve", "-q", handles[3])[2] == ""
    assert run_cli("resolve", "--refresh", handles[3], TFIMM_RESOLVER_QUIET="1")[2] == ""


def test_a_reader_that_goes_away_is_no_traceback(cache_dir: Path) -> None:
    for number in range(400):
        put_model(cache_dir / f"{number:040}")
    job = subprocess.run(
        f"{sys.executable} -m tfimm_resolver ls --json | head -c 10",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert job.stderr == ""


def test_version_and_help_of_every_command_are_there() -> None:
    assert tfimm_resolver.__version__ in run_cli("--version")[1]
    assert run_here("ls", "-V") == run_here("-V") and "--tfhub_cache_dir" in run_here("--help")[1]
    for command in COMMANDS:
        code, out, _ = run_here(command, "--help")
        assert code == 0 and "--json" in out and "--tfhub_cache_dir" not in out


def test_main_runs_in_process_and_returns_the_code(handle: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_model_cache("m", "/nowhere")
    assert app.main(["resolve", "m"]) == 2
    assert "set_model_cache() maps m to /nowhere" in capsys.readouterr().err


def test_a_root_of_both_kinds_shows_each_model_once(origin: Origin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFHUB_CACHE_DIR")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "both"))
    put_model(tmp_path / "both/resnet18")
    handle = origin.put("/m.tar.gz", tar_gz())
    run_cli("resolve", handle)
    origin.put("/m.tar.gz", tar_gz({"saved_model.pb": b"new"}))
    run_cli("resolve", "--refresh", handle)
    assert len(list((tmp_path / "both").glob("*/saved_model.pb"))) == 3
    assert run_cli("ls", "-q")[1].split() == [handle, "resnet18"]


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [("path > /dev/full", 1, "No space left on device"), ("path >&-", 1, "not writable"), ("ls -q >&-", 0, "")],
)
def test_a_stdout_that_cannot_be_written_is_reported_if_something_is_printed(command: str, code: int, reason: str) -> None:
    job = subprocess.run(
        f"{sys.executable} -m tfimm_resolver {command}", shell=True, capture_output=True, text=True, timeout=60, check=False
    )
    assert job.returncode == code and job.stderr == (f"error: stdout cannot be written: {reason}\n" if reason else "")


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_changes_no_exit_code(closed: str) -> None:
    job = subprocess.run(
        f"{sys.executable} -m tfimm_resolver resolve no_such_model {closed}",
        shell=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert job.returncode == 2 and b"Traceback" not in job.stderr


def test_an_unfinished_fetch_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "both"))
    put_model(tmp_path / "both" / f"{'0' * 40}.flock-1-2-3.tmp")
    assert run_cli("ls", "-q")[:2] == (0, "")


def test_repair_reports_the_new_state_and_whether_the_archive_changed(origin: Origin) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    for data, note in (
        (tar_gz(), "fetched again\n"),
        (tar_gz({"saved_model.pb": b"another"}), "a different archive than before\n"),
    ):
        (Path(run_cli("resolve", handle)[1].strip()) / "saved_model.pb").unlink()
        origin.put("/m.tar.gz", data)
        code, out, _ = run_cli("verify", "--repair")
        assert code == 0 and out.startswith("ok") and out.endswith(note)
    (Path(run_cli("resolve", handle)[1].strip()) / "saved_model.pb").unlink()
    origin.put("/m.tar.gz", tar_gz())
    (row,) = json.loads(run_cli("--json", "verify", "--repair")[1])["models"]
    assert row["archive_sha256"] == hashlib.sha256(tar_gz()).hexdigest() and row["fault"] is None
    assert row["files"] == len(MODEL) and row["repaired"] and row["changed"]


def test_repair_does_not_call_another_model_mended(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz()).replace("http://", "http://user:secret@")
    tree = Path(run_cli("resolve", handle)[1].strip())
    (tree / "saved_model.pb").unlink()
    code, out, _ = run_cli("verify", "--repair", entry_name_for_key(handle)[:8])
    assert code == EXIT_DAMAGED and "not repaired" in out


@pytest.mark.parametrize(
    "handle", ["htps://u:pwSECRET@h.example/y.tar.gz?sig=sSECRET", "http://u:pwSECRET@127.0.0.1:9/z.tgz?k=sSECRET"]
)
@pytest.mark.parametrize("command", ["resolve", "--json resolve", "why", "--json why", "rm", "verify", "--json verify"])
def test_no_command_shows_a_secret_of_its_argument(command: str, handle: str, cache_dir: Path) -> None:
    _, out, err = run_cli(*command.split(), handle)
    assert "SECRET" not in out + err and out + err


@pytest.mark.parametrize("root", ["s3://AKIAX:keySECRET@models/c", "gs://"])
def test_a_root_that_is_no_place_is_told_without_its_secrets(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", root)
    code, out, err = run_cli("path")
    assert code == 4 and "is not a cache location" in err and "SECRET" not in out + err


@pytest.mark.parametrize(("arguments", "stream"), [("export ./x -o -", ">&-"), ("import -", "<&-")])
def test_a_closed_stream_is_an_error_of_use(arguments: str, stream: str) -> None:
    command = f"{sys.executable} -m tfimm_resolver {arguments} {stream}"
    job = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert job.returncode == 2 and "which is closed" in job.stderr and "Traceback" not in job.stderr


AS_UNKNOWN_USER = """
    import os, sys
    from tfimm_resolver.cli import main
    import getpass  # like the next line, for the other user may not be able to read it
    main(["path", "--quiet"])
    del os.environ["HOME"], os.environ["TFHUB_CACHE_DIR"]
    os.setuid(54321)
    raise SystemExit(main(sys.argv[1:]))
"""


def test_path_works_for_a_user_without_a_name_and_a_home_directory() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can run a process as a user without a name")
    rows = run(AS_UNKNOWN_USER, "path")
    assert "cannot expand ~/.cache/tfimm" in rows and "TFIMM_HOME" in rows and "tfhub_modules" in rows
    facts = json.loads(run(AS_UNKNOWN_USER, "path", "--json").partition("\n")[2])
    assert facts["names"]["path"] is None and facts["hub"]["free_bytes"] is None and "tfhub_modules" in facts["urls"]["path"]


def test_verbose_prints_requests_and_debug_where_an_error_is_from_without_secrets(origin: Origin) -> None:
    url = f"{origin.url}/gone.tar.gz"
    secret_url = url.replace("http://", "http://ada:hunter22@") + "?token=sesame-sesame"
    code, out, err = run_cli("resolve", "-v", secret_url)
    assert (code, out) == (3, "") and f"GET {url}: 404\n" in err and "Traceback" not in err
    code, out, err = run_cli("--debug", "resolve", secret_url)
    assert (code, out) == (3, "") and f"GET {url}: 404\n" in err and "Traceback" in err and "raise_for_status" in err
    assert "hunter22" not in err and "sesame" not in err
    assert "GET" not in run_cli("resolve", secret_url)[2]


def test_what_the_command_line_does_not_accept_is_an_error_like_others() -> None:
    code, out, err = run_cli("resolv", "x")
    assert (code, out, err) == (2, "", "error: no such command 'resolv'\n  Did you mean resolve?\n")
    code, out, err = run_cli("resolve", "--refesh", "x", "--json")
    assert (code, err) == (2, "") and json.loads(out)["error"] == {
        "code": "usage",
        "text": "no such option '--refesh'",
        "fix": "Did you mean --refresh?",
    }
    code, out, err = run_cli()
    assert code == 2 and (out + err).startswith("Usage: tfimm-resolver")
