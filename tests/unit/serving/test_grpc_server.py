from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from sightloop.errors import PortInUseError
from sightloop.protocol.grpc_messages import SERVICE, message_class
from sightloop.serving.grpc_server import GrpcServer, code_of
from sightloop.serving.open_bytes import OpenBytes
from sightloop.testing.scripted_door import door_of
from sightloop.testing.scripted_line import LIMIT_S, ScriptedLine, scripted_line, until
from sightloop.testing.scripted_plane import plane_of
from sightloop.testing.scripted_worker import POISON, Script

Body = Callable[[Any, ScriptedLine], Awaitable[None]]


def run(folder: Path, body: Body) -> None:
    async def main() -> None:
        async with scripted_line(folder) as it:
            await it.orders.start(it.source("1.0.0"))
            server = GrpcServer("127.0.0.1", 0, body_bytes_max=1 << 16, calls_max=100)
            await server.serve(plane_of(it), door_of(), OpenBytes.unbounded())
            async with grpc.aio.insecure_channel(server.address) as channel:
                await body(channel, it)
            await server.stop()

    asyncio.run(main())


def call(channel: Any, name: str, data: bytes) -> Any:
    return channel.unary_unary(f"/{SERVICE}/{name}", bytes, bytes)(data, timeout=LIMIT_S)


def request(name: str = "x", **others: Any) -> bytes:
    found = message_class("ModelInferRequest")(model_name="plate", **others)
    item = found.inputs.add(name=name, datatype="FP32", shape=[1])
    item.contents.fp32_contents.append(1.5)
    return bytes(found.SerializeToString())


def test_full_queue_is_resource_exhausted_and_says_when_to_come_again(tmp_path: Path) -> None:
    async def body(channel: Any, it: ScriptedLine) -> None:
        hold = it.workers.script.hold = asyncio.Event()
        asked = [asyncio.ensure_future(call(channel, "ModelInfer", request())) for _ in range(200)]
        refused = []
        for answer in asyncio.as_completed(asked):
            try:
                await answer
            except grpc.aio.AioRpcError as error:
                refused.append(error)
                hold.set()
        assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        trailing: Any = refused[0].trailing_metadata()
        assert (trailing["retry-after"], trailing["reason"]) == ("1", "overloaded")

    run(tmp_path, body)


def test_client_that_waits_no_longer_takes_no_workers_place(tmp_path: Path) -> None:
    async def body(channel: Any, it: ScriptedLine) -> None:
        hold = it.workers.script.hold = asyncio.Event()
        ask = channel.unary_unary(f"/{SERVICE}/ModelInfer", bytes, bytes)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(request(), timeout=0.1)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        hold.set()
        await ask(request(), timeout=LIMIT_S)

    run(tmp_path, body)


def test_request_that_kills_workers_is_internal_and_the_next_is_answered(tmp_path: Path) -> None:
    async def body(channel: Any, it: ScriptedLine) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "ModelInfer", request(POISON.decode()))
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert await call(channel, "ModelInfer", request())

    run(tmp_path, body)


def test_fault_of_the_server_is_internal_and_says_nothing_of_its_inside(tmp_path: Path) -> None:
    async def body(channel: Any, it: ScriptedLine) -> None:
        it.line.slot = None  # type: ignore[assignment]  # a fault nobody has thought of
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "ModelReady", b"\n\5plate")
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "NoneType" not in (caught.value.details() or "")

    async def main() -> None:
        async with scripted_line(tmp_path) as it:
            await it.orders.start(it.source("1.0.0"))
            slot = it.line.slot
            server = GrpcServer("127.0.0.1", 0, body_bytes_max=1 << 16, calls_max=100)
            await server.serve(plane_of(it), door_of(), OpenBytes.unbounded())
            async with grpc.aio.insecure_channel(server.address) as channel:
                await body(channel, it)
            it.line.slot = slot
            await server.stop()

    asyncio.run(main())


def test_refused_load_is_a_failed_precondition_with_the_gates_reason(tmp_path: Path) -> None:
    async def body(channel: Any, it: ScriptedLine) -> None:
        it.workers.script = Script(refuse_with="too_slow")
        message = message_class("RepositoryModelLoadRequest")(model_name="plate")
        config = json.dumps({"bundle": str(it.source("1.1.0"))})
        message.parameters["config"].string_param = config
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "RepositoryModelLoad", message.SerializeToString())
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        trailing: Any = caught.value.trailing_metadata()
        assert trailing["reason"] == "too_slow"

    run(tmp_path, body)


def test_stream_goes_on_after_a_bad_request_and_after_bytes_that_are_none(tmp_path: Path) -> None:
    async def body(channel: Any, it: ScriptedLine) -> None:
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", bytes, bytes)

        async def requests() -> Any:
            for data in (
                b"\xff\xff",
                request(id="1"),
                request(id="2", model_version="9"),
                request(),
            ):
                yield data

        answers = [
            message_class("ModelStreamInferResponse").FromString(data)
            async for data in stream(requests(), timeout=LIMIT_S)
        ]
        errors = [bool(answer.error_message) for answer in answers]
        assert errors == [True, False, True, False]
        assert answers[1].infer_response.id == "1"
        assert answers[2].infer_response.id == "2"
        assert answers[2].error_message.startswith("[404]")

    run(tmp_path, body)


def test_request_that_is_open_when_the_server_stops_is_answered(tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted_line(tmp_path) as it:
            await it.orders.start(it.source("1.0.0"))
            hold = it.workers.script.hold = asyncio.Event()
            champion = it.line.slot.table.champion
            assert champion is not None
            server = GrpcServer("127.0.0.1", 0, body_bytes_max=1 << 16, calls_max=100)
            await server.serve(plane_of(it), door_of(), OpenBytes.unbounded())
            async with grpc.aio.insecure_channel(server.address) as channel:
                asked = asyncio.ensure_future(call(channel, "ModelInfer", request(id="7")))
                await until(lambda: champion.leases > 0)
                stopped = asyncio.ensure_future(server.stop())
                hold.set()
                assert message_class("ModelInferResponse").FromString(await asked).id == "7"
                await stopped

    asyncio.run(main())


def test_port_in_use_is_said_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        first = GrpcServer("127.0.0.1", 0, body_bytes_max=1 << 16, calls_max=100)
        port = int(first.address.rpartition(":")[2])
        with pytest.raises(PortInUseError, match="grpc_port"):
            GrpcServer("127.0.0.1", port, body_bytes_max=1 << 16, calls_max=100)
        await first.stop()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INVALID_ARGUMENT"),
        (404, "NOT_FOUND"),
        (413, "INVALID_ARGUMENT"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (501, "UNIMPLEMENTED"),
        (502, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_every_status_has_its_code(status: int, code: str) -> None:
    assert code_of(status).name == code
