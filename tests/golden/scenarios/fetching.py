"""Fetching models: the forms of archives, of handles and of output."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile

from tests.golden.registry import scenario
from tests.golden.servers import MODEL, answer_with, cut, member, on_request, set_framing, set_header, tar_gz, tar_of
from tests.golden.stage import Stage

PIN = hashlib.sha256(tar_gz()).hexdigest()


@scenario
def resolve_cold_and_warm(stage: Stage) -> None:
    """A handle by TF Hub's protocol, fetched once, then found."""
    handle = stage.origin.put_model("/google/model/1", tar_gz())
    for _ in range(2):
        stage.cli("resolve", handle)


@scenario
def resolve_as_json(stage: Stage) -> None:
    """One JSON object, cold and warm."""
    handle = stage.origin.put_model("/google/model/1", tar_gz())
    for _ in range(2):
        stage.cli("resolve", "--json", handle)


@scenario
def resolve_quietly(stage: Stage) -> None:
    """-q before and after the command, and by a variable."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    stage.cli("resolve", "-q", handle)
    stage.cli("-q", "resolve", "--refresh", handle)
    stage.cli("resolve", "--refresh", handle, TFIMM_RESOLVER_QUIET="1")


@scenario
def resolve_several(stage: Stage) -> None:
    """Three handles, one of which is unknown."""
    handles = [stage.origin.put(f"/{name}.tar.gz", tar_gz()) for name in ("a", "b")]
    stage.cli("resolve", handles[0], "no_such_model", handles[1])
    stage.cli("resolve", "--json", handles[0], "no_such_model", handles[1])


def zip_without_times() -> bytes:
    """Return a .zip of a model, the same bytes each time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in MODEL.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


@scenario
def archives_of_each_form(stage: Stage) -> None:
    """A plain tar, .tgz, .zip, and an archive with a wrapping folder."""
    wrapped = tar_gz({f"wrap/{name}": data for name, data in MODEL.items()})
    stage.cli("resolve", stage.origin.put("/m.tar", tar_of(*(member(*one) for one in MODEL.items()))))
    stage.cli("resolve", stage.origin.put("/m.tgz", tar_gz()))
    stage.cli("resolve", stage.origin.put("/m.zip", zip_without_times()))
    stage.cli("resolve", stage.origin.put("/wrapped.tar.gz", wrapped))
    stage.cli("resolve", stage.origin.put("/notes.tar.gz", tar_gz({"notes.txt": b"no model", "d/empty": b""})))


@scenario
def equivalent_handles(stage: Stage) -> None:
    """A trailing slash, capitals, a query, and tf-hub-format name one copy."""
    handle = stage.origin.put_model("/google/model/1", tar_gz())
    stage.cli("resolve", handle)
    for other in (handle + "/", handle.replace("http://", "HTTP://"), handle + "?tf-hub-format=compressed"):
        stage.cli("resolve", other)


@scenario
def handle_with_secrets(stage: Stage) -> None:
    """A user and a query are asked with, and written nowhere."""
    stage.origin.put("/m.tar.gz?token=hidden", tar_gz())
    handle = stage.origin.url.replace("://", "://ada:secret@") + "/m.tar.gz?token=hidden"
    stage.cli("resolve", handle)
    stage.cli("ls")
    stage.cli("resolve", handle.replace("/m.tar.gz", "/gone.tar.gz"))


@scenario
def redirects(stage: Stage) -> None:
    """Over another host, in a circle, and to an address that is not http."""
    target = stage.mirror.put("/real.tar.gz?signature=hidden", tar_gz())
    stage.cli("resolve", stage.origin.put("/m.tar.gz", status=302, headers={"Location": target}))
    stage.origin.put("/circle.tar.gz", status=302, headers={"Location": "/circle.tar.gz"})
    stage.cli("resolve", f"{stage.origin.url}/circle.tar.gz")
    stage.cli("resolve", stage.origin.put("/ftp.tar.gz", status=302, headers={"Location": "ftp://127.0.0.1/m.tar.gz"}))
    stage.cli("resolve", stage.origin.put("/nowhere.tar.gz", status=302))


