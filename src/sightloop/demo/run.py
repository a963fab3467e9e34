"""The demo from end to end: release, serve, replace, refuse, go back and forth, check, report.

Invariant: every child process ends with the demo, however it ends, unless the server was to be
kept. The camera starts once and stops once; everything between happens under its frames.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from sightloop._support.clock import Clock
from sightloop._support.files import new_folder, write_bytes_atomic, write_json_atomic
from sightloop.client.http_client import Client
from sightloop.config.workspace import Workspace, open_workspace
from sightloop.demo.acts import Operator, go_back_and_forth, refuse_all, roll_back_and_forward
from sightloop.demo.candidates import build_candidates
from sightloop.demo.outcome import Outcome, ReleaseFacts, summarise
from sightloop.demo.quality import Quality, TestImage, judge
from sightloop.demo.refused_release import RefusedRelease, read_refused
from sightloop.demo.report import Evidence, render_report
from sightloop.demo.stage import Stage, TinyStage, TrainedStage
from sightloop.demo.timeline import Screen, Timeline
from sightloop.demo.training import SECOND
from sightloop.distribution.store import ReleaseStore
from sightloop.errors import WorkspaceError
from sightloop.release.bundle import Bundle
from sightloop.release.signing import SigningKey, create_key, ensure_key
from sightloop.testing.camera import CameraProcess, FrameRecord, images_of
from sightloop.testing.checker import Switch, check_records
from sightloop.testing.server_process import ServerProcess

UPDATES: Final = 20
RERUN_UPDATES: Final = 8
"""Where every training came from the cache: each update takes 3 s, and they were counted before."""
QUICK_UPDATES: Final = 6
FPS: Final = 30
KEPT_NAME: Final = "server.json"
_STEADY_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What was asked for.

    Attributes:
        out: Folder of everything the demo writes; one of an earlier demo is used again.
        quick: Tiny detectors instead of trainings.
        keep: Leave the server up.
    """

    out: Path
    quick: bool = False
    keep: bool = False


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What came out.

    Attributes:
        outcome: Figures and promises.
        report_json: The figures.
        report_html: The page.
        commands: What to type to look further: (what for, command).
        url: Where the kept server listens; None if it was not kept.
        pid: The kept server's process.
    """

    outcome: Outcome
    report_json: Path
    report_html: Path
    commands: tuple[tuple[str, str], ...]
    url: str | None
    pid: int | None


@dataclass(slots=True)
class _Played:
    """What is known when the camera has stopped."""

    first: Bundle
    second: Bundle
    refused: RefusedRelease | None = None
    records: list[FrameRecord] = field(default_factory=list)
    url: str | None = None
    pid: int | None = None


def run_demo(options: DemoOptions, screen: Screen, *, clock: Clock) -> DemoResult:
    """Play the whole demo and write its report.

    Raises:
        MissingExtraError: The trainer or MLflow is not installed, and it is not the quick demo.
        WorkspaceError: A server of an earlier demo still runs on this folder.
        SightloopError: Something failed that had to work.
    """
    began_s = clock.monotonic_s()
    out = options.out.resolve()
    workspace = open_workspace(out / "workspace")
    stage: Stage = TinyStage(out, workspace) if options.quick else TrainedStage(out, workspace)
    forget_history(workspace, out)
    timeline = Timeline(clock, screen)
    played, images = _play(options, stage, workspace, timeline)
    with timeline.act("compute every answer again with the release that it names"):
        store = ReleaseStore(workspace.releases)
        check = check_records(
            played.records,
            [path.read_bytes() for path in images_of(out / "camera")],
            switches=timeline.switches,
            folder_of=store.path_of,
        )
    with timeline.act("judge both releases on the frozen test set"):
        qualities = (judge(played.first, images), judge(played.second, images))
        training_s = stage.finish(played.second, played.first)
    releases = (
        _facts(played.first, qualities[0], training_s),
        _facts(played.second, qualities[1], training_s),
    )
    outcome = summarise(
        timeline,
        played.records,
        check,
        releases=releases,
        quick=options.quick,
        duration_s=clock.monotonic_s() - began_s,
        refused_release=played.refused,
        cached=stage.cached,
    )
    evidence = Evidence(
        timeline=timeline,
        records=played.records,
        images=images,
        classes=played.first.manifest.classes,
        qualities=qualities,
        commands=_commands(options, workspace, out, played),
    )
    return _write(outcome, evidence, out, played)


def _play(
    options: DemoOptions, stage: Stage, workspace: Workspace, timeline: Timeline
) -> tuple[_Played, tuple[TestImage, ...]]:
    """Everything from the first release to the camera's end."""
    out, screen = options.out.resolve(), timeline.screen
    with timeline.act("make release 1.0.0"):
        first = stage.first(screen.note)
        images = stage.test_set()
        _write_camera_images(out / "camera", images)
    with contextlib.ExitStack() as children:
        with timeline.act("serve it and start a camera at 30 frames a second"):
            server = children.enter_context(
                ServerProcess(workspace.root, log=out / "server.log", releases=[first.folder])
            )
            now_s = timeline.clock.monotonic_s()
            timeline.switches.append(Switch(now_s, now_s, first.digest))
            camera = children.enter_context(
                CameraProcess(
                    f"{server.url}/v1/detect", out / "camera", out / "frames.jsonl", fps=FPS
                )
            )
            screen.note(f"{server.url}, process {server.pid}")
            timeline.clock.sleep_s(_STEADY_S)
        kind = "other" if options.quick else "training"
        with timeline.act("make release 1.1.0 beside the live camera", kind):
            second = stage.second(screen.note)
        played = _Played(first, second)
        operator = children.enter_context(
            contextlib.closing(Operator(partial(Client, server.url), stage.line, timeline))
        )
        _order(options, operator, stage, workspace, timeline, played)
        played.records = camera.stop()
        if options.keep:
            server.let_go()
            played.url, played.pid = server.url, server.pid
            write_json_atomic(out / KEPT_NAME, {"url": server.url, "pid": server.pid})
    return played, images


