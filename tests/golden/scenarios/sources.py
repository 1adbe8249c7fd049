"""Other sources: Kaggle, Hugging Face, buckets, and sources of other packages."""

from __future__ import annotations

from tests.golden.registry import scenario
from tests.golden.servers import MODEL, tar_gz
from tests.golden.stage import Stage

KAGGLE = "google/nnlm/tensorFlow2/en-dim50"
NEW = {"saved_model.pb": b"a newer graph"}
ZOO = """
try:
    from tfimm_resolver.sources import Fetch
except ImportError:  # the base commit
    from tfimm_resolver.plan import Fetch

def plan(handle):
    return Fetch(handle.key, lambda into, transfer: transfer.archive("URL/lion.tgz", into))
"""


@scenario
def kaggle_versions(stage: Stage) -> None:
    """A version, the newest one, a newer one after a refresh, and without network."""
    stage.kaggle.publish(KAGGLE, 1, tar_gz())
    stage.cli("resolve", f"kaggle://{KAGGLE}/1")
    stage.cli("resolve", f"kaggle://{KAGGLE}")
    stage.kaggle.publish(KAGGLE, 2, tar_gz(NEW))
    stage.cli("resolve", f"kaggle://{KAGGLE}")
    stage.cli("resolve", f"https://www.kaggle.com/models/{KAGGLE}", TFIMM_RESOLVER_OFFLINE="1")
    stage.cli("ls", "-q")


@scenario
def kaggle_failures(stage: Stage) -> None:
    """A model that is missing, one that wants consent, wrong credentials, and a handle at fault."""
    stage.kaggle.publish(KAGGLE, 1, tar_gz(), requires_consent=True)
    stage.cli("resolve", f"kaggle://{KAGGLE}/1")
    stage.cli("resolve", f"kaggle://{KAGGLE}/1", KAGGLE_USERNAME="ada", KAGGLE_KEY="secret0123")
    stage.cli("resolve", "kaggle://google/missing/tensorFlow2/x/1")
    stage.cli("resolve", "kaggle://google/missing")


@scenario
def hugging_face_commits(stage: Stage) -> None:
    """A branch, a newer commit on it, a commit, and a folder."""
    commit = stage.hugging_face.push("ada/model", MODEL)
    stage.cli("resolve", "-q", "hf://ada/model")
    stage.hugging_face.push("ada/model", {f"folder/{name}": data for name, data in MODEL.items()})
    stage.cli("resolve", "-q", "hf://ada/model")
    stage.cli("resolve", "-q", f"hf://ada/model@{commit}")
    stage.cli("resolve", "-q", "hf://ada/model/folder")
    stage.cli("resolve", "-q", "hf://ada/model", TFIMM_RESOLVER_OFFLINE="1")


@scenario
def hugging_face_failures(stage: Stage) -> None:
    """No such repository, revision or folder, a gated one, and a handle at fault."""
    stage.hugging_face.push("ada/model", MODEL)
    stage.hugging_face.push("ada/gated", MODEL, token="hf_0123456789abcdef", is_gated=True)
    for handle in ("ada/missing", "ada/model@gone", "ada/model/gone", "ada/gated", "ada"):
        stage.cli("resolve", f"hf://{handle}")


@scenario
def hugging_face_hostile_names(stage: Stage) -> None:
    """Listings with names that leave the directory, one behind a folder."""
    for number, name in enumerate(("../victim", "/victim", "CON", "a//b")):
        stage.hugging_face.push(f"ada/model{number}", {**MODEL, name: b"evil"})
        stage.cli("resolve", "-q", f"hf://ada/model{number}")
    # An absolute name that is the same on each run, as the hash of the commit covers it, and where nothing can be written.
    stage.hugging_face.push("ada/folder", {"sub/saved_model.pb": b"a graph", "sub//proc/victim": b"evil"})
    stage.cli("resolve", "-q", "hf://ada/folder/sub")


@scenario
def buckets_as_handles(stage: Stage) -> None:
    """gs:// paths are left to TensorFlow; archives there are fetched."""
    stage.gcs.buckets["bucket"].put("m.tar.gz", tar_gz())
    stage.cli("resolve", "gs://bucket/model")
    stage.cli("resolve", "gs://bucket/m.tar.gz")
    stage.cli("resolve", "gs://bucket/gone.tar.gz")
    stage.cli("resolve", "gs://")


@scenario
def source_of_another_package(stage: Stage) -> None:
    """An entry point serves a scheme of its own; one that fails is named."""
    site = stage.project / "site"
    stage.origin.put("/lion.tgz", tar_gz())
    stage.write(site / "zoo_models.py", ZOO.replace("URL", stage.origin.url).encode())
    stage.write(site / "bad_models.py", b"def plan(handle): return 'nonsense'\n")
    for name, scheme in (("zoo_models", "zoo"), ("bad_models", "bad")):
        facts = site / f"{name}-1.0.dist-info"
        stage.write(facts / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode())
        stage.write(facts / "entry_points.txt", f"[tfimm_resolver.sources]\n{scheme} = {name}:plan\n".encode())
    stage.environment["PYTHONPATH"] += f":{site}"
    stage.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    for handle in ("zoo://lion", "ZOO://lion", "bad://lion", "zo://lion"):
        stage.cli("resolve", handle)
