from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sightloop.errors import ImageError, ProtocolError
from sightloop.protocol.answers import RawAnswer, read_raw_answer
from sightloop.protocol.envelope import join_request, split_answer
from sightloop.protocol.tensors import DTYPES, Datatype, from_raw
from sightloop.release.bundle import read_bundle
from sightloop.release.signing import create_key
from sightloop.runtime.loaded_release import LoadedRelease, load_release
from sightloop.serving.answering import answer_request
from sightloop.serving.infer import infer
from sightloop.serving.wire import Kind
from sightloop.testing.plates import render_plate
from sightloop.testing.tiny_detectors import build_tiny_release
from sightloop.vision.decode import DecodeLimits, encode_png
from sightloop.vision.preprocess import prepare

LIMITS = DecodeLimits(pixels_max=1 << 20)
FRAME: NDArray[np.uint8] = render_plate(7)[0]
PNG = encode_png(FRAME)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> LoadedRelease:
    folder: Path = tmp_path_factory.mktemp("release")
    build_tiny_release(folder / "bundle", semver="1.0.0", key=create_key(folder / "keys"), frames=4)
    bundle = read_bundle(folder / "bundle")
    return load_release(bundle.folder, bundle.manifest, bundle.digest)


def head(name: str, datatype: str, shape: list[int], size: int, **others: Any) -> bytes:
    item = {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": size},
    }
    value = {"parameters": {"binary_data_output": True}, "inputs": [item], **others}
    return json.dumps(value).encode()


def image_request(image: bytes, **others: Any) -> bytes:
    raw = len(image).to_bytes(4, "little") + image
    return join_request(head("image", "BYTES", [1], len(raw), **others), raw)


def read(body: bytes) -> tuple[RawAnswer, dict[str, Any]]:
    parts = split_answer(body)
    assert parts.raw is not None
    found = read_raw_answer(parts.head, parts.raw)
    tensors = {
        o.name: from_raw(o.name, Datatype(o.datatype), o.shape, o.data) for o in found.outputs
    }
    return found, {name: tensor.values for name, tensor in tensors.items()}


def test_image_is_answered_with_the_detections_of_the_release(release: LoadedRelease) -> None:
    body, times = infer(release, image_request(PNG, id="9"), LIMITS)
    found, values = read(body)
    expected = release.detect(FRAME)
    assert len(expected) > 0
    assert np.array_equal(values["boxes"], expected.boxes)
    assert np.array_equal(values["scores"], expected.scores)
    assert np.array_equal(values["labels"], expected.classes)
    names = [release.classes[index].encode() for index in expected.classes]
    assert list(values["label_names"]) == names
    assert (found.model_name, found.model_version, found.id) == (
        release.manifest.line, "1.0.0", "9",
    )  # fmt: skip
    assert found.parameters["release_digest"] == release.digest == split_answer(body).digest
    assert times.inference_us > 0


def test_frame_is_answered_like_its_image(release: LoadedRelease) -> None:
    raw = FRAME.tobytes()
    asked = join_request(head("frame", "UINT8", list(FRAME.shape), len(raw)), raw)
    frame_body, _ = infer(release, asked, LIMITS)
    image_body, _ = infer(release, image_request(PNG), LIMITS)
    assert frame_body == image_body


def test_networks_own_input_gives_its_output_untouched(release: LoadedRelease) -> None:
    tensor, _ = prepare(FRAME, side_px=release.manifest.preprocess.side_px, pad=114)
    raw = tensor.tobytes()
    contract = release.manifest.input
    asked = join_request(head(contract.name, "FP32", list(contract.shape), len(raw)), raw)
    _, values = read(infer(release, asked, LIMITS)[0])
    expected, _ = release.run_tensor(tensor)
    assert list(values) == [release.manifest.output.name]
    assert values[release.manifest.output.name].tobytes() == expected.tobytes()


