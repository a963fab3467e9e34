"""Real detectors on real frames: YOLOv8n and YOLO11n replace each other live, without training."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.config.workspace import open_workspace
from sightloop.distribution.store import ReleaseStore
from sightloop.testing.camera import CameraProcess, images_of
from sightloop.testing.checker import Switch, check_records
from sightloop.testing.driver import roll_back
from sightloop.testing.server_process import CLI, ServerProcess

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
WEIGHTS = DATA / "weights-coco"
IMAGES = DATA / "coco-mini" / "images" / "val"
CLOCK = SystemClock()
FPS = 4

pytestmark = pytest.mark.skipif(
    not (WEIGHTS.is_dir() and IMAGES.is_dir()),
    reason="the COCO detectors and images are not beside the project (../shared/data)",
)


def data_yaml(folder: Path) -> Path:
    """The set's own classes over its first validation images."""
    listing = folder / "val.txt"
    listing.write_text("".join(f"{path}\n" for path in images_of(IMAGES)[:24]))
    classes = yaml.safe_load((DATA / "coco-mini" / "data.yaml").read_text())["names"]
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump({"train": str(listing), "val": str(listing), "names": classes}))
    return path


def build(workspace: Path, data: Path, onnx: str, semver: str) -> dict[str, str]:
    command = [*CLI, "release", "build", "--onnx", str(WEIGHTS / onnx), "--line", "coco"]
    command += ["--data", str(data), "--semver", semver]
    command += ["--frames", "8", "--license", "AGPL-3.0", "--workspace", str(workspace), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    built: dict[str, str] = json.loads(done.stdout)
    return built


def test_coco_detectors_replace_each_other_under_real_frames(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    data = data_yaml(tmp_path)
    one = build(workspace, data, "yolov8n_coco_dq_640.onnx", "1.0.0")["digest"]
    two = build(workspace, data, "yolo11n_coco_dq_640.onnx", "1.1.0")["digest"]
    store = ReleaseStore(open_workspace(workspace).releases)
    log = tmp_path / "server.log"
    with (
        ServerProcess(workspace, log=log, releases=[store.path_of(one)]) as server,
        Client(server.url) as client,
        CameraProcess(f"{server.url}/v1/detect", IMAGES, tmp_path / "records", fps=FPS) as camera,
    ):
        switches = []
        for digest in (two, one):
            order_s = CLOCK.monotonic_s()
            outcome = client.update("coco", digest=digest)
            assert outcome["state"] == "ACTIVE", outcome["refused"]
            switches.append(Switch(order_s, CLOCK.monotonic_s(), digest))
        switches.append(roll_back(client, "coco", clock=CLOCK))
        CLOCK.sleep_s(1.0)  # a few frames after the rollback
        records = camera.stop()
    images = [path.read_bytes() for path in images_of(IMAGES)]
    result = check_records(records, images, switches=switches, folder_of=store.path_of)
    assert (result.lost, result.mixed, result.stale) == (0, 0, 0), result.faults
    assert result.checked == result.sent
    assert {record.digest for record in records} == {one, two}
    assert sum(len(record.body["detections"]) for record in records) > len(records)
