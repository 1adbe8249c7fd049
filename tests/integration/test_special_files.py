"""Nothing waits or fills memory where a device, a pipe, a socket, a directory or 3 GB of zeros lies instead of a file."""

from __future__ import annotations

import importlib.util
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL
from tests.fakes.named_models import put_model
from tests.fakes.special_files import SPECIAL_FILES
from tfimm_resolver import resolve
from tfimm_resolver.cache.record import FileEntry, Record, find_tree_defect
from tfimm_resolver.cache.tiers import open_cache
from tfimm_resolver.errors import ResolverError
from tfimm_resolver.handles.hugging_face import HuggingFaceModel
from tfimm_resolver.http import hosts, netrc
from tfimm_resolver.hub import hubconf, layout, trust
from tfimm_resolver.hub.h5_weights import read as read_h5
from tfimm_resolver.hub.npz_weights import read as read_npz
from tfimm_resolver.hub.safetensors import read as read_safetensors
from tfimm_resolver.locking.owner import LockOwner
from tfimm_resolver.saved_model import checkpoint, recognition
from tfimm_resolver.saved_model.assets import list_asset_names
from tfimm_resolver.saved_model.completeness import find_defect, find_defect_inside
from tfimm_resolver.settings.network import CaSources, read_certificates
from tfimm_resolver.sources import hugging_face_cache, kaggle_credentials
from tfimm_resolver.transfer.partial_store import PartStore

# A wait at a pipe has to fail soon.
pytestmark = pytest.mark.timeout(60)

MEMORY_BYTES_MAX = 200 << 20
NAME = "0" * 40
COMMIT = "1" * 40


def make_sparse(path: Path) -> None:
    """Create a file of 3 GB that takes no room on the disk."""
    with open(path, "wb") as file:
        file.truncate(3 << 30)


KINDS = {**SPECIAL_FILES, "directory": Path.mkdir, "3 GB": make_sparse}


