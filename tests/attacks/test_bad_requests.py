"""Bad requests against a real server that other machines could reach: no token, wrong ones, wrong
roles, orders for what may not be ordered.

The server goes on after each of them, nothing changes, and no answer is its own fault (5xx).
"""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.config.environment import inherited_environment
from sightloop.errors import ServerRefusedError, ServerUnreachableError
from sightloop.protocol.grpc_messages import SERVICE, message_class
from sightloop.serving.access import Role, new_secret
from sightloop.serving.token_file import revoke_token
from sightloop.testing.guarded_server import Guarded, make_token

CLOCK = SystemClock()
ORDERS = [("POST", "/v1/lines/plate/updates"), ("POST", "/v1/lines/plate/rollback")]
ORDERS += [("POST", f"/v2/repository/models/plate/{verb}") for verb in ("load", "unload")]
LOOKS = [("GET", path) for path in ("/v1/lines", "/v1/lines/plate", "/v1/lines/plate/history")]
LOOKS += [("GET", "/v1/audit"), ("GET", "/metrics"), ("POST", "/v2/repository/index")]
DATA = [("POST", "/v1/detect"), ("POST", "/v2/models/plate/infer"), ("GET", "/v2/models/plate")]
DATA += [("GET", "/v2/models/plate/stats"), ("GET", "/v2/models/plate/config")]


@pytest.mark.parametrize(("method", "path"), ORDERS + LOOKS + DATA)
def test_call_without_a_token_is_not_let_in(guarded: Guarded, method: str, path: str) -> None:
    status, value, headers = guarded.ask(method, path, b"{}")
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert "token_missing" in json.dumps(value)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"])
def test_probes_need_no_token(guarded: Guarded, path: str) -> None:
    assert guarded.ask("GET", path)[0] == 200


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (f"Bearer {new_secret()}", "token_unknown"),
        ("Bearer ", "token_malformed"),
        ("Bearer", "token_malformed"),
        ("Basic b3BlcmF0b3I6cGxlYXNl", "token_malformed"),
        ("Bearer " + "x" * 300, "token_malformed"),
        ("Bearer operator", "token_unknown"),
    ],
)
def test_wrong_token_is_not_let_in(guarded: Guarded, header: str, reason: str) -> None:
    for method, path in ORDERS[:1] + LOOKS[:1] + DATA[:1]:
        status, value, _ = guarded.ask(method, path, b"{}", bearer=header)
        assert (status, value["error"]["reason"]) == (401, reason)


def test_token_that_may_read_does_not_operate(guarded: Guarded) -> None:
    order = json.dumps({"digest": guarded.traffic.digests[1]}).encode()
    for method, path in ORDERS:
        status, value, _ = guarded.ask(method, path, order, bearer=guarded.bearer("looker"))
        assert status == 403
        assert "role_too_low" in json.dumps(value)
    assert guarded.champion() == "1.0.0"


def test_token_of_a_camera_neither_reads_nor_operates(guarded: Guarded) -> None:
    for method, path in ORDERS + LOOKS:
        assert guarded.ask(method, path, b"{}", bearer=guarded.bearer("camera"))[0] == 403
    with guarded.client("camera") as client:
        assert client.detect(guarded.image)["release"]["semver"] == "1.0.0"


@pytest.mark.parametrize("parameter", ["token", "access_token", "api_key", "Token"])
def test_token_in_the_address_is_refused_even_if_it_is_right(
    guarded: Guarded, parameter: str
) -> None:
    path = f"/v1/lines/plate?{parameter}={guarded.secrets['operator']}"
    for found in (
        guarded.ask("GET", path),
        guarded.ask("GET", path, bearer=guarded.bearer("operator")),
    ):
        status, value, _ = found
        assert (status, value["error"]["reason"]) == (401, "token_in_query")


def test_revoked_token_is_refused_by_the_running_server(guarded: Guarded) -> None:
    secret = make_token(guarded.traffic, "leaver", Role.READ)
    with Client(guarded.url, token=secret, ca_file=guarded.certificates.authority) as client:
        wait_until(lambda: answers(client))
        revoke_token(guarded.traffic.workspace.tokens, "leaver")
        wait_until(lambda: not answers(client))


