"""The stand-in for Google Cloud Storage as a process of its own, for who measures; serves until its stdin is closed."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.stores.front import Front
from tests.stores.gcs import Gcs


def _empty(gcs: Gcs, bucket: str) -> None:
    """Begin an empty bucket and log, without latency."""
    gcs.forget()
    gcs.bucket(bucket)


def _wait(gcs: Gcs, bucket: str, latency_s: str, handshake_s: str) -> None:
    """Let every operation, and every connection through the proxy, take so long from now on."""
    gcs.latency_s, gcs.handshake_s = float(latency_s), float(handshake_s)


def _asked(gcs: Gcs, bucket: str) -> dict[str, int]:
    """How many operations of each kind there were."""
    return Counter(operation.kind for operation in gcs.log)


def _files(gcs: Gcs, bucket: str, prefix: str) -> dict[str, str]:
    """The sha256 of every object, by its name without the prefix."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in gcs.buckets[bucket].files(prefix).items()}


def _busy(gcs: Gcs, bucket: str) -> float:
    """Seconds of processors that this process has taken."""
    return time.process_time()


DEEDS: dict[str, Callable[..., Any]] = {"empty": _empty, "wait": _wait, "asked": _asked, "files": _files, "busy": _busy}


def main() -> None:
    """Serve; the first line of stdout says, as JSON, where, and by which variables TensorFlow comes there.

    Then a line of stdin is a deed with its words, and a line of stdout what it gives, as JSON.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.stores", description=__doc__)
    parser.add_argument("--latency-s", type=float, default=0.0, help="seconds that every operation takes at least")
    parser.add_argument("--bucket", default="bucket", help="the name of its one bucket, which is open to all")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Gcs() as gcs, Front(gcs, Path(folder)) as front:
        gcs.bucket(options.bucket)
        gcs.latency_s = options.latency_s
        _tell({"url": gcs.url, "tensorflow": front.environment()})
        for line in sys.stdin:
            deed, *words = line.split()
            _tell(DEEDS[deed](gcs, options.bucket, *words))


def _tell(fact: Any) -> None:
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
