"""Failures of servers, archives and disks."""

from __future__ import annotations

import gzip

from tests.golden.registry import scenario
from tests.golden.servers import MODEL, gzip_tar, member, reset_connection, stall_after, tar_gz, tar_of
from tests.golden.stage import Stage


@scenario
def server_is_silent(stage: Stage) -> None:
    """A body that stops, with a short time limit."""
    stage.environment["TFIMM_RESOLVER_READ_TIMEOUT_S"] = "1"
    stage.cli("resolve", stage.host.put("/m.tar.gz", tar_gz(), stall_after(0.5), ranges=False))


@scenario
def http_error_statuses(stage: Stage) -> None:
    """404, 410, 401, 403 and 418 for an archive."""
    for status in (404, 410, 401, 403, 418):
        stage.cli("resolve", stage.origin.put(f"/{status}.tar.gz", b"a page", status=status))


@scenario
def server_errors(stage: Stage) -> None:
    """500, 503 and 429, with no retries left."""
    for status in (500, 503, 429):
        stage.cli("resolve", stage.origin.put(f"/{status}.tar.gz", b"a page", status=status))


@scenario
def failures_as_json(stage: Stage) -> None:
    """The same kinds of failure as JSON, and quietly."""
    missing = f"{stage.origin.url}/missing.tar.gz"
    stage.cli("resolve", "--json", missing)
    stage.cli("resolve", "-q", missing)
    stage.cli("resolve", "--json", stage.origin.put("/cut.tar.gz", tar_gz()[:-4]))


@scenario
def missing_model_of_tfhub(stage: Stage) -> None:
    """A handle by TF Hub's protocol that the server does not know."""
    stage.cli("resolve", f"{stage.origin.url}/google/missing/1")


@scenario
def unreachable_servers(stage: Stage) -> None:
    """A closed port, and a connection that is reset before an answer."""
    stage.cli("resolve", "http://127.0.0.1:9/m.tar.gz")
    stage.cli("resolve", stage.host.put("/m.tar.gz", tar_gz(), reset_connection))


@scenario
def page_instead_of_an_archive(stage: Stage) -> None:
    """An HTML page with status 200, and an empty body."""
    page = b"<!DOCTYPE html><html><body>Sign in</body></html>"
    stage.cli("resolve", stage.origin.put("/page.tar.gz", page, headers={"Content-Type": "text/html"}))
    stage.cli("resolve", stage.origin.put("/empty.tar.gz", b""))


@scenario
def archives_that_are_damaged(stage: Stage) -> None:
    """Cut short, with a wrong CRC, and followed by other bytes."""
    complete = tar_gz()
    damaged = bytearray(complete)
    damaged[-6] ^= 0x02
    stage.cli("resolve", stage.origin.put("/cut.tar.gz", complete[: len(complete) // 2]))
    stage.cli("resolve", stage.origin.put("/crc.tar.gz", bytes(damaged)))
    stage.cli("resolve", stage.origin.put("/more.tar.gz", complete + b"rubbish"))
    stage.cli("resolve", stage.origin.put("/no-end.tar.gz", gzip.compress(gzip.decompress(complete)[:1024], mtime=0)))


@scenario
def incomplete_bodies(stage: Stage) -> None:
    """A Content-Length that is larger than the body."""
    stage.cli("resolve", stage.origin.put("/m.tar.gz", tar_gz(), length=len(tar_gz()) + 10))


@scenario
def hostile_names(stage: Stage) -> None:
    """Members that leave the directory, and names that are not allowed everywhere."""
    for number, name in enumerate(("../victim", "/tmp/victim", "CON", "a:/b", "n" * 300)):
        archive = gzip_tar(tar_of(member("saved_model.pb", b"a graph"), member(name, b"evil")))
        stage.cli("resolve", stage.origin.put(f"/{number}.tar.gz", archive))


@scenario
def hostile_members(stage: Stage) -> None:
    """Links, devices, a name twice, names that differ in case, and nothing at all."""
    graph = member("saved_model.pb", b"a graph")
    archives = {
        "link": tar_of(graph, member("link", type=b"2", linkname="/etc/passwd")),
        "hard-link": tar_of(graph, member("link", type=b"1", linkname="saved_model.pb")),
        "device": tar_of(graph, member("device", type=b"3")),
        "twice": tar_of(graph, member("x", b"1"), member("x", b"2")),
        "case": tar_of(graph, member("A", b"1"), member("a", b"2")),
        "nothing": tar_of(),
    }
    for name, archive in archives.items():
        stage.cli("resolve", stage.origin.put(f"/{name}.tar.gz", gzip_tar(archive)))


@scenario
def archives_over_the_limits(stage: Stage) -> None:
    """More members and more bytes than are allowed."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    stage.cli("resolve", handle, TFIMM_RESOLVER_MAX_MEMBERS="2")
    stage.cli("resolve", handle, TFIMM_RESOLVER_MAX_BYTES="100")


@scenario
def handles_that_cannot_be_read(stage: Stage) -> None:
    """Unknown schemes and names, slips, and forms that are not handles."""
    for handle in ("ftp://h/m", "tfhb://google/nnlm/2", "htps://host/m", "", "http://", "a\nb", "http://h:x/m"):
        stage.cli("resolve", handle)


@scenario
def roots_that_cannot_be_used(stage: Stage) -> None:
    """A cache below a file, a file as a cache, and a directory that cannot be created."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    (stage.project / "file").write_text("a file")
    for root in (f"{stage.project}/file/cache", f"{stage.project}/file", "/proc/cache"):
        stage.cli("resolve", "--cache-dir", root, handle)
    stage.cli("ls", "--cache-dir", f"{stage.project}/file")


@scenario
def tree_replaced_by_a_file(stage: Stage) -> None:
    """A file, and a dangling link, where a model should be."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    path = stage.cli("resolve", handle).out.strip()
    stage.remove(path)
    stage.write(path, b"in the way")
    stage.cli("resolve", handle)
    stage.remove(path)
    stage.link(path, "nowhere")
    stage.cli("resolve", handle)


@scenario
def lock_of_another_process(stage: Stage) -> None:
    """A lock file that a dead process left."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    path = stage.cli("resolve", handle).out.strip()
    stage.remove(path)
    stage.write(f"{path}.lock", b"elsewhere.1.flock-1-0-0000000000000000")
    stage.cli("resolve", handle)


@scenario
def failures_keep_the_cached_copy(stage: Stage) -> None:
    """A damaged copy, and a server that is gone."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    path = stage.cli("resolve", handle).out.strip()
    stage.origin.put("/m.tar.gz", b"gone", status=500)
    stage.cli("resolve", "--refresh", handle)
    stage.remove(f"{path}/saved_model.pb")
    stage.cli("resolve", handle)
    stage.write(f"{path}/saved_model.pb", MODEL["saved_model.pb"])
    stage.cli("resolve", handle)
