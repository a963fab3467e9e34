"""What `POST /v1/detect` answers past the framework is what the framework would answer."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from sightloop.errors import ProtocolError
from sightloop.serving.adminplane import AdminPlane
from sightloop.serving.dataplane import DataPlane
from sightloop.serving.detect_path import DetectPath, read_query
from sightloop.serving.request_rest import BodyLimits
from sightloop.serving.rest import build_rest
from sightloop.testing.scripted_door import UnwrittenAudit, door_of
from sightloop.testing.scripted_line import scripted_line

LIMIT = 2000
REQUESTS = (
    ("", b"frame"),
    ("?line=plate&stream=north", b"frame"),
    ("?line=other", b"frame"),
    ("", b""),
    ("", b"x" * (LIMIT + 1)),
)


def run(
    folder: Path, body: Callable[[httpx.AsyncClient, httpx.AsyncClient], Awaitable[None]]
) -> None:
    async def main() -> None:
        async with scripted_line(folder) as it:
            await it.orders.start(it.source("1.0.0"))
            lines = {"plate": it.line}
            data = DataPlane(lines, metrics=it.metrics, clock=it.line.parts.clock)
            admin = AdminPlane(lines, {"plate": it.orders}, log=UnwrittenAudit())
            keeper, limits = door_of(it.metrics), BodyLimits(LIMIT)
            app = build_rest(
                data, admin, keeper=keeper, metrics=it.metrics, limits=limits, version="0"
            )
            fast = DetectPath(app, data, keeper, limits)
            async with (
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(fast), base_url="http://here"
                ) as ours,
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app), base_url="http://here"
                ) as theirs,
            ):
                await body(ours, theirs)

    asyncio.run(main())


def test_answers_and_refusals_are_those_of_the_framework(tmp_path: Path) -> None:
    async def body(ours: httpx.AsyncClient, theirs: httpx.AsyncClient) -> None:
        for query, image in REQUESTS:
            mine = await ours.post(f"/v1/detect{query}", content=image)
            its = await theirs.post(f"/v1/detect{query}", content=image)
            assert (mine.status_code, mine.json()) == (its.status_code, its.json()), query
            for name in ("content-type", "retry-after", "connection"):
                assert mine.headers.get(name) == its.headers.get(name), (query, name)

    run(tmp_path, body)


def test_body_in_pieces_is_put_together_and_bounded(tmp_path: Path) -> None:
    async def body(ours: httpx.AsyncClient, theirs: httpx.AsyncClient) -> None:
        async def pieces(count: int):  # type: ignore[no-untyped-def]  # an async generator
            for _ in range(count):
                yield b"x" * 500

        assert (await ours.post("/v1/detect", content=pieces(3))).json()["image"] == "x" * 1500
        assert (await ours.post("/v1/detect", content=pieces(9))).status_code == 413

    run(tmp_path, body)


def test_everything_else_is_the_frameworks(tmp_path: Path) -> None:
    async def body(ours: httpx.AsyncClient, theirs: httpx.AsyncClient) -> None:
        assert (await ours.get("/v1/detect")).status_code == 405
        assert (await ours.get("/healthz")).json() == {"status": "ok"}

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (b"", (None, None, None)),
        (b"line=weld&stream=a%20b&timeout_ms=250", ("weld", "a b", 0.25)),
    ],
)
def test_query_is_read(query: bytes, found: object) -> None:
    assert read_query(query) == found


@pytest.mark.parametrize(
    "query",
    [
        b"timeout_ms=soon",
        b"timeout_ms=-1",
        b"timeout_ms=nan",
        b"stream=" + b"x" * 300,
        b"strem=left",
        b"line=weld&timeout=5",
    ],
)
def test_query_that_cannot_be_is_refused(query: bytes) -> None:
    with pytest.raises(ProtocolError, match="expected"):
        read_query(query)