def _order(
    options: DemoOptions,
    operator: Operator,
    stage: Stage,
    workspace: Workspace,
    timeline: Timeline,
    played: _Played,
) -> None:
    """Every order that is given while the camera runs."""
    out = options.out.resolve()
    with timeline.act("replace 1.0.0 by 1.1.0 live"):
        switch = operator.update(played.second.folder)
        timeline.screen.note(f"proven and switched in {switch.ack_s - switch.order_s:.2f} s")
    if not options.quick:
        with timeline.act(
            "make release 1.2.0 beside it: better overall, worse at night", "training"
        ):
            played.refused = _third(operator, stage, timeline)
    with timeline.act("build six bad candidates"):
        candidates = build_candidates(
            out / "candidates",
            played.second,
            key=ensure_key(workspace.keys)[0],
            stranger=_stranger(out / "stranger"),
        )
    with timeline.act("try six bad candidates", "refusals"):
        refuse_all(operator, candidates, timeline)
    count = updates_of(options, cached=stage.cached)
    with timeline.act(f"{count} updates back and forth, each proven again", "updates"):
        digests = (played.second.digest, played.first.digest)
        go_back_and_forth(operator, digests, timeline, count=count)
    with timeline.act("roll back, and forward again", "rollback"):
        roll_back_and_forward(operator, timeline)


def _third(operator: Operator, stage: Stage, timeline: Timeline) -> RefusedRelease | None:
    """The pipeline's own gates say no to it, so that nobody can order it."""
    before = operator.champion()
    judged = stage.third(timeline.screen.note)
    if judged is None:
        return None
    return read_refused(judged, SECOND, champion_kept=operator.champion() == before)


def updates_of(options: DemoOptions, *, cached: bool) -> int:
    """How many updates go back and forth."""
    if options.quick:
        return QUICK_UPDATES
    return RERUN_UPDATES if cached else UPDATES


