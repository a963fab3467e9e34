"""A worker that follows a script: the far end of a real worker socket, without a process.

For tests of slot, line and orders: it speaks the frames of `serving/wire.py`, answers images with
its own label and tensors with themselves, and can be told to refuse, hang, hold an answer back or
die at a chosen point.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sightloop.errors import ProtocolError
from sightloop.protocol.answers import AnswerLabel, chosen_outputs, write_answer
from sightloop.protocol.envelope import join_answer, split_request
from sightloop.protocol.requests import read_request
from sightloop.release.verdict import Outcome, Verdict
from sightloop.serving.history import ReleaseId
from sightloop.serving.order import Order, OrderResult, order_from_bytes
from sightloop.serving.wire import ALONE, HEAD, Kind, StageTimes, pack, unpack
from sightloop.serving.workers import Worker

STATES = ("VERIFYING", "LOADING", "WARMING", "GATING")
POISON = b"poison"


@dataclass(slots=True)
class Script:
    """What the next workers do.

    Attributes:
        refuse_with: Reason of a FAIL verdict instead of an admission.
        die_in: State after which the worker is gone; ORDERED: before it says any.
        hang_in: State after which nothing more is heard of it, until `resume`.
        hold: While set, images are not answered.
        say_state: Further state words sent before the result (nonsense, for instance).
        build: Whether an engine is compiled first.
        batch_max: How many images are answered by one run, for which it waits; one that must be
            answered alone is.
    """

    refuse_with: str | None = None
    die_in: str | None = None
    hang_in: str | None = None
    resume: asyncio.Event | None = None
    hold: asyncio.Event | None = None
    say_state: Sequence[str] = ()
    build: bool = False
    batch_max: int = 1


@dataclass(slots=True)
class ScriptedWorkers:
    """Spawns scripted workers; keeps what happened to each.

    Attributes:
        script: For orders that are still to come.
        script_again: For those of them that load a proven release again; None: `script`.
        orders: All orders received.
        killed: Pids that the front killed.
        stopped: Semvers that were told to stop.
        batches: How many images were answered, or died on, by each run.
    """

    script: Script = field(default_factory=Script)
    script_again: Script | None = None
    orders: list[Order] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    _pids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _ends: dict[int, socket.socket] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def spawn(self, on_death: Callable[[Worker], None]) -> Worker:
        """A connected standby."""
        ours, theirs = socket.socketpair()
        pid = next(self._pids)
        self._ends[pid] = theirs
        theirs.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=theirs)
        far = _FarEnd(self, pid, reader, writer)
        task = asyncio.create_task(far.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        worker = Worker(pid, ours, kill_process=self._kill)
        await worker.connect(on_death)
        return worker

    def _kill(self, pid: int) -> None:
        self.killed.append(pid)
        self.die(pid)

    def die(self, pid: int) -> None:
        """The worker's process is gone."""
        end = self._ends.pop(pid, None)
        if end is not None:
            end.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        """End every script that still runs."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))


def release_of(source: str) -> ReleaseId:
    """The identity that a scripted worker reports for a source folder named by its semver."""
    semver = Path(source).name
    return ReleaseId(semver, semver.replace(".", "").ljust(64, "0"))


class _FarEnd:
    """One scripted worker."""

    def __init__(
        self,
        owner: ScriptedWorkers,
        pid: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._owner = owner
        self._pid = pid
        self._reader = reader
        self._writer = writer
        self._release: ReleaseId | None = None
        self._script = owner.script
        self._batch: list[tuple[int, bytes]] = []

    async def run(self) -> None:
        try:
            while True:
                head = unpack(await self._reader.readexactly(HEAD.size))
                body = await self._reader.readexactly(head.length)
                if head.kind is Kind.ORDER:
                    await self._carry_out(order_from_bytes(body))
                elif head.kind is Kind.DETECT:
                    self._batch.append((head.id, body))
                    if head.status == ALONE or len(self._batch) == self._script.batch_max:
                        await self._answer_batch()
                elif head.kind is Kind.INFER:
                    await self._infer(head.id, body)
                else:
                    if self._release is not None:
                        self._owner.stopped.append(self._release.semver)
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._writer.close()
            with contextlib.suppress(ConnectionError):
                await self._writer.wait_closed()

    async def _carry_out(self, order: Order) -> None:
        self._owner.orders.append(order)
        again = None if order.gated else self._owner.script_again
        script = self._script = again or self._owner.script
        states = STATES if order.gated else STATES[:3]
        if script.build:
            states = (states[0], "BUILDING", *states[1:])
        if script.die_in == "ORDERED":
            raise ConnectionResetError
        for state in (*states, *script.say_state):
            self._send(Kind.STATE, state.encode())
            if state == script.die_in:
                raise ConnectionResetError
            if state == script.hang_in:
                await (script.resume or asyncio.Event()).wait()
        release = release_of(order.source)
        if script.refuse_with is not None:
            verdict = Verdict("behaviour", Outcome.FAIL, script.refuse_with, "as scripted")
            self._send(Kind.REFUSED, OrderResult(release, (verdict,), admitted=False).to_bytes())
            return
        self._release = release
        verdict = Verdict("behaviour", Outcome.PASS, "ok", "as scripted")
        result = OrderResult(release, (verdict,), admitted=True, batch_max=script.batch_max)
        self._send(Kind.ADMITTED, result.to_bytes())

    async def _answer_batch(self) -> None:
        if self._script.hold is not None:
            await self._script.hold.wait()
        batch, self._batch = self._batch, []
        self._owner.batches.append(len(batch))
        if any(image == POISON for _, image in batch):
            raise ConnectionResetError
        assert self._release is not None
        for id, image in batch:
            value = {"release": self._release.as_dict(), "image": image.decode()}
            body = StageTimes().to_bytes() + json.dumps(value).encode()
            self._send(Kind.ANSWER, body, id=id, status=200)

    async def _infer(self, id: int, body: bytes) -> None:
        """Echo the tensors; one named `poison` ends this worker."""
        if self._script.hold is not None:
            await self._script.hold.wait()
        release = self._release
        assert release is not None
        try:
            request = read_request(*split_request(body))
        except ProtocolError as error:
            value = {"error": {"reason": error.reason, "message": error.message}}
            payload = StageTimes().to_bytes() + json.dumps(value).encode()
            self._send(Kind.ANSWER, payload, id=id, status=400)
            return
        if request.inputs[0].name == POISON.decode():
            raise ConnectionResetError
        label = AnswerLabel("plate", release.semver, release.digest)
        head, raw = write_answer(request, label, chosen_outputs(request, request.inputs))
        times = StageTimes(decode_us=1, preprocess_us=2, inference_us=4, postprocess_us=8)
        payload = times.to_bytes() + join_answer(release.digest, head, raw)
        self._send(Kind.ANSWER, payload, id=id, status=200)

    def _send(self, kind: Kind, body: bytes, *, id: int = 0, status: int = 0) -> None:
        self._writer.write(pack(kind, body, id=id, status=status) + body)
