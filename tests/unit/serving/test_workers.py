import asyncio
from collections.abc import Awaitable, Callable

import pytest

from sightloop.errors import WorkerDiedError
from sightloop.serving.asking import Reply
from sightloop.serving.order import Order
from sightloop.serving.wire import Kind
from sightloop.serving.workers import IN_BATCH, ON_FRAME, Worker
from sightloop.testing.scripted_worker import Script, ScriptedWorkers

ORDER = Order(line="plate", source="1.0.0", store="", trust_folder="")


def run(body: Callable[[ScriptedWorkers, Worker, list[Worker]], Awaitable[None]]) -> None:
    async def main() -> None:
        source = ScriptedWorkers()
        dead: list[Worker] = []
        worker = await source.spawn(dead.append)
        async with asyncio.timeout(10):
            await body(source, worker, dead)
        await worker.stop(0.05)
        await source.close()

    asyncio.run(main())


def ask(worker: Worker, kind: Kind, *, alone: bool = False) -> asyncio.Future[Reply]:
    """One request, its end as a future."""
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def ended(end: Reply | WorkerDiedError) -> None:
        if isinstance(end, WorkerDiedError):
            future.set_exception(end)
        else:
            future.set_result(end)

    worker.send(kind, b"frame", ended, alone=alone)
    assert not future.done()
    return future


def test_death_blames_the_oldest_open_request_alone() -> None:
    async def body(source: ScriptedWorkers, worker: Worker, dead: list[Worker]) -> None:
        source.script = Script(hold=asyncio.Event())
        await worker.carry_out(ORDER)
        open_ = [ask(worker, Kind.DETECT) for _ in range(3)]
        await asyncio.sleep(0)
        source.die(worker.pid)
        errors = await asyncio.gather(*open_, return_exceptions=True)
        reasons = [error.reason for error in errors if isinstance(error, WorkerDiedError)]
        assert reasons == [ON_FRAME, "worker_died", "worker_died"]
        assert dead == [worker]

    run(body)


def died_on(
    *, batch_max: int, requests: list[tuple[Kind, bool]]
) -> Callable[[ScriptedWorkers, Worker, list[Worker]], Awaitable[None]]:
    """Reasons given to `requests` (kind, alone) when their worker dies are put into `REASONS`."""

    async def body(source: ScriptedWorkers, worker: Worker, dead: list[Worker]) -> None:
        source.script = Script(hold=asyncio.Event(), batch_max=batch_max)
        await worker.carry_out(ORDER)
        open_ = [ask(worker, kind, alone=alone) for kind, alone in requests]
        await asyncio.sleep(0)
        source.die(worker.pid)
        errors = await asyncio.gather(*open_, return_exceptions=True)
        REASONS[:] = [error.reason for error in errors if isinstance(error, WorkerDiedError)]

    return body


REASONS: list[str] = []
FRAME, ALONE, TENSORS = (Kind.DETECT, False), (Kind.DETECT, True), (Kind.INFER, False)


@pytest.mark.parametrize(
    ("requests", "reasons"),
    [
        ([FRAME] * 4, [IN_BATCH] * 3 + ["worker_died"]),
        ([FRAME], [ON_FRAME]),
        ([ALONE, FRAME, FRAME], [ON_FRAME, "worker_died", "worker_died"]),
        ([FRAME, ALONE, FRAME], [ON_FRAME, "worker_died", "worker_died"]),
        ([FRAME, FRAME, ALONE], [IN_BATCH, IN_BATCH, "worker_died"]),
        ([FRAME, FRAME, TENSORS], [IN_BATCH, IN_BATCH, "worker_died"]),
        ([TENSORS, FRAME], [ON_FRAME, "worker_died"]),
    ],
)
def test_death_on_a_batch_blames_all_that_can_have_been_in_it_and_no_other(
    requests: list[tuple[Kind, bool]], reasons: list[str]
) -> None:
    run(died_on(batch_max=3, requests=requests))
    assert reasons == REASONS


def test_order_of_a_worker_that_dies_ends_with_an_error() -> None:
    async def body(source: ScriptedWorkers, worker: Worker, dead: list[Worker]) -> None:
        source.script = Script(die_in="VERIFYING")
        with pytest.raises(WorkerDiedError):
            await worker.carry_out(ORDER)
        assert worker.state == "FAILED"

    run(body)


def test_dead_worker_takes_no_request() -> None:
    async def body(source: ScriptedWorkers, worker: Worker, dead: list[Worker]) -> None:
        await worker.carry_out(ORDER)
        source.die(worker.pid)
        while not dead:
            await asyncio.sleep(0.001)
        with pytest.raises(WorkerDiedError):
            await ask(worker, Kind.DETECT)

    run(body)


def test_worker_that_speaks_nonsense_is_killed() -> None:
    async def body(source: ScriptedWorkers, worker: Worker, dead: list[Worker]) -> None:
        source.script = Script(say_state=["UNLOADED"])
        with pytest.raises(WorkerDiedError):
            await worker.carry_out(ORDER)
        assert source.killed == [worker.pid]

    run(body)


def test_worker_that_does_not_stop_is_killed() -> None:
    async def body(source: ScriptedWorkers, worker: Worker, dead: list[Worker]) -> None:
        source.script = Script(hang_in="LOADING")
        order = asyncio.create_task(worker.carry_out(ORDER))
        while worker.state != "LOADING":
            await asyncio.sleep(0.001)
        await worker.stop(0.01)
        assert source.killed == [worker.pid]
        with pytest.raises(WorkerDiedError):
            await order

    run(body)
