"""What a server does before it starts anything."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from sightloop._support.clock import SystemClock
from sightloop.app.server import ServerSpec, run_server
from sightloop.config.serving import ServingConfig
from sightloop.config.workspace import open_workspace
from sightloop.errors import ConfigError
from sightloop.serving.zygote import Zygote


@pytest.mark.parametrize(
    ("token", "reason"), [(None, "token_required"), ("t" * 32, "tls_required")]
)
def test_what_an_address_demands_is_asked_before_anything_is_bound_or_started(
    token: str | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unbound(socket.socket):
        def bind(self, _address: object) -> None:
            raise AssertionError("bound a socket")

    def start(_zygote: Zygote, **_: object) -> None:
        raise AssertionError("started a process")

    monkeypatch.setattr(socket, "socket", Unbound)
    monkeypatch.setattr(Zygote, "__init__", start)
    config = ServingConfig.model_validate({"host": "0.0.0.0", "port": 0, "token": token})
    spec = ServerSpec(open_workspace(tmp_path), config, (), (), {})
    with pytest.raises(ConfigError) as caught:
        run_server(spec, clock=SystemClock(), on_ready=lambda serving: None)
    assert caught.value.reason == reason


def test_key_to_trust_that_is_none_ends_a_start_before_anything_is_ordered(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    config = ServingConfig.model_validate({"port": 0})
    spec = ServerSpec(workspace, config, (tmp_path / "bundle",), (tmp_path / "none.pub",), {})
    with pytest.raises(ConfigError) as caught:
        run_server(spec, clock=SystemClock(), on_ready=lambda serving: None)
    assert caught.value.reason == "key_missing"
    assert not workspace.serving_database.exists()
