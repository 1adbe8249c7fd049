"""Google's XML API: a bucket and an object are the path (https://cloud.google.com/storage/docs/xml-api/reference-methods)."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.stores.objects import MOST_IN_A_PAGE, Blob, Bucket, Condition, RefusedError

if TYPE_CHECKING:
    from tests.stores.gcs import Gcs, Reply, Request

ANONYMOUS = 403
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

Action = Callable[["Gcs", Bucket, str, "Request"], "Reply"]


def said(text: str, **headers: str) -> Reply:
    """An answer in XML."""
    from tests.stores.gcs import Reply

    body = f"<?xml version='1.0' encoding='UTF-8'?>{text}".encode()
    return Reply(200, body, {"Content-Type": "application/xml; charset=UTF-8", **headers})


def refusal(refused: RefusedError) -> Reply:
    """What is answered to what cannot be done."""
    reply = said(f"<Error><Code>{refused.reason}</Code><Message>{refused}</Message></Error>")
    reply.status = refused.status
    return reply


def named(request: Request) -> tuple[str, str, str]:
    """Kind, bucket and object of a request; the latter two still quoted."""
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


def condition(request: Request) -> Condition:
    """The conditions that stand in headers, or in the query, where the JSON API has them."""
    wanted = request.headers.get("x-goog-if-generation-match", request.query.get("ifGenerationMatch"))
    unwanted = request.query.get("ifGenerationNotMatch")
    return Condition(int(wanted) if wanted else None, int(unwanted) if unwanted else None)


def about(blob: Blob) -> dict[str, str]:
    """The headers of an object."""
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


def _is_in(etag: str, wanted: str) -> bool:
    return wanted.strip() == "*" or etag in [tag.strip() for tag in wanted.split(",")]


def media(blob: Blob, request: Request) -> Reply:
    """An object, or a range of it, if its ETag is, or is not, as the request wants it."""
    from tests.stores.gcs import Reply

    headers, size, data = about(blob), blob.size, memoryview(blob.data)
    if not _is_in(blob.etag, request.headers.get("if-match", "*")):
        raise RefusedError(412, "PreconditionFailed")
    if "if-none-match" in request.headers and _is_in(blob.etag, request.headers["if-none-match"]):
        return Reply(304, b"", {**headers, "Content-Length": "0"})
    if request.query.get("generation", str(blob.generation)) != str(blob.generation):
        raise RefusedError(404, "NoSuchKey")
    if wanted := _RANGE.fullmatch(request.headers.get("range", "")):
        first = int(wanted[1]) if wanted[1] else max(0, size - int(wanted[2]))
        last = min(int(wanted[2]), size - 1) if wanted[1] and wanted[2] else size - 1
        if first >= size:
            raise RefusedError(416, "InvalidRange")
        return Reply(206, data[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{size}"})
    return Reply(200, data, headers)


def _get(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    return media(bucket.get(name, condition(request)), request)


def _put(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    return _done(bucket.put(name, request.body, condition(request), request.headers.get("content-type", "")))


def _done(blob: Blob) -> Reply:
    from tests.stores.gcs import Reply

    return Reply(
        200, b"", {"ETag": blob.etag, "x-goog-generation": str(blob.generation), "x-goog-hash": f"crc32c={blob.crc32c}"}
    )


def _delete(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    from tests.stores.gcs import Reply

    bucket.delete(name, condition(request))
    return Reply(204)


def _copy(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    place, _, source = unquote(request.headers["x-goog-copy-source"]).removeprefix("/").partition("/")
    blob = store.open(place, "GET", request.headers.get("authorization"), ANONYMOUS).get(source)
    copy = bucket.put(name, blob.data, condition(request), blob.content_type)
    return said(f"<CopyObjectResult><ETag>{escape(copy.etag)}</ETag></CopyObjectResult>")


def _start(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    upload_id = bucket.begin(name, condition(request), request.headers.get("content-type", ""))
    return said(
        f"<InitiateMultipartUploadResult><Bucket>{bucket.name}</Bucket><Key>{escape(name)}</Key>"
        f"<UploadId>{upload_id}</UploadId></InitiateMultipartUploadResult>"
    )


def _part(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    from tests.stores.gcs import Reply

    number = int(request.query["partNumber"])
    bucket.upload(request.query["uploadId"]).parts[number] = request.body
    return Reply(200, b"", {"ETag": f'"part-{number}"'})


def _complete(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    numbers = [int(part.text or 0) for part in ElementTree.fromstring(request.body).iter() if part.tag.endswith("PartNumber")]
    blob = bucket.finish(request.query["uploadId"], numbers)
    return said(
        f"<CompleteMultipartUploadResult><Bucket>{bucket.name}</Bucket><Key>{escape(name)}</Key>"
        f"<ETag>{escape(blob.etag)}</ETag></CompleteMultipartUploadResult>",
        **{"x-goog-generation": str(blob.generation)},
    )


def _abort(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    from tests.stores.gcs import Reply

    bucket.upload(request.query["uploadId"])
    del bucket.uploads[request.query["uploadId"]]
    return Reply(204)


def _bucket(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    return said("")


def _list(store: Gcs, bucket: Bucket, name: str, request: Request) -> Reply:
    query = request.query
    token = base64.urlsafe_b64decode(query.get("continuation-token", "")).decode()
    after = token or query.get("start-after", "")
    most = min(int(query.get("max-keys", MOST_IN_A_PAGE)), MOST_IN_A_PAGE)
    page = bucket.page(query.get("prefix", ""), query.get("delimiter", ""), after, most)
    folders = "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in page.folders)
    behind = f"<NextContinuationToken>{encoded(page.token)}</NextContinuationToken>" if page.token else ""
    return said(
        f"<ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'><Name>{bucket.name}</Name>"
        f"<Prefix>{escape(query.get('prefix', ''))}</Prefix><IsTruncated>{str(bool(page.token)).lower()}</IsTruncated>{behind}"
        f"{''.join(_entry(blob) for blob in page.blobs)}{folders}</ListBucketResult>"
    )


def _entry(blob: Blob) -> str:
    return (
        f"<Contents><Key>{escape(blob.name)}</Key><Generation>{blob.generation}</Generation><MetaGeneration>1</MetaGeneration>"
        f"<LastModified>{told(blob.updated)}</LastModified><ETag>{escape(blob.etag)}</ETag><Size>{blob.size}</Size></Contents>"
    )


def told(moment: datetime) -> str:
    """A moment as both APIs write it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def encoded(token: str) -> str:
    """A token that clients hand back unread."""
    return base64.urlsafe_b64encode(token.encode()).decode()


ACTIONS: dict[str, Action] = {
    "get": _get, "head": _get, "put": _put, "delete": _delete, "copy": _copy, "list": _list, "bucket": _bucket,
    "start": _start, "part": _part, "complete": _complete, "abort": _abort,
}  # fmt: skip
