"""The standby: a fork that nobody waits for any more leaves no worker behind."""

import asyncio
from pathlib import Path

import pytest

from sightloop.errors import WorkerDiedError
from sightloop.testing.scripted_line import scripted_line


def test_worker_whose_taker_was_cancelled_is_the_standby(tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted_line(tmp_path) as it:
            taker = asyncio.create_task(it.line.standby.take())
            await asyncio.sleep(0)
            taker.cancel()
            await asyncio.wait([taker])
            worker = await it.line.standby.take()
            assert it.line.workers == {worker}

    asyncio.run(main())


def test_takers_at_once_get_a_worker_each(tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted_line(tmp_path) as it:
            await it.line.standby.take()
            taken = await asyncio.gather(*(it.line.standby.take() for _ in range(4)))
            assert len({worker.pid for worker in taken}) == 4

    asyncio.run(main())


def test_closed_standby_hands_out_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted_line(tmp_path) as it:
            await it.line.standby.close()
            with pytest.raises(WorkerDiedError):
                await it.line.standby.take()

    asyncio.run(main())
