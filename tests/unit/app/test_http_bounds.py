"""What a connection asks of the event loop while a request comes in."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from sightloop.app.http_bounds import HttpBounds, bounded_http

BOUNDS = HttpBounds(
    idle_s=60.0, head_s=5.0, head_bytes_max=8192, body_s=10.0, refused=lambda _: None
)


class _Transport(asyncio.Transport):
    """Writes down when reading stops and goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def is_closing(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        self.calls.append("write")


async def _app(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _connection() -> tuple[Any, _Transport]:
    config = Config(_app, loop="none", lifespan="off", log_config=None)
    config.load()
    made: Any = bounded_http(BOUNDS)
    connection = made(config=config, server_state=ServerState(), app_state={})
    transport = _Transport()
    connection.connection_made(transport)
    return connection, transport


def _request(length: int, body: int) -> bytes:
    head = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
    return head.encode() + bytes(body)


def test_request_that_comes_whole_stops_no_reading_and_leaves_no_limit() -> None:
    async def body() -> None:
        connection, transport = await _connection()
        connection.data_received(_request(200_000, 200_000))
        assert connection._limit is None
        for _ in range(5):
            await asyncio.sleep(0)
        assert transport.calls == ["write", "write"]

    asyncio.run(body())


def test_large_part_of_a_request_stops_reading_until_it_is_taken() -> None:
    async def body() -> None:
        connection, transport = await _connection()
        connection.data_received(_request(500_000, 200_000))
        assert transport.calls == ["pause"]
        assert connection._limit is not None
        for _ in range(5):
            await asyncio.sleep(0)
        assert transport.calls == ["pause", "resume"]
        connection.data_received(bytes(300_000))
        for _ in range(5):
            await asyncio.sleep(0)
        assert transport.calls == ["pause", "resume", "write", "write"]

    asyncio.run(body())


def test_request_behind_an_unanswered_one_stops_reading() -> None:
    async def body() -> None:
        connection, transport = await _connection()
        connection.data_received(_request(10, 10) + _request(10, 10))
        assert transport.calls == ["pause"]

    asyncio.run(body())


def test_head_in_parts_keeps_its_limit() -> None:
    async def body() -> None:
        connection, _ = await _connection()
        connection.data_received(b"POST / HT")
        first = connection._limit
        assert first is not None
        connection.data_received(b"TP/1.1\r\nhost:")
        assert connection._limit is first  # more bytes give no more time

    asyncio.run(body())
