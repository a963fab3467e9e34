"""The admin plane: status, history, update and rollback of a server's lines. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sightloop.errors import LineNotFoundError, ReleaseNotFoundError
from sightloop.serving.line import ServedLine
from sightloop.serving.slot import WorkerGroup
from sightloop.serving.update import LineOrders, OrderOutcome
from sightloop.serving.workers import Worker


class AdminPlane:
    """What an operator may ask and order."""

    def __init__(self, lines: Mapping[str, ServedLine], orders: Mapping[str, LineOrders]) -> None:
        self._lines = lines
        self._orders = orders

    @property
    def line_names(self) -> tuple[str, ...]:
        """The lines of this server, sorted."""
        return tuple(sorted(self._lines))

    def status(self, name: str) -> dict[str, object]:
        """Who serves, who is kept, who is on trial, as JSON values.

        Raises:
            LineNotFoundError: No such line.
        """
        line = self._line(name)
        table = line.slot.table
        record = line.parts.history.record
        candidate = line.candidate
        return {
            "line": name,
            "champion": _group_dict(table.champion),
            "previous": _group_dict(table.previous),
            "candidate": _worker_dict(candidate),
            "standby": {"pid": line.standby.pid} if line.standby.pid is not None else None,
            "degraded": table.champion is None or not table.champion.alive,
            "highest_semver": record.highest_semver,
        }

    async def history(self, name: str) -> list[dict[str, object]]:
        """Every event of a line's slot, oldest first.

        Raises:
            LineNotFoundError: No such line.
        """
        return [event.as_dict() for event in await self._line(name).parts.history.events()]

    async def update(self, name: str, *, bundle: str | None, digest: str | None) -> OrderOutcome:
        """Prove a release and switch to it.

        Args:
            name: The model line.
            bundle: Folder of the bundle on this machine; or
            digest: A release in the workspace's store.

        Raises:
            LineNotFoundError, ReleaseNotFoundError, UpdateInProgressError, ServingError.
        """
        line = self._line(name)
        if digest is not None:
            source = line.parts.release_path(digest)
        elif bundle is not None:
            source = Path(bundle)
        else:
            raise ReleaseNotFoundError("update: expected a bundle or a digest, found neither")
        if not source.is_dir():
            raise ReleaseNotFoundError(
                f"release {source}: expected a bundle's folder on the server's machine, found none"
            )
        return await self._orders[name].update(source)

    async def rollback(self, name: str, digest: str | None) -> OrderOutcome:
        """Return to the previous release, or to a digest of the history.

        Raises:
            LineNotFoundError, ReleaseNotFoundError, ReleaseNotReadyError.
        """
        self._line(name)
        return await self._orders[name].rollback(digest)

    def _line(self, name: str) -> ServedLine:
        line = self._lines.get(name)
        if line is None:
            raise LineNotFoundError(
                f"line {name}: expected one of {', '.join(self.line_names)} on this server"
            )
        return line


def _group_dict(group: WorkerGroup | None) -> dict[str, object] | None:
    if group is None:
        return None
    return {
        "release": group.release.as_dict(),
        "alive": group.alive,
        "leases": group.leases,
        "workers": [_worker_dict(worker) for worker in group.workers],
    }


def _worker_dict(worker: Worker | None) -> dict[str, object] | None:
    if worker is None:
        return None
    return {
        "pid": worker.pid,
        "state": worker.state.value if worker.state else None,
        "alive": worker.alive,
        "leases": worker.leases,
        "release": worker.release.as_dict() if worker.release else None,
    }
