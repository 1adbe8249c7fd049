"""Tests of ``object_store.store_errors``: each text of obstore becomes the error that tells what to do."""

from __future__ import annotations

import pytest

from tfimm_resolver import errors
from tfimm_resolver.object_store.store_errors import translate_error

TEXTS = {
    "Generic S3 error: invalid path: a//b": errors.ArchiveError,
    "Generic S3 error: status code: 404 Not Found": errors.NotFoundError,
    "Generic S3 error: status code: 416 Range Not Satisfiable": errors.IntegrityError,
    "Generic GCS error: status code: 503 Busy": errors.FetchError,
    "Generic S3 error\n\nDebug source: kind: Timeout": errors.TransferTimeoutError,
    "Generic S3 error\n\nDebug source: kind: Connect, x": errors.OfflineError,
}


@pytest.mark.parametrize("text", TEXTS)
def test_the_text_of_a_listing_or_of_the_network_decides(text: str) -> None:
    error = translate_error("s3", "s3://bucket/m", Exception(text), "read")
    assert type(error) is TEXTS[text] and "s3://bucket/m" in str(error)
    assert error.is_passing == ("503" in text or "kind: " in text)
