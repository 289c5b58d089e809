"""A small S3 server for tests: what pyarrow's client asks for, with objects in memory and without access control."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread
from typing import BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

NOW = formatdate(usegmt=True)


@dataclass
class Bucket:
    """Objects by path, with the bucket's name first, and the parts of uploads that are not complete."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which a process uses this server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def _listing(bucket: Bucket, name: str, prefix: str, delimiter: str) -> str:
    keys = [path.removeprefix(f"{name}/") for path in bucket.objects if path.startswith(f"{name}/{prefix}")]
    folders = {
        key[: key.index(delimiter, len(prefix)) + 1] for key in keys if delimiter and delimiter in key[len(prefix) :]
    }
    files = sorted(key for key in keys if not any(key.startswith(folder) for folder in folders))
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>{len(bucket.objects[f'{name}/{key}'])}</Size>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        for key in files
    )
    prefixes = "".join(f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>" for key in sorted(folders))
    count = len(files) + len(folders)
    head = f"<IsTruncated>false</IsTruncated><KeyCount>{count}</KeyCount>"
    return f"<ListBucketResult>{head}{contents}{prefixes}</ListBucketResult>"


def _unchunked(stream: BinaryIO) -> bytes:
    """The content of a body that comes in chunks with their sizes in hexadecimal; its trailers are read, too."""
    content = b""
    while size := int(stream.readline().split(b";")[0], 16):
        content += stream.read(size)
        stream.readline()
    while stream.readline().strip():
        pass
    return content


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: Bucket

    def log_message(self, *_: object) -> None:
        pass

    def _target(self) -> tuple[str, dict[str, str]]:
        """The path, with the bucket's name first, and the query. A key may end with a slash."""
        parts = urlsplit(self.path)
        path = unquote(parts.path).lstrip("/")
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return path if path.strip("/").count("/") else path.rstrip("/"), query

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = _unchunked(self.rfile)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return _unchunked(BytesIO(body)) if "aws-chunked" in self.headers.get("Content-Encoding", "") else body

    def _answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Length": str(len(content)),
            "ETag": '"1"',
            "Last-Modified": NOW,
            **headers,
        }.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        path, _ = self._target()
        if "/" in path and path not in self.bucket.objects:
            self._answer(404)
        else:
            self._answer(200, self.bucket.objects.get(path, b""))

    def do_GET(self) -> None:
        path, query = self._target()
        if "/" not in path:
            listing = _listing(self.bucket, path, query.get("prefix", ""), query.get("delimiter", ""))
            self._answer(200, listing.encode(), Content_Type="application/xml")
        elif path not in self.bucket.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._send_range(self.bucket.objects[path])

    def _send_range(self, content: bytes) -> None:
        start, _, end = self.headers.get("Range", f"bytes=0-{len(content)}").removeprefix("bytes=").partition("-")
        part = content[int(start) : int(end) + 1]
        self._answer(206, part, Content_Range=f"bytes {start}-{int(start) + len(part) - 1}/{len(content)}")

    def do_PUT(self) -> None:
        path, query = self._target()
        body = self._body()
        if "uploadId" in query:
            self.bucket.uploads[query["uploadId"]][int(query["partNumber"])] = body
            self._answer(200)
        elif source := self.headers.get("x-amz-copy-source"):
            self.bucket.objects[path] = self.bucket.objects[unquote(source).lstrip("/")]
            self._answer(200, b"<CopyObjectResult><ETag>1</ETag></CopyObjectResult>")
        else:
            self.bucket.objects[path] = body
            self._answer(200)

    def do_POST(self) -> None:
        path, query = self._target()
        self._body()
        if "uploadId" in query:
            parts = self.bucket.uploads.pop(query["uploadId"])
            self.bucket.objects[path] = b"".join(parts[number] for number in sorted(parts))
            self._answer(200, b"<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>")
        else:
            upload = str(len(self.bucket.uploads))
            self.bucket.uploads[upload] = {}
            answer = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            self._answer(200, answer.encode())

    def do_DELETE(self) -> None:
        path, _ = self._target()
        self.bucket.objects.pop(path, None)
        self._answer(204)


@contextlib.contextmanager
def serving() -> Iterator[Bucket]:
    """Serve an empty bucket; `url` is the address of the server."""
    bucket = Bucket()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"bucket": bucket}))
    bucket.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield bucket
    finally:
        server.shutdown()
        server.server_close()
