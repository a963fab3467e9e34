"""Doors and an audit log for servers under test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from sightloop._support.clock import Clock, SystemClock
from sightloop._support.database import open_sqlite
from sightloop.serving.access import Caller, Order, Token, local_caller
from sightloop.serving.audit import AuditLog, AuditStore
from sightloop.serving.doorkeeper import Doorkeeper, DoorRules
from sightloop.serving.rate_limit import RateLimit
from sightloop.telemetry.metrics import ServingMetrics

OPERATOR = local_caller("127.0.0.1")
"""Somebody on this machine, where nobody is asked."""


def door_of(
    metrics: ServingMetrics | None = None,
    *,
    rules: DoorRules | None = None,
    tokens: tuple[Token, ...] | None = None,
    calls_per_s: float = 1e6,
    clock: Clock | None = None,
    note_order: Callable[[Order, Caller, str], None] | None = None,
) -> Doorkeeper:
    """A door that is open as on one machine alone, unless said otherwise."""
    return Doorkeeper(
        rules or DoorRules(),
        tokens=lambda: tokens,
        rate=RateLimit(calls_per_s, clock=clock or SystemClock()),
        metrics=metrics or ServingMetrics(),
        note_order=note_order or (lambda order, caller, reason: None),
    )


class UnwrittenAudit(AuditLog):
    """An audit log that keeps nothing, where a test is about something else."""

    def __init__(self) -> None:
        """Nothing to open."""

    async def add(
        self, caller: Caller, *, action: str, line: str, target: str, outcome: str, release: str
    ) -> None:
        """Nothing."""

    async def entries(self) -> tuple[()]:
        """None."""
        return ()


@contextmanager
def audit_log(folder: Path, clock: Clock | None = None) -> Iterator[AuditLog]:
    """A real one, in a database of its own."""
    engine = open_sqlite(folder / "audit.db")
    executor = ThreadPoolExecutor(max_workers=1)
    try:
        yield AuditLog(AuditStore(engine), executor=executor, clock=clock or SystemClock())
    finally:
        executor.shutdown()
        engine.dispose()
