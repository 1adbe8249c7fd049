"""The stand-in for Google Cloud Storage as a process of its own, for who measures; serves until its stdin is closed."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.stores.front import Front
from tests.stores.gcs import Gcs


def main() -> None:
    """Serve; the first line of stdout says, as JSON, where, and by which variables TensorFlow comes there."""
    parser = argparse.ArgumentParser(prog="python -m tests.stores", description=__doc__)
    parser.add_argument("--latency-s", type=float, default=0.0, help="seconds that every operation takes at least")
    parser.add_argument("--bucket", default="bucket", help="the name of its one bucket, which is open to all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Gcs() as gcs, Front(gcs, Path(folder)) as front:
        gcs.bucket(options.bucket)
        gcs.latency_s = options.latency_s
        sys.stdout.write(json.dumps({"url": gcs.url, "tensorflow": front.environment()}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
