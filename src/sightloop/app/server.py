"""A server's composition root: workspace, zygote, lines, REST, and how they start and stop.

Order of start: lock, what the address demands, socket (so that a port in use fails early), zygote,
lines (each proves or restores its champion), then requests. Order of stop: no new requests, open
ones answered, workers ended, zygote ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import uvicorn
import uvloop

from sightloop._support.clock import Clock, utc_text
from sightloop._support.database import open_sqlite
from sightloop.app.grpc_port import listen_grpc
from sightloop.app.http_bounds import HttpBounds, bounded_http
from sightloop.app.line_parts import Spawner, Surroundings, line_parts, request_slots
from sightloop.app.listener import (
    TlsFiles,
    bundle_folders,
    door_rules,
    listen,
    resolved,
    tls_files,
)
from sightloop.config.serving import ServingConfig
from sightloop.config.workspace import Workspace
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import (
    RefusedAtStartError,
    ReleaseNotFoundError,
    WorkspaceError,
)
from sightloop.release.bundle import read_bundle
from sightloop.release.signing import load_trust
from sightloop.serving.access import Role, Token, token_of
from sightloop.serving.adminplane import AdminPlane
from sightloop.serving.audit import AuditLog, AuditStore
from sightloop.serving.dataplane import DataPlane
from sightloop.serving.detect_path import DetectPath
from sightloop.serving.doorkeeper import Doorkeeper, DoorRules
from sightloop.serving.history import HistoryStore
from sightloop.serving.line import ServedLine
from sightloop.serving.open_bytes import OpenBytes
from sightloop.serving.open_inference import OpenInference
from sightloop.serving.open_inference_rest import mount_open_inference
from sightloop.serving.rate_limit import RateLimit
from sightloop.serving.records import LineHistory
from sightloop.serving.refused_orders import RefusedOrders
from sightloop.serving.request_rest import BodyLimits
from sightloop.serving.rest import build_rest
from sightloop.serving.scrape import LineCollector
from sightloop.serving.shares import Shares
from sightloop.serving.stored_releases import StoredReleases
from sightloop.serving.token_file import TokenFile
from sightloop.serving.update import LineOrders
from sightloop.serving.zygote import Zygote
from sightloop.telemetry.events import emit
from sightloop.telemetry.metrics import ServingMetrics

_DRAIN_S = 10
_KEEP_ALIVE_S = 75


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """What to serve, and from where.

    Attributes:
        releases: Folders of the first releases, for lines without a history.
        trust_files: Trusted public keys besides the workspace's.
        environment: Environment that the zygote inherits.
        zygote: Started already, so that it imports while its starter does; None: started here.
    """

    workspace: Workspace
    config: ServingConfig
    releases: tuple[Path, ...]
    trust_files: tuple[Path, ...]
    environment: dict[str, str]
    zygote: Zygote | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """What a server says of itself when it is ready."""

    url: str
    grpc_address: str | None
    pid: int
    champions: dict[str, dict[str, str]]
    notes: tuple[str, ...]


def run_server(
    spec: ServerSpec,
    *,
    clock: Clock,
    on_ready: Callable[[Serving], None],
    metrics: ServingMetrics | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM; returns after the drain.

    Args:
        spec: What to serve.
        clock: Where the time comes from.
        on_ready: Called once, when requests are answered.
        metrics: Where to count, for somebody who looks on; made here otherwise.

    Raises:
        PortInUseError, WorkspaceError, ReleaseNotFoundError, RefusedAtStartError.
        ConfigError: The address demands a token or TLS that is not there; a key to trust is none.
    """
    with _locked(spec.workspace):
        spec = replace(spec, config=resolved(spec.config))
        door = _door(spec, clock)
        load_trust(spec.workspace.keys, spec.trust_files)  # a file that is no key ends it here
        with (
            contextlib.closing(listen(spec.config)) as listener,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(_serve(spec, door, listener, clock, on_ready, metrics or ServingMetrics()))


@contextlib.contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    """One server a workspace: two would write one history."""
    path = workspace.root / "serving.lock"
    with open(path, "a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkspaceError(
                f"workspace {workspace.root}: expected no other server on it, found one; stop it "
                "or name another workspace with --workspace",
                "workspace_in_use",
            ) from error
        yield


@dataclass(frozen=True, slots=True)
class _Door:
    """What is asked of callers, found to be what the address demands."""

    rules: DoorRules
    tokens: TokenFile
    tls: TlsFiles | None

    def keeper(self, around: Surroundings, refused: RefusedOrders) -> Doorkeeper:
        rate = RateLimit(around.config.admin_calls_per_s, clock=around.clock)
        return Doorkeeper(
            self.rules,
            tokens=self.tokens.tokens,
            rate=rate,
            metrics=around.metrics,
            note_order=refused.note,
        )


async def _serve(
    spec: ServerSpec,
    door: _Door,
    listener: socket.socket,
    clock: Clock,
    on_ready: Callable[[Serving], None],
    metrics: ServingMetrics,
) -> None:
    tls = door.tls
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="disk")
    engine = open_sqlite(spec.workspace.serving_database)
    history = HistoryStore(engine)
    spawner = Spawner(spec.environment, spec.zygote or Zygote(environment=spec.environment))
    lines: dict[str, ServedLine] = {}
    audit = AuditLog(AuditStore(engine), executor=executor, clock=clock)
    refused = RefusedOrders(audit, lines=lines)
    grpc_server = None
    try:
        grpc_server, note = listen_grpc(spec.config, tls)
        await spawner.start()
        store = ReleaseStore(spec.workspace.releases)
        store.drop_unfinished()
        sources = _sources(spec, history)
        around = _surroundings(spec, metrics, clock, spawner)
        for name in sources:
            log = LineHistory(name, store=history, executor=executor, clock=clock)
            lines[name] = ServedLine(line_parts(around, name, log))
        collector = LineCollector(lines, zygote_pid=spawner.zygote_pid)
        metrics.registry.register(collector)
        orders = {name: LineOrders(line) for name, line in lines.items()}
        notes = [note, *[await _start_line(orders[name], sources[name]) for name in sources]]
        folders = bundle_folders(spec.config, door.rules, spec.workspace.root)
        admin = AdminPlane(lines, orders, log=audit, folders=folders, machine=collector.machine)
        planes = _planes(around, door.keeper(around, refused), lines, admin)
        plane = _open_inference(lines, planes, store, clock)
        address = None
        if grpc_server is not None:
            address = await grpc_server.serve(plane, planes.keeper, planes.open_bytes)
        await _answer_requests(
            _uvicorn_config(_application(planes, plane, spec.config), spec.config, tls, metrics),
            listener,
            on_ready=lambda: _report(_serving(listener, tls, address, lines, notes), on_ready),
            on_end=grpc_server.begin_stop if grpc_server is not None else lambda: None,
        )
    finally:
        if grpc_server is not None:
            await grpc_server.stop()
        for line in lines.values():
            await line.close()
        await spawner.close()
        await refused.close()
        executor.shutdown()
        history.close()
        emit("server_stopped")


