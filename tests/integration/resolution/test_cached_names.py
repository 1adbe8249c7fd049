"""The name that ``ls`` prints for a cached model, of any kind, means that model in every command and in Python."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tests.fakes.stores.gcs import Gcs
from tfimm_resolver import bundles, errors, maintenance, resolve
from tfimm_resolver._util.text import truncate_middle
from tfimm_resolver.cache.cache import entry_name_for_key
from tfimm_resolver.cache.record import DESCRIPTOR_SUFFIX, Record, hash_tree
from tfimm_resolver.cli import app
from tfimm_resolver.errors import HandleError, IntegrityError, UnknownHandleError
from tfimm_resolver.manifest import Origin as ArchiveOrigin

NEWER = {"saved_model.pb": b"a newer graph"}
EXTRA = "TFIMM_RESOLVER_EXTRA_ROOTS"
Rows = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Stage:
    """Where a test makes cached models: the working directory is ``work``."""

    origin: Origin
    cache: Path
    work: Path
    monkeypatch: pytest.MonkeyPatch

    def put_archive(self, name: str = "m.tar.gz", files: dict[str, bytes] | None = None) -> Path:
        """Write an archive into the working directory and resolve it."""
        (self.work / name).parent.mkdir(parents=True, exist_ok=True)
        (self.work / name).write_bytes(tar_gz(files))
        resolve(name)  # relative to the working directory; the record is not
        return self.work / name

    def forge(self, handle: str, key: str, root: Path | None = None) -> Path:
        """Put an entry into a root, with a record that has this handle; return its directory."""
        tree = put_model((root or self.cache) / entry_name_for_key(key))
        record = Record(handle, tree.name, "2026-01-01T00:00:00Z", ArchiveOrigin(sha256="1" * 64), hash_tree(str(tree)))
        tree.with_name(tree.name + DESCRIPTOR_SUFFIX).write_text(record.to_text(), encoding="utf-8", errors="backslashreplace")
        return tree

    def become_extra_root(self) -> None:
        """Make what is cached an extra root; the cache is empty then."""
        self.cache.rename(self.work.parent / "extra")
        self.monkeypatch.setenv(EXTRA, str(self.work.parent / "extra"))


def make_url(stage: Stage) -> None:
    resolve(stage.origin.put("/m.tar.gz", tar_gz()))


def make_refreshed(stage: Stage) -> None:
    make_url(stage)
    resolve(stage.origin.put("/m.tar.gz", tar_gz(NEWER)), refresh=True)


def make_url_with_blanks(stage: Stage) -> None:
    stage.forge("https://host/my model  1.tar.gz", "https://host/my model  1.tar.gz")


def make_tfhub(stage: Stage) -> None:
    stage.forge("https://tfhub.dev/google/nnlm/2", "https://tfhub.dev/google/nnlm/2")


def make_tfhub_of_tensorflow_hub(stage: Stage) -> None:
    tree = put_model(stage.cache / entry_name_for_key("https://tfhub.dev/google/nnlm/2"))
    tree.with_name(tree.name + DESCRIPTOR_SUFFIX).write_text("Module: https://tfhub.dev/google/nnlm/2\nDownload Time: t\n")


def make_damaged_tfhub(stage: Stage) -> None:
    (stage.forge("https://tfhub.dev/google/nnlm/2", "https://tfhub.dev/google/nnlm/2") / "saved_model.pb").unlink()


def make_tfhub_like_a_directory_here(stage: Stage) -> None:
    make_tfhub(stage)
    put_model(stage.work / "google/nnlm/2")


def make_local_archive(stage: Stage) -> None:
    stage.put_archive()


def make_local_archive_with_blanks(stage: Stage) -> None:
    stage.put_archive("my models/a model.tar.gz")


def make_removed_archive(stage: Stage) -> None:
    stage.put_archive().unlink()


def make_damaged_removed_archive(stage: Stage) -> None:
    stage.put_archive().unlink()
    next(stage.cache.glob("*/saved_model.pb")).unlink()


def make_changed_archive(stage: Stage) -> None:
    stage.put_archive()
    stage.put_archive(files=NEWER)


def make_changed_and_removed_archive(stage: Stage) -> None:
    make_changed_archive(stage)
    (stage.work / "m.tar.gz").unlink()


def make_changed_archive_with_a_damaged_version(stage: Stage) -> None:
    stage.put_archive()
    next(stage.cache.glob("*/saved_model.pb")).unlink()
    stage.put_archive(files=NEWER)


def make_archive_with_an_escape_in_its_name(stage: Stage) -> None:
    tree = Path(resolve(stage.put_archive()))
    text = tree.with_name(tree.name + DESCRIPTOR_SUFFIX).read_text()
    tree.with_name(tree.name + DESCRIPTOR_SUFFIX).write_text(text.replace("m.tar.gz", "m\\u001b[31m.tar.gz"))


def make_archive_whose_name_is_not_text(stage: Stage) -> None:
    stage.put_archive(os.fsdecode(b"m\xff.tar.gz"))


def make_archive_below_what_looks_like_a_secret(stage: Stage) -> None:
    stage.put_archive("token=abcdefgh12345678/m.tar.gz")


def make_signed_url(stage: Stage) -> None:
    resolve(stage.origin.put("/m.tar.gz?signature=secret", tar_gz()))


def make_two_signed_urls(stage: Stage) -> None:
    for key in "ab":
        resolve(stage.origin.put(f"/m.tar.gz?key={key}", tar_gz()))


def make_damaged_signed_url(stage: Stage) -> None:
    make_signed_url(stage)
    next(stage.cache.glob("*/saved_model.pb")).unlink()


def make_url_with_a_password_and_without(stage: Stage) -> None:
    plain = stage.origin.put("/m.tar.gz", tar_gz())
    resolve(plain)
    resolve(plain.replace("://", "://ada:hidden@"))


def make_entry_without_record(stage: Stage) -> None:
    put_model(stage.cache / ("0" * 40))


def make_damaged_entry_without_record(stage: Stage) -> None:
    (stage.cache / ("0" * 40)).mkdir(parents=True)


def make_unreadable_records(stage: Stage) -> None:
    for number, text in enumerate(
        ("", "{", "Module: \x1b[31m\nx\n", "Module: not a handle\n", "Module: https://\n", "\0" * 9)
    ):
        put_model(stage.cache / f"{number:040}")
        (stage.cache / f"{number:040}{DESCRIPTOR_SUFFIX}").write_text(text)
    for number, target in ((7, "."), (8, f"{8:040}{DESCRIPTOR_SUFFIX}")):  # a directory, and a link to itself
        put_model(stage.cache / f"{number:040}")
        (stage.cache / f"{number:040}{DESCRIPTOR_SUFFIX}").symlink_to(target)


def make_copied_entry(stage: Stage) -> None:
    make_url(stage)
    for kind in ("", DESCRIPTOR_SUFFIX):
        (one,) = [path for path in stage.cache.iterdir() if path.is_dir() != bool(kind) and not path.name.endswith(".parts")]
        (shutil.copy if kind else shutil.copytree)(one, stage.cache / f"{'0' * 40}{kind}")


def make_handles_that_only_look_so(stage: Stage) -> None:
    for number, handle in enumerate(
        ("foo://plug/in", "https://[", "a/b/c", "a b", "-h", "m#sha256=1", " m.tar.gz", "kaggle://a")
    ):
        stage.forge(handle, f"key {number}")


def make_models_by_name(stage: Stage) -> None:
    folder = Path.home() / ".cache/tfimm"
    for name in ("resnet18", "my model", "back\\slash", "what?key=value", "m\x1b[31m", "m#sha256=1", "-h", "m.tar.gz"):
        put_model(folder / name)


def make_models_by_name_that_the_models_file_names(stage: Stage) -> None:
    put_model(Path.home() / ".cache/tfimm/resnet18")
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    (stage.work / "tfimm-models.toml").write_text(f'[models.resnet18]\nhandle = "{handle}"\n')
    resolve("resnet18")


def make_copies_in_an_extra_root(stage: Stage) -> None:
    for make in (make_url, make_tfhub, make_changed_archive, make_signed_url, make_entry_without_record):
        make(stage)
    stage.become_extra_root()


def make_copies_in_both_roots(stage: Stage) -> None:
    make_copies_in_an_extra_root(stage)
    shutil.copytree(stage.work.parent / "extra", stage.cache)


KINDS = {name.removeprefix("make_"): make for name, make in list(globals().items()) if name.startswith("make_")}


@pytest.fixture
def stage(origin: Origin, cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """An empty cache, an empty working directory, and a server."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return Stage(origin, cache_dir, tmp_path / "work", monkeypatch)