def answers(client: Client) -> bool:
    try:
        client.lines()
    except ServerRefusedError as error:
        if error.reason != "token_unknown":
            raise
        return False
    return True


def wait_until(condition: Any) -> None:
    deadline_s = CLOCK.monotonic_s() + 10
    while not condition():
        assert CLOCK.monotonic_s() < deadline_s
        CLOCK.sleep_s(0.1)


def test_secret_is_nowhere_on_the_disk(guarded: Guarded) -> None:
    for path in guarded.traffic.workspace.root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not [name for name, secret in guarded.secrets.items() if secret.encode() in data]
    assert guarded.traffic.workspace.tokens.stat().st_mode & 0o077 == 0


def test_call_that_does_not_encrypt_gets_nothing(guarded: Guarded) -> None:
    with pytest.raises(ServerUnreachableError):
        Client(f"http://127.0.0.1:{guarded.port}").lines()


def test_client_does_not_trust_a_stranger(guarded: Guarded) -> None:
    with pytest.raises(ServerUnreachableError, match="certificate"):
        Client(guarded.url, token=guarded.secrets["operator"]).lines()


@pytest.mark.parametrize(
    "line", ["..%2f..%2fetc", "%2e%2e", "plate%00", "plate%2f..", "%ff%fe", "a" * 2000, "plate\\.."]
)
def test_line_that_is_a_path_is_not_found(guarded: Guarded, line: str) -> None:
    for method, path in (("GET", ""), ("GET", "/history"), ("POST", "/updates")):
        address = f"/v1/lines/{line}{path}"
        bearer = guarded.bearer("operator")
        status, _, _ = guarded.ask(method, address, b'{"digest":"a"}', bearer=bearer)
        assert status == 404


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"bundle": "/etc"}, 403),
        ({"bundle": "../../../../etc"}, 403),
        ({"bundle": "WORKSPACE/releases/../../../etc"}, 403),
        ({"bundle": "WORKSPACE/link"}, 403),
        ({"bundle": "/proc/self/root"}, 403),
        ({"bundle": "WORKSPACE/nothing"}, 404),
        ({"bundle": "\0"}, 403),
        ({"bundle": "a" * 4097}, 422),
        ({"digest": "../../../../etc"}, 404),
        ({"digest": "A" * 64}, 404),
        ({"digest": "0" * 64}, 404),
    ],
)
def test_order_for_a_bundle_elsewhere_is_refused(
    guarded: Guarded, order: dict[str, str], status: int
) -> None:
    root = guarded.traffic.workspace.root
    link = root / "link"
    if not link.is_symlink():
        link.symlink_to("/etc")
    text = json.dumps(order).replace("WORKSPACE", str(root)).encode()
    bearer = guarded.bearer("operator")
    found, _, _ = guarded.ask("POST", "/v1/lines/plate/updates", text, bearer=bearer)
    assert found == status
    assert guarded.champion() == "1.0.0"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b'"plate"',
        b"{}{}",
        b'{"digest": 5}',
        b'{"digest": "a", "digest2": 1}',
        b'{"digest": "\\ud800"}',
        b"\xff\xfe\x00",
        b"[" * 30_000,
        b'{"digest": NaN}',
    ],
)
def test_order_that_is_no_json_of_an_order_is_refused(guarded: Guarded, body: bytes) -> None:
    for _, path in ORDERS[:2]:
        status, value, _ = guarded.ask("POST", path, body, bearer=guarded.bearer("operator"))
        assert (status, value["error"]["reason"]) == (422, "request_malformed")


def test_order_larger_than_any_order_is_not_read(guarded: Guarded) -> None:
    body = b'{"bundle": "' + b"a" * (128 << 10) + b'"}'
    for _, path in ORDERS[:2]:
        status, value, headers = guarded.ask("POST", path, body, bearer=guarded.bearer("operator"))
        assert (status, value["error"]["reason"]) == (413, "body_too_large")
        assert headers["connection"] == "close"


