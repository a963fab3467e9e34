"""The way of `POST /v1/detect` past the web framework: one request, one answer, little in between.

Next to a network on the same core, every line of Python between socket and worker runs with cold
caches; a framework's layers cost more than everything else of the front together. The route is
declared in `rest.py` too, for the documentation and for whoever mounts that application alone;
both call the same data plane and the same errors.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

from sightloop.errors import ImageError, ProtocolError, SightloopError
from sightloop.serving.dataplane import DataPlane

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PATH: Final = "/v1/detect"
_STREAM_LENGTH_MAX: Final = 256
_JSON: Final = (b"content-type", b"application/json")


class DetectPath:
    """An ASGI application: answers `POST /v1/detect`, and hands on everything else."""

    def __init__(
        self,
        app: App,
        data: DataPlane,
        *,
        body_bytes_max: int,
        status_of: Callable[[SightloopError], int],
    ) -> None:
        self._app = app
        self._data = data
        self._body_bytes_max = body_bytes_max
        self._status_of = status_of

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            line, stream, timeout_s = read_query(scope["query_string"])
            image = await self._read(scope, receive)
            if image is None:
                return
            reply = await self._data.detect(line, image, stream=stream, timeout_s=timeout_s)
        except SightloopError as error:
            await self._refuse(error, send)
            return
        await _answer(send, reply.status, reply.body, ())

    async def _read(self, scope: MutableMapping[str, Any], receive: Receive) -> bytes | None:
        """The whole body; None if the client is gone."""
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                self._check_size(int(value))
        message = await receive()
        body = message.get("body", b"")
        if message["type"] == "http.request" and not message.get("more_body", False):
            self._check_size(len(body))
            return bytes(body)
        parts, size = [body], len(body)
        while message.get("more_body", False):
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            self._check_size(size)
            parts.append(part)
        return b"".join(parts) if message["type"] == "http.request" else None

    def _check_size(self, found_bytes: int) -> None:
        if found_bytes > self._body_bytes_max:
            raise ImageError(
                f"request body: expected at most {self._body_bytes_max} bytes, found "
                f"{found_bytes}; send a smaller image or raise serve.body_bytes_max",
                "body_too_large",
            )

    async def _refuse(self, error: SightloopError, send: Send) -> None:
        status = self._status_of(error)
        headers = []
        if error.retryable:
            headers.append((b"retry-after", b"1"))
        if status == 413:
            headers.append((b"connection", b"close"))
        value = {"error": {"reason": error.reason, "message": error.message}}
        await _answer(send, status, json.dumps(value).encode(), headers)


async def _answer(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]] | tuple[()]
) -> None:
    length = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": status, "headers": [_JSON, length, *headers]}
    await send(start)
    await send({"type": "http.response.body", "body": body})


def read_query(text: bytes) -> tuple[str | None, str | None, float | None]:
    """Line, stream and time for the answer in seconds, as a query names them.

    Raises:
        ProtocolError: A value that cannot be.
    """
    if not text:
        return None, None, None
    values = parse_qs(text.decode("latin-1"))
    line = values.get("line", [None])[0]
    stream = values.get("stream", [None])[0]
    if stream is not None and len(stream) > _STREAM_LENGTH_MAX:
        raise ProtocolError(
            f"stream: expected at most {_STREAM_LENGTH_MAX} characters, found {len(stream)}"
        )
    timeout = values.get("timeout_ms", [None])[0]
    return line, stream, _seconds(timeout) if timeout is not None else None


def _seconds(text: str) -> float:
    try:
        value_ms = float(text)
    except ValueError:
        value_ms = 0.0
    if not 0 < value_ms < 1e9:
        raise ProtocolError(f"timeout_ms: expected milliseconds above 0, found {text[:40]!r}")
    return value_ms / 1000
