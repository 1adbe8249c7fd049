"""Credentials for buckets: found where the stores' own clients find them, named in errors, never shown, never waited for."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.http_server import HttpServer, QuietHandler
from tests.fakes.processes import run
from tests.fakes.stores.front import Front
from tests.fakes.stores.gcs import Gcs
from tfimm_resolver import resolve
from tfimm_resolver.errors import ResolverError

SECRETS = ("client-secret", "refresh-secret", "PRIVATE KEY", "granted", "other-token", "aws-secret", "session-secret")
GCLOUD = "764086051850-6qr4p6gpi6hn506pt8ejuq83di341hur.apps.googleusercontent.com"
PRIVATE = "gs://private/m.tar.gz"


class Metadata(HttpServer):
    """The metadata server of a machine at Google."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        metadata = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:  # noqa: N802  # the name that http.server wants
                metadata.requests.append(self.path)
                account = {"email": "a@b", "scopes": [], "aliases": ["default"]}
                token = {"access_token": "granted", "expires_in": 3600, "token_type": "Bearer"}
                body = json.dumps(token if "/token" in self.path else account).encode()
                self.send_response(200)
                for name, value in (("Metadata-Flavor", "Google"), ("Content-Type", "application/json")):
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(Handler)


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metadata]:
    """A machine at Google with credentials of its own."""
    server = Metadata()
    monkeypatch.setenv("GCE_METADATA_HOST", server.address)
    yield server
    server.close()


@pytest.fixture
def black_hole(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Metadata servers that accept connections and never answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("GCE_METADATA_HOST", address)
        monkeypatch.setenv("GCE_METADATA_IP", address)
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{address}")
        yield


@pytest.fixture
def google(gcs: Gcs, front: Front, monkeypatch: pytest.MonkeyPatch) -> Gcs:
    """Google's own hosts, with an archive in a bucket that requires the token granted by their authorization server."""
    monkeypatch.delenv("STORAGE_EMULATOR_HOST")
    monkeypatch.setenv("https_proxy", front.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(front.bundle))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(front.bundle))
    gcs.bucket("private", token=gcs.token).put("m.tar.gz", tar_gz())
    return gcs


@pytest.fixture
def amazon(gcs: Gcs, monkeypatch: pytest.MonkeyPatch) -> Gcs:
    """A store that speaks Amazon's protocol and logs credentials, with a model in its bucket."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", gcs.url)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, data in MODEL.items():
        gcs.buckets["bucket"].put(f"m/{name}", data)
    return gcs


def make_gcloud_login(**other: str) -> str:
    """Return what ``gcloud auth application-default login`` writes."""
    secrets = {"client_secret": "client-secret", "refresh_token": "refresh-secret"}
    return json.dumps({"type": "authorized_user", "client_id": GCLOUD, **secrets, **other})


def make_service_account(gcs: Gcs) -> str:
    """Return the key file of a service account."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    facts = {"client_email": "a@b", "private_key": key.decode(), "token_uri": f"{gcs.url}/token"}
    return json.dumps({"type": "service_account", **facts})


def resolve_to_text(handle: str, **environment: str) -> str:
    """Resolve a handle; return the path or the text of the error, and check that it contains no secret."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment.items():
            patch.setenv(variable, value)
        try:
            result = resolve(handle)
        except ResolverError as error:
            result = f"{type(error).__name__} {error}"
    assert [secret for secret in SECRETS if secret in result] == [], result
    return result


def resolve_in_subprocess(handle: str) -> str:
    """Do the same in another process: google-auth reads the metadata server's address when it is imported."""
    code = f"import sys; from {__name__} import resolve_to_text; print(resolve_to_text(sys.argv[1]))"
    return run(code, handle)


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_key_file(home: Path, text: str) -> dict[str, str]:
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(write_text(home / "key.json", text))}


def write_to_home(home: Path, text: str) -> dict[str, str]:
    write_text(home / ".config/gcloud/application_default_credentials.json", text)
    return {}


def write_to_named_folder(home: Path, text: str) -> dict[str, str]:
    write_text(home / "elsewhere/application_default_credentials.json", text)
    return {"CLOUDSDK_CONFIG": str(home / "elsewhere")}


