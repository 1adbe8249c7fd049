"""Which certificate authorities count: those the user names, else the system's and certifi's."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.fakes.archives import files_in
from tests.fakes.faults import archive, files
from tests.fakes.faults.origin import Host
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tests.fakes.processes import run
from tfimm_resolver import resolve
from tfimm_resolver.errors import FetchError
from tfimm_resolver.settings import network

pytestmark = pytest.mark.timeout(60)

RESOLVE = "import sys, tfimm_resolver; print(tfimm_resolver.resolve(sys.argv[1]))"
VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture
def host(tls: ssl.SSLContext) -> Iterator[Host]:
    """A host that speaks TLS."""
    with Host(tls) as server:
        yield server


@pytest.fixture
def folder(bundle: str, tmp_path: Path) -> Path:
    """A directory with the certificate, as a person copies it there, and a file that is not one."""
    path = tmp_path / "certs"
    path.mkdir()
    shutil.copy(bundle, path / "company.crt")
    (path / "notes.pem").write_text("not a certificate")
    return path


@pytest.mark.parametrize("is_hashed", [False, True], ids=["as copied", "hashed by openssl"])
@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable_may_name_a_directory(
    variable: str, is_hashed: bool, folder: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_hashed:
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not installed")
        (folder / "notes.pem").unlink()
        subprocess.run(["openssl", "rehash", str(folder)], check=True, capture_output=True)
    monkeypatch.setenv(variable, str(folder))
    assert files_in(resolve(host.put("/m.tar.gz", archive(1000)))) == files(1000)


def test_the_file_and_the_directories_of_openssl_count_together(
    folder: Path, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}/none{os.pathsep}{folder}")
    assert files_in(resolve(host.put("/m.tar.gz", archive(1000)))) == files(1000)


def test_the_first_variable_wins_and_the_error_names_what_counts(
    bundle: str, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    monkeypatch.setenv("SSL_CERT_FILE", bundle)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))
    with pytest.raises(FetchError, match=f"REQUESTS_CA_BUNDLE={other}"):
        resolve(host.put("/m.tar.gz", archive(1000)))


def test_a_file_that_is_replaced_counts_at_the_next_call(
    bundle: str, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, path = host.put("/m.tar.gz", archive(1000)), tmp_path / "used.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(FetchError, match="certificate"):
        resolve(handle)
    path.write_text(Path(bundle).read_text() + "\n")
    assert files_in(resolve(handle)) == files(1000)


def test_a_certificate_that_is_replaced_inside_a_directory_counts_at_the_next_call(
    folder: Path, bundle: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder))
    (folder / "company.crt").write_bytes(trustme.CA().cert_pem.bytes())
    handle = host.put("/m.tar.gz", archive(1000))
    with pytest.raises(FetchError, match="certificate"):
        resolve(handle)
    (folder / "company.crt").write_bytes(Path(bundle).read_bytes())  # the directory itself stays as it is
    assert files_in(resolve(handle)) == files(1000)


@pytest.mark.parametrize("value", ["~/{}", "$HOME/{}", "${{HOME}}/{}"])
@pytest.mark.parametrize("variable", VARIABLES)
def test_home_and_variables_in_a_path_are_expanded(
    variable: str, value: str, bundle: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", os.path.dirname(bundle))
    monkeypatch.setenv(variable, value.format(os.path.basename(bundle)))
    assert files_in(resolve(host.put("/m.tar.gz", archive(1000)))) == files(1000)


def test_a_list_of_directories_without_any_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", os.pathsep)
    assert not network.choose_ca_sources().is_explicit


def test_the_error_names_the_systems_store_and_that_of_certifi(host: Host) -> None:
    with pytest.raises(FetchError, match="the system's certificates") as caught:
        resolve(host.put("/m.tar.gz", archive(1000)))
    assert "certifi" in str(caught.value) and "REQUESTS_CA_BUNDLE" in caught.value.fix


STORES = [store for store in network.SYSTEM_BUNDLES if os.path.exists(store)] or network.SYSTEM_BUNDLES[:1]


@pytest.mark.parametrize("store", STORES)
def test_a_certificate_in_the_systems_store_is_trusted(store: str, bundle: str, host: Host, tmp_path: Path) -> None:
    """The system's bundle is replaced for one process, in a mount namespace of its own."""
    if os.geteuid() or shutil.which("unshare") is None or not os.path.exists(store):
        pytest.skip(f"needs root, unshare and {store}")
    code = f"import sys, tfimm_resolver; print(tfimm_resolver.resolve({host.put('/m.tar.gz', archive(1000))!r}))"
    launch = f"""
        import subprocess, sys
        script = 'mount --bind {bundle} {store} && exec "$@"'
        subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", {code!r}], check=True)
    """
    assert files_in(run(launch).strip()) == files(1000)


def test_certificates_are_read_as_one_text_for_other_libraries(folder: Path, bundle: str, tmp_path: Path) -> None:
    sources = network.CaSources((bundle, str(folder), bundle), "these", True)
    assert network.read_certificates(sources).count("BEGIN CERTIFICATE") == 1
    with pytest.raises(FetchError, match="these cannot be read"):
        network.read_certificates(network.CaSources((str(tmp_path / "none.pem"),), "these", True))
    assert network.read_certificates(network.CaSources((str(tmp_path / "none.pem"),), "these", False)) == ""
