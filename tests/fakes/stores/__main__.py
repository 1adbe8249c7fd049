"""The fake Google Cloud Storage as a separate process, for benchmarks; serves until its stdin is closed."""

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

from tests.fakes.stores.front import Front
from tests.fakes.stores.gcs import Gcs


def _reset(gcs: Gcs, bucket: str) -> None:
    """Start over with an empty bucket, an empty log and no latency."""
    gcs.forget()
    gcs.bucket(bucket)


def _set_latency(gcs: Gcs, bucket: str, latency_s: str, handshake_s: str) -> None:
    """Delay every operation, and every connection through the proxy, by this time from now on."""
    gcs.latency_s, gcs.handshake_s = float(latency_s), float(handshake_s)


def _count_operations(gcs: Gcs, bucket: str) -> dict[str, int]:
    """Return the number of operations by kind."""
    return Counter(operation.kind for operation in gcs.log)


def _hash_files(gcs: Gcs, bucket: str, prefix: str) -> dict[str, str]:
    """Return the sha256 of every object below a prefix, by its name without the prefix."""
    return {name: hashlib.sha256(data).hexdigest() for name, data in gcs.buckets[bucket].files(prefix).items()}


def _get_cpu_s(gcs: Gcs, bucket: str) -> float:
    """Return the CPU seconds that this process has used."""
    return time.process_time()


COMMANDS: dict[str, Callable[..., Any]] = {
    "empty": _reset,
    "wait": _set_latency,
    "count": _count_operations,
    "files": _hash_files,
    "busy": _get_cpu_s,
}


def main() -> None:
    """Serve; the first line of stdout is JSON: the URL, and the variables by which TensorFlow reaches the store.

    Each line of stdin is a command with its arguments, and each line of stdout the command's result as JSON.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.stores", description=__doc__)
    parser.add_argument("--latency-s", type=float, default=0.0, help="minimum seconds of every operation")
    parser.add_argument("--bucket", default="bucket", help="name of the one bucket, which anyone may read and write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Gcs() as gcs, Front(gcs, Path(folder)) as front:
        gcs.bucket(options.bucket)
        gcs.latency_s = options.latency_s
        _print_json({"url": gcs.url, "tensorflow": front.environment()})
        for line in sys.stdin:
            command, *arguments = line.split()
            _print_json(COMMANDS[command](gcs, options.bucket, *arguments))


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