def test_plain_json_carries_the_image_as_base64(release: LoadedRelease) -> None:
    text = base64.b64encode(PNG).decode()
    value = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]}
    parts = split_answer(infer(release, join_request(json.dumps(value).encode(), b""), LIMITS)[0])
    assert parts.raw is None
    outputs = {o["name"]: o["data"] for o in json.loads(bytes(parts.head))["outputs"]}
    assert outputs["scores"] == release.detect(FRAME).scores.tolist()
    assert outputs["label_names"][0] in release.classes


def test_image_without_detections_has_empty_tensors(release: LoadedRelease) -> None:
    grey = encode_png(np.full((64, 64, 3), 128, np.uint8))
    _, values = read(infer(release, image_request(grey), LIMITS)[0])
    assert values["boxes"].shape == (0, 4)
    assert list(values["label_names"]) == []


FLOATS = {"name": "images", "datatype": "FP32", "shape": [1], "data": [1]}


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([{"name": "depth", "datatype": "FP32", "shape": [1], "data": [1]}], "input_unknown"),
        ([{"name": "image", "datatype": "FP32", "shape": [1], "data": [1]}], "input_unknown"),
        ([FLOATS, FLOATS], "input_unknown"),
        ([FLOATS], "tensor_invalid"),
        ([{"name": "image", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]}],
         "tensor_invalid"),
        ([{"name": "image", "datatype": "BYTES", "shape": [1], "data": ["\u00e4"]}],
         "tensor_invalid"),
        ([{"name": "frame", "datatype": "UINT8", "shape": [2, 2], "data": [0] * 4}],
         "tensor_invalid"),
        ([{"name": "frame", "datatype": "UINT8", "shape": [0, 2, 3], "data": []}],
         "tensor_invalid"),
    ],
)  # fmt: skip
def test_input_that_the_release_does_not_take_is_refused(
    release: LoadedRelease, inputs: list[dict[str, Any]], reason: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        infer(release, join_request(json.dumps({"inputs": inputs}).encode(), b""), LIMITS)
    assert caught.value.reason == reason


def test_frame_beyond_the_limit_of_pixels_is_refused(release: LoadedRelease) -> None:
    raw = bytes(1025 * 1024 * 3)
    asked = join_request(head("frame", "UINT8", [1025, 1024, 3], len(raw)), raw)
    assert answer_request(release, Kind.INFER, asked, LIMITS).status == 413


@pytest.mark.parametrize("image", [b"", b"no image", PNG[:100]])
def test_unusable_image_is_the_clients_fault(release: LoadedRelease, image: bytes) -> None:
    assert answer_request(release, Kind.INFER, image_request(image), LIMITS).status == 400
    with pytest.raises(ImageError):
        infer(release, image_request(image), LIMITS)


NAMES = st.sampled_from(["image", "frame", "images", "x"])
SHAPES = st.lists(st.integers(-1, 5), max_size=4) | st.just([1, 3, 160, 160])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=NAMES,
    datatype=st.sampled_from([*Datatype, "BF16", ""]),
    shape=SHAPES,
    size=st.integers(-1, 40),
    raw=st.binary(max_size=40),
    wanted=st.lists(st.sampled_from(["boxes", "output0", "x"]), max_size=2),
)
def test_malformed_request_is_never_the_servers_fault(
    release: LoadedRelease,
    name: str,
    datatype: str,
    shape: list[int],
    size: int,
    raw: bytes,
    wanted: list[str],
) -> None:
    outputs = [{"name": output} for output in wanted]
    asked = join_request(head(name, datatype, shape, size, outputs=outputs), raw)
    assert answer_request(release, Kind.INFER, asked, LIMITS).status < 500


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_from_the_front_are_refused_not_raised(
    release: LoadedRelease, body: bytes
) -> None:
    assert answer_request(release, Kind.INFER, body, LIMITS).status == 400


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30])
def test_any_number_in_the_networks_input_is_answered_or_refused(
    release: LoadedRelease, value: float
) -> None:
    shape = release.manifest.input.shape
    raw = np.full(shape, value, DTYPES[Datatype.FP32]).tobytes()
    asked = join_request(head(release.manifest.input.name, "FP32", list(shape), len(raw)), raw)
    with contextlib.suppress(ProtocolError):
        assert answer_request(release, Kind.INFER, asked, LIMITS).status == 200
