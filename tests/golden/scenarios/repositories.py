"""Repositories with entry points: hub list, help and load, trust, and weights."""

from __future__ import annotations

from tests.golden.registry import scenario
from tests.golden.servers import tar_gz
from tests.golden.stage import Stage

HUBCONF = '''
dependencies = ["json"]

def one(x=1, *, y=2):
    """One model.
    x: a number."""
    return {"x": x, "y": y}

def broken():
    raise ValueError("it does not work")
'''


@scenario
def hub_list_help_and_load(stage: Stage) -> None:
    """The three commands for a trusted repository."""
    stage.git.repo("ada/models", {"hubconf.py": HUBCONF}, branch="trunk")
    stage.cli("hub", "list", "--trust", "ada/models")
    stage.cli("hub", "list", "ada/models:trunk")
    stage.cli("hub", "help", "ada/models", "one")
    stage.cli("hub", "load", "ada/models", "one", "--arg", "x=5", "--arg", "y=text")
    stage.cli("hub", "load", "ada/models", "broken")


@scenario
def hub_as_json(stage: Stage) -> None:
    """The same as JSON."""
    stage.git.repo("ada/models", {"hubconf.py": HUBCONF})
    stage.cli("hub", "list", "--trust", "--json", "ada/models")
    stage.cli("hub", "help", "--json", "ada/models", "one")
    stage.cli("hub", "load", "--json", "ada/models", "one")


@scenario
def hub_without_trust(stage: Stage) -> None:
    """Without a terminal, nothing is run."""
    stage.git.repo("ada/models", {"hubconf.py": HUBCONF})
    stage.cli("hub", "list", "ada/models")
    stage.cli("hub", "load", "--json", "ada/models", "one")


@scenario
def hub_failures(stage: Stage) -> None:
    """No such repository, ref, entry point, argument or hubconf, and a missing dependency."""
    stage.git.repo("ada/models", {"hubconf.py": HUBCONF})
    stage.git.repo("ada/empty", {"README": "nothing"})
    stage.git.repo("ada/wants", {"hubconf.py": "dependencies = ['no_such_module']\ndef one(): pass\n"})
    stage.git.repo("ada/wrong", {"hubconf.py": "import no_such_module\n"})
    for arguments in (
        ["list", "ada/missing"],
        ["list", "ada/models:gone"],
        ["list", "ada"],
        ["load", "ada/models", "missing"],
        ["load", "ada/models", "one", "--arg", "z=1"],
        ["load", "ada/models", "one", "--arg", "nonsense"],
        ["list", "ada/empty"],
        ["list", "ada/wrong"],
        ["load", "ada/wants", "one"],
    ):
        stage.cli("hub", arguments[0], "--trust", *arguments[1:])


@scenario
def hub_reloads(stage: Stage) -> None:
    """A new commit is taken on demand, and the old one stays where that fails."""
    repo = stage.git.repo("ada/models", {"hubconf.py": HUBCONF})
    stage.cli("hub", "list", "--trust", "ada/models")
    repo.commit({"hubconf.py": "def new(): pass\n"})
    stage.cli("hub", "list", "ada/models")
    stage.cli("hub", "list", "--force-reload", "ada/models")
    stage.git.stop()
    stage.cli("hub", "list", "--force-reload", "ada/models")
    stage.cli("hub", "list", "ada/models", TFIMM_RESOLVER_OFFLINE="1")


@scenario
def hub_directory_that_others_may_write(stage: Stage) -> None:
    """The directory, a repository's tree, and the list of trusted repositories, each open to everybody."""
    stage.git.repo("ada/models", {"hubconf.py": HUBCONF})
    hub = stage.root / "hub"
    stage.environment["TFIMM_HUB_DIR"] = str(hub)
    stage.cli("hub", "list", "--trust", "ada/models")
    for path in (hub, hub / "trusted_list", *(tree for tree in hub.glob("ada_models*") if tree.is_dir())):
        mode = path.stat().st_mode
        path.chmod(0o777)
        stage.cli("hub", "list", "ada/models")
        path.chmod(mode)
    stage.cli("hub", "list", "ada/models")