@pytest.mark.parametrize("write_file", [write_key_file, write_to_home, write_to_named_folder])
def test_google_s_credentials_are_found_where_its_clients_find_them(
    write_file: Callable[[Path, str], dict[str, str]], google: Gcs, tmp_path: Path, cache_dir: Path
) -> None:
    environment = write_file(tmp_path / "home", make_gcloud_login())
    assert files_in(resolve_to_text(PRIVATE, **environment)) == MODEL
    assert [(one.kind, one.status, one.authorization) for one in google.log] == [
        ("get", 403, None),  # first without credentials
        ("token", 200, None),
        ("head", 200, "Bearer granted"),
        ("get", 206, "Bearer granted"),
    ]
    record = next(cache_dir.glob("*.descriptor.txt")).read_text()
    assert [secret for secret in SECRETS if secret in record] == []


def test_a_service_account_s_key_works(google: Gcs, tmp_path: Path) -> None:
    assert files_in(resolve_to_text(PRIVATE, **write_key_file(tmp_path, make_service_account(google)))) == MODEL
    assert google.log[-1].authorization == "Bearer granted"


def test_the_machine_s_own_credentials_work(google: Gcs, metadata: Metadata) -> None:
    assert files_in(resolve_in_subprocess(PRIVATE)) == MODEL
    assert google.log[-1].authorization == "Bearer granted" and metadata.requests[0] == "/"


def test_a_public_archive_is_requested_without_credentials(google: Gcs, metadata: Metadata, tmp_path: Path) -> None:
    google.bucket("private", token="granted", public=True).put("m.tar.gz", tar_gz())
    assert files_in(resolve_to_text(PRIVATE, **write_key_file(tmp_path, make_gcloud_login()))) == MODEL
    assert [(one.kind, one.authorization) for one in google.log] == [("get", None)] and metadata.requests == []


def test_without_credentials_the_error_for_a_private_archive_says_what_to_do(google: Gcs) -> None:
    result = resolve_to_text(PRIVATE)
    assert result.startswith("AccessError") and "403" in result and "gcloud auth application-default login" in result
    assert [one.authorization for one in google.log] == [None]


def test_the_error_for_a_denied_read_names_the_credentials(google: Gcs, metadata: Metadata, tmp_path: Path) -> None:
    google.token = "other-token"
    result = resolve_to_text(PRIVATE, **write_key_file(tmp_path, make_gcloud_login()))
    assert result.startswith(f"AccessError {PRIVATE} cannot be read with the credentials of $GOOGLE_APPLICATION_CREDENTIALS")
    assert "(HTTP 401)" in result
    google.on("head", times=None).answer(403)
    assert "with the credentials of this machine (HTTP 403)" in resolve_in_subprocess(PRIVATE)
    google.forget()
    google.token = "granted"
    google.buckets["private"].delete("m.tar.gz")
    assert resolve_in_subprocess(PRIVATE).startswith(f"NotFoundError {PRIVATE} does not exist")


