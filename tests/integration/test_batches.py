"""A real server that answers several frames by one run: each gets its own answer."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sightloop.client.http_client import Client
from sightloop.config.workspace import open_workspace
from sightloop.errors import ServerRefusedError
from sightloop.release.bundle import read_bundle
from sightloop.release.signing import create_key
from sightloop.runtime.loaded_release import detections_as_json, load_release
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_detectors import build_tiny_release, render_plate
from sightloop.vision.decode import encode_jpeg

FRAMES = 48
THREADS = 12
SETTINGS = {"SIGHTLOOP_SERVE_BATCH_MAX": "4", "SIGHTLOOP_SERVE_BATCH_WAIT_MS": "20"}


def value_of(exposition: str, name: str) -> float:
    """The one sample of a metric."""
    (line,) = (line for line in exposition.splitlines() if line.startswith(f"{name}{{"))
    return float(line.rpartition(" ")[2])


def test_frames_that_are_run_together_get_the_answers_that_they_get_alone(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path / "workspace")
    folder = tmp_path / "bundle"
    build_tiny_release(folder, semver="1.0.0", key=create_key(workspace.keys), free_batch=True)
    images = [encode_jpeg(render_plate(seed)[0]) for seed in range(FRAMES)]
    for place in (5, 17, 18):
        images[place] = b"no image"
    with ServerProcess(
        workspace.root, log=tmp_path / "log", releases=[folder], environment=SETTINGS
    ) as server:

        def ask(image: bytes) -> dict[str, Any]:
            with Client(server.url) as client:
                try:
                    return client.detect(image)
                except ServerRefusedError as error:
                    return error.body

        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(ask, images))
        with Client(server.url) as client:
            counted = client.metrics()
        assert server.stop() == 0
    bundle = read_bundle(folder)
    release = load_release(bundle.folder, bundle.manifest, bundle.digest)
    for image, answer in zip(images, answers, strict=True):
        if image == b"no image":
            assert answer["error"]["reason"] == "image_undecodable"
            continue
        expected = detections_as_json(release.answer(image).detections, release.classes)
        assert answer["detections"] == json.loads(json.dumps(expected))
        assert answer["release"]["digest"] == bundle.digest
    assert value_of(counted, "nv_inference_count") == FRAMES - 3
    assert value_of(counted, "nv_inference_exec_count") < (FRAMES - 3) / 2
    assert value_of(counted, "sightloop_batch_frames_sum") > 2 * (FRAMES - 3)
    # A run's time is shared out in equal parts, to the microsecond: the mark of a batch.
    times = [one["timings_ms"]["inference"] for one in answers if "timings_ms" in one]
    assert len(set(times)) < len(times) / 2
