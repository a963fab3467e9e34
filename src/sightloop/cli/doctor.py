"""`sightloop doctor`: what this machine is like for serving, and what to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

EXIT_UNFIT = 2


def doctor(
    workspace: Annotated[Path, typer.Option(help="Folder of everything local.")] = Path(
        ".sightloop"
    ),
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what this machine is like for serving: cores, priorities, disk, clock, libraries.

    Exit code 2 if something keeps a server from working or from its promises.
    """
    from sightloop._support.clock import SystemClock
    from sightloop.app.doctor import Health, diagnose, overall
    from sightloop.app.doctor_probes import find_facts

    checks = diagnose(find_facts(workspace, SystemClock()))
    health = overall(checks)
    if json_:
        print(json.dumps({"health": health.value, "checks": [one.as_dict() for one in checks]}))
    else:
        for check in checks:
            print(f"{check.health.value:<4}  {check.name:<14} {check.found}")
            if check.change:
                print(f"{'':<21}-> {check.change}")
    if health is Health.FAIL:
        raise typer.Exit(EXIT_UNFIT)