def create_special(path: Path, make: Callable[[Path], object]) -> Path:
    """Create the path in a private directory."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    make(path)
    return path


def read_record(home: Path, make: Callable[[Path], object]) -> object:
    """Look up a model whose record is special."""
    create_special(home.parent / "cache" / f"{NAME}.descriptor.txt", make)
    return open_cache().find_named(NAME)


def read_models_file(home: Path, make: Callable[[Path], object]) -> object:
    """Resolve a name."""
    os.environ["TFIMM_MODELS_FILE"] = str(create_special(home / "models.toml", make))
    return resolve("lion")


def read_hosts(home: Path, make: Callable[[Path], object]) -> object:
    """Look up the headers of a host."""
    os.environ["TFIMM_RESOLVER_HOSTS_FILE"] = str(create_special(home / "hosts.toml", make))
    return hosts.get_headers("https://h/m")


def read_netrc(home: Path, make: Callable[[Path], object]) -> object:
    """Look up a login; also past the check that the path is a file."""
    os.environ["NETRC"] = str(create_special(home / "own_netrc", make))
    return netrc.find_login("https://h/m", is_own=True) or netrc._read_logins(str(home / "own_netrc"))


def read_kaggle_json(home: Path, make: Callable[[Path], object]) -> object:
    """Look up the credentials for Kaggle."""
    create_special(home / ".kaggle" / "kaggle.json", make)
    return kaggle_credentials.find_credentials()


def read_kaggle_token(home: Path, make: Callable[[Path], object]) -> object:
    """Look up the newer credentials for Kaggle."""
    create_special(home / ".kaggle" / "access_token", make)
    return kaggle_credentials.find_credentials()


def read_trusted_list(home: Path, make: Callable[[Path], object]) -> object:
    """Read the list of trusted repositories."""
    create_special(Path(layout.get_dir()) / "trusted_list", make)
    return trust._read_list()


def read_parts(home: Path, make: Callable[[Path], object]) -> object:
    """Read what a partial download belongs to."""
    return PartStore(create_special(home / "m.parts" / "of.json", make).parent).load()


def read_tree_file(home: Path, make: Callable[[Path], object]) -> object:
    """Compare a tree with its record."""
    create_special(home / "tree" / "saved_model.pb", make)
    record = Record("https://h/m", NAME, files=(FileEntry("saved_model.pb", 7, "ab" * 32),))
    assert find_tree_defect(str(home / "tree"), record) is not None
    return None


def read_graph(home: Path, make: Callable[[Path], object]) -> object:
    """Read the graph of a tree without a record."""
    path = create_special(home / "tree" / "saved_model.pb", make)
    assert path.is_file() or {find_defect(str(path.parent)), find_defect_inside(str(path.parent))} == {
        "saved_model.pb is not a regular file"
    }
    recognition.read_start(str(path))
    return list_asset_names(str(path.parent))


def read_variables(home: Path, make: Callable[[Path], object]) -> object:
    """Check the variables of a tree without a record, and read them."""
    tree = put_model(home / "tree", {name: data for name, data in MODEL.items() if not name.endswith(".index")})
    path = create_special(tree / "variables" / "variables.index", make)
    assert path.is_file() or find_defect(str(tree)) == "variables/variables.index is not a regular file"
    return checkpoint.read_tensors(str(path.with_suffix("")))


def read_hub_sources(home: Path, make: Callable[[Path], object]) -> object:
    """Read what a hubconf.py declares."""
    return hubconf._read_declared_dependencies(str(create_special(home / "repository" / "hubconf.py", make)))


def read_listing(home: Path, make: Callable[[Path], object]) -> object:
    """Read the files that huggingface_hub keeps beside a snapshot."""
    create_special(home / "repository" / "trees" / f"{COMMIT}.json", make)
    return hugging_face_cache._read_listing(str(home / "repository"), HuggingFaceModel("a", "b", COMMIT))


def read_branch(home: Path, make: Callable[[Path], object]) -> object:
    """Read which commit huggingface_hub noted for a branch."""
    os.environ["HF_HOME"] = str(home)
    create_special(home / "hub" / "models--a--b" / "refs" / "main", make)
    return hugging_face_cache.find_commit(HuggingFaceModel("a", "b"))


def read_certificate_file(home: Path, make: Callable[[Path], object]) -> object:
    """Read the certificates that a variable names."""
    return read_certificates(CaSources((str(create_special(home / "ca.pem", make)),), "ca.pem", True))


def read_owner(home: Path, make: Callable[[Path], object]) -> object:
    """Read the owner of a lock."""
    return LockOwner.read(str(create_special(home / "m.lock", make)))


def read_weights(read: Callable[[str], object]) -> Callable[[Path, Callable[[Path], object]], object]:
    """Return a reader of a file of weights."""
    return lambda home, make: read(str(create_special(home / "m.weights", make)))


READERS = {
    "record": read_record,
    "models file": read_models_file,
    "hosts.toml": read_hosts,
    "netrc": read_netrc,
    "kaggle.json": read_kaggle_json,
    "Kaggle's token": read_kaggle_token,
    "trusted_list": read_trusted_list,
    "of.json": read_parts,
    "file of a tree": read_tree_file,
    "saved_model.pb": read_graph,
    "variables.index": read_variables,
    "hubconf.py": read_hub_sources,
    "listing of Hugging Face": read_listing,
    "branch of Hugging Face": read_branch,
    "certificates": read_certificate_file,
    "lock": read_owner,
    "safetensors": read_weights(read_safetensors),
    "npz": read_weights(read_npz),
    **({"h5": read_weights(read_h5)} if importlib.util.find_spec("h5py") else {}),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_what_is_not_an_ordinary_file_is_refused_or_ignored(
    reader: str, make: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("TFIMM_MODELS_FILE", "TFIMM_RESOLVER_HOSTS_FILE", "NETRC", "HF_HOME"):
        monkeypatch.setenv(variable, "")  # so that a reader's value is removed afterwards
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        found = READERS[reader](tmp_path / "home", make)
    except (ResolverError, OSError) as error:
        assert "MemoryError" not in str(error)
    except Exception as error:
        # zipfile and numpy have errors of their own, which hub.weights maps.
        assert reader in ("npz", "safetensors") and not isinstance(error, MemoryError)
    else:
        assert not found or found == LockOwner()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < MEMORY_BYTES_MAX
