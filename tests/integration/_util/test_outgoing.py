"""Secrets and escape sequences from outside reach a person through no error, log record, line of output or traceback."""

from __future__ import annotations

import base64
import contextlib
import html
import io
import json
import logging
import os
import re
import sys
import tarfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

import tfimm_resolver
from tests.fakes.archives import member, tar_gz, tar_of
from tests.fakes.git_host import GitHost
from tests.fakes.hugging_face import HuggingFace
from tests.fakes.origin import Origin
from tfimm_resolver import bundles, hub
from tfimm_resolver._util import import_hooks, outgoing
from tfimm_resolver._util.outgoing import OWN_BREAK
from tfimm_resolver.bundles.reader import ImportedModel
from tfimm_resolver.cache.cache import Entry
from tfimm_resolver.cache.record import Record
from tfimm_resolver.cli import main
from tfimm_resolver.cli import output as output_module
from tfimm_resolver.cli.output import Output, format_table, style
from tfimm_resolver.errors import FetchError, ResolverError
from tfimm_resolver.handles.handle import Handle
from tfimm_resolver.hub.trust import confirm_trust
from tfimm_resolver.maintenance.cached_model import CachedModel
from tfimm_resolver.manifest import Origin as Facts
from tfimm_resolver.progress.renderers import LogDisplay, NotebookDisplay
from tfimm_resolver.progress.stats import TransferStats
from tfimm_resolver.sources import plugins
from tfimm_resolver.sources.github import Repository
from tfimm_resolver.sources.plan import InPlace
from tfimm_resolver.sources.registry import get_sources

SECRET = "SECRETsecret4711"
CONTROLS = [
    *(chr(code) for code in (0x01, 0x07, 0x08, 0x0B, 0x0C, 0x0D, 0x0E, 0x1A, 0x1B, 0x1F, 0x7F)),
    *(chr(code) for code in (0x80, 0x84, 0x85, 0x88, 0x8D, 0x90, 0x98, 0x9B, 0x9C, 0x9D, 0x9F)),
    *(chr(code) for code in (0xAD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0x202A, 0x202E, 0x2066, 0x2069)),
    *(chr(code) for code in (0x2060, 0x3164, 0xFEFF, 0xFFF9, 0xE0041, 0xE0101, 0xFDD0)),
]
ESCAPES = [
    *(f"a{character}b" for character in CONTROLS),
    *("\x1b]0;PWN\x07", "\x1b[2J\x1b[H", "\x1b[31mred", "\x1b]8;;http://x\x1b\\y", "\x1bP1$r\x1b\\", "\x9b2J",),
    *("x\nerror: y", "x\r\ny", "x\n  y"),
]  # fmt: skip
USER_INFO = [
    *("https://u:{}@h.invalid/m/1", "https://{}@h.invalid/m", "https://{}:@h.invalid/m", "https://:{}@h.invalid/m"),
    *(
        "//u:{}@h/x",
        " https://u:{}@h/x",
        "u:{}@h/x",
        "https:/u:{}@h/x",
        "https:u:{}@h/x",
        "HTTPS://u:{}@H/x",
        "https:\\\\u:{}@h",
    ),
    *("https%3A%2F%2Fu%3A{}%40h%2Fx", "https%253A%252F%252Fu%253A{}%2540h", "u%3A{}%40h/x", "https://u%3A{}@h/x"),
    *(
        "foo://u:{}@h/x",
        "hf://u:{}@h/x",
        "https://u:[{}]@h/x",
        "gs://u:{}@b/x.tar.gz",
        "github://u:{}@h.x/a/b",
        "ftp://u:{}@h",
        "git+ssh://git:{}@h/x.git",
    ),
    *("https://u:{}@[bad/x", "https://h:{}/x", "https://u:{}@h:99999/x", "http://u:{}@[::1]:1/x", "https://u:a/{}@h/x"),
    *("https://u:p@{}@h/x", "https://u:#{}@h/x", "https://u:?{}@h/x", "https://u:{}@h/x#sha256=zz", "{}@h.example/m"),
]
QUERIES = [
    *("h/m?sig={}", "h/m?{}", "https://h/x?sig={}", "https://h/x?{}", "https://h/x.zip?a=b&sig={}", "https://h/x?a='{}'"),
    *("htps://h/x?sig={}", "s3://b/x?sig={}", "github://a/b?x={}", "kaggle://a/b?x={}", "https://[bad/x?sig={}"),
    *("https://h/x?sig={}#frag", "https://h/x%3Fsig%3D{}", "https://h/x;token={}", "https://h/x#access_token={}"),
    *("?sig={}", "/x?sig={}", "https://h/x&X-Amz-Signature={}", "https://h/x?a=1,{}", "https://h/x?a=({})"),
]  # fmt: skip


