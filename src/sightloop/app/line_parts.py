"""What each line of a server is built from: settings, orders' template, source of workers."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sightloop._support.clock import Clock
from sightloop._support.files import write_bytes_atomic
from sightloop._support.hardware import describe_hardware
from sightloop.config.serving import ServingConfig
from sightloop.config.workspace import Workspace
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import ServingError
from sightloop.runtime.compute import Compute, Provider, batch_of
from sightloop.serving.line import LineParts
from sightloop.serving.order import Order
from sightloop.serving.records import LineHistory
from sightloop.serving.shares import Shares
from sightloop.serving.tuning import Setting, tuned, untuned
from sightloop.serving.workers import LEASES, Worker
from sightloop.serving.zygote import Zygote
from sightloop.telemetry.events import emit
from sightloop.telemetry.metrics import ServingMetrics


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all lines of one server have in common."""

    workspace: Workspace
    config: ServingConfig
    trust_files: tuple[Path, ...]
    metrics: ServingMetrics
    clock: Clock
    spawner: Spawner
    shares: Shares


def setting_of(config: ServingConfig, workspace: Workspace, line: str) -> Setting:
    """Workers and threads of a line: as set, or as measured where they are "auto"."""
    if config.workers != "auto":
        return Setting(config.workers, config.threads)
    hardware = describe_hardware()
    found = tuned(workspace.tuning, line, hardware=hardware, goal=config.tune_for)
    if found is None:
        found = untuned(len(os.sched_getaffinity(0)), config.tune_for)
        emit("line_not_tuned", line=line, workers=found.workers, threads=found.threads)
    return found


def line_parts(around: Surroundings, name: str, log: LineHistory) -> LineParts:
    """Everything that the line `name` with the history `log` needs.

    Raises:
        ConfigError: The workspace's tuning cannot be read.
    """
    config, workspace = around.config, around.workspace
    setting = setting_of(config, workspace, name)
    frames = workspace.root / "frames"

    def keep_frame(image: bytes) -> None:
        path = frames / f"{hashlib.sha256(image).hexdigest()}.bin"
        write_bytes_atomic(path, image)
        emit("frame_kept", line=name, path=str(path))

    return LineParts(
        name=name,
        config=config,
        workers=setting.workers,
        history=log,
        metrics=around.metrics,
        clock=around.clock,
        shares=around.shares,
        spawn=around.spawner.spawn,
        release_path=ReleaseStore(workspace.releases).path_of,
        keep_frame=keep_frame,
        order=Order(
            line=name,
            source="",
            store=str(workspace.releases),
            trust_folder=str(workspace.keys),
            trust_files=tuple(str(path) for path in around.trust_files),
            latency_ratio_max=config.latency_ratio_max,
            answers=str(workspace.answers),
            memory_max_mib=config.candidate_memory_max_mib,
            compute=_compute(config, workspace, setting.threads),
            batch_wait_ms=config.batch_wait_ms,
            pixels_max=config.pixels_max,
            image_bytes_max=config.body_bytes_max,
        ),
    )


def request_slots(config: ServingConfig) -> int:
    """Requests of all lines together that may be in workers: what runs, and what comes next."""
    batch_max = _batch_max(config)
    return len(os.sched_getaffinity(0)) + (LEASES * batch_max if batch_max > 1 else 1)


def _batch_max(config: ServingConfig) -> int:
    return batch_of(Provider(config.provider)) if config.batch_max == "auto" else config.batch_max


def _compute(config: ServingConfig, workspace: Workspace, threads: int) -> Compute:
    return Compute(
        provider=Provider(config.provider),
        threads=threads,
        device_id=config.device_id,
        gpu_memory_max_mib=config.gpu_memory_max_mib,
        openvino_device=config.openvino_device,
        torch_device=config.torch_device,
        engine_cache=Path(config.engine_cache or workspace.engines).resolve(),
        batch_max=_batch_max(config),
    )


class Spawner:
    """Forks workers off the zygote, and starts another zygote when that one is gone."""

    def __init__(self, environment: dict[str, str], zygote: Zygote) -> None:
        """Take over a zygote that has been started; `environment` is for the next one."""
        self._environment = environment
        self._zygote = zygote
        self._lock = asyncio.Lock()

    def zygote_pid(self) -> int | None:
        """Process id of the zygote."""
        return self._zygote.pid

    async def start(self) -> None:
        await asyncio.to_thread(self._zygote.wait_until_ready)

    async def spawn(self, on_death: Callable[[Worker], None]) -> Worker:
        async with self._lock:
            pid, connection = await self._fork()
        worker = Worker(pid, connection)
        await worker.connect(on_death)
        return worker

    def _fork(self) -> Awaitable[tuple[int, socket.socket]]:
        return asyncio.to_thread(self._fork_or_restart)

    def _fork_or_restart(self) -> tuple[int, socket.socket]:
        try:
            return self._zygote.fork_worker()
        except ServingError:
            emit("zygote_restarted", pid=self._zygote.pid)
            self._zygote.close()
            self._zygote = Zygote(environment=self._environment)
            self._zygote.wait_until_ready()
            return self._zygote.fork_worker()

    async def close(self) -> None:
        await asyncio.to_thread(self._zygote.close)