@dataclass(frozen=True)
class CommandLine:
    """Runs commands in this process."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr."""
        self.capsys.readouterr()
        code = app.main(arguments)
        return code, *self.capsys.readouterr()

    def list_rows(self) -> Rows:
        """Return the rows of ``ls --json`` by path; the names are those that ``ls`` and ``ls -q`` print."""
        rows = json.loads(self("ls", "--json")[1])["models"]
        names = [row["name"] for row in rows]
        assert self("ls", "-q")[1].splitlines() == names
        lines = self("ls")[1].splitlines()[1:]
        assert all(line.startswith(name.rstrip()) for name, line in zip(names, lines, strict=True))
        return {row["path"]: row for row in rows}


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


def attempt(function: Callable[[], Any]) -> Any:
    """Return what a function returns, or the error that it raises."""
    try:
        return function()
    except errors.ResolverError as error:
        return error


def is_rejected(code: int, err: str) -> bool:
    """Whether a command did not know a name, or knew more than one model of that name."""
    return code == 2 or any(text in err for text in ("is not cached", "matches several", "stands for several", "no model"))


def check_lookup(cli: CommandLine, row: dict[str, Any], paths: set[str]) -> None:
    """Check that every command that only looks finds the model; ``paths`` are those of its copies."""
    name = row["name"]
    assert {model.path for model in maintenance.select([name])} == paths
    assert {result.model.path for result in maintenance.verify([name])} == paths
    code, out, err = cli("verify", "--", name)
    assert code in (0, 6, 7) and out.partition("  ")[2].startswith(name), err
    found = attempt(lambda: resolve(name))
    code, out, err = cli("resolve", "--", name)
    assert not is_rejected(code, err), err
    if row["state"] == "damaged":
        assert not isinstance(found, HandleError), found
        return
    assert found in paths and (code, out) == (0, f"{found}\n")
    code, out, err = cli("why", "--", name)
    assert code == 0 and out.splitlines()[0] == found, err


