from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightloop.errors import TooManyBytesError
from sightloop.protocol.grpc_messages import SERVICE, message_class
from sightloop.serving.adminplane import AdminPlane
from sightloop.serving.dataplane import DataPlane
from sightloop.serving.detect_path import DetectPath
from sightloop.serving.grpc_server import GrpcServer
from sightloop.serving.open_bytes import OpenBytes
from sightloop.serving.open_inference_rest import mount_open_inference
from sightloop.serving.request_rest import BodyLimits
from sightloop.serving.rest import build_rest
from sightloop.testing.scripted_door import UnwrittenAudit, door_of
from sightloop.testing.scripted_line import LIMIT_S, ScriptedLine, scripted_line
from sightloop.testing.scripted_plane import plane_of

LIMIT = 1000
PART = 50
LARGE = 400
"""Of a body that leaves no room for a second one."""


def open_bytes_of(refused: list[TooManyBytesError] | None = None) -> OpenBytes:
    note = refused.append if refused is not None else lambda _: None
    return OpenBytes(LIMIT, requests_max=10, refused=note)


def test_body_within_its_part_is_never_refused() -> None:
    it = open_bytes_of()
    with it.share() as large, it.share() as small:
        large.hold(10 * LIMIT)
        small.hold(PART)
        with pytest.raises(TooManyBytesError):
            small.hold(PART + 1)


