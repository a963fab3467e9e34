"""What is interrupted: every step of a pipeline, the store, the registry and a slot's history."""

from __future__ import annotations

import functools
import importlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sightloop._support.clock import SystemClock
from sightloop._support.database import open_sqlite
from sightloop._support.files import TEMPORARY_PREFIX
from sightloop.config.workspace import Workspace, open_workspace
from sightloop.distribution.holds import Holds
from sightloop.distribution.store import ReleaseStore
from sightloop.pipeline.cache import tree_digest
from sightloop.pipeline.code_digest import code_digest
from sightloop.pipeline.config import PipelineConfig
from sightloop.pipeline.display import SilentDisplay
from sightloop.pipeline.graph import STEP_NAMES, build_graph
from sightloop.pipeline.lock import hold_line
from sightloop.pipeline.release_builder import BuildSpec, build_into_store
from sightloop.pipeline.run import run_steps
from sightloop.pipeline.step import Step
from sightloop.registry.mlflow_registry import MlflowRegistry
from sightloop.registry.mlflow_store import MlflowStore, open_mlflow
from sightloop.registry.mlflow_tracker import DIGEST_TAG, MlflowTracker
from sightloop.registry.registry import Role
from sightloop.release.archive import write_archive
from sightloop.release.bundle import verify_bundle
from sightloop.release.signing import ensure_key, load_trust
from sightloop.serving.history import Action, HistoryStore, ReleaseId, SlotEvent
from sightloop.serving.records import write_event
from sightloop.testing.fake_training_steps import with_fake_trainer
from sightloop.testing.interruptions import Json, Scenario
from sightloop.testing.plate_dataset import write_plate_dataset
from sightloop.testing.registry_kit import record_of
from sightloop.testing.tiny_detectors import build_tiny_detector, build_tiny_release

LINE: Final = "plate"
SEMVER: Final = "1.0.0"
_SIDE_PX: Final = 96
_MEASURED: Final = frozenset({"train", "evaluate", "gate", "register"})
"""Steps whose outputs hold times: of these the names of the files are compared."""


def _workspace(root: Path) -> Workspace:
    return open_workspace(root / "ws")


def _nothing_left(root: Path) -> None:
    left = [str(path.relative_to(root)) for path in root.rglob(f"{TEMPORARY_PREFIX}*")]
    assert not left, f"left behind: {left}"


# ---------------------------------------------------------------- the pipeline


@functools.cache
def _graph(root: Path) -> tuple[Step, ...]:
    config = PipelineConfig.model_validate(
        {
            "line": LINE,
            "semver": SEMVER,
            "data": root / "user" / "data.yaml",
            "train": {"side_px": _SIDE_PX, "epochs": 2},
            "calibrate": {"frames": 8},
        }
    )
    return with_fake_trainer(build_graph(config))


def _run(root: Path, count: int) -> None:
    run_steps(
        _graph(root)[:count],
        _workspace(root),
        line=LINE,
        config={},
        display=SilentDisplay(),
        clock=SystemClock(),
    )


@dataclass(frozen=True, slots=True)
class PipelineWork:
    """A pipeline up to its `last` step, of which all before `first` are in the cache."""

    first: int
    last: int

    def warm(self, folder: Path) -> None:
        for step in _graph(folder)[: self.last]:
            importlib.import_module(step.module)
            code_digest((step.module, *step.code))
        if self.last == len(STEP_NAMES):
            open_mlflow(open_workspace(folder))

    def prepare(self, root: Path) -> None:
        write_plate_dataset(root / "user", {"train": 2, "val": 8, "test": 4}, side_px=_SIDE_PX)
        if self.first:
            _run(root, self.first)
        if self.first == len(STEP_NAMES) - 1:
            open_mlflow(_workspace(root))

    def work(self, root: Path) -> None:
        _run(root, self.last)

    def seen(self, root: Path) -> Json:
        workspace = _workspace(root)
        if workspace.mlflow_database.exists() and self.last == len(STEP_NAMES):
            _registry_state(root)
        _store_state(root)
        folders = workspace.cache.glob("*/*")
        return sorted(
            {one.parent.name for one in folders if not one.name.startswith(TEMPORARY_PREFIX)}
        )

    def state(self, root: Path, seen: Json) -> Json:
        _nothing_left(_workspace(root).root)
        records = sorted(
            _workspace(root).runs.glob("*/run.json"), key=lambda one: one.stat().st_mtime_ns
        )
        values = [json.loads(path.read_bytes()) for path in records]
        assert values[-1]["state"] == "done"
        assert all(value["state"] != "running" for value in values)
        how = {step["name"]: step["state"] for step in values[-1]["steps"]}
        again = [name for name in seen or () if how.get(name, "cached") != "cached"]
        assert not again, f"done twice: {again}"
        outputs = {
            step.name: _outputs(Path(values[-1]["result"][step.name]), step)
            for step in _graph(root)[: self.last]
        }
        if self.last < len(STEP_NAMES):
            return outputs
        registry = _registry_state(root)
        assert registry["numbers"] == ["1"], registry
        assert registry["finished"] == 1, registry
        assert registry["running"] == 0, registry
        assert len(_store_state(root)) == 1
        return outputs


