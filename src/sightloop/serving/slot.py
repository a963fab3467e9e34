"""What readers read: an immutable routing table, moved by one reference assignment.

Invariant: a table only ever names workers that are READY or beyond; a reader takes the table once
per request and uses nothing else. Changing the table is the last act of an update. Pure but for
the one assignment in `Slot.switch`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sightloop.serving.workers import Worker


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Who answers.

    Attributes:
        champion: Answers every request while it lives.
        previous: The last champion, loaded; answers while the champion's worker is dead.
        order: Grows with each change that an operator ordered; an update that was ordered
            under an older number may not switch.
    """

    champion: Worker | None = None
    previous: Worker | None = None
    order: int = 0

    @property
    def answering(self) -> Worker | None:
        """The worker that answers now; None when nobody can."""
        for worker in (self.champion, self.previous):
            if worker is not None and worker.alive:
                return worker
        return None


def promoted(table: RoutingTable, candidate: Worker) -> tuple[RoutingTable, Worker | None]:
    """The table after an update, and the worker that is replaced for good."""
    return RoutingTable(candidate, table.champion, table.order + 1), table.previous


def swapped(table: RoutingTable) -> RoutingTable:
    """The table after a rollback: champion and previous change places."""
    return RoutingTable(table.previous, table.champion, table.order + 1)


def reloaded(table: RoutingTable, dead: Worker, fresh: Worker) -> RoutingTable | None:
    """The table with a recovered release in its dead worker's place; None if it has no place."""
    if table.champion is dead:
        return RoutingTable(fresh, table.previous, table.order)
    if table.previous is dead:
        return RoutingTable(table.champion, fresh, table.order)
    return None


class Slot:
    """Holds the current table of one line."""

    def __init__(self) -> None:
        self._table = RoutingTable()

    @property
    def table(self) -> RoutingTable:
        """The table, to be read once per request."""
        return self._table

    def switch(self, table: RoutingTable) -> None:
        """Make `table` the one that readers get from now on."""
        self._table = table