def test_bodies_beyond_their_parts_share_the_other_half() -> None:
    refused: list[TooManyBytesError] = []
    it = open_bytes_of(refused)
    with it.share() as first, it.share() as second:
        first.hold(LARGE)
        second.hold(LIMIT // 2 - LARGE + 2 * PART)
        assert it.beyond_bytes == LIMIT // 2
        with it.share() as third, pytest.raises(TooManyBytesError):
            third.hold(PART + 1)
    assert len(refused) == 1
    assert it.beyond_bytes == 0


def test_room_that_is_refused_to_a_growing_body_is_free_for_another() -> None:
    it = open_bytes_of()
    with it.share() as first, it.share() as second:
        first.hold(LARGE)
        second.hold(PART + 1)
        with pytest.raises(TooManyBytesError):
            second.hold(LARGE)
        assert it.beyond_bytes == LARGE - PART + 1


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, LIMIT // 2 + PART)), max_size=60))
def test_bodies_never_take_more_than_the_bound_together(takes: list[tuple[int, int]]) -> None:
    it = open_bytes_of()
    shares, sizes = [it.share() for _ in range(10)], [0] * 10
    for who, size in takes:
        try:
            shares[who].hold(size)
        except TooManyBytesError:
            assert size > PART
        else:
            sizes[who] = max(size, sizes[who])
        assert sum(sizes) <= LIMIT
    for share in shares:
        share.__exit__()
    assert it.beyond_bytes == 0


class Front:
    """Everything that is answered over HTTP, before a scripted line; and one large body held."""

    def __init__(self, it: ScriptedLine, *, seconds_max: float = LIMIT_S) -> None:
        self.open_bytes = open_bytes_of()
        limits = BodyLimits(LIMIT, seconds_max, self.open_bytes)
        lines = {"plate": it.line}
        data = DataPlane(lines, metrics=it.metrics, clock=it.line.parts.clock)
        admin = AdminPlane(lines, {"plate": it.orders}, log=UnwrittenAudit())
        keeper = door_of(it.metrics)
        rest = build_rest(
            data, admin, keeper=keeper, metrics=it.metrics, limits=limits, version="0"
        )
        mount_open_inference(rest, plane_of(it), keeper=keeper, limits=limits, version="0")
        self.framework = rest
        self.app = DetectPath(rest, data, keeper, limits)

    @contextmanager
    def full(self) -> Iterator[None]:
        with self.open_bytes.share() as share:
            share.hold(LIMIT)
            yield


async def front_of(folder: Path, body: Any, **named: Any) -> None:
    async with scripted_line(folder) as it:
        await it.orders.start(it.source("1.0.0"))
        await body(Front(it, **named), it)


PATHS = ["/v1/detect", "/v2/models/plate/infer"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("chunked", [False, True])
def test_body_without_room_is_429_and_comes_again(path: str, chunked: bool, tmp_path: Path) -> None:
    async def parts() -> Any:
        for _ in range(4):
            yield b"x" * (LARGE // 4)

    async def body(front: Front, it: ScriptedLine) -> None:
        for app in (front.app, front.framework):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                with front.full():
                    content = parts() if chunked else b"x" * LARGE
                    answer = await client.post(path, content=content)
                    small = await client.post(path, content=b"x" * PART)
                assert answer.status_code == 429
                assert "too_many_bytes" in answer.text
                assert answer.headers["retry-after"] == "1"
                assert answer.headers["connection"] == "close"
                assert small.status_code != 429
                assert (await client.post(path, content=b"x" * LARGE)).status_code != 429
                assert front.open_bytes.beyond_bytes == 0

    asyncio.run(front_of(tmp_path, body))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("end", ["gone", "slow", "silent"])
def test_bytes_of_a_body_that_never_comes_whole_are_given_back(
    path: str, end: str, tmp_path: Path
) -> None:
    async def body(front: Front, it: ScriptedLine) -> None:
        held: list[int] = []
        sent: list[Any] = []
        parts = [{"type": "http.request", "body": b"x", "more_body": True}]
        if end == "silent":
            parts = []

        async def receive() -> Any:
            held.append(front.open_bytes.beyond_bytes)
            if parts:
                return parts.pop()
            if end == "gone" or sent:
                return {"type": "http.disconnect"}
            return await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "path": path,
            "method": "POST",
            "query_string": b"",
            "headers": [(b"content-length", str(LARGE).encode())],
            "client": ("127.0.0.1", 1),
        }
        await asyncio.wait_for(front.app(scope, receive, send), LIMIT_S)
        assert max(held) == LARGE - PART
        assert front.open_bytes.beyond_bytes == 0
        assert end == "gone" or sent[0]["status"] == 408

    asyncio.run(front_of(tmp_path, body, seconds_max=0.05))


def test_body_counts_until_its_answer(tmp_path: Path) -> None:
    async def body(front: Front, it: ScriptedLine) -> None:
        hold = it.workers.script.hold = asyncio.Event()
        transport = httpx.ASGITransport(front.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            first = asyncio.ensure_future(client.post("/v1/detect", content=b"x" * LARGE))
            while not front.open_bytes.beyond_bytes:
                await asyncio.sleep(0)
            refused = await client.post("/v1/detect", content=b"x" * LARGE)
            assert refused.status_code == 429
            hold.set()
            assert (await first).status_code == 200
        assert front.open_bytes.beyond_bytes == 0

    asyncio.run(front_of(tmp_path, body))


def test_message_of_grpc_without_room_is_resource_exhausted(tmp_path: Path) -> None:
    found = message_class("ModelInferRequest")(model_name="plate")
    item = found.inputs.add(name="x", datatype="FP32", shape=[LARGE // 4])
    item.contents.fp32_contents.extend([1.5] * (LARGE // 4))
    data = bytes(found.SerializeToString())

    async def main() -> None:
        async with scripted_line(tmp_path) as it:
            await it.orders.start(it.source("1.0.0"))
            server = GrpcServer("127.0.0.1", 0, body_bytes_max=1 << 16, calls_max=100)
            front = Front(it)
            await server.serve(plane_of(it), door_of(), front.open_bytes)
            async with grpc.aio.insecure_channel(server.address) as channel:
                ask = channel.unary_unary(f"/{SERVICE}/ModelInfer", bytes, bytes)
                stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", bytes, bytes)
                with front.full():
                    with pytest.raises(grpc.aio.AioRpcError) as caught:
                        await ask(data, timeout=LIMIT_S)
                    said = [answer async for answer in stream(iter([data]), timeout=LIMIT_S)]
                assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                trailing: Any = caught.value.trailing_metadata()
                assert (trailing["retry-after"], trailing["reason"]) == ("1", "too_many_bytes")
                assert len(said) == 1
                assert b"[429]" in said[0]
                assert await ask(data, timeout=LIMIT_S)
                said = [answer async for answer in stream(iter([data]), timeout=LIMIT_S)]
                assert b"[429]" not in said[0]
            assert front.open_bytes.beyond_bytes == 0
            await server.stop()

    asyncio.run(main())
