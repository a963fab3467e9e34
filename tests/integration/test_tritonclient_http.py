"""The stock HTTP client, sync and async, against a real server: every extension that it lists."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as stock
import tritonclient.http.aio as stock_aio
from tritonclient.utils import InferenceServerException

from sightloop.serving.open_inference import EXTENSIONS
from sightloop.testing.markdown import fences_of
from sightloop.testing.protocol_server import ProtocolServer, protocol_server

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/open-inference.md"
MODEL = "plate"
CHAMPION, PREVIOUS = "1.1.0", "1.0.0"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProtocolServer]:
    with protocol_server(tmp_path_factory.mktemp("served")) as it:
        yield it


@pytest.fixture
def client(served: ProtocolServer) -> Iterator[Any]:
    with stock.InferenceServerClient(served.address) as it:
        yield it


def image_input(served: ProtocolServer, module: Any = stock, **options: Any) -> Any:
    given = module.InferInput("image", [1], "BYTES")
    given.set_data_from_numpy(np.array([served.image], np.object_), **options)
    return given


def tensor_input(served: ProtocolServer, **options: Any) -> Any:
    given = stock.InferInput("images", list(served.tensor.shape), "FP32")
    given.set_data_from_numpy(served.tensor, **options)
    return given


def check_detections(served: ProtocolServer, result: Any, semver: str) -> None:
    release = served.releases[semver]
    expected = release.detect(served.frame)
    said = result.get_response()
    assert (said["model_name"], said["model_version"]) == (MODEL, semver)
    assert said["parameters"]["release_digest"] == release.digest
    assert len(expected) > 0
    assert np.array_equal(result.as_numpy("boxes"), expected.boxes)
    assert np.array_equal(result.as_numpy("scores"), expected.scores)
    assert np.array_equal(result.as_numpy("labels"), expected.classes)
    names = [release.classes[index].encode() for index in expected.classes]
    found = [n if isinstance(n, bytes) else n.encode() for n in result.as_numpy("label_names")]
    assert found == names


def test_example_of_the_reference_runs(
    served: ProtocolServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = [fence for fence in fences_of(PAGE.read_text()) if "import tritonclient" in fence]
    monkeypatch.chdir(served.traffic.images)
    exec(code.replace("127.0.0.1:8080", served.address).replace("plate.jpg", "000.jpg"), {})
    said = capsys.readouterr().out
    assert CHAMPION in said
    assert served.releases[CHAMPION].digest in said


def test_health_and_readiness(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, CHAMPION)
    assert client.is_model_ready(MODEL, PREVIOUS)
    assert not client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("bolt")


def test_metadata_lists_extensions_versions_and_tensors(client: Any) -> None:
    server = client.get_server_metadata()
    assert server["name"] == "sightloop"
    assert server["extensions"] == list(EXTENSIONS)
    model = client.get_model_metadata(MODEL)
    assert model["versions"] == [CHAMPION, PREVIOUS]
    assert [i["name"] for i in model["inputs"]] == ["image", "frame", "images"]
    assert [o["name"] for o in model["outputs"]][:4] == ["boxes", "scores", "labels", "label_names"]


def test_jpeg_as_bytes_gives_detections_as_tensors(client: Any, served: ProtocolServer) -> None:
    result = client.infer(MODEL, [image_input(served)], request_id="7")
    assert result.get_response()["id"] == "7"
    check_detections(served, result, CHAMPION)


def test_named_version_answers_itself_or_not_at_all(client: Any, served: ProtocolServer) -> None:
    digest = served.releases[PREVIOUS].digest
    for version in (PREVIOUS, digest, digest[:8]):
        result = client.infer(MODEL, [image_input(served)], model_version=version)
        check_detections(served, result, PREVIOUS)
    for version in ("1", "1.2.0", "f" * 64):
        with pytest.raises(InferenceServerException, match=r"\[404\].*version"):
            client.infer(MODEL, [image_input(served)], model_version=version)


@pytest.mark.parametrize("inputs", [True, False])
@pytest.mark.parametrize("outputs", [True, False])
def test_raw_tensor_in_raw_output_out_binary_or_json(
    client: Any, served: ProtocolServer, inputs: bool, outputs: bool
) -> None:
    wanted = [stock.InferRequestedOutput("output0", binary_data=outputs)]
    given = tensor_input(served, binary_data=inputs)
    result = client.infer(MODEL, [given], outputs=wanted)
    expected, _ = served.releases[CHAMPION].run_tensor(served.tensor)
    assert np.array_equal(result.as_numpy("output0"), expected)


def test_frame_of_pixels_is_answered_like_its_jpeg(client: Any, served: ProtocolServer) -> None:
    given = stock.InferInput("frame", list(served.frame.shape), "UINT8")
    given.set_data_from_numpy(served.frame)
    check_detections(served, client.infer(MODEL, [given]), CHAMPION)


@pytest.mark.parametrize("way", ["gzip", "deflate"])
def test_compressed_request_and_answer(client: Any, served: ProtocolServer, way: str) -> None:
    result = client.infer(
        MODEL,
        [tensor_input(served)],
        request_compression_algorithm=way,
        response_compression_algorithm=way,
    )
    expected, _ = served.releases[CHAMPION].run_tensor(served.tensor)
    assert np.array_equal(result.as_numpy("output0"), expected)


def test_many_requests_at_once(client: Any, served: ProtocolServer) -> None:
    open_requests = [client.async_infer(MODEL, [image_input(served)]) for _ in range(8)]
    for one in open_requests:
        check_detections(served, one.get_result(), CHAMPION)


def test_parameters_sequence_and_timeout_are_taken(client: Any, served: ProtocolServer) -> None:
    for sequence in (7, "camera-3"):
        result = client.infer(
            MODEL,
            [image_input(served)],
            sequence_id=sequence,
            sequence_start=True,
            priority=2,
            timeout=5_000_000,
            parameters={"stream": "camera-3", "note": "kept"},
        )
        check_detections(served, result, CHAMPION)
    with pytest.raises(InferenceServerException, match=r"\[(429|504)\]"):
        client.infer(MODEL, [image_input(served)], timeout=1)


def test_configuration_and_statistics(client: Any, served: ProtocolServer) -> None:
    config = client.get_model_config(MODEL, PREVIOUS)
    assert config["max_batch_size"] == 0
    assert config["parameters"]["semver"]["string_value"] == PREVIOUS
    before = success_of(client, CHAMPION)
    client.infer(MODEL, [image_input(served)])
    client.infer(MODEL, [image_input(served)], model_version=PREVIOUS)
    after = success_of(client, CHAMPION)
    assert after["count"] == before["count"] + 1
    assert after["ns"] > before["ns"]
    assert {s["version"] for s in client.get_inference_statistics()["model_stats"]} == {
        CHAMPION, PREVIOUS,
    }  # fmt: skip


def success_of(client: Any, version: str) -> dict[str, int]:
    (found,) = client.get_inference_statistics(MODEL, version)["model_stats"]
    count: dict[str, int] = found["inference_stats"]["success"]
    return count


def test_errors_are_the_servers_text(client: Any, served: ProtocolServer) -> None:
    broken = stock.InferInput("image", [1], "BYTES")
    broken.set_data_from_numpy(np.array([b"no image"], np.object_))
    with pytest.raises(InferenceServerException, match=r"\[400\].*JPEG, PNG or BMP"):
        client.infer(MODEL, [broken])
    with pytest.raises(InferenceServerException, match=r"\[404\].*bolt"):
        client.infer("bolt", [image_input(served)])
    with pytest.raises(InferenceServerException, match=r"\[400\].*depth"):
        client.infer(MODEL, [image_input(served)], outputs=[stock.InferRequestedOutput("depth")])


def test_what_is_not_listed_is_refused_with_a_text(client: Any) -> None:
    calls = (
        lambda: client.unload_model(MODEL),
        client.get_trace_settings,
        client.get_log_settings,
        client.get_system_shared_memory_status,
        client.get_cuda_shared_memory_status,
        lambda: client.load_model(MODEL, config="{}", files={"file:1/model.onnx": b"x"}),
    )
    for call in calls:
        with pytest.raises(InferenceServerException, match=r"\[501\].*not (offered|taken)"):
            call()


async def use_aio(served: ProtocolServer) -> None:
    async with stock_aio.InferenceServerClient(served.address) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(MODEL, PREVIOUS)
        assert (await client.get_server_metadata())["extensions"] == list(EXTENSIONS)
        assert (await client.get_model_metadata(MODEL))["versions"] == [CHAMPION, PREVIOUS]
        assert (await client.get_model_config(MODEL))["name"] == MODEL
        assert (await client.get_inference_statistics(MODEL))["model_stats"]
        index = await client.get_model_repository_index()
        assert [entry["state"] for entry in index] == ["READY", "READY", "UNAVAILABLE"]
        await client.load_model(MODEL, config=json.dumps({"semver": CHAMPION}))
        for way in (None, "gzip"):
            result = await client.infer(
                MODEL,
                [image_input(served)],
                request_compression_algorithm=way,
                response_compression_algorithm=way,
            )
            check_detections(served, result, CHAMPION)
        with pytest.raises(InferenceServerException, match=r"\[404\]"):
            await client.infer("bolt", [image_input(served)])


def test_async_client_makes_the_same_calls(served: ProtocolServer) -> None:
    asyncio.run(use_aio(served))


def post(served: ProtocolServer, path: str, body: bytes, **headers: str) -> tuple[Any, bytes]:
    request = urllib.request.Request(f"{served.server.url}{path}", body, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.headers, answer.read()


def test_plain_json_client_gets_plain_json(served: ProtocolServer) -> None:
    text = base64.b64encode(served.image).decode()
    value = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]}
    path = f"/v2/models/{MODEL}/infer"
    _, body = post(served, path, json.dumps(value).encode(), **{"Content-Type": "application/json"})
    outputs = {o["name"]: o["data"] for o in json.loads(body)["outputs"]}
    expected = served.releases[CHAMPION].detect(served.frame)
    assert outputs["scores"] == expected.scores.tolist()
    assert outputs["boxes"] == expected.boxes.ravel().tolist()


def test_bare_image_with_a_header_of_zero(served: ProtocolServer) -> None:
    path = f"/v2/models/{MODEL}/versions/{CHAMPION}/infer"
    name = "Inference-Header-Content-Length"
    headers, body = post(served, path, served.image, **{name: "0"})
    length = int(headers[name])
    assert json.loads(body[:length])["model_version"] == CHAMPION
    expected = served.releases[CHAMPION].detect(served.frame)
    assert body[length:].startswith(expected.boxes.tobytes())


def test_z_load_is_the_gated_update(client: Any, served: ProtocolServer) -> None:
    """Last, since it changes who serves."""
    with pytest.raises(InferenceServerException, match=r"\[400\].*integrity"):
        client.load_model(MODEL, config=json.dumps({"bundle": str(served.stranger)}))
    with pytest.raises(InferenceServerException, match=r"\[404\]"):
        client.load_model(MODEL, config=json.dumps({"semver": "9.9.9"}))
    check_detections(served, client.infer(MODEL, [image_input(served)]), CHAMPION)
    client.load_model(MODEL)
    assert client.get_model_metadata(MODEL)["versions"] == ["1.2.0", CHAMPION]
    assert client.is_model_ready(MODEL, "1.2.0")
    result = client.infer(MODEL, [image_input(served)])
    assert result.get_response()["model_version"] == "1.2.0"
    states = {e["version"]: e["state"] for e in client.get_model_repository_index()}
    assert states == {"1.2.0": "READY", CHAMPION: "READY", PREVIOUS: "UNAVAILABLE"}
