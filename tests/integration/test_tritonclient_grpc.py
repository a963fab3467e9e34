"""The stock gRPC client, sync and async, against a real server: every extension that it lists."""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as stock
import tritonclient.grpc.aio as stock_aio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from sightloop.serving.open_inference import EXTENSIONS
from sightloop.testing.protocol_server import ProtocolServer, protocol_server

MODEL = "plate"
CHAMPION, PREVIOUS = "1.1.0", "1.0.0"
LIMIT_S = 30


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProtocolServer]:
    with protocol_server(tmp_path_factory.mktemp("served")) as it:
        yield it


@pytest.fixture
def client(served: ProtocolServer) -> Iterator[Any]:
    with stock.InferenceServerClient(served.grpc) as it:
        yield it


def image_input(served: ProtocolServer, *, image: bytes | None = None) -> Any:
    given = stock.InferInput("image", [1], "BYTES")
    given.set_data_from_numpy(np.array([served.image if image is None else image], np.object_))
    return given


def tensor_input(served: ProtocolServer) -> Any:
    given = stock.InferInput("images", list(served.tensor.shape), "FP32")
    given.set_data_from_numpy(served.tensor)
    return given


def check_detections(served: ProtocolServer, result: Any, semver: str) -> None:
    release = served.releases[semver]
    expected = release.detect(served.frame)
    said = result.get_response()
    assert (said.model_name, said.model_version) == (MODEL, semver)
    assert said.parameters["release_digest"].string_param == release.digest
    assert len(expected) > 0
    assert np.array_equal(result.as_numpy("boxes"), expected.boxes)
    assert np.array_equal(result.as_numpy("scores"), expected.scores)
    assert np.array_equal(result.as_numpy("labels"), expected.classes)
    names = [release.classes[index].encode() for index in expected.classes]
    assert list(result.as_numpy("label_names")) == names


def refused(code: str, text: str, call: Any) -> None:
    with pytest.raises(InferenceServerException, match=text) as caught:
        call()
    assert caught.value.status() == f"StatusCode.{code}"


def test_health_and_readiness(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, PREVIOUS)
    assert not client.is_model_ready(MODEL, "1")
    assert not client.is_model_ready("bolt")


def test_standard_health_service_answers_probes(served: ProtocolServer) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(served.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "inference.GRPCInferenceService", MODEL):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError):
            stub.Check(health_pb2.HealthCheckRequest(service="bolt"))


def test_metadata_lists_extensions_versions_and_tensors(client: Any) -> None:
    assert list(client.get_server_metadata().extensions) == list(EXTENSIONS)
    model = client.get_model_metadata(MODEL)
    assert list(model.versions) == [CHAMPION, PREVIOUS]
    assert [i.name for i in model.inputs] == ["image", "frame", "images"]
    assert list(model.outputs[-1].shape)[:1] == [1]


def test_jpeg_as_bytes_gives_detections_as_tensors(client: Any, served: ProtocolServer) -> None:
    result = client.infer(MODEL, [image_input(served)], request_id="7")
    assert result.get_response().id == "7"
    check_detections(served, result, CHAMPION)


def test_named_version_answers_itself_or_not_at_all(client: Any, served: ProtocolServer) -> None:
    digest = served.releases[PREVIOUS].digest
    for version in (PREVIOUS, digest, digest[:8]):
        result = client.infer(MODEL, [image_input(served)], model_version=version)
        check_detections(served, result, PREVIOUS)
    for version in ("1", "1.2.0"):
        refused(
            "NOT_FOUND",
            "version",
            lambda version=version: client.infer(
                MODEL, [image_input(served)], model_version=version
            ),
        )


def test_raw_tensor_in_raw_output_out(client: Any, served: ProtocolServer) -> None:
    wanted = [stock.InferRequestedOutput("output0")]
    result = client.infer(MODEL, [tensor_input(served)], outputs=wanted)
    expected, _ = served.releases[CHAMPION].run_tensor(served.tensor)
    assert np.array_equal(result.as_numpy("output0"), expected)


def test_typed_contents_are_read_too(served: ProtocolServer) -> None:
    tensor = served.tensor
    request = service_pb2.ModelInferRequest(model_name=MODEL)
    item = request.inputs.add(name="images", datatype="FP32", shape=tensor.shape)
    item.contents.fp32_contents.extend(tensor.ravel().tolist())
    with grpc.insecure_channel(served.grpc) as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    expected, _ = served.releases[CHAMPION].run_tensor(tensor)
    assert answer.raw_output_contents[0] == expected.tobytes()


def test_frame_larger_than_grpcs_own_limit_is_taken(client: Any, served: ProtocolServer) -> None:
    pixels = np.zeros((1400, 1400, 3), np.uint8)
    assert pixels.nbytes > 4 << 20
    given = stock.InferInput("frame", list(pixels.shape), "UINT8")
    given.set_data_from_numpy(pixels)
    result = client.infer(MODEL, [given])
    assert result.as_numpy("boxes").shape[1] == 4


