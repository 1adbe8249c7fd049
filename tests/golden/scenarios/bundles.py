"""Bundles: export, import, and invalid bundles."""

from __future__ import annotations

from tests.golden.registry import scenario
from tests.golden.servers import MODEL, tar_gz
from tests.golden.stage import Stage


def export(stage: Stage, *options: str) -> str:
    """Fetch a model and export it; return its handle."""
    handle = stage.origin.put_model("/google/model/1", tar_gz())
    stage.cli("export", handle, "-o", "models.tar", *options)
    return handle


@scenario
def export_and_import(stage: Stage) -> None:
    """Into another cache, twice, offline."""
    handle = export(stage)
    far = {"TFHUB_CACHE_DIR": f"{stage.root}/far", "TFIMM_RESOLVER_OFFLINE": "1"}
    stage.cli("import", "models.tar", **far)
    stage.cli("import", "models.tar", **far)
    stage.cli("import", "models.tar", "--refresh", **far)
    stage.cli("resolve", handle, **far)
    stage.cli("verify", **far)


@scenario
def export_and_import_as_json(stage: Stage) -> None:
    """As JSON, and quietly."""
    export(stage, "--json")
    far = {"TFHUB_CACHE_DIR": f"{stage.root}/far"}
    stage.cli("import", "--json", "models.tar", **far)
    stage.cli("import", "-q", "models.tar", **far)


@scenario
def export_refuses(stage: Stage) -> None:
    """A damaged model, handles without a cached model, and a file that cannot be written."""
    handle = stage.origin.put("/m.tgz", tar_gz())
    path = stage.cli("resolve", handle).out.strip()
    stage.put_files(stage.project / "model", MODEL)
    stage.write(f"{path}/saved_model.pb", b"a grapH")
    for handles in ([handle], ["./model"], ["gs://bucket/m"], ["no_such_model"], [f"{stage.origin.url}/gone.tgz"]):
        stage.cli("export", *handles, "-o", "models.tar")
    stage.cli("export", stage.origin.put("/n.tgz", tar_gz()), "-o", "missing/models.tar")


@scenario
def import_refuses(stage: Stage) -> None:
    """A changed byte, a truncated bundle, a wrong sha256, a file that is not a bundle, and a missing file."""
    export(stage)
    far = {"TFHUB_CACHE_DIR": f"{stage.root}/far"}
    bundle = (stage.project / "models.tar").read_bytes()
    at = bundle.index(MODEL["saved_model.pb"] + b"\0")
    stage.write(stage.project / "changed.tar", bundle[:at] + b"A" + bundle[at + 1 :])
    stage.write(stage.project / "cut.tar", bundle[: len(bundle) // 2])
    stage.write(stage.project / "more.tar", bundle + b"rubbish")
    stage.write(stage.project / "text.tar", b"no bundle")
    for name in ("changed", "cut", "more", "text", "missing"):
        stage.cli("import", f"{name}.tar", **far)
    stage.cli("import", "models.tar", "--sha256", "0" * 64, **far)


@scenario
def bundle_through_pipes(stage: Stage) -> None:
    """A bundle from stdin that is empty, and export of nothing."""
    stage.cli("import", "-", stdin="")
    stage.cli("import", "-", stdin="no bundle")
    stage.cli("export", "-o", "models.tar")
