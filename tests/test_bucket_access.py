"""Credentials for buckets: found where the stores' own clients find them, named in errors, never shown, never waited for."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.archives import MODEL, files_in, tar_gz
from tests.processes import run
from tests.stores.front import Front
from tests.stores.gcs import Gcs
from tfimm_resolver import resolve
from tfimm_resolver.errors import ResolverError

SECRETS = ("client-secret", "refresh-secret", "PRIVATE KEY", "granted", "other-token", "aws-secret", "session-secret")
GCLOUD = "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com"
PRIVATE = "gs://private/m.tar.gz"


class Metadata:
    """The metadata server of a machine at Google's."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        metadata = self

        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                metadata.asked.append(self.path)
                about = {"email": "a@b", "scopes": [], "aliases": ["default"]}
                token = {"access_token": "granted", "expires_in": 3600, "token_type": "Bearer"}
                body = json.dumps(token if "/token" in self.path else about).encode()
                self.send_response(200)
                for name, value in (("Metadata-Flavor", "Google"), ("Content-Type", "application/json")):
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.place = f"127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    """A machine that has credentials of its own."""
    server = Metadata()
    monkeypatch.setenv("GCE_METADATA_HOST", server.place)
    yield server
    server.close()


@pytest.fixture
def black_hole(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Metadata servers that take connections and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("GCE_METADATA_HOST", place)
        monkeypatch.setenv("GCE_METADATA_IP", place)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{place}")
        yield


@pytest.fixture
def google(gcs: Gcs, front: Front, monkeypatch: pytest.MonkeyPatch) -> Gcs:
    """Google's own hosts, where an archive lies in a bucket that wants the token that their authorization server grants."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("https_proxy", front.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(front.bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(front.bundle))
    gcs.bucket("private", token=gcs.token).put("m.tar.gz", tar_gz())
    return gcs


