"""Traffic for a model of one's own: two releases of it that can be told apart."""

from __future__ import annotations

import shutil
from pathlib import Path

from sightloop.config.workspace import open_workspace
from sightloop.dataset.reading import read_dataset
from sightloop.distribution.store import ReleaseStore
from sightloop.pipeline.release_builder import BuildSpec, build_into_store
from sightloop.release.signing import create_key, load_trust
from sightloop.testing.tiny_traffic import Traffic

LINE = "model"
IMAGES_MAX = 60
_SCORES = {"1.0.0": 0.25, "1.1.0": 0.30}


def model_traffic(folder: Path, *, model: Path, data: Path) -> Traffic:
    """Build two releases of one network: the same weights at two thresholds.

    Args:
        folder: Where everything goes.
        model: The exported network.
        data: data.yaml; its `val` images are measured, labelled frames and traffic.
    """
    workspace = open_workspace(folder / "workspace")
    key = create_key(workspace.keys)
    store = ReleaseStore(workspace.releases)
    trust = load_trust(workspace.keys, [])
    digests = []
    for semver, score in _SCORES.items():
        spec = BuildSpec(onnx=model, data=data, line=LINE, semver=semver, score=score)
        digests.append(build_into_store(spec, store=store, trust=trust, key=key).digest)
    images = folder / "images"
    images.mkdir()
    for item in read_dataset(data).of("val")[:IMAGES_MAX]:
        shutil.copyfile(item.image, images / item.image.name)
    return Traffic(workspace, LINE, tuple(digests), images)


def frame_cpu_ms(traffic: Traffic) -> float:
    """CPU time of one frame, as measured when the first release was built."""
    trust = load_trust(traffic.workspace.keys, [])
    latency = traffic.store.get(traffic.digests[0], trust).manifest.latency
    assert latency is not None, "release_builder measures it"
    return latency.cpu_ms_p50
