"""Google's XML API: the path is bucket and object (https://cloud.google.com/storage/docs/xml-api/reference-methods)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.fakes.stores.objects import MOST_IN_A_PAGE, Blob, Bucket, Condition, StoreError

if TYPE_CHECKING:
    from tests.fakes.stores.gcs import Gcs, Request, Response

ANONYMOUS = 403
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

Action = Callable[["Gcs", Bucket, str, "Request"], "Response"]


def make_response(text: str, **headers: str) -> Response:
    """Return a response in XML."""
    from tests.fakes.stores.gcs import Response

    body = f"<?xml version='1.0' encoding='UTF-8'?>{text}".encode()
    return Response(200, body, {"Content-Type": "application/xml; charset=UTF-8", **headers})


def make_error_response(error: StoreError) -> Response:
    """Return the response for an operation that failed."""
    response = make_response(f"<Error><Code>{error.reason}</Code><Message>{error}</Message></Error>")
    response.status = error.status
    return response


def identify_operation(request: Request) -> tuple[str, str, str]:
    """Return the kind, the bucket and the object of a request, the latter two still quoted."""
    bucket, _, name = request.path.removeprefix("/").partition("/")
    if not name:
        return {"GET": "list", "HEAD": "bucket"}.get(request.method, "unknown"), bucket, ""
    if request.method == "PUT" and "x-goog-copy-source" in request.headers:
        return "copy", bucket, name
    if "uploadId" in request.query:
        return {"PUT": "part", "POST": "complete", "DELETE": "abort"}.get(request.method, "unknown"), bucket, name
    if request.method == "POST" and "uploads" in request.query:
        return "start", bucket, name
    return {"GET": "get", "HEAD": "head", "PUT": "put", "DELETE": "delete"}.get(request.method, "unknown"), bucket, name


def parse_condition(request: Request) -> Condition:
    """Return the conditions of a request, from the headers, or from the query as in the JSON API."""
    match = request.headers.get("x-goog-if-generation-match", request.query.get("ifGenerationMatch"))
    no_match = request.query.get("ifGenerationNotMatch")
    return Condition(int(match) if match else None, int(no_match) if no_match else None)


def describe(blob: Blob) -> dict[str, str]:
    """Return the headers of an object."""
    return {
        "Content-Type": blob.content_type,
        "ETag": blob.etag,
        "Last-Modified": blob.updated.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "Accept-Ranges": "bytes",
        "x-goog-generation": str(blob.generation),
        "x-goog-metageneration": "1",
        "x-goog-hash": f"crc32c={blob.crc32c}",
        "x-goog-stored-content-encoding": "identity",
        "x-goog-stored-content-length": str(blob.size),
    }


def _matches(etag: str, requested: str) -> bool:
    return requested.strip() == "*" or etag in [tag.strip() for tag in requested.split(",")]


def read_media(blob: Blob, request: Request) -> Response:
    """Return an object or a range of it, subject to the request's conditions on its ETag."""
    from tests.fakes.stores.gcs import Response

    headers, size, data = describe(blob), blob.size, memoryview(blob.data)
    if not _matches(blob.etag, request.headers.get("if-match", "*")):
        raise StoreError(412, "PreconditionFailed")
    if "if-none-match" in request.headers and _matches(blob.etag, request.headers["if-none-match"]):
        return Response(304, b"", {**headers, "Content-Length": "0"})
    if request.query.get("generation", str(blob.generation)) != str(blob.generation):
        raise StoreError(404, "NoSuchKey")
    if requested := _RANGE.fullmatch(request.headers.get("range", "")):
        first = int(requested[1]) if requested[1] else max(0, size - int(requested[2]))
        last = min(int(requested[2]), size - 1) if requested[1] and requested[2] else size - 1
        if first >= size:
            raise StoreError(416, "InvalidRange")
        return Response(206, data[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{size}"})
    return Response(200, data, headers)


def _get(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    return read_media(bucket.get(name, parse_condition(request)), request)


def _put(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    return _done(bucket.put(name, request.body, parse_condition(request), request.headers.get("content-type", "")))


def _done(blob: Blob) -> Response:
    from tests.fakes.stores.gcs import Response

    return Response(
        200, b"", {"ETag": blob.etag, "x-goog-generation": str(blob.generation), "x-goog-hash": f"crc32c={blob.crc32c}"}
    )


def _delete(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    from tests.fakes.stores.gcs import Response

    bucket.delete(name, parse_condition(request))
    return Response(204)


def _copy(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    source_bucket, _, source = unquote(request.headers["x-goog-copy-source"]).removeprefix("/").partition("/")
    blob = store.open(source_bucket, "GET", request.headers.get("authorization"), ANONYMOUS).get(source)
    copy = bucket.put(name, blob.data, parse_condition(request), blob.content_type)
    return make_response(f"<CopyObjectResult><ETag>{escape(copy.etag)}</ETag></CopyObjectResult>")


def _start(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    upload_id = bucket.begin(name, parse_condition(request), request.headers.get("content-type", ""))
    return make_response(
        f"<InitiateMultipartUploadResult><Bucket>{bucket.name}</Bucket><Key>{escape(name)}</Key>"
        f"<UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
    )


def _part(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    from tests.fakes.stores.gcs import Response

    number = int(request.query["partNumber"])
    bucket.upload(request.query["uploadId"]).parts[number] = request.body
    return Response(200, b"", {"ETag": f'"part-{number}"'})


def _complete(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    numbers = [int(part.text or 0) for part in ElementTree.fromstring(request.body).iter() if part.tag.endswith("PartNumber")]
    blob = bucket.finish(request.query["uploadId"], numbers)
    return make_response(
        f"<CompleteMultipartUploadResult><Bucket>{bucket.name}</Bucket><Key>{escape(name)}</Key>"
        f"<ETag>{escape(blob.etag)}</ETag></CompleteMultipartUploadResult>",
        **{"x-goog-generation": str(blob.generation)},
    )


def _abort(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    from tests.fakes.stores.gcs import Response

    bucket.upload(request.query["uploadId"])
    del bucket.uploads[request.query["uploadId"]]
    return Response(204)


def _bucket(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    return make_response("")


def _list(store: Gcs, bucket: Bucket, name: str, request: Request) -> Response:
    query = request.query
    token = base64.urlsafe_b64decode(query.get("continuation-token", "")).decode()
    after = token or query.get("start-after", "")
    most = min(int(query.get("max-keys", MOST_IN_A_PAGE)), MOST_IN_A_PAGE)
    page = bucket.page(query.get("prefix", ""), query.get("delimiter", ""), after, most)
    folders = "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in page.folders)
    next_token = f"<NextContinuationToken>{encode_token(page.token)}</NextContinuationToken>" if page.token else ""
    return make_response(
        f"<ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'><Name>{bucket.name}</Name>"
        f"<Prefix>{escape(query.get('prefix', ''))}</Prefix>"
        f"<IsTruncated>{str(bool(page.token)).lower()}</IsTruncated>{next_token}"
        f"{''.join(_entry(blob) for blob in page.blobs)}{folders}</ListBucketResult>"
    )


def _entry(blob: Blob) -> str:
    return (
        f"<Contents><Key>{escape(blob.name)}</Key><Generation>{blob.generation}</Generation><MetaGeneration>1</MetaGeneration>"
        f"<LastModified>{format_time(blob.updated)}</LastModified><ETag>{escape(blob.etag)}</ETag><Size>{blob.size}</Size></Contents>"
    )


def format_time(moment: datetime) -> str:
    """Format a time as both APIs do."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def encode_token(token: str) -> str:
    """Encode a token that is opaque to clients."""
    return base64.urlsafe_b64encode(token.encode()).decode()


ACTIONS: dict[str, Action] = {
    "get": _get, "head": _get, "put": _put, "delete": _delete, "copy": _copy, "list": _list, "bucket": _bucket,
    "start": _start, "part": _part, "complete": _complete, "abort": _abort,
}  # fmt: skip
