"""Files that need more memory than the process may use, or that are nested too deeply, end in an error of the package."""

from __future__ import annotations

import os
import struct
import tarfile
from pathlib import Path

import pytest

from tests.fakes.archives import tar_gz
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tests.fakes.origin import Origin
from tests.fakes.processes import run
from tfimm_resolver import errors, resolve
from tfimm_resolver.models_file.edit import edit_models_file

_FILE_BYTES = 1 << 30
_LIMITED = """
    import resource, sys, tfimm_resolver, tfimm_resolver.cli
    import tfimm_resolver.bundles.reader, tfimm_resolver.cache.cache, tfimm_resolver.models_file.schema
    import tfimm_resolver.http.session, tfimm_resolver.transfer.downloader
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
    try:
        print(eval(sys.argv[2] if sys.argv[2:] else "tfimm_resolver.resolve")(sys.argv[1]))
    except tfimm_resolver.errors.ResolverError as error:
        print(type(error).__name__, error.text)
"""


def _make_sparse(path: Path, size_bytes: int = _FILE_BYTES) -> Path:
    """Create a file of zeros that takes no room on the disk."""
    with open(path, "wb") as file:
        file.truncate(size_bytes)
    return path


def test_a_huge_models_file_is_an_error(tmp_path: Path) -> None:
    path = _make_sparse(tmp_path / "models.toml")
    out = run(_LIMITED, "lion", TFIMM_MODELS_FILE=str(path))
    assert out.startswith(f"ModelsFileError $TFIMM_MODELS_FILE names {path}, which cannot be read: ") and "it has over" in out


def test_a_huge_record_is_an_error(origin: Origin, cache_dir: Path) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    _make_sparse(Path(f"{resolve(handle)}.descriptor.txt"))
    out = run(_LIMITED, handle)
    assert out.startswith(f"CacheError cannot read the cache at {cache_dir}: ") and "it has over" in out


def test_a_record_with_a_huge_list_is_an_error(origin: Origin) -> None:
    handle = origin.put("/m.tar.gz", tar_gz())
    record = Path(f"{resolve(handle)}.descriptor.txt")
    record.write_text(f'Module: m\n\n{{"version": 1, "files": [{"0," * (40 << 20)}0]}}')
    out = run(_LIMITED, handle)
    assert out.startswith("CacheError cannot read the cache at ") and "it has over" in out


def test_a_bundle_with_a_huge_record_is_an_error(tmp_path: Path, cache_dir: Path) -> None:
    path, member = tmp_path / "models.tar", tarfile.TarInfo(f"{'1' * 40}.descriptor.txt")
    member.size = 250 << 20
    path.write_bytes(member.tobuf())
    os.truncate(path, member.size + (1 << 20))
    out = run(_LIMITED, str(path), "tfimm_resolver.bundles.read")
    assert out.startswith(f"ArchiveError the bundle {path}: ") and "too many for a record" in out


def test_a_huge_directory_of_a_zip_is_an_error(tmp_path: Path, cache_dir: Path) -> None:
    directory_bytes = 400 << 20
    path = tmp_path / "m.zip"
    with open(path, "wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(directory_bytes)
        file.seek(directory_bytes)
        file.write(b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 1, 1, directory_bytes, 0, 0))
    out = run(_LIMITED, str(path))
    assert out.startswith("ArchiveError ") and "its central directory has 419430400 bytes" in out


@pytest.mark.parametrize(
    "text",
    [
        "[models]\nlion = " + "[" * 100_000,
        "[models.lion]\nhandle" + ".a" * 5000 + " = 1\n",
        "[models.lion]\nhandle = " + "{a = " * 5000,
    ],
    ids=["arrays", "dotted keys", "inline tables"],
)
def test_a_models_file_that_is_nested_too_deeply_is_an_error(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "models.toml"
    path.write_text(text)
    monkeypatch.setenv("TFIMM_MODELS_FILE", str(path))
    with pytest.raises(errors.ModelsFileError, match=str(path)):
        resolve("lion")
    with pytest.raises(errors.ModelsFileError, match=str(path)):
        edit_models_file(str(path), lambda entries: {})
    assert path.read_text() == text and [*tmp_path.glob("models*")] == [path]


def test_a_hosts_file_that_is_nested_too_deeply_is_an_error(
    tmp_path: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hosts.toml"
    path.write_text("a = " + "[" * 100_000)
    monkeypatch.setenv("TFIMM_RESOLVER_HOSTS_FILE", str(path))
    with pytest.raises(errors.HandleError, match=f"{path} is not valid TOML: Nested 16 deep"):
        resolve(origin.put("/m.tar.gz", tar_gz()))
