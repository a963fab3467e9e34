"""`sightloop serve`: run a server until it is told to stop."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sightloop.app.live_line import LiveLine
    from sightloop.app.server import ServerSpec, Serving


def serve(
    release: Annotated[
        list[str] | None,
        typer.Option(help="First release of a line: a bundle's folder or LINE@SEMVER."),
    ] = None,
    workspace: Annotated[Path, typer.Option(help="Folder of everything local.")] = Path(
        ".sightloop"
    ),
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one.")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads of a worker's network.")] = None,
    trust: Annotated[
        list[Path] | None, typer.Option(help="Public key to trust besides the workspace's.")
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="PEM file: certificate and chain; encrypts HTTP and gRPC.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file: its private key.")] = None,
    insecure: Annotated[
        bool, typer.Option(help="Listen without TLS where other machines can reach it.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Settings file with a table [serve].")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Say readiness as one JSON line.")] = False,
) -> None:
    """Serve releases over HTTP; each update is proven before it answers.

    A line that has served before comes back with the champion of its history. On a terminal the
    last line says once a second how many frames were answered, and how fast.
    """
    from sightloop.config.environment import inherited_environment
    from sightloop.serving.zygote import Zygote

    environment = inherited_environment()
    flags: dict[str, object] = {
        "host": host,
        "port": port,
        "threads": threads,
        "insecure": insecure or None,
    }
    flags |= {"tls_cert": _text(tls_cert), "tls_key": _text(tls_key)}
    with closing(Zygote(environment=environment)) as zygote:  # it imports while this process does
        from sightloop.app.locate import locate_release
        from sightloop.app.server import ServerSpec
        from sightloop.config.serving import load_serving_config
        from sightloop.config.workspace import open_workspace

        settings = load_serving_config(file=_settings_file(config), flags=flags)
        opened = open_workspace(workspace)
        spec = ServerSpec(
            workspace=opened,
            config=settings,
            releases=tuple(locate_release(opened, text) for text in release or ()),
            trust_files=tuple(path.resolve() for path in trust or ()),
            environment=environment,
            zygote=zygote,
        )
        _run(spec, as_json=json_)


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _run(spec: ServerSpec, *, as_json: bool) -> None:
    from sightloop._support.clock import SystemClock, utc_text
    from sightloop.app.live_line import LiveLine
    from sightloop.app.server import run_server
    from sightloop.telemetry.events import json_sink, set_sink
    from sightloop.telemetry.metrics import ServingMetrics

    clock = SystemClock()
    sink = json_sink(lambda: utc_text(clock.wall_s()))
    set_sink(sink)
    metrics = ServingMetrics()
    with ExitStack() as stack:

        def say(serving: Serving) -> None:
            if as_json:
                _say_json(serving)
                return
            _say(serving)
            if sys.stdout.isatty():
                line = LiveLine(metrics, sys.stdout, columns=_columns)
                set_sink(_above(line, sink) if sys.stderr.isatty() else sink)
                stack.enter_context(line)

        run_server(spec, clock=clock, on_ready=say, metrics=metrics)


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _above(
    line: LiveLine, sink: Callable[[Mapping[str, object]], None]
) -> Callable[[Mapping[str, object]], None]:
    """Events on the same terminal: each takes the live line's place, which is drawn again."""

    def write(record: Mapping[str, object]) -> None:
        line.clear()
        sink(record)

    return write


def _settings_file(named: Path | None) -> Path | None:
    default = Path("sightloop.toml")
    return named or (default if default.is_file() else None)


def _say_json(serving: Serving) -> None:
    import json

    where = {"url": serving.url, "grpc": serving.grpc_address}
    value = {"event": "serving", **where, "pid": serving.pid}
    print(json.dumps({**value, "champions": serving.champions}), flush=True)


def _say(serving: Serving) -> None:
    print(f"serving at {serving.url}  (ctrl-C ends; docs at {serving.url}/docs)")
    if serving.grpc_address is not None:
        print(f"  gRPC at {serving.grpc_address}")
    for name, champion in serving.champions.items():
        print(f"  line {name}: {champion['semver']} ({champion['digest'][:12]})")
    for note in serving.notes:
        print(f"  note: {note}")
    address = f"{serving.url}/v1/detect"
    if len(serving.champions) > 1:
        address = f"'{address}?line={min(serving.champions)}'"
    print(f"  try: curl --data-binary @IMAGE.jpg {address}", flush=True)
