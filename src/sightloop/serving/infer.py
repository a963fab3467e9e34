"""A worker's answer to a protocol request: tensors in, tensors out, by the release that it holds.

A line takes one of three inputs, found by name and datatype:

    image   BYTES [1]          a JPEG, PNG or BMP             -> detections
    frame   UINT8 [H, W, 3]    RGB                            -> detections
    (network's own) FP32       as the ONNX file has it        -> the network's output, untouched

Detections are `boxes` FP32 [n, 4] (x1 y1 x2 y2, px of the image), `scores` FP32 [n], `labels`
INT64 [n] and `label_names` BYTES [n]. Name, label and answer come from one `LoadedRelease`.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sightloop.errors import ImageError, ProtocolError
from sightloop.protocol.answers import AnswerLabel, chosen_outputs, write_answer
from sightloop.protocol.envelope import join_answer, split_request
from sightloop.protocol.model import FRAME_INPUT, IMAGE_INPUT
from sightloop.protocol.requests import read_request
from sightloop.protocol.tensors import Datatype, Tensor, array_tensor, bytes_tensor
from sightloop.release.manifest import Manifest
from sightloop.runtime.loaded_release import Answer, LoadedRelease
from sightloop.serving.wire import StageTimes
from sightloop.vision.decode import DecodeLimits


@dataclass(frozen=True, slots=True)
class Inferred:
    """Outputs of one request, and what its parts took."""

    outputs: tuple[Tensor, ...]
    times: StageTimes


def infer(loaded: LoadedRelease, body: bytes, limits: DecodeLimits) -> tuple[bytes, StageTimes]:
    """Answer one INFER.

    Args:
        loaded: The worker's release.
        body: A request, as `protocol/envelope.py` joins it.
        limits: Of images that come from outside.

    Returns:
        An answer, as `protocol/envelope.py` joins it, and what its parts took.

    Raises:
        ProtocolError: No request that this release takes.
        ImageError: Its image cannot be used.
        BackendError: The network failed on it.
    """
    request = read_request(*split_request(body))
    if len(request.inputs) != 1:
        raise ProtocolError(
            f"request: inputs: expected one of {_offered(loaded.manifest)}, found "
            f"{len(request.inputs)}",
            "input_unknown",
        )
    found = _run(loaded, request.inputs[0], limits)
    manifest = loaded.manifest
    label = AnswerLabel(manifest.line, manifest.semver, loaded.digest)
    head, raw = write_answer(request, label, chosen_outputs(request, found.outputs))
    return join_answer(loaded.digest, head, raw), found.times


def _run(loaded: LoadedRelease, tensor: Tensor, limits: DecodeLimits) -> Inferred:
    match (tensor.name, tensor.datatype):
        case (IMAGE_INPUT.name, Datatype.BYTES):
            return _detections(loaded, loaded.answer(_image(tensor), limits=limits))
        case (FRAME_INPUT.name, Datatype.UINT8):
            return _detections(loaded, loaded.answer_frame(_frame(tensor, limits).array))
        case (loaded.manifest.input.name, Datatype.FP32):
            return _raw_output(loaded, tensor)
    raise ProtocolError(
        f"input {tensor.name} {tensor.datatype}: expected one of {_offered(loaded.manifest)}",
        "input_unknown",
    )


def _offered(manifest: Manifest) -> str:
    network = f"{manifest.input.name} FP32 {list(manifest.input.shape)}"
    return f"image BYTES [1], frame UINT8 [H, W, 3], {network}"


def _image(tensor: Tensor) -> bytes:
    if math.prod(tensor.shape) != 1:
        raise ProtocolError(
            f"input {tensor.name}: expected shape [1], one image a request, found "
            f"{list(tensor.shape)}",
            "tensor_invalid",
        )
    if not tensor.from_json:
        return tensor.elements[0]
    try:
        return base64.b64decode(tensor.elements[0], validate=True)
    except binascii.Error as error:
        raise ProtocolError(
            f"input {tensor.name}: expected the image as base64 in JSON, found: {error}; or send "
            "its bytes binary",
            "tensor_invalid",
        ) from None


def _frame(tensor: Tensor, limits: DecodeLimits) -> Tensor:
    shape = tensor.shape
    if len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ProtocolError(
            f"input {tensor.name}: expected shape [H, W, 3], found {list(shape)}", "tensor_invalid"
        )
    if shape[0] * shape[1] > limits.pixels_max:
        raise ImageError(
            f"input {tensor.name}: expected at most {limits.pixels_max} pixels, found "
            f"{shape[1]} x {shape[0]}",
            "image_too_large",
        )
    return tensor


def _raw_output(loaded: LoadedRelease, tensor: Tensor) -> Inferred:
    expected = tuple(loaded.manifest.input.shape)
    if tensor.shape != expected:
        raise ProtocolError(
            f"input {tensor.name}: expected shape {list(expected)}, found {list(tensor.shape)}",
            "tensor_invalid",
        )
    raw, took_ms = loaded.run_tensor(tensor.array)
    output = array_tensor(loaded.manifest.output.name, raw)
    return Inferred((output,), StageTimes.from_ms(inference=took_ms, postprocess=0.0))


def _detections(loaded: LoadedRelease, answer: Answer) -> Inferred:
    found = answer.detections
    outputs = (
        array_tensor("boxes", found.boxes),
        array_tensor("scores", found.scores),
        array_tensor("labels", found.classes.astype(np.int64, copy=False)),
        bytes_tensor("label_names", _names(found.classes.tolist(), loaded.classes)),
    )
    times = StageTimes.from_ms(
        decode=answer.decode_ms,
        preprocess=answer.preprocess_ms,
        inference=answer.inference_ms,
        postprocess=answer.postprocess_ms,
    )
    return Inferred(outputs, times)


def _names(indices: Sequence[int], classes: Sequence[str]) -> list[bytes]:
    return [classes[index].encode() for index in indices]
