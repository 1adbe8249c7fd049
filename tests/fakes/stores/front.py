"""A TLS-terminating proxy in front of a fake store, with its own CA, for clients that insist on Google's host names."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import trustme

from tests.fakes.stores.gcs import Gcs, RequestHandler, Server

HOSTS = (
    *("www.googleapis.com", "storage.googleapis.com", "oauth2.googleapis.com", "accounts.google.com"),
    *("sts.googleapis.com", "iamcredentials.googleapis.com"),
)


class Front:
    """A CONNECT proxy on a free port of 127.0.0.1 that maps Google's hosts to one store and rejects all others."""

    def __init__(self, store: Gcs, folder: Path) -> None:
        authority = trustme.CA()
        self.bundle = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.bundle))
        self._server = _FrontServer(store, _FrontRequestHandler)
        authority.issue_cert(*HOSTS).configure_cert(self._server.tls)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Front:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def rejected_hosts(self) -> list[str]:
        """The rejected targets, as ``HOST:PORT``."""
        return self._server.rejected_hosts

    def environment(self) -> dict[str, str]:
        """Return the variables that point TensorFlow's own client here; without the last three a failure takes minutes."""
        return {
            "https_proxy": self.url,
            "no_proxy": "127.0.0.1,localhost",
            "CURL_CA_BUNDLE": str(self.bundle),
            "NO_GCE_CHECK": "true",
            "GCS_RETRY_CONFIG_MAX_RETRIES": "1",
            "GCS_RETRY_CONFIG_INIT_DELAY_TIME_US": "1000",
        }


class _FrontServer(Server):
    def __init__(self, store: Gcs, handler_class: type[RequestHandler]) -> None:
        super().__init__(store, handler_class)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.rejected_hosts: list[str] = []


class _FrontRequestHandler(RequestHandler):
    server: _FrontServer

    def do_CONNECT(self) -> None:  # noqa: N802
        """Act as the requested host for the rest of this connection."""
        host = self.path.rpartition(":")[0]
        if host not in HOSTS:
            self.server.rejected_hosts.append(self.path)
            self.send_error(403)
            return
        time.sleep(self.server.store.handshake_s)
        self.base = f"https://{host}"
        self.send_response(200)
        self.end_headers()
        try:
            self.connection = self.request = self.server.tls.wrap_socket(self.connection, server_side=True)
        except ssl.SSLError:  # a client that does not trust us
            self.close_connection = True
            return
        self.setup()
        self.close_connection = False

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # the server knows only the socket below TLS
