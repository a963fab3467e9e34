"""Writing a line's history; from the event loop without the loop ever waiting for the disk."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy.exc import SQLAlchemyError

from sightloop._support.clock import Clock, utc_text
from sightloop.errors import ServingError
from sightloop.release.verdict import Verdict
from sightloop.serving.history import (
    Action,
    HistoryStore,
    ReleaseId,
    SlotEvent,
    SlotRecord,
    apply_event,
    fold,
)


class LineHistory:
    """One line's history: the state in memory, every event on disk."""

    def __init__(
        self, line: str, *, store: HistoryStore, executor: ThreadPoolExecutor, clock: Clock
    ) -> None:
        self._line = line
        self._store = store
        self._executor = executor
        self._clock = clock
        self.record: SlotRecord = fold(store.events(line))

    async def append(
        self,
        action: Action,
        release: ReleaseId | None,
        *,
        reason: str = "ok",
        verdicts: tuple[Verdict, ...] = (),
    ) -> None:
        """Add one event; durable on return.

        Raises:
            ServingError: It could not be written (`history_not_saved`); nothing was added.
        """
        event = SlotEvent(
            at=utc_text(self._clock.wall_s()),
            action=action,
            release=release,
            reason=reason,
            verdicts=verdicts,
        )
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, write_event, self._store, self._line, event)
        self.record = apply_event(self.record, event)

    async def events(self) -> tuple[SlotEvent, ...]:
        """All events, oldest first."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._store.events, self._line)


def write_event(store: HistoryStore, line: str, event: SlotEvent) -> None:
    """Add one event; durable on return.

    Raises:
        ServingError: It could not be written (`history_not_saved`); nothing was added.
    """
    try:
        store.append(line, event)
    except SQLAlchemyError as error:
        raise ServingError(
            f"history of line {line}: expected to write one event, found: "
            f"{error.__cause__ or error}; free disk space or mend the workspace",
            "history_not_saved",
        ) from error
