import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sightloop.errors import (
    DeadlineExceededError,
    FrameKillsWorkerError,
    OverloadedError,
    ReleaseNotFoundError,
)
from sightloop.serving.asking import Ask
from sightloop.serving.workers import LEASES
from sightloop.testing.scripted_line import CONFIG, ScriptedLine, release_of, scripted_line, until
from sightloop.testing.scripted_worker import POISON, Script


def run(
    folder: Path,
    body: Callable[[ScriptedLine], Awaitable[None]],
    *,
    workers: int = 1,
    timeout_s: float = CONFIG.request_timeout_s,
) -> None:
    async def main() -> None:
        config = CONFIG.model_copy(update={"workers": workers, "request_timeout_s": timeout_s})
        async with scripted_line(folder, config=config) as it:
            await it.orders.start(it.source("1.0.0"))
            await body(it)

    asyncio.run(main())


async def answer(it: ScriptedLine, ask: Ask) -> str:
    reply = await it.line.ask(ask)
    return str(json.loads(reply.body)["release"]["semver"])


async def begin(it: ScriptedLine, ask: Ask) -> asyncio.Task[str]:
    task = asyncio.create_task(answer(it, ask))
    await asyncio.sleep(0)
    return task


async def update_held(it: ScriptedLine, semver: str, hold: asyncio.Event) -> None:
    """Switch to a release whose workers answer only when `hold` is set."""
    it.workers.script = Script(hold=hold)
    await it.orders.update(it.source(semver))
    it.workers.script = Script()


