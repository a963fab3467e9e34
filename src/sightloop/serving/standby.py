"""The standby: one worker with its imports done, waiting for an order.

Invariant: at most one standby a line; forking is kept off the frames by a pause after a switch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sightloop.errors import WorkerDiedError
from sightloop.serving.workers import Worker


class Standby:
    """Keeps one idle worker at hand."""

    def __init__(self, spawn: Callable[[], Awaitable[Worker]]) -> None:
        self._spawn = spawn
        self._worker: Worker | None = None
        self._pause: asyncio.Task[None] | None = None
        self._forking = asyncio.Lock()
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Process id of the idle worker, if there is one."""
        return self._worker.pid if self._worker is not None and self._worker.alive else None

    async def take(self) -> Worker:
        """The idle worker, or a new one where there is none. The caller owns it from here.

        Raises:
            WorkerDiedError: The line ends; there are no workers any more.
        """
        if self._pause is not None:
            self._pause.cancel()
        while (worker := self._worker) is None or not worker.alive:
            if self._closed:
                raise WorkerDiedError("expected a worker, found that the line ends")
            await asyncio.shield(self._fill())  # as in `_wait_and_fill`
        self._worker = None
        return worker

    def refill_after(self, seconds: float) -> None:
        """Have a new idle worker in a while, unless there is one."""
        if self._pause is not None:
            self._pause.cancel()
        if not self._closed:
            self._pause = asyncio.create_task(self._wait_and_fill(seconds), name="standby-refill")

    async def _wait_and_fill(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        # From here on it may not be cancelled: a worker forked halfway would belong to nobody.
        await asyncio.shield(self._fill())

    async def _fill(self) -> None:
        async with self._forking:
            if not self._closed and self.pid is None:
                self._worker = await self._spawn()

    async def close(self) -> None:
        """Stop refilling; the idle worker is its spawner's to end."""
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        async with self._forking:
            return
