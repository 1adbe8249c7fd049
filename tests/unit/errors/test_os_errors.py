"""Errors of the operating system and of the interpreter become errors of this package."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tfimm_resolver.errors import ArchiveError, CacheError, FetchError, IntegrityError, NotFoundError
from tfimm_resolver.errors.os_errors import map_os_errors, map_resource_errors, suggest_disk_fix


def test_the_reason_is_that_of_the_system_and_the_cause_is_kept(tmp_path: Path) -> None:
    text = r"^x cannot be read: No such file or directory\n  Look\.$"
    with pytest.raises(FetchError, match=text) as caught, map_os_errors(FetchError, "x cannot be read", "Look."):
        os.stat(tmp_path / "missing")
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_a_missing_path_can_have_a_class_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("missing", "file/below"):
        with pytest.raises(NotFoundError), map_os_errors(FetchError, "read", missing=NotFoundError):
            os.stat(tmp_path / path)
    with pytest.raises(FetchError) as caught, map_os_errors(FetchError, "read", missing=NotFoundError):
        os.readlink(tmp_path / "file")
    assert type(caught.value) is FetchError


def test_errors_of_this_package_pass_unchanged() -> None:
    error = IntegrityError("text")
    with pytest.raises(IntegrityError) as caught, map_os_errors(CacheError, "write"):
        raise error
    assert caught.value is error


def test_an_error_without_a_reason_of_the_system_keeps_its_text() -> None:
    with pytest.raises(CacheError, match=r"^write: no room$"), map_os_errors(CacheError, "write"):
        raise OSError("no room")
    with pytest.raises(CacheError, match=r"^write: OSError$"), map_os_errors(CacheError, "write"):
        raise OSError


def test_permissions_are_to_be_corrected_unless_the_caller_knows_better() -> None:
    denied = PermissionError(errno.EACCES, "Permission denied")
    with pytest.raises(CacheError) as caught, map_os_errors(CacheError, "x cannot be read"):
        raise denied
    assert (caught.value.text, caught.value.fix) == ("x cannot be read: Permission denied", "Correct its permissions.")
    with pytest.raises(CacheError, match=r"\n  Look\.$"), map_os_errors(CacheError, "x cannot be read", "Look."):
        raise denied


def test_the_path_of_the_system_is_shown_on_request(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match=f": {tmp_path}/missing$"), map_os_errors(CacheError, "write", show_path=True):
        os.stat(tmp_path / "missing")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Free some disk"),
        (errno.EDQUOT, "Free some disk"),
        (errno.EIO, "disk is failing"),
        (errno.EPERM, "other"),
    ],
)
def test_advice_depends_on_the_error(number: int, advice: str) -> None:
    def suggest(error: OSError) -> str:
        return suggest_disk_fix(error, "other")

    with pytest.raises(CacheError, match=advice), map_os_errors(CacheError, "write", suggest):
        raise OSError(number, os.strerror(number))


def test_exhausted_memory_and_recursion_become_errors() -> None:
    with pytest.raises(ArchiveError, match="enough memory"), map_resource_errors(ArchiveError, "unpacking"):
        raise MemoryError
    with pytest.raises(ArchiveError, match="nested too deeply"), map_resource_errors(ArchiveError, "unpacking"):
        raise RecursionError
    with pytest.raises(CacheError, match=r"write: .*enough memory"), map_os_errors(CacheError, "write"):
        raise MemoryError
