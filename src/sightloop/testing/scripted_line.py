"""A real line (slot, orders, history on disk) over scripted workers, for tests of the rules."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sightloop._support.clock import SystemClock
from sightloop._support.database import open_sqlite
from sightloop.config.serving import ServingConfig
from sightloop.serving.history import HistoryStore
from sightloop.serving.line import LineParts, ServedLine
from sightloop.serving.order import Order
from sightloop.serving.records import LineHistory
from sightloop.serving.shares import Shares
from sightloop.serving.update import LineOrders
from sightloop.telemetry.metrics import ServingMetrics
from sightloop.testing.scripted_worker import ScriptedWorkers, release_of

LIMIT_S = 20.0
CONFIG = ServingConfig(
    pending_max=8,
    request_timeout_s=5.0,
    candidate_timeout_s=5.0,
    standby_delay_s=0.0,
    retire_delay_s=0.0,
    stop_timeout_s=0.05,
)


@dataclass(slots=True)
class ScriptedLine:
    """One line under test.

    Attributes:
        kept: Frames that were kept because they kill workers.
    """

    line: ServedLine
    orders: LineOrders
    workers: ScriptedWorkers
    metrics: ServingMetrics
    store: HistoryStore
    folder: Path
    kept: list[bytes] = field(default_factory=list)

    def source(self, semver: str) -> Path:
        """A folder that a scripted worker takes for the release of this version."""
        path = self.folder / semver
        path.mkdir(exist_ok=True)
        return path


@contextlib.asynccontextmanager
async def scripted_line(
    folder: Path, *, config: ServingConfig = CONFIG
) -> AsyncIterator[ScriptedLine]:
    """A line named `plate` with its history in `folder`; everything ends with the block."""
    workers = ScriptedWorkers()
    executor = ThreadPoolExecutor(max_workers=1)
    store = HistoryStore(open_sqlite(folder / "serving.db"))
    clock = SystemClock()
    metrics = ServingMetrics()
    kept: list[bytes] = []

    def release_path(digest: str) -> Path:
        return next(path for path in folder.iterdir() if release_of(str(path)).digest == digest)

    parts = LineParts(
        name="plate",
        config=config,
        workers=config.workers if config.workers != "auto" else 1,
        history=LineHistory("plate", store=store, executor=executor, clock=clock),
        metrics=metrics,
        clock=clock,
        shares=Shares(2),
        spawn=workers.spawn,
        release_path=release_path,
        order=Order(line="plate", source="", store="", trust_folder=""),
        keep_frame=kept.append,
    )
    line = ServedLine(parts)
    try:
        async with asyncio.timeout(LIMIT_S):
            yield ScriptedLine(line, LineOrders(line), workers, metrics, store, folder, kept)
    finally:
        await line.close()
        await workers.close()
        executor.shutdown()
        store.close()


async def until(condition: object, *, limit_s: float = LIMIT_S) -> None:
    """Let the event loop run until `condition()` is true.

    Raises:
        TimeoutError: It never was.
    """
    assert callable(condition)
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.001)


__all__ = ["CONFIG", "ScriptedLine", "release_of", "scripted_line", "until"]