def check_export(cli: CommandLine, row: dict[str, Any], paths: set[str]) -> None:
    """Check that the model is exported, or that the error is about the model and not about its name."""
    exported = attempt(lambda: bundles.export([row["name"]], "bundle.tar"))
    code, _, err = cli("export", "-o", "bundle.tar", "--", row["name"])
    assert not is_rejected(code, err) and not isinstance(exported, HandleError), err
    if code == 0:
        assert exported.models[0].path in paths
    else:
        texts = ("damaged", "no recorded hashes", "created by hand", "in a bucket", "not the entry name", "cannot be imported")
        assert any(text in err for text in texts), err


@pytest.mark.parametrize("kind", KINDS)
def test_the_printed_name_means_the_model_in_every_command_and_in_python(kind: str, stage: Stage, cli: CommandLine) -> None:
    KINDS[kind](stage)
    stage.monkeypatch.setenv("TFIMM_RESOLVER_OFFLINE", "1")
    rows = cli.list_rows()
    assert rows
    for row in rows.values():
        assert row["name"].isprintable()
        copies = {other["path"] for other in rows.values() if other["name"] == row["name"]}
        assert len({os.path.basename(path) for path in copies}) == 1, "two models have one name"
        check_lookup(cli, row, copies)
        check_export(cli, row, copies)
    check_removal(cli, rows)


