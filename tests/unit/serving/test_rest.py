import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from sightloop._support.clock import SystemClock
from sightloop.errors import (
    DeadlineExceededError,
    FrameKillsWorkerError,
    ImageError,
    LineNotFoundError,
    OverloadedError,
    ReleaseNotFoundError,
    ReleaseNotReadyError,
    ServingError,
    SightloopError,
    UpdateInProgressError,
)
from sightloop.serving.adminplane import AdminPlane
from sightloop.serving.dataplane import DataPlane
from sightloop.serving.request_rest import BodyLimits, read_body, status_of
from sightloop.serving.rest import build_rest
from sightloop.testing.scripted_door import UnwrittenAudit, door_of
from sightloop.testing.scripted_line import ScriptedLine, scripted_line
from sightloop.testing.scripted_worker import Script

BODY_MAX = 2048
Body = Callable[[httpx.AsyncClient, ScriptedLine], Awaitable[None]]


def run(folder: Path, body: Body) -> None:
    async def main() -> None:
        async with scripted_line(folder) as it:
            await it.orders.start(it.source("1.0.0"))
            data = DataPlane({"plate": it.line}, metrics=it.metrics, clock=SystemClock())
            lines, orders = {"plate": it.line}, {"plate": it.orders}
            app = build_rest(
                data,
                AdminPlane(lines, orders, log=UnwrittenAudit()),
                keeper=door_of(it.metrics),
                metrics=it.metrics,
                limits=BodyLimits(BODY_MAX),
                version="1.2.3",
            )
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://[::1]") as client:
                await body(client, it)

    asyncio.run(main())


def test_answer_of_the_worker_is_passed_on_unchanged(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        answer = await client.post("/v1/detect", content=b"frame")
        assert answer.status_code == 200
        assert answer.json()["release"]["semver"] == "1.0.0"
        assert answer.json()["image"] == "frame"

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [(b"", 400, "image_empty"), (b"x" * (BODY_MAX + 1), 413, "body_too_large")],
)
def test_unusable_body_is_refused_with_its_reason(
    tmp_path: Path, content: bytes, status: int, reason: str
) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        answer = await client.post("/v1/detect", content=content)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (status, reason)
        assert (await client.post("/v1/detect", content=b"next")).status_code == 200

    run(tmp_path, body)


def test_body_without_declared_length_is_cut_off_at_the_limit() -> None:
    class Request:
        def __init__(self) -> None:
            self.headers: dict[str, str] = {}
            self.sent = 0

        async def stream(self):  # type: ignore[no-untyped-def]  # an async generator of bytes
            while True:
                self.sent += 512
                yield b"x" * 512

    request = Request()
    with pytest.raises(ImageError, match="at most 2048 bytes"):
        asyncio.run(read_body(request, BodyLimits(BODY_MAX)))  # type: ignore[arg-type]  # stands for a Request
    assert request.sent <= BODY_MAX + 512


def test_unknown_line_is_404_and_names_the_known(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        for answer in (
            await client.post("/v1/detect?line=other", content=b"frame"),
            await client.get("/v1/lines/other"),
        ):
            assert answer.status_code == 404
            assert "plate" in answer.json()["error"]["message"]

    run(tmp_path, body)


def test_update_and_rollback_answer_with_verdicts_and_release(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        order = {"bundle": str(it.source("1.1.0"))}
        updated = await client.post("/v1/lines/plate/updates", json=order)
        assert updated.status_code == 200
        assert updated.json()["state"] == "ACTIVE"
        assert updated.json()["verdicts"][0]["outcome"] == "PASS"
        status = (await client.get("/v1/lines/plate")).json()
        assert status["champion"]["release"]["semver"] == "1.1.0"
        assert status["previous"]["release"]["semver"] == "1.0.0"
        back = await client.post("/v1/lines/plate/rollback")
        assert back.json()["release"]["semver"] == "1.0.0"
        events = (await client.get("/v1/lines/plate/history")).json()["events"]
        assert [event["action"] for event in events] == ["start", "update", "rollback"]

    run(tmp_path, body)


def test_refusal_is_409_with_the_verdict(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        it.workers.script = Script(refuse_with="too_slow")
        order = {"bundle": str(it.source("1.1.0"))}
        answer = await client.post("/v1/lines/plate/updates", json=order)
        assert answer.status_code == 409
        assert answer.json()["refused"]["reason"] == "too_slow"
        assert answer.json()["error"]["reason"] == "too_slow"

    run(tmp_path, body)


@pytest.mark.parametrize("order", [{}, {"bundle": "/nowhere/at/all"}])
def test_update_of_nothing_is_404(tmp_path: Path, order: dict[str, str]) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        answer = await client.post("/v1/lines/plate/updates", json=order)
        assert answer.status_code == 404
        assert len(it.workers.orders) == 1

    run(tmp_path, body)


def test_unknown_key_in_an_order_is_refused(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        answer = await client.post("/v1/lines/plate/updates", json={"bundel": "x"})
        assert answer.status_code == 422

    run(tmp_path, body)


def test_health_ready_and_metrics_answer(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).status_code == 200
        await client.post("/v1/detect", content=b"frame")
        text = (await client.get("/metrics")).text
        assert 'sightloop_requests_total{line="plate",outcome="ok"} 1.0' in text

    run(tmp_path, body)


def test_not_ready_while_nobody_can_answer(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        it.workers.script = Script(die_in="LOADING")
        champion = it.line.slot.table.champion
        assert champion is not None
        (worker,) = champion.workers
        worker.alive = False
        answer = await client.get("/readyz")
        worker.alive = True
        assert answer.status_code == 503

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ImageError("x"), 400),
        (ImageError("x", "image_too_large"), 413),
        (LineNotFoundError("x"), 404),
        (ReleaseNotFoundError("x"), 404),
        (UpdateInProgressError("x"), 409),
        (OverloadedError("x"), 429),
        (FrameKillsWorkerError("x"), 502),
        (ReleaseNotReadyError("x"), 503),
        (DeadlineExceededError("x"), 504),
        (ServingError("x"), 500),
        (SightloopError("x"), 500),
    ],
)
def test_every_error_has_its_status(error: SightloopError, status: int) -> None:
    assert status_of(error) == status


def test_page_of_the_calls_is_whole_without_any_other_server(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        answer = await client.get("/docs")
        assert answer.status_code == 200
        assert not re.search(r"https?:|//[a-z]|\ssrc=|<link", answer.text)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "http" not in policy
        assert "/docs" not in (await client.get("/openapi.json")).json()["paths"]

    run(tmp_path, body)


def test_call_that_there_is_not_names_the_page_of_calls(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        answer = await client.get("/")
        assert answer.status_code == 404
        assert "/docs" in answer.json()["error"]["message"]

    run(tmp_path, body)
