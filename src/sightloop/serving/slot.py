"""What readers read: an immutable routing table, moved by one reference assignment.

Invariant: a table only ever names workers that are READY or beyond; a reader takes the table once
per request and uses nothing else. Changing the table is the last act of an update. Pure but for
the one assignment in `Slot.switch`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sightloop.serving.history import ReleaseId
from sightloop.serving.workers import Worker


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """The workers of one release.

    Attributes:
        release: What every one of them has loaded.
        workers: At least one; some may be dead and on their way back.
    """

    release: ReleaseId
    workers: tuple[Worker, ...]

    @property
    def living(self) -> tuple[Worker, ...]:
        """Those that answer."""
        return tuple(worker for worker in self.workers if worker.alive)

    @property
    def alive(self) -> bool:
        """Whether anybody answers."""
        for worker in self.workers:  # noqa: SIM110  # several times a frame: no generator
            if worker.alive:
                return True
        return False

    @property
    def leases(self) -> int:
        """Requests that are not answered yet."""
        return sum(worker.leases for worker in self.workers)

    def least_loaded(self) -> Worker | None:
        """The worker with the fewest open requests; None if all have their most or are dead."""
        best, fewest = None, 0
        for worker in self.workers:
            leases = worker.leases
            free = worker.alive and leases < worker.leases_max
            if free and (best is None or leases < fewest):
                best, fewest = worker, leases
        return best


@dataclass(frozen=True, slots=True)
class RoutingTable:
    """Who answers.

    Attributes:
        champion: Answers every request while it lives.
        previous: The last champion, loaded; answers while the champion's workers are dead.
        order: Grows with each change that an operator ordered; an update that was ordered
            under an older number may not switch.
    """

    champion: WorkerGroup | None = None
    previous: WorkerGroup | None = None
    order: int = 0

    @property
    def groups(self) -> tuple[WorkerGroup, ...]:
        """Champion and previous, as far as there are any."""
        return tuple(group for group in (self.champion, self.previous) if group is not None)

    @property
    def answering(self) -> WorkerGroup | None:
        """The group that answers now; None when nobody can."""
        for group in (self.champion, self.previous):
            if group is not None and group.alive:
                return group
        return None

    def of_digest(self, digest: str) -> WorkerGroup | None:
        """The group of one release, dead or alive."""
        return next((group for group in self.groups if group.release.digest == digest), None)

    def role_of(self, worker: Worker) -> str | None:
        """`champion` or `previous`, if the worker has a part in either."""
        for role, group in (("champion", self.champion), ("previous", self.previous)):
            if group is not None and worker in group.workers:
                return role
        return None


def promoted(
    table: RoutingTable, candidate: WorkerGroup
) -> tuple[RoutingTable, WorkerGroup | None]:
    """The table after an update, and the group that is replaced for good."""
    return RoutingTable(candidate, table.champion, table.order + 1), table.previous


def swapped(table: RoutingTable) -> RoutingTable:
    """The table after a rollback: champion and previous change places."""
    return RoutingTable(table.previous, table.champion, table.order + 1)


def reloaded(table: RoutingTable, dead: Worker, fresh: Worker) -> RoutingTable | None:
    """The table with a fresh worker in a dead one's place; None if it has no place."""
    role = table.role_of(dead)
    if role is None:
        return None
    group: WorkerGroup = getattr(table, role)
    workers = tuple(fresh if worker is dead else worker for worker in group.workers)
    renewed = WorkerGroup(group.release, workers)
    if role == "champion":
        return replace(table, champion=renewed)
    return replace(table, previous=renewed)


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
