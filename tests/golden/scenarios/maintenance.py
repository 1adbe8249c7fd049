"""Maintenance of a cache: ls, rm, verify, path, and help."""

from __future__ import annotations

import hashlib

from tests.golden.registry import scenario
from tests.golden.servers import MODEL, tar_gz
from tests.golden.stage import Stage


@scenario
def list_models(stage: Stage) -> None:
    """A valid model, a damaged one, one by hand, and one by name; as a table, as names, as JSON, in colour."""
    handles = [stage.origin.put(f"/{name}.tar.gz", tar_gz()) for name in ("damaged", "whole")]
    path = stage.cli("resolve", handles[0]).out.strip()
    stage.cli("resolve", handles[1])
    stage.remove(f"{path}/saved_model.pb")
    stage.put_files(stage.cache / ("0" * 40), MODEL)
    stage.put_files(stage.home / ".cache/tfimm/resnet18", MODEL)
    for options in ([], ["-q"], ["--json"], ["--color", "always"]):
        stage.cli("ls", *options)


@scenario
def list_an_empty_cache(stage: Stage) -> None:
    """Nothing to list, verify or remove."""
    for command in (["ls"], ["ls", "--json"], ["verify"], ["verify", "--json"], ["rm", "nothing"], ["rm"]):
        stage.cli(*command)


@scenario
def remove_models(stage: Stage) -> None:
    """By handle, as JSON, by the hash in its name, and one that is not cached."""
    handles = [stage.origin.put(f"/{number}.tar.gz", tar_gz()) for number in range(3)]
    for handle in handles:
        stage.cli("resolve", "-q", handle)
    stage.cli("rm", handles[0])
    stage.cli("rm", "--json", f"{handles[1]}/")
    stage.cli("rm", handles[2], "nothing")
    stage.cli("rm", hashlib.sha1(handles[2].encode()).hexdigest())


@scenario
def remove_what_was_put_by_hand(stage: Stage) -> None:
    """A name's directory and a tree without a record stay."""
    stage.put_files(stage.home / ".cache/tfimm/resnet18", MODEL)
    stage.put_files(stage.cache / ("0" * 40), MODEL)
    stage.cli("rm", "resnet18")
    stage.cli("rm", "0" * 40)
    stage.cli("rm", "--json", "nothing")


@scenario
def verify_models(stage: Stage) -> None:
    """A model that is as it was fetched, and one without a record."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    stage.cli("resolve", handle)
    stage.cli("verify")
    stage.cli("verify", "--json", handle)
    stage.put_files(stage.cache / ("0" * 40), MODEL)
    stage.cli("verify", "0" * 40)
    stage.cli("verify", "-q", "0" * 40)


@scenario
def verify_and_repair(stage: Stage) -> None:
    """A changed byte and a missing file, reported, reported as JSON, repaired."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    path = stage.cli("resolve", handle).out.strip()
    stage.write(f"{path}/saved_model.pb", b"a grapH")
    stage.remove(f"{path}/variables/variables.index")
    stage.cli("verify", handle)
    stage.cli("verify", "--json")
    stage.cli("verify", "--repair", handle)
    stage.cli("verify")


@scenario
def repair_fetches_another_archive(stage: Stage) -> None:
    """The server has another archive by now, then none."""
    handle = stage.origin.put("/m.tar.gz", tar_gz())
    path = stage.cli("resolve", handle).out.strip()
    stage.remove(f"{path}/saved_model.pb")
    stage.origin.put("/m.tar.gz", tar_gz({"saved_model.pb": b"another"}))
    stage.cli("verify", "--repair")
    stage.remove(f"{path}/saved_model.pb")
    stage.origin.put("/m.tar.gz", b"gone", status=404)
    stage.cli("verify", "--repair", handle)
    stage.cli("verify", "--repair", "--json", handle)


@scenario
def repair_of_a_handle_with_a_query(stage: Stage) -> None:
    """Its query may hold a secret, so it is not known any more."""
    handle = stage.origin.put("/m.tar.gz?token=hidden", tar_gz())
    path = stage.cli("resolve", handle).out.strip()
    stage.remove(f"{path}/saved_model.pb")
    stage.cli("verify", "--repair")
    stage.cli("verify", "--repair", handle)


@scenario
def paths_and_their_settings(stage: Stage) -> None:
    """The roots, and which setting chose each."""
    stage.cli("path")
    stage.cli("path", "--json")
    stage.cli("path", "-q")
    stage.cli("path", TFIMM_HOME=f"{stage.root}/home2", TFIMM_HUB_DIR=f"{stage.root}/hub", XDG_CACHE_HOME=f"{stage.root}/xdg")
    stage.cli("path", "--cache-dir", f"{stage.root}/chosen")
    stage.cli("--tfhub_cache_dir", f"{stage.root}/chosen", "path", "-q")


@scenario
def help_of_every_command(stage: Stage) -> None:
    """The texts of --help."""
    commands = ("resolve", "load", "ls", "rm", "verify", "add", "lock", "sync", "why", "export", "import", "path", "demo")
    for command in ([], *([name] for name in commands), ["hub"], ["hub", "list"], ["hub", "help"], ["hub", "load"]):
        stage.cli(*command, "--help")


@scenario
def wrong_options(stage: Stage) -> None:
    """No command, an unknown one, an unknown option, a missing argument, a wrong value."""
    for arguments in (
        [],
        ["nonsense"],
        ["resolve"],
        ["resolve", "--nonsense", "x"],
        ["resolve", "--color", "blue", "x"],
        ["resolve", "--load-format", "ZIPPED", "x"],
        ["export", "x"],
        ["lock", "--update", "--check"],
        ["sync", "-j", "0"],
        ["--version"],
    ):
        stage.cli(*arguments)
