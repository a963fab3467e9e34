"""The gRPC port of a server, as far as one is wanted and can be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightloop.app.listener import TlsFiles
from sightloop.config.serving import ServingConfig

if TYPE_CHECKING:
    from sightloop.serving.grpc_server import GrpcServer

NO_GRPC = "no gRPC: expected grpcio, found none; `pip install 'sightloop[grpc]'`, or grpc_port = -1"


def listen_grpc(
    config: ServingConfig, tls: TlsFiles | None
) -> tuple[GrpcServer | None, str | None]:
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
    server = GrpcServer(
        config.host,
        port,
        body_bytes_max=config.body_bytes_max,
        calls_max=config.connections_max,
        tls=tls.as_pair() if tls is not None else None,
    )
    return server, None
