"""The Grafana dashboard: each query, asked of a real Prometheus that scrapes a real server."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sightloop._support.clock import SystemClock
from sightloop.client.http_client import Client
from sightloop.errors import ServerRefusedError
from sightloop.testing.camera import CameraProcess
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_traffic import tiny_traffic

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD = json.loads((ROOT / "deploy/grafana/sightloop.json").read_text())
PROMETHEUS = shutil.which("prometheus")
CLOCK = SystemClock()
MAY_BE_EMPTY = {
    "GPU memory": "no GPU here",
    "GPU busy": "no GPU here",
    "GPU memory by role": "no GPU here",
    "Candidate's state": "only while one is on trial",
}

pytestmark = pytest.mark.skipif(
    PROMETHEUS is None, reason="Prometheus is not installed: apt-get install prometheus"
)


def queries() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield "annotation", annotation["expr"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    assert PROMETHEUS is not None
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 500ms}\n"
        "scrape_configs:\n"
        "  - job_name: sightloop\n"
        f"    static_configs: [{{targets: ['{target}']}}]\n"
    )
    port = free_port()
    command = [
        PROMETHEUS,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with subprocess.Popen(command) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def ask(url: str, query: str) -> list[Any]:
    text = query.replace("$__rate_interval", "1m").replace("$line", ".*")
    address = f"{url}/api/v1/query?{urllib.parse.urlencode({'query': text})}"
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            value = json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{query}: {error.read().decode()}") from error
    assert value["status"] == "success", value
    return list(value["data"]["result"])


def wait_for(url: str, query: str) -> None:
    deadline_s = CLOCK.monotonic_s() + 30
    while True:
        try:
            if ask(url, query):
                return
        except OSError:
            pass  # it is starting
        assert CLOCK.monotonic_s() < deadline_s, query
        CLOCK.sleep_s(0.2)


def stay_outside(url: str) -> None:
    """A token in an address is refused whatever it is."""
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{url}/v1/lines?token=x", timeout=10)


def test_every_panel_shows_what_a_real_server_does(tmp_path: Path) -> None:
    traffic = tiny_traffic(tmp_path)
    one, two = traffic.digests
    with (
        ServerProcess(
            traffic.workspace.root, log=tmp_path / "log", releases=[traffic.folder_of(one)]
        ) as server,
        Client(server.url) as client,
        CameraProcess(f"{server.url}/v1/detect", traffic.images, tmp_path / "records", fps=20),
        prometheus(tmp_path, server.url.removeprefix("http://")) as url,
    ):
        wait_for(url, 'sightloop_answers_total{semver="1.0.0"} > 5')
        client.update("plate", digest=two)
        client.update("plate", digest=two)  # refused: it serves already
        stay_outside(server.url)
        with pytest.raises(ServerRefusedError):
            client.detect(b"no image")
        (worker,) = client.status("plate")["champion"]["workers"]
        os.kill(worker["pid"], signal.SIGKILL)
        wait_for(url, "sightloop_worker_restarts_total > 0")
        # Rates and increases need a second sample of each series after its first.
        wait_for(url, "increase(sightloop_worker_restarts_total[1m]) >= 0")
        wait_for(url, "rate(sightloop_refused_total[1m]) >= 0")
        wait_for(url, "rate(sightloop_request_errors_total[1m]) >= 0")
        wait_for(url, 'rate(sightloop_answers_total{semver="1.1.0"}[1m]) > 0')
        wait_for(url, 'increase(sightloop_gate_verdicts_total{outcome!="PASS"}[1m]) >= 0')
        empty = {title for title, query in queries() if not ask(url, query)}
        assert empty - {"annotation"} <= set(MAY_BE_EMPTY)
        assert ask(url, 'sum(nv_inference_request_success{model="plate"}) > 0')
        assert ask(url, 'sightloop_memory_bytes{role="champion"} > 1e6')
        assert ask(url, 'sightloop_memory_bytes{role="zygote"} > 1e6')


def test_dashboard_names_no_metric_that_is_not_documented() -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text()
    for title, query in queries():
        for word in query.replace("(", " ").replace("{", " ").replace("[", " ").split():
            if word.startswith("sightloop_"):
                base = word.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
                assert f"`{base}`" in page, f"{title}: {word}"
