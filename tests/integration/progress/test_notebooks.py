"""Progress in a real notebook: one output, which moves while a model arrives, and whose last state is what is saved."""

from __future__ import annotations

import json
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.archives import MODEL, tar_gz

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
nbclient = pytest.importorskip("nbclient")

CHUNKS, CHUNK_BYTES, PAUSE_S = 60, 1 << 14, 0.02


class _SlowHandler(BaseHTTPRequestHandler):
    """Sends an archive in many chunks, with a pause after each, or closes the connection in the middle."""

    def do_GET(self) -> None:
        body = self.server.archive  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for start in range(0, len(body), CHUNK_BYTES):
            self.wfile.write(body[start : start + CHUNK_BYTES])
            threading.Event().wait(PAUSE_S)
            if "cut" in self.path and start > len(body) // 2:
                self.close_connection = True
                return

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def slow_url() -> Iterator[str]:
    """A server that takes over a second for an archive."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _SlowHandler) as server:
        server.daemon_threads = True
        noise = random.Random(0).randbytes(CHUNKS * CHUNK_BYTES)  # which does not shrink
        server.archive = tar_gz({**MODEL, "variables/noise": noise})  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def run_cell(code: str, folder: Path) -> tuple[list[Any], Counter[str]]:
    """Run a cell in a kernel; return its outputs as a file has them, and how many messages of each kind the kernel sent."""
    seen = Counter[str]()

    class Client(nbclient.NotebookClient):  # type: ignore[misc]
        def process_message(self, msg: Any, cell: Any, cell_index: int) -> Any:
            seen[msg["msg_type"]] += 1
            return super().process_message(msg, cell, cell_index)

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    Client(notebook, timeout=100, allow_errors=True, resources={"metadata": {"path": str(folder)}}).execute()
    saved = json.loads(nbformat.writes(notebook))
    return saved["cells"][0]["outputs"], seen


def read_text(output: Any) -> str:
    """Return the text of an output."""
    return "".join(output["data"]["text/plain"])


def test_a_download_leaves_one_line_in_the_saved_notebook(slow_url: str, tmp_path: Path) -> None:
    code = f"import tfimm_resolver\npath = tfimm_resolver.resolve('{slow_url}/m.tar.gz')"
    (output,), seen = run_cell(code, tmp_path)
    assert seen["update_display_data"] >= 3, "it does not move"
    assert re.fullmatch(re.escape(f"{slow_url}/m.tar.gz") + r"  \d+ kB in \d+\.\d s", read_text(output)), output


def test_several_downloads_share_one_output_with_a_line_for_each_and_their_sum(slow_url: str, tmp_path: Path) -> None:
    entries = [f'[models.{name}]\nhandle = "{slow_url}/{name}.tar.gz"\n' for name in ("lion", "tiger")]
    (tmp_path / "tfimm-models.toml").write_text("".join(entries))
    (output,), seen = run_cell("from tfimm_resolver import project\nresults = project.sync()", tmp_path)
    assert seen["update_display_data"] >= 3
    lines = read_text(output).splitlines()
    assert len(lines) == 3 and re.fullmatch(r"2 models  2\.0 MB in \d+\.\d s, [\d.]+ [kM]B/s", lines[-1]), lines
    assert {line.split()[0] for line in lines[:2]} == {"lion", "tiger"}


@pytest.mark.long
def test_what_is_cached_leaves_no_output(slow_url: str, tmp_path: Path) -> None:
    code = f"import tfimm_resolver\npath = tfimm_resolver.resolve('{slow_url}/m.tar.gz')"
    assert len(run_cell(code, tmp_path)[0]) == 1
    assert run_cell(code, tmp_path)[0] == []


@pytest.mark.long
def test_a_failure_leaves_one_line_for_each_attempt_above_the_error(slow_url: str, tmp_path: Path) -> None:
    code = f"import tfimm_resolver\npath = tfimm_resolver.resolve('{slow_url}/cut.tar.gz')"
    *attempts, error = run_cell(code, tmp_path)[0]
    assert [read_text(one).partition("%")[0] for one in attempts] == [f"{slow_url}/cut.tar.gz   53"] * 2
    assert error["ename"] == "FetchError" and error["evalue"].splitlines()[-1] == "  Try again."


@pytest.mark.long
def test_cached_models_are_a_table_of_the_saved_notebook(slow_url: str, tmp_path: Path) -> None:
    code = f"import tfimm_resolver\npath = tfimm_resolver.resolve('{slow_url}/m.tar.gz')\ntfimm_resolver.cached()"
    _, output = run_cell(code, tmp_path)[0]
    page, text = "".join(output["data"]["text/html"]), "".join(output["data"]["text/plain"])
    assert page.startswith("<div") and "</table>" in page and f"{slow_url}/m.tar.gz" in page
    assert [line.split()[0] for line in text.splitlines()] == ["1", "MODEL", f"{slow_url}/m.tar.gz"]
