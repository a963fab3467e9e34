"""From a folder of real images to a release that serves: steel-surface defects, real training.

Two epochs on a hundred images show that the path is whole, not that the detector is good: the
short run lowers what the gates ask of quality and nothing else. The full run is the example's.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from sightloop.client.http_client import Client
from sightloop.config.workspace import Workspace, open_workspace
from sightloop.pipeline.config import load_config
from sightloop.pipeline.run import RunResult, run_pipeline
from sightloop.registry.mlflow_registry import MlflowRegistry
from sightloop.registry.mlflow_store import open_mlflow
from sightloop.release.bundle import verify_bundle
from sightloop.release.signing import load_trust
from sightloop.runtime.loaded_release import detections_as_json, load_release
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.trainer_kit import tree_of

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "neu-det" / "neu-det.toml"
SHARED = ROOT.parent / "shared" / "data"
IMAGES = SHARED / "neu-det"
WEIGHTS = SHARED / "weights-coco" / "yolov8n_coco_dq.pt"
COUNTS = {"train": 60, "val": 20, "test": 20}

pytestmark = [
    pytest.mark.skipif(
        not (IMAGES / "data.yaml").is_file() or not WEIGHTS.is_file(),
        reason="the steel-surface images and starting weights are not at ../shared/data",
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("ultralytics") is None,
        reason="Ultralytics is not installed (extra `train`, AGPL-3.0)",
    ),
    pytest.mark.skipif(
        importlib.util.find_spec("mlflow") is None,
        reason="MLflow is not installed (extra `registry`)",
    ),
    # SQLAlchemy warns of what MLflow does with it.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),
]


def _write_subset(folder: Path) -> Path:
    """A data.yaml that names every so-manieth image of each split where it lies."""
    described: dict[str, object] = dict(yaml.safe_load((IMAGES / "data.yaml").read_text()))
    described["path"] = str(folder)
    for split, count in COUNTS.items():
        found = sorted((IMAGES / "images" / split).iterdir())
        taken = found[:: len(found) // count][:count]
        (folder / f"{split}.txt").write_text("".join(f"{path}\n" for path in taken))
        described[split] = f"{split}.txt"
    data_yaml = folder / "data.yaml"
    data_yaml.write_text(yaml.safe_dump(described))
    return data_yaml


def _run(workspace: Workspace, overrides: Sequence[str]) -> RunResult:
    return run_pipeline(load_config(EXAMPLE, overrides), workspace)


def _check_serves_and_detects(workspace: Workspace, made: RunResult, images: list[Path]) -> None:
    """A real server answers these images as the release does here, and finds something."""
    bundle = verify_bundle(made.bundle, load_trust(workspace.keys))
    loaded = load_release(bundle.folder, bundle.manifest, bundle.digest)
    found = 0
    log = workspace.root / "server.log"
    with (
        ServerProcess(workspace.root, log=log, releases=[made.bundle]) as server,
        Client(server.url) as client,
    ):
        for image in images:
            answer = client.detect(image.read_bytes())
            here = loaded.answer(image.read_bytes())
            assert answer["release"] == {"semver": made.semver, "digest": made.digest}
            assert answer["detections"] == detections_as_json(here.detections, loaded.classes)
            found += len(here.detections)
    loaded.close()
    assert found > 0


def test_a_hundred_images_become_a_release_that_serves(tmp_path: Path) -> None:
    subset, workspace = tmp_path / "subset", open_workspace(tmp_path / "workspace")
    subset.mkdir()
    overrides = [
        f"data={_write_subset(subset)}",
        f"train.weights={WEIGHTS}",
        "train.epochs=2",
        "train.nominal_batch=16",
        "train.close_mosaic=2",
        "evaluate.score=0.1",
        "gate.map50_min=0.01",
        "calibrate.tolerances.label_recall_min=0.0",
    ]
    before = tree_of(subset), tree_of(IMAGES / "labels")
    made = _run(workspace, overrides)
    again = _run(workspace, overrides)

    assert (tree_of(subset), tree_of(IMAGES / "labels")) == before
    assert [name for name, how, _ in again.steps if how != "cached"] == ["register"]
    assert again.digest == made.digest
    manifest = verify_bundle(made.bundle, load_trust(workspace.keys)).manifest
    assert manifest.calibration.expected_from == "checkpoint"
    assert len(manifest.classes) == 6
    versions = MlflowRegistry(open_mlflow(workspace)).versions("neu-det")
    assert [(one.semver, one.digest, one.run_id) for one in versions] == [
        (made.semver, made.digest, made.mlflow_run_id)
    ]
    images = sorted((IMAGES / "images" / "test").iterdir())[::18]
    _check_serves_and_detects(workspace, made, images)


@pytest.mark.slow
def test_the_whole_set_becomes_a_release_that_serves(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "workspace")
    fine_tune = ["epochs=10", "learning_rate=0.001", "close_mosaic=3", "validate_every=0"]
    settings = [f"data={IMAGES / 'data.yaml'}", f"train.weights={WEIGHTS}"]
    made = _run(workspace, [*settings, *(f"train.{setting}" for setting in fine_tune)])
    assert made.metrics["images"] == 216
    images = sorted((IMAGES / "images" / "test").iterdir())[::18]
    _check_serves_and_detects(workspace, made, images)
