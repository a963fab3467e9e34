"""The way of `POST /v1/detect` past the web framework: one request, one answer, little in between.

Next to a network on the same core, every line of Python between socket and worker runs with cold
caches; a framework's layers cost more than everything else of the front together. The route is
declared in `rest.py` too, for the documentation and for whoever mounts that application alone;
both call the same data plane and the same errors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

from sightloop.errors import ProtocolError, SightloopError
from sightloop.serving.dataplane import DataPlane
from sightloop.serving.doorkeeper import Doorkeeper
from sightloop.serving.open_bytes import Share
from sightloop.serving.request_rest import BodyLimits, answer_of, check_size, too_slow

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

PATH: Final = "/v1/detect"
_KEYS: Final = frozenset({"line", "stream", "timeout_ms"})
_STREAM_LENGTH_MAX: Final = 256
_JSON: Final = (b"content-type", b"application/json")


class DetectPath:
    """An ASGI application: answers `POST /v1/detect`, and hands on everything else."""

    def __init__(
        self,
        app: App,
        data: DataPlane,
        keeper: Doorkeeper,
        limits: BodyLimits,
    ) -> None:
        self._app = app
        self._data = data
        self._keeper = keeper
        self._limits = limits

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            if self._keeper.rules.data_asks:
                self._keeper.enter_data(_token_of(scope), _address_of(scope))
            line, stream, timeout_s = read_query(scope["query_string"])
            with self._limits.open_bytes.share() as share:
                image = await self._read(scope, receive, share)
                if image is None:
                    return
                reply = await self._data.detect(line, image, stream=stream, timeout_s=timeout_s)
        except SightloopError as error:
            await answer_of(error)(scope, receive, send)
            return
        await _answer(send, reply.status, reply.body)

    async def _read(
        self, scope: MutableMapping[str, Any], receive: Receive, share: Share
    ) -> bytes | None:
        """The whole body; None if the client is gone."""
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                check_size(int(value), self._limits, share)
        first: Message | None = None
        if not share.takes_from_others:  # the connection's own bound is enough for the others
            first = await receive()
            body = first.get("body", b"")
            if first["type"] == "http.request" and not first.get("more_body", False):
                check_size(len(body), self._limits, share)
                return bytes(body)
        try:
            async with asyncio.timeout(self._limits.seconds_max):
                return await self._read_on(first or await receive(), receive, share)
        except TimeoutError:
            raise too_slow(self._limits) from None

    async def _read_on(self, message: Message, receive: Receive, share: Share) -> bytes | None:
        """The same, of a body that comes in parts."""
        body = message.get("body", b"")
        parts, size = [body], len(body)
        while message.get("more_body", False):
            check_size(size, self._limits, share)
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            parts.append(part)
        check_size(size, self._limits, share)
        return b"".join(parts) if message["type"] == "http.request" else None


def _token_of(scope: Message) -> str | None:
    found = (value for name, value in scope["headers"] if name == b"authorization")
    return next((value.decode("latin-1") for value in found), None)


def _address_of(scope: Message) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


async def _answer(send: Send, status: int, body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": status, "headers": [_JSON, length]}
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
    unknown = sorted(set(values) - _KEYS)
    if unknown:
        raise ProtocolError(
            f"query: expected {', '.join(sorted(_KEYS))}, found {unknown[0][:40]!r}; correct it"
        )
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
