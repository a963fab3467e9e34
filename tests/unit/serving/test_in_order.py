from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from sightloop.serving.in_order import AHEAD_MAX, InOrder

LIMIT_S = 10


def run(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), LIMIT_S))


class Source:
    """Requests 0, 1, 2, ...; counts how many were read."""

    def __init__(self, count: int, *, then_wait: bool = False) -> None:
        self.read = 0
        self._count = count
        self._then_wait = then_wait

    async def requests(self) -> AsyncIterator[int]:
        for number in range(self._count):
            self.read += 1
            yield number
        if self._then_wait:
            await asyncio.Event().wait()


def test_answers_keep_the_order_whichever_is_ready_first() -> None:
    async def body() -> None:
        gates = [asyncio.Event() for _ in range(12)]

        async def answer(number: int) -> int:
            gates[number ^ 1].set()  # of each two the second is ready first
            await gates[number].wait()
            return number

        stream = InOrder(answer, asyncio.get_running_loop().create_future())
        assert [found async for found in stream.of(Source(12).requests())] == list(range(12))

    run(body)


def test_no_more_is_read_than_may_be_open() -> None:
    async def body() -> None:
        source = Source(100)
        release = asyncio.Event()

        async def answer(number: int) -> int:
            await release.wait()
            return number

        stream = InOrder(answer, asyncio.get_running_loop().create_future())
        answers = stream.of(source.requests())
        first = asyncio.ensure_future(anext(answers))
        for _ in range(50):
            await asyncio.sleep(0)
        assert source.read == AHEAD_MAX
        release.set()
        assert [await first, *[found async for found in answers]] == list(range(100))

    run(body)


def test_stream_that_is_left_cancels_what_is_at_work() -> None:
    async def body() -> None:
        cancelled: list[int] = []

        async def answer(number: int) -> int:
            if number == 0:
                return 0
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(number)
                raise
            return number

        stream = InOrder(answer, asyncio.get_running_loop().create_future())
        answers = stream.of(Source(3, then_wait=True).requests())
        assert await anext(answers) == 0
        waiting = asyncio.ensure_future(anext(answers))
        for _ in range(20):
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0)
        assert cancelled == [1, 2]

    run(body)


def test_closing_ends_a_waiting_stream_after_its_open_answers() -> None:
    async def body() -> None:
        closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        release = asyncio.Event()

        async def answer(number: int) -> int:
            await release.wait()
            return number

        stream = InOrder(answer, closing)
        answers = stream.of(Source(2, then_wait=True).requests())
        first = asyncio.ensure_future(anext(answers))
        for _ in range(20):
            await asyncio.sleep(0)
        closing.set_result(None)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not first.done()
        release.set()
        assert [await first, *[found async for found in answers]] == [0, 1]

    run(body)
