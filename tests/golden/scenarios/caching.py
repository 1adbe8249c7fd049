"""The cache: repair of damaged entries, models of other programs, offline use, mirrors, extra roots."""

from __future__ import annotations

import os

from tests.golden.registry import scenario
from tests.golden.servers import MODEL, tar_gz
from tests.golden.stage import Stage

OTHER = {"saved_model.pb": b"the mirror's graph"}


@scenario
def heals_by_itself(stage: Stage) -> None:
    """A file that is missing, one that is too short, and a record that is missing or nonsense."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    path = stage.cli("resolve", handle).out.strip()
    stage.remove(f"{path}/variables/variables.index")
    stage.cli("resolve", handle)
    stage.write(f"{path}/saved_model.pb", b"a")
    stage.cli("resolve", handle)
    stage.remove(f"{path}.descriptor.txt")
    stage.cli("resolve", handle)
    stage.write(f"{path}.descriptor.txt", b"nonsense")
    stage.cli("resolve", handle)


@scenario
def copies_of_plain_tensorflow_hub(stage: Stage) -> None:
    """A tree with tensorflow_hub's own record, complete and damaged."""
    handle = stage.origin.put_model("/google/model/1", tar_gz())
    path = stage.cli("resolve", handle).out.strip()
    stage.write(f"{path}.descriptor.txt", f"Module: {handle}\nDownload Time: 2026-01-01T00:00:00\nDownloader Hostname: h\n")
    stage.cli("resolve", handle)
    stage.cli("verify", handle)
    stage.remove(f"{path}/variables/variables.index")
    stage.cli("resolve", handle)


@scenario
def leftovers_of_other_processes(stage: Stage) -> None:
    """A staging directory and parts that a killed process left."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    path = stage.cli("resolve", handle).out.strip()
    stage.remove(path)
    stage.put_files(f"{path}.flock-1-2-3.tmp", MODEL)
    stage.write(f"{path}.parts/rubbish", b"rubbish")
    stage.cli("resolve", handle)


@scenario
def offline(stage: Stage) -> None:
    """A cached model, one that is not cached, and a refresh, without network."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    stage.cli("resolve", handle)
    stage.environment["TFIMM_RESOLVER_OFFLINE"] = "1"
    stage.cli("resolve", handle)
    stage.cli("resolve", "--refresh", handle)
    stage.cli("resolve", f"{stage.origin.url}/other.tar.gz")
    stage.cli("resolve", "--json", "https://tfhub.dev/google/nnlm/2")


@scenario
def mirrors(stage: Stage) -> None:
    """A mirror that has the model, one that does not, and the separators of the list."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    host = stage.origin.url.removeprefix("http://")
    stage.mirror.put(f"/hub/{host}/m.tar.gz", tar_gz(OTHER))
    stage.cli("resolve", handle, TFIMM_RESOLVER_MIRRORS=f"{stage.mirror.url}/hub,direct")
    other = stage.origin.put("/n.tar.gz", tar_gz())
    for mirrors in ("{},off", "{}", "http://127.0.0.1:9,direct", "{},direct"):
        stage.cli("resolve", other, TFIMM_RESOLVER_MIRRORS=mirrors.format(f"{stage.mirror.url}/hub"))


@scenario
def mirrors_after_any_error(stage: Stage) -> None:
    """A mirror that is down, one with a server error, and one in a directory."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    host = stage.origin.url.removeprefix("http://")
    stage.mirror.put(f"/{host}/m.tar.gz", b"sorry", status=500)
    stage.cli("resolve", handle, TFIMM_RESOLVER_MIRRORS=f"http://127.0.0.1:9|{stage.mirror.url}|direct")
    stage.write(stage.project / "mirror/tfhub.dev/google/nnlm/2.tar.gz", tar_gz(OTHER))
    variables = {"TFIMM_RESOLVER_MIRRORS": f"file://{stage.project}/mirror", "TFIMM_RESOLVER_OFFLINE": "1"}
    stage.cli("resolve", "https://tfhub.dev/google/nnlm/2", **variables)
    stage.cli("resolve", "https://tfhub.dev/google/missing/1", **variables)


@scenario
def mirror_lists_at_fault(stage: Stage) -> None:
    """Lists of mirrors that cannot be read."""
    for mirrors in ("ftp://mirror", "http://mirror/?q=1", ",", "direct,", "{nonsense}"):
        stage.cli("resolve", "https://tfhub.dev/google/nnlm/2", TFIMM_RESOLVER_MIRRORS=mirrors, TFIMM_RESOLVER_OFFLINE="1")


@scenario
def extra_roots(stage: Stage) -> None:
    """A model in an extra root, refreshed, and damaged there."""
    handle = stage.origin.put_model("/google/model/1", tar_gz())
    extra = stage.project / "extra"
    path = stage.cli("resolve", "--cache-dir", str(extra), handle).out.strip()
    stage.environment["TFIMM_RESOLVER_EXTRA_ROOTS"] = f"{stage.root}/missing{os.pathsep}{extra}"
    stage.cli("resolve", handle)
    stage.cli("ls")
    stage.cli("rm", handle)
    stage.cli("verify", handle)
    stage.cli("path")
    stage.remove(f"{path}/saved_model.pb")
    stage.cli("resolve", handle)
    stage.cli("ls")


@scenario
def names_root_of_both_kinds(stage: Stage) -> None:
    """TFIMM_HOME holds names and URL handles."""
    del stage.environment["TFHUB_CACHE_DIR"]
    stage.environment["TFIMM_HOME"] = str(stage.root / "both")
    stage.put_files(stage.root / "both/resnet18", MODEL)
    stage.cli("resolve", stage.origin.put("/m.tar.gz", tar_gz()))
    stage.cli("resolve", "resnet18")
    stage.cli("ls")


@scenario
def bucket_as_a_root(stage: Stage) -> None:
    """A root in a bucket, cold, warm, listed, verified and emptied."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    stage.environment["TFHUB_CACHE_DIR"] = stage.gcs.url and "gs://bucket/cache"
    for _ in range(2):
        stage.cli("resolve", "-q", handle)
    stage.cli("ls")
    stage.cli("verify")
    stage.record("objects", "\n".join(sorted(stage.gcs.buckets["bucket"].files("cache/"))))
    stage.cli("rm", handle)


@scenario
def default_roots(stage: Stage) -> None:
    """Without any variable: the temporary directory for URL handles, and the home for names."""
    del stage.environment["TFHUB_CACHE_DIR"]
    stage.cli("resolve", stage.origin.put("/m.tar.gz", tar_gz()))
    stage.cli("path")


@scenario
def default_root_that_others_may_write(stage: Stage) -> None:
    """The temporary directory for URL handles is there already: writable for all users, or a link."""
    del stage.environment["TFHUB_CACHE_DIR"]
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    root = stage.temporary / "tfhub_modules"
    root.mkdir()
    root.chmod(0o777)
    stage.cli("resolve", handle)
    stage.remove(root)
    stage.link(root, str(stage.project))
    stage.cli("resolve", handle)
    stage.cli("path")