def _outputs(folder: Path, step: Step) -> Mapping[str, Json]:
    found: dict[str, Json] = {}
    for output in step.outputs:
        path = folder / output.file_name
        found[output.name] = (
            sorted(one.relative_to(folder).as_posix() for one in path.rglob("*"))
            if step.name in _MEASURED
            else tree_digest(path)
        )
    return found


# ---------------------------------------------------------------- store


def _store_state(root: Path) -> Json:
    """Versions in the store, each verified."""
    workspace = _workspace(root)
    trust = load_trust(workspace.keys)
    store = ReleaseStore(workspace.releases)
    for entry in store.entries():
        store.get(entry.digest, trust)
    folders = workspace.releases.glob("[0-9a-f]*") if workspace.releases.is_dir() else ()
    assert len(list(folders)) == len(store.entries()), "a folder with a digest's name is no release"
    return [entry.semver for entry in store.entries()]


@dataclass(frozen=True, slots=True)
class StoreWork:
    """Something done to a store that holds 1.0.0; 1.1.0 lies beside it, as folder and file."""

    do: Callable[[Path, ReleaseStore], object]

    def warm(self, folder: Path) -> None:
        """Everything is imported above."""

    def prepare(self, root: Path) -> None:
        workspace = _workspace(root)
        key, _ = ensure_key(workspace.keys)
        trust = load_trust(workspace.keys)
        store = ReleaseStore(workspace.releases)
        for variant, semver in enumerate(("1.0.0", "1.1.0")):
            folder = root / semver
            build_tiny_release(folder, line=LINE, semver=semver, key=key, variant=variant, frames=2)
        write_archive(root / "1.1.0", root / "1.1.0.sightloop", trust)
        (root / "out").mkdir()
        write_plate_dataset(root / "user", {"train": 1, "val": 8}, side_px=_SIDE_PX)
        store.add(root / "1.0.0", trust)

    def work(self, root: Path) -> None:
        store = ReleaseStore(_workspace(root).releases)
        store.drop_unfinished()  # as every server does at its start
        self.do(root, store)

    def seen(self, root: Path) -> Json:
        return _store_state(root)

    def state(self, root: Path, seen: Json) -> Json:
        workspace = _workspace(root)
        _nothing_left(workspace.releases)
        store = ReleaseStore(workspace.releases)
        found = root / "out" / "x.sightloop"
        return {
            "store": _store_state(root),
            "holds": sorted(Holds(store).notes().values()),
            "exported": tree_digest(found) if found.exists() else None,
        }


def _trust(root: Path) -> Any:
    return load_trust(_workspace(root).keys)


def _remove(root: Path, store: ReleaseStore) -> None:
    for entry in store.entries():
        store.remove(entry.digest)


def _hold(root: Path, store: ReleaseStore) -> None:
    Holds(store).add(store.entries()[0].digest, "kept")


def _build(root: Path, store: ReleaseStore) -> None:
    """`release build`: a network without training, into the store."""
    workspace = _workspace(root)
    if any(entry.semver == "2.0.0" for entry in store.entries()):
        return
    model = root / "plate.onnx"
    build_tiny_detector(model, variant=0, side_px=_SIDE_PX)
    spec = BuildSpec(
        onnx=model, data=root / "user/data.yaml", line=LINE, semver="2.0.0", split="val", frames=8
    )
    key, _ = ensure_key(workspace.keys)
    build_into_store(spec, store=store, key=key, trust=load_trust(workspace.keys))


def _export(root: Path, store: ReleaseStore) -> None:
    write_archive(root / "1.1.0", root / "out" / "x.sightloop", _trust(root))


# ---------------------------------------------------------------- registry


