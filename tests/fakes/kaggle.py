"""A small fake of Kaggle: two URLs of its API or the two newer calls, and the storage to which it redirects with signed URLs.

It is modelled on what kagglehub 1.0 requests and reads, and was never compared with Kaggle itself.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from tests.fakes.faults.origin import Fault, Host, Response

NEWER = "/api/v1/models.ModelApiService/"
"""Where the newer calls are."""


class Kaggle:
    """Two hosts on loopback, with two names: the API, and the storage, which checks signatures and no credentials.

    Attributes:
        known: the values of the Authorization header that belong to a user.
        members: those of users who have given consent.
        is_newer: it answers the newer calls by POST, and not the older ones.
        is_redirected: the newer call for an archive redirects to the storage; else it answers with the archive.
    """

    def __init__(self) -> None:
        self.api, self.storage = Host(), Host()
        self.known: set[str] = set()
        self.members: set[str] = set()
        self.is_newer, self.is_redirected = False, True
        self._signatures = itertools.count()
        self._calls: dict[tuple[object, ...], Fault] = {}

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
        """The value for TFIMM_KAGGLE_URL."""
        return self.api.url

    @property
    def storage_url(self) -> str:
        return f"http://localhost:{self.storage.port}"

    def publish(
        self, path: str, version: int, archive: bytes, *faults: Fault, requires_consent: bool = False, **page: Any
    ) -> str:
        """Publish a version of ``owner/model/framework/variation``, which is now the newest; return its handle."""

        def redirect(response: Response) -> None:
            if self._authorize(response, requires_consent):
                location = f"/{path}/{version}/archive.tar.gz?X-Goog-Signature=signature{next(self._signatures)}"
                self.storage.put(location, archive, *faults, **page)
                response.respond(302, b"", {"Location": self.storage_url + location})

        def respond_with_version(response: Response) -> None:
            if self._authorize(response, requires_consent):
                facts = {"id": 1, "slug": path.split("/")[3], "versionId": 2, "versionNumber": version}
                response.respond(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})

        def respond_with_archive(response: Response) -> None:
            if self.is_redirected:
                redirect(response)
            elif self._authorize(response, requires_consent):
                response.respond(200, archive)

        if not self.is_newer:
            self.api.put(f"/api/v1/models/{path}/{version}/download", b"", redirect)
            self.api.put(f"/api/v1/models/{path}/get", b"", respond_with_version)
            return f"kaggle://{path}/{version}"
        owner, model, framework, variation = path.split("/")
        named = (owner, model, {"tensorFlow2": "MODEL_FRAMEWORK_TENSOR_FLOW_2"}[framework], variation)
        self._calls[(*named, version)] = respond_with_archive
        self._calls[(*named, None)] = respond_with_version
        for name in ("DownloadModelInstanceVersion", "GetModelInstance"):
            self.api.put(f"{NEWER}{name}", b"", self._respond_to_call)
        return f"kaggle://{path}/{version}"

    def _respond_to_call(self, response: Response) -> None:
        request = response.request
        fields = json.loads(request.posted) if request.method == "POST" else {}
        known = ("ownerSlug", "modelSlug", "framework", "instanceSlug", "versionNumber")
        respond = self._calls.get(tuple(fields.get(name) for name in known))
        if respond is None or request.headers.get("content-type") != "application/json" or set(fields) - set(known):
            self._reject(response, 404, "Not found")
        else:
            respond(response)

    def list_requests(self) -> list[str]:
        """Return the paths requested from the API, without their common prefix."""
        return [request.path.removeprefix("/api/v1/models/") for request in self.api.requests]

    def get_authorizations(self, host: Host) -> set[str | None]:
        """Return the Authorization headers sent to a host; None for requests without one."""
        return {request.headers.get("authorization") for request in host.requests}

    def _authorize(self, response: Response, requires_consent: bool) -> bool:
        authorization = response.request.headers.get("authorization")
        if authorization is not None and authorization not in self.known | self.members:
            self._reject(response, 401, "Unauthenticated")
        elif requires_consent and authorization not in self.members:
            self._reject(response, 403, "Permission 'models.get' was denied")
        else:
            return True
        return False

    def _reject(self, response: Response, status: int, message: str) -> None:
        body = json.dumps({"code": status, "message": message}).encode()
        response.respond(status, body, {"Content-Type": "application/json"})