@pytest.mark.parametrize("way", ["gzip", "deflate"])
def test_compressed_request(client: Any, served: ProtocolServer, way: str) -> None:
    result = client.infer(MODEL, [image_input(served)], compression_algorithm=way)
    check_detections(served, result, CHAMPION)


def test_message_beyond_the_limit_is_refused_also_behind_gzip(client: Any) -> None:
    bomb = stock.InferInput("image", [1], "BYTES")
    bomb.set_data_from_numpy(np.array([bytes(64 << 20)], np.object_))
    for way in (None, "gzip"):
        refused(
            "RESOURCE_EXHAUSTED",
            "larger",
            lambda way=way: client.infer(MODEL, [bomb], compression_algorithm=way),
        )


def test_many_requests_at_once(client: Any, served: ProtocolServer) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    for _ in range(8):
        client.async_infer(
            MODEL, [image_input(served)], lambda result, error: answers.put((result, error))
        )
    for _ in range(8):
        result, error = answers.get(timeout=LIMIT_S)
        assert error is None
        check_detections(served, result, CHAMPION)


def test_stream_answers_each_request_once_and_in_order(client: Any, served: ProtocolServer) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for index in range(20):
        image = b"no image" if index == 7 else None
        version = PREVIOUS if index % 2 else ""
        client.async_stream_infer(
            MODEL,
            [image_input(served, image=image)],
            model_version=version,
            request_id=str(index),
            sequence_id="camera-1",
            enable_empty_final_response=True,
        )
    for index in range(20):
        result, error = answers.get(timeout=LIMIT_S)
        if index == 7:
            assert "JPEG, PNG or BMP" in error.message()
            continue
        assert error is None
        said = result.get_response()
        assert said.id == str(index)
        assert said.parameters["triton_final_response"].bool_param
        check_detections(served, result, PREVIOUS if index % 2 else CHAMPION)
    client.stop_stream()


def test_parameters_priority_and_timeout_are_taken(client: Any, served: ProtocolServer) -> None:
    result = client.infer(
        MODEL,
        [image_input(served)],
        sequence_id=7,
        priority=2,
        timeout=5_000_000,
        parameters={"stream": "camera-3", "gain": 1.5},
    )
    check_detections(served, result, CHAMPION)
    for options in ({"timeout": 1}, {"client_timeout": 1e-4}):
        with pytest.raises(InferenceServerException) as caught:
            client.infer(MODEL, [image_input(served)], **options)
        assert caught.value.status() in (
            "StatusCode.DEADLINE_EXCEEDED", "StatusCode.RESOURCE_EXHAUSTED",
        )  # fmt: skip


def test_configuration_and_statistics(client: Any, served: ProtocolServer) -> None:
    config = client.get_model_config(MODEL, PREVIOUS).config
    assert config.parameters["semver"].string_value == PREVIOUS
    assert [item.data_type for item in config.input][:2] == [13, 2]
    before = success_of(client)
    while (again := success_of(client)).count != before.count:
        before = again  # answers that came too late for whoever had asked
    client.infer(MODEL, [image_input(served)])
    after = success_of(client)
    assert after.count == before.count + 1
    assert after.ns > before.ns
    every = client.get_inference_statistics().model_stats
    assert [entry.version for entry in every] == [CHAMPION, PREVIOUS]


def success_of(client: Any) -> Any:
    (found,) = client.get_inference_statistics(MODEL, CHAMPION).model_stats
    return found.inference_stats.success


def test_errors_have_the_protocols_codes(client: Any, served: ProtocolServer) -> None:
    image = [image_input(served)]
    broken = [image_input(served, image=b"no image")]
    refused("INVALID_ARGUMENT", "JPEG, PNG or BMP", lambda: client.infer(MODEL, broken))
    refused("NOT_FOUND", "bolt", lambda: client.infer("bolt", image))
    wanted = [stock.InferRequestedOutput("depth")]
    refused("INVALID_ARGUMENT", "depth", lambda: client.infer(MODEL, image, outputs=wanted))
    sorted_out = [stock.InferRequestedOutput("scores", class_count=2)]
    refused("INVALID_ARGUMENT", "class", lambda: client.infer(MODEL, image, outputs=sorted_out))


def test_what_is_not_listed_is_unimplemented(client: Any) -> None:
    calls = (
        lambda: client.unload_model(MODEL),
        client.get_trace_settings,
        client.get_log_settings,
        client.get_system_shared_memory_status,
        client.get_cuda_shared_memory_status,
        lambda: client.load_model(MODEL, config="{}", files={"file:1/model.onnx": b"x"}),
    )
    for call in calls:
        refused("UNIMPLEMENTED", "not (offered|taken|found)", call)


def test_bytes_that_are_no_message_are_the_clients_fault(served: ProtocolServer) -> None:
    with grpc.insecure_channel(served.grpc) as channel:
        for method in ("ModelInfer", "ModelReady", "RepositoryModelLoad"):
            path = f"/inference.GRPCInferenceService/{method}"
            call: Any = channel.unary_unary(path, bytes, bytes)
            with pytest.raises(grpc.RpcError) as caught:
                call(b"\xff\xff\xff", timeout=LIMIT_S)
            error: Any = caught.value
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert ("reason", "request_malformed") in error.trailing_metadata()


