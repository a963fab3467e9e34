"""A real server, a real camera at 30 frames/s, real updates: every answer is computed again."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.errors import ServerRefusedError, ServerUnreachableError, ServingError
from sightloop.testing.camera import CameraProcess, images_of
from sightloop.testing.checker import Switch, check_records
from sightloop.testing.driver import roll_back
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_traffic import Traffic, tiny_traffic

CLOCK = SystemClock()
FPS = 30


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    return tiny_traffic(tmp_path_factory.mktemp("traffic"))


def serve(traffic: Traffic, folder: Path) -> ServerProcess:
    first = traffic.folder_of(traffic.digests[0])
    return ServerProcess(traffic.workspace.root, log=folder / "server.log", releases=[first])


def timed_update(client: Client, digest: str) -> Switch:
    order_s = CLOCK.monotonic_s()
    outcome = client.update("plate", digest=digest)
    assert outcome["state"] == "ACTIVE", outcome["refused"]
    return Switch(order_s, CLOCK.monotonic_s(), digest)


def wait_until(client: Client, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """The first status of the line of which it holds."""
    deadline_s = CLOCK.monotonic_s() + 20
    while not holds(status := client.status("plate")):
        assert CLOCK.monotonic_s() < deadline_s, status
        CLOCK.sleep_s(0.02)
    return status


def wait_for_frame_in(client: Client, role: str) -> None:
    wait_until(client, lambda status: status[role]["leases"])


def kill(client: Client, role: str, *, at_work: bool) -> None:
    """Kill a role's workers, where asked with a frame in one, and wait until others are there."""
    pids = pids_of(wait_until(client, lambda status: pids_of(status[role]))[role])
    if at_work:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        wait_for_frame_in(client, role)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    def replaced(status: dict[str, Any]) -> bool:
        now = set(pids_of(status[role]))
        whole = not status["degraded"] and status["previous"]["alive"]
        return bool(now) and now.isdisjoint(pids) and whole

    wait_until(client, replaced)


def test_twenty_updates_at_30_frames_per_second_lose_mix_and_delay_nothing(
    tmp_path: Path,
) -> None:
    traffic = tiny_traffic(tmp_path)
    one, two = traffic.digests
    with (
        serve(traffic, tmp_path) as server,
        Client(server.url) as client,
        CameraProcess(
            f"{server.url}/v1/detect", traffic.images, tmp_path / "records", fps=FPS
        ) as camera,
    ):
        switches = [timed_update(client, two if n % 2 == 0 else one) for n in range(20)]
        switches.append(roll_back(client, "plate", clock=CLOCK))
        history = client.history("plate")
        status = client.status("plate")
        CLOCK.sleep_s(0.5)  # a few frames after the rollback
        records = camera.stop()
        assert server.stop() == 0
    images = [path.read_bytes() for path in images_of(traffic.images)]
    result = check_records(records, images, switches=switches, folder_of=traffic.folder_of)
    assert (result.lost, result.mixed, result.stale) == (0, 0, 0), result.faults
    assert result.checked == result.answered == result.sent > len(switches)
    assert {record.digest for record in records} == {one, two}
    assert [event["action"] for event in history] == ["start", *["update"] * 20, "rollback"]
    assert status["champion"]["release"]["digest"] == two
    assert status["previous"]["release"]["digest"] == one


def test_killed_workers_lose_no_frame_and_come_back(tmp_path: Path) -> None:
    """A camera for each kill: no frame is in two killed workers, which would make it poison."""
    traffic = tiny_traffic(tmp_path)
    one, two = traffic.digests
    records = []
    with serve(traffic, tmp_path) as server, Client(server.url) as client:
        timed_update(client, two)
        for number, role in enumerate(("champion", "previous", "champion", "standby")):
            out = tmp_path / f"records-{number}"
            with CameraProcess(f"{server.url}/v1/detect", traffic.images, out, fps=FPS) as camera:
                kill(client, role, at_work=role == "champion")
                records += camera.stop()
        status = client.status("plate")
    images = [path.read_bytes() for path in images_of(traffic.images)]
    result = check_records(records, images, switches=[], folder_of=traffic.folder_of)
    assert (result.lost, result.mixed) == (0, 0), result.faults
    assert result.answered == result.sent > 0
    assert status["champion"]["release"]["digest"] == two
    assert status["previous"]["release"]["digest"] == one
    assert not (traffic.workspace.root / "frames").exists()