@scenario
def ranges_and_framing(stage: Stage) -> None:
    """A server that answers ranges, one that does not, chunks, and a body that ends with the connection."""
    stage.cli("resolve", stage.host.put("/ranges.tar.gz", tar_gz()))
    stage.cli("resolve", stage.host.put("/plain.tar.gz", tar_gz(), ranges=False))
    stage.cli("resolve", stage.host.put("/chunks.tar.gz", tar_gz(), set_framing("chunked"), ranges=False))
    stage.cli("resolve", stage.host.put("/close.tar.gz", tar_gz(), set_framing("close"), ranges=False))


@scenario
def retries(stage: Stage) -> None:
    """A server error and a broken connection, each followed by the right answer."""
    stage.environment["TFIMM_RESOLVER_RETRIES"] = "1"
    stage.cli("resolve", stage.host.put("/m.tar.gz", tar_gz(), on_request(1, answer_with(503))))
    stage.cli("resolve", stage.host.put("/cut.tar.gz", tar_gz(), on_request(1, cut(0.5)), ranges=False))


@scenario
def digests_of_the_server(stage: Stage) -> None:
    """A digest header that agrees, and one that does not."""
    right = hashlib.sha256(tar_gz()).digest()
    for name, digest in (("right", right), ("wrong", bytes(32))):
        value = f"sha-256=:{base64.b64encode(digest).decode()}:"
        stage.cli("resolve", stage.host.put(f"/{name}.tar.gz", tar_gz(), set_header("Repr-Digest", value)))


@scenario
def format_uncompressed(stage: Stage) -> None:
    """A server that names a place in a bucket, and one that cannot."""
    stage.origin.put("/m/1?tf-hub-format=uncompressed", b"gs://bucket/m/1", status=303)
    stage.cli("resolve", "--load-format", "UNCOMPRESSED", f"{stage.origin.url}/m/1")
    stage.origin.put("/n/1?tf-hub-format=uncompressed", tar_gz())
    stage.origin.put_model("/n/1", tar_gz())
    stage.cli("resolve", f"{stage.origin.url}/n/1", TFHUB_MODEL_LOAD_FORMAT="UNCOMPRESSED")


@scenario
def local_paths(stage: Stage) -> None:
    """A directory, its other spellings, and a local archive."""
    stage.put_files(stage.project / "model", MODEL)
    (stage.project / "m.tar.gz").write_bytes(tar_gz())
    for handle in ("model", "./model", f"file://{stage.project}/model", "m.tar.gz", f"file://{stage.project}/m.tar.gz"):
        stage.cli("resolve", handle)
    stage.cli("resolve", "./missing")
    stage.cli("resolve", "./missing.tar.gz")


@scenario
def refresh(stage: Stage) -> None:
    """The same archive again, another one, and none."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    stage.cli("resolve", handle)
    stage.cli("resolve", "--refresh", handle)
    stage.origin.put("/m.tar.gz", tar_gz({"saved_model.pb": b"a newer graph"}))
    stage.cli("resolve", "--refresh", handle)
    stage.origin.put("/m.tar.gz", b"gone", status=404)
    stage.cli("resolve", "--refresh", handle)


@scenario
def pins_on_handles(stage: Stage) -> None:
    """A right pin, a wrong one, both ways to write it, and a cached copy that does not keep it."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    stage.cli("resolve", f"{handle}#sha256={'0' * 64}")
    stage.cli("resolve", f"{handle}#sha256={PIN}")
    stage.cli("resolve", "--sha256", PIN.upper(), handle)
    stage.cli("resolve", "--sha256", "0" * 64, handle)
    stage.cli("resolve", "--sha256", "abc", handle)
    stage.cli("resolve", "--sha256", PIN, handle, handle)
