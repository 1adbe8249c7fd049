"""The sessions that are recorded: their commands, and the files that their server has."""

from __future__ import annotations

import contextlib
import random
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.archives import REAL, tar_gz
from tests.fakes.git_host import GitHost

COLUMNS = 96
SERVED_HOST = "models.example.org"
_HALF = f"https://{SERVED_HOST}/half.tar.gz"
_TEXT = f"https://{SERVED_HOST}/text.tar.gz"


@dataclass(frozen=True)
class Unshown:
    """A command that happens elsewhere, so that the session shows only a comment, or nothing.

    Attributes:
        comment: the line that is shown.
        command: what is run; its output is not shown.
    """

    comment: str
    command: str


@contextlib.contextmanager
def _serve_models(web: Path) -> Iterator[dict[str, str]]:
    """Offer two models: the small one of the tests, and the same with a vocabulary of 3 MB."""
    (web / "half.tar.gz").write_bytes(REAL.read_bytes())
    with tarfile.open(REAL) as archive:
        files = {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}  # type: ignore[union-attr]
    vocabulary = random.Random(1).randbytes(3_000_000)  # the same in every recording
    (web / "other.tar.gz").write_bytes(tar_gz(files))
    (web / "text.tar.gz").write_bytes(tar_gz(files | {"assets/vocabulary.txt": vocabulary}))
    yield {}


_REPOSITORY = {
    "hubconf.py": """import layers

def dense(units=8):
    \"\"\"A dense layer of some units.\"\"\"
    return layers.Dense(units)
""",
    "layers.py": """class Dense:
    def __init__(self, units):
        self.units = units
""",
}


@contextlib.contextmanager
def _serve_repository(_: Path) -> Iterator[dict[str, str]]:
    """Be a mirror of GitHub with the repository ada/models."""
    with tempfile.TemporaryDirectory() as folder, GitHost(Path(folder)) as host:
        host.repo("github.com/ada/models", _REPOSITORY)
        yield {"TFIMM_RESOLVER_MIRRORS": host.url}


@contextlib.contextmanager
def _serve_nothing(_: Path) -> Iterator[dict[str, str]]:
    yield {"TFIMM_RESOLVER_MIRRORS": "direct", "TFIMM_RESOLVER_OFFLINE": "1"}


@contextlib.contextmanager
def _use_no_mirror(_: Path) -> Iterator[dict[str, str]]:
    yield {"TFIMM_RESOLVER_MIRRORS": "direct"}


@dataclass(frozen=True)
class Session:
    """Commands that are run one after the other.

    Attributes:
        title: what the picture shows, in words.
        commands: what is typed, or happens without being shown.
        command: the command of the reference where the picture is.
        prepare: fills the folder of the server, and gives the environment variables of the session.
        needs_tensorflow: whether its commands import TensorFlow.
    """

    title: str
    commands: tuple[str | Unshown, ...]
    command: str
    prepare: Callable[[Path], AbstractContextManager[dict[str, str]]] = _serve_models
    needs_tensorflow: bool = False


_FILL = Unshown("", f"tfimm-resolver -q resolve {_HALF} {_TEXT}")

