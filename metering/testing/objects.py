"""A little object store that speaks as much S3 as pyarrow needs, and answers 503 when it is told to: for tests."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

LISTING = '<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>'


class ObjectServer:
    """Objects by bucket and key, in memory. `away`: every request is answered 503."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.away = False
        self.refused = 0
        self.url = ""
        self._parts: dict[str, dict[int, bytes]] = {}

    async def handle(self, request: web.Request) -> web.Response:
        """One request of S3."""
        if self.away:
            self.refused += 1
            return web.Response(status=503, text="<Error><Code>SlowDown</Code></Error>", content_type="application/xml")
        key = request.match_info["key"]
        if request.method == "PUT":
            return self._put(key, request, _unchunked(await request.read(), request))
        if request.method == "POST":
            return self._post(key, request)
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return web.Response(status=204)
        return self._get(key, request)

    def _put(self, key: str, request: web.Request, body: bytes) -> web.Response:
        upload = request.query.get("uploadId")
        if upload is None:
            self.objects[key] = body
        else:
            self._parts[upload][int(request.query["partNumber"])] = body
        return web.Response(headers={"ETag": f'"{hashlib.sha256(body).hexdigest()}"'})

    def _post(self, key: str, request: web.Request) -> web.Response:
        if "uploads" in request.query:
            upload = f"upload-{len(self._parts)}"
            self._parts[upload] = {}
            named = f"<Bucket>b</Bucket><Key>{key}</Key><UploadId>{upload}</UploadId>"
            text = f"<InitiateMultipartUploadResult>{named}</InitiateMultipartUploadResult>"
            return web.Response(text=text, content_type="application/xml")
        parts = self._parts.pop(request.query["uploadId"])
        self.objects[key] = b"".join(parts[number] for number in sorted(parts))
        text = f'<CompleteMultipartUploadResult><Key>{key}</Key><ETag>"e"</ETag></CompleteMultipartUploadResult>'
        return web.Response(text=text, content_type="application/xml")

    def _get(self, key: str, request: web.Request) -> web.Response:
        if request.query.get("list-type"):
            return web.Response(text=LISTING, content_type="application/xml")
        body = self.objects.get(key)
        if body is None:
            missing = "<Error><Code>NoSuchKey</Code></Error>"
            return web.Response(status=404, text=missing, content_type="application/xml")
        if request.method == "HEAD" or "Range" not in request.headers:
            return web.Response(body=body)
        first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
        part = body[int(first) : int(last) + 1]
        said = f"bytes {first}-{int(first) + len(part) - 1}/{len(body)}"
        return web.Response(status=206, body=part, headers={"Content-Range": said})


@asynccontextmanager
async def object_server() -> AsyncIterator[ObjectServer]:
    """Serve on a free port of loopback until the block ends."""
    server = ObjectServer()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{key:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await asyncio.shield(runner.cleanup())


def _unchunked(body: bytes, request: web.Request) -> bytes:
    """The body without the frames of `aws-chunked`, which newer clients of S3 send."""
    if "aws-chunked" not in request.headers.get("Content-Encoding", ""):
        return body
    found, rest = b"", body
    while rest:
        head, _, rest = rest.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if size == 0:
            break
        found, rest = found + rest[:size], rest[size + 2 :]
    return found