TEXTS = st.sampled_from(
    ["", MODEL, "bolt", "image", "images", "frame", "boxes", "1.0.0", "x" * 300]
)
DATATYPES = st.sampled_from(["BYTES", "UINT8", "FP32", "BOOL", "FP16", "BF16", ""])
SHAPES = st.lists(st.sampled_from([-1, 0, 1, 3, 160, 1 << 40]), max_size=4)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A well-formed message that may ask for anything."""
    request = service_pb2.ModelInferRequest(
        model_name=draw(st.just(MODEL) | TEXTS), model_version=draw(st.just("") | TEXTS)
    )
    for _ in range(draw(st.integers(0, 2))):
        name, datatype, shape = draw(TEXTS), draw(DATATYPES), draw(SHAPES)
        item = request.inputs.add(name=name, datatype=datatype, shape=shape)
        item.contents.fp32_contents.extend(draw(st.lists(st.floats(width=32), max_size=2)))
        item.contents.int_contents.extend(draw(st.lists(st.integers(-300, 300), max_size=2)))
        item.contents.bytes_contents.extend(draw(st.lists(st.binary(max_size=9), max_size=2)))
    request.raw_input_contents.extend(draw(st.lists(st.binary(max_size=20), max_size=2)))
    for name in draw(st.lists(TEXTS, max_size=2)):
        request.outputs.add(name=name).parameters["binary_data"].string_param = draw(TEXTS)
    for name in draw(st.lists(st.sampled_from(["timeout", "stream", "sequence_id"]), max_size=2)):
        request.parameters[name].int64_param = draw(st.integers(-5, 5))
        if draw(st.booleans()):
            request.parameters[name].string_param = draw(TEXTS)
    return bytes(request.SerializeToString())


@settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=messages() | st.binary(max_size=60))
def test_no_message_is_the_servers_fault(served: ProtocolServer, data: bytes) -> None:
    allowed = {"INVALID_ARGUMENT", "NOT_FOUND", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
    with grpc.insecure_channel(served.grpc) as channel:
        call: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", bytes, bytes)
        try:
            call(data, timeout=LIMIT_S)
        except grpc.RpcError as caught:
            error: Any = caught
        else:
            return
    assert error.code().name in allowed, error.details()


async def use_aio(served: ProtocolServer) -> None:
    async with stock_aio.InferenceServerClient(served.grpc) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(MODEL, PREVIOUS)
        assert list((await client.get_server_metadata()).extensions) == list(EXTENSIONS)
        assert list((await client.get_model_metadata(MODEL)).versions) == [CHAMPION, PREVIOUS]
        assert (await client.get_model_config(MODEL)).config.name == MODEL
        assert (await client.get_inference_statistics(MODEL)).model_stats
        index = (await client.get_model_repository_index()).models
        assert [entry.state for entry in index] == ["READY", "READY", "UNAVAILABLE"]
        await client.load_model(MODEL, config=json.dumps({"semver": CHAMPION}))
        result = await client.infer(MODEL, [image_input(served)], compression_algorithm="gzip")
        check_detections(served, result, CHAMPION)

        async def requests() -> AsyncIterator[dict[str, Any]]:
            for index in range(5):
                inputs = [image_input(served)]
                yield {"model_name": MODEL, "inputs": inputs, "request_id": str(index)}

        seen = []
        async for result, error in client.stream_infer(requests()):
            assert error is None
            check_detections(served, result, CHAMPION)
            seen.append(result.get_response().id)
        assert seen == list("01234")


def test_async_client_makes_the_same_calls(served: ProtocolServer) -> None:
    asyncio.run(use_aio(served))


def test_z_load_is_the_gated_update(client: Any, served: ProtocolServer) -> None:
    """Last, since it changes who serves."""
    stranger = json.dumps({"bundle": str(served.stranger)})
    refused(
        "FAILED_PRECONDITION", "signer_untrusted", lambda: client.load_model(MODEL, config=stranger)
    )
    check_detections(served, client.infer(MODEL, [image_input(served)]), CHAMPION)
    client.load_model(MODEL)
    assert list(client.get_model_metadata(MODEL).versions) == ["1.2.0", CHAMPION]
    result = client.infer(MODEL, [image_input(served)])
    assert result.get_response().model_version == "1.2.0"


def test_zz_open_stream_does_not_hold_the_server_up(served: ProtocolServer) -> None:
    """Last of all, since it ends the server."""
    with stock.InferenceServerClient(served.grpc) as client:
        answers: queue.Queue[Any] = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer(MODEL, [image_input(served)])
        assert answers.get(timeout=LIMIT_S)[1] is None
        assert served.server.stop() == 0
        error = answers.get(timeout=LIMIT_S)[1]
        assert "stopping" in error.message()
