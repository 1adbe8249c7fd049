"""What to do about a root that cannot be written depends on the error and on what the root is for."""

from __future__ import annotations

import errno

import pytest

from tfimm_resolver._util.rename_check import RenameUnsupportedError
from tfimm_resolver.cache.root_advice import suggest_write_fix
from tfimm_resolver.errors.advice import make_advice

OTHER = "Set TFIMM_HUB_DIR."


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RenameUnsupportedError(errno.ENOSYS, "no rename"), ["set_dir", "mounted bucket", "gs://", "EXTRA_ROOTS"]),
        (PermissionError(errno.EACCES, "denied"), ["set_dir", "EXTRA_ROOTS"]),
        (OSError(errno.ENOSPC, "full"), ["Free some disk space"]),
        (OSError(errno.ENAMETOOLONG, "long"), ["set_dir"]),
    ],
    ids=["rename", "denied", "full", "other"],
)
def test_the_advice_for_models(error: OSError, words: list[str]) -> None:
    fix = make_advice(suggest_write_fix(error)).python
    assert [word for word in words if word not in fix] == []
    assert ("mounted" in fix, "EXTRA_ROOTS" in fix) == ("mounted bucket" in words, "EXTRA_ROOTS" in words)


@pytest.mark.parametrize(
    "error", [RenameUnsupportedError(errno.ENOSYS, ""), PermissionError(errno.EROFS, "")], ids=["rename", "denied"]
)
def test_the_advice_for_other_roots_names_no_setting_of_models(error: OSError) -> None:
    fix = make_advice(suggest_write_fix(error, OTHER)).python
    assert fix.startswith(OTHER) and "TFHUB" not in fix and "EXTRA_ROOTS" not in fix