def test_an_expired_login_is_reported_as_one(google: Gcs, tmp_path: Path) -> None:
    google.on("token", times=None).answer(400)
    result = resolve_to_text(PRIVATE, **write_to_home(tmp_path / "home", make_gcloud_login()))
    assert result.startswith("AccessError") and "application_default_credentials.json (RefreshError" in result
    assert "gcloud auth application-default login" in result


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file or directory"),
        ("{", "it is not JSON"),
        ("{}", "its type is None, not one of"),
        ('{"type": "service_account"}', "missing fields"),
    ],
)
def test_an_unusable_credentials_file_is_an_error(text: str | None, words: str, google: Gcs, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    if text is not None:
        path.write_text(text)
    result = resolve_to_text(PRIVATE, GOOGLE_APPLICATION_CREDENTIALS=str(path))
    assert (
        result.startswith("AccessError the credentials of $GOOGLE_APPLICATION_CREDENTIALS cannot be used") and words in result
    )


def test_a_login_made_meanwhile_is_used(google: Gcs, tmp_path: Path) -> None:
    code = """
        import os, sys
        from tfimm_resolver import errors
        from tfimm_resolver.object_store.client import ObjectStoreClient
        for _ in range(2):
            try:
                print(ObjectStoreClient("gs://private").get_info("m.tar.gz").name)
            except errors.AccessError:
                os.makedirs(os.path.dirname(sys.argv[1]))
                open(sys.argv[1], "w").write(sys.argv[2])
    """
    path = tmp_path / "home/.config/gcloud/application_default_credentials.json"
    assert run(code, str(path), make_gcloud_login()) == "m.tar.gz"


def test_an_emulator_gets_no_credentials(gcs: Gcs, tmp_path: Path) -> None:
    gcs.bucket("private", token=gcs.token).put("m.tar.gz", tar_gz())
    result = resolve_to_text(PRIVATE, **write_key_file(tmp_path, make_gcloud_login()))
    assert result.startswith("AccessError") and "with the credentials" not in result
    assert {one.authorization for one in gcs.log} == {None} and gcs.find_operations("token") == []


def get_key_ids(gcs: Gcs) -> set[str]:
    """Return the ids of the access keys in requests to a store; an empty one for anonymous requests."""
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
        write_text(tmp_path / "home" / name, text)
    assert files_in(resolve_to_text("s3://bucket/m", **environment)) == MODEL
    assert get_key_ids(amazon) == {key}
    assert all(f"/{region}/s3/" in (one.authorization or "//s3/") for one in amazon.log)
    tokens = {one.headers.get("x-amz-security-token") for one in amazon.log}
    assert tokens == {environment.get("AWS_SESSION_TOKEN")}


@pytest.mark.parametrize(
    ("environment", "used_credentials"),
    [
        ({}, "without credentials"),
        (KEYS, "with the credentials of env"),
        ({"AWS_PROFILE": "work"}, "of shared-credentials-file"),
    ],
)
def test_the_error_for_a_denied_read_at_amazon_names_the_credentials(
    environment: dict[str, str], used_credentials: str, amazon: Gcs, tmp_path: Path
) -> None:
    if "AWS_PROFILE" in environment:
        write_text(tmp_path / "home/.aws/credentials", AWS_FILES[".aws/credentials"])
    amazon.on(times=None).answer(403)
    for handle in ("s3://bucket/m", "s3://bucket/m.tar.gz"):
        result = resolve_to_text(handle, **environment)
        assert result.startswith(f"AccessError {handle} cannot be read ") and f"{used_credentials} (HTTP 403)" in result
        assert "AWS_PROFILE" in result


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"AWS_PROFILE": "missing"}, "(missing) could not be found"),
        ({"AWS_ACCESS_KEY_ID": "GIVEN"}, "missing: AWS_SECRET_ACCESS_KEY"),
        ({"AWS_CONFIG_FILE": "/dev/null/x", "AWS_PROFILE": "x"}, "(x) could not be found"),
    ],
)
def test_unusable_settings_of_amazon_s_client_are_an_error(environment: dict[str, str], words: str, amazon: Gcs) -> None:
    result = resolve_to_text("s3://bucket/m", **environment)
    assert result.startswith("AccessError the settings for s3:// cannot be used: ") and words in result and amazon.log == []


@pytest.mark.parametrize("handle", [PRIVATE, "s3://bucket/m"])
def test_a_metadata_server_that_never_answers_costs_little_time(
    handle: str, google: Gcs, amazon: Gcs, black_hole: None
) -> None:
    for disabled in ({}, {"NO_GCE_CHECK": "true", "AWS_EC2_METADATA_DISABLED": "true"}):
        began_s = time.monotonic()
        result = resolve_to_text(handle, **({"AWS_EC2_METADATA_DISABLED": "false"} | disabled))
        assert time.monotonic() - began_s < 20
        assert result.startswith("AccessError") if handle == PRIVATE else files_in(result) == MODEL


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
def test_the_error_for_a_missing_library_names_the_extra_to_install(
    handle: str, missing: str, words: str, google: Gcs, amazon: Gcs, tmp_path: Path
) -> None:
    result = run(MISSING, handle, missing, **write_key_file(tmp_path, make_gcloud_login()))
    words = "the credentials of $GOOGLE_APPLICATION_CREDENTIALS need google-auth" if missing == "google.auth" else words
    extra = "s3" if handle.startswith("s3") else "gs"
    assert result.startswith(f"FetchError {words}") and result.endswith(f"pip install 'tfimm_resolver[{extra}]'")


def test_a_public_archive_needs_no_library_at_all(google: Gcs) -> None:
    google.bucket("private", token="granted", public=True).put("m.tar.gz", tar_gz())
    assert files_in(run(MISSING, PRIVATE, "obstore", "botocore", "google.auth")) == MODEL


@pytest.mark.parametrize("root", ["gs://bucket/cache", "s3://bucket/cache"])
def test_a_cache_root_whose_library_is_missing_is_an_error(root: str, gcs: Gcs) -> None:
    result = run(MISSING, "http://127.0.0.1:1/m.tar.gz", "obstore", TFHUB_CACHE_DIR=root)
    assert result.startswith("CacheError ") and f"{root} needs obstore" in result and f"tfimm_resolver[{root[:2]}]" in result