@pytest.fixture
def amazon(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> Gcs:
    """A store that speaks Amazon's protocol and notes who asked; a model lies in its bucket."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", gcs.url)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, data in MODEL.items():
        gcs.buckets["bucket"].put(f"m/{name}", data)
    return gcs


def gcloud_login(**other: str) -> str:
    """What ``gcloud auth application-default login`` writes."""
    secrets = {"client_secret": "client-secret", "refresh_token": "refresh-secret"}
    return json.dumps({"type": "authorized_user", "client_id": GCLOUD, **secrets, **other})


def service_account(gcs: Gcs) -> str:
    """A key that an administrator gave out."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    facts = {"client_email": "a@b", "private_key": key.decode(), "token_uri": f"{gcs.url}/token"}
    return json.dumps({"type": "service_account", **facts})


def resolved(handle: str, **environment: str) -> str:
    """What is said of a handle, which is no secret: a path, or an error."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment.items():
            patch.setenv(variable, value)
        try:
            said = resolve(handle)
        except ResolverError as error:
            said = f"{type(error).__name__} {error}"
    assert [secret for secret in SECRETS if secret in said] == [], said
    return said


def resolved_by_itself(handle: str) -> str:
    """The same by a process of its own: google-auth notes when it is imported where the metadata server is."""
    code = "import sys; from tests.test_bucket_access import resolved; print(resolved(sys.argv[1]))"
    return run(code, handle)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def in_variable(home: Path, text: str) -> dict[str, str]:
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(put(home / "key.json", text))}


def in_home(home: Path, text: str) -> dict[str, str]:
    put(home / ".config/gcloud/application_default_credentials.json", text)
    return {}


def in_named_folder(home: Path, text: str) -> dict[str, str]:
    put(home / "elsewhere/application_default_credentials.json", text)
    return {"CLOUDSDK_CONFIG": str(home / "elsewhere")}


@pytest.mark.parametrize("place", [in_variable, in_home, in_named_folder])
def test_google_s_credentials_are_found_where_its_clients_find_them(
    place: Callable[[Path, str], dict[str, str]], google: Gcs, tmp_path: Path, cache_dir: Path
) -> None:
    environment = place(tmp_path / "home", gcloud_login())
    assert files_in(resolved(PRIVATE, **environment)) == MODEL
    assert [(one.kind, one.status, one.authorization) for one in google.log] == [
        ("get", 403, None),  # as everybody may
        ("token", 200, None),
        ("head", 200, "Bearer granted"),
        ("get", 206, "Bearer granted"),
    ]
    record = next(cache_dir.glob("*.descriptor.txt")).read_text()
    assert [secret for secret in SECRETS if secret in record] == []


def test_a_service_account_s_key_works(google: Gcs, tmp_path: Path) -> None:
    assert files_in(resolved(PRIVATE, **in_variable(tmp_path, service_account(google)))) == MODEL
    assert google.log[-1].authorization == "Bearer granted"


def test_the_machine_s_own_credentials_work(google: Gcs, metadata: Metadata) -> None:
    assert files_in(resolved_by_itself(PRIVATE)) == MODEL
    assert google.log[-1].authorization == "Bearer granted" and metadata.asked[0] == "/"


def test_a_public_archive_is_asked_for_without_any(google: Gcs, metadata: Metadata, tmp_path: Path) -> None:
    google.bucket("private", token="granted", public=True).put("m.tar.gz", tar_gz())
    assert files_in(resolved(PRIVATE, **in_variable(tmp_path, gcloud_login()))) == MODEL
    assert [(one.kind, one.authorization) for one in google.log] == [("get", None)] and metadata.asked == []


def test_without_credentials_a_private_archive_is_refused_with_what_to_do(google: Gcs) -> None:
    said = resolved(PRIVATE)
    assert said.startswith("AccessError") and "403" in said and "gcloud auth application-default login" in said
    assert [one.authorization for one in google.log] == [None]


def test_who_may_not_read_is_told_with_which_credentials(google: Gcs, metadata: Metadata, tmp_path: Path) -> None:
    google.token = "other-token"
    said = resolved(PRIVATE, **in_variable(tmp_path, gcloud_login()))
    assert said.startswith(f"AccessError {PRIVATE} may not be read with the credentials of $GOOGLE_APPLICATION_CREDENTIALS")
    assert "(HTTP 401)" in said
    google.on("head", times=None).answer(403)
    assert "with the credentials of this machine (HTTP 403)" in resolved_by_itself(PRIVATE)
    google.forget()
    google.token = "granted"
    google.buckets["private"].delete("m.tar.gz")
    assert resolved_by_itself(PRIVATE).startswith(f"NotFoundError {PRIVATE} is not there")


def test_a_login_that_has_run_out_is_told_as_one(google: Gcs, tmp_path: Path) -> None:
    google.on("token", times=None).answer(400)
    said = resolved(PRIVATE, **in_home(tmp_path / "home", gcloud_login()))
    assert said.startswith("AccessError") and "application_default_credentials.json (RefreshError" in said
    assert "gcloud auth application-default login" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "was not found"),
        ("{", "not a valid json"),
        ("{}", "valid type"),
        ('{"type": "service_account"}', "missing fields"),
    ],
)
def test_a_file_of_no_use_is_told(text: str | None, words: str, google: Gcs, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    if text is not None:
        path.write_text(text)
    said = resolved(PRIVATE, GOOGLE_APPLICATION_CREDENTIALS=str(path))
    assert said.startswith("AccessError the credentials of $GOOGLE_APPLICATION_CREDENTIALS are of no use") and words in said


def test_a_login_that_is_made_meanwhile_counts(google: Gcs, tmp_path: Path) -> None:
    code = """
        import os, sys
        from tfimm_resolver import errors
        from tfimm_resolver.object_store.client import ObjectStoreClient
        for _ in range(2):
            try:
                print(ObjectStoreClient("gs://private").find("m.tar.gz").name)
            except errors.AccessError:
                os.makedirs(os.path.dirname(sys.argv[1]))
                open(sys.argv[1], "w").write(sys.argv[2])
    """
    path = tmp_path / "home/.config/gcloud/application_default_credentials.json"
    assert run(code, str(path), gcloud_login()) == "m.tar.gz"


def test_an_emulator_is_asked_without_credentials(gcs: Gcs, tmp_path: Path) -> None:
    gcs.bucket("private", token=gcs.token).put("m.tar.gz", tar_gz())
    said = resolved(PRIVATE, **in_variable(tmp_path, gcloud_login()))
    assert said.startswith("AccessError") and "with the credentials" not in said
    assert {one.authorization for one in gcs.log} == {None} and gcs.asked("token") == []


def key_of(gcs: Gcs) -> set[str]:
    """The ids of the keys by which a store was asked; empty for nobody's."""
    return {(one.authorization or "").partition("Credential=")[2].partition("/")[0] for one in gcs.log}


AWS_FILES = {
    ".aws/credentials": "[default]\naws_access_key_id = DEFAULT\naws_secret_access_key = aws-secret\n"
    "[work]\naws_access_key_id = WORK\naws_secret_access_key = aws-secret\n",
    ".aws/config": "[profile abroad]\nregion = eu-west-1\naws_access_key_id = ABROAD\naws_secret_access_key = aws-secret\n",
}
KEYS = {"AWS_ACCESS_KEY_ID": "GIVEN", "AWS_SECRET_ACCESS_KEY": "aws-secret", "AWS_SESSION_TOKEN": "session-secret"}


@pytest.mark.parametrize(
    ("files", "environment", "key", "region"),
    [
        ({}, {}, "", ""),
        ({}, KEYS, "GIVEN", "us-east-1"),
        (AWS_FILES, KEYS | {"AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "eu-north-1"}, "GIVEN", "eu-north-1"),
        (AWS_FILES, {}, "DEFAULT", "us-east-1"),
        (AWS_FILES, {"AWS_PROFILE": "work"}, "WORK", "us-east-1"),
        (AWS_FILES, {"AWS_PROFILE": "abroad"}, "ABROAD", "eu-west-1"),
    ],
    ids=["anonymous", "environment", "environment first", "file", "profile", "profile of the other file"],
)
def test_amazon_s_credentials_are_found_where_its_clients_find_them(
    files: dict[str, str], environment: dict[str, str], key: str, region: str, amazon: Gcs, tmp_path: Path
) -> None:
    for name, text in files.items():
        put(tmp_path / "home" / name, text)
    assert files_in(resolved("s3://bucket/m", **environment)) == MODEL
    assert key_of(amazon) == {key}
    assert all(f"/{region}/s3/" in (one.authorization or "//s3/") for one in amazon.log)
    tokens = {one.headers.get("x-amz-security-token") for one in amazon.log}
    assert tokens == {environment.get("AWS_SESSION_TOKEN")}


@pytest.mark.parametrize(
    ("environment", "who"),
    [
        ({}, "without credentials"),
        (KEYS, "with the credentials of env"),
        ({"AWS_PROFILE": "work"}, "of shared-credentials-file"),
    ],
)
def test_who_may_not_read_at_amazon_s_is_told_with_which_credentials(
    environment: dict[str, str], who: str, amazon: Gcs, tmp_path: Path
) -> None:
    if "AWS_PROFILE" in environment:
        put(tmp_path / "home/.aws/credentials", AWS_FILES[".aws/credentials"])
    amazon.on(times=None).answer(403)
    for handle in ("s3://bucket/m", "s3://bucket/m.tar.gz"):
        said = resolved(handle, **environment)
        assert said.startswith(f"AccessError {handle} may not be read ") and f"{who} (HTTP 403)" in said
        assert "AWS_PROFILE" in said


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"AWS_PROFILE": "nobody"}, "(nobody) could not be found"),
        ({"AWS_ACCESS_KEY_ID": "GIVEN"}, "missing: AWS_SECRET_ACCESS_KEY"),
        ({"AWS_CONFIG_FILE": "/dev/null/x", "AWS_PROFILE": "x"}, "(x) could not be found"),
    ],
)
def test_settings_of_amazon_s_client_that_are_of_no_use_are_told(environment: dict[str, str], words: str, amazon: Gcs) -> None:
    said = resolved("s3://bucket/m", **environment)
    assert said.startswith("AccessError the settings for s3:// are of no use: ") and words in said and amazon.log == []


