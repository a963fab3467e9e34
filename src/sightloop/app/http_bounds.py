"""HTTP connections within bounds: how large a request's head may be, and how long parts may take.

The HTTP server waits for a head and for a body as long as the client likes, and keeps headers of
any size. Here a client that dribbles bytes or sends endless headers loses its connection, before
any other code sees a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_GRACE_S: Final = 1.0
"""The route refuses a slow body first, with a reason; the connection is for what reads no body."""


@dataclass(frozen=True, slots=True)
class HttpBounds:
    """What a connection may do.

    Attributes:
        idle_s: How long it may be silent between requests, and before the first.
        head_s: How long address and headers may take.
        head_bytes_max: Their size.
        body_s: How long a body may take.
        refused: Told the reason of each connection that is ended.
    """

    idle_s: float
    head_s: float
    head_bytes_max: int
    body_s: float
    refused: Callable[[str], None]


class _HeadTooLargeError(Exception):
    """Ends the parser's work on a connection."""


def bounded_http(bounds: HttpBounds) -> type[asyncio.Protocol]:
    """The protocol class of connections within `bounds`, for the HTTP server."""
    # It warns of every malformed request on standard error, which anybody could fill.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    return type("BoundedHttp", (_BoundedHttp,), {"bounds": bounds})


class _LateFlow(FlowControl):
    """Stops reading after the bytes at hand are parsed, if they were not the whole of a request.

    What is stopped in between and goes on at once costs four calls of the kernel a frame.
    """

    parsing = False
    stop_wanted = False

    def pause_reading(self) -> None:
        if self.parsing:
            self.stop_wanted = True
        else:
            super().pause_reading()

    def resume_reading(self) -> None:
        self.stop_wanted = False
        super().resume_reading()


class _BoundedHttp(HttpToolsProtocol):
    """A connection. Its limits of time change when the bytes at hand are parsed, not in between."""

    bounds: HttpBounds
    flow: _LateFlow
    _limit: asyncio.TimerHandle | None = None
    _next_limit: tuple[float | None, str | None] | None = None
    _in_head = True
    _head_bytes = 0
    _head_is_large = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.flow = _LateFlow(transport)
        self._allow(self.bounds.idle_s, "connection_idle")

    def connection_lost(self, exc: Exception | None) -> None:
        self._allow(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.flow.parsing = True
        super().data_received(data)
        self.flow.parsing = False
        if self.flow.stop_wanted:
            self.flow.stop_wanted = False
            if self.pipeline or self.cycle.more_body:
                self.flow.pause_reading()
        if self._next_limit is not None:
            self._allow(*self._next_limit)
            self._next_limit = None
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > self.bounds.head_bytes_max:
                self._refuse("head_too_large", 431)
        at_rest = self.cycle is None or self.cycle.response_complete
        if self._limit is None and at_rest:
            # Bytes that begin no request took the server's own limit of an idle connection away.
            self._allow(self.bounds.idle_s, "connection_idle")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._allow(self.bounds.head_s, "head_too_slow")

    def on_headers_complete(self) -> None:
        self._in_head = False
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.bounds.head_bytes_max:
            self._head_is_large = True
            raise _HeadTooLargeError
        self._allow(self.bounds.body_s + _GRACE_S, "body_too_slow")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.body or cycle.response_complete or self.parser.should_upgrade():
            if isinstance(cycle.body, bytes):  # it grows: not copied with every part
                cycle.body = bytearray(cycle.body)
            super().on_body(body)
            return
        cycle.body = body  # type: ignore[assignment]  # all of it, mostly: not copied twice
        if len(body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._allow(None)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """End the connection with the status of what was wrong."""
        if self._head_is_large:
            self._refuse("head_too_large", 431)
        else:
            self._refuse("request_malformed", 400)

    def _refuse(self, reason: str, status: int) -> None:
        self.bounds.refused(reason)
        phrase = HTTPStatus(status).phrase
        body = f'{{"error":{{"reason":"{reason}","message":"{phrase}"}}}}'
        head = (
            f"HTTP/1.1 {status} {phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write((head + body).encode())
        self.transport.close()
        self._allow(_GRACE_S)

    def _allow(self, seconds: float | None, reason: str | None = None) -> None:
        """Give the connection this long until the next step; None: as long as it takes."""
        if self.flow.parsing:
            self._next_limit = seconds, reason
            return
        if self._limit is not None:
            self._limit.cancel()
        self._limit = (
            None if seconds is None else self.loop.call_later(seconds, self._end_slow, reason)
        )

    def _end_slow(self, reason: str | None) -> None:
        """End the connection without waiting for the client to agree, as TLS would."""
        if reason is not None and not self.transport.is_closing():
            self.bounds.refused(reason)
        self.transport.abort()
