"""Google's JSON API, under /storage/v1 (https://cloud.google.com/storage/docs/json_api/v1)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from tests.fakes.stores.objects import MOST_IN_A_PAGE, Blob, Bucket, StoreError
from tests.fakes.stores.xml_api import encode_token, format_time, parse_condition, read_media

if TYPE_CHECKING:
    from tests.fakes.stores.gcs import Gcs, Request, Response

ANONYMOUS = 401
_PATH = re.compile(
    r"(?:/upload|/resumable/upload|/download)?/storage/v1/b/([^/]+)(?:/(o|storageLayout)(?:/([^/]+)(?:/(.+))?)?)?"
)
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d*|\*)/(\d+|\*)")

Action = Callable[["Gcs", Bucket, str, "Request"], "Response"]


def is_json_request(request: Request) -> bool:
    """Whether a request is for this API."""
    return "/storage/v1/" in request.path


def make_response(answer: Any, **headers: str) -> Response:
    """Return a response in JSON."""
    from tests.fakes.stores.gcs import Response

    return Response(200, json.dumps(answer).encode(), {"Content-Type": "application/json; charset=UTF-8", **headers})


def make_error_response(error: StoreError) -> Response:
    """Return the response for an operation that failed."""
    details = {"reason": error.reason, "message": str(error), "domain": "global"}
    response = make_response({"error": {"code": error.status, "message": str(error), "errors": [details]}})
    response.status = error.status
    return response


def identify_operation(request: Request) -> tuple[str, str, str]:
    """Return the kind, the bucket and the object of a request, the latter two still quoted."""
    path = _PATH.fullmatch(request.path)
    if not path:
        return "unknown", "", ""
    bucket, part, name, verb = path.groups()
    method, query = request.method, request.query
    if part is None or part == "storageLayout":
        return ("layout" if part else "bucket") if method == "GET" else "unknown", bucket, ""
    if verb:
        return {"rewriteTo": "copy", "copyTo": "copy", "moveTo": "move"}.get(verb.split("/")[0], "unknown"), bucket, name
    if "upload_id" in query:
        return "part", bucket, query.get("name", "")
    if method == "POST" and "uploadType" in query:
        kind = {"media": "put", "multipart": "put", "resumable": "start"}.get(query["uploadType"], "unknown")
        return kind, bucket, query.get("name", "")
    if name is None:
        return "list" if method == "GET" else "unknown", bucket, ""
    kind = "get" if query.get("alt") == "media" else "head"
    return {"GET": kind, "DELETE": "delete"}.get(method, "unknown"), bucket, name


def describe(blob: Blob, bucket: Bucket) -> dict[str, str]:
    """Return the metadata of an object."""
    return {
        "kind": "storage#object",
        "id": f"{bucket.name}/{blob.name}/{blob.generation}",
        "name": blob.name,
        "bucket": bucket.name,
        "generation": str(blob.generation),
        "metageneration": "1",
        "size": str(blob.size),
        "updated": format_time(blob.updated),
        "timeCreated": format_time(blob.updated),
        "contentType": blob.content_type,
        "crc32c": blob.crc32c,
        "etag": encode_token(str(blob.generation)),
        "storageClass": "STANDARD",
    }


def _head(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    return make_response(describe(bucket.get(name, parse_condition(request)), bucket))


def _get(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    return read_media(bucket.get(name, parse_condition(request)), request)


def _delete(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    from tests.fakes.stores.gcs import Response

    bucket.delete(name, parse_condition(request))
    return Response(204)


def _put(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    data, content_type = request.body, request.headers.get("content-type", "")
    if request.query["uploadType"] == "multipart":
        metadata, data = _split_multipart(data, content_type)
        name, content_type = name or metadata["name"], metadata.get("contentType", "")
    return make_response(describe(bucket.put(name, data, parse_condition(request), content_type), bucket))


def _split_multipart(body: bytes, content_type: str) -> tuple[dict[str, str], bytes]:
    boundary = b"--" + content_type.partition("boundary=")[2].strip("\"' ").encode()
    _, head, data, _ = body.split(boundary, 3)
    metadata, data = (part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in (head, data))
    return json.loads(metadata), data


def _start(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    metadata = json.loads(request.body or b"{}")
    content_type = request.headers.get("x-upload-content-type", metadata.get("contentType", ""))
    name = name or metadata["name"]
    upload_id = bucket.begin(name, parse_condition(request), content_type)
    location = f"{request.base}{request.path}?uploadType=resumable&name={quote(name, safe='')}&upload_id={upload_id}"
    return make_response({}, Location=location, **{"X-GUploader-UploadID": upload_id})


def _part(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    """Receive a part of a resumable upload; without a body, report how much has been received."""
    from tests.fakes.stores.gcs import Response

    upload_id = request.query["upload_id"]
    upload = bucket.upload(upload_id)
    received_bytes, size = sum(len(part) for part in upload.parts.values()), str(len(request.body))
    # Without a header, the body is the complete object; "*" stands for no bytes in this request, or a total not yet known.
    content_range = request.headers.get("content-range", f"bytes 0-/{size}")
    first, total = _CONTENT_RANGE.fullmatch(content_range).groups()  # type: ignore[union-attr]
    if first == str(received_bytes):
        upload.parts[received_bytes] = request.body
        received_bytes += len(request.body)
    if total == str(received_bytes):
        return make_response(describe(bucket.finish(upload_id, sorted(upload.parts)), bucket))
    return Response(308, b"", {"Range": f"bytes=0-{received_bytes - 1}"} if received_bytes else {})


def _copy(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    """Copy an object with one response, where Google may need several."""
    path = re.fullmatch(r".*/(rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)", request.path)
    if not path:
        raise StoreError(400, "invalid")
    blob, into = bucket.get(name), store.open(unquote(path[2]), "POST", request.headers.get("authorization"), ANONYMOUS)
    resource = describe(into.put(unquote(path[3]), blob.data, parse_condition(request), blob.content_type), into)
    size = {"totalBytesRewritten": resource["size"], "objectSize": resource["size"]}
    return make_response({"kind": "storage#rewriteResponse", "done": True, **size, "resource": resource})


def _move(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    return make_response(
        describe(bucket.move(name, unquote(request.path.rpartition("/")[2]), parse_condition(request)), bucket)
    )


def _bucket(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    return make_response({"kind": "storage#bucket", "id": bucket.name, "name": bucket.name, "location": "US"})


def _layout(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    return make_response({"kind": "storage#storageLayout", "bucket": bucket.name, "location": "US"})


def _list(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    query = request.query
    after = base64.urlsafe_b64decode(query.get("pageToken", "")).decode()
    most = min(int(query.get("maxResults", MOST_IN_A_PAGE)), MOST_IN_A_PAGE)
    page = bucket.page(query.get("prefix", ""), query.get("delimiter", ""), after, most)
    answer: dict[str, Any] = {"kind": "storage#objects", "items": [describe(blob, bucket) for blob in page.blobs]}
    answer["prefixes"] = page.folders
    if page.token:
        answer["nextPageToken"] = encode_token(page.token)
    return make_response({field: value for field, value in answer.items() if value})


ACTIONS: dict[str, Action] = {
    "get": _get, "head": _head, "put": _put, "delete": _delete, "copy": _copy, "move": _move, "list": _list,
    "bucket": _bucket, "layout": _layout, "start": _start, "part": _part,
}  # fmt: skip
