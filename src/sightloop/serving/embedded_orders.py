"""Orders on an embedded detector: start, update, rollback, close.

The rules are those of a server's line (`update.py`), on threads. Publish last: a candidate is
switched to after its switch is written down. Retract first: a rollback moves the table before it is
written. One update at a time, on a thread at nice 19 that also closes what it replaces; a rollback
may come in between, and then wins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sightloop._support.clock import Clock, utc_text
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import (
    RefusedAtStartError,
    ReleaseNotFoundError,
    ReleaseNotReadyError,
    ServingError,
    UpdateInProgressError,
)
from sightloop.gates.chain import Admission, GatePolicy, admit, ignore_state, readmit
from sightloop.gates.integrity import AcceptedReleases
from sightloop.gates.kept_answers import keep_answers
from sightloop.gates.latency import STOPWATCHES
from sightloop.release.signing import TrustStore
from sightloop.release.verdict import Outcome, Verdict
from sightloop.runtime.compute import Compute
from sightloop.runtime.memory import give_memory_back
from sightloop.serving.embedded_history import EmbeddedHistory
from sightloop.serving.embedded_slot import Held, HeldSlot, HeldTable, exchanged, succeeded
from sightloop.serving.history import Action, ReleaseId, SlotEvent
from sightloop.serving.update import OrderOutcome
from sightloop.serving.worker import lower_priority
from sightloop.telemetry.events import emit

_THREAD: Final = "sightloop-update"


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedParts:
    """What a detector is built from; see `Detector` for their meaning."""

    line: str
    slot: HeldSlot
    store: ReleaseStore
    trust: TrustStore
    history: EmbeddedHistory
    answers: Path
    policy: GatePolicy
    compute: Compute
    clock: Clock


class EmbeddedOrders:
    """Carries out what is ordered of one detector. Any thread may order."""

    def __init__(self, parts: EmbeddedParts) -> None:
        self._parts = parts
        self._slot = parts.slot
        self._updating = threading.Lock()
        self._committing = threading.Lock()

    def start(self, release: str | Path) -> None:
        """Answer with the history's champion, else prove `release` and answer with it.

        Raises:
            RefusedAtStartError: A gate refused the first release.
            ReleaseNotFoundError: No such release.
            ReleaseNotReadyError: Neither champion nor previous of the history loads again.
        """
        record = self._parts.history.record
        if record.champion is not None:
            self._restore(record.champion, record.previous)
            return
        outcome = self._carry_out(self._locate(release), Action.START)
        if (refusal := outcome.refusal) is not None:
            raise RefusedAtStartError(
                f"line {self._parts.line}: the first release was refused by {refusal.gate}: "
                f"{refusal.message} [{refusal.reason}]",
                outcome.as_dict(),
            )

    def begin(self, release: str | Path, action: Action) -> Future[OrderOutcome]:
        """Start an update on a thread of its own; see `Detector.start_update`."""
        source = self._locate(release)
        if not self._updating.acquire(blocking=False):
            raise UpdateInProgressError(
                f"line {self._parts.line}: expected no other update, found one running; wait for it"
            )
        if self._slot.table.champion is None:
            self._updating.release()
            raise closed_error(self._parts.line)
        future: Future[OrderOutcome] = Future()
        # Not a daemon: an interpreter that ends waits, and no network dies in the middle of a run.
        threading.Thread(target=self._run, args=(future, source, action), name=_THREAD).start()
        return future

    def rollback(self, digest: str | None) -> OrderOutcome:
        """Exchange champion and previous at once; see `Detector.rollback`."""
        previous = self._slot.table.previous
        if digest is not None and (previous is None or previous.release.digest != digest):
            return self.begin(self._from_history(digest), Action.ROLLBACK).result()
        began_s = self._parts.clock.monotonic_s()
        with self._committing:
            table = self._slot.table
            if table.champion is None:
                raise closed_error(self._parts.line)
            if table.previous is None:
                raise ReleaseNotReadyError(
                    f"line {self._parts.line}: expected a previous release kept loaded, found "
                    "none; name one of `history()` by its digest"
                )
            self._slot.table = exchanged(table)
            release = table.previous.release
            warning = self._write_rollback(release)
        outcome = OrderOutcome(
            action=Action.ROLLBACK,
            switched=True,
            release=release,
            verdicts=(),
            seconds=self._parts.clock.monotonic_s() - began_s,
            warning=warning,
        )
        self._report(outcome)
        return outcome

    def close(self) -> None:
        """Wait for the update and the frame in work; then nothing is loaded any more."""
        with self._updating:
            with self._committing:
                table, self._slot.table = self._slot.table, HeldTable()
            for held in (table.champion, table.previous):
                if held is not None:
                    held.close()
            self._parts.history.close()
        give_memory_back()

    def _run(self, future: Future[OrderOutcome], source: Path, action: Action) -> None:
        """The update's thread. Whatever happens, who waits for `future` hears of it."""
        if not self._parts.compute.own_threads:
            lower_priority()
        try:
            outcome = self._carry_out(source, action, on_state=_lower_when_loaded)
        except BaseException as error:  # the thread's border: it is raised in the caller's
            self._end_update()
            future.set_exception(error)
        else:
            self._end_update()
            future.set_result(outcome)

    def _end_update(self) -> None:
        give_memory_back()
        self._updating.release()

    def _carry_out(
        self, source: Path, action: Action, *, on_state: Callable[[str], None] = ignore_state
    ) -> OrderOutcome:
        """Gates, switch, drain. The replaced release is gone when this returns."""
        began_s = self._parts.clock.monotonic_s()
        emit("update_ordered", line=self._parts.line, action=action.value, source=str(source))
        number = self._slot.table.order
        admission = self._admit(source, on_state)
        verdicts = admission.verdicts
        release = _identity(admission)
        refused, replaced = None, None
        if admission.loaded is not None:
            held = Held(admission.loaded)
            try:
                refused, replaced = self._commit(held, verdicts, number, action)
            except ServingError:
                held.close()
                raise
            if refused is not None:
                held.close()
                verdicts = (*verdicts, refused)
        switched = admission.loaded is not None and refused is None
        outcome = OrderOutcome(
            action=action,
            switched=switched,
            release=release,
            verdicts=verdicts,
            seconds=self._parts.clock.monotonic_s() - began_s,
        )
        if replaced is not None:
            replaced.close()
        for found in admission.answers:
            keep_answers(self._parts.answers, found)
        if (refusal := outcome.refusal) is not None:
            self._write(Action.REFUSED, release, reason=refusal.reason, verdicts=verdicts)
        self._report(outcome)
        return outcome

    def _admit(self, source: Path, on_state: Callable[[str], None]) -> Admission:
        record = self._parts.history.record
        champion = self._slot.table.champion
        return admit(
            source,
            store=self._parts.store,
            trust=self._parts.trust,
            line=self._parts.line,
            champion_folder=self._parts.store.path_of(champion.release.digest)
            if champion
            else None,
            accepted=AcceptedReleases(
                highest_semver=record.highest_semver,
                digests=frozenset(release.digest for release in record.accepted),
            ),
            policy=self._parts.policy,
            compute=self._parts.compute,
            answers=self._parts.answers,
            on_state=on_state,
            stopwatch=STOPWATCHES[self._parts.compute.cost],
        )

    def _commit(
        self, candidate: Held, verdicts: tuple[Verdict, ...], number: int, action: Action
    ) -> tuple[Verdict | None, Held | None]:
        """Write the switch down and make it: a verdict if it may not be made, else who is out."""
        with self._committing:
            table = self._slot.table
            if table.order != number:
                return _not_switched("superseded", "a rollback was ordered meanwhile"), None
            if table.champion is not None and table.champion.release == candidate.release:
                return _not_switched("already_champion", "this very release serves already"), None
            self._write(action, candidate.release, verdicts=verdicts)
            self._slot.table, replaced = succeeded(table, candidate)
            return None, replaced

    def _restore(self, champion: ReleaseId, previous: ReleaseId | None) -> None:
        """Load what the history names; the previous alone if the champion cannot be."""
        try:
            first = self._load_again(champion)
        except ReleaseNotReadyError as error:
            emit("champion_lost", line=self._parts.line, reason=error.reason)
            if previous is None:
                raise
            first = self._load_again(previous)
            self._write(Action.ROLLBACK, previous, reason="champion_lost")
            self._slot.table = HeldTable(first)
            return
        second = None
        if previous is not None:
            try:
                second = self._load_again(previous)
            except ReleaseNotReadyError as error:
                emit("previous_lost", line=self._parts.line, reason=error.reason)
        self._slot.table = HeldTable(first, second)

    def _load_again(self, release: ReleaseId) -> Held:
        admission = readmit(
            self._parts.store.path_of(release.digest),
            trust=self._parts.trust,
            line=self._parts.line,
            compute=self._parts.compute,
        )
        if admission.loaded is None:
            refusal = admission.verdicts[-1]
            raise ReleaseNotReadyError(
                f"release {release.semver} ({release.digest[:12]}): expected to load again, found: "
                f"{refusal.message} [{refusal.reason}]; add its bundle to the store again"
            )
        return Held(admission.loaded)

    def _write(
        self,
        action: Action,
        release: ReleaseId | None,
        *,
        reason: str = "ok",
        verdicts: tuple[Verdict, ...] = (),
    ) -> None:
        at = utc_text(self._parts.clock.wall_s())
        self._parts.history.append(SlotEvent(at, action, release, reason, verdicts))

    def _write_rollback(self, release: ReleaseId) -> str | None:
        try:
            self._write(Action.ROLLBACK, release)
        except ServingError as error:
            emit("history_not_saved", line=self._parts.line, message=error.message)
            return error.message
        return None

    def _report(self, outcome: OrderOutcome) -> None:
        for verdict in outcome.verdicts:
            emit("gate_verdict", line=self._parts.line, **verdict.as_dict())
        refusal = outcome.refusal
        emit(
            "release_switched" if outcome.switched else "release_refused",
            line=self._parts.line,
            action=outcome.action.value,
            release=outcome.release.as_dict() if outcome.release else None,
            gate=refusal.gate if refusal else None,
            reason=refusal.reason if refusal else "ok",
            seconds=round(outcome.seconds, 4),
        )

    def _locate(self, release: str | Path) -> Path:
        if Path(release).is_dir():
            return Path(release).resolve()
        name, separator, version = str(release).partition("@")
        line, version = (name, version) if separator else (self._parts.line, name)
        return self._parts.store.path_of(self._parts.store.find(line, version))

    def _from_history(self, digest: str) -> Path:
        if digest not in {release.digest for release in self._parts.history.record.accepted}:
            raise ReleaseNotFoundError(
                f"line {self._parts.line}: expected a digest of its history, found {digest}; see "
                "`history()`"
            )
        return self._parts.store.path_of(digest)


def closed_error(line: str) -> ServingError:
    """What a closed detector answers."""
    return ServingError(
        f"line {line}: expected an open detector, found a closed one; make a new one",
        "detector_closed",
    )


def _lower_when_loaded(state: str) -> None:
    """Lower the thread's priority once the network is loaded.

    Not before, where a network has threads of its own: they keep the nice level of the thread that
    creates the session, for as long as the release serves.
    """
    if state == "WARMING":
        lower_priority()


def _identity(admission: Admission) -> ReleaseId | None:
    bundle = admission.bundle
    return ReleaseId(bundle.manifest.semver, bundle.digest) if bundle else None


def _not_switched(reason: str, message: str) -> Verdict:
    return Verdict(gate="switch", outcome=Outcome.FAIL, reason=reason, message=message)
