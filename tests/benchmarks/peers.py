"""The packages that are compared, each with its loopback server: the same files, and the same faults in the largest one."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.fakes.archives import gzip_tar, member, tar_of
from tests.fakes.faults.origin import Fault, Host, Page, Response, set_header
from tests.fakes.hugging_face import Handler, HuggingFace

LARGE = "variables/variables.data-00000-of-00001"
_REPOSITORY = "ada/model"
_KAGGLE_API = "http://localhost/api/v1/models.ModelApiService/"
_KAGGLE_STORAGE = "http://localhost/storage/"


@dataclass
class Served:
    """A served model.

    Attributes:
        host: serves the file to which faults apply, and counts the requests for it.
        handle: what the package is asked for.
        environment: variables that point the package at loopback.
        set_faults: makes requests for that file fail; without arguments they succeed again.
        list_requests: the paths of all requests.
        size_bytes: the size of that file.
    """

    host: Host
    handle: str
    environment: dict[str, str]
    set_faults: Callable[..., None]
    list_requests: Callable[[], list[str]]
    size_bytes: int


@dataclass(frozen=True)
class Peer:
    """A package that is compared, the expression with which it fetches ``handle``, and its server."""

    package: str
    fetch: str
    serve: Callable[[dict[str, bytes]], contextlib.AbstractContextManager[Served]]


@functools.cache
def _pack(files: tuple[tuple[str, bytes], ...]) -> bytes:
    """Pack as ``tar czf`` does, with an entry for the directory, without which tensorflow_hub cannot unpack a file in it."""
    directory = member("variables", type=tarfile.DIRTYPE, mode=0o755)
    return gzip_tar(tar_of(directory, *(member(name, data) for name, data in files)))


@contextlib.contextmanager
def serve_archive(files: dict[str, bytes]) -> Iterator[Served]:
    """Serve an archive in TF Hub's protocol; tensorflow_hub adds a query to the handle, this package does, too."""
    archive = _pack(tuple(files.items()))
    with Host() as host:
        handle = f"{host.url}/google/model/1"

        def set_faults(*faults: Fault) -> None:
            for path in ("/google/model/1", "/google/model/1?tf-hub-format=compressed"):
                host.put(path, archive, *faults)

        set_faults()
        yield Served(host, handle, {}, set_faults, lambda: [one.path for one in host.requests], len(archive))


@contextlib.contextmanager
def serve_hugging_face(files: dict[str, bytes]) -> Iterator[Served]:
    """Serve a repository over plain HTTP, without Xet; the large file is stored elsewhere, as Hugging Face does."""
    body = files[LARGE]
    sha256 = hashlib.sha256(body).hexdigest()
    with Host() as host, HuggingFace() as hub:
        commit = hub.push(_REPOSITORY, files)
        known = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(body)), "X-Repo-Commit": commit}

        def redirect(handler: Handler) -> bool:
            elsewhere = host.url.replace("127.0.0.1", "localhost")  # huggingface_hub 1 compares hosts without their ports
            handler.respond(302, b"", {"Location": f"{elsewhere}/{sha256}", **known})
            return True

        def list_requests() -> list[str]:
            return hub.hub.requests + [one.path for one in host.requests]

        hub.hub.faults[f"/{_REPOSITORY}/resolve/{commit}/{LARGE}"] = redirect

        def set_faults(*faults: Fault) -> None:
            host.put(f"/{sha256}", body, *faults, etag=f'"{sha256}"')

        set_faults()
        environment = {"HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_TELEMETRY": "1"}
        yield Served(host, f"{_REPOSITORY}@{commit}", environment, set_faults, list_requests, len(body))


@contextlib.contextmanager
def serve_kaggle(files: dict[str, bytes]) -> Iterator[Served]:
    """Be the proxy of kagglehub: its API lists the files, and its storage states their MD5, as Google's does."""
    with Host() as host:

        def list_files(response: Response) -> None:
            names = [{"name": name} for name in files]
            _respond_json(response, {"files": names, "nextPageToken": ""})

        def redirect(response: Response) -> None:
            response.respond(302, b"", {"Location": _KAGGLE_STORAGE + json.loads(response.request.posted)["path"]})

        def put_file(name: str, *faults: Fault) -> None:
            md5 = base64.b64encode(hashlib.md5(files[name]).digest()).decode()
            url = _KAGGLE_STORAGE + name
            host.counts[url] = 0
            host.pages[url] = Page(files[name], faults=(*faults, set_header("x-goog-hash", f"md5={md5}")))

        host.pages[_KAGGLE_API + "ListModelInstanceVersionFiles"] = Page(faults=(list_files,))
        host.pages[_KAGGLE_API + "DownloadModelInstanceVersion"] = Page(faults=(redirect,))
        for name in files:
            put_file(name)
        environment = {"HTTP_PROXY": host.url, "http_proxy": host.url, "KAGGLE_API_ENVIRONMENT": "LOCALHOST"}
        yield Served(
            host,
            "google/model/tensorFlow2/base/1",
            environment,
            lambda *faults: put_file(LARGE, *faults),
            lambda: [one.path for one in host.requests],
            len(files[LARGE]),
        )


def _respond_json(response: Response, facts: object) -> None:
    response.respond(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})


PEERS = {
    "tfimm_resolver": Peer("tfimm_resolver", "tfimm_resolver.resolve(handle)", serve_archive),
    "tensorflow_hub": Peer("tensorflow_hub", "tensorflow_hub.resolve(handle)", serve_archive),
    "tfimm_resolver, hf://": Peer("tfimm_resolver", "tfimm_resolver.resolve('hf://' + handle)", serve_hugging_face),
    "huggingface_hub": Peer(
        "huggingface_hub",
        "huggingface_hub.snapshot_download(*handle.split('@')[:1], revision=handle.split('@')[1])",
        serve_hugging_face,
    ),
    "kagglehub": Peer("kagglehub", "kagglehub.model_download(handle)", serve_kaggle),
}
