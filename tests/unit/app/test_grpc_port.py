from __future__ import annotations

import asyncio
import sys

import pytest

from sightloop.app.grpc_port import NO_GRPC, listen_grpc
from sightloop.config.serving import ServingConfig


async def listen(config: ServingConfig) -> tuple[str | None, str | None]:
    server, note = listen_grpc(config, None)
    if server is None:
        return None, note
    await server.stop()
    return server.address, note


def test_free_port_is_taken_where_none_is_named() -> None:
    address, note = asyncio.run(listen(ServingConfig(port=0)))
    assert address is not None
    assert address.startswith("127.0.0.1:")
    assert note is None


def test_grpc_can_be_switched_off() -> None:
    assert asyncio.run(listen(ServingConfig(grpc_port=-1))) == (None, None)


def test_server_without_grpcio_serves_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "sightloop.serving.grpc_server", raising=False)
    monkeypatch.setitem(sys.modules, "grpc", None)
    assert asyncio.run(listen(ServingConfig(port=0))) == (None, NO_GRPC)
