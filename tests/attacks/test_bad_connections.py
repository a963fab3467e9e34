"""Connections that want to hold or fill a server: endless, slow, contradicting heads and bodies.

Each is ended within its bound; nobody else waits, and no answer is the server's own fault (5xx).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest

from sightloop._support.clock import SystemClock
from sightloop.testing.guarded_server import HEAD_BYTES_MAX, SLOW_S, Guarded

CLOCK = SystemClock()


def head(guarded: Guarded, *lines: str) -> bytes:
    own = [f"Host: 127.0.0.1:{guarded.port}", f"Authorization: {guarded.bearer('operator')}"]
    return "\r\n".join([*lines[:1], *own, *lines[1:], "", ""]).encode()


def answer_to(guarded: Guarded, *parts: bytes) -> bytes:
    """What a hand-made connection gets until the server closes it; empty if it just closes."""
    with guarded.raw() as connection:
        found = b""
        try:
            for part in parts:
                connection.sendall(part)
            while data := connection.recv(1 << 16):
                found += data
        except (ConnectionError, ssl.SSLError):
            pass
    return found


def test_head_that_is_too_large_is_cut_off(guarded: Guarded) -> None:
    many = [f"X-{n}: {'a' * 100}" for n in range(100)]
    for lines in (
        ["GET /v1/lines HTTP/1.1", f"X-Large: {'a' * HEAD_BYTES_MAX}"],
        ["GET /v1/lines HTTP/1.1", *many],
        [f"GET /v1/lines?{'a' * HEAD_BYTES_MAX} HTTP/1.1"],
    ):
        assert answer_to(guarded, head(guarded, *lines)).startswith(b"HTTP/1.1 431 ")


def test_head_without_an_end_is_cut_off(guarded: Guarded) -> None:
    endless = b"GET /v1/lines HTTP/1.1\r\nX-Large: " + b"a" * (1 << 20)
    assert answer_to(guarded, endless)[:13] in (b"HTTP/1.1 431 ", b"")


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: -1"],
        ["Content-Length: ten"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: 99999999999999999999999"],
        ["Transfer-Encoding: nonsense"],
        ["Bad Header"],
    ],
)
def test_head_that_contradicts_itself_is_malformed(guarded: Guarded, lines: list[str]) -> None:
    sent = head(guarded, "POST /v1/detect HTTP/1.1", *lines) + b"hello"
    found = answer_to(guarded, sent)
    assert found.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ")), found


def test_body_shorter_than_it_says_is_refused_when_the_client_stops(guarded: Guarded) -> None:
    sent = head(guarded, "POST /v1/detect HTTP/1.1", "Content-Length: 1000")
    began_s = CLOCK.monotonic_s()
    found = answer_to(guarded, sent, b"few")
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"body_too_slow" in found
    assert CLOCK.monotonic_s() - began_s < SLOW_S + 5


@pytest.mark.parametrize("path", ["/v1/detect", "/v1/lines/plate/rollback", "/healthz"])
def test_body_that_dribbles_loses_its_connection(guarded: Guarded, path: str) -> None:
    began_s = CLOCK.monotonic_s()
    with guarded.raw() as connection:
        connection.sendall(head(guarded, f"POST {path} HTTP/1.1", "Content-Length: 1000"))
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while CLOCK.monotonic_s() - began_s < SLOW_S + 10:
                connection.sendall(b"a")
                CLOCK.sleep_s(0.1)
    assert CLOCK.monotonic_s() - began_s < SLOW_S + 5


def test_head_that_dribbles_loses_its_connection(guarded: Guarded) -> None:
    began_s = CLOCK.monotonic_s()
    with guarded.raw() as connection, contextlib.suppress(ConnectionError, ssl.SSLError):
        for letter in b"GET /v1/lines HTTP/1.1\r\nHost: here\r\nX: " + b"a" * 1000:
            connection.sendall(bytes([letter]))
            CLOCK.sleep_s(0.05)
    assert CLOCK.monotonic_s() - began_s < SLOW_S + 5


def test_hundred_slow_connections_hold_nobody_up(guarded: Guarded) -> None:
    async def main() -> None:
        context = guarded.tls()
        slow = [
            await asyncio.open_connection("127.0.0.1", guarded.port, ssl=context)
            for _ in range(100)
        ]
        for _, writer in slow:
            writer.write(b"POST /v1/detect HTTP/1.1\r\nHost: here\r\n")
        began_s = CLOCK.monotonic_s()
        with guarded.client("camera") as client:
            await asyncio.to_thread(client.detect, guarded.image)
        assert CLOCK.monotonic_s() - began_s < SLOW_S
        for reader, writer in slow:
            await asyncio.wait_for(reader.read(), SLOW_S + 10)
            writer.close()

    asyncio.run(main())


def test_body_larger_than_allowed_is_not_read(guarded: Guarded) -> None:
    sent = head(guarded, "POST /v1/detect HTTP/1.1", f"Content-Length: {1 << 40}")
    assert b"body_too_large" in answer_to(guarded, sent)
    chunk = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"
    endless = head(guarded, "POST /v1/detect HTTP/1.1", "Transfer-Encoding: chunked")
    assert b"body_too_large" in answer_to(guarded, endless, *[chunk] * 17)


def test_connections_that_were_cut_off_are_counted(guarded: Guarded) -> None:
    answer_to(guarded, head(guarded, f"GET /v1/lines?{'a' * HEAD_BYTES_MAX} HTTP/1.1"))
    answer_to(guarded, b"nonsense\r\n\r\n")
    with guarded.client("looker") as client:
        text = client.metrics()
    for reason in ("head_too_large", "request_malformed"):
        assert f'sightloop_refused_total{{plane="connection",reason="{reason}"}}' in text
    assert "Traceback" not in guarded.server.log.read_text()
