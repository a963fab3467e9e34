"""What the demo does to a running server: updates, bad candidates, rollbacks.

Every order is made and timed as an operator would make it: over HTTP. Nothing is judged here;
the timeline holds what happened, `outcome.py` says whether it was right.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from sightloop.client.http_client import Client, Json
from sightloop.demo.candidates import BadCandidate
from sightloop.demo.timeline import Refusal, Timeline
from sightloop.errors import ServingError
from sightloop.serving.lifecycle import ReleaseState
from sightloop.testing.checker import Switch
from sightloop.testing.driver import back_and_forth, roll_back
from sightloop.testing.figures import TAIL_S

_POLL_S: Final = 0.002
_KILL_LIMIT_S: Final = 60.0
_SETTLE_S: Final = 1.0


class Operator:
    """Gives orders on one line of one server.

    Args:
        connect: Opens a client of the server.
        line: The model line.
        timeline: Takes what happens.
    """

    def __init__(self, connect: Callable[[], Client], line: str, timeline: Timeline) -> None:
        self._connect = connect
        self._line = line
        self._timeline = timeline
        self._client = connect()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def champion(self) -> str:
        """Digest of the release that answers."""
        return str(self._client.status(self._line)["champion"]["release"]["digest"])

    def update(self, bundle: Path) -> Switch:
        """Order an update that must succeed.

        Raises:
            ServingError: It was refused; the message names gate and reason.
        """
        clock = self._timeline.clock
        order_s = clock.monotonic_s()
        outcome = self._client.update(self._line, bundle=bundle)
        ack_s = clock.monotonic_s()
        if outcome["state"] != "ACTIVE":
            refused = outcome.get("refused") or {}
            raise ServingError(
                f"line {self._line}: expected {bundle.name[:12]} to pass every gate, found it "
                f"refused by {refused.get('gate')} ({refused.get('reason')}): "
                f"{refused.get('message')}",
                "good_release_refused",
            )
        switch = Switch(order_s=order_s, ack_s=ack_s, digest=str(outcome["release"]["digest"]))
        self._timeline.switches.append(switch)
        return switch

    def rollback(self) -> Switch:
        """Order a rollback to the previous release."""
        return roll_back(self._client, self._line, clock=self._timeline.clock)

    def back_and_forth(
        self, digests: tuple[str, str], *, count: int, on_update: Callable[[int, Switch], None]
    ) -> None:
        """Order `count` updates to the one and the other, each with quiet time before it."""
        back_and_forth(
            self._client,
            self._line,
            digests,
            count=count,
            clock=self._timeline.clock,
            on_update=on_update,
        )

    def try_candidate(self, candidate: BadCandidate) -> Refusal:
        """Order an update to a bad candidate and note how it ends."""
        clock = self._timeline.clock
        before = self.champion()
        order_s = clock.monotonic_s()
        if candidate.killed:
            outcome, killed_pid = self._update_and_kill(candidate.folder)
        else:
            outcome, killed_pid = self._client.update(self._line, bundle=candidate.folder), None
        ack_s = clock.monotonic_s()
        if outcome["state"] == "ACTIVE":  # a bad release got through: it serves from now on
            digest = str(outcome["release"]["digest"])
            self._timeline.switches.append(Switch(order_s, ack_s, digest))
        refused = outcome.get("refused") or {}
        measurements = dict(refused.get("measurements", {}))
        if killed_pid is not None:
            measurements |= {
                "killed_pid": killed_pid,
                "killed_in_state": ReleaseState.LOADING.value,
            }
        refusal = Refusal(
            candidate=candidate.name,
            story=candidate.story,
            gate=str(refused.get("gate", "none")),
            reason=str(refused.get("reason", "not_refused")),
            message=str(refused.get("message", "every gate let it pass")),
            measurements=measurements,
            expected_gate=candidate.gate,
            expected_reasons=candidate.reasons,
            champion_kept=self.champion() == before,
            order_s=order_s,
            seconds=ack_s - order_s,
        )
        self._timeline.refusals.append(refusal)
        return refusal

    def _update_and_kill(self, folder: Path) -> tuple[Json, int | None]:
        """Order an update, and kill the candidate's process in its state LOADING.

        Returns:
            How the order ended, and the process that was killed; None if it never loaded.
        """

        def order() -> Json:
            with self._connect() as client:
                return client.update(self._line, bundle=folder)

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="order") as threads:
            ordered = threads.submit(order)
            killed_pid = self._kill_while_loading(ordered)
            return ordered.result(), killed_pid

    def _kill_while_loading(self, ordered: Future[Json]) -> int | None:
        """Stop the process first, look again, then kill it: so that it surely was loading."""
        clock = self._timeline.clock
        limit_s = clock.monotonic_s() + _KILL_LIMIT_S
        while not ordered.done() and clock.monotonic_s() < limit_s:
            if (pid := self._loading_pid()) is not None:
                with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                    os.kill(pid, signal.SIGSTOP)
                    if self._loading_pid() == pid:
                        os.kill(pid, signal.SIGKILL)
                        return pid
                    os.kill(pid, signal.SIGCONT)
            clock.sleep_s(_POLL_S)
        return None

    def _loading_pid(self) -> int | None:
        candidate = self._client.status(self._line)["candidate"]
        if candidate is None or candidate["state"] != ReleaseState.LOADING:
            return None
        return int(candidate["pid"])


def refuse_all(operator: Operator, candidates: Sequence[BadCandidate], timeline: Timeline) -> None:
    """Try every bad candidate while the camera runs."""
    for candidate in candidates:
        refusal = operator.try_candidate(candidate)
        verb = "refused by" if refusal.as_expected else "UNEXPECTED:"
        timeline.screen.note(f"{candidate.name}: {verb} {refusal.gate} ({refusal.reason})")
        timeline.clock.sleep_s(_SETTLE_S)


def go_back_and_forth(
    operator: Operator, digests: tuple[str, str], timeline: Timeline, *, count: int
) -> None:
    """Update between two releases of the history, with a quiet stretch before each order.

    Args:
        operator: Gives the orders.
        digests: The release that serves, and the other one.
        timeline: Takes the updates.
        count: How many updates; even, so that the first release serves again at the end.
    """

    def note(number: int, switch: Switch) -> None:
        timeline.updates.append(switch)
        timeline.switches.append(switch)
        timeline.screen.progress(number + 1, count)

    serving, other = digests
    operator.back_and_forth((other, serving), count=count, on_update=note)


def roll_back_and_forward(operator: Operator, timeline: Timeline) -> None:
    """Roll back to the previous release, let it answer, and roll forward again."""
    for _ in range(2):
        timeline.clock.sleep_s(TAIL_S)
        switch = operator.rollback()
        timeline.switches.append(switch)
        timeline.rollbacks.append(switch)
    timeline.clock.sleep_s(TAIL_S)