def _registry_state(root: Path) -> dict[str, Any]:
    """What MLflow holds; every version is fetched and verified."""
    workspace = _workspace(root)
    store = open_mlflow(workspace)
    registry = MlflowRegistry(store)
    versions = registry.versions(LINE)
    for version in versions:
        to = root / "fetched" / version.number
        registry.download(LINE, version.semver, to, load_trust(workspace.keys))
    runs = _runs(store)
    finished = {run_id for run_id, status in runs if status == "FINISHED"}
    assert {version.run_id for version in versions} <= finished
    roles = {role.value: registry.holder(LINE, role) for role in Role}
    shutil.rmtree(root / "fetched", ignore_errors=True)
    return {
        "numbers": [version.number for version in versions],
        "semvers": [version.semver for version in versions],
        "finished": len(finished),
        "running": sum(status == "RUNNING" for _, status in runs),
        "roles": {name: held.semver if held else None for name, held in roles.items()},
    }


def _runs(store: MlflowStore) -> list[tuple[str, str]]:
    experiment = store.client.get_experiment_by_name(LINE)
    if experiment is None:
        return []
    found = store.client.search_runs(
        [experiment.experiment_id], filter_string=f"tags.`{DIGEST_TAG}` != ''"
    )
    return [(str(run.info.run_id), str(run.info.status)) for run in found]


@dataclass(frozen=True, slots=True)
class RegistryWork:
    """Something done to a workspace's MLflow.

    Attributes:
        registered: Versions that are there before; the first is champion.
        do: The work.
    """

    registered: int
    do: Callable[[Path], object]
    opened: bool = True

    def warm(self, folder: Path) -> None:
        open_mlflow(open_workspace(folder))

    def prepare(self, root: Path) -> None:
        StoreWork(_hold).prepare(root)
        if self.opened:
            open_mlflow(_workspace(root))
        for semver in ("1.0.0", "1.1.0")[: self.registered]:
            _register(root, semver)
        if self.registered:
            _promote(root, "1.0.0")

    def work(self, root: Path) -> None:
        with hold_line(_workspace(root), LINE):  # as the step `register` does it
            self.do(root)

    def seen(self, root: Path) -> Json:
        return None

    def state(self, root: Path, seen: Json) -> Json:
        _nothing_left(_workspace(root).root)
        return _registry_state(root)


def _register(root: Path, semver: str) -> None:
    store = open_mlflow(_workspace(root))
    bundle = verify_bundle(root / semver, _trust(root))
    run_id = MlflowTracker(store).record(record_of(bundle.digest))
    MlflowRegistry(store).register(bundle, run_id=run_id)


def _promote(root: Path, semver: str) -> None:
    bundle = verify_bundle(root / semver, _trust(root))
    MlflowRegistry(open_mlflow(_workspace(root))).promote(LINE, bundle.digest)


# ---------------------------------------------------------------- history

_EVENTS: Final = (
    SlotEvent("2026-01-01T00:00:00.000Z", Action.START, ReleaseId("1.0.0", "0" * 64)),
    SlotEvent("2026-01-01T00:00:01.000Z", Action.UPDATE, ReleaseId("1.1.0", "1" * 64)),
    SlotEvent("2026-01-01T00:00:02.000Z", Action.ROLLBACK, ReleaseId("1.0.0", "0" * 64)),
)


class HistoryWork:
    """Events appended to a slot's history, its database made by the way."""

    def warm(self, folder: Path) -> None:
        """Everything is imported above."""

    def prepare(self, root: Path) -> None:
        """An empty folder."""

    def work(self, root: Path) -> None:
        store = HistoryStore(open_sqlite(root / "serving.db"))
        for event in _EVENTS[len(store.events(LINE)) :]:
            write_event(store, LINE, event)
        store.close()

    def seen(self, root: Path) -> Json:
        if not (root / "serving.db").exists():
            return 0
        store = HistoryStore(open_sqlite(root / "serving.db"))
        events = store.events(LINE)
        store.close()
        assert events == _EVENTS[: len(events)]
        return len(events)

    def state(self, root: Path, seen: Json) -> Json:
        return self.seen(root)


SCENARIOS: Final[dict[str, Scenario]] = {
    **{f"step-{name}": PipelineWork(place, place + 1) for place, name in enumerate(STEP_NAMES)},
    "pipeline": PipelineWork(0, len(STEP_NAMES)),
    "store-add": StoreWork(lambda root, store: store.add(root / "1.1.0", _trust(root))),
    "store-import": StoreWork(
        lambda root, store: store.add_archive(root / "1.1.0.sightloop", _trust(root))
    ),
    "store-remove": StoreWork(_remove),
    "store-hold": StoreWork(_hold),
    "store-build": StoreWork(_build),
    "export": StoreWork(_export),
    "registry-create": RegistryWork(0, lambda root: open_mlflow(_workspace(root)), opened=False),
    "registry-register": RegistryWork(1, lambda root: _register(root, "1.1.0")),
    "registry-promote": RegistryWork(2, lambda root: _promote(root, "1.1.0")),
    "history": HistoryWork(),
}
