"""Orders that are refused at the door, in the audit log, and no flood of them fills a disk.

Of each token's holder, and of all strangers together, the first few of an hour are written down one
by one; at the end of the hour one more entry says how many there were beside them. Strangers hide
no attempt of somebody who is known, and nothing that a stranger has written gets into the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container
from dataclasses import dataclass
from typing import Final

from sightloop.errors import ServingError
from sightloop.serving.access import Caller, Order
from sightloop.serving.audit import AuditLog
from sightloop.telemetry.events import emit

FIRST: Final = 10
WINDOW_S: Final = 3600.0
_UNKNOWN: Final = "?"
_UNREAD: Final = "(unread)"
"""An order is refused before its body is read: what it named is not known."""


@dataclass(slots=True)
class _Window:
    """The refused orders of one caller since the first of them."""

    caller: Caller
    end: asyncio.TimerHandle
    count: int = 0


class RefusedOrders:
    """Writes them down. One event loop."""

    def __init__(
        self,
        log: AuditLog,
        *,
        lines: Container[str],
        first: int = FIRST,
        window_s: float = WINDOW_S,
    ) -> None:
        """Write into `log`.

        Args:
            log: The server's.
            lines: Names that are known here; others are not written down.
            first: Entries of one name in a window, and one more at its end.
            window_s: Its length.
        """
        self._log = log
        self._lines = lines
        self._first = first
        self._window_s = window_s
        self._windows: dict[str, _Window] = {}
        self._writes: set[asyncio.Task[None]] = set()

    def note(self, order: Order, caller: Caller, reason: str) -> None:
        """Write one down, or count it; does not wait for the disk."""
        window = self._windows.get(caller.name)
        if window is None:
            loop = asyncio.get_running_loop()
            end = loop.call_later(self._window_s, self._end, caller.name)
            window = _Window(Caller(caller.name, caller.role, _UNKNOWN), end)
            self._windows[caller.name] = window
        window.count += 1
        if window.count <= self._first:
            line = order.line if order.line in self._lines else _UNKNOWN
            self._write(caller, Order(order.action, line), reason)

    def _end(self, name: str) -> None:
        """Say how many there were beside those that are written down."""
        window = self._windows.pop(name)
        window.end.cancel()
        more = window.count - self._first
        if more > 0:
            self._write(window.caller, Order("orders", _UNKNOWN), f"{more} more refused")

    def _write(self, caller: Caller, order: Order, outcome: str) -> None:
        task = asyncio.ensure_future(self._add(caller, order, outcome))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _add(self, caller: Caller, order: Order, outcome: str) -> None:
        action, line = order.action, order.line
        try:
            await self._log.add(
                caller, action=action, line=line, target=_UNREAD, outcome=outcome, release=""
            )
        except ServingError as error:
            emit("audit_not_saved", line=line, who=caller.name, message=error.message)

    async def close(self) -> None:
        """Say what is counted so far, and wait until all is written."""
        for name in tuple(self._windows):
            self._end(name)
        await asyncio.gather(*self._writes)
