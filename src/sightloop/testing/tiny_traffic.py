"""A workspace with tiny releases in its store, and plates to send: enough to drive a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sightloop.config.workspace import Workspace, open_workspace
from sightloop.distribution.store import ReleaseStore
from sightloop.release.signing import create_key, load_trust
from sightloop.testing.bad_models import slow_down
from sightloop.testing.plates import render_plate
from sightloop.testing.tiny_detectors import build_tiny_detector, build_tiny_release
from sightloop.vision.decode import encode_jpeg

LINE = "plate"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is served and sent.

    Attributes:
        workspace: With the releases in its store and the key that signed them.
        line: The model line.
        digests: The releases, oldest version first.
        images: Folder of frames.
    """

    workspace: Workspace
    line: str
    digests: tuple[str, ...]
    images: Path

    @property
    def store(self) -> ReleaseStore:
        """The workspace's releases."""
        return ReleaseStore(self.workspace.releases)

    def folder_of(self, digest: str) -> Path:
        """Where a release lies."""
        return self.store.path_of(digest)


def tiny_traffic(
    folder: Path, *, releases: int = 2, images: int = 60, slow_layers: int = 0
) -> Traffic:
    """Tiny detectors that answer differently on every plate, and seeded plates.

    Args:
        folder: Where everything goes.
        releases: How many: 1.0.0, 1.1.0, ...
        images: How many plates.
        slow_layers: Convolutions that change nothing in front of each network: some 2 ms each.
    """
    workspace = open_workspace(folder / "workspace")
    key = create_key(workspace.keys)
    store = ReleaseStore(workspace.releases)
    trust = load_trust(workspace.keys, [])
    digests = []
    for variant in range(releases):
        semver = f"1.{variant}.0"
        bundle = folder / "bundles" / semver
        model = _slowed(folder / f"{semver}.onnx", variant, slow_layers) if slow_layers else None
        build_tiny_release(bundle, line=LINE, semver=semver, key=key, variant=variant, model=model)
        digests.append(store.add(bundle, trust).digest)
    frames = folder / "images"
    frames.mkdir()
    for seed in range(images):
        frame, _ = render_plate(1000 + seed)
        (frames / f"{seed:03d}.jpg").write_bytes(encode_jpeg(frame))
    return Traffic(workspace, LINE, tuple(digests), frames)


def _slowed(path: Path, variant: int, layers: int) -> Path:
    quick = path.with_suffix(".quick.onnx")
    build_tiny_detector(quick, variant=variant)
    slow_down(quick, path, layers=layers)
    return path
