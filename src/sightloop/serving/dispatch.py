"""The data path of one line: requests wait in one bounded queue and go to the least loaded worker.

The routing table is read once, when a request goes to a worker; nothing waits behind a release
that is being replaced. A request whose worker dies is asked again, of the same release while that
lives; one that has killed two workers is not. Everything here happens on one event loop, without a
lock.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from sightloop._support.clock import Clock
from sightloop.config.serving import ServingConfig
from sightloop.errors import (
    DeadlineExceededError,
    FrameKillsWorkerError,
    OverloadedError,
    ReleaseNotFoundError,
    ReleaseNotReadyError,
    SightloopError,
    WorkerDiedError,
)
from sightloop.serving.admission import Pace, QueueLimits, QueueState, admit
from sightloop.serving.asking import Ask, Reply
from sightloop.serving.history import ReleaseId
from sightloop.serving.shares import Shares
from sightloop.serving.slot import Slot, WorkerGroup
from sightloop.serving.streams import Streams
from sightloop.serving.tally import Tally
from sightloop.serving.traffic import RecentTraffic
from sightloop.serving.workers import IN_BATCH, ON_FRAME, Worker
from sightloop.telemetry.events import emit
from sightloop.telemetry.metrics import ServingMetrics

_KILLS_MAX = 2
_OK = 200


@dataclass(slots=True)
class _Waiting:
    """One request on its way.

    Attributes:
        digest: The release that it was last sent to.
        kills: Workers that have died on it, and on no other.
        suspect: Whether a worker may have died on it: it is then answered alone, so that a
            frame that kills is told from those that were in the same batch.
        worker: Who has it, or had it last.
        in_worker: Whether that one may still answer.
        alarm: Goes off at the deadline.
    """

    seq: int
    ask: Ask
    future: asyncio.Future[Reply]
    entered_s: float
    deadline_s: float
    queued: bool = True
    digest: str | None = None
    sent_s: float = 0.0
    kills: int = 0
    suspect: bool = False
    worker: Worker | None = None
    in_worker: bool = False
    alarm: asyncio.TimerHandle | None = None

    def disarm(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()


@dataclass(slots=True)
class _Queue:
    """Requests without a worker, oldest first; few enough to be looked through."""

    items: list[_Waiting] = field(default_factory=list)
    size_bytes: int = 0

    def add(self, waiting: _Waiting) -> None:
        bisect.insort(self.items, waiting, key=lambda item: item.seq)
        self.size_bytes += len(waiting.ask.body)
        waiting.queued = True

    def remove(self, waiting: _Waiting) -> None:
        if waiting.queued:
            self.items.remove(waiting)
            self.size_bytes -= len(waiting.ask.body)
            waiting.queued = False


class Dispatcher:
    """Answers the requests of one line by the workers of its slot."""

    def __init__(
        self,
        name: str,
        *,
        slot: Slot,
        shares: Shares,
        config: ServingConfig,
        clock: Clock,
        metrics: ServingMetrics,
        keep_frame: Callable[[bytes], None],
    ) -> None:
        self.streams = Streams(config.streams_max)
        self.tally = Tally()
        self.traffic = RecentTraffic(clock)
        self._name = name
        self._slot = slot
        self._shares = shares
        self._clock = clock
        self._keep_frame = keep_frame
        self._queue_wait = metrics.queue_wait.labels(name)
        self._batch_frames = metrics.batch_frames.labels(name)
        self._timeout_s = config.request_timeout_s
        self._limits = QueueLimits(config.pending_max, config.pending_bytes_max)
        self._queue = _Queue()
        self._seq = itertools.count()
        self._running = 0
        self._pace = Pace()
        self._service = Pace()
        self._last_answer_s: float | None = None
        shares.add(name, config.weights.get(name, 1.0), self.go_on)

    @property
    def waiting(self) -> int:
        """Requests without a worker."""
        return len(self._queue.items)

    @property
    def running(self) -> int:
        """Requests in workers."""
        return self._running

    async def ask(self, ask: Ask) -> Reply:
        """Answer one request by the champion, or by the previous while the champion is dead.

        Raises:
            OverloadedError: It cannot be answered in time, or may not wait.
            DeadlineExceededError: Its worker did not answer in time.
            FrameKillsWorkerError: Two workers died on this request; it is kept and not retried.
            ReleaseNotFoundError: The release that it names is not loaded here.
            ReleaseNotReadyError: Nobody lived to answer in time.
        """
        waiting = self._enter(ask)
        try:
            return await waiting.future
        except SightloopError:
            self._count_failure(waiting)
            raise
        finally:
            self._queue.remove(waiting)
            if not waiting.in_worker:  # else, whoever asked is gone and the worker may hang
                waiting.disarm()

    def _count_failure(self, waiting: _Waiting) -> None:
        answering = self._slot.table.answering
        if answering is not None:
            total_s = self._clock.monotonic_s() - waiting.entered_s
            self.tally.failed(answering.release, total_s=total_s)

    def _enter(self, ask: Ask) -> _Waiting:
        now_s = self._clock.monotonic_s()
        left_s = min(self._timeout_s, self._timeout_s if ask.timeout_s is None else ask.timeout_s)
        if ask.digest is not None:
            if self._slot.table.of_digest(ask.digest) is None:
                raise self._unknown(ask.digest)
            ask = replace(ask, stream=None)  # a named release pins nothing
        state = QueueState(
            waiting=len(self._queue.items),
            waiting_bytes=self._queue.size_bytes,
            running=self._running,
            pace_s=self._pace.seconds,
        )
        admit(state, self._limits, size_bytes=len(ask.body), left_s=left_s)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(next(self._seq), ask, loop.create_future(), now_s, now_s + left_s)
        waiting.alarm = loop.call_later(left_s, self._deadline, waiting)
        self._queue.add(waiting)
        self.go_on()
        return waiting

    def go_on(self) -> None:
        """Send what can be sent: after a new request, an answer, or a change of the table."""
        for waiting in tuple(self._queue.items):
            group = self._group_for(waiting)
            worker = group.least_loaded() if group is not None else None
            if group is None or worker is None:
                continue
            if self._hopeless(waiting):
                self._fail(waiting, self._too_late(waiting))
            elif self._shares.take(self._name):
                self._send(waiting, group, worker)
            else:
                return

    def _group_for(self, waiting: _Waiting) -> WorkerGroup | None:
        table = self._slot.table
        ask = waiting.ask
        if ask.digest is not None:
            group = table.of_digest(ask.digest)
            if group is None:
                self._fail(waiting, self._unknown(ask.digest))
            return group
        if ask.stream is not None:
            return self.streams.group_for(ask.stream, table)
        if waiting.digest is not None:
            same = table.of_digest(waiting.digest)
            if same is not None and same.alive:
                return same
        return table.answering

    def _hopeless(self, waiting: _Waiting) -> bool:
        """Whether a request that has waited would be answered too late by now."""
        now_s = self._clock.monotonic_s()
        waited = now_s - waiting.entered_s > self._service.seconds
        return waited and now_s + self._service.seconds > waiting.deadline_s

    def _send(self, waiting: _Waiting, group: WorkerGroup, worker: Worker) -> None:
        self._queue.remove(waiting)
        self._running += 1
        waiting.digest = group.release.digest
        waiting.sent_s = self._clock.monotonic_s()
        if waiting.ask.stream is not None:
            self.streams.opened(waiting.ask.stream, group, self._slot.table)
        waiting.worker, waiting.in_worker = worker, True
        ended = partial(self._ended, waiting, group.release)
        worker.send(waiting.ask.kind, waiting.ask.body, ended, alone=waiting.suspect)

    def _deadline(self, waiting: _Waiting) -> None:
        """Nobody waits any longer; a worker that has the request is given its own time for it."""
        if waiting.in_worker:
            left_s = waiting.sent_s + self._timeout_s - self._clock.monotonic_s()
            loop = asyncio.get_running_loop()
            waiting.alarm = loop.call_later(max(left_s, 0.0), self._hangs, waiting)
        if not waiting.future.done():
            self._fail(waiting, self._too_late(waiting))

    def _hangs(self, waiting: _Waiting) -> None:
        if waiting.in_worker and waiting.worker is not None:
            emit("worker_hangs", line=self._name, pid=waiting.worker.pid)
            waiting.worker.kill()

    def _ended(self, waiting: _Waiting, release: ReleaseId, end: Reply | WorkerDiedError) -> None:
        self._running -= 1
        waiting.in_worker = False
        if waiting.ask.stream is not None:
            self.streams.closed(waiting.ask.stream)
        used_s = 0.0
        try:
            if isinstance(end, WorkerDiedError):
                self._again(waiting, end)
            else:
                used_s = end.times.total_us / 1e6
                self._observe(waiting, end, release)
                if not waiting.future.done():
                    waiting.future.set_result(end)
        finally:
            if waiting.future.done():
                waiting.disarm()
            self._shares.give_back(self._name, used_s)
            self.go_on()

    def _again(self, waiting: _Waiting, error: WorkerDiedError) -> None:
        waiting.kills += error.reason == ON_FRAME
        waiting.suspect = waiting.suspect or error.reason in (ON_FRAME, IN_BATCH)
        if waiting.future.done():
            return
        if waiting.kills < _KILLS_MAX:
            self._queue.add(waiting)
            return
        kept = self._kept(waiting)
        self._fail(
            waiting,
            FrameKillsWorkerError(
                f"two workers of line {self._name} ended on this image; it is {kept} and not tried "
                "again"
            ),
        )

    def _kept(self, waiting: _Waiting) -> str:
        """Keep a frame that ends workers; says where."""
        try:
            self._keep_frame(waiting.ask.body)
        except (OSError, SightloopError) as error:
            emit("frame_not_kept", line=self._name, error=str(error))
            return "not kept (the disk refused it)"
        return "kept in the workspace under frames/"

    def _observe(self, waiting: _Waiting, reply: Reply, release: ReleaseId) -> None:
        now_s = self._clock.monotonic_s()
        began_s = waiting.sent_s if self._last_answer_s is None else self._last_answer_s
        self._pace.observe(now_s - began_s)
        self._service.observe(reply.times.total_us / 1e6)
        queue_s = waiting.sent_s - waiting.entered_s
        self._queue_wait.observe(queue_s)
        total_s = now_s - waiting.entered_s
        if reply.status == _OK:
            self.traffic.count(release.digest)
            self._batch_frames.observe(reply.times.frames)
            wall_s = self._clock.wall_s()
            self.tally.answered(
                release, reply.times, queue_s=queue_s, total_s=total_s, wall_s=wall_s
            )
        else:
            self.tally.failed(release, total_s=total_s)
        self._last_answer_s = now_s if self._running else None

    def _fail(self, waiting: _Waiting, error: BaseException) -> None:
        self._queue.remove(waiting)
        if not waiting.future.done():
            waiting.future.set_exception(error)

    def _too_late(self, waiting: _Waiting) -> SightloopError:
        allowed_s = waiting.deadline_s - waiting.entered_s
        if not waiting.queued and waiting.sent_s:
            return DeadlineExceededError(
                f"line {self._name}: no answer within {allowed_s:g} s; allow more time or send "
                "slower"
            )
        if self._slot.table.answering is None:
            return ReleaseNotReadyError(
                f"line {self._name}: expected a live worker, found none within {allowed_s:g} s; "
                "see `sightloop rollout status`"
            )
        return OverloadedError(
            f"line {self._name}: expected a free worker within {allowed_s:g} s, found "
            f"{self._running} requests in workers and {len(self._queue.items)} waiting; send "
            "slower or allow more time"
        )

    def _unknown(self, digest: str) -> ReleaseNotFoundError:
        loaded = ", ".join(group.release.semver for group in self._slot.table.groups)
        return ReleaseNotFoundError(
            f"line {self._name}: expected one of the loaded releases ({loaded}), found "
            f"{digest[:12]}; see `sightloop rollout status`"
        )
