"""gRPC streams that never stop while releases are loaded: each answer is computed again."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as stock

from sightloop._support.clock import SystemClock
from sightloop.testing.protocol_server import ProtocolServer, protocol_server

MODEL = "plate"
CLOCK = SystemClock()
UPDATES = 6
LIMIT_S = 60


class Camera:
    """Sends frames on one stream until told to stop; keeps every answer."""

    def __init__(self, served: ProtocolServer, sequence_id: str = "") -> None:
        self.sent = 0
        self._served = served
        self._sequence_id = sequence_id
        self._answers: list[Any] = []
        self._stop = threading.Event()
        self._client = stock.InferenceServerClient(served.grpc)
        self._client.start_stream(lambda result, error: self._answers.append((result, error)))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        frame = stock.InferInput("image", [1], "BYTES")
        frame.set_data_from_numpy(np.array([self._served.image], np.object_))
        while not self._stop.wait(0.02):
            self._client.async_stream_infer(
                MODEL, [frame], request_id=str(self.sent), sequence_id=self._sequence_id
            )
            self.sent += 1

    def wait_for(self, version: str) -> None:
        """Until a frame is answered by this release."""
        self._until(lambda: self._answers[-1:] and version_of(self._answers[-1]) == version)

    def _until(self, condition: Callable[[], object]) -> None:
        deadline_s = CLOCK.monotonic_s() + LIMIT_S
        while not condition():
            assert CLOCK.monotonic_s() < deadline_s
            CLOCK.sleep_s(0.005)

    def stop(self) -> list[Any]:
        """End it and give the answers, in their order."""
        self._stop.set()
        self._thread.join()
        self._until(lambda: len(self._answers) >= self.sent)
        self._client.stop_stream()
        self._client.close()
        assert [error for _, error in self._answers if error is not None] == []
        return [result for result, _ in self._answers]


def version_of(answer: tuple[Any, Any]) -> str:
    result, error = answer
    assert error is None, error
    return str(result.get_response().model_version)


def versions_checked(served: ProtocolServer, results: list[Any]) -> list[str]:
    """The version of every answer; each must be exactly what that release says."""
    expected = {name: release.detect(served.frame) for name, release in served.releases.items()}
    versions = []
    for index, result in enumerate(results):
        said = result.get_response()
        assert said.id == str(index)
        release = served.releases[said.model_version]
        assert said.parameters["release_digest"].string_param == release.digest
        for name, array in (
            ("boxes", expected[said.model_version].boxes),
            ("scores", expected[said.model_version].scores),
        ):
            assert np.array_equal(result.as_numpy(name), array)
        versions.append(said.model_version)
    return versions


def test_streams_lose_and_mix_nothing_while_releases_are_loaded(tmp_path: Path) -> None:
    with protocol_server(tmp_path) as served:
        free, pinned = Camera(served), Camera(served, sequence_id="camera-1")
        free.wait_for("1.1.0")
        pinned.wait_for("1.1.0")
        with stock.InferenceServerClient(served.grpc) as operator:
            for version in itertools.islice(itertools.cycle(("1.2.0", "1.1.0")), UPDATES):
                operator.load_model(MODEL, config=json.dumps({"semver": version}))
                assert operator.is_model_ready(MODEL, version)
                free.wait_for(version)
                pinned.wait_for(version)
        results = (free.stop(), pinned.stop())
    order = ["1.1.0", *itertools.islice(itertools.cycle(("1.2.0", "1.1.0")), UPDATES)]
    for found in results:
        versions = versions_checked(served, found)
        assert [version for version, _ in itertools.groupby(versions)] == order
