"""`sightloop demo`: the whole loop on one machine, small but real."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sightloop.demo.run import DemoResult

Say = Callable[[str], None]
EXIT_BROKEN = 1


def demo(
    out: Annotated[
        Path, typer.Option(help="Folder of everything the demo writes; may be used again.")
    ] = Path("runs/demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny detectors, no training: under a minute.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server up at the end.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print report.json at the end.")] = False,
) -> None:
    """Train, prove, serve, replace live, refuse, roll back, and check every answer.

    Exit code 1 if a promise is broken: a frame lost, an answer mixed or stale, a bad candidate
    let through or stopped by another gate than the one meant for it.
    """
    from rich.console import Console

    from sightloop._support.clock import SystemClock
    from sightloop.demo.run import DemoOptions, run_demo
    from sightloop.demo.screen import ConsoleScreen, print_table

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the children like ctrl-C
    clock = SystemClock()
    console = Console(stderr=json_)
    options = DemoOptions(out=out, quick=quick, keep=keep)
    result = run_demo(options, ConsoleScreen(console, clock), clock=clock)
    print_table(result.outcome, console)
    _print_where(result, partial(console.print, highlight=False, markup=False, soft_wrap=True))
    if json_:
        print(result.report_json.read_text())
    if not result.outcome.kept:
        raise typer.Exit(EXIT_BROKEN)


def _print_where(result: DemoResult, say: Say) -> None:
    say(f"\nreport: {result.report_html}")
    say(f"figures: {result.report_json}")
    for _, command in result.commands:
        if " ui --backend-store-uri" in command:
            say(f"runs: {command}")
    if result.url is not None:
        say(f"the server is left up: {result.url}  (stop it with: kill {result.pid})")
