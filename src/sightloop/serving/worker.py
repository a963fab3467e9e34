"""A worker process: one release, from its order to its exit.

Two threads, three during a trial. The *serving thread* (the process's first) reads frames off the
socket and answers, at normal priority. The *loader thread* carries out the order at nice 19 and
ends, with a second one of its priority beside it where a second core may be free; what it leaves
is a `LoadedRelease`, from which every answer takes network, thresholds and label together.
The process ends when the front closes the socket.
"""

from __future__ import annotations

import os
import socket
import threading
import traceback
from dataclasses import replace
from pathlib import Path

from sightloop._support.clock import SystemClock, utc_text
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import SightloopError
from sightloop.gates.chain import Admission, GatePolicy, admit, readmit
from sightloop.gates.integrity import AcceptedReleases
from sightloop.gates.kept_answers import keep_answers
from sightloop.gates.latency import STOPWATCHES
from sightloop.release.signing import load_trust
from sightloop.release.verdict import Outcome, Verdict
from sightloop.runtime.compute import Cost
from sightloop.runtime.loaded_release import LoadedRelease
from sightloop.serving.answering import answer_request, detect_batch
from sightloop.serving.history import ReleaseId
from sightloop.serving.inbox import Inbox, Received
from sightloop.serving.order import Order, OrderResult, order_from_bytes
from sightloop.serving.trial_limits import allowance_bytes, on_trial
from sightloop.serving.wire import Kind, pack
from sightloop.telemetry.events import json_sink, set_sink
from sightloop.vision.decode import DecodeLimits

LOW_NICE = 19


def run_worker(connection: socket.socket) -> None:
    """Serve the front on `connection` until it closes or says STOP."""
    set_sink(json_sink(lambda: utc_text(SystemClock().wall_s())))
    _Worker(connection).run()


def lower_priority() -> None:
    """Put the calling thread at the lowest nice level; needs no rights, cannot be undone."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOW_NICE)


def gate_threads(cost: Cost, *, cores: int) -> int:
    """How many threads of the loader's priority run the gates' networks."""
    return 2 if cost is Cost.THREAD and cores > 1 else 1


class _Worker:
    """State of one worker. `_loaded` is written once by the loader thread before ADMITTED."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._inbox = Inbox(connection, clock=SystemClock())
        self._send_lock = threading.Lock()
        self._loaded: LoadedRelease | None = None
        self._limits = DecodeLimits()
        self._batch_wait_s = 0.0

    def run(self) -> None:
        while (received := self._inbox.take()) is not None:
            if received.kind in (Kind.DETECT, Kind.INFER):
                self._answer(received)
            elif received.kind is Kind.ORDER:
                order = order_from_bytes(received.body)
                self._batch_wait_s = order.batch_wait_ms / 1000
                self._limits = DecodeLimits(
                    bytes_max=order.image_bytes_max, pixels_max=order.pixels_max
                )
                threading.Thread(target=self._load, args=(order,), name="loader").start()
            elif received.kind is Kind.STOP:
                lower_priority()  # the kernel frees the memory at this process's priority
                if self._loaded is not None:
                    self._loaded.close()
                return

    def _load(self, order: Order) -> None:
        if not order.compute.own_threads:
            lower_priority()
        try:
            with on_trial(allowance_bytes(order.memory_max_mib if order.gated else 0)):
                admission = self._carry_out(order)
        except Exception as error:  # the process's border: the front must hear of it
            traceback.print_exc()
            self._send(Kind.REFUSED, _crashed(error).to_bytes())
            return
        result = OrderResult(
            release=_identity(admission),
            verdicts=admission.verdicts,
            admitted=admission.loaded is not None,
            batch_max=admission.loaded.batch_max if admission.loaded is not None else 1,
        )
        self._loaded = admission.loaded
        self._send(Kind.ADMITTED if result.admitted else Kind.REFUSED, result.to_bytes())
        if order.answers:  # nobody waits for it any more
            for found in admission.answers:
                keep_answers(Path(order.answers), found)

    def _carry_out(self, order: Order) -> Admission:
        store = ReleaseStore(Path(order.store))
        trust = load_trust(Path(order.trust_folder), [Path(f) for f in order.trust_files])
        if not order.gated:
            return readmit(
                Path(order.source),
                trust=trust,
                line=order.line,
                compute=order.compute,
                on_state=self._report,
            )
        champion = order.champion_digest
        return admit(
            Path(order.source),
            store=store,
            trust=trust,
            line=order.line,
            champion_folder=store.path_of(champion) if champion else None,
            accepted=AcceptedReleases(
                highest_semver=order.highest_semver, digests=frozenset(order.accepted_digests)
            ),
            policy=GatePolicy(latency_ratio_max=order.latency_ratio_max),
            compute=order.compute,
            answers=Path(order.answers) if order.answers else None,
            on_state=self._report,
            stopwatch=STOPWATCHES[order.compute.cost],
            threads=gate_threads(order.compute.cost, cores=len(os.sched_getaffinity(0))),
        )

    def _report(self, state: str) -> None:
        if state == "WARMING":
            # Not before, where a network has threads of its own: they keep the nice level of the
            # thread that creates the session, for as long as the release serves.
            lower_priority()
        self._send(Kind.STATE, state.encode())

    def _answer(self, first: Received) -> None:
        """Answer a request, and those that wait behind it where the network takes several."""
        most = self._loaded.batch_max if self._loaded is not None else 1
        batch = self._inbox.batch(first, most=most, wait_s=self._batch_wait_s)
        if self._loaded is None or first.kind is Kind.INFER:
            answers = [answer_request(self._loaded, first.kind, first.body, self._limits)]
        else:
            answers = detect_batch(self._loaded, [one.body for one in batch], self._limits)
        for received, answered in zip(batch, answers, strict=True):
            times = replace(answered.times, frames=len(batch))
            payload = times.to_bytes() + answered.body
            self._send(Kind.ANSWER, payload, id=received.id, status=answered.status)

    def _send(self, kind: Kind, body: bytes, *, id: int = 0, status: int = 0) -> None:
        with self._send_lock:
            self._connection.sendall(pack(kind, body, id=id, status=status) + body)


def _identity(admission: Admission) -> ReleaseId | None:
    bundle = admission.bundle
    return ReleaseId(bundle.manifest.semver, bundle.digest) if bundle else None


def _crashed(error: Exception) -> OrderResult:
    reason, outcome = "loader_failed", Outcome.ERROR
    if isinstance(error, MemoryError):
        reason, outcome = "out_of_memory", Outcome.FAIL
    elif isinstance(error, SightloopError):
        reason = error.reason
    verdict = Verdict(
        gate="load",
        outcome=outcome,
        reason=reason,
        message=f"the order failed: {type(error).__name__}: {error}",
    )
    return OrderResult(release=None, verdicts=(verdict,), admitted=False)
