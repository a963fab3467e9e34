"""One model line on a server: its slot, its workers' lives, and the recovery of those that die.

Requests go through `dispatch.py`; orders (update, rollback, start) are in `update.py`. All act on
the same slot, on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from sightloop._support.clock import Clock
from sightloop.config.serving import ServingConfig
from sightloop.errors import ReleaseNotReadyError, WorkerDiedError
from sightloop.serving.asking import Ask, Reply
from sightloop.serving.dispatch import Dispatcher
from sightloop.serving.history import Action, ReleaseId
from sightloop.serving.lifecycle import ReleaseState
from sightloop.serving.order import Order
from sightloop.serving.order_limits import carry_out_in_time, limit_of
from sightloop.serving.records import LineHistory
from sightloop.serving.shares import Shares
from sightloop.serving.slot import RoutingTable, Slot, WorkerGroup, reloaded
from sightloop.serving.standby import Standby
from sightloop.serving.workers import Worker
from sightloop.telemetry.events import emit
from sightloop.telemetry.metrics import ServingMetrics

T = TypeVar("T")

_RELOAD_PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class LineParts:
    """What a line is built from."""

    name: str
    config: ServingConfig
    workers: int
    """Worker processes of each release."""
    history: LineHistory
    metrics: ServingMetrics
    clock: Clock
    shares: Shares
    spawn: Callable[[Callable[[Worker], None]], Awaitable[Worker]]
    release_path: Callable[[str], Path]
    order: Order
    """Template: everything but source, champion and history."""
    keep_frame: Callable[[bytes], None]
    """Where a frame that has killed two workers is put for analysis."""


class ServedLine:
    """Answers the requests of one line and keeps its workers alive."""

    def __init__(self, parts: LineParts) -> None:
        self.parts = parts
        self.slot = Slot()
        self.dispatcher = Dispatcher(
            parts.name,
            slot=self.slot,
            shares=parts.shares,
            config=parts.config,
            clock=parts.clock,
            metrics=parts.metrics,
            keep_frame=parts.keep_frame,
        )
        self.standby = Standby(self._spawn)
        self.candidate: Worker | None = None
        self.workers: set[Worker] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def ask(self, ask: Ask) -> Reply:
        """Answer one request; see `Dispatcher.ask` for how it may fail."""
        return await self.dispatcher.ask(ask)

    def switch(self, table: RoutingTable) -> None:
        """Make `table` current, send what waits, and state the roles."""
        self.slot.switch(table)
        self.dispatcher.go_on()
        named = (("champion", table.champion), ("previous", table.previous))
        roles = {
            role: (group.release.semver, group.release.digest)
            for role, group in named
            if group is not None
        }
        self.parts.metrics.set_roles(self.parts.name, roles)
        degraded = table.champion is None or not table.champion.alive
        self.parts.metrics.degraded.labels(self.parts.name).set(degraded)

    def order_for(self, source: Path, *, gated: bool) -> Order:
        """The order that makes a standby the worker of the bundle at `source`."""
        record = self.parts.history.record
        return replace(
            self.parts.order,
            source=str(source),
            gated=gated,
            champion_digest=record.champion.digest if record.champion else None,
            accepted_digests=tuple(release.digest for release in record.accepted),
            highest_semver=record.highest_semver,
        )

    async def load_group(self, release: ReleaseId) -> WorkerGroup:
        """Give all workers of a release that the slot has proven before, READY.

        Raises:
            ReleaseNotReadyError, WorkerDiedError: As `load_again`.
        """
        return await self.complete(release, ())

    async def complete(self, release: ReleaseId, workers: tuple[Worker, ...]) -> WorkerGroup:
        """Load the workers that a release still needs beside `workers`; all or none.

        Raises:
            ReleaseNotReadyError, WorkerDiedError: As `load_again`; the others are retired.
        """
        missing = self.parts.workers - len(workers)
        loads = [self.load_again(release) for _ in range(missing)]
        results = await asyncio.gather(*loads, return_exceptions=True)
        loaded = tuple(result for result in results if isinstance(result, Worker))
        for result in results:
            if isinstance(result, BaseException):
                for worker in (*workers, *loaded):
                    self.retire(worker)
                raise result
        return WorkerGroup(release, (*workers, *loaded))

    async def with_standby(self, carry_out: Callable[[Worker], Awaitable[T]]) -> T:
        """Have the standby carry an order out, or another where it ends before it began.

        A standby that was killed a moment ago is not known to be dead yet: what it was offered is
        not at fault. Once only: what ends two workers is told as it is.

        Raises:
            WorkerDiedError: Both ended; or one did that had begun.
        """
        worker = await self.standby.take()
        try:
            return await carry_out(worker)
        except WorkerDiedError:
            if worker.began or self._closing:
                raise
        emit("standby_replaced", line=self.parts.name, pid=worker.pid)
        return await carry_out(await self.standby.take())

    async def load_again(self, release: ReleaseId) -> Worker:
        """Give a READY worker of a release that the slot has proven before.

        Raises:
            ReleaseNotReadyError: It no longer verifies or loads.
            WorkerDiedError: The worker ended meanwhile; see `with_standby`.
        """
        return await self.with_standby(lambda worker: self._load_in(worker, release))

    async def _load_in(self, worker: Worker, release: ReleaseId) -> Worker:
        source = self.parts.release_path(release.digest)
        order = self.order_for(source, gated=False)
        try:
            result = await carry_out_in_time(worker, order, self.parts.config)
        except TimeoutError:
            limit_s = limit_of(worker.state, self.parts.config)
            worker.death_expected = True
            worker.kill()
            raise ReleaseNotReadyError(
                f"release {release.semver} ({release.digest[:12]}): not loaded again after "
                f"{limit_s:g} s"
            ) from None
        refusal = result.refusal
        if refusal is not None:
            self.retire(worker)
            raise ReleaseNotReadyError(
                f"release {release.semver} ({release.digest[:12]}): expected to load again, "
                f"found: {refusal.message}",
                refusal.reason,
            )
        return worker

    def retire_group(self, group: WorkerGroup) -> None:
        """End every worker of a release; see `retire`."""
        for worker in group.living:
            self.retire(worker)

    def retire(self, worker: Worker) -> None:
        """End a worker after its last lease; never on a request's path."""
        self.run_aside(self._retire(worker))

    async def _retire(self, worker: Worker) -> None:
        if worker.alive and worker.state in (
            ReleaseState.READY,
            ReleaseState.ACTIVE,
            ReleaseState.RETAINED,
        ):
            worker.enter(ReleaseState.DRAINING)
        worker.death_expected = True
        await worker.drained()
        await asyncio.sleep(self.parts.config.retire_delay_s)
        await worker.stop(self.parts.config.stop_timeout_s)

    def run_aside(self, work: Awaitable[None]) -> None:
        """Run something next to the requests; kept until it ends."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            emit("task_failed", line=self.parts.name, error=repr(task.exception()))

    async def _spawn(self) -> Worker:
        worker = await self.parts.spawn(self._on_death)
        self.workers.add(worker)
        return worker

    def _on_death(self, worker: Worker) -> None:
        self.workers.discard(worker)
        if worker.death_expected or self._closing:
            return
        role = self.slot.table.role_of(worker)
        if role is None:
            role = "candidate" if worker is self.candidate else "standby"
        self.parts.metrics.worker_deaths.labels(self.parts.name, role).inc()
        emit("worker_died", line=self.parts.name, role=role, pid=worker.pid)
        if role in ("champion", "previous"):
            self.switch(self.slot.table)  # states the line degraded and sends what waits elsewhere
            self.run_aside(self.recover(worker))
        elif role == "standby":
            self.standby.refill_after(self.parts.config.standby_delay_s)

    async def recover(self, dead: Worker) -> None:
        """Load a dead worker's release again, until it is there or has no place any more."""
        release = dead.release
        assert release is not None, "only loaded releases hold a role"
        attempt = 0
        while self.slot.table.role_of(dead) is not None and not self._closing:
            await asyncio.sleep(_RELOAD_PAUSES_S[min(attempt, len(_RELOAD_PAUSES_S) - 1)])
            attempt += 1
            try:
                fresh = await self.load_again(release)
            except (ReleaseNotReadyError, WorkerDiedError) as error:
                emit("recovery_failed", line=self.parts.name, reason=error.reason, attempt=attempt)
                self.dispatcher.streams.lost(release.digest)
                self.dispatcher.go_on()
                continue
            if self._put_back(dead, fresh):
                await self.parts.history.append(Action.RECOVERED, release, reason="worker_died")
        self.standby.refill_after(self.parts.config.standby_delay_s)

    def _put_back(self, dead: Worker, fresh: Worker) -> bool:
        role = self.slot.table.role_of(dead)
        table = reloaded(self.slot.table, dead, fresh)
        if table is None:
            self.retire(fresh)
            return False
        assert fresh.release is not None
        fresh.enter(ReleaseState.ACTIVE if role == "champion" else ReleaseState.RETAINED)
        self.dispatcher.streams.found(fresh.release.digest)
        self.switch(table)
        self.parts.metrics.worker_restarts.labels(self.parts.name, role or "none").inc()
        emit("worker_recovered", line=self.parts.name, release=fresh.release.semver)
        return True

    async def close(self) -> None:
        """Answer what is open, then end every worker of the line."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))
        await self.standby.close()
        limit_s = self.parts.config.stop_timeout_s
        for group in self.slot.table.groups:
            for worker in group.living:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(worker.drained(), limit_s)
                if worker.alive:
                    worker.enter(ReleaseState.DRAINING)
        await asyncio.gather(*(worker.stop(limit_s) for worker in list(self.workers)))
