"""A small stand-in for Kaggle: two addresses of its interface, and the storage to which it redirects with signed URLs.

It is made after what kagglehub 1.0 asks and reads, and was never compared with Kaggle itself.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from tests.faults.origin import Fault, Host, Reply


class Kaggle:
    """Two hosts on loopback, by two names: the interface, and the storage, which knows nobody but its signatures.

    Attributes:
        known: the values of the header Authorization that are somebody's.
        members: those of them who may have models that want consent.
    """

    def __init__(self) -> None:
        self.api, self.storage = Host(), Host()
        self.known: set[str] = set()
        self.members: set[str] = set()
        self._signatures = itertools.count()

    def __enter__(self) -> Kaggle:
        self.api.__enter__()
        self.storage.__enter__()
        return self

    def __exit__(self, *about: object) -> None:
        try:
            self.api.__exit__(*about)
        finally:
            self.storage.__exit__(*about)

    @property
    def url(self) -> str:
        """What TFIMM_KAGGLE_URL is set to."""
        return self.api.url

    @property
    def storage_url(self) -> str:
        return f"http://localhost:{self.storage.port}"

    def publish(
        self, path: str, version: int, archive: bytes, *faults: Fault, wants_consent: bool = False, **page: Any
    ) -> str:
        """A version of ``owner/model/framework/variation``, from now on the newest; returns its handle."""

        def redirect(reply: Reply) -> None:
            if self._lets_in(reply, wants_consent):
                place = f"/{path}/{version}/archive.tar.gz?X-Goog-Signature=signature{next(self._signatures)}"
                self.storage.put(place, archive, *faults, **page)
                reply.say(302, b"", {"Location": self.storage_url + place})

        def tell(reply: Reply) -> None:
            if self._lets_in(reply, wants_consent):
                facts = {"id": 1, "slug": path.split("/")[3], "versionId": 2, "versionNumber": version}
                reply.say(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})

        self.api.put(f"/api/v1/models/{path}/{version}/download", b"", redirect)
        self.api.put(f"/api/v1/models/{path}/get", b"", tell)
        return f"kaggle://{path}/{version}"

    def asked(self) -> list[str]:
        """What the interface was asked for, without what all addresses have in common."""
        return [asked.path.removeprefix("/api/v1/models/") for asked in self.api.asked]

    def heard(self, host: Host) -> set[str | None]:
        """Whom a host was told that it is asked by; None for nobody."""
        return {asked.headers.get("authorization") for asked in host.asked}

    def _lets_in(self, reply: Reply, wants_consent: bool) -> bool:
        who = reply.asked.headers.get("authorization")
        if who is not None and who not in self.known | self.members:
            self._refuse(reply, 401, "Unauthenticated")
        elif wants_consent and who not in self.members:
            self._refuse(reply, 403, "Permission 'models.get' was denied")
        else:
            return True
        return False

    def _refuse(self, reply: Reply, status: int, message: str) -> None:
        body = json.dumps({"code": status, "message": message}).encode()
        reply.say(status, body, {"Content-Type": "application/json"})
