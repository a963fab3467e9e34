"""A real server with two loaded releases, and its releases here to compare answers with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightloop.client.http_client import Client
from sightloop.release.bundle import read_bundle
from sightloop.release.signing import create_key
from sightloop.runtime.loaded_release import LoadedRelease, load_release
from sightloop.testing.camera import images_of
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic
from sightloop.vision.decode import decode_image
from sightloop.vision.preprocess import prepare


@dataclass(frozen=True, slots=True)
class ProtocolServer:
    """A running server: champion 1.1.0, previous 1.0.0, and 1.2.0 in its store.

    Attributes:
        stranger: Bundle of 2.0.0 that nobody trusted has signed.
        releases: Every release of the store by semver, loaded here.
    """

    server: ServerProcess
    traffic: Traffic
    stranger: Path
    releases: dict[str, LoadedRelease]

    @property
    def address(self) -> str:
        """`host:port`, as the stock HTTP client wants it."""
        return self.server.url.removeprefix("http://")

    @property
    def grpc(self) -> str:
        """`host:port`, as the stock gRPC client wants it."""
        assert self.server.grpc is not None, "gRPC is installed here"
        return self.server.grpc

    @property
    def image(self) -> bytes:
        """A JPEG with detections in it."""
        return images_of(self.traffic.images)[0].read_bytes()

    @property
    def frame(self) -> NDArray[np.uint8]:
        """The same, decoded."""
        return decode_image(self.image)

    @property
    def tensor(self) -> NDArray[np.float32]:
        """The same, as the network takes it."""
        side_px = self.releases["1.0.0"].manifest.preprocess.side_px
        return prepare(self.frame, side_px=side_px, pad=114)[0]


@contextlib.contextmanager
def protocol_server(folder: Path) -> Iterator[ProtocolServer]:
    """Start one; it is ended with the block."""
    traffic = tiny_traffic(folder, releases=3, images=2)
    stranger = folder / "stranger"
    key = create_key(folder / "strange-keys")
    build_tiny_release(stranger, line=traffic.line, semver="2.0.0", key=key, variant=1)
    releases = {}
    for digest in traffic.digests:
        bundle = read_bundle(traffic.folder_of(digest))
        loaded = load_release(bundle.folder, bundle.manifest, bundle.digest)
        releases[bundle.manifest.semver] = loaded
    first = traffic.folder_of(traffic.digests[0])
    log = folder / "server.log"
    with ServerProcess(traffic.workspace.root, log=log, releases=[first]) as server:
        with Client(server.url) as client:
            assert client.update(traffic.line, digest=traffic.digests[1])["state"] == "ACTIVE"
        yield ProtocolServer(server, traffic, stranger, releases)
