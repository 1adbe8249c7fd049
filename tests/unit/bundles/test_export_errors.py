"""Why a cached model cannot be exported, and what to do about it."""

from __future__ import annotations

import pytest

from tfimm_resolver.bundles.export_errors import make_export_error, suggest_repair
from tfimm_resolver.cache.cache import Entry
from tfimm_resolver.cache.record import Record
from tfimm_resolver.errors import CacheError, IntegrityError, ResolverError
from tfimm_resolver.maintenance.cached_model import CachedModel

NAME, TREE = "https://h/m.tar.gz", "0" * 40


def make_model(state: str, handle: str = NAME, *, name: str = NAME, defect: str | None = None) -> CachedModel:
    """Return a cached model that has a record."""
    return CachedModel(name, f"/cache/{TREE}", 7, state, 0.0, Entry(TREE, f"/cache/{TREE}", Record(handle, TREE), defect))


@pytest.mark.parametrize(
    ("model", "kind", "text", "python", "command"),
    [
        (CachedModel("lion", "/cache/lion", 7, "ok", 0.0), CacheError, "/cache/lion was created by hand", "Copy", "Copy"),
        (
            make_model("damaged", defect="a file is missing"),
            IntegrityError,
            f"{NAME} is damaged: a file is missing",
            f"maintenance.verify(['{NAME}'], repair=True)",
            f"tfimm-resolver verify --repair {NAME}",
        ),
        (
            make_model("unverified"),
            IntegrityError,
            "no recorded hashes",
            f"tfimm_resolver.resolve('{NAME}', refresh=True)",
            f"tfimm-resolver resolve --refresh {NAME}",
        ),
        (make_model("unverified", ""), IntegrityError, "no recorded hashes", "resolve('HANDLE'", "--refresh HANDLE"),
        (make_model("ok"), CacheError, "is in a bucket, at /cache/", "TFIMM_RESOLVER_LOCAL_COPY=1", "resolve HANDLE"),
    ],
    ids=["by hand", "damaged", "unverified", "no handle", "bucket"],
)
def test_the_error_says_why_and_what_to_do(
    model: CachedModel, kind: type[ResolverError], text: str, python: str, command: str
) -> None:
    error = make_export_error(model)
    assert type(error) is kind and text in error.text
    assert python in error.advice.python and command in error.advice.command


def test_a_name_with_blanks_is_quoted_for_a_shell() -> None:
    assert suggest_repair(make_model("damaged", name="a lion")).command.endswith("verify --repair 'a lion'")
