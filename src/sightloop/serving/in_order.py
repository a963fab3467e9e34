"""Answers to a stream of requests in the order of the requests, a few of them at work at once.

So one stream can keep several workers busy, and a worker never waits for the next request to be
read. Bounded: a client that sends faster than it is answered is not read on. Knows no transport.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

AHEAD_MAX: Final = 4
"""Requests of one stream that are read and not answered yet."""

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class InOrder(Generic[Request, Answer]):
    """One stream. `answer` is called in the order of the requests, and must not raise."""

    def __init__(
        self,
        answer: Callable[[Request], Coroutine[Any, Any, Answer]],
        closing: asyncio.Future[None],
    ) -> None:
        """Answer until the requests end, or `closing` is done: then nothing more is read."""
        self._answer = answer
        self._closing = closing
        self._open: deque[asyncio.Task[Answer]] = deque()
        self._reading: asyncio.Future[Request | None] | None = None
        self._ended = False

    async def of(self, requests: AsyncIterator[Request]) -> AsyncIterator[Answer]:
        """The answers; what is at work when the reader of these goes away is cancelled."""
        try:
            while True:
                self._read_on(requests)
                if not self._open and self._reading is None:
                    return
                await self._something()
                while self._open and self._open[0].done():
                    yield self._open.popleft().result()
        finally:
            for work in (*self._open, self._reading):
                if work is not None:
                    work.cancel()

    def _read_on(self, requests: AsyncIterator[Request]) -> None:
        if self._closing.done():
            self._ended = True
            if self._reading is not None:
                self._reading.cancel()
                self._reading = None
        if not self._ended and self._reading is None and len(self._open) < AHEAD_MAX:
            self._reading = asyncio.ensure_future(anext(requests, None))

    async def _something(self) -> None:
        """Wait for an answer that is due, a request, or the end."""
        waited: list[asyncio.Future[Any]] = []
        if self._open:
            waited.append(self._open[0])
        if self._reading is not None:
            waited += [self._reading, self._closing]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if self._reading is not None and self._reading.done():
            request = self._reading.result()
            self._reading = None
            if request is None:
                self._ended = True
            else:
                self._open.append(asyncio.create_task(self._answer(request)))