def check_removal(cli: CommandLine, rows: Rows) -> None:
    """Remove each model by the name it had at first, alternately by the command and in Python, and nothing else."""
    for number, row in enumerate(rows.values()):
        before, name = cli.list_rows(), row["name"]
        if row["path"] not in before:  # removed with the other copy
            continue
        if number % 2:
            found = attempt(lambda name=name: maintenance.remove(name))  # type: ignore[misc]
            assert not isinstance(found, HandleError), found
            is_removed = not isinstance(found, errors.CacheError)
        else:
            code, _, err = cli("rm", "--", name)
            assert code in (0, 4) and not is_rejected(code, err), err
            is_removed = code == 0
        copies = {path for path, other in rows.items() if other["name"] == name and not other["extra_root"]}
        assert cli.list_rows().keys() == before.keys() - (copies if is_removed else set())
        assert is_removed == bool(copies & before.keys() and os.path.dirname(row["path"]) != str(Path.home() / ".cache/tfimm"))


@pytest.mark.parametrize("has_local_copy", [False, True], ids=["root", "behind a local cache"])
def test_models_in_a_bucket_have_names_that_every_command_accepts(
    has_local_copy: bool, stage: Stage, cli: CommandLine, gcs: Gcs
) -> None:
    stage.monkeypatch.setenv("TFHUB_CACHE_DIR", "gs://bucket/cache")
    stage.monkeypatch.setenv("TFIMM_RESOLVER_LOCAL_COPY", "1" if has_local_copy else "")
    for make in (make_url, make_changed_archive, make_signed_url):
        stage.monkeypatch.setenv("TFIMM_HOME", f"{stage.work.parent}/first")
        make(stage)
    stage.monkeypatch.setenv("TFIMM_HOME", f"{stage.work.parent}/second")  # an empty local cache before the bucket
    rows = cli.list_rows()
    assert len(rows) == 4 and all(row["path"].startswith("gs://bucket/cache/") for row in rows.values())
    assert all("://" in row["name"] or os.path.isabs(row["name"]) for row in rows.values()), "as resolved in any directory"
    requests = len(stage.origin.requests)
    for row in rows.values():
        assert [model.path for model in maintenance.select([row["name"]])] == [row["path"]]
        code, out, err = cli("resolve", row["name"])
        is_copied = has_local_copy and not row["name"].endswith("?…")
        assert (code, out.startswith(f"{stage.work.parent}/second/" if is_copied else row["path"])) == (0, True), (out, err)
        assert cli("verify", row["name"])[0] == 0
        check_export(cli, row, {row["path"], out.strip()})
    assert len(stage.origin.requests) == requests, "something was downloaded from the origin again"
    for row in rows.values():
        assert cli("rm", row["name"])[0] == 0
    assert cli.list_rows() == {}


def test_a_changed_archive_is_listed_by_path_and_hash_and_each_version_resolves(stage: Stage, cli: CommandLine) -> None:
    path = stage.put_archive()
    old = resolve(path)
    assert [row["name"] for row in cli.list_rows().values()] == [str(path)]
    stage.put_archive(files=NEWER)
    names = {row["name"]: row["path"] for row in cli.list_rows().values()}
    assert len(names) == 2 and all(name.startswith(f"{path}#sha256=") for name in names) and old in names.values()
    assert {name: resolve(name) for name in names} == names
    code, _, err = cli("rm", str(path))
    assert code == 2 and "matches several models" in err and all(name in err for name in names)
    assert resolve(path) == next(name for name in names.values() if name != old), "the path alone is the file as it is now"