class Terminal(io.StringIO):
    """A stream that counts as a terminal."""

    def isatty(self) -> bool:
        return True


PAYLOADS = [*ESCAPES, *(spelling.format(SECRET) for spelling in USER_INFO + QUERIES)]
OWN_STYLES = re.compile("\x1b\\[(0|1|2|31|32)m")


def find_fault(text: str) -> str:
    """Return why a text must not reach a person; an empty string if it may."""
    text = OWN_STYLES.sub("", text)
    hidden = [character for character in CONTROLS if character in text]
    return f"{hidden!a}" if hidden else "secret" if SECRET.lower() in text.lower() else ""


@pytest.fixture
def observe() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Return a function that runs an action and checks all that a person could see of it."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in outgoing.LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)

    def run(action: Callable[[], object]) -> None:
        records.clear()
        outgoing._secrets.clear()  # one that another action sent would hide that it is not masked
        seen: dict[str, str] = {}
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                action()
            except ResolverError as error:
                seen |= {"str": str(error), "repr": repr(error), "text": error.text, "fix": error.fix, "args": str(error.args)}
                seen["traceback"] = "".join(traceback.format_exception(error))
            except (ValueError, OSError):  # a name that the system itself does not accept, such as one with a NUL
                pass
        seen |= {"stdout": out.getvalue(), "stderr": err.getvalue(), "log": "\n".join(one.getMessage() for one in records)}
        for where, text in seen.items():
            fault = find_fault(text)
            assert not fault, f"{where}: {fault}: {text!a}"
            assert not re.search(r"^ *(error: )?y\b", text, re.MULTILINE), f"{where}: forged line: {text!a}"

    yield run
    for logger in loggers:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def quote_toml(text: str) -> str:
    """Return a TOML string with every character as an escape sequence."""
    return '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'