def test_frame_that_was_in_two_killed_workers_is_poison_and_the_next_is_answered(
    tmp_path: Path,
) -> None:
    traffic = tiny_traffic(tmp_path, images=2)
    frame, other = (path.read_bytes() for path in images_of(traffic.images))
    with (
        serve(traffic, tmp_path) as server,
        Client(server.url) as client,
        Client(server.url) as asking,
        ThreadPoolExecutor(1) as aside,
    ):
        timed_update(client, traffic.digests[1])
        status = client.status("plate")
        pids = {role: pids_of(status[role]) for role in ("champion", "previous")}
        for pid in (pid for members in pids.values() for pid in members):
            os.kill(pid, signal.SIGSTOP)
        answer = aside.submit(asking.detect, frame)
        for role, members in pids.items():
            wait_for_frame_in(client, role)
            for pid in members:
                os.kill(pid, signal.SIGKILL)
        with pytest.raises(ServerRefusedError) as caught:
            answer.result()
        assert caught.value.reason == "frame_kills_worker"
        assert [path.read_bytes() for path in (traffic.workspace.root / "frames").iterdir()] == [
            frame
        ]
        assert client.detect(other)["release"]["digest"] in traffic.digests


def test_order_whose_standby_is_killed_before_it_begins_is_carried_out_by_another(
    tmp_path: Path,
) -> None:
    traffic = tiny_traffic(tmp_path, images=1)
    with (
        serve(traffic, tmp_path) as server,
        Client(server.url) as client,
        Client(server.url) as ordering,
        ThreadPoolExecutor(1) as aside,
    ):
        (pid,) = pids_of(wait_until(client, lambda status: status["standby"])["standby"])
        os.kill(pid, signal.SIGSTOP)
        order = aside.submit(timed_update, ordering, traffic.digests[1])
        wait_until(client, lambda status: pids_of(status["candidate"]) == [pid])
        os.kill(pid, signal.SIGKILL)
        assert order.result().digest == client.status("plate")["champion"]["release"]["digest"]
    assert '"standby_replaced"' in server.log.read_text()


def test_restart_after_kill_comes_back_with_champion_previous_and_history(tmp_path: Path) -> None:
    traffic = tiny_traffic(tmp_path, images=1)
    one, two = traffic.digests
    with serve(traffic, tmp_path) as server, Client(server.url) as client:
        timed_update(client, two)
        status = client.status("plate")
        workers = [pid for role in ("champion", "previous") for pid in pids_of(status[role])]
        os.kill(server.pid, signal.SIGKILL)
    deadline_s = CLOCK.monotonic_s() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert CLOCK.monotonic_s() < deadline_s, "workers outlive a killed server"
        CLOCK.sleep_s(0.05)
    with serve(traffic, tmp_path) as server, Client(server.url) as client:
        status = wait_until(client, lambda status: status["previous"])
        assert status["champion"]["release"]["digest"] == two
        assert status["previous"]["release"]["digest"] == one
        assert [event["action"] for event in client.history("plate")] == ["start", "update"]
        assert roll_back(client, "plate", clock=CLOCK).digest == one


def pids_of(held: dict[str, Any] | None) -> list[int]:
    """Process ids behind a role of a line's status."""
    if held is None:
        return []
    return [worker["pid"] for worker in held.get("workers", [held])]


def test_second_server_on_the_workspace_and_on_the_port_are_refused(tmp_path: Path) -> None:
    traffic = tiny_traffic(tmp_path, images=1)
    other = tiny_traffic(tmp_path / "other", images=1)
    with serve(traffic, tmp_path) as server:
        with pytest.raises(ServingError, match="workspace_in_use"):
            serve(traffic, tmp_path / "second")
        port = int(server.url.rpartition(":")[2])
        first = other.folder_of(other.digests[0])
        with pytest.raises(ServingError, match="port_in_use"):
            ServerProcess(
                other.workspace.root, log=tmp_path / "third.log", releases=[first], port=port
            )


def test_unusable_bodies_are_refused_and_the_next_frame_is_answered(
    traffic: Traffic, tmp_path: Path
) -> None:
    image = images_of(traffic.images)[0].read_bytes()
    cases = {
        "image_empty": b"",
        "image_undecodable": b"this is no image at all" * 100,
        "image_truncated": image[: len(image) // 2],
        "image_too_large": bomb_png(),
        "body_too_large": bytes(200 << 20),
    }
    with serve(traffic, tmp_path) as server:
        for reason, body in cases.items():
            with Client(server.url, timeout_s=30) as client:
                with pytest.raises((ServerRefusedError, ServerUnreachableError)) as caught:
                    client.detect(body)
                if isinstance(caught.value, ServerRefusedError):
                    assert caught.value.reason == reason
                else:  # the server closed the door while 200 MB were still on their way
                    assert reason == "body_too_large"
            with Client(server.url) as client:
                assert client.detect(image)["release"]["digest"] == traffic.digests[0]


def bomb_png() -> bytes:
    """A PNG whose header claims 30000 x 30000 pixels; its data would be 2.7 GB."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1 << 20))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
