"""Orders on one line: start, update, rollback.

Publish last: a candidate is switched to after it is READY and its switch is written down. Retract
first: a rollback moves the table before it is written, so that a full disk cannot delay it. One
update at a time; a rollback may come in between, and then wins.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path

from sightloop.errors import (
    ReleaseNotFoundError,
    ReleaseNotReadyError,
    ServingError,
    UpdateInProgressError,
    WorkerDiedError,
)
from sightloop.release.verdict import Outcome, Verdict
from sightloop.serving.history import Action, ReleaseId
from sightloop.serving.lifecycle import ReleaseState
from sightloop.serving.line import ServedLine
from sightloop.serving.order import OrderResult
from sightloop.serving.order_limits import OnState, carry_out_in_time, limit_of
from sightloop.serving.slot import WorkerGroup, promoted, swapped
from sightloop.serving.workers import Worker
from sightloop.telemetry.events import emit


@dataclass(frozen=True, slots=True)
class OrderOutcome:
    """How an order of the operator ended.

    Attributes:
        action: What was ordered.
        switched: Whether the slot now serves `release`.
        release: The release it was about, where that could be read.
        verdicts: Of every gate that ran.
        seconds: From the order to its end.
        warning: What went wrong beside it (such as a history that could not be written).
    """

    action: Action
    switched: bool
    release: ReleaseId | None
    verdicts: tuple[Verdict, ...]
    seconds: float
    warning: str | None = None

    @property
    def refusal(self) -> Verdict | None:
        """The verdict that refused it."""
        if self.switched:
            return None
        return next((v for v in reversed(self.verdicts) if not v.passed), None)

    def as_dict(self) -> dict[str, object]:
        """As JSON values."""
        refusal = self.refusal
        return {
            "action": self.action.value,
            "state": "ACTIVE" if self.switched else "FAILED",
            "release": self.release.as_dict() if self.release else None,
            "refused": refusal.as_dict() if refusal else None,
            "verdicts": [verdict.as_dict() for verdict in self.verdicts],
            "seconds": round(self.seconds, 6),
            "warning": self.warning,
        }


class LineOrders:
    """Carries out what an operator orders on one line."""

    def __init__(self, line: ServedLine) -> None:
        self._line = line
        self._parts = line.parts
        self._updating = asyncio.Lock()
        self._committing = asyncio.Lock()

    async def start(self, source: Path | None) -> OrderOutcome | None:
        """Make the line answer: its champion from the history, else the bundle at `source`.

        Returns:
            The first release's outcome, or None when the history named the champion.

        Raises:
            ReleaseNotFoundError: Neither a history nor a source.
            ReleaseNotReadyError: Neither champion nor previous can be loaded again.
        """
        record = self._parts.history.record
        if record.champion is not None:
            await self._restore(record.champion, record.previous)
            return None
        if source is None:
            raise ReleaseNotFoundError(
                f"line {self._parts.name}: expected a first release, found no history; "
                "start with `sightloop serve --release FOLDER`"
            )
        return await self.update(source, action=Action.START)

    async def _restore(self, champion: ReleaseId, previous: ReleaseId | None) -> None:
        try:
            group = await self._line.load_group(champion)
        except (ReleaseNotReadyError, WorkerDiedError) as error:
            emit("champion_lost", line=self._parts.name, reason=error.reason)
            if previous is None:
                raise
            group = await self._line.load_group(previous)
            await self._parts.history.append(Action.ROLLBACK, previous, reason="champion_lost")
            previous = None
        _enter(group, ReleaseState.ACTIVE)
        self._line.switch(promoted(self._line.slot.table, group)[0])
        if previous is not None:
            self._line.run_aside(self._restore_previous(previous))
        else:
            self._line.standby.refill_after(0.0)

    async def _restore_previous(self, previous: ReleaseId) -> None:
        number = self._line.slot.table.order
        group = await self._line.load_group(previous)
        table = self._line.slot.table
        if table.order == number and table.previous is None:
            _enter(group, ReleaseState.RETAINED)
            self._line.switch(replace(table, previous=group))
        else:
            self._line.retire_group(group)
        self._line.standby.refill_after(self._parts.config.standby_delay_s)

    async def update(self, source: Path, *, action: Action = Action.UPDATE) -> OrderOutcome:
        """Prove the bundle at `source` in a standby and switch to it if every gate passes.

        Raises:
            UpdateInProgressError: One is running already.
            ServingError: The switch could not be written down; nothing changed.
        """
        if self._updating.locked():
            raise UpdateInProgressError(
                f"line {self._parts.name}: expected no other update, found one running; wait "
                "for it (`sightloop rollout status`)"
            )
        async with self._updating:
            clock = self._parts.clock
            began_s = clock.monotonic_s()
            emit("update_ordered", line=self._parts.name, action=action.value, source=str(source))
            try:
                result = await self._try_candidate(source, action)
            finally:
                self._line.candidate = None
                self._line.standby.refill_after(self._parts.config.standby_delay_s)
            outcome = OrderOutcome(
                action=action,
                switched=result.admitted,
                release=result.release,
                verdicts=result.verdicts,
                seconds=clock.monotonic_s() - began_s,
            )
            self._report(outcome)
            return outcome

    async def _try_candidate(self, source: Path, action: Action) -> OrderResult:
        number = self._line.slot.table.order
        result = await self._prove(source)
        worker = self._line.candidate
        if worker is not None and result.admitted:
            refused = await self._admit(worker, result, number, action)
            if refused is None:
                return result
            result = OrderResult(result.release, (*result.verdicts, refused), admitted=False)
        elif worker is not None:
            self._line.retire(worker)
        refusal = result.refusal
        await self._parts.history.append(
            Action.REFUSED,
            result.release,
            reason=refusal.reason if refusal else "refused",
            verdicts=result.verdicts,
        )
        return result

    async def _prove(self, source: Path) -> OrderResult:
        try:
            return await self._line.with_standby(lambda worker: self._prove_in(worker, source))
        except WorkerDiedError:
            message = "its process ended before it was READY"
            return _not_loaded(source, "candidate_died", message)

    async def _prove_in(self, worker: Worker, source: Path) -> OrderResult:
        """Have a standby prove the bundle; it is the line's candidate from here."""
        self._line.candidate = worker
        order = self._line.order_for(source, gated=True)
        config = self._parts.config
        try:
            return await carry_out_in_time(worker, order, config, on_state=self._state_watch())
        except TimeoutError:
            state = worker.state
            worker.kill()
            goal = "built" if state is ReleaseState.BUILDING else "READY"
            message = f"not {goal} after {limit_of(state, config):g} s (state {state})"
            return _not_loaded(source, "candidate_timed_out", message)

    def _state_watch(self) -> OnState:
        """Measures how long a candidate stays in each state."""
        clock, seconds = self._parts.clock, self._parts.metrics.update_state_seconds
        since_s = clock.monotonic_s()

        def entered(old: ReleaseState | None, new: ReleaseState) -> None:
            nonlocal since_s
            now_s = clock.monotonic_s()
            if old is not None:
                seconds.labels(self._parts.name, old.value).observe(now_s - since_s)
            since_s = now_s

        return entered

    async def _admit(
        self, worker: Worker, result: OrderResult, number: int, action: Action
    ) -> Verdict | None:
        """Give an admitted candidate its other workers and the slot; a verdict if it may not."""
        assert result.release is not None, "an admitted candidate has been read"
        try:
            group = await self._line.complete(result.release, (worker,))
        except (ReleaseNotReadyError, WorkerDiedError) as error:
            return _not_switched("workers_incomplete", error.message)
        try:
            refused = await self._commit(group, result, number, action)
        except ServingError:
            self._line.retire_group(group)
            raise
        if refused is not None:
            self._line.retire_group(group)
        return refused

    async def _commit(
        self, group: WorkerGroup, result: OrderResult, number: int, action: Action
    ) -> Verdict | None:
        """Write the switch down and make it; a verdict instead when it may not be made."""
        async with self._committing:
            if self._line.slot.table.order != number:
                return _not_switched("superseded", "a rollback was ordered meanwhile")
            if not group.alive:
                return _not_switched("candidate_died", "its process ended when it was READY")
            champion = self._line.slot.table.champion
            if champion is not None and champion.release == result.release:
                return _not_switched("already_champion", "this very release serves already")
            await self._parts.history.append(action, result.release, verdicts=result.verdicts)
            table, replaced = promoted(self._line.slot.table, group)
            _enter(group, ReleaseState.ACTIVE)
            _retain(table.previous)
            self._line.switch(table)
        if replaced is not None:
            self._line.retire_group(replaced)
        for worker in group.workers:
            if not worker.alive:
                self._line.run_aside(self._line.recover(worker))
        return None

    async def rollback(self, digest: str | None = None) -> OrderOutcome:
        """Go back to the previous release at once, or to a digest of the history through gates.

        Raises:
            ReleaseNotReadyError: There is no previous release loaded.
            ReleaseNotFoundError: `digest` is not in the slot's history.
        """
        previous = self._line.slot.table.previous
        if digest is not None and (previous is None or previous.release.digest != digest):
            return await self.update(self._from_history(digest), action=Action.ROLLBACK)
        began_s = self._parts.clock.monotonic_s()
        async with self._committing:
            table = self._line.slot.table
            group = table.previous
            if group is None or not group.alive:
                raise ReleaseNotReadyError(
                    f"line {self._parts.name}: expected a previous release kept loaded, found "
                    "none; name one of `sightloop rollout history` with --to"
                )
            _retain(table.champion)
            _enter(group, ReleaseState.ACTIVE)
            self._line.switch(swapped(table))
            warning = await self._write_rollback(group.release)
        outcome = OrderOutcome(
            action=Action.ROLLBACK,
            switched=True,
            release=group.release,
            verdicts=(),
            seconds=self._parts.clock.monotonic_s() - began_s,
            warning=warning,
        )
        self._report(outcome)
        return outcome

    async def _write_rollback(self, release: ReleaseId) -> str | None:
        try:
            await self._parts.history.append(Action.ROLLBACK, release)
        except ServingError as error:
            emit("history_not_saved", line=self._parts.name, message=error.message)
            return error.message
        return None

    def _from_history(self, digest: str) -> Path:
        accepted = self._parts.history.record.accepted
        if digest not in {release.digest for release in accepted}:
            raise ReleaseNotFoundError(
                f"line {self._parts.name}: expected a digest of its history, found {digest}; "
                "see `sightloop rollout history`"
            )
        return self._parts.release_path(digest)

    def _report(self, outcome: OrderOutcome) -> None:
        name, metrics, action = self._parts.name, self._parts.metrics, outcome.action.value
        for verdict in outcome.verdicts:
            metrics.verdicts.labels(name, verdict.gate, verdict.outcome, verdict.reason).inc()
            emit("gate_verdict", line=name, **verdict.as_dict())
        refusal = outcome.refusal
        metrics.updates.labels(name, action, "switched" if outcome.switched else "refused").inc()
        metrics.update_seconds.labels(name, action).observe(outcome.seconds)
        emit(
            "release_switched" if outcome.switched else "release_refused",
            line=name,
            action=action,
            release=outcome.release.as_dict() if outcome.release else None,
            gate=refusal.gate if refusal else None,
            reason=refusal.reason if refusal else "ok",
            seconds=round(outcome.seconds, 4),
        )


def _enter(group: WorkerGroup, state: ReleaseState) -> None:
    for worker in group.living:
        worker.enter(state)


def _retain(group: WorkerGroup | None) -> None:
    if group is not None:
        for worker in group.living:
            if worker.state is ReleaseState.ACTIVE:
                worker.enter(ReleaseState.RETAINED)


def _not_loaded(source: Path, reason: str, message: str) -> OrderResult:
    text = f"candidate {source.name}: {message}"
    verdict = Verdict(gate="load", outcome=Outcome.FAIL, reason=reason, message=text)
    return OrderResult(release=None, verdicts=(verdict,), admitted=False)


def _not_switched(reason: str, message: str) -> Verdict:
    return Verdict(gate="switch", outcome=Outcome.FAIL, reason=reason, message=message)
