"""What a worker answers to one request: from bytes to bytes, by the release that it holds.

Everything in an answer, its label too, comes from the one `LoadedRelease` that computed it. No
socket and no thread here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sightloop.errors import ImageError, SightloopError
from sightloop.runtime.loaded_release import Answer, LoadedRelease, detections_as_json
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
    """Answer a DETECT; errors become answers too, since one frame may not end a worker.

    Args:
        loaded: The worker's release; None before it has one.
        kind: What is asked.
        body: The request's bytes.
        limits: Of images that come from outside.
    """
    if loaded is None:
        return refused(503, "release_not_ready", "this worker has no release")
    try:
        return _detect(loaded, body, limits)
    except ImageError as error:
        return refused(_STATUS_BY_REASON.get(error.reason, 400), error.reason, error.message)
    except SightloopError as error:
        return refused(500, error.reason, error.message)


def refused(status: int, reason: str, message: str) -> Answered:
    """An answer that says why there is none."""
    body = json.dumps({"error": {"reason": reason, "message": message}}).encode()
    return Answered(status, body)


def _detect(loaded: LoadedRelease, image: bytes, limits: DecodeLimits) -> Answered:
    answer = loaded.answer(image, limits=limits)
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
    return Answered(200, body, times_of(answer))


def times_of(answer: Answer) -> StageTimes:
    """The parts' times of an answer, for the wire."""
    return StageTimes(
        decode_us=round(answer.decode_ms * 1000),
        preprocess_us=round(answer.preprocess_ms * 1000),
        inference_us=round(answer.inference_ms * 1000),
        postprocess_us=round(answer.postprocess_ms * 1000),
    )
