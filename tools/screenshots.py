"""``make screenshots`` shows each page of the site in headless Chromium, as on a phone and on a desktop, light and dark.

``python -m tools.screenshots [PAGE...]`` restricts it to some pages, such as ``start/quick-start``. The pictures are in
``site-screenshots``. Chromium or Chrome has to be installed; tests do not need it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SITE = Path(__file__).parents[1] / "site"
PICTURES = SITE.parent / "site-screenshots"
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_WIDTHS, _HEIGHT = (360, 1280), 1600
_SCHEMES = {"dark": 0, "light": 1}
"""The values of Blink's setting."""

# A window of Chromium is at least 500 pixels wide, a frame in it is not.
_FRAME = (
    '<!doctype html><meta name="color-scheme" content="light dark"><style>body {{ margin: 0 }} iframe {{ border: 0 }}</style>'
    '<iframe src="{url}" width="{width}" height="{height}"></iframe>'
)


class _Handler(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if not self.path.startswith("/frame?"):
            return super().do_GET()
        width, page = self.path.removeprefix("/frame?").split("&", 1)
        body = _FRAME.format(url=f"/{page}", width=width, height=_HEIGHT).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the parameter's name in the base class
        pass


def main(*pages: str) -> int:
    """Write a picture of each page for each width and scheme; return the exit code."""
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None or not SITE.is_dir():
        sys.stderr.write("Chromium is not installed\n" if SITE.is_dir() else "run `make docs` first\n")
        return 1
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir()
    names = pages or sorted(str(path.parent.relative_to(SITE)) for path in SITE.rglob("index.html"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(SITE))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in names:
            for width in _WIDTHS:
                for scheme in _SCHEMES:
                    _take(program, server.server_port, name, width, scheme)
        server.shutdown()
    sys.stdout.write(f"{len(list(PICTURES.iterdir()))} pictures in {PICTURES.name}\n")
    return 0


def _take(program: str, port: int, page: str, width: int, scheme: str) -> None:
    address = "" if page == "." else f"{page}/"
    picture = PICTURES / f"{'home' if page == '.' else page.replace('/', '-')}-{width}-{scheme}.png"
    with tempfile.TemporaryDirectory() as profile:
        command = [
            *(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
            *(f"--user-data-dir={profile}", f"--screenshot={picture}", f"--window-size={max(width, 500)},{_HEIGHT}"),
            *(f"--blink-settings=preferredColorScheme={_SCHEMES[scheme]}", "--virtual-time-budget=3000"),
            f"http://127.0.0.1:{port}/frame?{width}&{address}",
        ]
        subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
