from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sightloop.distribution.store import StoreEntry
from sightloop.errors import (
    DeadlineExceededError,
    LineNotFoundError,
    OverloadedError,
    ProtocolError,
    ReleaseNotFoundError,
    UnsupportedError,
)
from sightloop.protocol.load_order import LoadOrder
from sightloop.protocol.requests import QUICK_BYTES_MAX
from sightloop.serving.access import Caller
from sightloop.serving.open_inference import OpenInference, WorkerRefusal
from sightloop.testing.scripted_door import OPERATOR
from sightloop.testing.scripted_line import ScriptedLine, scripted_line
from sightloop.testing.scripted_plane import KnownFew, plane_of
from sightloop.testing.scripted_worker import Script, release_of

Body = Callable[[OpenInference, ScriptedLine], Awaitable[None]]
INPUT = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1.5]}


def run(folder: Path, body: Body, *, known: KnownFew | None = None) -> None:
    async def main() -> None:
        async with scripted_line(folder) as it:
            await it.orders.start(it.source("1.0.0"))
            await body(plane_of(it, known), it)

    asyncio.run(main())


def head(**others: Any) -> bytes:
    return json.dumps({"inputs": [INPUT], **others}).encode()


async def infer(plane: OpenInference, version: str = "", **others: Any) -> Any:
    found = await plane.infer("plate", version, head(**others), b"")
    assert not isinstance(found, WorkerRefusal), found
    return json.loads(bytes(found.head))


async def update(it: ScriptedLine, semver: str) -> None:
    assert (await it.orders.update(it.source(semver))).switched