def _surroundings(
    spec: ServerSpec, metrics: ServingMetrics, clock: Clock, spawner: Spawner
) -> Surroundings:
    return Surroundings(
        workspace=spec.workspace,
        config=spec.config,
        trust_files=spec.trust_files,
        metrics=metrics,
        clock=clock,
        spawner=spawner,
        shares=Shares(request_slots(spec.config)),
    )


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again before the workers are ended."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def end(self) -> None:
        """Stop listening and drain; a second signal does not wait."""
        self.force_exit = self.should_exit
        self.should_exit = True


@dataclass(frozen=True, slots=True)
class _Planes:
    """What every transport of a server asks."""

    data: DataPlane
    admin: AdminPlane
    keeper: Doorkeeper
    metrics: ServingMetrics
    open_bytes: OpenBytes


def _planes(
    around: Surroundings, keeper: Doorkeeper, lines: dict[str, ServedLine], admin: AdminPlane
) -> _Planes:
    config, metrics, clock = around.config, around.metrics, around.clock
    open_bytes = OpenBytes(
        config.open_bytes_max,
        requests_max=config.connections_max,
        refused=lambda error: metrics.refused.labels("data", error.reason).inc(),
    )
    data = DataPlane(lines, metrics=metrics, clock=clock)
    return _Planes(data, admin, keeper, metrics, open_bytes)


def _open_inference(
    lines: dict[str, ServedLine], planes: _Planes, store: ReleaseStore, clock: Clock
) -> OpenInference:
    known, said = StoredReleases(store), version("sightloop")
    return OpenInference(lines, planes.data, planes.admin, known=known, clock=clock, version=said)


