"""Another program, such as one that cleans temporary directories, removes files of a download that is under way."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.archives import files_in
from tests.fakes.faults import COMPLETE, archive, files, list_kinds
from tests.fakes.faults.origin import Gate, Host, hold_at
from tests.fakes.faults.small_ranges import _small_ranges as _small_ranges  # noqa: PLC0414  # a fixture
from tfimm_resolver import resolve

_SIZE_BYTES = 1 << 22


@pytest.mark.parametrize(
    ("suffix", "ranges"),
    [(".tmp", True), (".tmp", False), (".parts", True), ("", True), ("", False)],
    ids=["staging, in ranges", "staging, as a stream", "parts", "root, in ranges", "root, as a stream"],
)
def test_what_is_removed_midway_is_fetched_again(
    suffix: str, ranges: bool, host: Host, cache_dir: Path, tmp_path: Path
) -> None:
    gate = Gate(_SIZE_BYTES // 2)
    handle = host.put("/m.tar.gz", archive(_SIZE_BYTES), hold_at(gate), ranges=ranges)
    with ThreadPoolExecutor(1) as pool:
        model = pool.submit(resolve, handle)
        assert gate.reached.wait(60)
        removed = [cache_dir / name for name in os.listdir(cache_dir) if name.endswith(suffix)]
        for number, path in enumerate(removed if suffix else [cache_dir]):
            path.rename(tmp_path / f"removed{number}")  # not rmtree: a thread may just be creating a file in it
        gate.go.set()
        assert removed and files_in(model.result(60)) == files(_SIZE_BYTES)
    assert list_kinds(cache_dir) == COMPLETE
    assert host.count_resent_bytes() < len(archive(_SIZE_BYTES)) or (suffix, ranges) != (".tmp", True)