SESSIONS: Mapping[str, Session] = {
    "terminal": Session(
        "A terminal: a model is fetched, listed, damaged by deleting its variables, found by verify, and fetched again",
        (
            f"tfimm-resolver resolve {_HALF}",
            "tfimm-resolver ls",
            "rm ~/.cache/tfhub_modules/*/variables/*   # as a cleaner of temporary files does",
            "tfimm-resolver verify",
            f"tfimm-resolver resolve {_HALF}",
        ),
        "verify",
    ),
    "demo": Session(
        "A terminal: demo serves a small model on this machine, resolves it, and computes with it",
        ("tfimm-resolver demo",),
        "demo",
        _use_no_mirror,
        needs_tensorflow=True,
    ),
    "cache": Session(
        "A terminal: the cached models are listed and measured, one is protected, and prune shows what it would remove",
        (
            _FILL,
            Unshown("# two months later", "find ~/.cache -exec touch -d '60 days ago' {} +"),
            "tfimm-resolver ls --sort size",
            f"tfimm-resolver keep {_HALF}",
            "tfimm-resolver du",
            "tfimm-resolver prune --max-age 30d --dry-run",
            "tfimm-resolver prune --max-age 30d -y",
        ),
        "prune",
    ),
    "pins": Session(
        "A terminal: a model is pinned under a name; lock --check reports that it changed upstream, and sync keeps it",
        (
            f"tfimm-resolver add half {_HALF}",
            "cat tfimm-models.toml",
            "tfimm-resolver resolve half",
            Unshown(
                "# the publisher replaces the file",
                "cp $WEB/other.tar.gz $WEB/half.tar.gz",
            ),
            "tfimm-resolver lock --check; echo exit code $?",
            "tfimm-resolver sync",
        ),
        "lock",
    ),
    "inspect": Session(
        "A terminal: inspect shows a model's signatures, variables and files without TensorFlow",
        (_FILL, f"tfimm-resolver inspect {_HALF}"),
        "inspect",
    ),
    "doctor": Session(
        "A terminal: doctor finds damaged models and a cache that every user can write, each with what to do",
        (
            _FILL,
            Unshown(
                "# a cleaner of temporary files was here", "rm ~/.cache/*/*/variables/*; chmod 777 ~/.cache/tfhub_modules"
            ),
            "tfimm-resolver doctor; echo exit code $?",
            "chmod o-w ~/.cache/tfhub_modules",
            "tfimm-resolver verify --repair",
            "tfimm-resolver doctor",
        ),
        "doctor",
    ),
    "bundle": Session(
        "A terminal: a model is exported to a bundle, and imported into an empty cache on a machine without network",
        (
            f"tfimm-resolver export {_HALF} -o models.tar",
            Unshown("# on the machine without network", "mv ~/.cache ~/.cache-of-the-other-machine"),
            "tfimm-resolver import models.tar --sha256 $(sha256sum < models.tar | cut -c 1-64)",
            f"TFIMM_RESOLVER_OFFLINE=1 tfimm-resolver resolve {_HALF}",
        ),
        "export",
    ),
    "hub": Session(
        "A terminal: the entry points of a repository are listed after it was trusted, and one is explained and called",
        (
            "tfimm-resolver hub list ada/models",
            "tfimm-resolver hub list ada/models --trust",
            "tfimm-resolver hub help ada/models dense",
            "tfimm-resolver hub load ada/models dense --arg units=4",
        ),
        "hub list",
        _serve_repository,
    ),
    "why": Session(
        "A terminal: why explains which rule answers for a name, and where else it looked",
        (
            f"tfimm-resolver -q add half {_HALF}",
            "tfimm-resolver why half",
            "tfimm-resolver why resnet18",
        ),
        "why",
    ),
    "fetch": Session(
        "A terminal: fetch puts a model into a directory as version 1, changes nothing when run again, and adds version 2",
        (
            f"tfimm-resolver fetch {_HALF} serving/half --layout tf-serving",
            f"tfimm-resolver fetch {_HALF} serving/half --layout tf-serving",
            f"tfimm-resolver fetch {_TEXT} serving/half --layout tf-serving",
            "ls serving/half",
        ),
        "fetch",
    ),
    "sign": Session(
        "A terminal: a model is signed, the models file requires the signature, and an archive without it is refused",
        (
            Unshown("", "mkdir half && tar xzf $WEB/half.tar.gz -C half && tar czf half.tar.gz half"),
            "openssl ecparam -name prime256v1 -genkey -noout -out team.pem",
            "openssl pkey -in team.pem -pubout -out team.pub",
            "tfimm-resolver sign half --key team.pem",
            "tar czf signed.tar.gz half",
            "tfimm-resolver -q add half ./half.tar.gz",
            "echo 'signer = { key = \"team.pub\" }' >> tfimm-models.toml",
            "tfimm-resolver sync",
            "sed -i s/half.tar.gz/signed.tar.gz/ tfimm-models.toml",
            "tfimm-resolver lock --update",
            "tfimm-resolver sync",
        ),
        "sign",
    ),
    "errors": Session(
        "A terminal: a misspelt command, a handle without its host, and a machine without network, each with what to do",
        (
            "tfimm-resolver resolv half",
            "tfimm-resolver resolve google/nnlm-en-dim50/2; echo exit code $?",
            Unshown("# with TFIMM_RESOLVER_OFFLINE=1", "true"),
            f"tfimm-resolver resolve {_HALF}; echo exit code $?",
        ),
        "resolve",
        _serve_nothing,
    ),
}


def get_picture(name: str) -> str:
    """Return the file name of a session's picture."""
    return f"session_{name}.svg"
