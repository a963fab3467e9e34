"""Joins the Open Inference Protocol to a server: below /v2 of its HTTP, and on a gRPC port."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI

from sightloop._support.clock import Clock
from sightloop.config.serving import ServingConfig
from sightloop.distribution.store import ReleaseStore
from sightloop.serving.adminplane import AdminPlane
from sightloop.serving.dataplane import DataPlane
from sightloop.serving.line import ServedLine
from sightloop.serving.open_inference import OpenInference
from sightloop.serving.open_inference_rest import mount_open_inference
from sightloop.serving.stored_releases import StoredReleases

if TYPE_CHECKING:
    from sightloop.serving.grpc_server import GrpcServer

NO_GRPC = "no gRPC: expected grpcio, found none; `pip install 'sightloop[grpc]'`, or grpc_port = -1"


def listen_grpc(config: ServingConfig) -> tuple[GrpcServer | None, str | None]:
    """Bind the gRPC port, as far as one is wanted and can be had; needs a running event loop.

    Returns:
        The server, not yet answering, and a note for who started it where there is none.

    Raises:
        PortInUseError: The port is taken.
    """
    port = config.grpc_port_meant
    if port < 0:
        return None, None
    try:
        from sightloop.serving.grpc_server import GrpcServer
    except ImportError:
        return None, NO_GRPC
    return GrpcServer(config.host, port, body_bytes_max=config.body_bytes_max), None


def join_protocol(
    app: FastAPI,
    lines: Mapping[str, ServedLine],
    data: DataPlane,
    admin: AdminPlane,
    *,
    store: ReleaseStore,
    clock: Clock,
    config: ServingConfig,
) -> OpenInference:
    """Answer /v2 of `app`; gives the plane, which gRPC answers from too."""
    said = version("sightloop")
    known = StoredReleases(store)
    plane = OpenInference(lines, data, admin, known=known, clock=clock, version=said)
    mount_open_inference(app, plane, body_bytes_max=config.body_bytes_max, version=said)
    return plane
