"""What a worker answers to one request: from bytes to bytes, by the release that it holds.

Everything in an answer, its label too, comes from the one `LoadedRelease` that computed it. No
socket and no thread here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sightloop.errors import ImageError, ProtocolError, SightloopError
from sightloop.runtime.loaded_release import Answer, LoadedRelease, detections_as_json
from sightloop.serving.infer import infer
from sightloop.serving.wire import NO_TIMES, Kind, StageTimes
from sightloop.vision.decode import DecodeLimits

_STATUS_BY_REASON = {"image_too_large": 413}


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer: status as HTTP has it, a body, and what its parts took."""

    status: int
    body: bytes
    times: StageTimes = NO_TIMES


def answer_request(
    loaded: LoadedRelease | None, kind: Kind, body: bytes, limits: DecodeLimits
) -> Answered:
    """Answer a DETECT or an INFER; errors become answers too, since one frame may not end a worker.

    Args:
        loaded: The worker's release; None before it has one.
        kind: What is asked.
        body: The request's bytes.
        limits: Of images that come from outside.
    """
    if loaded is None:
        return refused(503, "release_not_ready", "this worker has no release")
    if kind is Kind.DETECT:
        return detect_batch(loaded, (body,), limits)[0]
    try:
        return Answered(200, *infer(loaded, body, limits))
    except SightloopError as error:
        return _refused_by(error)


def detect_batch(
    loaded: LoadedRelease, images: Sequence[bytes], limits: DecodeLimits
) -> list[Answered]:
    """Answer DETECTs by one run of the network, each as if it were alone.

    Args:
        loaded: The worker's release.
        images: At most `loaded.batch_max`.
        limits: Of images that come from outside.

    Returns:
        For each image, in order; an image that has no answer costs no other image its own.
    """
    answers = loaded.answer_batch(images, limits=limits)
    return [
        _refused_by(answer) if isinstance(answer, SightloopError) else _detected(loaded, answer)
        for answer in answers
    ]


def _refused_by(error: SightloopError) -> Answered:
    asked_wrongly = isinstance(error, (ImageError, ProtocolError))
    status = _STATUS_BY_REASON.get(error.reason, 400) if asked_wrongly else 500
    return refused(status, error.reason, error.message)


def refused(status: int, reason: str, message: str) -> Answered:
    """An answer that says why there is none."""
    body = json.dumps({"error": {"reason": reason, "message": message}}).encode()
    return Answered(status, body)


def _detected(loaded: LoadedRelease, answer: Answer) -> Answered:
    manifest = loaded.manifest
    value = {
        "line": manifest.line,
        "release": {"semver": manifest.semver, "digest": loaded.digest},
        "detections": detections_as_json(answer.detections, loaded.classes),
        "image": {"width": answer.width_px, "height": answer.height_px},
        "timings_ms": {
            "decode": round(answer.decode_ms, 3),
            "preprocess": round(answer.preprocess_ms, 3),
            "inference": round(answer.inference_ms, 3),
            "postprocess": round(answer.postprocess_ms, 3),
        },
    }
    body = json.dumps(value, separators=(",", ":")).encode()
    times = StageTimes.from_ms(
        decode=answer.decode_ms,
        preprocess=answer.preprocess_ms,
        inference=answer.inference_ms,
        postprocess=answer.postprocess_ms,
    )
    return Answered(200, body, times)
