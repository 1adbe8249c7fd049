"""Projects with a models file: add, lock, sync, why, and pins."""

from __future__ import annotations

import hashlib
import os

from tests.golden.registry import scenario
from tests.golden.servers import MODEL, tar_gz
from tests.golden.stage import Stage

FILE = "tfimm-models.toml"
OTHER = {"saved_model.pb": b"a newer graph"}
PIN = hashlib.sha256(tar_gz()).hexdigest()


def write_models(stage: Stage, text: str) -> None:
    """Write the project's models file."""
    (stage.project / FILE).write_text(text)


@scenario
def add_a_model(stage: Stage) -> None:
    """With an alias and a mirror; then by its names."""
    handle, mirror = stage.origin.put_model("/resnet18/1", tar_gz()), stage.origin.put("/r.tgz", tar_gz())
    stage.cli("add", "resnet18", handle, "--alias", "r18", "--mirror", mirror)
    stage.cli("resolve", "r18")
    stage.cli("why", "r18")
    stage.cli("why", "--json", "resnet18")


@scenario
def add_as_json(stage: Stage) -> None:
    """As JSON, and a local directory, archive and bucket."""
    stage.cli("add", "--json", "m", stage.origin.put("/m.tgz", tar_gz()))
    stage.put_files(stage.project / "models/n", MODEL)
    (stage.project / "models/o.tgz").write_bytes(tar_gz())
    for name, handle in (("n", "models/n"), ("o", "./models/o.tgz"), ("p", "gs://bucket/m")):
        stage.cli("add", name, handle)


@scenario
def add_refuses(stage: Stage) -> None:
    """Names that are taken or no names, secrets, and handles that fail."""
    handle = stage.origin.put("/m.tgz", tar_gz())
    stage.cli("add", "m", handle, "--alias", "n")
    for arguments in (
        ["m", handle],
        ["n", handle, "--replace"],
        ["a/b", handle],
        ["x", f"{handle}?token=hidden"],
        ["x", handle.replace("://", "://ada:hidden@")],
        ["x", "no_such_model"],
        ["x", f"{handle}#sha256={'0' * 64}"],
        ["x", f"{stage.origin.url}/gone.tgz"],
    ):
        stage.cli("add", *arguments)


@scenario
def add_replaces(stage: Stage) -> None:
    """--replace replaces a model, and keeps comments."""
    write_models(stage, f'# ours\n[models.m]  # mine\nhandle = "{stage.origin.put("/old.tgz", tar_gz())}"\n')
    stage.cli("add", "m", stage.origin.put("/new.tgz", tar_gz(OTHER)), "--replace")


@scenario
def lock_pins(stage: Stage) -> None:
    """Models with and without pins, and one that cannot be pinned."""
    a, b = (stage.origin.put(f"/{name}.tgz", tar_gz()) for name in ("a", "b"))
    text = f'[models.a]\nhandle = "{a}"\n[models.b]\nhandle = "{b}"\nsha256 = "{PIN}"\n[models.c]\nhandle = "gs://b/m"\n'
    write_models(stage, text)
    stage.cli("lock", "--check", "-j", "1")
    stage.cli("lock", "-j", "1")
    stage.cli("lock", "--json", "-j", "1")
    stage.cli("lock", "nonsense")


@scenario
def lock_after_a_change_upstream(stage: Stage) -> None:
    """Reported, reported as JSON, then accepted."""
    handle = stage.origin.put("/m.tgz", tar_gz())
    stage.cli("add", "m", handle)
    stage.origin.put("/m.tgz", tar_gz(OTHER))
    for options in ([], ["--check"], ["--json"], ["--update", "-q"]):
        stage.cli("lock", *options)
    stage.origin.put("/m.tgz", b"gone", status=404)
    stage.cli("lock")


@scenario
def sync_a_project(stage: Stage) -> None:
    """Missing models are reported, fetched, and reported as cached."""
    text = "".join(f'[models.{name}]\nhandle = "{stage.origin.put(f"/{name}.tgz", tar_gz())}"\n' for name in ("a", "b"))
    write_models(stage, text)
    stage.cli("sync", "--check")
    stage.cli("sync", "-j", "1")
    stage.cli("sync", "--check", "--json")
    stage.cli("sync", "nonsense")