@pytest.mark.parametrize("handle", [PRIVATE, "s3://bucket/m"])
def test_a_metadata_server_that_never_answers_costs_a_moment(handle: str, google: Gcs, amazon: Gcs, black_hole: None) -> None:
    for disabled in ({}, {"NO_GCE_CHECK": "true", "AWS_EC2_METADATA_DISABLED": "true"}):
        began_s = time.monotonic()
        said = resolved(handle, **({"AWS_EC2_METADATA_DISABLED": "false"} | disabled))
        assert time.monotonic() - began_s < 10
        assert said.startswith("AccessError") if handle == PRIVATE else files_in(said) == MODEL


MISSING = """
    import sys
    for name in sys.argv[2:]:
        sys.modules[name] = None
    from tfimm_resolver import errors, resolve
    try:
        print(resolve(sys.argv[1]))
    except errors.ResolverError as error:
        print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("handle", "missing", "words"),
    [
        ("s3://bucket/m", "obstore", "s3://bucket/m needs obstore"),
        ("s3://bucket/m", "botocore", "s3:// needs botocore"),
        ("s3://bucket/m", "botocore.session", "s3:// needs botocore"),
        (PRIVATE, "obstore", f"{PRIVATE.rpartition('/')[0]} needs obstore"),
        (PRIVATE, "google.auth", "key.json"),
    ],
)
def test_a_library_that_is_missing_is_told_with_the_extra_that_brings_it(
    handle: str, missing: str, words: str, google: Gcs, amazon: Gcs, tmp_path: Path
) -> None:
    said = run(MISSING, handle, missing, **in_variable(tmp_path, gcloud_login()))
    words = "the credentials of $GOOGLE_APPLICATION_CREDENTIALS need google-auth" if missing == "google.auth" else words
    extra = "s3" if handle.startswith("s3") else "gs"
    assert said.startswith(f"FetchError {words}") and said.endswith(f"pip install 'tfimm_resolver[{extra}]'")


def test_a_public_archive_needs_no_library_at_all(google: Gcs) -> None:
    google.bucket("private", token="granted", public=True).put("m.tar.gz", tar_gz())
    assert files_in(run(MISSING, PRIVATE, "obstore", "botocore", "google.auth")) == MODEL


@pytest.mark.parametrize("root", ["gs://bucket/cache", "s3://bucket/cache"])
def test_a_root_whose_library_is_missing_is_told(root: str, gcs: Gcs) -> None:
    said = run(MISSING, "http://127.0.0.1:1/m.tar.gz", "obstore", TFHUB_CACHE_DIR=root)
    assert said.startswith("CacheError ") and f"{root} needs obstore" in said and f"tfimm_resolver[{root[:2]}]" in said