@scenario
def hub_directory_through_links(stage: Stage) -> None:
    """The directory, and the list of trusted repositories, as symbolic links."""
    stage.git.repo("ada/models", {"hubconf.py": HUBCONF})
    stage.put_files(stage.root / "real", {"trusted_list": b""})
    stage.link(stage.root / "linked", str(stage.root / "real"))
    stage.cli("hub", "list", "--trust", "ada/models", TFIMM_HUB_DIR=f"{stage.root}/linked")
    stage.put_files(stage.root / "other", {"notes": b""})
    stage.link(stage.root / "other/trusted_list", str(stage.root / "real/trusted_list"))
    stage.cli("hub", "list", "ada/models", TFIMM_HUB_DIR=f"{stage.root}/other")


@scenario
def hub_of_a_directory(stage: Stage) -> None:
    """--local reads a directory."""
    stage.write(stage.project / "local/hubconf.py", HUBCONF.encode())
    stage.cli("hub", "list", "--local", "local")
    stage.cli("hub", "load", "--local", "local", "one")
    stage.cli("hub", "list", "--local", "missing")


@scenario
def hub_in_python(stage: Stage) -> None:
    """list, help, load, get_dir, set_dir, download_url_to_file."""
    stage.git.repo("ada/models", {"hubconf.py": HUBCONF})
    stage.python(
        """
        import sys
        from tfimm_resolver import hub
        print(hub.get_dir())
        attempt(hub.list, "ada/models")
        attempt(hub.list, "ada/models", trust_repo=True)
        attempt(hub.help, "ada/models", "one")
        attempt(hub.load, "ada/models", "one", 5, y=6)
        attempt(hub.load, "ada/models", "two")
        attempt(hub.load, "ada/models", "broken")
        attempt(hub.load, "nonsense", "one")
        attempt(hub.download_url_to_file, sys.argv[1], "file.bin", progress=False)
        attempt(hub.download_url_to_file, sys.argv[1], "file2.bin", hash_prefix="0000", progress=False)
        hub.set_dir("hub")
        print(hub.get_dir())
        """,
        stage.origin.put("/file.bin", b"bytes"),
    )


@scenario
def hub_weights(stage: Stage) -> None:
    """Weights that are pickles, not weights, missing, or of another hash than the name says."""
    for name, body in (("m.pth", b"\x80\x02."), ("m.npz", b"no zip"), ("m-0123456789ab.h5", b"\x89HDF\r\n\x1a\n")):
        stage.origin.put(f"/{name}", body)
    stage.python(
        """
        import sys
        from tfimm_resolver import hub
        for name in ("m.pth", "m.npz", "m-0123456789ab.h5", "gone.h5"):
            attempt(hub.load_state_dict_from_url, f"{sys.argv[1]}/{name}", progress=False, check_hash=True)
        """,
        stage.origin.url,
    )


@scenario
def github_handles(stage: Stage) -> None:
    """github:// as a model: a branch, a commit, and what is missing."""
    commit = stage.git.repo("ada/models", {"saved_model.pb": "a graph", "hubconf.py": HUBCONF}).git("rev-parse", "HEAD")
    for ref in ("", ":main", f":{commit}", ":gone"):
        stage.cli("resolve", f"github://ada/models{ref}")
    stage.cli("resolve", "github://ada/missing")
    stage.cli("resolve", "github://ada")
    stage.cli("ls", "-q")


@scenario
def github_archive_with_a_pin(stage: Stage) -> None:
    """A pin on a repository, which is not an archive."""
    stage.git.repo("ada/models", {"saved_model.pb": "a graph"})
    stage.cli("resolve", f"github://ada/models#sha256={'0' * 64}")
    stage.cli("resolve", stage.origin.put("/m.tgz", tar_gz()), TFIMM_GITHUB_URL="nonsense")
    stage.cli("resolve", "github://ada/models", TFIMM_GITHUB_URL="nonsense")