def test_a_version_that_was_never_unpacked_is_not_taken_from_the_cache(stage: Stage) -> None:
    path = stage.put_archive()
    with pytest.raises(IntegrityError, match="different sha256"):
        resolve(f"{path}#sha256={'0' * 64}")


def test_what_was_recorded_without_its_query_cannot_be_fetched_again(stage: Stage, cli: CommandLine) -> None:
    make_signed_url(stage)
    (row,) = cli.list_rows().values()
    with pytest.raises(HandleError, match="complete handle of this cached model was not recorded"):
        resolve(row["name"], refresh=True)
    right, wrong = row["archive_sha256"], "0" * 64
    assert resolve(row["name"], sha256=right) == row["path"]
    with pytest.raises(IntegrityError, match="different sha256"):
        resolve(row["name"], sha256=wrong)


def test_a_handle_without_its_query_that_stands_for_two_models_is_an_error(stage: Stage, cli: CommandLine) -> None:
    make_two_signed_urls(stage)
    names = [row["name"] for row in cli.list_rows().values()]
    with pytest.raises(UnknownHandleError, match="stands for several cached models") as caught:
        resolve(f"{stage.origin.url}/m.tar.gz?…")
    assert all(name in caught.value.fix for name in names)


def test_one_entry_that_cannot_be_read_hides_no_other(stage: Stage, cli: CommandLine) -> None:
    make_url(stage)
    put_model(stage.cache / ("0" * 40))
    (stage.cache / f"{'0' * 40}{DESCRIPTOR_SUFFIX}").symlink_to(f"{'0' * 40}{DESCRIPTOR_SUFFIX}")
    code, out, err = cli("ls")
    assert code == 0 and len(out.splitlines()) == 3 and "cannot read" in err
    assert cli("rm", "0" * 40)[0] == 0 and len(cli.list_rows()) == 1


def test_a_name_that_nothing_has_is_unknown_and_asks_no_server(stage: Stage) -> None:
    make_url(stage)
    requests = len(stage.origin.requests)
    for name in ("nothing", "google/nothing/1", "nothing.tar.gz", "./nothing.tar.gz#sha256=" + "0" * 64, "1" * 40, "../x"):
        with pytest.raises(UnknownHandleError):
            resolve(name)
    assert len(stage.origin.requests) == requests


@pytest.mark.parametrize("refresh", [False, True])
def test_a_handle_whose_query_is_left_out_is_never_sent(refresh: bool, origin: Origin) -> None:
    handle = origin.put("/m.tgz", tar_gz())
    with pytest.raises(HandleError, match="its query was left out"):
        resolve(f"{handle}?…", refresh=refresh)
    assert origin.requests == []


def test_a_name_that_ls_shortened_for_a_narrow_terminal_means_the_model(origin: Origin) -> None:
    paths = {url: resolve(url) for url in (origin.put(f"/models/{name}/1.tar.gz", tar_gz()) for name in ("lion", "lioness"))}
    (lion, lioness) = paths
    for width in (12, 25, 35):
        short = truncate_middle(lioness, width)
        if width > 12:
            assert resolve(short) == paths[lioness] and [m.path for m in maintenance.select(short)] == [paths[lioness]]
        else:
            for call in (resolve, maintenance.select):
                with pytest.raises(UnknownHandleError, match="several"):
                    call(short)
    maintenance.remove([lion])
    for width in (12, 25):
        assert resolve(truncate_middle(lioness, width)) == paths[lioness]
    for short in ("…", "http…", f"{lioness}…", f"https://models.example/…{'z' * 9}"):
        with pytest.raises(UnknownHandleError):
            maintenance.select(short)
    with pytest.raises(errors.ResolverError):
        resolve("…")
    assert len(origin.requests) == 2
