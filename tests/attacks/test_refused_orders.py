"""Who tries to order and may not stands in the audit log, and a flood of them does not fill it."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from sightloop._support.database import open_sqlite
from sightloop.protocol.grpc_messages import SERVICE, message_class
from sightloop.serving.audit import AuditStore, first_fault
from sightloop.serving.refused_orders import FIRST
from sightloop.testing.guarded_server import Guarded

ORDERS = {
    "/v1/lines/plate/updates": "update",
    "/v1/lines/plate/rollback": "rollback",
    "/v2/repository/models/plate/load": "update",
    "/v2/repository/models/plate/unload": "unload",
}


def log_of(guarded: Guarded) -> list[dict[str, Any]]:
    with guarded.client("operator") as client:
        found = client.audit(last=1000)
    assert found["intact"]
    return list(found["entries"])


def test_reader_who_tries_to_order_stands_in_the_log(guarded: Guarded) -> None:
    for path in ORDERS:
        assert guarded.ask("POST", path, b"{}", bearer=guarded.bearer("looker"))[0] == 403
    found = [entry for entry in log_of(guarded) if entry["who"] == "looker"]
    assert [entry["action"] for entry in found] == list(ORDERS.values())
    assert {(entry["role"], entry["line"], entry["outcome"]) for entry in found} == {
        ("read", "plate", "role_too_low")
    }


def test_order_over_grpc_stands_in_the_log(guarded: Guarded) -> None:
    assert guarded.server.grpc is not None
    port = guarded.server.grpc.rpartition(":")[2]
    trusted = grpc.ssl_channel_credentials(guarded.certificates.authority.read_bytes())
    order = message_class("RepositoryModelLoadRequest")(model_name="plate").SerializeToString()
    with grpc.secure_channel(f"localhost:{port}", trusted) as channel:
        load = channel.unary_unary(f"/{SERVICE}/RepositoryModelLoad", bytes, bytes)
        with pytest.raises(grpc.RpcError):
            load(order, metadata=(("authorization", guarded.bearer("camera")),), timeout=20)
    (entry,) = [entry for entry in log_of(guarded) if entry["who"] == "camera"]
    assert (entry["action"], entry["outcome"]) == ("update", "role_too_low")


def test_flood_of_refused_orders_does_not_fill_the_log(guarded: Guarded) -> None:
    before = len(log_of(guarded))
    sent = 150
    for n in range(sent):
        path = f"/v1/lines/{'x' * 2000}{n}/rollback"
        assert guarded.ask("POST", path, b"{}")[0] in (401, 429)
    for path in ("/v1/lines", "/v1/audit"):
        assert guarded.ask("GET", path)[0] == 401
    assert guarded.ask("POST", "/v1/detect", b"x")[0] == 401
    found = log_of(guarded)[before:]
    assert [(entry["who"], entry["line"]) for entry in found] == [("?", "?")] * FIRST
    guarded.server.stop()
    engine = open_sqlite(guarded.traffic.workspace.serving_database)
    entries = AuditStore(engine).entries()
    engine.dispose()
    assert first_fault(entries) is None
    assert len(entries) == before + FIRST + 1
    assert entries[-1].entry.outcome == f"{sent - FIRST} more refused"
