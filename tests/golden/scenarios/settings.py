"""Variables: which are read, and values that cannot be."""

from __future__ import annotations

from tests.golden.registry import scenario
from tests.golden.servers import tar_gz
from tests.golden.stage import Stage


@scenario
def variables_at_fault(stage: Stage) -> None:
    """Numbers that are none, and out of range."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    for name, value in (
        ("TFIMM_RESOLVER_RETRIES", "many"),
        ("TFIMM_RESOLVER_CONNECTIONS", "0"),
        ("TFIMM_RESOLVER_READ_TIMEOUT_S", "-1"),
        ("TFIMM_RESOLVER_LOCK_TIMEOUT_S", "soon"),
        ("TFIMM_RESOLVER_OFFLINE", "perhaps"),
        ("TFIMM_RESOLVER_MAX_MEMBERS", "x"),
        ("TFHUB_MODEL_LOAD_FORMAT", "ZIPPED"),
    ):
        stage.cli("resolve", "--refresh", handle, **{name: value})


@scenario
def hosts_file(stage: Stage) -> None:
    """Tokens and headers for a host, a file that others may read, and one at fault."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    host = stage.origin.url.removeprefix("http://")
    file = stage.home / ".config/tfimm_resolver/hosts.toml"
    stage.write(file, f'["{host}"]\ntoken_variable = "MY_TOKEN"\nheaders = {{ X-Team = "vision" }}\n'.encode())
    file.chmod(0o644)
    stage.cli("resolve", handle, MY_TOKEN="secret")
    stage.cli("resolve", "--refresh", handle)
    stage.record("authorization", repr([headers.get("Authorization") for headers in stage.origin.headers]))
    stage.write(file, b"[nonsense\n")
    file.chmod(0o600)
    stage.cli("resolve", "--refresh", handle)


@scenario
def netrc_and_proxies(stage: Stage) -> None:
    """Credentials in netrc, and a proxy that is down."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    stage.write(stage.home / ".netrc", b"machine 127.0.0.1 login ada password secret\n")
    (stage.home / ".netrc").chmod(0o600)
    stage.cli("resolve", handle)
    stage.record("authorization", repr([headers.get("Authorization") for headers in stage.origin.headers]))
    stage.cli("resolve", "http://models.example.org/m.tar.gz", http_proxy="http://127.0.0.1:9")


@scenario
def roots_by_variables(stage: Stage) -> None:
    """Paths with ~ and $VAR, and a relative one."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    for root in ("~/mine", "$HOME/yours", "relative"):
        stage.cli("resolve", handle, TFHUB_CACHE_DIR=root)
    stage.cli("path", TFHUB_CACHE_DIR="ftp://host/cache")
    stage.cli("resolve", handle, TFHUB_CACHE_DIR="ftp://host/cache")
