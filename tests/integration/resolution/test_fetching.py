"""Tests of ``resolution.fetching``: where a model is, fetched or cached."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.fakes.archives import MODEL, files_in, tar_gz
from tests.fakes.named_models import put_model
from tests.fakes.origin import Origin
from tfimm_resolver.errors import HandleError, IntegrityError
from tfimm_resolver.resolution import rules
from tfimm_resolver.resolution.fetching import fetch, find_cached
from tfimm_resolver.resolution.request import Request


def test_a_model_is_fetched_once_and_again_for_a_refresh(origin: Origin) -> None:
    url = origin.put("/m.tgz", tar_gz())
    resolved = rules.match_rule(Request.parse(url))
    assert find_cached(resolved) is None and origin.requests == []
    found = fetch(resolved)
    assert files_in(found.path) == MODEL
    cached = find_cached(resolved)
    assert cached is not None and cached.path == fetch(resolved).path == found.path and len(origin.requests) == 1
    fetch(rules.match_rule(Request.parse(url, refresh=True)))
    assert len(origin.requests) == 2


def _put_entry(cache_dir: Path, handle: str) -> Path:
    """Put a model where plain tensorflow_hub caches that of a handle."""
    cached = cache_dir / hashlib.sha1(handle.encode()).hexdigest()
    for name, data in MODEL.items():
        (cached / name).parent.mkdir(parents=True, exist_ok=True)
        (cached / name).write_bytes(data)
    return cached


def test_a_local_archive_is_not_found_by_its_path_but_by_its_content(cache_dir: Path, tmp_path: Path) -> None:
    (path := tmp_path / "m.tar.gz").write_bytes(tar_gz({"saved_model.pb": b"new"}))
    _put_entry(cache_dir, str(path))
    resolved = rules.match_rule(Request.parse(path))
    assert find_cached(resolved) is None
    assert files_in(fetch(resolved).path) == {"saved_model.pb": b"new"}


@pytest.mark.parametrize("spelling", ["/", "//", "?tf-hub-format=compressed", "/#subdirectory=variables"])
def test_what_tensorflow_hub_cached_is_found_by_the_url_as_it_was_typed(
    spelling: str, cache_dir: Path, origin: Origin
) -> None:
    handle = f"{origin.url}/m/1{spelling}"
    cached = _put_entry(cache_dir, handle.partition("#")[0])
    resolved = rules.match_rule(Request.parse(handle))
    location = find_cached(resolved)
    assert location is not None and location.path == fetch(resolved).path == str(cached)
    assert origin.requests == []
    origin.put_model("/m/1", tar_gz())
    assert fetch(rules.match_rule(Request.parse(handle, refresh=True))).path != str(cached), "a refresh asks upstream"
    assert find_cached(rules.match_rule(Request.parse(f"{origin.url}/m/2{spelling}"))) is None


def test_a_pin_is_compared_with_the_cached_archive(origin: Origin) -> None:
    url = origin.put("/m.tgz", tar_gz())
    fetch(rules.match_rule(Request.parse(url)))
    for call in (fetch, find_cached):
        with pytest.raises(IntegrityError):
            call(rules.match_rule(Request.parse(url, sha256="ab" * 32)))


def test_a_directory_is_used_in_place_and_cannot_be_pinned(tmp_path: Path) -> None:
    path = str(put_model(tmp_path / "m"))
    assert fetch(rules.match_rule(Request.parse(path))).path == path
    with pytest.raises(HandleError, match="only an archive can be pinned"):
        fetch(rules.match_rule(Request.parse(path, sha256="ab" * 32)))