def cli(*arguments: str) -> Callable[[], object]:
    """Return a run of the command line, in colour, so that nothing is stripped from its output."""
    return lambda: main(["--color", "always", *arguments])


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    monkeypatch.setenv("TFIMM_RESOLVER_RETRIES", "0")
    monkeypatch.setenv("TFIMM_HOME", str(tmp_path / "names"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


Observe = Callable[[Callable[[], object]], None]
HANDLES: dict[str, Callable[[str], Callable[[], object]]] = {
    "resolve": lambda text: lambda: tfimm_resolver.resolve(text),
    "resolve, in a path": lambda text: lambda: tfimm_resolver.resolve(f"https://h.invalid/{text}/1"),
    "cached_model_path": lambda text: lambda: tfimm_resolver.cached_model_path(text),
    "set_model_cache": lambda text: lambda: tfimm_resolver.set_model_cache(text, "/missing"),
    "a pin": lambda text: lambda: tfimm_resolver.resolve("https://h/m", sha256=text),
    "hub.list": lambda text: lambda: hub.list(text),
    "hub.list, owner": lambda text: lambda: hub.list(f"{text}/models"),
    "hub.download_url_to_file": lambda text: lambda: hub.download_url_to_file(text, "x.h5"),
    "hub.load_state_dict_from_url": lambda text: lambda: hub.load_state_dict_from_url("https://h/x.h5", file_name=text),
    "hub.load, local": lambda text: lambda: hub.load(text, "net", source="local"),
    **{
        f"tfimm-resolver {' '.join(before)}": lambda text, before=before: cli(*before, text)  # type: ignore[misc]
        for before in (
            *(("resolve",), ("--json", "resolve"), ("why",), ("--json", "why"), ("verify",), ("rm",), ("lock",), ("sync",)),
            *(("export", "-o", "b"), ("import",), ("add", "n"), ("hub", "list"), (), ("ls",), ("--cache-dir",), ("load",)),
        )
    },
    "tfimm-resolver add": lambda text: cli("add", text, "https://h/m"),
}


@pytest.mark.parametrize("way", HANDLES)
def test_a_handle(way: str, observe: Observe) -> None:
    for text in PAYLOADS:
        observe(HANDLES[way](text))


@pytest.mark.parametrize(
    "variable",
    [
        *("TFHUB_CACHE_DIR", "TFIMM_RESOLVER_MIRRORS", "TFIMM_GITHUB_URL", "TFIMM_KAGGLE_URL",),
        *("TFIMM_MODELS_FILE", "TFIMM_HOME"),
        *("TFIMM_RESOLVER_HOSTS_FILE", "TFIMM_RESOLVER_RETRIES", "TFIMM_RESOLVER_EXTRA_ROOTS", "TFIMM_RESOLVER_CONNECTIONS"),
    ],
)  # fmt: skip
def test_a_setting(variable: str, observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    for text in PAYLOADS:
        if text.startswith("/") or (":" in text and variable == "TFIMM_RESOLVER_EXTRA_ROOTS"):
            continue  # a directory outside those of the test; a separator of this variable
        monkeypatch.setenv(variable, text if "URL" not in variable or "//" in text else f"http://127.0.0.1:9/{text}")
        for handle in ("name", "github://a/b" if "GITHUB" in variable else "http://127.0.0.1:1/m.tar.gz"):
            observe(lambda handle=handle: tfimm_resolver.resolve(handle))  # type: ignore[misc]


@pytest.mark.parametrize(
    "template",
    [
        *("{}=1", "[models.{}]\nhandle='x'", "[models.a]\nhandle={}", "[models.a]\nhandle='./x'\naliases=[{}]"),
        *("[models]\na={}", "[models.a]\nhandle='./x'\nsha256={}", "[models.a]\nhandle='./x'\nmirrors=[{}]",),
        "[models.a]\n{}=1",
    ],
)  # fmt: skip
def test_a_models_file(template: str, observe: Observe) -> None:
    for text in PAYLOADS:
        Path("tfimm-models.toml").write_text(template.format(quote_toml(text)))
        observe(lambda: tfimm_resolver.resolve("a"))
    for arguments in (("sync",), ("--json", "lock"), ("why", "a")):
        observe(cli(*arguments))


def test_a_record_and_the_names_of_its_files(observe: Observe, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    folder = Path(tfimm_resolver.resolve(origin.put("/m.tar.gz", tar_gz())))
    record = folder.with_name(f"{folder.name}.descriptor.txt")
    before = record.read_text()
    head, _, body = before.partition("\n\n")
    facts = json.loads(body)
    for text in PAYLOADS:
        file = {**facts["files"][0], "path": f"x{text}" if "//" not in text and "\\" not in text else "x"}
        record.write_text(f"{head}\n\n{json.dumps({**facts, 'handle': text, 'files': [file]})}")
        for arguments in (("ls",), ("ls", "-q"), ("verify",), ("--json", "ls"), ("--json", "verify")):
            observe(cli(*arguments))


def test_names_of_directories(observe: Observe, tmp_path: Path) -> None:
    for text in (text for text in PAYLOADS if "/" not in text):
        folder = tmp_path / "names" / f"n{text}"
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"x")
        for arguments in (("ls",), ("--json", "ls"), ("resolve", f"n{text}x"), ("resolve", f"n{text}"))[
            : 1 if SECRET in text else 4
        ]:
            observe(cli(*arguments))
        (folder / "saved_model.pb").unlink()
        folder.rmdir()


def test_names_in_archives(observe: Observe) -> None:
    for text in PAYLOADS:
        for kind in (tarfile.REGTYPE, tarfile.FIFOTYPE):
            Path("m.tar").write_bytes(tar_of(member(f"/{text}", b"", type=kind)))
            observe(lambda: tfimm_resolver.resolve(os.path.abspath("m.tar")))


@pytest.mark.parametrize("status", [403, 404, 500])
def test_bodies_and_reasons_of_servers(status: int, observe: Observe, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    for text in PAYLOADS:
        reason = re.sub(r"[^\x20-\x7e]", "\x1b", text)
        handle = origin.put("/m.tar.gz", f"no: {text}".encode(), status=status, reason=reason)
        observe(lambda handle=handle: tfimm_resolver.resolve(handle))  # type: ignore[misc]


def test_redirects(observe: Observe, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    for text in PAYLOADS:
        target = "file:///x" + text if "//" not in text else text
        location = re.sub(r"[\r\n]", "\x1b", target).encode("utf-8").decode("latin-1")
        handle = origin.put("/r.tar.gz", b"", status=302, headers={"Location": location})
        observe(lambda handle=handle: tfimm_resolver.resolve(handle))  # type: ignore[misc]


ECHOES = [
    *(lambda text: text, quote, lambda text: quote(text, safe=""), lambda text: quote(text, safe="").lower()),
    *(html.escape, lambda text: f"{'x' * 280} {text}", lambda text: base64.b64encode(text.encode()).decode()),
]  # fmt: skip


@pytest.mark.parametrize("echo", range(len(ECHOES)))
@pytest.mark.parametrize("user_info", ["", f"{SECRET}:@", f"{SECRET}:x-oauth-basic@", f"u:{SECRET}@"])
def test_a_server_that_echoes_the_secrets_of_a_request(
    user_info: str, echo: int, observe: Observe, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    query = "" if user_info else f"?{quote(SECRET + '+/&<=', safe='')}"
    secret = user_info.removesuffix("@").removesuffix(":x-oauth-basic") or SECRET + "+/&<="
    if echo == len(ECHOES) - 1:
        secret = user_info.removesuffix("@")
    body = ECHOES[echo](secret.removeprefix("u:") if echo < len(ECHOES) - 1 else secret)
    handle = origin.put(f"/m.tar.gz{query}", body.encode(), status=403, reason=body[:200].replace("x" * 200, ""))
    observe(lambda: tfimm_resolver.resolve(handle.replace("//", f"//{user_info}")))
    with pytest.raises(FetchError) as caught:
        tfimm_resolver.resolve(handle.replace("//", f"//{user_info}"))
    assert not secret or body not in str(caught.value)


def test_a_token_is_masked_in_any_text_once_it_was_sent(observe: Observe) -> None:
    def log(text: str) -> None:
        outgoing.register_secret(f"{SECRET}/+")
        logging.getLogger("tfimm_resolver").warning("%s", text)

    for text in (f"{SECRET}/+", quote(f"{SECRET}/+", safe="")):
        observe(lambda text=text: log(text))  # type: ignore[misc]


def test_the_token_of_hugging_face_that_its_hub_echoes(observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    monkeypatch.setenv("HF_TOKEN", SECRET)
    with HuggingFace() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setattr(server.hub, "answer", lambda handler: handler.reject(403, "GatedRepo", f"no: {SECRET}"))
        observe(lambda: tfimm_resolver.resolve("hf://o/m"))


def test_the_question_whether_a_repository_is_trusted(observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in PAYLOADS:
        monkeypatch.setattr("sys.stdin", Terminal("n\n"))
        repository = Repository(f"http://{text}", text, text, text)
        observe(lambda repository=repository: confirm_trust(repository, repository.ref, False))  # type: ignore[misc]


@pytest.mark.parametrize("name", outgoing.LOGGERS)
def test_log_records(name: str, observe: Observe) -> None:
    logger = logging.getLogger(name)
    for text in PAYLOADS:
        observe(lambda text=text: logger.warning("%s: %s", text, FetchError(text, fix=text)))  # type: ignore[misc]
        observe(lambda text=text: logger.warning("%s %s", text))  # type: ignore[misc]  # noqa: PLE1206
        observe(lambda text=text: logger.warning("%(text)s", {"text": text}))  # type: ignore[misc]


def test_causes_of_errors(observe: Observe) -> None:
    def fail(cause: Exception) -> None:
        try:
            try:
                raise KeyError(text)
            except KeyError:
                raise cause  # noqa: B904
        except Exception as error:
            raise FetchError("it failed") from error

    for text in PAYLOADS:
        for cause in (ValueError(text), OSError(2, text, text), RuntimeError(ConnectionError(text))):
            observe(lambda cause=cause: fail(cause))  # type: ignore[misc]


def test_progress_of_a_download(observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFHUB_DOWNLOAD_PROGRESS", "1")
    for text in PAYLOADS:
        stats = TransferStats(text, 10)
        assert not find_fault(stats.label)
        observe(lambda stats=stats: LogDisplay(stats).finish(True))  # type: ignore[misc]
        for level in (logging.WARNING, logging.INFO):
            logging.getLogger("tfimm_resolver.progress").setLevel(level)
            observe(lambda stats=stats: LogDisplay(TransferStats("x", 10)).print_finished(stats))  # type: ignore[misc]
        notebook = NotebookDisplay.__new__(NotebookDisplay)
        notebook._lines_above = [text]
        assert not find_fault(notebook._make_bundle(text)["text/plain"])


@pytest.mark.parametrize("command", [("resolve", "--json"), ("no-such-command",), ("ls", "--no-such-option")])
def test_messages_of_the_argument_parser(command: tuple[str, ...], observe: Observe) -> None:
    for text in PAYLOADS:
        observe(cli(*command[:-1], f"{command[-1]}{text}"))


def test_branches_of_a_git_host(observe: Observe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")

    def line(text: bytes) -> bytes:
        return b"%04x" % (len(text) + 4) + text

    with GitHost(tmp_path / "host") as host:
        monkeypatch.setenv("TFIMM_GITHUB_URL", host.url)
        for text in PAYLOADS:
            name = b"refs/heads/" + text.replace("\n", "\x1b").encode()
            refs = line(b"0" * 40 + b" HEAD\0symref=HEAD:" + name + b"\n") + b"0000" + line(b"1" * 40 + b" " + name + b"\n")
            body = line(b"# service=git-upload-pack\n") + b"0000" + refs + b"0000"
            for status in (200, 500):
                host.answers["info/refs"] = lambda _, status=status, body=body: (status, {}, body)  # type: ignore[misc]
                observe(lambda: tfimm_resolver.resolve("github://a/b:nope"))
                observe(lambda: hub.list("a/b", trust_repo=True))


@pytest.mark.parametrize("code", ["GatedRepo", "RepoNotFound", "RevisionNotFound", "EntryNotFound", ""])
def test_messages_of_hugging_face(code: str, observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    with HuggingFace() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        for text in PAYLOADS:
            message = re.sub(r"[^\x20-\x7e]", "\x1b", text)
            monkeypatch.setattr(server.hub, "answer", lambda handler, message=message: handler.reject(403, code, message))
            observe(lambda: tfimm_resolver.resolve("hf://o/m"))


def test_answers_of_kaggle(observe: Observe, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    monkeypatch.setenv("TFIMM_KAGGLE_URL", origin.url)
    path = "/api/v1/models/o/m/tensorFlow2/v/get"
    for text in PAYLOADS:
        for status, body in ((403, json.dumps({"code": 403, "message": text})), (200, json.dumps({"versionNumber": text}))):
            origin.pages.clear()
            origin.put(path, body.encode(), status=status)
            observe(lambda: tfimm_resolver.resolve("kaggle://o/m/tensorFlow2/v"))


def test_owners_of_locks(observe: Observe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "0.01")
    for text in PAYLOADS:
        lock = tmp_path / "work" / "x.h5.tfimm_resolver.lock"
        lock.write_text(f"{text}.{os.getpid()}.{text}")
        observe(lambda: hub.download_url_to_file("http://127.0.0.1:1/x.h5", "x.h5"))


def test_every_kind_of_output(observe: Observe) -> None:
    output = Output(colour="always")
    for text in PAYLOADS:
        observe(lambda text=text: output.print_line(text))  # type: ignore[misc]
        if OWN_BREAK not in text:  # a complete message, whose breaks are this package's own
            observe(lambda text=text: output.print_message(text))  # type: ignore[misc]
        observe(lambda text=text: output.print_message(style(text, bold=True)))  # type: ignore[misc]
        observe(lambda text=text: output.print_json({text: {"name": [text, None, 1]}}))  # type: ignore[misc]
        lines = format_table([[text, "x"], [style(text, fg="red"), "y"]])
        assert not any(find_fault(line.replace(output_module._ESCAPE, "")) for line in lines)
        assert not any("\n" in line for line in lines)


def test_the_representation_of_public_objects() -> None:
    for text in PAYLOADS:
        for handle in (text, f"https://h.invalid/{text}.tar.gz", f"https://u:{SECRET}@h.invalid/m.tar.gz?{SECRET}"):
            with contextlib.suppress(ResolverError):
                parsed = Handle.parse(handle)
                plans = [source(parsed) for source in get_sources(parsed.scheme)]
                for one in (parsed, *filter(None, plans)):
                    assert not find_fault(repr(one)), repr(one)
    url = f"https://u:{SECRET}@h/m?sig={SECRET}"
    record = Record(url, "t", origin=Facts(url))
    entry = Entry("t", url, record, None)
    for shown in (entry, CachedModel(url, url, 1, "ok", 0, entry), ImportedModel(record, url, "cached"), InPlace(url)):
        assert not find_fault(repr(shown)), repr(shown)


def test_every_logger_of_the_package_has_the_filter() -> None:
    used = set()
    for path in Path(tfimm_resolver.__file__).parent.rglob("*.py"):
        used |= set(re.findall(r'getLogger\("(tfimm_resolver[\w.]*)"\)', path.read_text()))
    assert used == set(outgoing.LOGGERS)


def test_a_handler_of_the_root_logger_and_a_traceback_in_the_log() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logging.getLogger().addHandler(handler)
    try:
        for text in PAYLOADS:
            stream.truncate(0)
            try:
                raise ValueError(text) from OSError(2, text, text)
            except ValueError:
                logging.getLogger("tfimm_resolver").warning("%s", text, exc_info=True)
            assert not find_fault(stream.getvalue()), ascii(stream.getvalue())
    finally:
        logging.getLogger().removeHandler(handler)


def make_bundle(text: str, name: str, file: str) -> bytes:
    """Return a bundle of one model whose record has a text in every field."""
    tree = "a" * 40
    facts = {"version": 1, "handle": text, "url": text, "files": [{"path": file, "size_bytes": 1, "sha256": text}]}
    record = f"Module: {text}\nDownload Time: 2026-01-01T00:00:00Z\nDownloader Hostname: {text}\n\n{json.dumps(facts)}\n"
    members = [
        member(name or f"{tree}.descriptor.txt", record.encode("utf-8", "surrogatepass")),
        member(f"{tree}/{file}", b"x"),
    ]
    return tar_of(*members)


def test_the_records_and_names_in_a_bundle(observe: Observe) -> None:
    for text in PAYLOADS:
        for name, file in (("", "saved_model.pb"), ("", text), (text, "x")):
            Path("b.tar").write_bytes(make_bundle(text, name, file))
            observe(lambda: bundles.read("b.tar"))
    for arguments in (("import", "b.tar"), ("--json", "import", "b.tar")):
        observe(cli(*arguments))


HEADERS = (
    "Content-Disposition",
    "Content-Type",
    "Content-Encoding",
    "Content-Range",
    "ETag",
    "Digest",
    "Retry-After",
    "Server",
)


@pytest.mark.parametrize("status", [200, 206, 429])
def test_headers_of_servers(status: int, observe: Observe, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    for text in PAYLOADS:
        value = re.sub(r"[\r\n]", " ", text).encode("utf-8", "replace").decode("latin-1")
        handle = origin.put("/m.tar.gz", b"x", status=status, headers=dict.fromkeys(HEADERS, value))
        observe(lambda handle=handle: tfimm_resolver.resolve(handle))  # type: ignore[misc]


@pytest.mark.parametrize("status", [400, 403, 404])
def test_answers_of_an_object_store(status: int, observe: Observe, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TFIMM_RESOLVER_OFFLINE")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    monkeypatch.setenv("AWS_ENDPOINT_URL", origin.url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    for text in PAYLOADS:
        body = f"<Error><Code>{html.escape(text)}</Code><Message>{html.escape(text)}</Message></Error>".encode()
        for path in ("/b/m.tar.gz", "/b?list-type=2&prefix=m%2F"):
            origin.put(path, body, status=status)
        for handle in ("s3://b/m.tar.gz", "s3://b/m"):
            observe(lambda handle=handle: tfimm_resolver.resolve(handle))  # type: ignore[misc]


@pytest.mark.parametrize("flag", ["tfhub_cache_dir", "tfhub_model_load_format"])
def test_an_absl_flag(flag: str, observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = pytest.importorskip("absl.flags")
    for text in PAYLOADS:
        if text.startswith("/"):
            continue  # a directory outside those of the test
        monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
        monkeypatch.setattr(flags.FLAGS[flag], "_value", text)
        observe(lambda: tfimm_resolver.resolve("https://h.invalid/m/1?tf-hub-format=compressed"))
        observe(cli("path"))


def test_warnings() -> None:
    for text in PAYLOADS:

        def fail(text: str = text) -> None:
            raise ValueError(text)

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            import_hooks._warn_on_error("module", fail)
        assert caught and not any(find_fault(str(one.message)) for one in caught)


@pytest.mark.parametrize("code", ["raise KeyError({!r})", "return {!r}", "raise FetchError({!r})", "{}()"])
def test_a_source_of_another_package(code: str, observe: Observe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.syspath_prepend(tmp_path / "site")
    facts = tmp_path / "site" / "zoo_text-1.0.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: zoo_text\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{plugins.GROUP}]\nzootext = zoo_text:plan\n")
    body = code.format("__import__('os').environ['ZOO_TEXT']").replace('"__import__', "__import__").replace("']\"", "']")
    (tmp_path / "site" / "zoo_text.py").write_text(
        f"from tfimm_resolver.errors import FetchError\ndef plan(handle):\n    {body}\n"
    )
    monkeypatch.delitem(sys.modules, "zoo_text", raising=False)
    for text in PAYLOADS:
        if "FetchError" in code and "\n" in text:
            continue  # an error of this package may have several lines, which are indented
        monkeypatch.setenv("ZOO_TEXT", text)
        observe(lambda: tfimm_resolver.resolve("zootext://lion"))


def test_a_value_is_cut_after_it_was_masked_and_escaped() -> None:
    assert len(outgoing.show("\x1b" * 10**6)) == outgoing.VALUE_CHARACTERS_MAX
    at_the_cut = "x" * (outgoing.VALUE_CHARACTERS_MAX - 30) + f" https://u:{SECRET}{'y' * 100}@h/x"
    assert SECRET[:4] not in outgoing.show(at_the_cut)


def test_a_value_in_a_log_record_cannot_forge_a_line(observe: Observe, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("tfimm_resolver")
    for text in PAYLOADS:
        for value in (text, ValueError(text), [text], {"name": text}):
            observe(lambda value=value: log.warning("%s is %r", value, value))  # type: ignore[misc]
    log.warning("%d of %5.1f is %(no)s", 1, 2.0)  # the wrong kind of template does not raise an error
    log.warning("%(one)s", {"one": "x\n  y"})
    log.warning("first%ssecond %d", outgoing.OWN_BREAK, 3)
    assert caplog.messages[-2:] == ["x; y", "first; second 3"]
