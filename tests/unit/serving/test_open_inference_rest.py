from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightloop.errors import (
    BundleError,
    DeadlineExceededError,
    FrameKillsWorkerError,
    ImageError,
    LineNotFoundError,
    OverloadedError,
    ProtocolError,
    ReleaseNotReadyError,
    ServingError,
    SightloopError,
    UnsupportedError,
    UpdateInProgressError,
)
from sightloop.protocol.http_form import HEADER
from sightloop.serving.open_inference_rest import mount_open_inference, protocol_status
from sightloop.serving.request_rest import BodyLimits
from sightloop.testing.scripted_door import door_of
from sightloop.testing.scripted_line import ScriptedLine, scripted_line
from sightloop.testing.scripted_plane import KnownFew, plane_of
from sightloop.testing.scripted_worker import POISON, Script

BODY_MAX = 1 << 16
INFER = "/v2/models/plate/infer"
Body = Callable[[httpx.AsyncClient, ScriptedLine], Awaitable[None]]


def run(folder: Path, body: Body) -> None:
    async def main() -> None:
        async with scripted_line(folder) as it:
            await it.orders.start(it.source("1.0.0"))
            app = FastAPI()
            plane = plane_of(it, KnownFew())
            limits = BodyLimits(BODY_MAX)
            mount_open_inference(app, plane, keeper=door_of(), limits=limits, version="1.2.3")
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://[::1]") as client:
                await body(client, it)

    asyncio.run(main())


def request(name: str = "x", **others: Any) -> dict[str, Any]:
    item = {"name": name, "datatype": "FP32", "shape": [2], "data": [1.5, 2.5]}
    return {"inputs": [item], **others}


def test_plain_json_in_gives_plain_json_out(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        answer = await client.post(INFER, json=request(id="3"))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert HEADER not in answer.headers
        assert answer.json()["id"] == "3"
        assert answer.json()["outputs"][0]["data"] == [1.5, 2.5]

    run(tmp_path, body)


def test_raw_output_follows_a_head_whose_length_is_said(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        asked = request(parameters={"binary_data_output": True})
        answer = await client.post("/v2/models/plate/versions/1.0.0/infer", json=asked)
        length = int(answer.headers[HEADER])
        assert answer.headers["content-type"] == "application/octet-stream"
        output = json.loads(answer.content[:length])["outputs"][0]
        assert output["parameters"] == {"binary_data_size": 8}
        assert answer.content[length:] == b"\0\0\xc0\x3f\0\0\x20\x40"

    run(tmp_path, body)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_both_ways_the_head_counts_as_it_was(tmp_path: Path, encoding: str) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress

    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        raw = bytes(4 * 1000)
        item = {"name": "x", "datatype": "FP32", "shape": [1000]}
        head = json.dumps(
            {
                "inputs": [item | {"parameters": {"binary_data_size": len(raw)}}],
                "parameters": {"binary_data_output": True},
            }
        ).encode()
        answer = await client.post(
            INFER,
            content=pack(head + raw),
            headers={
                "Content-Encoding": encoding,
                HEADER: str(len(head)),
                "Accept-Encoding": encoding,
            },
        )
        assert answer.headers["content-encoding"] == encoding
        assert answer.content[int(answer.headers[HEADER]) :] == raw

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/bolt", 404),
        ("GET", "/v2/models/plate/versions/7", 404),
        ("GET", "/v2/models/plate/versions/7/ready", 404),
        ("POST", "/v2/models/plate/versions/7/infer", 404),
        ("POST", "/v2/models/bolt/infer", 404),
        ("POST", "/v2/repository/models/bolt/load", 404),
        ("POST", "/v2/repository/models/plate/unload", 501),
        ("GET", "/v2/trace/setting", 501),
        ("POST", "/v2/models/plate/trace/setting", 501),
        ("GET", "/v2/logging", 501),
        ("GET", "/v2/systemsharedmemory/status", 501),
        ("POST", "/v2/cudasharedmemory/region/r/register", 501),
        ("GET", "/v2/nothing/here", 404),
        ("DELETE", INFER, 405),
    ],
)
def test_every_refusal_is_an_error_text_that_the_clients_read(
    tmp_path: Path, method: str, path: str, status: int
) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        content = json.dumps(request()).encode() if path.endswith("infer") else b""
        answer = await client.request(method, path, content=content)
        assert answer.status_code == status
        assert set(answer.json()) == {"error", "reason"}
        assert isinstance(answer.json()["error"], str)

    run(tmp_path, body)


