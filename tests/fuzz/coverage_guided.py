"""Runs one target with atheris, in a process of its own: ``python -m tests.fuzz.coverage_guided TARGET [OPTION...]``."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_TIMEOUT_S = 25
_RSS_MIB = 1500
_COVERAGE = re.compile(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+)")
_REPORT_CHARACTERS = 3000


def run(name: str, seconds: float, seed: int) -> tuple[str, list[str]]:
    """Fuzz a target for a time; return what was reached, and the violation, if there is one, with its input."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "corpus").mkdir()
        options = [
            f"-timeout={_TIMEOUT_S}",
            f"-rss_limit_mb={_RSS_MIB}",
            f"-seed={seed + 1}",
            "-max_len=65536",
            f"-artifact_prefix={folder}/",
            f"-dict={folder}/tokens",
            f"{folder}/corpus",
        ]
        deadline_s = time.monotonic() + seconds  # the start of the process counts, too
        command = [sys.executable, "-m", "tests.fuzz.coverage_guided", name, folder, str(deadline_s), *options]
        job = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 120, errors="replace")
        found = [*_COVERAGE.finditer(job.stderr)]
        line = "{} cases, {} edges, {} features".format(*found[-1].groups()) if found else "nothing was reached"
        if job.returncode == 0 and found:
            return line, []
        found_inputs = [path for path in Path(folder).iterdir() if re.match("crash|oom|timeout", path.name)]
        inputs = [path.read_bytes()[:_REPORT_CHARACTERS] for path in found_inputs]
        return line, [f"{job.stderr[-_REPORT_CHARACTERS:]}\n  input: {inputs}"]


def _format_token(token: bytes) -> str:
    return '"{}"'.format("".join(f"\\x{byte:02x}" for byte in token))


def _main(name: str, folder: str, deadline_s: float, options: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["tfimm_resolver"]):
        from tests.fuzz import driver
        from tests.fuzz.target import check

    target = driver.TARGETS[name]
    for number, seed in enumerate(target.make_seeds()):
        (Path(folder) / "corpus" / str(number)).write_bytes(seed)
    (Path(folder) / "tokens").write_text("\n".join(_format_token(token) for token in target.tokens if len(token) < 64) + "\n")
    with driver.private_environment():
        options.append(f"-max_total_time={max(1, round(deadline_s - time.monotonic()))}")
        atheris.Setup([sys.argv[0], *options], lambda data: check(target, data) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:])
