"""Google's JSON API, under /storage/v1 (https://cloud.google.com/storage/docs/json_api/v1)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from tests.stores.objects import MOST_IN_A_PAGE, Blob, Bucket, RefusedError
from tests.stores.xml_api import condition, encoded, media, told

if TYPE_CHECKING:
    from tests.stores.gcs import Gcs, Reply, Request

ANONYMOUS = 401
_PATH = re.compile(
    r"(?:/upload|/resumable/upload|/download)?/storage/v1/b/([^/]+)(?:/(o|storageLayout)(?:/([^/]+)(?:/(.+))?)?)?"
)
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d*|\*)/(\d+|\*)")

Action = Callable[["Gcs", Bucket, str, "Request"], "Reply"]


def is_asked(request: Request) -> bool:
    """Whether a request is of this API."""
    return "/storage/v1/" in request.path


def said(answer: Any, **headers: str) -> Reply:
    """An answer in JSON."""
    from tests.stores.gcs import Reply

    return Reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json; charset=UTF-8", **headers})


def refusal(refused: RefusedError) -> Reply:
    """What is answered to what cannot be done."""
    error = {"reason": refused.reason, "message": str(refused), "domain": "global"}
    reply = said({"error": {"code": refused.status, "message": str(refused), "errors": [error]}})
    reply.status = refused.status
    return reply


def named(request: Request) -> tuple[str, str, str]:
    """Kind, bucket and object of a request; the latter two still quoted."""
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


def about(blob: Blob, bucket: Bucket) -> dict[str, str]:
    """What is told of an object."""
    return {
        "kind": "storage#object",
        "id": f"{bucket.name}/{blob.name}/{blob.generation}",
        "name": blob.name,
        "bucket": bucket.name,
        "generation": str(blob.generation),
        "metageneration": "1",
        "size": str(blob.size),
        "updated": told(blob.updated),
        "timeCreated": told(blob.updated),
        "contentType": blob.content_type,
        "crc32c": blob.crc32c,
        "etag": encoded(str(blob.generation)),
        "storageClass": "STANDARD",
    }


def _head(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    return said(about(bucket.get(name, condition(request)), bucket))


def _get(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    return media(bucket.get(name, condition(request)), request)


def _delete(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    from tests.stores.gcs import Reply

    bucket.delete(name, condition(request))
    return Reply(204)


def _put(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    data, content_type = request.body, request.headers.get("content-type", "")
    if request.query["uploadType"] == "multipart":
        told_of, data = _two_parts(data, content_type)
        name, content_type = name or told_of["name"], told_of.get("contentType", "")
    return said(about(bucket.put(name, data, condition(request), content_type), bucket))


def _two_parts(body: bytes, content_type: str) -> tuple[dict[str, str], bytes]:
    boundary = b"--" + content_type.partition("boundary=")[2].strip("\"' ").encode()
    _, about_it, data, _ = body.split(boundary, 3)
    told_of, data = (part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in (about_it, data))
    return json.loads(told_of), data


def _start(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    told_of = json.loads(request.body or b"{}")
    content_type = request.headers.get("x-upload-content-type", told_of.get("contentType", ""))
    name = name or told_of["name"]
    upload_id = bucket.begin(name, condition(request), content_type)
    place = f"{request.base}{request.path}?uploadType=resumable&name={quote(name, safe='')}&upload_id={upload_id}"
    return said({}, Location=place, **{"X-GUploader-UploadID": upload_id})


def _part(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    """A part of a resumable upload, or, without one, the question how much has come."""
    from tests.stores.gcs import Reply

    upload_id = request.query["upload_id"]
    upload = bucket.upload(upload_id)
    came, size = sum(len(part) for part in upload.parts.values()), str(len(request.body))
    # Without a header, the body is the whole; "*" stands for bytes that are not sent, or a size that nobody knows yet.
    said_of = request.headers.get("content-range", f"bytes 0-/{size}")
    first, total = _CONTENT_RANGE.fullmatch(said_of).groups()  # type: ignore[union-attr]
    if first == str(came):
        upload.parts[came] = request.body
        came += len(request.body)
    if total == str(came):
        return said(about(bucket.finish(upload_id, sorted(upload.parts)), bucket))
    return Reply(308, b"", {"Range": f"bytes=0-{came - 1}"} if came else {})


def _copy(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    """Copies whole, in one answer, where Google may take several."""
    path = re.fullmatch(r".*/(rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)", request.path)
    if not path:
        raise RefusedError(400, "invalid")
    blob, into = bucket.get(name), store.open(unquote(path[2]), "POST", request.headers.get("authorization"), ANONYMOUS)
    resource = about(into.put(unquote(path[3]), blob.data, condition(request), blob.content_type), into)
    size = {"totalBytesRewritten": resource["size"], "objectSize": resource["size"]}
    return said({"kind": "storage#rewriteResponse", "done": True, **size, "resource": resource})


def _move(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    return said(about(bucket.move(name, unquote(request.path.rpartition("/")[2]), condition(request)), bucket))


def _bucket(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    return said({"kind": "storage#bucket", "id": bucket.name, "name": bucket.name, "location": "US"})


def _layout(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    return said({"kind": "storage#storageLayout", "bucket": bucket.name, "location": "US"})


def _list(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    query = request.query
    after = base64.urlsafe_b64decode(query.get("pageToken", "")).decode()
    most = min(int(query.get("maxResults", MOST_IN_A_PAGE)), MOST_IN_A_PAGE)
    page = bucket.page(query.get("prefix", ""), query.get("delimiter", ""), after, most)
    answer: dict[str, Any] = {"kind": "storage#objects", "items": [about(blob, bucket) for blob in page.blobs]}
    answer["prefixes"] = page.folders
    if page.token:
        answer["nextPageToken"] = encoded(page.token)
    return said({field: value for field, value in answer.items() if value})


ACTIONS: dict[str, Action] = {
    "get": _get, "head": _head, "put": _put, "delete": _delete, "copy": _copy, "move": _move, "list": _list,
    "bucket": _bucket, "layout": _layout, "start": _start, "part": _part,
}  # fmt: skip