@scenario
def sync_with_failures(stage: Stage) -> None:
    """A wrong pin, a missing archive, and a copy that does not keep its pin."""
    a, b = stage.origin.put("/a.tgz", tar_gz()), f"{stage.origin.url}/b.tgz"
    write_models(stage, f'[models.a]\nhandle = "{a}"\nsha256 = "{"0" * 64}"\n[models.b]\nhandle = "{b}"\n')
    stage.cli("sync", "-j", "1")
    stage.cli("resolve", a)
    stage.cli("sync", "--check")
    stage.cli("sync", "--json", "-j", "1")
    stage.cli("resolve", "a")
    stage.cli("why", "a")


@scenario
def sync_without_a_file(stage: Stage) -> None:
    """No models file at all, for each command that wants one."""
    for command in (["sync"], ["lock"], ["sync", "--json"]):
        stage.cli(*command)


@scenario
def mirrors_of_a_model(stage: Stage) -> None:
    """The handle fails, a mirror has other bytes, the next has the right ones."""
    bad, good = stage.mirror.put("/bad.tgz", tar_gz(OTHER)), stage.mirror.put("/good.tgz", tar_gz())
    text = f'[models.m]\nhandle = "{stage.origin.url}/gone.tgz"\nsha256 = "{PIN}"\nmirrors = ["{{}}"]\n'
    write_models(stage, text.format(bad))
    stage.cli("resolve", "m")
    write_models(stage, text.format(good))
    stage.cli("resolve", "m")


@scenario
def models_files_at_fault(stage: Stage) -> None:
    """Not TOML, unknown keys, wrong types, names twice, mirrors without a pin."""
    for text in (
        "[models.m\n",
        '[models.m]\nhandel = "x"\n',
        "[models.m]\nhandle = 3\n",
        '[models.m]\nhandle = "https://h/m.tgz"\nsha256 = "abc"\n',
        '[models.m]\nhandle = "https://h/m.tgz"\naliases = ["n"]\n[models.n]\nhandle = "https://h/n.tgz"\n',
        '[models.m]\nhandle = "https://h/m.tgz"\nmirrors = ["https://i/m.tgz"]\n',
        '[models."a/b"]\nhandle = "https://h/m.tgz"\n',
        'models = "m"\n',
    ):
        write_models(stage, text)
        stage.cli("resolve", "m")


@scenario
def several_models_files(stage: Stage) -> None:
    """Files named by a variable, the stronger first, and one that is missing."""
    for name, model in (("one", "m"), ("two", "m"), ("three", "n")):
        stage.put_files(stage.project / name, MODEL)
        (stage.project / f"{name}.toml").write_text(f'[models.{model}]\nhandle = "./{name}"\n')
    files = os.pathsep.join(f"{stage.project}/{name}.toml" for name in ("one", "two", "three"))
    for name in ("m", "n"):
        stage.cli("resolve", name, TFIMM_MODELS_FILE=files)
        stage.cli("why", name, TFIMM_MODELS_FILE=files)
    stage.cli("path", TFIMM_MODELS_FILE=files)
    stage.cli("resolve", "m", TFIMM_MODELS_FILE=f"{stage.project}/missing.toml")


@scenario
def models_file_before_directories(stage: Stage) -> None:
    """A name in the file wins over a directory of names."""
    stage.put_files(stage.home / ".cache/tfimm/m", MODEL)
    write_models(stage, f'[models.m]\nhandle = "{stage.origin.put("/m.tgz", tar_gz(OTHER))}"\n')
    stage.python("import tfimm_resolver as t\nattempt(t.cached_model_path, 'm')")
    stage.cli("resolve", "m")
    stage.cli("why", "m")


@scenario
def repair_respects_pins(stage: Stage) -> None:
    """verify --repair of a pinned model, while upstream has another archive, then the right one."""
    handle = stage.origin.put("/m.tgz", tar_gz())
    stage.cli("add", "m", handle)
    path = stage.cli("resolve", "m").out.strip()
    stage.remove(f"{path}/saved_model.pb")
    stage.origin.put("/m.tgz", tar_gz(OTHER))
    stage.cli("verify", "--repair")
    stage.origin.put("/m.tgz", tar_gz())
    stage.cli("verify", "--repair", "m")