def _application(planes: _Planes, plane: OpenInference, config: ServingConfig) -> DetectPath:
    """Everything that is answered over HTTP."""
    limits = BodyLimits(config.body_bytes_max, config.body_timeout_s, planes.open_bytes)
    keeper, said = planes.keeper, version("sightloop")
    app = build_rest(
        planes.data,
        planes.admin,
        keeper=keeper,
        metrics=planes.metrics,
        limits=limits,
        version=said,
    )
    mount_open_inference(app, plane, keeper=keeper, limits=limits, version=said)
    return DetectPath(app, planes.data, keeper, limits)


def _door(spec: ServerSpec, clock: Clock) -> _Door:
    """Who is asked for what at the address of `spec`; nothing is bound or started for it.

    Raises:
        ConfigError: It demands a token or TLS that is not there.
    """
    config = spec.config
    given = config.token
    beside: tuple[Token, ...] = ()
    if given is not None:
        made_at = utc_text(clock.wall_s())
        secret = given.get_secret_value()
        beside = (token_of(secret, name="environment", role=Role.OPERATE, made_at=made_at),)
    tokens, tls = TokenFile(spec.workspace.tokens, clock=clock, beside=beside), tls_files(config)
    encrypted, has_tokens = tls is not None, bool(tokens.tokens())
    rules = door_rules(config, config.host, encrypted=encrypted, has_tokens=has_tokens)
    return _Door(rules, tokens, tls)


def _uvicorn_config(
    app: Callable[..., object],
    config: ServingConfig,
    tls: TlsFiles | None,
    metrics: ServingMetrics,
) -> uvicorn.Config:
    bounds = HttpBounds(
        idle_s=_KEEP_ALIVE_S,
        head_s=config.head_timeout_s,
        head_bytes_max=config.head_bytes_max,
        body_s=config.body_timeout_s,
        refused=lambda reason: metrics.refused.labels("connection", reason).inc(),
    )
    return uvicorn.Config(
        app,
        http=bounded_http(bounds),
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
        server_header=False,
        proxy_headers=False,  # anybody on this machine could say to come from elsewhere
        limit_concurrency=config.connections_max,
        ssl_certfile=tls.certificate if tls is not None else None,
        ssl_keyfile=tls.key if tls is not None else None,
    )


async def _answer_requests(
    config: uvicorn.Config,
    listener: socket.socket,
    *,
    on_ready: Callable[[], None],
    on_end: Callable[[], None],
) -> None:
    server = _Server(config)
    loop = asyncio.get_running_loop()

    def end() -> None:
        server.end()
        on_end()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    gc.collect()
    gc.freeze()  # start-up objects live as long as the server: keep them out of collections
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)
    if server.started:
        on_ready()
    await task


def _sources(spec: ServerSpec, history: HistoryStore) -> dict[str, Path | None]:
    """Which lines to serve: those of the history, and those of the named releases."""
    sources: dict[str, Path | None] = dict.fromkeys(history.lines())
    for folder in spec.releases:
        sources[read_bundle(folder).manifest.line] = folder
    if not sources:
        raise ReleaseNotFoundError(
            f"workspace {spec.workspace.root}: expected a line with a history or --release, found "
            "neither; name a release with `sightloop serve --release FOLDER`"
        )
    return sources


async def _start_line(orders: LineOrders, source: Path | None) -> str | None:
    outcome = await orders.start(source)
    if outcome is None:
        return None if source is None else f"--release {source} not used: history goes on"
    if outcome.refusal is not None:
        raise RefusedAtStartError(
            f"release {source}: refused by gate {outcome.refusal.gate} "
            f"({outcome.refusal.reason}): {outcome.refusal.message}",
            outcome.as_dict(),
        )
    return None


def _report(serving: Serving, on_ready: Callable[[Serving], None]) -> None:
    emit(
        "server_started",
        url=serving.url,
        grpc=serving.grpc_address,
        pid=serving.pid,
        champions=serving.champions,
    )
    on_ready(serving)


def _serving(
    listener: socket.socket,
    tls: TlsFiles | None,
    grpc_address: str | None,
    lines: dict[str, ServedLine],
    notes: Sequence[str | None],
) -> Serving:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    champions = {}
    for name, line in lines.items():
        champion = line.slot.table.champion
        if champion is not None:
            champions[name] = champion.release.as_dict()
    return Serving(
        url=f"{'https' if tls is not None else 'http'}://{shown}:{port}",
        grpc_address=grpc_address,
        pid=os.getpid(),
        champions=champions,
        notes=tuple(note for note in notes if note),
    )
