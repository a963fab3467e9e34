"""Which number of workers and threads serves a release best on this machine: `bench tune`.

Each setting gets a real server of its own with the release, asked with its own calibration frames;
the settings are gone through twice, in opposite order, and the better turn of each counts: a busy
moment may only hide what a setting can do. The result is kept in the workspace for
`serve.workers = "auto"`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sightloop._support.hardware import describe_hardware
from sightloop.config.workspace import Workspace, open_workspace
from sightloop.release.bundle import read_bundle
from sightloop.release.calibration import load_calibration
from sightloop.serving.tuning import Measured, Setting, choose, keep_tuning, settings_for
from sightloop.testing.meter import Meter
from sightloop.testing.server_process import ServerProcess

_TURN_S: Final = 2.0

Say = Callable[[str], None]


def bench_tune(workspace: Workspace, bundle: Path, say: Say) -> dict[str, object]:
    """Measure, and keep the result.

    Args:
        workspace: Whose keys are trusted, and where the result is kept.
        bundle: The release's folder.
        say: Progress, for people.
    """
    release = read_bundle(bundle)
    line = release.manifest.line
    settings = settings_for(len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="sightloop-bench-") as name:
        folder = Path(name)
        images = folder / "images"
        images.mkdir()
        for index, (image, _) in enumerate(load_calibration(release)):
            (images / f"{index:04d}.jpg").write_bytes(image)
        turns: dict[Setting, list[Measured]] = {setting: [] for setting in settings}
        for number, setting in enumerate((*settings, *reversed(settings))):
            place = open_workspace(folder / f"workspace-{number}")
            place.keys.mkdir()
            for key in workspace.keys.glob("*.pub"):
                shutil.copyfile(key, place.keys / key.name)
            one = _measure(place, bundle, images, setting)
            turns[setting].append(one)
            say(
                f"{setting.workers} x {setting.threads} threads: {one.rps:.1f}/s, "
                f"{one.p50_ms:.1f} ms alone"
            )
    measured = [
        Measured(setting, max(one.rps for one in ones), min(one.p50_ms for one in ones))
        for setting, ones in turns.items()
    ]
    keep_tuning(workspace.tuning, line, hardware=describe_hardware(), measured=measured)
    best = {goal: choose(measured, goal) for goal in ("latency", "throughput")}
    return {
        "bench": "tune",
        "line": line,
        "hardware": describe_hardware(),
        "measured": [
            {
                "workers": one.setting.workers,
                "threads": one.setting.threads,
                "rps": round(one.rps, 1),
                "p50_ms": round(one.p50_ms, 2),
            }
            for one in measured
        ],
        **{
            goal: {"workers": setting.workers, "threads": setting.threads}
            for goal, setting in best.items()
        },
    }


def _measure(place: Workspace, bundle: Path, images: Path, setting: Setting) -> Measured:
    environment = {
        "SIGHTLOOP_SERVE_WORKERS": str(setting.workers),
        "SIGHTLOOP_SERVE_THREADS": str(setting.threads),
    }
    log = place.root / "server.log"
    with ServerProcess(place.root, log=log, releases=[bundle], environment=environment) as server:
        command = ["sightloop.testing.closed_loop", f"{server.url}/v1/detect", str(images)]
        with Meter([*command, "--connections", "1"]) as alone:
            alone.turn(_TURN_S / 4)
            p50_ms = float(alone.turn(_TURN_S)["p50_ms"])
        with Meter([*command, "--connections", str(2 * setting.workers + 1)]) as many:
            said = many.turn(_TURN_S)
    return Measured(setting, rps=said["answers"] / said["seconds"], p50_ms=p50_ms)
