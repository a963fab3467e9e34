import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sightloop._support.clock import SystemClock
from sightloop.testing.camera import FrameRecord, _Camera, read_records

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BODY = json.dumps({"release": {"digest": "abc"}}).encode()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
    return await reader.readexactly(length)


def answer(writer: asyncio.StreamWriter) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY)


def film(path: Path, handler: Handler, *, frames: int, fps: float = 200) -> list[FrameRecord]:
    async def main() -> None:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with open(path, "w") as out:
            url = f"http://127.0.0.1:{port}/v1/detect"
            await _Camera(url, [b"one", b"two"], out, SystemClock()).run(fps, frames)
        server.close()
        await server.wait_closed()

    asyncio.run(asyncio.wait_for(main(), 20))
    return read_records(path)


def test_every_frame_leaves_a_record_in_order(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await read_request(reader)
                answer(writer)
        except asyncio.IncompleteReadError:
            writer.close()

    records = film(tmp_path / "records", serve, frames=20)
    assert [record.seq for record in records] == list(range(20))
    assert [record.image for record in records] == [0, 1] * 10
    assert all(record.answered and record.digest == "abc" for record in records)


def test_latency_counts_from_the_scheduled_time_whatever_the_server_does(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await asyncio.sleep(0.2)
        answer(writer)
        writer.close()

    records = film(tmp_path / "records", serve, frames=10, fps=100)
    gaps_s = [b.scheduled_s - a.scheduled_s for a, b in itertools.pairwise(records)]
    assert all(gap == pytest.approx(0.01, abs=1e-6) for gap in gaps_s)
    assert all(record.latency_ms is not None and record.latency_ms >= 200 for record in records)
    assert max(r.sent_s for r in records) < min(r.answered_s or 0 for r in records)


def test_idle_connection_that_the_server_closed_costs_no_frame(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_request(reader))
        answer(writer)
        await writer.drain()
        writer.close()

    records = film(tmp_path / "records", serve, frames=6, fps=20)
    assert all(record.answered for record in records)
    assert len(asked) == 6
    assert any(record.resent for record in records)


def test_connection_that_the_server_closed_before_its_first_frame_costs_none(
    tmp_path: Path,
) -> None:
    met = itertools.count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if next(met) >= 4:  # those that the camera opens at its start are closed unasked
            await read_request(reader)
            answer(writer)
            await writer.drain()
        writer.close()

    records = film(tmp_path / "records", serve, frames=6, fps=20)
    assert all(record.answered for record in records)
    assert any(record.resent for record in records)


@pytest.mark.parametrize("part", [b"half", b""])
def test_answer_that_breaks_off_is_a_lost_frame(tmp_path: Path, part: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + part)
        await writer.drain()
        writer.close()

    records = film(tmp_path / "records", serve, frames=3)
    assert [record.answered for record in records] == [False] * 3
    assert all("IncompleteReadError" in record.body["lost"] for record in records)


def test_records_of_a_camera_that_was_killed_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "records"
    record = FrameRecord(0, 0, 1.0, 1.0, None, 0, {"lost": "x"})
    path.write_text(json.dumps({"seq": record.seq}) + "\n")
    with pytest.raises(ValueError, match="not ended in order"):
        read_records(path)