def forget_history(workspace: Workspace, out: Path) -> None:
    """Start anew with history, store and registry; an earlier demo's trainings stay cached.

    Newer code or settings give other releases of the same version, which no registry accepts.

    Raises:
        WorkspaceError: A server still runs on the workspace.
    """
    with _lock(workspace, out):
        for database in (workspace.serving_database, workspace.mlflow_database):
            for path in database.parent.glob(f"{database.name}*"):
                path.unlink()
        for folder in (workspace.releases, workspace.mlflow_artifacts):
            shutil.rmtree(folder, ignore_errors=True)
        (out / KEPT_NAME).unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(workspace: Workspace, out: Path) -> Iterator[None]:
    """Hold what a server on this workspace holds."""
    with open(workspace.root / "serving.lock", "a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorkspaceError(
                f"demo folder {out}: expected no server on it, found one running"
                f"{_kept_server(out)}; stop it or name another folder with --out",
                "workspace_in_use",
            ) from error
        yield


def _kept_server(out: Path) -> str:
    path = out / KEPT_NAME
    if not path.is_file():
        return ""
    kept = json.loads(path.read_bytes())
    return f" (process {kept['pid']} at {kept['url']}, kept by an earlier demo)"


def _write_camera_images(folder: Path, images: tuple[TestImage, ...]) -> None:
    with new_folder(folder) as temporary:
        for image in images:
            (temporary / Path(image.name).name).write_bytes(image.data)


def _stranger(folder: Path) -> SigningKey:
    with contextlib.suppress(FileNotFoundError):
        (folder / "stranger.key").unlink()
    return create_key(folder, "stranger")


def _facts(bundle: Bundle, quality: Quality, training_s: dict[str, float | None]) -> ReleaseFacts:
    semver = bundle.manifest.semver
    return ReleaseFacts(
        semver=semver,
        digest=bundle.digest,
        map50=quality.map50,
        map50_new_scratch=quality.map50_new_scratch,
        ap50=dict(zip(bundle.manifest.classes, quality.report.ap50, strict=True)),
        train_s=training_s.get(semver),
    )


def _beside_python(command: str) -> str:
    """A command of this very environment, whether it is activated or not."""
    path = Path(sys.executable).with_name(command)
    return str(path) if path.exists() else command


def _commands(
    options: DemoOptions, workspace: Workspace, out: Path, played: _Played
) -> tuple[tuple[str, str], ...]:
    commands = []
    if not options.quick:
        address = f"sqlite:///{workspace.mlflow_database}"
        commands.append(
            (
                "Both runs, their parameters, losses, PR curves, bundles and model versions "
                "(choose Model training at the top left):",
                f"{_beside_python('mlflow')} ui --backend-store-uri {address}",
            )
        )
    commands.append(
        (
            f"Release {played.second.manifest.semver} as it was signed:",
            f"{_beside_python('sightloop')} release show {played.second.folder}",
        )
    )
    if played.url is not None:
        commands.append(
            (
                "Ask the server that was kept; ctrl-C does not reach it:",
                f"curl --data-binary @{next((out / 'camera').iterdir())} {played.url}/v1/detect\n"
                f"kill {played.pid}    # stops it",
            )
        )
    else:
        commands.append(
            (
                "Serve it yourself:",
                f"{_beside_python('sightloop')} serve --workspace {workspace.root}",
            )
        )
    commands.append(
        ("Every event of the server, one JSON object a line:", f"less {out}/server.log")
    )
    return tuple(commands)


def _write(outcome: Outcome, evidence: Evidence, out: Path, played: _Played) -> DemoResult:
    report_json, report_html = out / "report.json", out / "report.html"
    acts = [
        {"name": act.name, "kind": act.kind, "seconds": round(act.seconds, 2)}
        for act in evidence.timeline.acts
    ]
    write_json_atomic(report_json, {**outcome.as_dict(), "acts": acts})
    write_bytes_atomic(report_html, render_report(outcome, evidence).encode())
    return DemoResult(outcome, report_json, report_html, evidence.commands, played.url, played.pid)