def test_requests_spread_over_the_workers_of_the_release(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await update_held(it, "1.1.0", asyncio.Event())
        tasks = [await begin(it, Ask(b"frame")) for _ in range(4)]
        champion = it.line.slot.table.champion
        assert champion is not None
        assert [worker.leases for worker in champion.workers] == [2, 2]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    run(tmp_path, body, workers=2)


def test_worker_gets_no_more_than_it_answers_and_one_in_its_socket(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        hold = asyncio.Event()
        await update_held(it, "1.1.0", hold)
        tasks = [await begin(it, Ask(b"frame")) for _ in range(5)]
        champion = it.line.slot.table.champion
        assert champion is not None
        assert champion.leases == LEASES
        assert it.line.dispatcher.waiting == 5 - LEASES
        hold.set()
        assert await asyncio.gather(*tasks) == ["1.1.0"] * 5
        assert it.line.dispatcher.waiting == 0

    run(tmp_path, body)


def test_what_waits_is_answered_by_the_release_that_was_switched_to(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await update_held(it, "1.1.0", hold := asyncio.Event())
        tasks = [await begin(it, Ask(b"frame")) for _ in range(4)]
        await it.orders.rollback()
        assert await asyncio.gather(*tasks[LEASES:]) == ["1.0.0"] * 2
        hold.set()
        assert await asyncio.gather(*tasks[:LEASES]) == ["1.1.0"] * 2

    run(tmp_path, body)


def test_request_of_a_dead_worker_is_asked_again_of_the_same_release(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await update_held(it, "1.1.0", hold := asyncio.Event())
        task = await begin(it, Ask(b"frame"))
        champion = it.line.slot.table.champion
        assert champion is not None
        busy = next(worker for worker in champion.workers if worker.leases)
        it.workers.die(busy.pid)
        await until(lambda: not busy.alive)
        hold.set()
        assert await task == "1.1.0"

    run(tmp_path, body, workers=2)


def test_dead_worker_of_several_is_loaded_again_and_the_line_is_not_degraded(
    tmp_path: Path,
) -> None:
    async def body(it: ScriptedLine) -> None:
        await it.orders.update(it.source("1.1.0"))
        champion = it.line.slot.table.champion
        assert champion is not None
        it.workers.die(champion.workers[0].pid)
        await until(lambda: it.line.slot.table.champion is not champion)
        renewed = it.line.slot.table.champion
        assert renewed is not None
        assert len(renewed.living) == 2
        assert renewed.workers[1] is champion.workers[1]
        assert 'sightloop_line_degraded{line="plate"} 0.0' in it.metrics.as_text().decode()

    run(tmp_path, body, workers=2)


def test_update_switches_only_with_all_workers_of_the_release(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        before = it.line.slot.table
        it.workers.script_again = Script(die_in="LOADING")
        outcome = await it.orders.update(it.source("1.1.0"))
        assert outcome.refusal is not None
        assert outcome.refusal.reason == "workers_incomplete"
        assert it.line.slot.table is before
        await until(lambda: "1.1.0" in it.workers.stopped)

    run(tmp_path, body, workers=2)


def test_deadline_in_the_queue_is_a_refusal(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await update_held(it, "1.1.0", hold := asyncio.Event())
        tasks = [await begin(it, Ask(b"frame")) for _ in range(LEASES)]
        with pytest.raises(OverloadedError, match="free worker within"):
            await answer(it, Ask(b"frame", timeout_s=0.02))
        hold.set()
        assert await asyncio.gather(*tasks) == ["1.1.0"] * LEASES

    run(tmp_path, body)


def test_request_for_a_release_is_answered_by_it_alone(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await it.orders.update(it.source("1.1.0"))
        one = release_of("1.0.0").digest
        assert await answer(it, Ask(b"frame", digest=one)) == "1.0.0"
        await it.orders.update(it.source("1.2.0"))
        with pytest.raises(ReleaseNotFoundError, match=r"loaded releases \(1\.2\.0, 1\.1\.0\)"):
            await answer(it, Ask(b"frame", digest=one))

    run(tmp_path, body)


def test_stream_moves_to_the_new_release_only_after_its_open_frames(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await update_held(it, "1.1.0", hold := asyncio.Event())
        first = await begin(it, Ask(b"frame", stream="north"))
        await it.orders.update(it.source("1.2.0"))
        second = await begin(it, Ask(b"frame", stream="north"))
        assert await answer(it, Ask(b"frame", stream="south")) == "1.2.0"
        assert await answer(it, Ask(b"frame")) == "1.2.0"
        assert not second.done()
        hold.set()
        assert (await first, await second) == ("1.1.0", "1.2.0")

    run(tmp_path, body)


def test_stream_waits_for_its_dead_release_while_others_are_answered_by_the_previous(
    tmp_path: Path,
) -> None:
    async def body(it: ScriptedLine) -> None:
        await it.orders.update(it.source("1.1.0"))
        assert await answer(it, Ask(b"frame", stream="north")) == "1.1.0"
        champion = it.line.slot.table.champion
        assert champion is not None
        loads = asyncio.Event()
        it.workers.script = Script(hang_in="LOADING", resume=loads)
        it.workers.die(champion.workers[0].pid)
        await until(lambda: not champion.alive)
        pinned = await begin(it, Ask(b"frame", stream="north"))
        assert await answer(it, Ask(b"frame")) == "1.0.0"
        await until(lambda: len(it.workers.orders) == 3)
        assert not pinned.done()
        loads.set()
        assert await pinned == "1.1.0"

    run(tmp_path, body)


def test_stream_of_a_release_that_does_not_come_back_moves_once_and_stays(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        await it.orders.update(it.source("1.1.0"))
        assert await answer(it, Ask(b"frame", stream="north")) == "1.1.0"
        champion = it.line.slot.table.champion
        assert champion is not None
        it.workers.script = Script(refuse_with="digest_mismatch")
        it.workers.die(champion.workers[0].pid)
        assert await answer(it, Ask(b"frame", stream="north")) == "1.0.0"
        it.workers.script = Script()
        await until(lambda: it.line.slot.table.champion is not champion)
        assert await answer(it, Ask(b"frame")) == "1.1.0"
        assert await answer(it, Ask(b"frame", stream="north")) == "1.0.0"
        await it.orders.update(it.source("1.2.0"))
        assert await answer(it, Ask(b"frame", stream="north")) == "1.2.0"

    run(tmp_path, body)


@pytest.mark.parametrize("asker", ["waits", "allows less", "is gone"])
def test_worker_that_hangs_is_killed_when_its_own_time_is_up(tmp_path: Path, asker: str) -> None:
    limit_s = 0.3

    async def body(it: ScriptedLine) -> None:
        await update_held(it, "1.1.0", asyncio.Event())
        champion = it.line.slot.table.champion
        assert champion is not None
        hangs = champion.workers[0]
        began_s = asyncio.get_running_loop().time()
        task = await begin(it, Ask(b"frame", timeout_s=0.02 if asker == "allows less" else None))
        if asker == "is gone":
            task.cancel()
        with pytest.raises((DeadlineExceededError, asyncio.CancelledError)):
            await task
        await until(lambda: hangs.pid in it.workers.killed)
        assert asyncio.get_running_loop().time() - began_s >= limit_s - 0.01

    run(tmp_path, body, timeout_s=limit_s)


def test_worker_that_answers_late_but_in_its_own_time_is_left_alone(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        hold = asyncio.Event()
        await update_held(it, "1.1.0", hold)
        with pytest.raises(DeadlineExceededError):
            await answer(it, Ask(b"frame", timeout_s=0.02))
        hold.set()
        assert await answer(it, Ask(b"frame")) == "1.1.0"
        await asyncio.sleep(0.4)  # beyond the worker's time for the first
        assert it.workers.killed == []

    run(tmp_path, body, timeout_s=0.3)


def test_frame_that_kills_is_refused_at_once_where_it_cannot_be_kept(tmp_path: Path) -> None:
    async def body(it: ScriptedLine) -> None:
        def full(image: bytes) -> None:
            raise OSError(28, "No space left on device")

        it.line.dispatcher._keep_frame = full
        with pytest.raises(FrameKillsWorkerError, match="not kept"):
            await answer(it, Ask(POISON))
        await until(lambda: it.line.slot.table.answering is not None)
        assert it.line.dispatcher._shares._running == 0
        assert await answer(it, Ask(b"frame")) == "1.0.0"

    run(tmp_path, body)