def test_request_without_a_version_is_answered_by_the_champion(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        assert (await infer(plane, id="7"))["model_version"] == "1.0.0"
        await update(it, "1.1.0")
        value = await infer(plane, id="7")
        assert (value["model_version"], value["id"]) == ("1.1.0", "7")
        assert value["parameters"]["release_digest"] == release_of("1.1.0").digest

    run(tmp_path, body)


def test_request_that_names_a_version_gets_that_release_or_none(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        await update(it, "1.1.0")
        for version in ("1.0.0", "1.1.0"):
            for name in (version, release_of(version).digest, release_of(version).digest[:9]):
                assert (await infer(plane, name))["model_version"] == version
        await update(it, "1.2.0")  # 1.0.0 is no longer loaded
        for name in ("1.0.0", "1", "2.0.0", "100", "abcdef", "1.1", "x" * 500):
            with pytest.raises(ReleaseNotFoundError):
                await infer(plane, name)

    run(tmp_path, body)


def test_named_version_does_not_move_the_stream_that_it_belongs_to(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        await update(it, "1.1.0")
        pinned: dict[str, Any] = {"parameters": {"sequence_id": 7}}
        assert (await infer(plane, **pinned))["model_version"] == "1.1.0"
        assert (await infer(plane, "1.0.0", **pinned))["model_version"] == "1.0.0"
        assert (await infer(plane, **pinned))["model_version"] == "1.1.0"

    run(tmp_path, body)


def test_unknown_model_is_not_found_whatever_is_asked(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        for ask in (plane.model_metadata, plane.model_config):
            with pytest.raises(LineNotFoundError):
                await ask("bolt", "")
        with pytest.raises(LineNotFoundError):
            await plane.infer("bolt", "", head(), b"")
        with pytest.raises(LineNotFoundError):
            await plane.load("bolt", LoadOrder(), caller=OPERATOR)
        for call in (plane.model_ready, plane.statistics):
            with pytest.raises(LineNotFoundError):
                call("bolt", "")
        with pytest.raises(LineNotFoundError):
            plane.unload("bolt")

    run(tmp_path, body)


def test_timeout_of_a_request_is_its_deadline(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        it.workers.script.hold = asyncio.Event()
        for others, left_s in (({"parameters": {"timeout": 20_000}}, None), ({}, 0.02)):
            with pytest.raises((DeadlineExceededError, OverloadedError)):
                await plane.infer("plate", "", head(**others), b"", time_left_s=left_s)
        it.workers.script.hold.set()

    run(tmp_path, body)


def test_malformed_request_reaches_no_worker(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        for data in (b"", b"no json", b"[]", b'{"inputs": []}', head(parameters={"timeout": -1})):
            with pytest.raises(ProtocolError):
                await plane.infer("plate", "", data, b"")
        assert plane.statistics("plate", "")["model_stats"][0]["inference_count"] == 0

    run(tmp_path, body)


def test_large_json_is_read_by_the_worker_alone(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        padded = head() + b" " * QUICK_BYTES_MAX
        assert not isinstance(await plane.infer("plate", "", padded, b""), WorkerRefusal)
        broken = await plane.infer("plate", "", b"[" + padded, b"")
        assert isinstance(broken, WorkerRefusal)
        assert (broken.status, broken.reason) == (400, "request_malformed")

    run(tmp_path, body)


def test_statistics_count_each_release_apart(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        for _ in range(3):
            await infer(plane)
        await update(it, "1.1.0")
        await infer(plane)
        await infer(plane, "1.0.0")
        await plane.infer("plate", "", b"[" + b" " * QUICK_BYTES_MAX, b"")
        found = plane.statistics("", "")["model_stats"]
        assert [(s["version"], s["inference_count"]) for s in found] == [("1.1.0", 1), ("1.0.0", 4)]
        assert [s["inference_stats"]["fail"]["count"] for s in found] == [1, 0]
        only = plane.statistics("plate", "1.0.0")["model_stats"]
        assert [s["version"] for s in only] == ["1.0.0"]

    run(tmp_path, body)


def test_readiness_is_that_of_the_line_or_of_the_named_release(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        assert plane.model_ready("plate", "")
        assert plane.model_ready("plate", "1.0.0")
        with pytest.raises(ReleaseNotFoundError):
            plane.model_ready("plate", "1.1.0")
        champion = it.line.slot.table.champion
        assert champion is not None
        champion.workers[0].alive = False
        assert not plane.model_ready("plate", "")
        assert not plane.model_ready("plate", "1.0.0")
        champion.workers[0].alive = True

    run(tmp_path, body)


def stored(*semvers: str) -> KnownFew:
    entries = [StoreEntry("plate", semver, release_of(semver).digest) for semver in semvers]
    return KnownFew(stored=entries)


def test_index_says_what_answers_and_what_only_lies_there(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        await update(it, "1.1.0")
        found = await plane.repository_index(ready=False)
        assert [(entry["version"], entry["state"]) for entry in found] == [
            ("1.1.0", "READY"), ("1.0.0", "READY"), ("1.2.0", "UNAVAILABLE"),
        ]  # fmt: skip
        assert len(await plane.repository_index(ready=True)) == 2

    run(tmp_path, body, known=stored("1.0.0", "1.1.0", "1.2.0"))


def test_load_is_the_gated_update_and_returns_when_the_release_answers(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        outcome = await plane.load(
            "plate", LoadOrder(bundle=str(it.source("1.1.0"))), caller=OPERATOR
        )
        assert outcome is not None
        assert outcome.switched
        assert it.workers.orders[-1].gated
        assert (await infer(plane))["model_version"] == "1.1.0"

    run(tmp_path, body)


def test_refused_load_leaves_the_champion(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        it.workers.script = Script(refuse_with="too_slow")
        outcome = await plane.load(
            "plate", LoadOrder(bundle=str(it.source("1.1.0"))), caller=OPERATOR
        )
        assert outcome is not None
        assert outcome.refusal is not None
        assert outcome.refusal.reason == "too_slow"
        assert (await infer(plane))["model_version"] == "1.0.0"

    run(tmp_path, body)


def test_load_of_what_serves_changes_nothing_and_succeeds(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        orders = len(it.workers.orders)
        for order in (LoadOrder(), LoadOrder(version="1.0.0")):
            assert await plane.load("plate", order, caller=OPERATOR) is None
        assert len(it.workers.orders) == orders
        same = await plane.load("plate", LoadOrder(bundle=str(it.source("1.0.0"))), caller=OPERATOR)
        assert same is None

    run(tmp_path, body, known=stored("0.9.0", "1.0.0"))


def test_load_without_a_name_takes_the_newest_of_the_store(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        ordered: list[str] = []

        async def update(
            name: str, *, bundle: str | None, digest: str | None, caller: Caller
        ) -> Any:
            ordered.append(digest or "")
            return await it.orders.update(it.source("1.10.0"))

        plane._admin.update = update  # type: ignore[method-assign]  # the store is a dictionary
        assert await plane.load("plate", LoadOrder(), caller=OPERATOR) is not None
        assert ordered == [release_of("1.10.0").digest]

    run(tmp_path, body, known=stored("1.9.0", "1.10.0"))


def test_load_of_nothing_known_is_not_found(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        absent = str(it.folder / "nowhere")
        for order in (LoadOrder(), LoadOrder(version="9.9.9"), LoadOrder(bundle=absent)):
            with pytest.raises(ReleaseNotFoundError):
                await plane.load("plate", order, caller=OPERATOR)

    run(tmp_path, body)


def test_unload_is_refused_and_the_line_serves_on(tmp_path: Path) -> None:
    async def body(plane: OpenInference, it: ScriptedLine) -> None:
        with pytest.raises(UnsupportedError):
            plane.unload("plate")
        assert (await infer(plane))["model_version"] == "1.0.0"

    run(tmp_path, body)
