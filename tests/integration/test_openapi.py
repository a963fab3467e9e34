"""What the OpenAPI documents say, asked of a real server by schemathesis: no malformed input is its
own fault (5xx), every status and body is as documented, and no route forgets to ask for a token.

Drawn with a fixed seed; requests that name the server's own line, and requests that name any.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sightloop.client.http_client import Client
from sightloop.serving.access import Role
from sightloop.testing.guarded_server import make_token
from sightloop.testing.server_process import ServerProcess
from sightloop.testing.tiny_traffic import tiny_traffic

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None,
    reason="schemathesis is not installed: pip install 'sightloop[dev]'",
)
COMMAND = (
    *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
    "--config-file=schemathesis.toml",
    "run",
    "--phases=coverage,fuzzing",
    "--max-examples=40",
    "--seed=1",
    "--request-timeout=30",
)
SETTINGS = """
color = false
[checks.not_a_server_error]
# 501 says that unload is not offered, 504 that a request's own time was too short.
expected-statuses = ["2xx", "3xx", "4xx", "501", "504"]
[checks.positive_data_acceptance]
# Bytes that are documented as bytes need not be an image; tensors have more rules than a schema.
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "413", "429", "501", "504"]
"""
OWN_LINE = """
[parameters]
"path.line" = "plate"
"path.model" = "plate"
"path.version" = "1.1.0"
"""


@dataclass(frozen=True, slots=True)
class Served:
    server: ServerProcess
    token: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that asks everybody for a token, with champion and previous loaded."""
    folder = tmp_path_factory.mktemp("openapi")
    traffic = tiny_traffic(folder, images=2)
    one, two = traffic.digests
    token = make_token(traffic, "operator", Role.OPERATE)
    environment = {
        "SIGHTLOOP_SERVE_DATA_TOKEN": "true",
        "SIGHTLOOP_SERVE_ADMIN_CALLS_PER_S": "100000",
    }
    with ServerProcess(
        traffic.workspace.root,
        log=folder / "log",
        releases=[traffic.folder_of(one)],
        environment=environment,
    ) as server:
        with Client(server.url, token=token) as client:
            client.update("plate", digest=two)
        yield Served(server, token)


@pytest.mark.parametrize("document", ["/openapi.json", "/v2/openapi.json"])
@pytest.mark.parametrize("parameters", ["", OWN_LINE], ids=["any line", "own line"])
def test_server_keeps_to_its_document(
    served: Served, tmp_path: Path, document: str, parameters: str
) -> None:
    (tmp_path / "schemathesis.toml").write_text(SETTINGS + parameters)
    target = [served.server.url + document, "-H", f"Authorization: Bearer {served.token}"]
    done = subprocess.run(
        [*COMMAND, *target], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Fuzzing" in done.stdout
    assert "Traceback" not in served.server.log.read_text()
    with Client(served.server.url, token=served.token) as client:
        assert client.ready()
        assert client.status("plate")["champion"]["alive"]
