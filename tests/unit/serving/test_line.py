import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sightloop.config.serving import ServingConfig
from sightloop.errors import DeadlineExceededError, FrameKillsWorkerError, OverloadedError
from sightloop.serving.asking import Ask
from sightloop.testing.scripted_line import CONFIG, ScriptedLine, scripted_line, until
from sightloop.testing.scripted_worker import POISON, Script


def run(
    folder: Path,
    body: Callable[[ScriptedLine], Awaitable[None]],
    *,
    config: ServingConfig = CONFIG,
) -> None:
    async def main() -> None:
        async with scripted_line(folder, config=config) as it:
            await it.orders.start(it.source("1.0.0"))
            await it.orders.update(it.source("1.1.0"))
            await body(it)

    asyncio.run(main())


async def semver_of_answer(it: ScriptedLine, image: bytes = b"frame") -> str:
    reply = await it.line.ask(Ask(image))
    return str(json.loads(reply.body)["release"]["semver"])


def kill_champion(it: ScriptedLine) -> None:
    champion = it.line.slot.table.champion
    assert champion is not None
    for worker in champion.workers:
        it.workers.die(worker.pid)


def test_previous_answers_under_its_own_label_until_the_champion_is_back(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        dead = it.line.slot.table.champion
        it.workers.script = Script(die_in="LOADING")
        kill_champion(it)
        await until(lambda: dead is not None and not dead.alive)
        assert await semver_of_answer(it) == "1.0.0"
        it.workers.script = Script()
        await until(lambda: it.line.slot.table.champion is not dead)
        assert await semver_of_answer(it) == "1.1.0"
        assert not it.workers.orders[-1].gated

    run(tmp_path, body)


def test_request_in_flight_on_a_dead_worker_is_answered_once_by_another(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        it.workers.script = Script(hold=asyncio.Event())
        await it.orders.update(it.source("1.2.0"))
        it.workers.script = Script()
        in_flight = [asyncio.create_task(semver_of_answer(it)) for _ in range(3)]
        await asyncio.sleep(0)
        kill_champion(it)
        answers = await asyncio.gather(*in_flight)
        assert set(answers) <= {"1.1.0", "1.2.0"}

    run(tmp_path, body)


def test_frame_that_kills_two_workers_is_refused_and_kept_and_others_are_answered(
    tmp_path: Path,
) -> None:
    async def body(it: ScriptedLine) -> None:
        poison = asyncio.create_task(semver_of_answer(it, POISON))
        innocent = [asyncio.create_task(semver_of_answer(it)) for _ in range(4)]
        with pytest.raises(FrameKillsWorkerError):
            await poison
        assert set(await asyncio.gather(*innocent)) <= {"1.0.0", "1.1.0"}
        assert it.kept == [POISON]

    run(tmp_path, body)


def test_frame_that_kills_a_batch_is_found_and_no_other_of_it_is_refused(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        it.workers.script = Script(batch_max=4)
        await it.orders.update(it.source("1.2.0"))
        images = [b"frame", POISON, b"frame", b"frame"]
        asked = [asyncio.create_task(semver_of_answer(it, image)) for image in images]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(answers[1], FrameKillsWorkerError)
        assert {answers[n] for n in (0, 2, 3)} <= {"1.1.0", "1.2.0"}
        assert it.kept == [POISON]
        # Once together, then each alone; the poison twice, to be sure.
        assert sorted(it.workers.batches) == [1, 1, 1, 1, 1, 4]

    run(tmp_path, body)


def test_worker_gets_a_batch_and_as_many_requests_behind_it(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        it.workers.script = Script(batch_max=3)
        await it.orders.update(it.source("1.2.0"))
        champion = it.line.slot.table.champion
        assert champion is not None
        asked = [asyncio.create_task(semver_of_answer(it)) for _ in range(9)]
        await asyncio.sleep(0)
        assert champion.leases <= 6
        assert await asyncio.gather(*asked) == ["1.2.0"] * 9
        assert it.workers.batches == [3, 3, 3]

    run(tmp_path, body, config=CONFIG.model_copy(update={"pending_max": 16}))


def test_worker_that_hangs_is_killed_and_replaced(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        it.workers.script = Script(hold=asyncio.Event())
        await it.orders.update(it.source("1.2.0"))
        it.workers.script = Script()
        hanging = it.line.slot.table.champion
        with pytest.raises(DeadlineExceededError, match="no answer within"):
            await it.line.ask(Ask(b"frame"))
        await until(lambda: it.line.slot.table.champion is not hanging)
        assert await semver_of_answer(it) == "1.2.0"

    run(tmp_path, body, config=CONFIG.model_copy(update={"request_timeout_s": 0.2}))


def test_request_beyond_the_queue_is_refused_at_once(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        release = asyncio.Event()
        it.workers.script = Script(hold=release)
        await it.orders.update(it.source("1.2.0"))
        waiting = [asyncio.create_task(semver_of_answer(it)) for _ in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await it.line.ask(Ask(b"frame"))
        release.set()
        assert await asyncio.gather(*waiting) == ["1.2.0"] * 8

    run(tmp_path, body)


def test_recovery_tries_again_until_the_release_loads(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        dead = it.line.slot.table.champion
        it.workers.script = Script(die_in="LOADING")
        kill_champion(it)
        await until(lambda: len(it.workers.orders) >= 3)
        assert await semver_of_answer(it) == "1.0.0"
        it.workers.script = Script()
        await until(lambda: it.line.slot.table.champion is not dead)
        assert await semver_of_answer(it) == "1.1.0"

    run(tmp_path, body)


def test_recovery_that_hangs_is_killed_and_tried_again(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        dead = it.line.slot.table.champion
        it.workers.script = Script(hang_in="LOADING")
        kill_champion(it)
        await until(lambda: len(it.workers.killed) >= 1)
        it.workers.script = Script()
        await until(lambda: it.line.slot.table.champion is not dead)

    run(tmp_path, body, config=CONFIG.model_copy(update={"candidate_timeout_s": 0.1}))


def test_release_is_loaded_again_although_the_standby_was_killed_a_moment_ago(
    tmp_path: Path,
) -> None:
    async def body(it: ScriptedLine) -> None:
        await until(lambda: it.line.standby.pid is not None)
        killed = it.line.standby.pid
        assert killed is not None
        it.workers.die(killed)
        champion = it.line.slot.table.champion
        assert champion is not None
        worker = await it.line.load_again(champion.release)
        assert (worker.state, worker.pid == killed) == ("READY", False)

    run(tmp_path, body)


def test_standby_that_dies_is_refilled(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await until(lambda: it.line.standby.pid is not None)
        first = it.line.standby.pid
        assert first is not None
        it.workers.die(first)
        await until(lambda: it.line.standby.pid not in (None, first))

    run(tmp_path, body)
