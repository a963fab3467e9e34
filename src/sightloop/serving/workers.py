"""The front's side of a worker process: orders, requests, and what happens when it dies.

Lives on the event loop; nothing here is called from another thread. A worker answers in the
order it was asked, so when it dies, the oldest open request is the one that it died on; or, where
it answers several by one run, one of the oldest.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
from collections.abc import Callable

from sightloop.errors import TransitionError, WorkerDiedError
from sightloop.serving.asking import Reply
from sightloop.serving.history import ReleaseId
from sightloop.serving.lifecycle import ReleaseState, advance
from sightloop.serving.order import Order, OrderResult, result_from_bytes
from sightloop.serving.wire import ALONE, HEAD, Kind, pack, split_times, unpack
from sightloop.telemetry.events import emit

ON_FRAME = "worker_died_on_frame"
IN_BATCH = "worker_died_in_batch"
LEASES = 2
"""Requests in a worker: one that it answers, one in its socket, so that it never waits for us."""


Ended = Callable[["Reply | WorkerDiedError"], None]
"""Told how a request ended: the answer, or that the process ended first. The error's reason is
`worker_died_on_frame` if on this very request, `worker_died_in_batch` if it may have been this one.
"""


class _Link(asyncio.Protocol):
    """The socket to a worker, as the event loop drives it."""

    def __init__(self, on_data: Callable[[bytes], None], on_end: Callable[[], None]) -> None:
        self._on_data = on_data
        self._on_end = on_end

    def data_received(self, data: bytes) -> None:
        self._on_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_end()


def _kill_process(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Worker:
    """One worker process as the front sees it.

    Attributes:
        pid: Process id.
        state: Lifecycle of the release it holds; None while it is a standby.
        release: Which release it holds, from ADMITTED on.
        began: Whether it has said anything of its order; nothing of a release is read before.
        batch_max: Most requests that it answers by one run of its network.
        on_state: Told the old and the new state; for whoever waits for an order.
        leases: Requests that it has not answered yet.
    """

    def __init__(
        self,
        pid: int,
        connection: socket.socket,
        *,
        kill_process: Callable[[int], None] = _kill_process,
    ) -> None:
        self.pid = pid
        self.state: ReleaseState | None = None
        self.release: ReleaseId | None = None
        self.began = False
        self.batch_max = 1
        self.on_state: Callable[[ReleaseState | None, ReleaseState], None] | None = None
        self.alive = True
        self.death_expected = False
        self._connection = connection
        self._kill_process = kill_process
        self._ids = itertools.count(1)
        self._open: dict[int, Ended] = {}
        self._alone: set[int] = set()
        self._result: asyncio.Future[OrderResult] | None = None
        self._drained = asyncio.Event()
        self._drained.set()
        self._transport: asyncio.Transport | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._received = bytearray()
        self._ended = asyncio.Event()
        self._on_death: Callable[[Worker], None] | None = None

    @property
    def leases(self) -> int:
        return len(self._open)

    async def connect(self, on_death: Callable[[Worker], None]) -> None:
        """Start reading; `on_death` is called once when the process is gone."""
        self._on_death = on_death
        self._connection.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._transport, _ = await self._loop.create_unix_connection(
            lambda: _Link(self._take_in, self._die), sock=self._connection
        )

    def enter(self, state: ReleaseState) -> None:
        """Move the lifecycle on, as the transition table allows."""
        old = self.state
        self.state = state if old is None else advance(old, state)
        if self.on_state is not None:
            self.on_state(old, state)

    async def carry_out(self, order: Order) -> OrderResult:
        """Give a standby its order and wait for how it ends.

        Raises:
            WorkerDiedError: The process ended first.
        """
        self.enter(ReleaseState.ORDERED)
        self._result = asyncio.get_running_loop().create_future()
        self._send(Kind.ORDER, order.to_bytes())
        result = await self._result
        if result.admitted:
            self.release = result.release
            self.batch_max = result.batch_max
            self.enter(ReleaseState.READY)
        else:
            self.enter(ReleaseState.FAILED)
        return result

    @property
    def leases_max(self) -> int:
        """How many requests may be open: those of one run, and as many behind them."""
        return LEASES * self.batch_max

    def send(self, kind: Kind, body: bytes, ended: Ended, *, alone: bool = False) -> None:
        """Have one request answered; how many may be open is the caller's business.

        Args:
            kind: DETECT or INFER.
            body: The request's bytes.
            ended: Called once, never before this returns.
            alone: Whether it may not be answered by one run with others.
        """
        if not self.alive:
            self._end_soon(ended, WorkerDiedError(f"worker {self.pid} has ended"))
            return
        id = next(self._ids)
        self._open[id] = ended
        alone = alone or kind is not Kind.DETECT
        if alone:
            self._alone.add(id)
        self._drained.clear()
        self._send(kind, body, id=id, status=ALONE if alone else 0)

    async def drained(self) -> None:
        """Wait until no request is open."""
        await self._drained.wait()

    async def stop(self, limit_s: float) -> None:
        """Tell the process to free its release and end; kill it if it has not after `limit_s`."""
        self.death_expected = True
        if self.alive:
            self._send(Kind.STOP)
        if self._transport is None:
            return
        try:
            await asyncio.wait_for(self._ended.wait(), limit_s)
        except TimeoutError:
            self.kill()
            await self._ended.wait()

    def kill(self) -> None:
        """End the process at once."""
        if self.alive:
            self._kill_process(self.pid)

    def _send(self, kind: Kind, body: bytes = b"", *, id: int = 0, status: int = 0) -> None:
        assert self._transport is not None, "connect() comes first"
        head = pack(kind, body, id=id, status=status)
        self._transport.writelines((head, body) if body else (head,))

    def _take_in(self, data: bytes) -> None:
        self._received += data
        answers: list[tuple[Ended, Reply]] = []
        try:
            self._take_frames(answers)
        except (TransitionError, ValueError) as error:
            emit("worker_speaks_nonsense", pid=self.pid, error=str(error))
            self._received.clear()
            self.kill()
            self._die()
        for ended, reply in answers:
            ended(reply)

    def _take_frames(self, answers: list[tuple[Ended, Reply]]) -> None:
        """Take every whole frame out of what has come so far; answers are put into `answers`."""
        while len(self._received) >= HEAD.size:
            head = unpack(self._received[: HEAD.size])
            end = HEAD.size + head.length
            if len(self._received) < end:
                return
            body = bytes(self._received[HEAD.size : end])
            del self._received[:end]
            if head.kind is Kind.ANSWER:
                times, rest = split_times(body)
                self._alone.discard(head.id)
                ended = self._open.pop(head.id, None)
                if ended is not None:
                    answers.append((ended, Reply(head.status, rest, times)))
                if not self._open:
                    self._drained.set()
            else:
                self._take(head.kind, body)

    def _take(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.STATE:
            self.began = True
            self.enter(ReleaseState(body.decode()))
        elif self._result is not None and not self._result.done():
            self._result.set_result(result_from_bytes(body))

    def _end_soon(self, ended: Ended, error: WorkerDiedError) -> None:
        assert self._loop is not None, "connect() comes first"
        self._loop.call_soon(ended, error)

    def _suspects(self) -> list[int]:
        """Which open requests it can have died on.

        What it was answering is a beginning of what is open: up to `batch_max` requests, none of
        them one that is answered alone; or such a one.
        """
        first = list(itertools.islice(self._open, self.batch_max))
        together = list(itertools.takewhile(lambda id: id not in self._alone, first))
        return together or first[:1]

    def _die(self) -> None:
        self._ended.set()
        if not self.alive:
            return
        self.alive = False
        if self._transport is not None:
            self._transport.close()
        stopped = self.death_expected and self.state is ReleaseState.DRAINING
        if self.state not in (None, ReleaseState.FAILED):
            self.enter(ReleaseState.UNLOADED if stopped else ReleaseState.FAILED)
        suspects = self._suspects()
        sure = ON_FRAME if len(suspects) == 1 else IN_BATCH
        for id, ended in self._open.items():
            reason = sure if id in suspects else None
            self._end_soon(ended, WorkerDiedError(f"worker {self.pid} has ended", reason))
        self._open.clear()
        self._drained.set()
        if self._result is not None and not self._result.done():
            self._result.set_exception(
                WorkerDiedError(f"worker {self.pid} ended before its order did")
            )
        if self._on_death is not None:
            self._on_death(self)