def test_grpc_asks_for_tokens_and_roles_too(guarded: Guarded) -> None:
    assert guarded.server.grpc is not None
    port = guarded.server.grpc.rpartition(":")[2]
    secrets = grpc.ssl_channel_credentials(guarded.certificates.authority.read_bytes())
    code = grpc.StatusCode
    channel: Any  # its methods ask for serializers that are not needed
    with grpc.secure_channel(f"localhost:{port}", secrets) as channel:

        def ask(call: str, who: str | None, **fields: Any) -> Any:
            request = message_class(f"{call}Request")(**fields)
            metadata = (("authorization", guarded.bearer(who)),) if who else ()
            answering = channel.unary_unary(f"/{SERVICE}/{call}")
            try:
                answering(request.SerializeToString(), metadata=metadata, timeout=20)
            except grpc.RpcError as error:
                return error.code()
            return code.OK

        assert ask("ServerLive", None) is code.OK
        assert ask("ModelInfer", None, model_name="plate") is code.UNAUTHENTICATED
        assert ask("ModelMetadata", "camera", name="plate") is code.OK
        assert ask("RepositoryIndex", "camera") is code.PERMISSION_DENIED
        assert ask("RepositoryIndex", "looker") is code.OK
        for call in ("RepositoryModelLoad", "RepositoryModelUnload"):
            assert ask(call, None, model_name="plate") is code.UNAUTHENTICATED
            assert ask(call, "looker", model_name="plate") is code.PERMISSION_DENIED
        assert ask("RepositoryModelUnload", "operator", model_name="plate") is code.UNIMPLEMENTED
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")(iter([b""]), timeout=20)
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert caught.value.code() is code.UNAUTHENTICATED
    with grpc.insecure_channel(f"localhost:{port}") as channel:
        answering = channel.unary_unary(f"/{SERVICE}/ServerLive")
        with pytest.raises(grpc.RpcError) as caught:
            answering(b"", timeout=5)
        assert caught.value.code() in (code.UNAVAILABLE, code.DEADLINE_EXCEEDED)


def test_refusals_are_counted_and_reported(guarded: Guarded) -> None:
    guarded.ask("POST", "/v1/lines/plate/rollback")
    with guarded.client("looker") as client:
        text = client.metrics()
    assert 'sightloop_refused_total{plane="admin",reason="token_missing"}' in text
    log = guarded.server.log.read_text()
    assert '"event": "access_refused"' in log
    assert not [secret for secret in guarded.secrets.values() if secret in log]
    assert "Traceback" not in log


def test_tokens_are_not_handed_on_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLOOP_TOKEN", "a" * 40)
    monkeypatch.setenv("SIGHTLOOP_SERVE_TOKEN", "b" * 40)
    assert not {"SIGHTLOOP_TOKEN", "SIGHTLOOP_SERVE_TOKEN"} & set(inherited_environment())


def test_who_may_operate_does_and_it_is_written_down_who_it_was(guarded: Guarded) -> None:
    one, two = guarded.traffic.digests
    with guarded.client("operator") as client:
        assert client.update("plate", digest=two)["state"] == "ACTIVE"
        assert client.update("plate", digest=two)["state"] == "FAILED"
        assert client.rollback("plate")["state"] == "ACTIVE"
        with pytest.raises(ServerRefusedError):
            client.update("plate", digest="0" * 64)
        found = client.audit(last=4)
    assert found["intact"]
    entries = found["entries"]
    assert {(entry["who"], entry["role"], entry["address"]) for entry in entries} == {
        ("operator", "operate", "127.0.0.1")
    }
    assert [(entry["action"], entry["outcome"]) for entry in entries] == [
        ("update", "switched"),
        ("update", "already_champion"),
        ("rollback", "switched"),
        ("update", "release_not_found"),
    ]
    assert [entry["release"] for entry in entries[::2]] == [f"1.1.0 {two}", f"1.0.0 {one}"]
