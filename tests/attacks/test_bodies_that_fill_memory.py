"""Many connections with large bodies that never end: memory is bounded, and others are answered."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic

CLOCK = SystemClock()
CONNECTIONS = 40
BODY_BYTES = 4 << 20
OPEN_BYTES_MAX = 16 << 20
SLOW_S = 5.0
HELD_MAX_BYTES = OPEN_BYTES_MAX + CONNECTIONS * (320 << 10) + (16 << 20)
"""What may be held, what a connection has sent unread, and what the allocator keeps."""
PATHS = ["/v1/detect", "/v2/models/plate/infer"]


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    return tiny_traffic(tmp_path_factory.mktemp("bodies"), images=3)


@pytest.fixture(scope="module")
def server(traffic: Traffic) -> Iterator[ServerProcess]:
    settings = {
        "CONNECTIONS_MAX": 100,
        "BODY_BYTES_MAX": 8 << 20,
        "OPEN_BYTES_MAX": OPEN_BYTES_MAX,
        "BODY_TIMEOUT_S": SLOW_S,
    }
    with ServerProcess(
        traffic.workspace.root,
        log=traffic.workspace.root.parent / "log",
        releases=[traffic.folder_of(traffic.digests[0])],
        environment={f"SIGHTLOOP_SERVE_{name}": str(value) for name, value in settings.items()},
    ) as it:
        yield it


def memory_bytes(server: ServerProcess, name: str) -> int:
    """VmRSS or VmHWM of the front."""
    text = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) << 10


def port_of(server: ServerProcess) -> int:
    return int(server.url.rpartition(":")[2])


def head(path: str, *, chunked: bool = False) -> bytes:
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {BODY_BYTES}"
    return f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}\r\n\r\n".encode()


def body(*, chunked: bool) -> bytes:
    """All of a body but its end."""
    if not chunked:
        return b"x" * (BODY_BYTES - 1)
    return (b"%x\r\n" % (1 << 16) + b"x" * (1 << 16) + b"\r\n") * (BODY_BYTES >> 16)


def send_most(connection: socket.socket, sent: bytes) -> None:
    """Send what the server takes; a refusal ends it early."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        connection.sendall(sent)


def ask(server: ServerProcess, path: str, content: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=20)
    with contextlib.closing(connection):
        connection.request("POST", path, body=content)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_memory_is_bounded_and_frames_are_answered(
    server: ServerProcess, traffic: Traffic, path: str, chunked: bool
) -> None:
    image = next(traffic.images.glob("*.jpg")).read_bytes()
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # VmHWM counts from here
    before = memory_bytes(server, "VmRSS")
    began_s = CLOCK.monotonic_s()
    sent = head(path, chunked=chunked) + body(chunked=chunked)
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", port_of(server)), timeout=SLOW_S + 10)
            )
            for _ in range(CONNECTIONS)
        ]
        for connection in connections:
            send_most(connection, sent)
        with Client(server.url) as client:
            for _ in range(5):
                assert client.detect(image)
            assert 'plane="data",reason="too_many_bytes"' in client.metrics()
        answers = [answer_of(connection) for connection in connections]
        took_s = CLOCK.monotonic_s() - began_s
    assert memory_bytes(server, "VmHWM") - before < HELD_MAX_BYTES
    refused = [answer for answer in answers if answer.startswith(b"HTTP/1.1 429 ")]
    assert len(refused) >= CONNECTIONS - 5
    assert all(b"retry-after: 1" in answer and b"too_many_bytes" in answer for answer in refused)
    assert all(b"connection: close" in answer for answer in refused)
    held = [answer for answer in answers if answer not in refused]
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in held), held
    assert took_s < SLOW_S + 15
    assert ask(server, path, b"x" * BODY_BYTES)[0] == 400


def test_bodies_that_grow_by_decompression_are_bounded_too(server: ServerProcess) -> None:
    bomb = gzip.compress(bytes(8 << 20))
    lines = [
        f"POST {PATHS[1]} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Encoding: gzip",
        f"Content-Length: {len(bomb)}",
    ]
    sent = "\r\n".join([*lines, "", ""]).encode() + bomb
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            connection = socket.create_connection(("127.0.0.1", port_of(server)))
            stack.enter_context(connection).sendall(head(PATHS[0]))
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")
        before = memory_bytes(server, "VmRSS")
        connections = [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", port_of(server)), timeout=SLOW_S + 10)
            )
            for _ in range(CONNECTIONS)
        ]
        for connection in connections:
            connection.sendall(sent)
        answers = [answer_of(connection) for connection in connections]
    at_work_bytes = min(32, (os.cpu_count() or 1) + 4) * 2 * (8 << 20)  # zlib grows by copying
    assert all(answer.startswith(b"HTTP/1.1 429 ") for answer in answers)
    assert memory_bytes(server, "VmHWM") - before < HELD_MAX_BYTES + at_work_bytes


def answer_of(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    found = b""
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(1 << 16):
            found += data
    return found


def test_bytes_of_clients_that_went_away_are_given_back_at_once(server: ServerProcess) -> None:
    for _ in range(3):
        for path in PATHS:
            for chunked in (False, True):
                with socket.create_connection(("127.0.0.1", port_of(server))) as connection:
                    send_most(connection, head(path, chunked=chunked) + b"x" * 1000)
    for path in PATHS:
        assert ask(server, path, b"x" * BODY_BYTES)[0] == 400


def test_client_that_sends_its_whole_body_first_reads_why_it_was_refused(
    server: ServerProcess,
) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            connection = socket.create_connection(("127.0.0.1", port_of(server)))
            stack.enter_context(connection).sendall(head(PATHS[0]))
        for path in PATHS:
            status, said = ask(server, path, b"x" * BODY_BYTES)
            assert (status, b"too_many_bytes" in said) == (429, True)


def test_full_house_refuses_no_order(server: ServerProcess) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            connection = socket.create_connection(("127.0.0.1", port_of(server)))
            stack.enter_context(connection).sendall(head(PATHS[0]))
        status, said = ask(server, "/v1/lines/plate/rollback", b" " * (60 << 10))
        assert (status, b"expected a previous release" in said) == (503, True), said
