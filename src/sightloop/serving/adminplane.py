"""The admin plane: status, history, update and rollback of a server's lines. Knows no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightloop.errors import (
    ForbiddenError,
    LineNotFoundError,
    ReleaseNotFoundError,
    ServingError,
    SightloopError,
)
from sightloop.serving.access import Caller
from sightloop.serving.audit import AuditLog, audit_as_dict
from sightloop.serving.line import ServedLine
from sightloop.serving.slot import WorkerGroup
from sightloop.serving.update import LineOrders, OrderOutcome
from sightloop.serving.workers import Worker
from sightloop.telemetry.events import emit


class AdminPlane:
    """What an operator may ask and order."""

    def __init__(
        self,
        lines: Mapping[str, ServedLine],
        orders: Mapping[str, LineOrders],
        *,
        log: AuditLog,
        folders: tuple[Path, ...] | None = None,
        machine: Callable[[str], Mapping[str, Any]] | None = None,
    ) -> None:
        """Prepare.

        Args:
            lines: By name.
            orders: By line.
            log: Where every order is written down.
            folders: Below which an order may name a bundle; None: anywhere.
            machine: What the system says of a line: memory, GPUs. May block.
        """
        self._lines = lines
        self._orders = orders
        self._log = log
        self._folders = folders
        self._machine = machine
        self._tasks: set[asyncio.Task[OrderOutcome]] = set()

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
        shares = line.dispatcher.traffic.shares()
        return {
            "line": name,
            "champion": _group_dict(table.champion, shares),
            "previous": _group_dict(table.previous, shares),
            "candidate": _worker_dict(candidate),
            "waiting": line.dispatcher.waiting,
            "standby": {"pid": line.standby.pid} if line.standby.pid is not None else None,
            "degraded": table.champion is None or not table.champion.alive,
            "highest_semver": record.highest_semver,
        }

    async def observed_status(self, name: str) -> dict[str, object]:
        """The same, and what the system says: memory by role and use of the GPUs.

        Raises:
            LineNotFoundError: No such line.
        """
        found = self.status(name)
        if self._machine is None:
            return found
        return {**found, **await asyncio.to_thread(self._machine, name)}

    async def audit(self, *, last: int) -> dict[str, object]:
        """The newest entries of the audit log, and whether all of it holds."""
        return audit_as_dict(await self._log.entries(), last=last)

    async def history(self, name: str) -> list[dict[str, object]]:
        """Every event of a line's slot, oldest first.

        Raises:
            LineNotFoundError: No such line.
        """
        return [event.as_dict() for event in await self._line(name).parts.history.events()]

    async def update(
        self, name: str, *, bundle: str | None, digest: str | None, caller: Caller
    ) -> OrderOutcome:
        """Prove a release and switch to it.

        Args:
            name: The model line.
            bundle: Folder of the bundle on this machine; or
            digest: A release in the workspace's store.
            caller: Who orders it; written down with the outcome.

        Raises:
            LineNotFoundError, ReleaseNotFoundError, UpdateInProgressError, ServingError.
            ForbiddenError: The bundle lies where none may be taken from.
        """
        line = self._line(name)

        async def order() -> OrderOutcome:
            source = await asyncio.to_thread(self._source, line, bundle, digest)
            return await self._orders[name].update(source)

        return await self._audited(order(), caller, "update", name, digest or bundle or "")

    async def rollback(self, name: str, digest: str | None, *, caller: Caller) -> OrderOutcome:
        """Return to the previous release, or to a digest of the history.

        Raises:
            LineNotFoundError, ReleaseNotFoundError, ReleaseNotReadyError.
        """
        self._line(name)
        order = self._orders[name].rollback(digest)
        return await self._audited(order, caller, "rollback", name, digest or "")

    async def _audited(
        self, order: Awaitable[OrderOutcome], caller: Caller, action: str, line: str, target: str
    ) -> OrderOutcome:
        """Carry an order out and write down who gave it; both go on when the caller hangs up."""
        task = asyncio.ensure_future(self._carry_out(order, caller, action, line, target))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _carry_out(
        self, order: Awaitable[OrderOutcome], caller: Caller, action: str, line: str, target: str
    ) -> OrderOutcome:
        try:
            outcome = await order
        except SightloopError as error:
            warning = await self._write(caller, action, line, target, error.reason, "")
            if warning is not None:
                error.add_note(warning)
            raise
        refusal = outcome.refusal
        ended = "switched" if outcome.switched else refusal.reason if refusal else "refused"
        release = f"{outcome.release.semver} {outcome.release.digest}" if outcome.release else ""
        warning = await self._write(caller, action, line, target, ended, release)
        if warning is None:
            return outcome
        both = f"{outcome.warning}; {warning}" if outcome.warning else warning
        return replace(outcome, warning=both)

    async def _write(
        self, caller: Caller, action: str, line: str, target: str, outcome: str, release: str
    ) -> str | None:
        """Write one entry; what went wrong otherwise: an order that is done stays done."""
        try:
            await self._log.add(
                caller,
                action=action,
                line=line,
                target=target,
                outcome=outcome,
                release=release,
            )
        except ServingError as error:
            emit("audit_not_saved", line=line, who=caller.name, message=error.message)
            return error.message
        return None

    def _source(self, line: ServedLine, bundle: str | None, digest: str | None) -> Path:
        """The folder that an update names; reads the disk."""
        if digest is not None:
            source = line.parts.release_path(digest)
        elif bundle is not None:
            source = self._allowed(Path(bundle))
        else:
            raise ReleaseNotFoundError(
                "update: expected `bundle` (a folder) or `digest` in the body, found neither"
            )
        if not source.is_dir():
            raise ReleaseNotFoundError(
                f"release {str(source)!r}: expected a bundle's folder on the server's machine, "
                "found none"
            )
        return source

    def _allowed(self, bundle: Path) -> Path:
        """The folder without links and dots, if a bundle may be taken from there."""
        if self._folders is None:
            return bundle
        try:
            real = bundle.resolve()
        except (OSError, RuntimeError, ValueError):
            real = Path("/")
        if not any(real.is_relative_to(folder) for folder in self._folders):
            places = ", ".join(str(folder) for folder in self._folders)
            raise ForbiddenError(
                f"bundle {str(bundle)!r}: expected a folder below {places}, found another; add the "
                "release to the workspace's store and name its digest, or set serve.bundle_folders",
                "bundle_elsewhere",
            )
        return real

    def _line(self, name: str) -> ServedLine:
        line = self._lines.get(name)
        if line is None:
            raise LineNotFoundError(
                f"line {name!r}: expected one of {', '.join(self.line_names)} on this server"
            )
        return line


def _group_dict(group: WorkerGroup | None, shares: Mapping[str, float]) -> dict[str, object] | None:
    """One role; `traffic_share` is of the last minute's answers, None without any."""
    if group is None:
        return None
    return {
        "release": group.release.as_dict(),
        "alive": group.alive,
        "leases": group.leases,
        "traffic_share": round(shares.get(group.release.digest, 0.0), 4) if shares else None,
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