def test_full_queue_is_429_and_says_when_to_come_again(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        it.workers.script.hold = asyncio.Event()
        asked = [asyncio.ensure_future(client.post(INFER, json=request())) for _ in range(200)]
        refused = []
        for answer in asyncio.as_completed(asked):
            found = await answer
            if found.status_code == 429:
                refused.append(found)
                it.workers.script.hold.set()
        assert refused
        assert refused[0].headers["retry-after"] == "1"
        assert refused[0].json()["reason"] == "overloaded"

    run(tmp_path, body)


def test_request_that_kills_workers_is_500_and_the_next_is_answered(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        answer = await client.post(INFER, json=request(POISON.decode()))
        assert answer.status_code == 500
        assert answer.json()["reason"] == "frame_kills_worker"
        assert (await client.post(INFER, json=request())).status_code == 200

    run(tmp_path, body)


def test_refused_load_gives_the_gates_reason(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        it.workers.script = Script(refuse_with="systematic_offset")
        order = {"parameters": {"bundle": str(it.source("1.1.0"))}}
        answer = await client.post("/v2/repository/models/plate/load", json=order)
        assert answer.status_code == 400
        assert answer.json()["reason"] == "systematic_offset"
        it.workers.script = Script()
        answer = await client.post("/v2/repository/any/models/plate/load", json=order)
        assert answer.status_code == 200
        assert (await client.get("/v2/models/plate/versions/1.1.0/ready")).status_code == 200

    run(tmp_path, body)


def test_index_takes_the_empty_body_of_the_stock_client(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        for content in (b"", b"{}", b'{"ready": true}'):
            answer = await client.post("/v2/repository/index", content=content)
            assert [entry["state"] for entry in answer.json()] == ["READY"]

    run(tmp_path, body)


def test_too_large_body_is_413_also_behind_gzip(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        bomb = gzip.compress(bytes(10 << 20))
        for content, headers in (
            (bytes(BODY_MAX + 1), {}),
            (bomb, {"Content-Encoding": "gzip"}),
        ):
            answer = await client.post(INFER, content=content, headers=headers)
            assert answer.status_code == 413
            assert answer.json()["reason"] == "body_too_large"

    run(tmp_path, body)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(
    st.lists(
        st.tuples(
            st.binary(max_size=40) | st.just(json.dumps(request()).encode()),
            st.sampled_from(["", "0", "3", "99", "-1", "x", "\u0664"]),
            st.sampled_from(["", "gzip", "deflate", "br", "identity"]),
            st.sampled_from(["infer", "versions/1.0.0/infer", "load", "index"]),
        ),
        min_size=5,
        max_size=20,
    )
)
def test_no_body_and_no_header_is_the_servers_fault(
    tmp_path_factory: pytest.TempPathFactory, cases: list[tuple[bytes, str, str, str]]
) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        for content, length, encoding, call in cases:
            headers = [(HEADER.encode(), length.encode())] if length else []
            if encoding:
                headers.append((b"Content-Encoding", encoding.encode()))
            path = {
                "load": "/v2/repository/models/plate/load",
                "index": "/v2/repository/index",
            }.get(call, f"/v2/models/plate/{call}")
            answer = await client.post(path, content=content, headers=headers)
            assert answer.status_code in (200, 400, 404, 413, 501), answer.text
            if answer.status_code != 200:
                assert isinstance(answer.json()["error"], str)

    run(tmp_path_factory.mktemp("fuzz"), body)


def test_health_metadata_and_statistics_answer(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, it: ScriptedLine) -> None:
        assert (await client.get("/v2/health/live")).json() == {"live": True}
        assert (await client.get("/v2/health/ready")).json() == {"ready": True}
        assert (await client.get("/v2")).json()["version"] == "1.2.3"
        assert (await client.get("/v2/models/plate/ready")).json() == {
            "name": "plate", "ready": True,
        }  # fmt: skip
        await client.post(INFER, json=request())
        for path in ("/v2/models/stats", "/v2/models/plate/stats"):
            found = (await client.get(path)).json()["model_stats"]
            assert found[0]["inference_stats"]["success"]["count"] == 1
        assert "/v2/models/{model}/infer" in (await client.get("/v2/openapi.json")).json()["paths"]

    run(tmp_path, body)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ProtocolError("x"), 400),
        (ProtocolError("x", "body_too_large"), 413),
        (ImageError("x"), 400),
        (BundleError("x"), 400),
        (LineNotFoundError("x"), 404),
        (UpdateInProgressError("x"), 503),
        (ReleaseNotReadyError("x"), 503),
        (OverloadedError("x"), 429),
        (DeadlineExceededError("x"), 504),
        (UnsupportedError("x"), 501),
        (FrameKillsWorkerError("x"), 500),
        (ServingError("x"), 500),
        (SightloopError("x"), 500),
    ],
)
def test_every_error_has_its_status_of_the_protocol(error: SightloopError, status: int) -> None:
    assert protocol_status(error) == status
