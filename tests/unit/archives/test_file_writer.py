"""A file is written and hashed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tfimm_resolver._util.threads import BackgroundWriter
from tfimm_resolver.archives.file_writer import HashingFileWriter
from tfimm_resolver.manifest import FileEntry


def test_what_is_written_is_what_is_listed(tmp_path: Path) -> None:
    fsyncer = BackgroundWriter()
    try:
        with (tmp_path / "a").open("xb", buffering=0) as file:
            writer = HashingFileWriter(file, "d/a", fsyncer)
            for chunk in (b"x", memoryview(b"yz"), b""):
                writer.write(chunk)
            assert writer.make_entry() == FileEntry("d/a", 3, hashlib.sha256(b"xyz").hexdigest())
    finally:
        fsyncer.close()
    assert (tmp_path / "a").read_bytes() == b"xyz"
