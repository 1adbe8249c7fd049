"""The check of the files that were fetched, before they are published."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfimm_resolver.cache.staged_files import verify_staged
from tfimm_resolver.errors import ArchiveError, FetchError, SourceError
from tfimm_resolver.manifest import FetchResult, Origin

HASH = "0" * 64


@pytest.mark.parametrize(
    ("origin", "kind", "text"),
    [
        (Origin(), SourceError, "the source of zoo://lion wrote no files"),
        (Origin(url="https://models.example/lion/"), SourceError, "the source of zoo://lion wrote no files"),
        (Origin(sha256=HASH), ArchiveError, "the archive contains no files"),
        (Origin(claimed_sha256=HASH), ArchiveError, "the archive contains no files"),
    ],
    ids=["nothing fetched", "without an archive", "an archive", "an archive in a bundle"],
)
@pytest.mark.parametrize("files", [None, ()], ids=["to be hashed", "hashed"])
def test_a_model_without_files(
    origin: Origin, kind: type[FetchError], text: str, files: tuple[()] | None, tmp_path: Path
) -> None:
    (tmp_path / "empty_directory").mkdir()
    with pytest.raises(kind) as caught:
        verify_staged(tmp_path, FetchResult(origin, files), "zoo://lion")
    assert caught.value.text == text
    assert ("archive" in str(caught.value)) == (kind is ArchiveError)


def test_what_was_not_hashed_while_it_was_written_is_hashed(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"model")
    (file,) = verify_staged(tmp_path, FetchResult(Origin()), "zoo://lion")
    assert (file.path, file.size_bytes) == ("saved_model.pb", 5)
